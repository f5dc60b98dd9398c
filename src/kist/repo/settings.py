"""Settings: what the configuration files of all levels say together, with types, resolved paths and remotes.

Not here: the syntax of the files (kist.formats.config) and changing them (kist.repo.config_edit). Implements
docs/spec/config.md, sections 1, 4 and 5. The home directory comes in as a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.errors import ConfigError, InputError, MissingError
from kist.formats import _config_schema as schema
from kist.formats.config import ConfigFile, SectionKey, Value, parse_config

SYSTEM = "system"
GLOBAL = "global"
PROJECT = "project"
LOCAL = "local"
LEVELS = (SYSTEM, GLOBAL, PROJECT, LOCAL)
"""From the weakest to the strongest."""

DEFAULT_LINK_TYPES = ("reflink", "copy")

Reader = Callable[[str], bytes | None]


class ConfigPaths(NamedTuple):
    """Where the files of the levels are; None for a level that there is not, such as the project's outside of one."""

    system: str | None
    user: str | None
    project: str | None
    local: str | None

    def of(self, level: str) -> str | None:
        """Returns the file of a level."""
        return self[LEVELS.index(level)]


class ConfigUnreadableError(ConfigError):
    """A configuration file is there and cannot be read. Exit 251; permissions are the user's to mend."""

    code = "config-unreadable"


class InvalidSettingError(ConfigError):
    """A section or option is unknown, or its value is of the wrong type. Exit 251; the hint names the nearest."""

    code = "config-invalid"


class UnknownRemoteError(MissingError):
    """A remote is named that no level defines. The hint names the nearest one."""

    code = "unknown-remote"


class NoRemoteError(InputError):
    """A remote is needed, and there is none, or there are several and none is the default."""

    code = "no-remote"


class Setting(NamedTuple):
    """The value of an option and where it comes from."""

    value: Value
    level: str
    file: str
    line: int


class Level(NamedTuple):
    """The file of one level, read."""

    level: str
    path: str
    file: ConfigFile


class RemoteSettings(NamedTuple):
    """What is set for one remote.

    Attributes:
        name: in lower case.
        url: as written in the file.
        location: the address, or the absolute path of a remote that is a folder.
        scheme: `local` for a folder, else that of the address.
        options: everything but the address; paths are absolute.
        level, file: where the address comes from.
    """

    name: str
    url: str
    location: str
    scheme: str
    options: Mapping[str, Value]
    level: str
    file: str

    def text(self, option: str) -> str | None:
        """Returns the value of an option, or None when it is not set."""
        value = self.options.get(option)
        return ",".join(value) if isinstance(value, tuple) else value

    def boolean(self, option: str, default: bool) -> bool:
        """Returns the value of an option that is true or false."""
        text = self.text(option)
        return default if text is None else text.lower() == "true"

    def integer(self, option: str) -> int | None:
        """Returns the value of an option that is a number, or None when it is not set."""
        text = self.text(option)
        return None if text is None else schema.integer(text)


class ChosenRemote(NamedTuple):
    """The remote that a command uses; `is_assumed` when it is the only one and nobody named it: to be said."""

    remote: RemoteSettings
    is_assumed: bool


def read_config_bytes(path: str) -> bytes | None:
    """Returns the content of a configuration file, or None when there is none.

    Raises: ConfigUnreadableError.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        cause = (error.strerror or "input/output error").lower()
        raise ConfigUnreadableError(
            f"cannot read config file '{path}': {cause}", hint=shell_line("ls", "-ld", path)
        ) from error


def load_settings(
    paths: ConfigPaths,
    read: Reader = read_config_bytes,
    *,
    home: str | None = None,
    check: bool = True,
) -> Settings:
    """Returns the settings of all levels.

    Args:
        read: gives the content of a file, or None when it is missing.
        home: what `~` stands for; without it such paths are relative like others.
        check: False to accept unknown options and wrong values, so that they can be mended.

    Raises: ConfigSyntaxError, ConfigUnreadableError, InvalidSettingError.
    """
    levels = []
    for level in LEVELS:
        path = paths.of(level)
        data = read(path) if path is not None else None
        if path is not None and data is not None:
            levels.append(Level(level, path, parse_config(data, name=path)))
    settings = Settings(levels, home=home)
    if check:
        settings.check()
    return settings


class Settings:
    """The merged settings; everything is worked out when it is asked for.

    Attributes:
        levels: the files that exist, from the weakest to the strongest.
    """

    def __init__(self, levels: Iterable[Level], *, home: str | None = None) -> None:
        self.levels = tuple(levels)
        self._home = home
        self._merged: dict[SectionKey, dict[str, Setting]] = {}
        for level in self.levels:
            for section in level.file.sections:
                options = self._merged.setdefault(section.key, {})
                for option in section.options:
                    value = self.resolved(section.key, option.name, option.value, level.path)
                    options[option.name] = Setting(value, level.level, level.path, option.line)
        self._remotes: dict[str, RemoteSettings] | None = None

    @classmethod
    def from_bytes(cls, data: bytes, *, path: str, home: str | None = None) -> Settings:
        """Returns the settings of one project file alone, such as that of another revision, checked.

        Args:
            path: what relative paths are resolved beside; for messages too.

        Raises: ConfigSyntaxError, InvalidSettingError.
        """
        settings = cls([Level(PROJECT, path, parse_config(data, name=path))], home=home)
        settings.check()
        return settings

    def up_to(self, level: str) -> Settings:
        """Returns the settings of the levels up to and with `level`."""
        stop = LEVELS.index(level)
        kept = [one for one in self.levels if LEVELS.index(one.level) <= stop]
        return Settings(kept, home=self._home)

    def only(self, level: str) -> Settings:
        """Returns the settings of one level."""
        kept = [one for one in self.levels if one.level == level]
        return Settings(kept, home=self._home)

    def resolved(self, key: SectionKey, option: str, value: Value, path: str) -> Value:
        """Returns the value as it is meant: a path is absolute. `path` is the file that holds it."""
        if isinstance(value, str) and schema.is_path(key, option, value):
            return resolve_path(value, os.path.dirname(path), self._home)
        return value

    # One option

    def get(self, key: SectionKey, option: str) -> Setting | None:
        """Returns the strongest value of an option with its origin, or None."""
        return self._merged.get(key, {}).get(option)

    def section(self, key: SectionKey) -> Mapping[str, Setting] | None:
        """Returns the options of a section, or None when no file has it."""
        return self._merged.get(key)

    def text(self, kind: str, option: str) -> str | None:
        """Returns the value of an option of a plain section as text."""
        setting = self.get(SectionKey(kind), option)
        if setting is None:
            return None
        return setting.value if isinstance(setting.value, str) else ",".join(setting.value)

    def boolean(self, kind: str, option: str, default: bool) -> bool:
        """Returns the value of an option that is true or false."""
        text = self.text(kind, option)
        return default if text is None else text.lower() == "true"

    def integer(self, kind: str, option: str) -> int | None:
        """Returns the value of an option that is a whole number."""
        text = self.text(kind, option)
        return None if text is None else schema.integer(text)

    # Options with names

    @property
    def core_remote(self) -> str | None:
        """The name of the default remote, in lower case."""
        name = self.text("core", "remote")
        return name.lower() if name else None

    @property
    def autostage(self) -> bool:
        """Whether changed metafiles are staged in Git."""
        return self.boolean("core", "autostage", False)

    @property
    def no_scm(self) -> bool:
        """Whether the repository is without Git."""
        return self.boolean("core", "no_scm", False)

    @property
    def hardlink_lock(self) -> bool:
        """Whether the repository's lock is a hard link."""
        return self.boolean("core", "hardlink_lock", False)

    @property
    def checksum_jobs(self) -> int | None:
        """How many files are hashed at once, or None to let the program decide."""
        return self.integer("core", "checksum_jobs")

    @property
    def cache_dir(self) -> str | None:
        """The absolute path of the cache, or None for `.dvc/cache`."""
        return self.text("cache", "dir") or None

    @property
    def cache_types(self) -> tuple[str, ...]:
        """How files get from the cache into the workspace, the first that works."""
        setting = self.get(SectionKey("cache"), "type")
        return schema.link_types(setting.value) if setting is not None else DEFAULT_LINK_TYPES

    @property
    def shared_group(self) -> bool:
        """Whether the cache is written for all members of its group."""
        return (self.text("cache", "shared") or "").lower() == "group"

    @property
    def remotes(self) -> dict[str, RemoteSettings]:
        """All remotes that have an address, by their names, in the order of the files."""
        if self._remotes is None:
            self._remotes = {
                key.name: remote
                for key, options in self._merged.items()
                if key.kind == "remote" and (remote := self._remote(key, options)) is not None
            }
        return self._remotes

    def _remote(self, key: SectionKey, options: Mapping[str, Setting]) -> RemoteSettings | None:
        url = options.get("url")
        if url is None or not isinstance(url.value, str):
            return None
        return RemoteSettings(
            key.name,
            self._as_written(key, url),
            url.value,
            schema.scheme_of(url.value),
            {name: setting.value for name, setting in options.items() if name != "url"},
            url.level,
            url.file,
        )

    def _as_written(self, key: SectionKey, setting: Setting) -> str:
        level = next(one for one in self.levels if one.path == setting.file)
        option = level.file.option(key, "url")
        return option.value if option is not None and isinstance(option.value, str) else ""

    def remote(self, name: str) -> RemoteSettings:
        """Returns the remote of this name; one that refers to another one (`remote://`) with what it refers to.

        Raises: UnknownRemoteError, InvalidSettingError: for an address that nobody knows how to reach.
        """
        remote = self._named(name)
        seen = {remote.name}
        while remote.scheme == schema.REFERENCE:
            base_name, _, below = remote.location.partition("://")[2].partition("/")
            base = self._named(base_name)
            if base.name in seen:
                raise InvalidSettingError(
                    f"cannot use remote '{name}': it refers to itself by '{remote.url}'",
                    hint="kist remote list",
                )
            seen.add(base.name)
            location = base.location.rstrip("/") + "/" + below if below else base.location
            remote = remote._replace(
                location=location, scheme=base.scheme, options={**base.options, **remote.options}
            )
        if remote.scheme not in schema.SCHEMES:
            raise InvalidSettingError(
                f"cannot use remote '{name}': nobody knows addresses that begin with '{remote.scheme}://'",
                hint=shell_line("kist", "remote", "modify", name, "url", "ADDRESS"),
            )
        return remote

    def _named(self, name: str) -> RemoteSettings:
        remote = self.remotes.get(name.lower())
        if remote is not None:
            return remote
        raise UnknownRemoteError(
            f"cannot use remote '{name}': no remote has this name", hint=self.remote_hint(name)
        )

    def remote_hint(self, name: str) -> str:
        """Returns what to do about a remote that is not there."""
        guess = nearest(name.lower(), self.remotes)
        if guess is not None:
            return f"did you mean '{guess}'?"
        if self.remotes:
            return f"there are: {', '.join(self.remotes)}"
        return shell_line("kist", "remote", "add", name, "ADDRESS")

    def default_remote(self) -> RemoteSettings | None:
        """Returns the remote that `core.remote` names, or None when it is not set.

        Raises: UnknownRemoteError: if there is no such remote.
        """
        return self.remote(self.core_remote) if self.core_remote else None

    def choose_remote(self, name: str | None) -> ChosenRemote:
        """Returns the remote to use: the named one, else the default, else the only one there is.

        Raises: UnknownRemoteError, NoRemoteError, InvalidSettingError.
        """
        if name:
            return ChosenRemote(self.remote(name), False)
        default = self.default_remote()
        if default is not None:
            return ChosenRemote(default, False)
        if len(self.remotes) == 1:
            return ChosenRemote(self.remote(next(iter(self.remotes))), True)
        if not self.remotes:
            raise NoRemoteError(
                "cannot choose a remote: none is set up", hint="kist remote add -d NAME ADDRESS"
            )
        raise NoRemoteError(
            f"cannot choose a remote: none of {', '.join(self.remotes)} is the default",
            hint="choose one for all commands with `kist remote default NAME`, or for this one with `-r NAME`",
        )

    # Checks

    def check(self) -> None:
        """Does nothing when all options are known and of the right type.

        Raises: InvalidSettingError: for the first that is not.
        """
        for problem in self.problems():
            raise problem

    def problems(self) -> Iterator[InvalidSettingError]:
        """Yields an error for each unknown section, unknown option and wrong value."""
        for level in self.levels:
            for section in level.file.sections:
                fault = section_fault(section.key)
                if fault is not None:
                    yield _invalid(level, section.line, fault.cause, fault.hint)
                    continue
                url = self.get(section.key, "url")
                for option in section.options:
                    fault = option_fault(section.key, option.name, option.value, url.value if url else None)
                    if fault is not None:
                        name = dotted(section.key, option.name)
                        hint = fault.hint or shell_line("kist", "config", f"--{level.level}", "--unset", name)
                        yield _invalid(level, option.line, f"'{name}': {fault.cause}", hint)

    def warnings(self) -> list[str]:
        """Returns what is odd and harmless: features that nobody knows."""
        return [
            f"'feature.{name}' in '{setting.file}' is not known; it has no effect"
            for name, setting in self._merged.get(SectionKey("feature"), {}).items()
            if name not in schema.PLAIN["feature"]
        ]


class Fault(NamedTuple):
    """What is wrong with a section or option, and what may have been meant."""

    cause: str
    hint: str | None


def section_fault(key: SectionKey) -> Fault | None:
    """Returns what is wrong with the title of a section, or None."""
    if schema.is_known_section(key) or key.kind in schema.IGNORED_SECTIONS:
        return None
    guess = nearest(key.kind, (*schema.PLAIN, "remote", "db"))
    return Fault(f"unknown section '{key.kind}'", f"did you mean '{guess}'?" if guess else None)


def option_fault(key: SectionKey, option: str, value: Value, url: Value | None) -> Fault | None:
    """Returns what is wrong with an option and its value, or None.

    Args:
        url: the address of the remote whose option it is.
    """
    known = schema.known_options(key, url if isinstance(url, str) else None)
    if known is None or schema.is_ignored(key, option):
        return None
    if option in known:
        cause = schema.value_problem(known[option], value)
        return Fault(cause, None) if cause else None
    if key.kind == "feature":
        return None
    guess = nearest(option, known)
    hint = f"did you mean '{dotted(key, guess)}'?" if guess else None
    return Fault("unknown option", hint)


def _invalid(level: Level, line: int, cause: str, hint: str | None) -> InvalidSettingError:
    hint = hint or f"mend line {line} of '{level.path}'"
    return InvalidSettingError(f"cannot use config file '{level.path}', line {line}: {cause}", hint=hint)


def dotted(key: SectionKey, option: str) -> str:
    """Returns the name of an option as `kist config` takes it."""
    return f"{key.kind}.{key.name}.{option}" if key.name else f"{key.kind}.{option}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that is most like `word`, or None."""
    from difflib import get_close_matches  # only on the way to an error message

    matches = get_close_matches(word, list(known), n=1)
    return matches[0] if matches else None


def resolve_path(path: str, directory: str, home: str | None) -> str:
    """Returns the absolute path that a configuration file in `directory` means."""
    if home is not None and (path == "~" or path.startswith("~/")):
        return os.path.join(home, path[2:]) if len(path) > 1 else home
    if os.path.isabs(path):
        return path
    return os.path.normpath(os.path.join(directory, path))


def stored_path(path: str, cwd: str, directory: str) -> str:
    """Returns how a path that was typed in `cwd` is written to a configuration file in `directory`."""
    if os.path.isabs(path) or path.startswith("~"):
        return path
    return os.path.relpath(os.path.join(cwd, path), directory).replace(os.sep, "/")

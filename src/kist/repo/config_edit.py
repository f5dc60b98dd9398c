"""Changes of the configuration files: options, remotes, the default remote, the place of the cache.

Not here: the syntax (kist.formats.config), and what is said about a change. Implements docs/spec/config.md,
sections 3 to 6.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from kist.base.atomic import write_file
from kist.base.shell import shell_line
from kist.errors import ConfigError, StorageError
from kist.formats import _config_schema as schema
from kist.formats.config import (
    SectionKey,
    Value,
    parse_config,
    remove_section,
    rename_section,
    set_option,
    set_section,
    unset_option,
)
from kist.repo.settings import (
    LEVELS,
    LOCAL,
    PROJECT,
    ConfigPaths,
    InvalidSettingError,
    Level,
    Reader,
    Setting,
    Settings,
    dotted,
    load_settings,
    nearest,
    option_fault,
    read_config_bytes,
    section_fault,
    stored_path,
)

Writer = Callable[[str, bytes], None]
Change = Callable[[bytes, str], bytes]

CORE = SectionKey("core")
CACHE = SectionKey("cache")
ORIGIN = "origin"
"""The name of a remote that is added by its address alone."""


class NoSuchLevelError(ConfigError):
    """The project's or local file is meant, and this is no repository. Exit 251, as DVC."""

    code = "config-outside-repository"


class NoSuchOptionError(ConfigError):
    """An option that should be shown or removed is not set there. Exit 251, as DVC."""

    code = "config-not-set"


class NoSuchRemoteError(ConfigError):
    """A remote that should be changed is not there. Exit 251; the hint names the nearest."""

    code = "config-unknown-remote"


class RemoteExistsError(ConfigError):
    """A remote of this name is there already. Exit 251."""

    code = "remote-exists"


class NoAddressError(ConfigError):
    """After the change a remote would have options and no address, which DVC refuses. Exit 251."""

    code = "remote-without-address"


class ConfigUnwritableError(StorageError):
    """A configuration file cannot be written; the old one is as it was. A retry helps once the cause is gone."""

    code = "config-unwritable"


def is_secret(remote: str, option: str) -> bool:
    """Returns whether this option of a remote is one that is not shared."""
    return schema.is_secret(SectionKey("remote", remote), option.lower())


class ConfigEditor:
    """Changes the files of the levels one at a time; each change is whole or has not happened.

    Attributes:
        paths: the files.
    """

    def __init__(
        self,
        paths: ConfigPaths,
        *,
        cwd: str,
        home: str | None = None,
        read: Reader = read_config_bytes,
        write: Writer = write_file,
    ) -> None:
        """Args: cwd: what relative paths that are given start from. home: what `~` stands for."""
        self.paths = paths
        self._cwd = cwd
        self._home = home
        self._read = read
        self._write = write

    @property
    def settings(self) -> Settings:
        """The settings as they are now, unchecked."""
        return load_settings(self.paths, self._read, home=self._home, check=False)

    def path_of(self, level: str) -> str:
        """Returns the file of a level.

        Raises: NoSuchLevelError.
        """
        path = self.paths.of(level)
        if path is None:
            raise NoSuchLevelError(
                f"cannot use the {level} configuration: this is not inside a repository",
                hint="make one with `kist init`, or give `--global`",
            )
        return path

    def read_level(self, level: str | None) -> Settings:
        """Returns the settings of one level, or of all for None.

        Raises: NoSuchLevelError.
        """
        if level is None:
            return self.settings
        self.path_of(level)
        return self.settings.only(level)

    # Options

    def get(self, level: str | None, key: SectionKey, option: str) -> Setting | None:
        """Returns an option's value, its path resolved; None when no level sets it.

        Raises: NoSuchOptionError: when one level is meant and does not set it.
        """
        settings = self.read_level(level)
        setting = settings.get(key, option.lower())
        if setting is None and level is not None:
            raise self._not_set(level, key, option, settings)
        return setting

    def set_option(self, level: str, key: SectionKey, option: str, value: str) -> None:
        """Sets an option in the file of a level.

        Raises: InvalidSettingError, NoAddressError, NoSuchLevelError, ConfigSyntaxError, ConfigUnwritableError.
        """
        stored = self._stored(level, key, option, value)
        url = self._read_url(level, key) if option.lower() != "url" else stored
        fault = section_fault(key) or option_fault(key, option.lower(), stored, url)
        if fault is not None:
            name = dotted(key, option)
            hint = fault.hint
            if hint is None and fault.cause.startswith("unknown"):
                hint = "kist config --list"
            elif hint is None:
                hint = shell_line("kist", "config", name, "VALUE")
            raise InvalidSettingError(f"cannot set '{name}': {fault.cause}", hint=hint)
        self._change(level, lambda data, name: set_option(data, key, option, stored, name=name), check=key)

    def unset_option(self, level: str, key: SectionKey, option: str) -> None:
        """Removes an option from the file of a level.

        Raises: NoSuchOptionError, NoAddressError, and as `set_option`.
        """
        settings = self.read_level(level)
        if settings.get(key, option.lower()) is None:
            raise self._not_set(level, key, option, settings)
        self._unset(level, key, option)

    def _unset(self, level: str, key: SectionKey, option: str) -> None:
        self._change(
            level,
            lambda data, name: unset_option(data, key, option, name=name),
            address_of=key if option.lower() == "url" else None,
        )

    def _not_set(self, level: str, key: SectionKey, option: str, settings: Settings) -> NoSuchOptionError:
        path = self.path_of(level)
        section = settings.section(key)
        if section is None:
            return NoSuchOptionError(
                f"cannot find '{dotted(key, option)}': '{path}' has no section '{key.title}'",
                hint="kist config --list --show-origin",
            )
        guess = nearest(option.lower(), section)
        return NoSuchOptionError(
            f"cannot find '{dotted(key, option)}': it is not set in '{path}'",
            hint=f"did you mean '{dotted(key, guess)}'?" if guess else "kist config --list --show-origin",
        )

    def _read_url(self, level: str, key: SectionKey) -> Value | None:
        setting = self.settings.up_to(level).get(key, "url")
        return setting.value if setting is not None else None

    def _stored(self, level: str, key: SectionKey, option: str, value: str) -> str:
        if schema.is_path(key, option.lower(), value):
            return stored_path(value, self._cwd, os.path.dirname(self.path_of(level)))
        return value

    # Remotes

    def add_remote(
        self, name: str, url: str, *, level: str = PROJECT, default: bool = False, force: bool = False
    ) -> None:
        """Adds a remote to the file of a level; with `force` in place of one that is there.

        Raises: RemoteExistsError, and as `set_option`.
        """
        key = SectionKey("remote", name.lower())
        stored = self._stored(level, key, "url", url)

        def change(data: bytes, file: str) -> bytes:
            if not force and parse_config(data, name=file).section(key) is not None:
                raise RemoteExistsError(
                    f"cannot add remote '{name}': '{file}' has it already",
                    hint=shell_line("kist", "remote", "modify", name, "url", "ADDRESS"),
                )
            data = set_section(data, key, {"url": stored}, name=file)
            return set_option(data, CORE, "remote", key.name, name=file) if default else data

        self._change(level, change, check=key)

    def add_origin(
        self, url: str, *, level: str = PROJECT, default: bool = False, force: bool = False
    ) -> bool:
        """Adds the remote `origin`; returns False when it is there with this same address.

        Raises: RemoteExistsError: when it is there with another one; and as `set_option`.
        """
        key = SectionKey("remote", ORIGIN)
        existing = self.read_level(level).get(key, "url")
        if existing is not None and not force:
            stored = self._stored(level, key, "url", url)
            if self.settings.resolved(key, "url", stored, existing.file) == existing.value:
                if default:
                    self.set_option(level, CORE, "remote", ORIGIN)
                return False
            raise RemoteExistsError(
                f"cannot add remote '{ORIGIN}': it is there with another address",
                hint=shell_line("kist", "remote", "add", "NAME", masked(url)),
            )
        self.add_remote(ORIGIN, url, level=level, default=default, force=force)
        return True

    def existing_remote(self, name: str, level: str | None) -> SectionKey:
        """Returns the section of a remote that some level has; with `level` that level or a weaker one.

        Raises: NoSuchRemoteError, NoSuchLevelError.
        """
        self.path_of(level or PROJECT)
        key = SectionKey("remote", name.lower())
        settings = self.settings if level is None else self.settings.up_to(level)
        if settings.section(key) is None:
            raise NoSuchRemoteError(f"cannot find remote '{name}'", hint=self.settings.remote_hint(name))
        return key

    def modify_remote(self, name: str, option: str, value: str, *, level: str | None = None) -> None:
        """Sets an option of a remote, in the project's file unless a level is given.

        Raises: NoSuchRemoteError, and as `set_option`.
        """
        key = self.existing_remote(name, level)
        self.set_option(level or PROJECT, key, option, value)

    def unset_remote_option(self, name: str, option: str, *, level: str | None = None) -> None:
        """Removes an option of a remote; a secret without a level from the project's and the local file.

        Raises: NoSuchRemoteError, NoAddressError, and as `set_option`.
        """
        key = self.existing_remote(name, level)
        levels = [level] if level else [PROJECT, LOCAL] if is_secret(name, option) else [PROJECT]
        for one in levels:
            if self.read_level(one).get(key, option.lower()) is not None:
                self._unset(one, key, option)

    def remove_remote(self, name: str, *, level: str | None = None) -> list[str]:
        """Removes a remote from the file of a level, or without one from the project's and the local file.

        It is no longer the default there and in the stronger levels.

        Returns: the files that had it.

        Raises: NoSuchRemoteError.
        """
        key = SectionKey("remote", name.lower())
        holders = self._holders(key, level)

        def change(data: bytes, file: str) -> bytes:
            if file in holders:
                data = remove_section(data, key, name=file)
            if _default_of(data, file) == key.name:
                data = unset_option(data, CORE, "remote", name=file)
            return data

        for one in self._from(level):
            self._change(one, change)
        return holders

    def rename_remote(self, old: str, new: str, *, level: str | None = None) -> list[str]:
        """Gives a remote another name, in the file of a level, or without one in the project's and the local file.

        Returns: the files that had it.

        Raises: NoSuchRemoteError, RemoteExistsError, ConfigValueError.
        """
        key, new_key = SectionKey("remote", old.lower()), SectionKey("remote", new.lower())
        if self.settings.section(new_key) is not None:
            raise RemoteExistsError(
                f"cannot rename remote '{old}': there is a remote '{new_key.name}' already",
                hint="kist remote list",
            )
        holders = self._holders(key, level)

        def change(data: bytes, file: str) -> bytes:
            if file in holders:
                data = rename_section(data, key, new_key, name=file)
            if _default_of(data, file) == key.name:
                data = set_option(data, CORE, "remote", new_key.name, name=file)
            return data

        for one in self._from(level):
            self._change(one, change)
        return holders

    def set_default(self, name: str, *, level: str | None = None) -> None:
        """Makes a remote the default, in the project's file unless a level is given.

        Raises: NoSuchRemoteError, and as `set_option`.
        """
        self.set_option(level or PROJECT, CORE, "remote", self.existing_remote(name, level).name)

    def unset_default(self, *, level: str | None = None) -> None:
        """Leaves no remote as the default, in the project's file unless a level is given."""
        self._unset(level or PROJECT, CORE, "remote")

    def _holders(self, key: SectionKey, level: str | None) -> list[str]:
        """Returns the files that have the section; at least one."""
        levels = (PROJECT, LOCAL) if level is None else (level,)
        holders = [self.path_of(one) for one in levels if self.read_level(one).section(key) is not None]
        if holders:
            return holders
        elsewhere = next((one for one in self.settings.levels if one.file.section(key) is not None), None)
        if elsewhere is None:
            raise NoSuchRemoteError(
                f"cannot find remote '{key.name}'", hint=self.settings.remote_hint(key.name)
            )
        raise NoSuchRemoteError(
            f"cannot find remote '{key.name}' here: it is in '{elsewhere.path}'",
            hint=f"give `--{elsewhere.level}`",
        )

    def _from(self, level: str | None) -> list[str]:
        """Returns the levels with files from `level` on to the strongest."""
        start = LEVELS.index(level or PROJECT)
        return [
            one
            for one in LEVELS[start:]
            if (path := self.paths.of(one)) is not None and self._read(path) is not None
        ]

    # Writing

    def _change(
        self,
        level: str,
        change: Change,
        *,
        check: SectionKey | None = None,
        address_of: SectionKey | None = None,
    ) -> None:
        """Replaces the file of a level by what `change` makes of it, if that stands the checks.

        Args:
            check: the section that is added to; all options up to this level are checked too.
            address_of: the remote that must have an address afterwards.
        """
        path = self.path_of(level)
        with self._lock(level):
            data = self._read(path)
            new = change(data or b"", path)
            if new == data or (data is None and not new.strip()):
                return
            self._check(level, path, new, check, address_of or check)
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._write(path, new)
            except OSError as error:
                cause = (error.strerror or "input/output error").lower()
                raise ConfigUnwritableError(f"cannot write config file '{path}': {cause}") from error

    def _check(
        self, level: str, path: str, data: bytes, check: SectionKey | None, address_of: SectionKey | None
    ) -> None:
        levels = [one for one in self.settings.up_to(level).levels if one.level != level]
        levels.append(Level(level, path, parse_config(data, name=path)))
        candidate = Settings(levels, home=self._home)
        if check is not None:
            candidate.check()
        if address_of is None or address_of.kind != "remote":
            return
        url = candidate.get(address_of, "url")
        if url is None:
            raise self._no_address(level, address_of)
        scheme = schema.scheme_of(str(url.value))
        if check is not None and scheme not in schema.SCHEMES and scheme != schema.REFERENCE:
            raise NoAddressError(
                f"cannot set up remote '{address_of.name}': nobody knows addresses that begin with '{scheme}://'",
                hint=f"these can be used: {', '.join(sorted(set(schema.SCHEMES) - {schema.LOCAL}))}, or a path",
            )

    def _no_address(self, level: str, key: SectionKey) -> NoAddressError:
        holder = self.settings.get(key, "url")
        if holder is not None and LEVELS.index(holder.level) > LEVELS.index(level):
            hint = f"its address is in '{holder.file}': give `--{holder.level}`"
        else:
            hint = shell_line("kist", "remote", "add", key.name, "ADDRESS")
        return NoAddressError(f"cannot change remote '{key.name}': it would have no address (url)", hint=hint)

    def _lock(self, level: str) -> AbstractContextManager[object]:
        # Two commands that each change another option of a file must not undo each other.
        if level not in (PROJECT, LOCAL):
            return nullcontext()
        from kist.base.locks import FileLock  # reading settings needs no lock

        directory = os.path.dirname(self.path_of(level))
        path = os.path.join(directory, "tmp", "kist", "config.lock")
        return FileLock(path, by_link=self.settings.hardlink_lock)


def option_key(name: str) -> tuple[SectionKey, str] | None:
    """Returns the section and option that a dotted name means, or None when it means none.

    `core.remote` -> core, remote; `remote.NAME.OPTION` -> the remote NAME, OPTION, where NAME may have dots.
    """
    head, dot, option = name.rpartition(".")
    kind, _, rest = head.partition(".")
    if kind.lower() in ("remote", "db") and rest:
        return (SectionKey(kind.lower(), rest.lower()), option.lower()) if option else None
    if not dot or not option or "." in head:
        return None
    return SectionKey(head.lower()), option.lower()


def without_password(url: str) -> str:
    """Returns an address without the password that it may hold; the user stays."""
    return _with_password(url, "")


def masked(url: str) -> str:
    """Returns an address for messages, with stars for the password that it may hold."""
    return _with_password(url, ":***")


def _with_password(url: str, password: str) -> str:
    scheme, separator, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    login, at, host = netloc.rpartition("@")  # a password may hold "@" too
    if not separator or not at or ":" not in login:
        return url
    return f"{scheme}://{login.partition(':')[0]}{password}@{host}{slash}{path}"


def _default_of(data: bytes, file: str) -> str | None:
    option = parse_config(data, name=file).option(CORE, "remote")
    return option.value.lower() if option is not None and isinstance(option.value, str) else None


def unknown_option_hint(settings: Settings, key: SectionKey, option: str) -> str | None:
    """Returns a hint for a name that no file sets and that nobody knows; None for one that may be set."""
    url = settings.get(key, "url")
    fault = section_fault(key) or option_fault(key, option, "", url.value if url else None)
    if fault is None or not fault.cause.startswith("unknown"):
        return None
    return f"'{dotted(key, option)}': {fault.cause}" + (f"; {fault.hint}" if fault.hint else "")

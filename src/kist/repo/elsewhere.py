"""Opens the repository that a person names: by a path on this machine, or by an address that Git can clone.

A repository at an address is read from a mirror (registry.mirrors), one commit of it; nothing is checked out.
Implements docs/spec/imports.md, section 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kist.errors import InputError
from kist.registry import addresses
from kist.repo.repository import Repository, find_root

if TYPE_CHECKING:
    from kist.base.progress import Progress
    from kist.registry.mirrors import Mirror
    from kist.repo.settings import ConfigPaths, Settings


_HINT = "name the repository first, `.` for the one around you"


class NoSuchRepositoryError(InputError):
    """There is no repository, of Git or of data, at or around the path. The user mends the path."""

    code = "no-such-repository"


class RemoteConfigError(InputError):
    """A value of `--remote-config` is no `name=value`, or there is no remote to change."""

    code = "remote-config"


class OtherRepository(Repository):
    """A repository that is only read, with settings of the command line on top of its own."""

    extra: tuple[tuple[str, bytes], ...] = ()
    """(name for messages, configuration file's bytes), the weakest first."""
    default_remote: str | None = None
    """What `--remote` names."""
    remote_config: Mapping[str, str] = {}
    """What `--remote-config` says of that remote, or of the default one."""
    trusts_extra = True
    """Whether the person here gave those; False where a metafile did: then no command that they name is run (R15)."""
    commit: str | None = None
    """The commit that is read where there is no working tree; None for the working tree."""

    @property
    def settings(self) -> Settings:
        """The configuration of all levels, and then that of the command line."""
        if self._settings is None:
            own = self._own_settings()
            for name, data in self.extra:
                own = self._with(own, name, data)
            if self.remote_config:
                own = self._with(own, "--remote-config", self._remote_section(own))
            self._settings = own
        return self._settings

    def _own_settings(self) -> Settings:
        return super().settings

    def leave_alone(self) -> None:
        """Sees to it that nothing is remembered in the repository, which is somebody else's."""
        from kist.store.statindex import StatIndex

        self._index = StatIndex(os.devnull + "/none")

    def _with(self, settings: Settings, name: str, data: bytes) -> Settings:
        from kist.formats.config import parse_config
        from kist.repo.settings import Level, Settings

        file = parse_config(data, name=name)
        if not self.trusts_extra:
            file = file.without_commands()
        level = Level("local", os.path.join(self.cwd, name), file)
        merged = Settings([*settings.levels, level], home=self.environ.get("HOME"))
        merged.check()
        return merged

    def _remote_section(self, settings: Settings) -> bytes:
        name = settings.choose_remote(self.default_remote)[0].name
        lines = [f"['remote \"{name}\"']", *(f"{key} = {value}" for key, value in self.remote_config.items())]
        return ("\n".join(lines) + "\n").encode()


class MirroredRepository(OtherRepository):
    """One commit of a repository that was cloned from an address. There is no working tree, and no cache of its own."""

    def __init__(
        self,
        mirror: Mirror,
        below: str,
        url: str,
        *,
        cwd: str,
        user_config: ConfigPaths,
        progress: Progress,
        environ: Mapping[str, str],
    ) -> None:
        """Args: below: the folder of the repository that holds `.dvc`, "" for its top."""
        root = os.path.join(mirror.path, below) if below else mirror.path
        project = os.path.join(root, ".dvc", "config")
        paths = user_config._replace(project=project, local=None)
        super().__init__(root, cwd=cwd, config_paths=paths, progress=progress, environ=environ)
        self.commit = mirror.commit
        self._mirror = mirror
        self._url = url
        self._git = mirror.git
        self._git_is_known = True

    @property
    def dvc_dir(self) -> str:
        """A folder for what is remembered of the repository."""
        return os.path.join(self._mirror.path, "kist")

    @property
    def title(self) -> str:
        """The address, without a password."""
        return addresses.shown(self._url)

    def _own_settings(self) -> Settings:
        from kist.repo.settings import PROJECT, Settings, load_settings, read_config_bytes

        home = self.environ.get("HOME")
        project = self._config_paths.project

        def read(path: str) -> bytes | None:
            if path != project:
                return read_config_bytes(path)
            inside = os.path.relpath(path, self._mirror.path).replace(os.sep, "/")
            return self._mirror.git.read_file(self._mirror.commit, inside)

        found = load_settings(self._config_paths, read, home=home)
        # Reading somebody else's repository runs nothing of theirs (rule R15).
        levels = [
            one._replace(file=one.file.without_commands()) if one.level == PROJECT else one
            for one in found.levels
        ]
        return Settings(levels, home=home)


def parse_remote_config(words: Sequence[str]) -> dict[str, str]:
    """Returns the options that `--remote-config` names.

    Raises: RemoteConfigError.
    """
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or "\n" in word:
            raise RemoteConfigError(
                f"cannot use '{word}' as an option of a remote: it is no NAME=VALUE",
                hint="write it as `--remote-config url=FOLDER`",
            )
        options[name] = value
    return options


def open_repository(
    url: str,
    *,
    cwd: str,
    inside: str | None,
    user_config: ConfigPaths,
    progress: Progress,
    environ: Mapping[str, str],
    rev: str | None = None,
) -> OtherRepository:
    """Returns the repository at or around the path `url`, or at that address; of nested ones that around `inside`.

    Args:
        inside: absolute for a path, relative to its top for an address.
        user_config: whose levels `system` and `user` apply.
        rev: what an address is opened at; None for what is checked out there.

    Raises: NoSuchRepositoryError, UnsafeAddressError, SourceMissingError, SourceAuthError, SourceUnreachableError,
        RevisionMissingError.
    """
    from kist.git.locate import find_paths

    start = os.path.abspath(os.path.join(cwd, url))
    is_here = os.path.isdir(start)
    root = find_root(start) if is_here else None
    found = find_paths(start) if is_here and root is None else None
    if root is None and found is None:
        bare = is_here and is_bare(start)
        if not bare and not addresses.is_address(url):
            addresses.check_address(url)
            raise NoSuchRepositoryError(
                f"cannot open '{url}': there is no repository in it or above it"
                if is_here
                else f"cannot open '{url}': there is no such folder",
                hint=_HINT,
            )
        return _mirrored(
            os.path.realpath(start) if bare else url,
            rev,
            inside or "",
            cwd=cwd,
            user_config=user_config,
            progress=progress,
            environ=environ,
        )
    if root is None:
        assert found is not None
        root = found.top
    if inside is not None:
        root = _nested(root, inside)
    paths = user_config._replace(
        project=os.path.join(root, ".dvc", "config"), local=os.path.join(root, ".dvc", "config.local")
    )
    return OtherRepository(root, cwd=cwd, config_paths=paths, progress=progress, environ=environ)


def is_bare(path: str) -> bool:
    """Says whether a folder is a Git repository without a working tree."""
    return os.path.isfile(os.path.join(path, "HEAD")) and all(
        os.path.isdir(os.path.join(path, name)) for name in ("objects", "refs")
    )


def _mirrored(
    url: str,
    rev: str | None,
    inside: str,
    *,
    cwd: str,
    user_config: ConfigPaths,
    progress: Progress,
    environ: Mapping[str, str],
) -> MirroredRepository:
    from kist.registry.mirrors import Mirrors, clones_folder
    from kist.repo.settings import load_settings

    site = load_settings(user_config, home=environ.get("HOME"), check=False).text("core", "site_cache_dir")
    with progress.phase(f"Reading {addresses.shown(url)}"):
        mirror = Mirrors(clones_folder(environ, site), environ).open(url, rev)
    names = mirror.git.list_tree(mirror.commit, (".dvc/config",))
    tops = [path.removesuffix(".dvc/config").rstrip("/") for path in names]
    below = max((top for top in tops if f"{inside}/".startswith(f"{top}/")), key=len, default="")
    return MirroredRepository(
        mirror, below, url, cwd=cwd, user_config=user_config, progress=progress, environ=environ
    )


def _nested(root: str, path: str) -> str:
    below = find_root(path if os.path.isdir(path) else os.path.dirname(path))
    if below is not None and below.startswith(root + os.sep):
        return below
    return root

"""Opens the repository that a person names by a path: this one, one around or below it, or any other on this machine.

Not here: repositories at an address, which must be cloned first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.repo.repository import Repository, find_root

if TYPE_CHECKING:
    from kist.base.progress import Progress
    from kist.repo.settings import ConfigPaths, Settings


_HINT = "name the repository first, `.` for the one around you"


class NotLocalError(InputError):
    """The repository is at an address; this version lists repositories on this machine only. Clone it first."""

    code = "not-local"


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

    @property
    def settings(self) -> Settings:
        """The configuration of all levels, and then that of the command line."""
        if self._settings is None:
            own = super().settings
            for name, data in self.extra:
                own = self._with(own, name, data)
            if self.remote_config:
                own = self._with(own, "--remote-config", self._remote_section(own))
            self._settings = own
        return self._settings

    def _with(self, settings: Settings, name: str, data: bytes) -> Settings:
        from kist.formats.config import parse_config
        from kist.repo.settings import Level, Settings

        level = Level("local", os.path.join(self.cwd, name), parse_config(data, name=name))
        merged = Settings([*settings.levels, level], home=self.environ.get("HOME"))
        merged.check()
        return merged

    def _remote_section(self, settings: Settings) -> bytes:
        name = settings.choose_remote(self.default_remote)[0].name
        lines = [f"['remote \"{name}\"']", *(f"{key} = {value}" for key, value in self.remote_config.items())]
        return ("\n".join(lines) + "\n").encode()


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
) -> OtherRepository:
    """Returns the repository at or around the path `url`; for a path `inside` it, of a nested one around that.

    Args: user_config: whose levels `system` and `user` apply.

    Raises: NotLocalError, NoSuchRepositoryError.
    """
    from kist.git.locate import find_paths
    from kist.repo.settings import ConfigPaths

    start = os.path.abspath(os.path.join(cwd, url))
    if not os.path.isdir(start):
        if "://" in url or url.startswith("git@"):
            raise NotLocalError(
                f"cannot open '{url}': repositories at an address are not supported yet",
                hint=f"clone it with `{shell_line('git', 'clone', url, 'FOLDER')}`, then name the folder",
            )
        raise NoSuchRepositoryError(f"cannot open '{url}': there is no such folder", hint=_HINT)
    root = find_root(start)
    if root is None:
        found = find_paths(start)
        if found is None:
            raise NoSuchRepositoryError(
                f"cannot open '{url}': there is no repository in it or above it", hint=_HINT
            )
        root = found.top
    if inside is not None:
        root = _nested(root, inside)
    paths = ConfigPaths(
        system=user_config.system,
        user=user_config.user,
        project=os.path.join(root, ".dvc", "config"),
        local=os.path.join(root, ".dvc", "config.local"),
    )
    return OtherRepository(root, cwd=cwd, config_paths=paths, progress=progress, environ=environ)


def _nested(root: str, path: str) -> str:
    below = find_root(path if os.path.isdir(path) else os.path.dirname(path))
    if below is not None and below.startswith(root + os.sep):
        return below
    return root

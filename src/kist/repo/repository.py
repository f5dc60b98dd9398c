"""An opened repository: a small holder of its parts, each made when first asked for.

Not here: what commands do with them (one module a verb), and the environment (handed in by the caller).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from kist.base import parallel
from kist.base.locks import WAIT_S, FileLock
from kist.base.progress import Progress, SilentProgress
from kist.errors import InputError, NotARepositoryError
from kist.formats.records import LEGACY_MD5, MD5
from kist.store.loose import LooseStore, sweep_staging
from kist.store.placements import Placements
from kist.store.presence import Presence
from kist.store.statindex import StatIndex
from kist.store.trust import Trust
from kist.workspace.ignores import GITIGNORE, IgnoreTree

if TYPE_CHECKING:
    from kist.base.limiter import Limiter
    from kist.git.repository import GitRepository
    from kist.repo.settings import ConfigPaths, Settings
    from kist.repo.stage_journal import Place

DVC_DIR = ".dvc"


class NoRepositoryError(NotARepositoryError):
    """There is no repository here or above. `kist init` makes one."""

    code = "no-repository"


class OutsideRepositoryError(InputError):
    """A path leads out of the repository."""

    code = "outside-repository"


def find_root(start: str) -> str | None:
    """Returns the nearest folder at or above `start` that has a `.dvc` folder, or None.

    Source: DVC 3.67.1 and Git, which both stop at mount points.
    """
    for folder in _searched(start):
        if os.path.isdir(os.path.join(folder, DVC_DIR)):
            return folder
    return None


def _searched(start: str) -> Iterator[str]:
    """Yields `start` and the folders above it, up to the top of its file system."""
    here = os.path.abspath(start)
    yield here
    while not os.path.ismount(here):
        here = os.path.dirname(here)
        yield here


class Repository:
    """The parts of one repository.

    Attributes:
        root: absolute path of the folder that holds `.dvc`.
        cwd: absolute path that the person's relative paths start from.
        progress: told of long work.
        workers: how many processes hashing and copying may use.
    """

    def __init__(
        self,
        root: str,
        *,
        cwd: str,
        config_paths: ConfigPaths,
        progress: Progress | None = None,
        environ: Mapping[str, str] | None = None,
        wait_for_lock: bool = False,
    ) -> None:
        self.root = root
        self.cwd = cwd
        self.progress: Progress = progress or SilentProgress()
        self.environ: Mapping[str, str] = environ or {}
        self.notes: list[str] = []
        """Lines to tell the person that are no errors."""
        self.placements = Placements()
        """What the metafiles that were read say of versions at services, and of directories file by file."""
        self.notices: dict[str, None] = {}
        """What old spellings in the metafiles of the workspace mean now, a line each, in the order they were met."""
        self.ask: Callable[[str], str] | None = None
        """Asks the person for a secret, given the question; None where nobody can be asked."""
        self.browse: Callable[[str], None] | None = None
        """Shows the person an address to open in a browser; None where nobody can be asked."""
        self.limiter: Limiter | None = None
        """How fast bytes may travel to and from remotes, all together (`--limit`)."""
        self._config_paths = config_paths
        self._wait_s = None if wait_for_lock else WAIT_S
        self._settings: Settings | None = None
        self._git: GitRepository | None = None
        self._git_is_known = False
        self._index: StatIndex | None = None
        self._ignores: IgnoreTree | None = None
        self._git_ignores: IgnoreTree | None = None

    @classmethod
    def find(
        cls,
        start: str,
        *,
        config_paths: ConfigPaths,
        progress: Progress | None = None,
        environ: Mapping[str, str] | None = None,
        wait_for_lock: bool = False,
    ) -> Repository:
        """Returns the repository around `start`.

        Raises: NoRepositoryError.
        """
        root = find_root(start)
        if root is None:
            *_, top = _searched(start)
            limit = f", up to the mount point '{top}'" if os.path.dirname(top) != top else ""
            raise NoRepositoryError(
                f"cannot find a repository: there is no '.dvc' folder in '{start}' or above it{limit}",
                hint="kist init",
            )
        return cls(
            root,
            cwd=os.path.abspath(start),
            config_paths=config_paths,
            progress=progress,
            environ=environ,
            wait_for_lock=wait_for_lock,
        )

    def another(self, root: str, environ: Mapping[str, str]) -> Repository:
        """Returns the repository at `root` for reading: with its own settings and the system's, no person's."""
        project, local = (os.path.join(root, DVC_DIR, name) for name in ("config", "config.local"))
        paths = self._config_paths._replace(
            user=None,
            project=project,
            local=local if os.access(local, os.R_OK) else None,  # may hold somebody's passwords
        )
        return Repository(root, cwd=root, config_paths=paths, progress=self.progress, environ=environ)

    def copy_at(self, root: str, cwd: str) -> Repository:
        """Returns the repository in another work tree of the same Git repository, with the person's own settings."""
        project, local = (os.path.join(root, DVC_DIR, name) for name in ("config", "config.local"))
        paths = self._config_paths._replace(project=project, local=local)
        return Repository(root, cwd=cwd, config_paths=paths, progress=self.progress, environ=self.environ)

    @property
    def config_paths(self) -> ConfigPaths:
        """The configuration files of all levels."""
        return self._config_paths

    @property
    def title(self) -> str:
        """How messages call the repository."""
        return self.root

    @property
    def dvc_dir(self) -> str:
        """The `.dvc` folder."""
        return os.path.join(self.root, DVC_DIR)

    @property
    def settings(self) -> Settings:
        """The configuration of all levels."""
        if self._settings is None:
            from kist.repo.settings import load_settings  # `kist root` needs none

            self._settings = load_settings(self._config_paths, home=self.environ.get("HOME"))
        return self._settings

    @property
    def workers(self) -> int:
        """How many processes may hash and copy at once."""
        return self.settings.checksum_jobs or parallel.default_workers()

    @property
    def git(self) -> GitRepository | None:
        """The Git repository around this one; None with `core.no_scm` or where there is none."""
        if not self._git_is_known:
            self._git_is_known = True
            if not self.settings.no_scm:
                from kist.git.repository import (
                    GitRepository,
                )  # spawns nothing by itself

                self._git = GitRepository.find(self.root, environ=self.environ)
        return self._git

    @property
    def cache(self) -> LooseStore:
        """The store of DVC 3's objects."""
        return LooseStore(self.cache_dir, MD5, self.settings.shared_group, self.placements)

    @property
    def legacy_cache(self) -> LooseStore:
        """The store of older objects, in the same place."""
        return LooseStore(self.cache_dir, LEGACY_MD5, self.settings.shared_group, self.placements)

    @property
    def cache_dir(self) -> str:
        """The absolute path of the cache."""
        return self.settings.cache_dir or os.path.join(self.dvc_dir, "cache")

    def store_for(self, algorithm: str) -> LooseStore:
        """Returns the cache's store for objects of one kind."""
        return self.legacy_cache if algorithm == LEGACY_MD5 else self.cache

    @property
    def index(self) -> StatIndex:
        """The stat index."""
        if self._index is None:
            self._index = StatIndex(os.path.join(self.dvc_dir, "tmp", "kist", "index.db"))
        return self._index

    def trust(self, store: LooseStore) -> Trust:
        """Returns the trust records of a store."""
        return Trust(self.index, store)

    def presence(self, store: LooseStore) -> Presence:
        """Returns what is known of whole directories in a store."""
        return Presence(self.index, store)

    @property
    def ignores(self) -> IgnoreTree:
        """The `.dvcignore` rules of the workspace."""
        if self._ignores is None:
            self._ignores = IgnoreTree(self.root)
        return self._ignores

    @property
    def git_ignores(self) -> IgnoreTree | None:
        """The `.gitignore` rules, asked with paths relative to the top of the Git repository; None without Git."""
        git = self.git
        if self._git_ignores is None and git is not None:
            from kist.git.excludes import excludes_file  # not every command looks for metafiles
            from kist.git.locate import GitPaths

            own = excludes_file(GitPaths(git.top, git.git_dir, git.common_dir), self.environ)
            self._git_ignores = IgnoreTree(git.top, kind=GITIGNORE, weaker_files=[own] if own else [])
        return self._git_ignores

    def forget_ignores(self) -> None:
        """Drops what was read of ignore files, after some were changed."""
        self._ignores = None
        self._git_ignores = None

    def forget_version(self) -> None:
        """Drops what was read of files that belong to a version, after Git went to another one."""
        self.forget_ignores()
        self._settings = None

    def take_notes(self) -> list[str]:
        """Returns the notes so far, and forgets them."""
        taken, self.notes = self.notes, []
        return taken

    def lock(self) -> FileLock:
        """Returns the lock that every changing command holds; makes the project known to a cache that others use."""
        if not self.cache_dir.startswith(self.root + os.sep):
            from kist.repo.projects import register  # most caches lie in the project

            register(self.cache, self.root)
        return self.plain_lock()

    def plain_lock(self) -> FileLock:
        """Returns the lock alone. Whoever takes it first writes what a `repro` has noted and not written yet."""
        return FileLock(
            os.path.join(self.dvc_dir, "tmp", "lock"),
            wait_s=self._wait_s,
            by_link=self.settings.hardlink_lock,
            when_taken=self._write_noted,
        )

    @property
    def has_noted(self) -> bool:
        """Says whether a `repro` has noted what it has not written yet."""
        return os.path.lexists(os.path.join(self.dvc_dir, "tmp", "kist", "stages.journal"))

    def _write_noted(self) -> None:
        if self.has_noted:
            from kist.repo.stage_journal import settle  # seldom is there anything

            settle(self.place())

    def place(self) -> Place:
        """Returns where finished stages are recorded."""
        from kist.pipeline.runcache import RunCache  # only where stages ran
        from kist.repo.stage_journal import Place

        runs = RunCache(self.cache_dir, self.settings.shared_group)
        return Place(self.root, self.dvc_dir, self.cache, runs)

    def sweep_now(self) -> None:
        """Removes what killed commands left in the cache and beside the metafiles of the root."""
        import time  # changing commands alone

        for base in (self.cache_dir, self.dvc_dir, self.root):
            sweep_staging(base, time.time())

    def rel(self, path: str) -> str:
        """Returns a person's path relative to the repository's root, with "/" and without "."; "" is the root.

        Raises: OutsideRepositoryError.
        """
        absolute = os.path.normpath(os.path.join(self.cwd, path))
        if absolute == self.root:
            return ""
        if not absolute.startswith(self.root + os.sep):
            # The same place by another name, such as a symbolic link to the repository?
            real = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
            real_root = os.path.realpath(self.root)
            if not real.startswith(real_root + os.sep):
                raise OutsideRepositoryError(
                    f"cannot use '{path}': it is outside of the repository '{self.root}'",
                    hint="name a path that is in it",
                )
            return real[len(real_root) + 1 :].replace(os.sep, "/")
        return absolute[len(self.root) + 1 :].replace(os.sep, "/")

    def abspath(self, rel: str) -> str:
        """Returns the absolute path of a path relative to the root."""
        return os.path.join(self.root, rel) if rel else self.root

    def shown(self, rel: str) -> str:
        """Returns a path relative to the root as the person would type it here."""
        return os.path.relpath(self.abspath(rel), self.cwd).replace(os.sep, "/")

    def close(self) -> None:
        """Writes what is to be remembered."""
        if self._index is not None:
            self._index.close()

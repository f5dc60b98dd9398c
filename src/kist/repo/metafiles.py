"""Writes metafiles and keeps `.gitignore` files beside them; stages both when `core.autostage` asks for it.

Not here: what stands in them. Write order: data and manifests are durable before anything here is called (R4).
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.formats.gitignore import remove_entry
from kist.formats.metafile import render_metafile
from kist.formats.records import Metafile
from kist.repo.ignoring import GITIGNORE, add_lines

if TYPE_CHECKING:
    from kist.git.repository import GitRepository
    from kist.repo.repository import Repository


class Changes:
    """Collects the metafiles that one command changed, for the hint or for staging."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._paths: dict[str, None] = {}

    @property
    def paths(self) -> list[str]:
        """Changed files relative to the root, in order."""
        return list(self._paths)

    def note(self, path: str) -> None:
        """Adds a changed file."""
        self._paths[path] = None

    def write_metafile(self, path: str, metafile: Metafile) -> bool:
        """Writes a `.dvc` file if its bytes change; keeps what people wrote into it. Returns whether it changed."""
        absolute = self._repository.abspath(path)
        previous = read_bytes(absolute)
        data = render_metafile(metafile, previous)
        if data != previous:
            os.makedirs(os.path.dirname(absolute), exist_ok=True)
            atomic.write_file(absolute, data)
        self.note(path)
        return data != previous

    def remove_file(self, path: str) -> None:
        """Removes a metafile, durable when it returns."""
        absolute = self._repository.abspath(path)
        os.unlink(absolute)
        atomic.sync_directory(os.path.dirname(absolute))

    def ignore(self, path: str) -> None:
        """Makes Git ignore an output, unless a rule does so already."""
        if self.is_to_be_ignored(path) and add_lines(self._repository.root, [path]):
            self._repository.forget_ignores()

    def is_to_be_ignored(self, path: str) -> bool:
        """Says whether Git needs a line to ignore an output; then the file for it counts as changed."""
        repository = self._repository
        rules = repository.git_ignores
        if repository.git is None or rules is None:
            return False
        inside = os.path.relpath(repository.abspath(path), repository.git.top).replace(os.sep, "/")
        if rules.is_path_ignored(inside, os.path.isdir(repository.abspath(path))):
            return False
        self.note(posixpath.join(posixpath.dirname(path), GITIGNORE))
        return True

    def stop_ignoring(self, path: str) -> None:
        """Takes an output's line out of the `.gitignore` beside it; an empty file goes."""
        repository = self._repository
        if repository.git is None:
            return
        folder, name = posixpath.split(path)
        ignore_file = posixpath.join(folder, GITIGNORE)
        absolute = repository.abspath(ignore_file)
        previous = read_bytes(absolute)
        if previous is None:
            return
        data = remove_entry(previous, name)
        if data == previous:
            return
        if data is None:
            self.remove_file(ignore_file)
        else:
            atomic.write_file(absolute, data)
        repository.forget_ignores()
        self.note(ignore_file)

    def finish(self) -> list[str]:
        """Stages the changed files when `core.autostage` asks for it.

        Returns: the files that the person still has to stage, relative to the root.
        """
        repository = self._repository
        if repository.git is None or not self._paths or not repository.settings.autostage:
            return self.to_stage()
        repository.git.stage(repository.abspath(path) for path in self._paths)
        return []

    def to_stage(self) -> list[str]:
        """Returns the files that the person still has to stage, relative to the root; stages nothing."""
        git = self._repository.git
        return self._known_to_git(git) if git is not None and self._paths else []

    def _known_to_git(self, git: GitRepository) -> list[str]:
        """Returns the paths without those that came and went between two commits: `git add` refuses them."""
        root = self._repository.root
        gone = {
            path: os.path.relpath(os.path.join(root, path), git.top).replace(os.sep, "/")
            for path in self._paths
            if not os.path.lexists(os.path.join(root, path))
        }
        tracked = git.is_tracked(gone.values())
        return [path for path in self._paths if path not in gone or gone[path] in tracked]


def read_bytes(path: str) -> bytes | None:
    """Returns a file's bytes, or None where it is missing."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None

"""Where a git repository lies: plain files only, no process is started.

Not here: anything that asks the `git` program (kist.git.repository). Source: gitrepository-layout(5).
"""

from __future__ import annotations

import os
from typing import NamedTuple

_MAX_POINTER_BYTES = 64 * 1024


class GitPaths(NamedTuple):
    """Absolute paths of one working tree.

    Attributes:
        top: the directory that holds `.git`.
        git_dir: what belongs to this working tree: HEAD, index.
        common_dir: what all working trees of the repository share: refs, objects, info/exclude.
    """

    top: str
    git_dir: str
    common_dir: str


def find_paths(start: str) -> GitPaths | None:
    """Returns the paths of the repository whose working tree holds the absolute path `start`, or None."""
    directory = start
    while True:
        git_dir = _git_dir(directory)
        if git_dir is not None:
            return GitPaths(directory, git_dir, _common_dir(git_dir))
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _git_dir(directory: str) -> str | None:
    path = os.path.join(directory, ".git")
    if os.path.isdir(path):
        # As git: an empty or foreign `.git` directory is no repository, and the search goes on above.
        return path if _is_git_dir(path) else None
    text = read_small_file(path)
    if text is None or not text.startswith("gitdir: "):
        return None
    target = os.path.normpath(os.path.join(directory, text.removeprefix("gitdir: ").rstrip("\r\n")))
    return target if _is_git_dir(target) else None


def _is_git_dir(path: str) -> bool:
    return os.path.lexists(os.path.join(path, "HEAD")) and os.path.isdir(
        os.path.join(_common_dir(path), "objects")
    )


def _common_dir(git_dir: str) -> str:
    text = read_small_file(os.path.join(git_dir, "commondir"))
    if text is None:
        return git_dir
    return os.path.normpath(os.path.join(git_dir, text.rstrip("\r\n")))


def read_small_file(path: str) -> str | None:
    """Returns the text of a small file, undecodable bytes as surrogate escapes; None when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, _MAX_POINTER_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return os.fsdecode(data)

"""Small things that the verbs which move Git and data together share.

Not here: what moves (moving, save), the note about it (journal).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from kist.errors import InputError
from kist.git.porcelain import Porcelain
from kist.git.repository import GitRepository

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NoGitError(InputError):
    """The command moves data and Git together, and there is no Git repository."""

    code = "no-git-repository"


def need_git(repository: Repository, command: str) -> GitRepository:
    """Returns the Git repository around this one.

    Raises: NoGitError.
    """
    git = repository.git
    if git is None:
        raise NoGitError(
            f"cannot {command}: there is no Git repository here",
            hint="make one with `git init`; if `core.no_scm` is set, also run `kist config core.no_scm false`",
        )
    return git


def offset_of(repository: Repository, git: GitRepository) -> str:
    """Returns the way from the top of Git's tree to our root, "" or ending in "/"."""
    offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/")
    return "" if offset == "." else offset + "/"


def inside(paths: Collection[str], offset: str) -> list[str]:
    """Returns those of Git's paths that lie in our root, relative to it."""
    return [path[len(offset) :] for path in paths if path.startswith(offset)]


def listed(paths: Sequence[str], most: int = 5) -> str:
    """Returns paths in quotes, the first few and how many more."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(f"'{path}'" for path in paths[:most]) + more


def told(git: Porcelain) -> list[str]:
    """Returns what git and its hooks wrote so far, as lines, and forgets it."""
    taken, git.said = git.said, []
    return [line for text in taken for line in text.splitlines()]

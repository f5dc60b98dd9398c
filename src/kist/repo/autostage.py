"""Stages metafiles that lie in the workspace unstaged, when `core.autostage` is switched on after they were made.

Not here: staging what a command just wrote (the verbs do that themselves).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_NAMES = ("dvc.yaml", "dvc.lock", ".dvcignore")


def stage_pending(repository: Repository) -> list[str]:
    """Stages new and changed metafiles, and the `.gitignore` files beside them.

    Returns: what was staged, relative to the repository's root, sorted; empty without Git.
    """
    git = repository.git
    if git is None:
        return []
    prefix = os.path.relpath(repository.root, git.top).replace(os.sep, "/") + "/"
    prefix = "" if prefix == "./" else prefix
    changed = {
        status.path: status.path[len(prefix) :]
        for status in git.status(untracked=True)
        if status.path.startswith(prefix) and status.unstaged in ("?", "M")
    }
    pending = {
        path: rel
        for path, rel in changed.items()
        if _is_metafile(rel) or (rel.endswith(".gitignore") and _is_beside_metafile(repository, rel))
    }
    pending = {path: rel for path, rel in pending.items() if not _is_nested(repository, rel)}
    if pending:
        git.stage(sorted(pending))
    return sorted(pending.values())


def _is_metafile(rel: str) -> bool:
    name = rel.rpartition("/")[2]
    return name in _NAMES or (name.endswith(".dvc") and name != ".dvc")


def _is_beside_metafile(repository: Repository, rel: str) -> bool:
    directory, _, name = rel.rpartition("/")
    if name != ".gitignore":
        return False
    return any(_is_metafile(entry) for entry in os.listdir(repository.abspath(directory)))


def _is_nested(repository: Repository, rel: str) -> bool:
    """Returns whether a path belongs to `.dvc` or to a repository inside this one."""
    parts = rel.split("/")[:-1]
    if ".dvc" in parts:
        return True
    return any(
        os.path.isdir(os.path.join(repository.root, *parts[:depth], ".dvc"))
        for depth in range(1, len(parts) + 1)
    )

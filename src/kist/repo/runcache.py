"""Moves the history of stage runs (`runs/` in the cache) to and from a folder remote, with the objects it names.

Not here: using it (a later part of the pipeline). Source: DVC 3.67.1, section 12 of its fact sheet: `runs/K2/K/V`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.remotes.local import FolderRemote
from kist.repo.transfers import open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_KEY = re.compile(r"[0-9a-f]{64}")


def copy_runs(repository: Repository, remote: str | None, *, is_push: bool) -> int:
    """Copies run entries that the other side lacks; returns how many.

    Raises: OSError.
    """
    target, _ = open_remote(repository, remote)
    assert isinstance(target, FolderRemote)
    here = os.path.join(repository.cache_dir, "runs")
    there = os.path.join(target.path, "runs")
    source, destination = (here, there) if is_push else (there, here)
    copied = 0
    for key, value in _entries(source):
        path = os.path.join(destination, key[:2], key, value)
        if os.path.exists(path):
            continue
        with open(os.path.join(source, key[:2], key, value), "rb") as stream:
            data = stream.read()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write_file(path, data)
        copied += 1
    return copied


def _entries(root: str) -> list[tuple[str, str]]:
    found = []
    for prefix in _names(root):
        for key in _names(os.path.join(root, prefix)):
            if _KEY.fullmatch(key) and key.startswith(prefix):
                values = _names(os.path.join(root, prefix, key))
                found += [(key, value) for value in values if _KEY.fullmatch(value)]
    return found


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []

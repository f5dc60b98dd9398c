"""Moves the history of stage runs (`runs/` in the cache) to and from a folder remote.

Not here: its records (pipeline.runcache), the objects that they name. Implements docs/spec/run-cache.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.formats.records import MD5
from kist.pipeline.runcache import RunCache
from kist.remotes.local import FolderRemote
from kist.repo.transfers import open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def run_cache(repository: Repository) -> RunCache:
    """Returns the run cache of a repository."""
    return RunCache(repository.cache_dir, repository.settings.shared_group)


def copy_runs(repository: Repository, remote: str | None, *, is_push: bool) -> int:
    """Copies run entries that the other side lacks; returns how many.

    Raises: OSError.
    """
    target, _ = open_remote(repository, remote)
    assert isinstance(target, FolderRemote)
    here, there = run_cache(repository), RunCache(target.path, target.store(MD5).shared_group)
    source, destination = (here, there) if is_push else (there, here)
    copied = 0
    for ids in source.ids():
        path = destination.path(ids)
        if os.path.exists(path):
            continue
        with open(source.path(ids), "rb") as stream:
            destination.write(path, stream.read())
        copied += 1
    return copied

"""Moves the history of stage runs (`runs/` in the cache) to and from a remote.

Not here: its records (pipeline.runcache), the objects that they name. Implements docs/spec/run-cache.md.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from kist.pipeline.runcache import RunCache
from kist.repo.transfers import is_versioned, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

RUN_KEY = re.compile(r"runs/([0-9a-f]{2})/\1[0-9a-f]{62}/[0-9a-f]{64}")


def run_cache(repository: Repository) -> RunCache:
    """Returns the run cache of a repository."""
    return RunCache(repository.cache_dir, repository.settings.shared_group)


def copy_runs(repository: Repository, remote: str | None, *, is_push: bool) -> int:
    """Copies run entries that the other side lacks; returns how many.

    Raises: OSError.
    """
    target, _ = open_remote(repository, remote)
    if is_versioned(target):
        repository.notes.append(
            f"remote '{target.name}' keeps files by their names: there is no place for runs"
        )
        return 0
    own = run_cache(repository)
    here = {f"runs/{ids.key[:2]}/{ids.key}/{ids.value}": ids for ids in own.ids()}
    there = {key for key in target.keys("runs/") if RUN_KEY.fullmatch(key)}
    wanted = sorted(here.keys() - there if is_push else there - here.keys())
    for key in wanted:
        if is_push:
            with open(own.path(here[key]), "rb") as stream:
                target.write_key(key, stream.read())
        else:
            path = os.path.join(repository.cache_dir, *key.split("/"))
            own.write(path, target.read_key(key))
    target.close()
    return len(wanted)

"""`repro --pull`: fetches what stages lack. The caller holds the lock.

Implements docs/spec/repro.md, section 2.2.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kist.repo.checkout import CheckoutOptions
from kist.repo.collect import Stage
from kist.repo.pull import pull_locked
from kist.repo.runcache import copy_runs
from kist.repo.targets import dependencies
from kist.repo.transfers import can_list, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def pull_runs(repository: Repository) -> None:
    """Fetches the history of runs, where the remote can tell what it has."""
    remote, _ = open_remote(repository, None)
    is_listed = can_list(remote)
    remote.close()
    if is_listed:
        copy_runs(repository, None, is_push=False)
    else:
        repository.notes.append(
            f"remote '{remote.name}' cannot be listed: the history of runs was not fetched"
        )


def pull_stage(repository: Repository, shown: str) -> bool:
    """Fetches and checks out a stage's outputs; returns whether all of them are there then.

    Args: shown: the stage as the person types it.
    """
    result = pull_locked(repository, [shown], options=CheckoutOptions(force=True))
    return not result.transfer.failed and result.checkout.error(repository) is None


def pull_dependencies(repository: Repository, stage: Stage, stages: Sequence[Stage]) -> bool:
    """Fetches the dependencies that are missing and that another stage or metafile has; returns whether it did.

    Args: stages: all there are.
    """
    outs = [out.path for other in stages for out in other.outs]
    missing = [
        path
        for path in dependencies(stage)
        if not os.path.lexists(repository.abspath(path))
        and any(path == out or path.startswith(out + "/") for out in outs)
    ]
    if missing:
        targets = [repository.shown(path) for path in missing]
        pull_locked(repository, targets, options=CheckoutOptions(force=True))
    return bool(missing)

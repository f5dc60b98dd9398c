"""Experiments that wait, run or failed: those of our queue, and what DVC's says in Git; nothing is unpickled.

Reads only. Not here: the queue's files (experiments.queue).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kist.experiments.queue import SUCCESS
from kist.repo.exp_refs import Place
from kist.repo.exp_task import queue_of

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_STASHES = (("refs/exps/celery/stash", "queued"), ("refs/exps/celery/failed", "failed"))
# Source: DVC 3.67.1: `dvc-exp:HEAD:BASELINE:NAME`, with the branch behind it.
_MESSAGE = re.compile(r"dvc-exp:[0-9a-f]+:([0-9a-f]{40,64}):([^:]*)")


class Waiting(NamedTuple):
    """One that has no reference yet: its commit, name and baseline; `state` is "queued", "running" or "failed"."""

    sha: str
    name: str | None
    baseline: str
    state: str
    executor: str | None


def waiting(repository: Repository, place: Place) -> list[Waiting]:
    """Returns what waits, runs or failed, in the order in which it came."""
    queue = queue_of(repository)
    found = []
    for task in queue.tasks():
        state = queue.state(task)
        if state != SUCCESS:
            executor = "kist" if state == "Running" else None
            found.append(Waiting(task.id, task.name, task.baseline, state.lower(), executor))
    known = place.plumbing.known(one.sha for one in found)
    return [*(one for one in found if one.sha in known), *_of_dvc(place)]


def _of_dvc(place: Place) -> Iterator[Waiting]:
    for ref, state in _STASHES:
        for sha, message in place.plumbing.reflog(ref):
            match = _MESSAGE.search(message)
            if match is not None:
                yield Waiting(sha, match[2] or None, match[1], state, "dvc-task")

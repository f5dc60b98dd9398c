"""Remembers which checkouts are under way, so that what a kill left half made is not taken for somebody's deletions.

Disposable: without it, or with garbage in it, everything works as if no checkout had been killed. Not durable: after a
power cut it may be missing. Not here: finishing them (recover). Implements docs/spec/checkout.md, section 6.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kist.base import atomic

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def _file(repository: Repository) -> str:
    return os.path.join(repository.dvc_dir, "tmp", "kist", "checking-out.json")


@contextmanager
def under_way(repository: Repository, paths: Collection[str]) -> Iterator[None]:
    """While entered, paths count as being checked out; when it ends with an error, or is killed, they go on to.

    Args: paths: outputs, or paths inside of them, relative to the root.
    """
    if paths:
        _write(repository, {*unfinished(repository), *paths})
    yield
    if paths:
        finished(repository, paths)


def may_be_unfinished(repository: Repository) -> bool:
    """Says whether a checkout was left half made; one look at the disk."""
    return os.path.lexists(_file(repository))


def unfinished(repository: Repository) -> list[str]:
    """Returns the paths whose checkout did not end, sorted."""
    import json  # only where something is checked out

    try:
        with open(_file(repository), "rb") as stream:
            found = json.loads(stream.read(1 << 24))
    except (OSError, ValueError, RecursionError):
        return []
    return sorted(path for path in found if isinstance(path, str)) if isinstance(found, list) else []


def finished(repository: Repository, paths: Collection[str]) -> None:
    """Forgets paths, and what is below them: they are as they are to be."""
    if not may_be_unfinished(repository):
        return
    before = unfinished(repository)
    after = {path for path in before if not any(path == one or path.startswith(one + "/") for one in paths)}
    if not after:
        atomic.remove_quietly(_file(repository))
    elif len(after) < len(before):
        _write(repository, after)


def _write(repository: Repository, paths: Collection[str]) -> None:
    import json

    try:
        os.makedirs(os.path.dirname(_file(repository)), exist_ok=True)
        data = json.dumps(sorted(paths)).encode("ascii") + b"\n"
        atomic.write_file(_file(repository), data, durable=False)
    except OSError:
        pass  # a read-only state folder stops no checkout (rule R11)

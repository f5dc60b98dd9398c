"""`push`: sends what a remote lacks, or holds damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kist.repo.absent import absent_parts
from kist.repo.targets import expand_globs
from kist.repo.transfers import Scope, TransferResult, transfer, wanted_outputs

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def push(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    scope: Scope = Scope(),
    with_deps: bool = False,
    recursive: bool = False,
    use_glob: bool = False,
    with_runs: bool = False,
    is_detailed: bool = False,
) -> tuple[TransferResult, list[str]]:
    """Sends outputs; returns what happened and lines to tell the person.

    Args: is_detailed: also what became of each object.

    Raises: KistError, OSError.

    Holds: on the remote a manifest stands only when its files do; nothing local changes but what is remembered.
    """
    with repository.lock():
        if use_glob:
            targets = expand_globs(repository, targets)
        items = wanted_outputs(repository, targets, scope=scope, with_deps=with_deps, recursive=recursive)
        result, notes = transfer(
            repository, items, remote=remote, is_push=True, jobs=jobs, is_detailed=is_detailed
        )
        result = result._replace(absent=absent_parts(repository, items))
        if with_runs:
            from kist.repo.runcache import copy_runs  # few ask for it

            result = result._replace(moved=result.moved + copy_runs(repository, remote, is_push=True))
            notes += repository.take_notes()
        return result, notes

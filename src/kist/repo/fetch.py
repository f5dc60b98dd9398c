"""`fetch`: brings what the cache lacks from a remote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kist.repo.absent import absent_parts
from kist.repo.targets import Selected
from kist.repo.transfers import Scope, TransferResult, transfer, wanted_outputs

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def fetch(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    scope: Scope = Scope(),
    with_deps: bool = False,
    recursive: bool = False,
    max_size: int | None = None,
    kinds: frozenset[str] = frozenset(),
    with_runs: bool = False,
    is_detailed: bool = False,
) -> tuple[TransferResult, list[str]]:
    """Fetches outputs; returns what happened and lines to tell the person.

    Args:
        max_size: outputs above this many bytes stay out.
        is_detailed: also what became of each object.
        kinds: only outputs of these kinds, of "metrics" and "plots"; empty means all.

    Raises: KistError, OSError.
    """
    with repository.lock():
        repository.sweep_now()
        items = wanted_outputs(repository, targets, scope=scope, with_deps=with_deps, recursive=recursive)
        chosen = [item for item in items if _is_wanted(item, max_size, kinds)]
        result, notes = brought(repository, chosen, remote=remote, jobs=jobs, is_detailed=is_detailed)
        result = result._replace(absent=absent_parts(repository, chosen))
        if with_runs:
            from kist.repo.runcache import copy_runs  # few ask for it

            copy_runs(repository, remote, is_push=False)  # not counted, as in DVC
        return result, notes


def brought(
    repository: Repository,
    items: Sequence[Selected],
    *,
    remote: str | None,
    jobs: int | None,
    is_detailed: bool = False,
) -> tuple[TransferResult, list[str]]:
    """Returns what `transfer` returns, with imports from their sources."""
    if any(item.stage.is_import for item in items):
        from kist.repo.bringing import transfer_with_sources  # many repositories import nothing

        return transfer_with_sources(repository, items, remote=remote, jobs=jobs, is_detailed=is_detailed)
    return transfer(repository, items, remote=remote, is_push=False, jobs=jobs, is_detailed=is_detailed)


def _is_wanted(item: Selected, max_size: int | None, kinds: frozenset[str]) -> bool:
    output = item.out.output
    if max_size is not None and (output.size or 0) > max_size:
        return False
    if not kinds:
        return True
    return "metrics" in kinds and bool(output.metric) or "plots" in kinds and bool(output.plot)

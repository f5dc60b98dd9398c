"""`pull`: fetch, then check out; an object that turns out damaged on the way is fetched again, once."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.repo.absent import absent_parts
from kist.repo.checkout import CheckoutOptions, CheckoutResult, checkout_items
from kist.repo.fetch import brought
from kist.repo.journal import settle_journal
from kist.repo.targets import expand_globs, select
from kist.repo.transfers import Scope, TransferResult, wanted_outputs

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class PullResult(NamedTuple):
    """What `pull` did: both halves, and lines to tell the person."""

    transfer: TransferResult
    checkout: CheckoutResult
    notes: list[str]


def pull(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    scope: Scope = Scope(),
    use_glob: bool = False,
    with_runs: bool = False,
    options: CheckoutOptions = CheckoutOptions(),
    is_detailed: bool = False,
) -> PullResult:
    """Fetches and checks out.

    Args: is_detailed: also what became of each object.

    Raises: KistError, OSError.
    """
    with repository.lock():
        repository.sweep_now()
        if use_glob:
            targets = expand_globs(repository, targets)
        result = pull_locked(
            repository,
            targets,
            remote=remote,
            jobs=jobs,
            scope=scope,
            with_runs=with_runs,
            options=options,
            is_detailed=is_detailed,
        )
        if not targets and not result.transfer.failed and result.checkout.error(repository) is None:
            settle_journal(repository)
        return result


def pull_locked(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    scope: Scope = Scope(),
    with_runs: bool = False,
    options: CheckoutOptions = CheckoutOptions(),
    left_alone: Collection[str] = (),
    is_detailed: bool = False,
) -> PullResult:
    """Fetches and checks out, as `pull`; the caller holds the lock.

    Args:
        left_alone: paths of outputs whose data stays as it is.
        is_detailed: also what became of each object.
    """
    items = wanted_outputs(
        repository, targets, scope=scope, with_deps=options.with_deps, recursive=options.recursive
    )
    items = [item for item in items if item.out.path not in left_alone]
    came = 0
    if any(item.stage.is_import for item in items):
        from kist.repo.bringing import complete_imports, is_partial  # many repositories import nothing

        partial = [item for item in items if is_partial(item)]
        came, completed = complete_imports(repository, partial, jobs=jobs)
        repository.notes += [f"completed '{repository.shown(path)}'" for path in completed]
    # A path that only the workspace has is taken away: that is something done.
    parts = [item for item in items if item.inner and not os.path.lexists(repository.abspath(item.path))]
    moved, notes = brought(repository, items, remote=remote, jobs=jobs, is_detailed=is_detailed)
    moved = moved._replace(moved=moved.moved + came)
    if with_runs:
        from kist.repo.runcache import copy_runs  # few ask for it

        copy_runs(repository, remote, is_push=False)  # not counted, as in DVC
    here = select(repository, targets, with_deps=options.with_deps, recursive=options.recursive)
    done = checkout_items(repository, here, options, is_everything=not targets, left_alone=left_alone)
    # Only with a sound manifest are its files looked at, which may be damaged in their turn.
    if done.damaged:
        from kist.repo.outcomes import joined  # the cache is seldom damaged
    for _pointed_to in ("manifests", "files"):
        if not done.damaged:
            break
        again, _ = brought(repository, here, remote=remote, jobs=jobs, is_detailed=is_detailed)
        moved = moved._replace(
            moved=moved.moved + again.moved,
            size_bytes=moved.size_bytes + again.size_bytes,
            failed=again.failed,
            errors=again.errors,
            objects=joined(moved.objects, again.objects),
        )
        healed = checkout_items(repository, here, options, left_alone=left_alone)
        told = {change.path for change in done.changes}
        done = healed._replace(
            changes=[*done.changes, *(change for change in healed.changes if change.path not in told)],
            added=done.added + healed.added,
            modified=done.modified + healed.modified,
            removed=done.removed + healed.removed,
        )
    return PullResult(moved._replace(absent=absent_parts(repository, parts)), done, notes)

"""The half of `fetch` and `pull` that knows imports: their data comes from where it was imported from.

Data of other repositories is asked for at its source, then in the own remotes; data of addresses the other way round.
An import that was never brought gets its data and its metafile. Not here: sources (import_data).
Implements docs/spec/imports.md, section 8.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kist.errors import KistError
from kist.formats.metafile import with_checksum
from kist.formats.records import LEGACY_MD5, MD5
from kist.repo.at_address import locate_dependency
from kist.repo.collect import Stage
from kist.repo.import_data import Named, bring_import, carrier_of, find_named, is_of_repository
from kist.repo.importing import ImportOptions, fill_from, metafile_of, with_data
from kist.repo.metafiles import Changes
from kist.repo.sources import bring
from kist.repo.targets import Selected
from kist.repo.transfers import TransferResult, transfer
from kist.transfer import plan

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def transfer_with_sources(
    repository: Repository,
    items: Sequence[Selected],
    *,
    remote: str | None,
    jobs: int | None,
    is_detailed: bool = False,
) -> tuple[TransferResult, list[str]]:
    """Fetches outputs as `transfer` does, imports from their sources.

    Returns: as `transfer`; `errors` has what spoke against each import that could not be brought.
    """
    first, second = _by_order(repository, items)
    if not first and not second:
        return transfer(repository, items, remote=remote, is_push=False, jobs=jobs, is_detailed=is_detailed)
    brought, errors = _brought(repository, first, jobs)
    has_remotes = bool(repository.settings.remotes)
    left = [item for item in items if item not in first or (has_remotes and item.path in errors)]
    if not has_remotes:
        left = [item for item in left if item not in second]
    done, notes = transfer(repository, left, remote=remote, is_push=False, jobs=jobs, is_detailed=is_detailed)
    failed = {label for label, _, _ in done.failed}
    late = [item for item in second if item.path in failed or not has_remotes]
    more, late_errors = _brought(repository, late, jobs)
    if has_remotes:
        errors = {path: error for path, error in errors.items() if path in failed}
    errors |= late_errors
    settled = {item.path for item in [*first, *late]}
    return done._replace(
        moved=done.moved + brought[0] + more[0],
        size_bytes=done.size_bytes + brought[1] + more[1],
        failed=[failure for failure in done.failed if failure[0] not in settled],
        errors=list(errors.values()),
    ), notes


def _by_order(repository: Repository, items: Sequence[Selected]) -> tuple[list[Selected], list[Selected]]:
    """Returns imports that the cache lacks: those that are asked for at their source first, and those last."""
    first: list[Selected] = []
    second: list[Selected] = []
    for item in items:
        digest = item.out.output.digest
        if not item.stage.is_import or not item.out.output.use_cache or not item.out.is_inside:
            continue
        if digest is None or digest.algorithm not in (MD5, LEGACY_MD5):
            continue
        need = plan.Need(item.path, digest, item.inner)
        if plan.lacks(need, repository.store_for(digest.algorithm)):
            (first if is_of_repository(item.stage) else second).append(item)
    return first, second


def _brought(
    repository: Repository, items: Sequence[Selected], jobs: int | None
) -> tuple[tuple[int, int], dict[str, KistError]]:
    """Brings imports from their sources; one that fails does not keep the others from coming."""
    count = size = 0
    errors: dict[str, KistError] = {}
    for item in items:
        digest = item.out.output.digest
        assert digest is not None
        carrier = carrier_of(repository, algorithm=digest.algorithm, jobs=jobs)
        try:
            done = bring_import(repository, item.stage, item.out, carrier)
        except KistError as error:
            errors[item.path] = error
            continue
        count += done.moved
        size += done.size_moved
        repository.trust(carrier.store).add(carrier.records)
    return (count, size), errors


def is_partial(item: Selected) -> bool:
    """Says whether an import's metafile does not tell yet what its data is."""
    output = item.out.output
    return (
        item.stage.is_import
        and output.digest is None
        and output.files is None
        and output.use_cache
        and item.out.is_inside
        and item.stage.metafile is not None
        and item.stage.metafile.deps[0].db is None
    )


def complete_imports(
    repository: Repository, items: Sequence[Selected], *, jobs: int | None
) -> tuple[int, list[str]]:
    """Brings imports that were never brought, and writes into their metafiles what they are.

    Returns: how many objects came, and the metafiles, relative to the root.

    Raises: as `bring_import`.
    """
    count = 0
    changes = Changes(repository)
    for item in items:
        moved = _completed(repository, item.stage, changes, jobs)
        count += moved
    return count, changes.paths


def _completed(repository: Repository, stage: Stage, changes: Changes, jobs: int | None) -> int:
    metafile = stage.metafile
    assert metafile is not None
    dep, out = metafile.deps[0], metafile.outs[0]
    if dep.repo is not None:
        named = Named.of(dep)
        source = find_named(repository, named, rev=named.rev_lock or named.rev, stage=stage)
        brought = bring(source, carrier_of(repository, jobs=jobs))
        dep = dep._replace(repo=named._replace(rev_lock=source.commit).spec())
        filled = metafile._replace(outs=(with_data(out, brought),), deps=(dep,))
        changes.write_metafile(stage.file, with_checksum(filled))
        return brought.moved
    located = locate_dependency(repository, dep, stage)
    try:
        options = {key: str(value) for key, value in (dep.fs_config or {}).items()}
        done = fill_from(repository, located, dep.path, options, ImportOptions(jobs=jobs), stage.outs[0].path)
    finally:
        located.close()
    written = metafile_of(repository, stage.file, os.path.basename(out.path), done)
    changes.write_metafile(
        stage.file,
        with_checksum(written._replace(wdir=metafile.wdir, outs=(written.outs[0]._replace(path=out.path),))),
    )
    return done.brought.moved if done.brought is not None else 0

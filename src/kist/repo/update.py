"""`update`: takes what imports' sources have now.

Not here: sources (import_data, at_address). Implements docs/spec/imports.md, section 9.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.metafile import with_checksum
from kist.formats.records import Dependency
from kist.repo.at_address import locate_dependency
from kist.repo.checkout import CheckoutOptions, UnsavedFilesError, checkout_items, refusal
from kist.repo.collect import Stage, stage_of_metafile
from kist.repo.import_data import Named, carrier_of, find_named
from kist.repo.importing import ImportOptions, fill_from, with_data
from kist.repo.metafiles import Changes
from kist.repo.sources import Brought, bring
from kist.repo.targets import all_outputs, meant_stages

if TYPE_CHECKING:
    from kist.repo.repository import Repository


Started = Callable[[Stage, bool], None]
"""Told of each import, and whether its source has something newer."""


class CannotUpdateError(InputError):
    """A target is no import, or an option does not go with its kind."""

    code = "cannot-update"


class UpdateOptions(NamedTuple):
    """What `update` was asked for besides its targets.

    Attributes:
        rev: take this revision, and follow it from now on.
        downloads: False with `--no-download`.
        to_remote: send the data to a remote alone; `remote` names it.
    """

    rev: str | None = None
    recursive: bool = False
    downloads: bool = True
    to_remote: bool = False
    remote: str | None = None
    jobs: int | None = None


class Updated(NamedTuple):
    """What was updated: metafiles relative to the root, all and those whose bytes changed; what is still to stage."""

    metafiles: list[str]
    changed: list[str]
    to_stage: list[str]


def update(
    repository: Repository,
    targets: Sequence[str],
    options: UpdateOptions,
    *,
    started: Started = lambda stage, is_newer: None,
) -> Updated:
    """Brings imports up to date, one after the other.

    Raises: CannotUpdateError; UnsavedFilesError: the workspace's data was edited; and whatever speaks against a source.

    Holds: a kill leaves each metafile old or new; running it again does the rest.
    """
    with repository.lock():
        repository.sweep_now()
        stages = [
            stage
            for stage in meant_stages(repository, targets, recursive=options.recursive)
            if not options.recursive or stage.is_import
        ]
        for stage in stages:
            _refuse(repository, stage, options)
        changes = Changes(repository)
        changed = []
        for stage in stages:
            if _update_one(repository, stage, options, changes, started):
                changed.append(stage.file)
        return Updated([stage.file for stage in stages], changed, changes.finish())


def _refuse(repository: Repository, stage: Stage, options: UpdateOptions) -> None:
    shown = repository.shown(stage.file)
    metafile = stage.metafile
    if not stage.is_import or metafile is None or metafile.deps[0].db is not None:
        raise CannotUpdateError(f"cannot update '{shown}': it is no import", hint="kist list . -R --dvc-only")
    dep = metafile.deps[0]
    if dep.repo is None and options.rev is not None:
        raise CannotUpdateError(
            f"cannot update '{shown}' to '{options.rev}': an address has no revisions",
            hint="leave `--rev` out",
        )
    if dep.repo is not None and options.to_remote:
        raise CannotUpdateError(
            f"cannot update '{shown}' straight to a remote: its data stays with the repository that has it",
            hint=shell_line("kist", "update", shown),
        )


def _update_one(
    repository: Repository, stage: Stage, options: UpdateOptions, changes: Changes, started: Started
) -> bool:
    """Updates one import; returns whether there was something newer."""
    metafile = stage.metafile
    assert metafile is not None
    take = _of_address if metafile.deps[0].repo is None else _of_repository
    found = take(repository, stage, metafile.deps[0], options, started)
    if found is None:
        _finish(repository, stage, options)
        return False
    dep, brought = found
    fresh = with_checksum(metafile._replace(deps=(dep,), outs=(with_data(metafile.outs[0], brought),)))
    changes.write_metafile(stage.file, fresh)
    if not options.downloads or options.to_remote:
        _remove(repository.abspath(stage.outs[0].path))
        return True
    items = all_outputs([stage_of_metafile(stage.file, fresh)])
    error = checkout_items(repository, items, CheckoutOptions(force=True)).error(repository)
    if error is not None:
        raise error
    return True


def _finish(repository: Repository, stage: Stage, options: UpdateOptions) -> None:
    """Puts the recorded version into the workspace where that loses nothing: an earlier run may have been killed."""
    items = all_outputs([stage])
    if options.downloads and not options.to_remote and refusal(repository, items) is None:
        checkout_items(repository, items, CheckoutOptions(force=True))


def _remove(path: str) -> None:
    """Removes data of a version that is in the cache: what a metafile without content names is not there, as in DVC."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil  # seldom asked for

        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _refuse_edits(repository: Repository, stage: Stage) -> None:
    """Raises UnsavedFilesError where the workspace has content at the import's place that no cache has."""
    out = stage.outs[0]
    if out.output.digest is None and os.path.lexists(repository.abspath(out.path)):
        shown = repository.shown(out.path)
        raise UnsavedFilesError(
            f"cannot update '{repository.shown(stage.file)}': '{shown}' is there, and was never recorded",
            hint=f"move it away with `{shell_line('mv', shown, shown + '.old')}`",
        )
    error = refusal(repository, all_outputs([stage]))
    if error is not None:
        raise error


def _of_repository(
    repository: Repository, stage: Stage, dep: Dependency, options: UpdateOptions, started: Started
) -> tuple[Dependency, Brought | None] | None:
    """Returns what a metafile is to say of another repository's data; None where it says so."""
    named = Named.of(dep)
    if options.rev is not None:
        named = named._replace(rev=options.rev)
    source = find_named(repository, named, rev=named.rev, stage=stage)
    spec = named._replace(rev_lock=source.commit).spec()
    is_known = stage.outs[0].output.digest is not None or not options.downloads
    is_newer = spec != dep.repo or not is_known
    started(stage, is_newer)
    if not is_newer:
        return None
    _refuse_edits(repository, stage)
    carrier = carrier_of(repository, jobs=options.jobs)
    brought = bring(source, carrier) if options.downloads else None
    repository.trust(carrier.store).add(carrier.records)
    return dep._replace(repo=spec), brought


def _of_address(
    repository: Repository, stage: Stage, dep: Dependency, options: UpdateOptions, started: Started
) -> tuple[Dependency, Brought | None] | None:
    """Returns what a metafile is to say of what is at an address; None where it says so."""
    located = locate_dependency(repository, dep, stage)
    try:
        asked = ImportOptions(
            downloads=options.downloads, to_remote=options.to_remote, remote=options.remote, jobs=options.jobs
        )
        fs_config = {key: str(value) for key, value in (dep.fs_config or {}).items()}
        filled = fill_from(repository, located, dep.path, fs_config, asked, stage.outs[0].path)
    finally:
        located.close()
    is_known = stage.outs[0].output.digest is not None or not options.downloads
    is_newer = filled.dep != dep or not is_known
    started(stage, is_newer)
    if not is_newer:
        return None
    _refuse_edits(repository, stage)
    return filled.dep, filled.brought

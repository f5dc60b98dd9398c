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
    started: Callable[[Stage], None] = lambda stage: None,
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
            started(stage)
            if _update_one(repository, stage, options, changes):
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


def _update_one(repository: Repository, stage: Stage, options: UpdateOptions, changes: Changes) -> bool:
    metafile = stage.metafile
    assert metafile is not None
    is_placed = options.downloads and not options.to_remote
    if is_placed:
        _refuse_edits(repository, stage)
    if metafile.deps[0].repo is not None:
        dep, brought = _of_repository(repository, stage, metafile.deps[0], options)
    else:
        dep, brought = _of_address(repository, stage, metafile.deps[0], options)
    out = metafile.outs[0]
    if brought is None and _names_the_same(metafile.deps[0], dep):
        fresh = metafile._replace(deps=(dep,))
    else:
        fresh = metafile._replace(deps=(dep,), outs=(with_data(out, brought),))
    fresh = with_checksum(fresh)
    items = all_outputs([stage_of_metafile(stage.file, fresh)])
    was_written = changes.write_metafile(stage.file, fresh)
    if is_placed:
        error = checkout_items(repository, items, CheckoutOptions(force=True)).error(repository)
        if error is not None:
            raise error
    return was_written


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


def _names_the_same(old: Dependency, new: Dependency) -> bool:
    return old.digest == new.digest and old.files == new.files and old.repo == new.repo


def _of_repository(
    repository: Repository, stage: Stage, dep: Dependency, options: UpdateOptions
) -> tuple[Dependency, Brought | None]:
    named = Named.of(dep)
    if options.rev is not None:
        named = named._replace(rev=options.rev)
    source = find_named(repository, named, rev=named.rev, stage=stage)
    carrier = carrier_of(repository, jobs=options.jobs)
    brought = bring(source, carrier) if options.downloads else None
    repository.trust(carrier.store).add(carrier.records)
    return dep._replace(repo=named._replace(rev_lock=source.commit).spec()), brought


def _of_address(
    repository: Repository, stage: Stage, dep: Dependency, options: UpdateOptions
) -> tuple[Dependency, Brought | None]:
    located = locate_dependency(repository, dep, stage)
    try:
        asked = ImportOptions(
            downloads=options.downloads, to_remote=options.to_remote, remote=options.remote, jobs=options.jobs
        )
        fs_config = {key: str(value) for key, value in (dep.fs_config or {}).items()}
        filled = fill_from(repository, located, dep.path, fs_config, asked, stage.outs[0].path)
    finally:
        located.close()
    return filled.dep, filled.brought

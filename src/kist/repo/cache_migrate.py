"""`cache migrate`: objects of DVC 2 and older get their places of DVC 3, and, if asked, metafiles name them so.

Not here: the objects (store.migrate). Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.formats.records import LEGACY_MD5
from kist.repo.collect import LOCK_FILE, PIPELINE_FILE, Stage, WorkspaceSource, collect
from kist.repo.commit import commit_stage
from kist.repo.metafiles import Changes
from kist.repo.tracking import CannotCommitError
from kist.store.migrate import migrate_store

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class Migration(NamedTuple):
    """What was done, or with `dry` would be.

    Attributes:
        objects: how many were stored anew; with `dry` all that are in the old place.
        damaged: ids of old objects that are not what their names say; they were left.
        files: metafiles that were written anew, in the order of their names; None when that was not asked for.
        to_stage: files that the person still has to stage.
    """

    objects: int
    damaged: list[str]
    files: list[str] | None
    to_stage: list[str]


def migrate_cache(repository: Repository, *, with_metafiles: bool, dry: bool) -> Migration:
    """Stores old objects in the new place; with `with_metafiles` takes the present data of old metafiles up anew.

    Raises: CannotCommitError: data of an old metafile is not in the workspace; nothing was changed.

    Holds: nothing is removed. A kill leaves metafiles old or new, whose objects are in the cache.
    """
    with repository.lock():
        stages = _old_stages(repository) if with_metafiles else []
        files = sorted({stage.file for stage in stages}) if with_metafiles else None
        if dry:
            return Migration(len(repository.legacy_cache.oids()), [], files, [])
        repository.sweep_now()
        _refuse_absent(repository, stages)
        done = migrate_store(
            repository.legacy_cache,
            repository.cache,
            workers=repository.workers,
            progress=repository.progress,
        )
        changes = Changes(repository)
        for stage in stages:
            commit_stage(repository, stage, changes, remember_run=True)
        return Migration(len(done.new), done.damaged, files, changes.to_stage() if stages else [])


def shown_file(repository: Repository, file: str) -> str:
    """Returns a metafile as the person knows it; of a pipeline also what is written."""
    shown = repository.shown(file)
    if os.path.basename(file) != PIPELINE_FILE:
        return shown
    return f"{shown} ({os.path.join(os.path.dirname(shown), LOCK_FILE)})"


def _old_stages(repository: Repository) -> list[Stage]:
    def fail(_: str, error: Exception) -> None:
        raise error

    return [stage for stage in collect(WorkspaceSource(repository), on_damage=fail) if _is_old(stage)]


def _is_old(stage: Stage) -> bool:
    entries = [out.output.digest for out in stage.outs]
    if stage.metafile is not None:
        entries += [dep.digest for dep in stage.metafile.deps]
    if stage.locked is not None:
        entries += [dep.digest for dep in stage.locked.deps]
    return any(digest is not None and digest.algorithm == LEGACY_MD5 for digest in entries)


def _refuse_absent(repository: Repository, stages: list[Stage]) -> None:
    for stage in stages:
        for out in stage.outs:
            if out.is_inside and not os.path.lexists(repository.abspath(out.path)):
                shown = repository.shown(out.path)
                raise CannotCommitError(
                    f"cannot migrate '{repository.shown(stage.file)}': '{shown}' does not exist",
                    hint=shell_line("kist", "checkout", shown),
                )

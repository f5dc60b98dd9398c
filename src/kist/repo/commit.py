"""`commit`: takes up the present content of outputs as the truth.

Not here: hashing and storing (tracking). Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.formats.metafile import with_checksum
from kist.formats.records import Metafile
from kist.repo.collect import Stage
from kist.repo.metafiles import Changes
from kist.repo.status import StatusItem, stage_status
from kist.repo.targets import select
from kist.repo.tracking import CannotCommitError, store_paths, updated_output

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def commit(
    repository: Repository,
    targets: Sequence[str],
    *,
    force: bool = False,
    with_deps: bool = False,
    recursive: bool = False,
    relink: bool = True,
    confirm: Callable[[str], bool],
) -> list[str]:
    """Stores present content and rewrites metafiles.

    Args:
        force: take changed data, dependencies, params and commands without asking.
        confirm: asked, with a question, for each changed stage otherwise.

    Returns: files that the person still has to stage.

    Raises:
        CannotCommitError, OSError.
    """
    with repository.lock():
        repository.sweep_now()
        items = select(repository, targets, with_deps=with_deps, recursive=recursive, may_be_inner=False)
        stages = list({item.stage.address: item.stage for item in items}.values())
        changes = Changes(repository)
        for stage in stages:
            _commit_stage(repository, stage, changes, force=force, relink=relink, confirm=confirm)
        return changes.finish()


def _commit_stage(
    repository: Repository,
    stage: Stage,
    changes: Changes,
    *,
    force: bool,
    relink: bool,
    confirm: Callable[[str], bool],
) -> None:
    status = stage_status(repository, stage)
    if not status:
        return
    shown = repository.shown(stage.file) + (f":{stage.name}" if stage.name else "")
    if (
        not force
        and not _is_only_uncached(status)
        and not confirm(f"'{shown}' has changed. Are you sure you want to commit it?")
    ):
        raise CannotCommitError(
            f"cannot commit '{shown}': it has changed, and nobody confirmed",
            hint=shell_line("kist", "commit", "--force", shown),
        )
    if stage.metafile is not None and stage.resolved is None:
        _commit_metafile(repository, stage, stage.metafile, changes, relink=relink)
        return
    from kist.repo.commit_stage import commit_pipeline_stage  # needs the lock file's part

    commit_pipeline_stage(repository, stage, changes, relink=relink)


def _is_only_uncached(status: list[StatusItem]) -> bool:
    """Says whether the data is as recorded and only lacks its copy in the cache: nothing that needs asking."""
    return all(
        isinstance(item, dict)
        and set(item) == {"changed outs"}
        and set(item["changed outs"].values()) == {"not in cache"}
        for item in status
    )


def _commit_metafile(
    repository: Repository, stage: Stage, metafile: Metafile, changes: Changes, *, relink: bool
) -> None:
    cached = [out for out in stage.outs if out.is_inside]
    for out in cached:
        if not os.path.lexists(repository.abspath(out.path)):
            raise CannotCommitError(
                f"cannot commit '{repository.shown(stage.file)}': '{repository.shown(out.path)}' does not exist",
                hint=shell_line("kist", "checkout", repository.shown(out.path)),
            )
    outs = list(metafile.outs)
    for use_cache in (True, False):
        chosen = [out for out in cached if out.output.use_cache is use_cache]
        stored = store_paths(repository, [out.path for out in chosen], to_cache=use_cache, relink=relink)
        for out, tracked in zip(chosen, stored, strict=True):
            at = next(k for k, own in enumerate(stage.outs) if own.path == out.path)
            outs[at] = updated_output(outs[at], tracked)
    changed = metafile._replace(outs=tuple(outs))
    if changed.deps or changed.checksum:
        changed = with_checksum(changed)
    if changed != metafile:
        changes.write_metafile(stage.file, changed)
    for out in cached:
        if out.output.use_cache:
            changes.ignore(posixpath.normpath(out.path))

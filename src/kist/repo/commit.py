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
from kist.formats.records import LEGACY_MD5, MD5, Metafile
from kist.repo.collect import Stage
from kist.repo.metafiles import Changes
from kist.repo.sight import Sight
from kist.repo.status import StatusItem, stage_status
from kist.repo.targets import meant_stages
from kist.repo.tracking import CannotCommitError, relink_paths, store_paths, updated_output

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
    """Stores present content and rewrites metafiles. A path inside of a tracked directory means all of it.

    Args:
        force: take changed data, dependencies, params and commands without asking.
        confirm: asked, with a question, for each changed stage otherwise.

    Returns: files that the person still has to stage. As in DVC `core.autostage` stages nothing here.

    Raises:
        CannotCommitError, OSError.
    """
    with repository.lock():
        repository.sweep_now()
        stages = meant_stages(repository, targets, with_deps=with_deps, recursive=recursive)
        changes = Changes(repository)
        inner = {} if with_deps or recursive else _inner_paths(repository, targets, stages)
        for stage in stages:
            parts = inner.get(stage.address, [])
            whole = relink and not parts
            _commit_stage(repository, stage, changes, force=force, relink=whole, confirm=confirm)
            if relink and parts:
                relink_paths(repository, parts)
        return changes.to_stage()


def _inner_paths(
    repository: Repository, targets: Sequence[str], stages: Sequence[Stage]
) -> dict[str, list[str]]:
    """Returns stage -> paths inside of its directories, if nothing but such paths is meant: they alone are linked."""
    paths = [repository.rel(target) for target in targets if ":" not in target]
    outs = [out for stage in stages for out in stage.outs]
    if len(paths) < len(targets) or not all(
        any(path.startswith(out.path + "/") for out in outs) for path in paths
    ):
        return {}
    return {
        stage.address: [
            path
            for path in dict.fromkeys(paths)
            if any(path.startswith(out.path + "/") for out in stage.outs)
            and os.path.lexists(repository.abspath(path))
        ]
        for stage in stages
    }


def _commit_stage(
    repository: Repository,
    stage: Stage,
    changes: Changes,
    *,
    force: bool,
    relink: bool,
    confirm: Callable[[str], bool],
) -> None:
    status = stage_status(repository, stage, Sight(repository))
    is_pipeline = stage.metafile is None or stage.resolved is not None
    if not status and not (force and is_pipeline and not _is_old(stage)):
        if relink:
            _relink(repository, stage)
        return
    is_taken = force
    if not force and not _is_only_uncached(status):
        shown = repository.shown(stage.file) + (f":{stage.name}" if stage.name else "")
        if not confirm(f"'{shown}' has changed. Are you sure you want to commit it?"):
            raise CannotCommitError(
                f"cannot commit '{shown}': it has changed, and nobody confirmed",
                hint=shell_line("kist", "commit", "--force", shown),
            )
        is_taken = True
    commit_stage(repository, stage, changes, relink=relink, remember_run=is_taken)


def commit_stage(
    repository: Repository, stage: Stage, changes: Changes, *, relink: bool = True, remember_run: bool = False
) -> None:
    """Takes up the present content of a stage, whatever its state.

    Raises: CannotCommitError, OSError.
    """
    if stage.metafile is not None and stage.resolved is None:
        commit_metafile(repository, stage, stage.metafile, changes, relink=relink)
        return
    from kist.repo.commit_stage import commit_pipeline_stage  # needs the lock file's part

    commit_pipeline_stage(repository, stage, changes, relink=relink, remember_run=remember_run)


def _relink(repository: Repository, stage: Stage) -> None:
    """Makes the files of unchanged outputs what `cache.type` wants, as DVC does."""
    paths = [
        out.path
        for out in stage.outs
        if out.is_inside
        and out.output.use_cache
        and out.output.digest is not None
        and out.output.digest.algorithm == MD5
    ]
    relink_paths(repository, paths)


def _is_old(stage: Stage) -> bool:
    """Says whether the lock has ids of DVC 2 or older, which stay as they are while nothing changes."""
    if stage.locked is None:
        return False
    digests = [item.digest for item in stage.locked.deps] + [item.digest for item in stage.locked.outs]
    return any(digest is not None and digest.algorithm == LEGACY_MD5 for digest in digests)


def _is_only_uncached(status: list[StatusItem]) -> bool:
    """Says whether the data is as recorded and only lacks its copy in the cache: nothing that needs asking."""
    if not status:
        return True
    from kist.pipeline.changes import ALWAYS_CHANGED  # data that did not change needs no pipelines

    return all(
        item == ALWAYS_CHANGED
        or isinstance(item, dict)
        and set(item) == {"changed outs"}
        and set(item["changed outs"].values()) == {"not in cache"}
        for item in status
    )


def commit_metafile(
    repository: Repository,
    stage: Stage,
    metafile: Metafile,
    changes: Changes,
    *,
    relink: bool = True,
    to_cache: bool = True,
) -> None:
    """Takes up the present content of a `.dvc` file without a command.

    Args: to_cache: False: only record what it is.

    Raises: CannotCommitError, OSError.
    """
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
        paths = [out.path for out in chosen]
        stored = store_paths(repository, paths, to_cache=use_cache and to_cache, relink=relink)
        for out, tracked in zip(chosen, stored, strict=True):
            at = next(k for k, own in enumerate(stage.outs) if own.path == out.path)
            outs[at] = updated_output(repository, outs[at], tracked)
    changed = metafile._replace(outs=tuple(outs))
    if changed.deps or changed.checksum:
        changed = with_checksum(changed)
    if changed != metafile:
        changes.write_metafile(stage.file, changed)
    for out in cached:
        if out.output.use_cache:
            changes.ignore(posixpath.normpath(out.path))

"""`commit` of a pipeline's stage: its present command, dependencies, params and outputs become its lock.

Not here: running stages. Implements docs/spec/metafiles.md for `dvc.lock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.pipeline.runcache import is_remembered
from kist.repo.collect import Stage, lock_path
from kist.repo.lockfiles import LockFiles
from kist.repo.metafiles import Changes
from kist.repo.sight import Sight
from kist.repo.stage_entry import inputs_of, remember, stored_outputs
from kist.repo.tracking import CannotCommitError

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def commit_pipeline_stage(
    repository: Repository, stage: Stage, changes: Changes, *, relink: bool, remember_run: bool
) -> None:
    """Stores a stage's outputs, and rewrites its entry in `dvc.lock`.

    Args: remember_run: keep it in the run cache too, if it is of a kind that is kept there.

    Raises:
        CannotCommitError: it is a single-stage file of an old DVC, or something that it names is missing.
    """
    resolved = stage.resolved
    assert resolved is not None
    if stage.name is None:
        raise CannotCommitError(
            f"cannot commit '{repository.shown(stage.file)}': it is a stage in the form of DVC before 1.0",
            hint="move its command into a dvc.yaml",
        )
    is_result = remember_run and is_remembered(resolved)
    outs = stored_outputs(repository, stage, relink=relink, is_result=is_result)
    entry = inputs_of(repository, stage, Sight(repository))._replace(outs=outs)
    if is_result:
        remember(repository, stage, entry)
    locks = LockFiles(repository.root)
    written = locks.put(lock_path(stage), stage.name, entry)
    locks.write()
    if written.is_changed:
        changes.note(written.path)
    for out in stage.outs:
        if out.is_inside and out.output.use_cache:
            changes.ignore(out.path)

"""What differs between a pipeline's stage and its lock, asked of the repository's files. Runs nothing.

Not here: the comparison itself (pipeline.changes).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kist.formats.records import LEGACY_MD5, MD5, Dependency, Output
from kist.pipeline.changes import StageChanges, stage_changes
from kist.repo.collect import Out, Stage
from kist.repo.data import algorithm_of, is_as_recorded
from kist.repo.sight import Sight

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def pipeline_changes(
    repository: Repository, stage: Stage, sight: Sight, out_state: Callable[[Out], str | None]
) -> StageChanges:
    """Returns what differs.

    Args: out_state: the state of an output as `status` names it.
    """
    assert stage.resolved is not None

    def exists(path: str) -> bool:
        return "://" in path or os.path.lexists(os.path.join(repository.root, path))

    def is_same(path: str, item: Output | Dependency) -> bool:
        digest = item.digest
        if digest is None or digest.algorithm not in (MD5, LEGACY_MD5) or "://" in path:
            return True  # elsewhere: only a run looks there
        return is_as_recorded(repository, sight.looks[path, algorithm_of(digest)], digest)

    states = {out.output.path: out_state(out) for out in stage.outs}

    def is_cached(output: Output) -> bool:
        return states.get(output.path) != "not in cache"

    return stage_changes(
        stage.resolved,
        stage.locked,
        exists=exists,
        is_same=is_same,
        is_cached=is_cached,
        read_params=sight.params,
    )

"""What differs between a pipeline's stage and its lock, asked of the repository's files. Runs nothing.

Not here: the comparison itself (pipeline.changes).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kist.formats.params import parse_params
from kist.formats.records import LEGACY_MD5, MD5, Dependency, Output
from kist.pipeline.changes import stage_changes
from kist.repo.collect import Out, Stage
from kist.repo.data import Look, algorithm_of, is_as_recorded, look_at
from kist.repo.metafiles import read_bytes

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def pipeline_changes(
    repository: Repository,
    stage: Stage,
    looks: dict[tuple[str, str], Look],
    out_state: Callable[[Out], str | None],
) -> list[str | dict[str, Any]]:
    """Returns the stage's value in the JSON of `status`.

    Args:
        looks: what is at the stage's outputs and dependencies, by path and algorithm.
        out_state: the state of an output as `status` names it.
    """
    assert stage.resolved is not None

    def exists(path: str) -> bool:
        return "://" in path or os.path.lexists(os.path.join(repository.root, path))

    def is_same(path: str, item: Output | Dependency) -> bool:
        digest = item.digest
        if digest is None or digest.algorithm not in (MD5, LEGACY_MD5) or "://" in path:
            return True  # elsewhere: only a run looks there
        key = (path, algorithm_of(digest))
        look = looks.get(key) or look_at(repository, [key])[0]
        return is_as_recorded(repository, look, digest)

    states = {out.output.path: out_state(out) for out in stage.outs}

    def is_cached(output: Output) -> bool:
        return states.get(output.path) != "not in cache"

    def read_params(path: str) -> dict[Any, Any] | None:
        data = read_bytes(os.path.join(repository.root, path))
        return None if data is None else parse_params(data, name=path)

    changes = stage_changes(
        stage.resolved,
        stage.locked,
        exists=exists,
        is_same=is_same,
        is_cached=is_cached,
        read_params=read_params,
    )
    return changes.as_list(lambda path: path if "://" in path else repository.shown(path))

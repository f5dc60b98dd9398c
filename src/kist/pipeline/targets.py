"""How a person names stages: `train`, `:train`, `dir/dvc.yaml:train`, a group, a file. Pure.

Not here: targets that are outputs or paths inside of them (repo.targets). Implements docs/spec/pipelines.md, section 7.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import NamedTuple

from kist.formats.dvcyaml import FILE_NAME
from kist.pipeline.resolve import ResolvedStage


class StageTarget(NamedTuple):
    """What a target may mean as a name of stages.

    Attributes:
        file: the metafile, relative to where the person stands.
        name: of a stage or a group; None for all stages of the file.
    """

    file: str
    name: str | None


def parse_stage_target(target: str) -> StageTarget | None:
    """Returns file and name of a target; None where it can only be a path.

    A plain word is a name in the `dvc.yaml` at hand, which must still be looked up: an output may have this name.
    """
    if _is_metafile(target):
        return StageTarget(target, None)
    file, colon, name = target.rpartition(":")
    if not colon:
        return StageTarget(FILE_NAME, target) if target else None
    if not file:
        return StageTarget(FILE_NAME, name or None)
    if not name or not _is_metafile(file):
        return None
    return StageTarget(file, name if posixpath.basename(file) == FILE_NAME else None)


def select_stages(stages: Iterable[ResolvedStage], name: str | None) -> list[ResolvedStage]:
    """Returns the stages of one file that a name means, in file order; none where there is no such stage or group."""
    if name is None:
        return list(stages)
    return [stage for stage in stages if name in (stage.name, stage.group)]


def _is_metafile(path: str) -> bool:
    name = posixpath.basename(path)
    return name in (FILE_NAME, "Dvcfile") or name.endswith(".dvc")

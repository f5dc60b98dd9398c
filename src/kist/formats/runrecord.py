"""One remembered run of a stage, as it stands in the run cache, and the two ids by which it is found. Pure.

A record is a stage's entry of `dvc.lock` in a file of its own. Not here: the folders that hold records
(pipeline.runcache). Implements docs/spec/run-cache.md.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from kist.errors import FormatError
from kist.formats import yaml
from kist.formats._entries import Source
from kist.formats.lockfile import LockfileError, read_stage, stage_value
from kist.formats.records import LockedStage

_FIGURES = frozenset({"size", "nfiles"})


class RunIdError(FormatError):
    """A run has no id: one of its parameters is of a type that JSON does not know."""

    code = "run-id"


class RunIds(NamedTuple):
    """Where a run is found, 64 hexadecimal digits each.

    Attributes:
        key: of the command, what it read, and the paths that it wrote.
        value: of all that and what it wrote.
    """

    key: str
    value: str


def run_ids(run: LockedStage) -> RunIds:
    """Returns the ids of a run.

    Raises: RunIdError.
    """
    content = _without_figures(stage_value(run))
    written = [entry["path"] for entry in content.get("outs", ())]
    return RunIds(_sum({**content, "outs": written}), _sum(content))


def render_run(run: LockedStage) -> bytes:
    """Returns the bytes of a record."""
    return yaml.dump(stage_value(run))


def parse_run(data: bytes, *, name: str) -> LockedStage:
    """Returns what a record says.

    Raises:
        LockfileError: it does not say what a stage's entry can say.
        kist.formats.yaml.YamlError: it is not YAML.
    """
    return read_stage(Source(name, data, LockfileError), (), yaml.load(data, name=name))


def _without_figures(value: Any) -> Any:
    """Returns a value without the keys that say how large something is, at any depth, parameters included."""
    if isinstance(value, dict):
        return {key: _without_figures(item) for key, item in value.items() if key not in _FIGURES}
    if isinstance(value, list):
        return [_without_figures(item) for item in value]
    return value


def _sum(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise RunIdError(f"cannot remember a run: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()

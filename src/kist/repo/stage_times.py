"""How long the last run of each stage took, and how much memory: `.dvc/kist/times.json`.

Disposable: garbage counts as nothing. Not durable by itself. Not here: measuring (pipeline.command).
Implements docs/spec/repro.md, section 8.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from kist.base import atomic

_VERSION = 1
_MAX_BYTES = 1 << 26


class StageTime(NamedTuple):
    """What the last run of a stage took.

    Attributes:
        ended_s: when it ended, seconds of the epoch.
        wall_s, cpu_s: seconds, all of its commands together.
        memory_bytes: the most that one process of it had in memory.
    """

    ended_s: float
    wall_s: float
    cpu_s: float
    memory_bytes: int


def read_times(dvc_dir: str) -> dict[str, StageTime]:
    """Returns the address of each stage that ran -> what its last run took.

    Args: dvc_dir: the `.dvc` folder, absolute.
    """
    try:
        with open(_path(dvc_dir), "rb") as stream:
            data = stream.read(_MAX_BYTES)
    except OSError:
        return {}
    import json  # only where stages ran

    try:
        found = json.loads(data)
        if found["version"] != _VERSION:
            return {}
        return {
            str(address): StageTime(float(item[0]), float(item[1]), float(item[2]), int(item[3]))
            for address, item in found["stages"].items()
        }
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
        return {}


def keep_times(dvc_dir: str, times: Mapping[str, StageTime]) -> None:
    """Keeps what runs took, in place of what is known of the same stages; what cannot be written is let go (R11)."""
    if not times:
        return
    import json

    value = {"version": _VERSION, "stages": {**read_times(dvc_dir), **times}}
    path = _path(dvc_dir)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        own = os.path.join(os.path.dirname(path), ".gitignore")
        if not os.path.exists(own):
            atomic.write_file(own, b"*\n", durable=False)  # Git is to see nothing of this folder
        atomic.write_file(path, json.dumps(value).encode("ascii") + b"\n", durable=False)
    except OSError:
        pass


def _path(dvc_dir: str) -> str:
    return os.path.join(dvc_dir, "kist", "times.json")

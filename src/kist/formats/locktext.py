"""The text of a `dvc.lock` by stages, so that replacing one stage costs what that stage costs.

Not here: what the text means (lockfile), writing the file. Implements docs/spec/repro.md, section 4.1.
"""

from __future__ import annotations

from collections.abc import Container

from kist.formats import yaml
from kist.formats.lockfile import (
    SCHEMA,
    is_comment,
    parse_lockfile,
    render_lockfile,
    stage_blocks,
    stage_text,
    stage_value,
)
from kist.formats.records import LockedStage, Lockfile

_LONG_NAME = 100
"""YAML writes longer keys in another way."""


class LockText:
    """One `dvc.lock`, stage by stage. Not for several threads.

    Attributes:
        stages: what the file says of each stage.
        data: its bytes; None where there is no file.
    """

    def __init__(self, data: bytes | None, *, name: str) -> None:
        """Raises: LockfileError, kist.formats.yaml.YamlError."""
        lock = Lockfile({}) if data is None else parse_lockfile(data, name=name)
        self.stages = dict(lock.stages)
        self.data = data
        self._datasets = lock.datasets
        self._head = f"schema: '{SCHEMA}'\nstages:\n"
        self._tail = ""
        self._blocks: dict[str, str] = {}
        self._is_split = data is None or self._split(data.decode("utf-8", "replace"))

    def put(self, name: str, stage: LockedStage, *, later: Container[str] = ()) -> bytes:
        """Returns the bytes of the file after one stage's entry was replaced or added, as DVC would have them.

        Args: later: an entry that is added comes before the first of these; without them, and in a file that is not
            laid out as DVC does, at the end.
        """
        if self.data is not None and self.stages.get(name) == stage:
            return self.data
        self.stages[name] = stage
        if not self._is_split or len(name) > _LONG_NAME:
            self.data = render_lockfile(Lockfile(self.stages, self._datasets), self.data)
            self._is_split = False
            return self.data
        text = stage_text(name, stage_value(stage))
        before = self._blocks.get(name)
        if before is not None:
            # The key keeps its own line, and the comments around it.
            lines = before.splitlines(keepends=True)
            key = next(at for at, line in enumerate(lines) if not is_comment(line))
            body = next((at for at in range(key + 1, len(lines)) if not is_comment(lines[at])), len(lines))
            text = "".join([*lines[:body], text.split("\n", 1)[1]])
        follower = next((other for other in self._blocks if other in later), None) if before is None else None
        if follower is None:
            self._blocks[name] = text
        else:
            self._blocks = _inserted(self._blocks, name, text, follower)
            self.stages = {other: self.stages[other] for other in self._blocks}
        self.data = "".join([self._head, *self._blocks.values(), self._tail]).encode()
        return self.data

    def _split(self, text: str) -> bool:
        """Takes the text apart; returns False for a file that is not laid out as DVC does."""
        lines = text.replace("\r\n", "\n").splitlines(keepends=True)
        found = stage_blocks(lines)
        if found is None or not found.starts or len(found.starts) != len(self.stages):
            return False
        if not text.startswith("schema:") or not lines[-1].endswith("\n"):
            return False
        ends = [*found.starts[1:], found.end]
        for name, start, end in zip(self.stages, found.starts, ends, strict=True):
            block = lines[start:end]
            key = next((line for line in block if not is_comment(line)), "")
            if len(name) > _LONG_NAME or not key.startswith("  " + _key(name)):
                return False
            self._blocks[name] = "".join(block)
        self._head = "".join(lines[: found.first])
        self._tail = "".join(lines[found.end :])
        return True


def _inserted(blocks: dict[str, str], name: str, text: str, follower: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for other, block in blocks.items():
        if other == follower:
            found[name] = text
        found[other] = block
    return found


def _key(name: str) -> str:
    """Returns how a name is written as a key, with its colon."""
    return yaml.dump({name: 0}).decode().removesuffix(" 0\n")

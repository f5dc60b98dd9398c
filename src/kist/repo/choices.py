"""Remembers which sides were chosen in metafiles of which other clashes are still open. Disposable.

Kept under the ids of the three versions, so that a choice never counts for another merge.
Implements docs/spec/merging.md, section 1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.compare.merge import SIDES, Choose

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class Choices:
    """The choices of one repository, read when first made."""

    def __init__(self, repository: Repository) -> None:
        self._path = os.path.join(repository.dvc_dir, "tmp", "kist", "choices.json")
        self._by_file = _read(self._path)
        self._before = {key: dict(value) for key, value in self._by_file.items()}

    def chooser(self, file: str) -> Choose:
        """Returns the choices for the file with these versions."""
        known = self._by_file.get(file, {})
        return lambda clash: known.get(clash.key)

    def note(self, file: str, choices: Mapping[str, str | None]) -> None:
        """Replaces the choices for a file."""
        self._by_file[file] = {key: side for key, side in choices.items() if side is not None}

    def forget(self, file: str) -> None:
        """Drops the choices for a file that is finished."""
        self._by_file.pop(file, None)

    def save(self) -> None:
        """Writes what changed."""
        left = {file: choices for file, choices in self._by_file.items() if choices}
        if left == self._before:
            return
        self._before = {file: dict(choices) for file, choices in left.items()}
        if not left:
            atomic.remove_quietly(self._path)
            return
        import json  # only where a part was resolved

        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        atomic.write_file(self._path, json.dumps(left).encode(), durable=False)


def _read(path: str) -> dict[str, dict[str, str]]:
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError:
        return {}
    import json

    try:
        value = json.loads(data)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        file: {key: side for key, side in choices.items() if side in SIDES}
        for file, choices in value.items()
        if isinstance(choices, dict)
    }

"""Changes entries of `dvc.lock` files, one stage after the other, without reading them anew each time.

Not here: what is in an entry (stage_entry), when the files are written (stage_journal).
Implements docs/spec/repro.md, section 4.
"""

from __future__ import annotations

import os
from collections.abc import Container
from typing import NamedTuple

from kist.base import atomic
from kist.formats.locktext import LockText
from kist.formats.records import LockedStage

Signature = tuple[int, int, int, int] | None


class Written(NamedTuple):
    """What becomes of a lock file, relative to the root."""

    path: str
    is_new: bool
    is_changed: bool


class _Known:
    """One lock file: as it is to be, and as it was when it was last read or written."""

    def __init__(self, text: LockText, signature: Signature) -> None:
        self.text = text
        self.signature = signature
        self.on_disk = text.data


class LockFiles:
    """The lock files of one command. The caller holds the repository's lock."""

    def __init__(self, root: str) -> None:
        """Args: root: of the repository, absolute."""
        self._root = root
        self._known: dict[str, _Known] = {}

    def on_disk(self, path: str) -> bytes | None:
        """Returns the bytes of a lock file as they are on disk; None where there is none.

        Whatever was put into a file that somebody else changed meanwhile has to be put again.

        Args: path: relative to the root.

        Raises: LockfileError, YamlError, OSError.
        """
        return self._open(path).on_disk

    def put(self, path: str, name: str, entry: LockedStage, *, later: Container[str] = ()) -> Written:
        """Replaces a stage's entry; `write` makes that durable.

        Args: later: see `LockText.put`.

        Raises: LockfileError, YamlError, OSError.
        """
        text = self._open(path).text
        before = text.data
        return Written(path, before is None, text.put(name, entry, later=later) != before)

    def entry(self, path: str, name: str) -> LockedStage | None:
        """Returns a stage's entry, as it is to be; None where there is none.

        Raises: LockfileError, YamlError, OSError.
        """
        return self._open(path).text.stages.get(name)

    def names(self, path: str) -> list[str]:
        """Returns the stages that a lock file has entries of.

        Raises: LockfileError, YamlError, OSError.
        """
        return list(self._open(path).text.stages)

    def write(self) -> None:
        """Writes the files that changed, durable when this returns.

        Raises: OSError.
        """
        for path, known in self._known.items():
            if known.text.data != known.on_disk:
                assert known.text.data is not None
                atomic.write_file(self._absolute(path), known.text.data)
                known.on_disk = known.text.data
                known.signature = _signature(self._absolute(path))

    def _open(self, path: str) -> _Known:
        absolute = self._absolute(path)
        known = self._known.get(path)
        signature = _signature(absolute)
        if known is None or known.signature != signature:
            known = self._known[path] = _Known(LockText(_read(absolute), name=path), signature)
        return known

    def _absolute(self, path: str) -> str:
        return os.path.join(self._root, path)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _signature(path: str) -> Signature:
    """Returns what changes when a file is replaced or written to; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

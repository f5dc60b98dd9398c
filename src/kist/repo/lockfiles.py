"""Writes entries of `dvc.lock` files, one stage after the other, without reading them anew each time.

Not here: what is in an entry (stage_entry). Implements docs/spec/repro.md, section 4.1.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.formats.locktext import LockText
from kist.formats.records import LockedStage
from kist.repo.collect import LOCK_FILE, Stage
from kist.repo.metafiles import read_bytes

if TYPE_CHECKING:
    from kist.repo.repository import Repository

Signature = tuple[int, int, int, int] | None


class Written(NamedTuple):
    """What became of a lock file, relative to the root."""

    path: str
    is_new: bool
    is_changed: bool


class LockFiles:
    """The lock files of one command. The caller holds the repository's lock whenever it calls `put`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._known: dict[str, tuple[LockText, Signature]] = {}

    def put(self, stage: Stage, entry: LockedStage) -> Written:
        """Replaces a stage's entry, durable when this returns.

        Raises: LockfileError, YamlError, OSError.
        """
        assert stage.name is not None
        path = posixpath.join(posixpath.dirname(stage.file), LOCK_FILE)
        absolute = self._repository.abspath(path)
        text, signature = self._known.get(path, (None, None))
        if text is None or signature is None or signature != _signature(absolute):
            text = LockText(read_bytes(absolute), name=path)
        before = text.data
        data = text.put(stage.name, entry)
        is_changed = data != before
        if is_changed:
            atomic.write_file(absolute, data)
        self._known[path] = (text, _signature(absolute))
        return Written(path, before is None, is_changed)


def _signature(path: str) -> Signature:
    """Returns what changes when a file is replaced or written to; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

"""The spool: a file of what MLflow is still to get, which outlives the process that wrote it.

Not here: who sends it (sender). Implements docs/spec/logger.md, section 5.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kist.base import atomic

HEAD_BYTES = 128
LIMIT_BYTES = 256 << 20
"""What may wait to be sent; beyond, nothing more is taken."""
_RECLAIM_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_SUFFIX = ".spool"


class SpoolHead(NamedTuple):
    """The first line.

    Attributes:
        run: id of the run, "" until it is known.
        own: whether the run is to be ended with the logger.
        sent: offset of the first byte that is not sent.
    """

    run: str
    own: bool
    sent: int


class SpoolLine(NamedTuple):
    """One call. Attributes: end: offset behind it. values: `m`, `t`, `s` metrics; `p` params; `end` a status."""

    end: int
    values: Mapping[str, Any]


class Spool:
    """An open spool. `put` comes from the training's threads, all else from the one that sends."""

    def __init__(self, path: str, descriptor: int) -> None:
        """Args: descriptor: open for reading and writing, its lock held. Made by `make` and `orphans`."""
        self.path = path
        self._descriptor = descriptor
        self._appending = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._turn = threading.Lock()
        self._owner = os.getpid()

    @classmethod
    def make(cls, folder: str, head: SpoolHead) -> Spool:
        """Returns a new spool. Raises: OSError."""
        os.makedirs(folder, exist_ok=True)
        ignore = os.path.join(folder, ".gitignore")
        if not os.path.exists(ignore):
            atomic.write_file(ignore, b"*\n", durable=False)
        name = f"{atomic.host_tag()}-{os.getpid()}-{os.urandom(4).hex()}"
        draft, path = os.path.join(folder, f".{name}.new"), os.path.join(folder, name + _SUFFIX)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Locked and whole before anybody can see it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(descriptor, _head_line(head._replace(sent=HEAD_BYTES)), 0)
        os.rename(draft, path)
        return cls(path, descriptor)

    @property
    def is_foreign(self) -> bool:
        """Says whether this process is a fork of the one that made it, whose thread sends it."""
        return os.getpid() != self._owner

    @property
    def head(self) -> SpoolHead:
        """The first line, as it stands now."""
        return _parse_head(os.pread(self._descriptor, HEAD_BYTES, 0)) or SpoolHead("", False, HEAD_BYTES)

    def change(self, *, run: str | None = None, sent: int | None = None) -> None:
        """Writes what became known of the run, or how much is sent."""
        head = self.head
        if run is not None:
            head = head._replace(run=run)
        if sent is not None:
            head = head._replace(sent=sent)
        os.pwrite(self._descriptor, _head_line(head), 0)

    def put(self, values: Mapping[str, Any]) -> bool:
        """Appends a call; False when the spool is full, or we are a fork of who made it. Raises: OSError."""
        if self.is_foreign:
            return False
        data = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        with self._turn:
            if os.fstat(self._appending).st_size - self.head.sent > LIMIT_BYTES and "end" not in values:
                return False
            atomic.write_all(self._appending, data)
        return True

    def waiting(self) -> list[SpoolLine]:
        """Returns the next calls to send, about a megabyte of them; [] when all is sent. A torn last line waits."""
        at = self.head.sent
        size = _READ_BYTES
        while True:
            data = os.pread(self._descriptor, size, at)
            end = data.rfind(b"\n") + 1
            if end or len(data) < size:
                break
            size *= 2  # one call longer than what was read
        lines = []
        for line in data[:end].splitlines(keepends=True):
            at += len(line)
            try:
                values = json.loads(line)
            except ValueError:
                values = {}
            lines.append(SpoolLine(at, values if isinstance(values, dict) else {}))
        return lines

    def reclaim(self) -> None:
        """Empties the file where all of it is sent and it has grown."""
        with self._turn:
            head = self.head
            if head.sent > _RECLAIM_BYTES and head.sent >= os.fstat(self._descriptor).st_size:
                # The head first: a kill between the two leaves a spool that is sent twice, not one that is cut short.
                self.change(sent=HEAD_BYTES)
                os.ftruncate(self._descriptor, HEAD_BYTES)

    def remove(self) -> None:
        """Removes the file, all of which is sent."""
        atomic.remove_quietly(self.path)
        self.close()

    def close(self) -> None:
        """Lets go of the file; the second time it does nothing."""
        if self._descriptor >= 0:
            os.close(self._appending)
            os.close(self._descriptor)
            self._descriptor = self._appending = -1


def orphans(folder: str) -> Iterator[Spool]:
    """Yields the spools that nobody holds any more, the oldest first; each is held by us then."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(_SUFFIX)]
    except OSError:
        return
    for path in sorted((os.path.join(folder, name) for name in names), key=_modified):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have sent and removed it before we had the lock.
            is_there = os.path.exists(path) and os.stat(path).st_ino == os.fstat(descriptor).st_ino
        except OSError:
            is_there = False
        if not is_there or _parse_head(os.pread(descriptor, HEAD_BYTES, 0)) is None:
            os.close(descriptor)
            continue
        yield Spool(path, descriptor)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _head_line(head: SpoolHead) -> bytes:
    return json.dumps(head._asdict()).encode().ljust(HEAD_BYTES - 1) + b"\n"


def _parse_head(data: bytes) -> SpoolHead | None:
    try:
        values = json.loads(data)
        return SpoolHead(str(values["run"]), bool(values["own"]), max(HEAD_BYTES, int(values["sent"])))
    except (ValueError, KeyError, TypeError):
        return None

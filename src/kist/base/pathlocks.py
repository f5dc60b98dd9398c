"""Says which paths a running stage reads and writes, in the file in which DVC does, so that each sees the other.

Not here: the repository's lock (locks). Implements docs/spec/repro.md, section 5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kist.base import atomic
from kist.errors import LockedError

_FILE = "rwlock"
_MAX_BYTES = 1 << 26

Holder = dict[str, Any]
"""Who uses a path: `pid` and `cmd`."""


class PathBusyError(LockedError):
    """A stage that another process runs uses the same paths. A retry helps once it has ended."""

    code = "path-busy"


class PathLocks:
    """What this process says of paths: one stage after the other, or several at once."""

    def __init__(self, folder: str, *, command: str) -> None:
        """Args: folder: `.dvc/tmp`; it exists. command: what is shown to others."""
        self._folder = folder
        self._own: Holder = {"pid": os.getpid(), "cmd": command}
        self._held: dict[str, _Paths] = {}
        self._is_told = True

    def take(self, stage: str, *, reads: Sequence[str], writes: Sequence[str]) -> None:
        """Says, until `give_back`, that a stage reads and writes paths.

        Args: reads, writes: absolute paths.

        Raises:
            PathBusyError: another living process writes what is read, or uses what is written.
            OSError: the file cannot be written.
        """
        with _exclusive(self._folder):
            others = _without(_read(self._folder), self._own)
            _refuse(others, reads, writes)
            held = {**self._held, stage: _Paths(reads, writes)}
            self._write(others, held)
            self._held = held
            self._is_told = True

    def give_back(self, stage: str) -> None:
        """Takes back what was said of a stage, if anything was. Others see it with the next `take` or `flush`."""
        if self._held.pop(stage, None) is not None:
            self._is_told = False

    def flush(self) -> None:
        """Tells others what was given back."""
        if not self._is_told:
            with _exclusive(self._folder):
                self._write(_without(_read(self._folder), self._own), self._held)
            self._is_told = True

    def _write(self, others: _Table, held: Mapping[str, _Paths]) -> None:
        read, write = dict(others.read), dict(others.write)
        for paths in held.values():
            for path in paths.reads:
                if self._own not in read.get(path, ()):
                    read[path] = [*read.get(path, ()), self._own]
            write.update(dict.fromkeys(paths.writes, self._own))
        _write(self._folder, _Table(read, write))


class _Paths(NamedTuple):
    """What one stage reads and writes."""

    reads: Sequence[str]
    writes: Sequence[str]


class _Table:
    """What the file says: path -> those who read it, path -> who writes it."""

    def __init__(self, read: dict[str, list[Holder]], write: dict[str, Holder]) -> None:
        self.read = read
        self.write = write


@contextmanager
def _exclusive(folder: str) -> Iterator[None]:
    import fcntl  # absent on some systems

    path = os.path.join(folder, _FILE + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without such locks: the file is replaced whole, and lies at worst
        yield
    finally:
        os.close(descriptor)


def _read(folder: str) -> _Table:
    """Returns what living processes use; what cannot be read is as good as nothing (rule R11)."""
    import json  # only while stages run

    try:
        with open(os.path.join(folder, _FILE), "rb") as stream:
            found = json.loads(stream.read(_MAX_BYTES))
        reads, writes = found["read"], found["write"]
        return _Table(
            {path: alive for path, users in reads.items() if (alive := list(filter(_is_alive, users)))},
            {path: user for path, user in writes.items() if _is_alive(user)},
        )
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return _Table({}, {})


def _is_alive(holder: Holder) -> bool:
    return atomic.is_alive(int(holder["pid"]))


def _write(folder: str, table: _Table) -> None:
    import json

    data = json.dumps({"read": table.read, "write": table.write}).encode("ascii")
    atomic.write_file(os.path.join(folder, _FILE), data, durable=False)


def _without(table: _Table, own: Holder) -> _Table:
    read = {
        path: rest for path, users in table.read.items() if (rest := [one for one in users if one != own])
    }
    return _Table(read, {path: user for path, user in table.write.items() if user != own})


def _refuse(others: _Table, reads: Sequence[str], writes: Sequence[str]) -> None:
    for path in (*reads, *writes):
        for other, user in others.write.items():
            if _touch(path, other):
                raise _busy(path, "writes", user)
    for path in writes:
        for other, users in others.read.items():
            if users and _touch(path, other):
                raise _busy(path, "reads", users[0])


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def _busy(path: str, verb: str, user: Holder) -> PathBusyError:
    return PathBusyError(
        f"cannot use '{path}': process {user['pid']} {verb} it: {user.get('cmd', '')}",
        hint="wait until it has finished, then run the same command again",
    )

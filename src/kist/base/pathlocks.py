"""Says which paths a running stage reads and writes, in the file in which DVC does, so that each sees the other.

Not here: the repository's lock (locks). Implements docs/spec/repro.md, section 5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kist.base import atomic
from kist.errors import LockedError

_FILE = "rwlock"
_MAX_BYTES = 1 << 26

Holder = dict[str, Any]
"""Who uses a path: `pid` and `cmd`."""


class PathBusyError(LockedError):
    """A stage that another process runs uses the same paths. A retry helps once it has ended."""

    code = "path-busy"


@contextmanager
def path_locks(folder: str, *, reads: Sequence[str], writes: Sequence[str], command: str) -> Iterator[None]:
    """While entered, this process is said to read and write paths.

    Args:
        folder: `.dvc/tmp`; it exists.
        reads, writes: absolute paths.
        command: what is shown to others.

    Raises:
        PathBusyError: another living process writes what is read, or uses what is written.
        OSError: the file cannot be written.
    """
    own: Holder = {"pid": os.getpid(), "cmd": command}
    with _exclusive(folder):
        before = _read(folder)
        _refuse(before, reads, writes, own)
        _write(folder, _with(before, reads, writes, own))
    try:
        yield
    finally:
        with _exclusive(folder):
            _write(folder, _without(_read(folder), own))


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


def _with(table: _Table, reads: Sequence[str], writes: Sequence[str], own: Holder) -> _Table:
    read = dict(table.read)
    for path in reads:
        read[path] = [*read.get(path, ()), own]
    return _Table(read, {**table.write, **dict.fromkeys(writes, own)})


def _without(table: _Table, own: Holder) -> _Table:
    read = {
        path: rest for path, users in table.read.items() if (rest := [one for one in users if one != own])
    }
    return _Table(read, {path: user for path, user in table.write.items() if user != own})


def _refuse(table: _Table, reads: Sequence[str], writes: Sequence[str], own: Holder) -> None:
    for path in (*reads, *writes):
        for other, user in table.write.items():
            if user != own and _touch(path, other):
                raise _busy(path, "writes", user)
    for path in writes:
        for other, users in table.read.items():
            for user in users:
                if user != own and _touch(path, other):
                    raise _busy(path, "reads", user)


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def _busy(path: str, verb: str, user: Holder) -> PathBusyError:
    return PathBusyError(
        f"cannot use '{path}': process {user['pid']} {verb} it: {user.get('cmd', '')}",
        hint="wait until it has finished, then run the same command again",
    )

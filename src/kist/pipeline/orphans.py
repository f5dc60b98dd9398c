"""Notes which commands run, so that those that a killed `repro` left running are ended before their stages run again.

A file a process: `.dvc/tmp/kist/commands-PID`. Disposable. Implements docs/spec/repro.md, section 3.4.
"""

from __future__ import annotations

import os
import re
import signal
import time
from typing import NamedTuple

from kist.base import atomic
from kist.base.processes import state_of

GRACE_S = 10.0
_POLL_S = 0.02
_NAME = re.compile(r"commands-(\d+)")
_LINE = re.compile(r"(\d+) (\d+) ([01])")


class _Noted(NamedTuple):
    """A command: its process, when that was started as the system counts, and whether it leads a group of its own."""

    pid: int
    started: str
    is_apart: bool

    def lives(self) -> bool:
        """Says whether it still runs; process ids are given anew, start times tell."""
        state, started = state_of(self.pid)
        return state not in ("", "Z", "X") and started == self.started

    def signal(self, number: int) -> None:
        """Sends a signal to it, and to its group where it has one."""
        try:
            (os.killpg if self.is_apart else os.kill)(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has just ended


class RunningNote:
    """What one process says of its commands."""

    def __init__(self, folder: str) -> None:
        """Args: folder: `.dvc/tmp/kist`."""
        self._path = os.path.join(folder, f"commands-{os.getpid()}")
        self._running: dict[int, _Noted] = {}
        self._descriptor = -1

    def add(self, pid: int, *, is_apart: bool) -> None:
        """Notes a command that has just been started."""
        self._running[pid] = _Noted(pid, state_of(pid)[1], is_apart)
        self._write()

    def remove(self, pid: int) -> None:
        """Takes back the note of a command that has ended. It is written with the next one, for a process that is
        gone counts for nothing."""
        self._running.pop(pid, None)

    def close(self) -> None:
        """Removes the note."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            atomic.remove_quietly(self._path)

    def _write(self) -> None:
        lines = [f"{one.pid} {one.started} {int(one.is_apart)}\n" for one in self._running.values()]
        try:
            if self._descriptor < 0:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            data = "".join(lines).encode("ascii")
            os.pwrite(self._descriptor, data, 0)
            os.ftruncate(self._descriptor, len(data))
        except OSError:
            pass  # a full disk, say: the note is a help, no more (rule R11)


def end_orphans(folder: str) -> int:
    """Ends the commands that killed processes left running, and waits for it; returns how many there were.

    Args: folder: `.dvc/tmp/kist`.
    """
    found: list[_Noted] = []
    for path in _notes_of_the_dead(folder):
        found += [one for one in _read(path) if one.lives()]
        atomic.remove_quietly(path)
    waiting = found
    for number, within_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        for one in waiting:
            one.signal(number)
        deadline = time.monotonic() + within_s
        while waiting and time.monotonic() < deadline:
            waiting = [one for one in waiting if one.lives()]
            if waiting:
                time.sleep(_POLL_S)
    return len(found)


def _notes_of_the_dead(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [
        os.path.join(folder, name)
        for name in names
        if (match := _NAME.fullmatch(name))
        and (int(match[1]) == os.getpid() or not atomic.is_alive(int(match[1])))
    ]


def _read(path: str) -> list[_Noted]:
    try:
        with open(path, "rb") as stream:
            lines = stream.read(1 << 20).decode("ascii", "replace").splitlines()
    except OSError:
        return []
    matches = [match for line in lines if (match := _LINE.fullmatch(line))]
    return [_Noted(int(match[1]), match[2], match[3] == "1") for match in matches if match[2] != "0"]

"""Marks commands of stages, so that those that a killed `repro` left running are ended before their stages run again.

Each process that runs stages has a mark, noted in `.dvc/tmp/kist/commands-PID` and set in the environment of its
commands. Where the system does not show the environment of processes nothing is ended.
Implements docs/spec/repro.md, section 3.
"""

from __future__ import annotations

import os
import re
import signal
import time

from kist.base import atomic
from kist.base.processes import is_elsewhere, pid_space, state_of

VARIABLE = "KIST_RUN"
GRACE_S = 10.0
_POLL_S = 0.02
_NAME = re.compile(r"commands-(\d+)")
_NOTE = re.compile(r"([0-9a-f]{32}) ([0-9a-f.]+)")


class Mark:
    """The mark of this process.

    Attributes:
        text: what `VARIABLE` is to be for its commands.
    """

    def __init__(self, folder: str) -> None:
        """Notes it. Args: folder: `.dvc/tmp/kist`."""
        self.text = os.urandom(16).hex()
        self._path = os.path.join(folder, f"commands-{os.getpid()}")
        try:
            os.makedirs(folder, exist_ok=True)
            atomic.write_file(self._path, f"{self.text} {pid_space()}".encode("ascii"), durable=False)
        except OSError:
            pass  # a full disk, say: it is a help, no more (rule R11)

    def close(self) -> None:
        """Takes the note back: nothing runs any more."""
        atomic.remove_quietly(self._path)


def end_orphans(folder: str) -> int:
    """Ends what processes that are gone left running, and waits for it; returns how many processes there were.

    Where this process has such a mark itself, a command has left a shell in which a person works on: it is left alone.

    Args: folder: `.dvc/tmp/kist`.
    """
    marks: set[bytes] = set()
    for path in _notes_of_the_dead(folder):
        mark, space = _read(path)
        if is_elsewhere(space):
            continue  # its number says nothing here: it may well live
        if mark:
            marks.add(mark)
        atomic.remove_quietly(path)
    if marks:
        marks -= {mark for mark in marks if _item(mark) in _environment("self")}
    found = _marked(marks) if marks else []
    waiting = found
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in waiting:
            _send(pid, number)
        deadline = time.monotonic() + GRACE_S
        while waiting and time.monotonic() < deadline:
            waiting = _marked(marks)
            if waiting:
                time.sleep(_POLL_S)
    return len(found)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has just ended


def _notes_of_the_dead(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [(name, int(match[1])) for name in names if (match := _NAME.fullmatch(name))]
    return [
        os.path.join(folder, name) for name, pid in found if pid == os.getpid() or not atomic.is_alive(pid)
    ]


def _read(path: str) -> tuple[bytes, str]:
    """Returns the mark of a note, and where its process is; two times nothing where it is garbage."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            match = _NOTE.fullmatch(stream.read(100))
    except OSError:
        return b"", ""
    return (match[1].encode("ascii"), match[2]) if match else (b"", "")


def _item(mark: bytes) -> bytes:
    return VARIABLE.encode() + b"=" + mark


def _environment(name: str) -> list[bytes]:
    """Returns the environment of a process; nothing where it is somebody else's, or gone."""
    try:
        with open(f"/proc/{name}/environ", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []


def _marked(marks: set[bytes]) -> list[int]:
    """Returns the living processes whose environment has one of the marks."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = []
    for name in names:
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        environ = _environment(name)
        is_marked = any(_item(mark) in environ for mark in marks)
        if is_marked and state_of(int(name))[0] not in ("Z", "X", ""):
            found.append(int(name))
    return found

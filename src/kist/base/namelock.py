"""The lock of file systems that know no `flock`: one file, whose name says who holds the lock.

Each change of hands is one rename of that name, so of several that try, one succeeds, and nobody can take away a lock
that he did not look at. A holder shows that it lives by touching a file. Implements docs/spec/locks.md, section 2.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from kist.base import atomic
from kist.base.processes import pid_space, state_of

BEAT_S = 30.0
"""How often a holder shows that it lives."""
STALE_S = 300.0
"""After this long without, a holder on another machine counts as gone."""
_FORGOTTEN_S = 86_400.0

_FREE = "free"
_HELD = "held"


class _Owner(NamedTuple):
    """Who holds the lock, or wants it: the fields of the file's name.

    Attributes:
        started: when the process was started, as the system counts; "0" where that is not known.
        space: which process ids count together: one boot of one machine, or container; "0" where that is not known.
        mark: random.
    """

    pid: str
    started: str
    space: str
    machine: str
    mark: str


class NameLock:
    """One taker's view of the lock. Not for several threads."""

    def __init__(self, folder: str) -> None:
        """Args: folder: where the lock lives; made if needed, its parent too."""
        self._turn = os.path.join(folder, "turn")
        self._beats = os.path.join(folder, "beats")
        self._own: _Owner | None = None
        self._is_held = False
        self._stop: Callable[[], None] | None = None

    def take(self) -> bool:
        """Takes the lock if it is free or its holder is gone; says whether it is ours now.

        Raises: OSError: the folder cannot be written.
        """
        if self._own is None:
            os.makedirs(self._beats, exist_ok=True)
            self._own = _myself()
        own = _name(self._own)
        self._touch(own)
        self._make_turn()
        if not self._pass(_FREE, own):
            holder = self._holder()
            if holder is None or holder == self._own:
                return holder is not None and self._taken()
            if not self._is_gone(holder) or not self._pass(_name(holder), own):
                return False
            atomic.remove_quietly(self._beat(_name(holder)))
        return self._taken()

    def release(self) -> bool:
        """Gives the lock back, or gives up waiting for it; returns False if it was taken away meanwhile."""
        if self._own is None:
            return True
        own = _name(self._own)
        is_ours = True
        if self._stop is not None:
            self._stop()
            self._stop = None
        if self._is_held:
            # The taker of a lock removes the old holder's beat. Where that is there, only the answer was lost.
            is_ours = self._pass(own, _FREE) or os.path.exists(self._beat(own))
        self._own, self._is_held = None, False
        atomic.remove_quietly(self._beat(own))
        return is_ours

    def holder(self) -> str:
        """Returns who holds the lock, for messages."""
        found = self._holder()
        if found is None:
            return "another process"
        here = found.machine == _safe(atomic.machine_name())
        return f"process {found.pid}" + ("" if here else f" on '{found.machine}'")

    def _taken(self) -> bool:
        assert self._own is not None
        self._is_held = True
        self._touch(_name(self._own))
        self._stop = start_beating(self._beat(_name(self._own)))
        self._clean(self._own)
        return True

    def _pass(self, old: str, new: str) -> bool:
        """Renames the one file; returns False if it does not have that name."""
        try:
            os.rename(os.path.join(self._turn, old), os.path.join(self._turn, new))
        except FileNotFoundError:
            return False
        return True

    def _make_turn(self) -> None:
        """Makes the folder of the one file, together with the file: it is never seen empty."""
        if os.path.isdir(self._turn):
            return
        temp = os.path.join(os.path.dirname(self._turn), atomic.temp_name())
        os.mkdir(temp)
        os.close(os.open(os.path.join(temp, _FREE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        try:
            os.rename(temp, self._turn)
        except OSError as error:
            atomic.remove_quietly(os.path.join(temp, _FREE))
            os.rmdir(temp)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def _holder(self) -> _Owner | None:
        try:
            names = os.listdir(self._turn)
        except OSError:
            return None
        return next((owner for name in names if (owner := _parse(name)) is not None), None)

    def _is_gone(self, owner: _Owner) -> bool:
        assert self._own is not None
        if (owner.machine, owner.space) == (self._own.machine, self._own.space):
            return not _is_running(owner)
        silent_s = self._silent_s(owner)
        return silent_s is None or silent_s > STALE_S

    def _silent_s(self, owner: _Owner) -> float | None:
        """Returns how long ago an owner was seen to live, by the clock of the file system; None: there is no trace."""
        assert self._own is not None
        try:
            seen = os.stat(self._beat(_name(owner))).st_mtime
        except FileNotFoundError:
            return None
        return os.stat(self._beat(_name(self._own))).st_mtime - seen

    def _beat(self, name: str) -> str:
        return os.path.join(self._beats, name)

    def _touch(self, name: str) -> None:
        """Shows that we live, and when that is by the clock of the file system."""
        path = self._beat(name)
        try:
            os.utime(path)
        except FileNotFoundError:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))

    def _clean(self, own: _Owner) -> None:
        """Removes what killed takers left."""
        for name in os.listdir(self._beats):
            owner = _parse(name)
            if owner is None or owner == own:
                continue
            if (owner.machine, owner.space) == (own.machine, own.space):
                is_left = not _is_running(owner)
            else:
                is_left = (self._silent_s(owner) or 0.0) > _FORGOTTEN_S
            if is_left:
                atomic.remove_quietly(self._beat(name))


def start_beating(path: str) -> Callable[[], None]:
    """Touches `path` from time to time, by a process of its own that ends with this one; returns what stops it."""
    if not hasattr(os, "fork"):
        return lambda: None
    watched, held = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(held)
            _beat_until_closed(path, watched)
        finally:
            os._exit(0)
    os.close(watched)

    def stop() -> None:
        os.write(held, b".")  # closing is not enough while a process that was forked since has it open
        os.close(held)
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass  # this program leaves that to the system

    return stop


def _beat_until_closed(path: str, watched: int) -> None:
    import select
    import signal

    os.setsid()  # a terminal that stops the holder must not stop this
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Nobody who reads what the holder writes shall wait for this process.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number_of_stream in (0, 1, 2):
        os.dup2(nowhere, number_of_stream)
    while not select.select([watched], [], [], BEAT_S)[0]:
        try:
            os.utime(path)
        except OSError:
            return  # the lock was taken away


def _myself() -> _Owner:
    pid = os.getpid()
    machine = _safe(atomic.machine_name())
    return _Owner(str(pid), state_of(pid)[1], pid_space(), machine, os.urandom(6).hex())


def _name(owner: _Owner) -> str:
    return ",".join([_HELD, *owner])


def _parse(name: str) -> _Owner | None:
    kind, *fields = name.split(",")
    if kind != _HELD or len(fields) != len(_Owner._fields) or not fields[0].isdecimal():
        return None
    return _Owner(*fields)


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:64]


def _is_running(owner: _Owner) -> bool:
    """Says whether an owner of this machine, or container, lives. Process ids are given anew; start times tell."""
    if not atomic.is_alive(int(owner.pid)):
        return False
    state, started = state_of(int(owner.pid))
    return state not in ("Z", "X") and (owner.started == started or "0" in (owner.started, started))

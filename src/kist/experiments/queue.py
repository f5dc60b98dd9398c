"""The queue of experiments: one file a task, one file a result, and a lock that its runner holds. No broker.

Not here: running a task, and the pool (kist.repo). Implements docs/spec/experiments.md, section 5.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kist.base import atomic
from kist.base.locks import FileLock

QUEUED = "Queued"
RUNNING = "Running"
FAILED = "Failed"
SUCCESS = "Success"

_VERSION = 1
_MAX_BYTES = 1 << 22


class Task(NamedTuple):
    """One experiment that is to run.

    Attributes:
        id: the commit that holds the work tree to run in.
        number: its place in the queue.
        replaces: the commit that its reference names before; None where there is none.
        cwd: where its targets are meant from, relative to the root.
        options: of `repro`.
        copies: files that Git does not track and that it needs, relative to the root.
    """

    id: str
    name: str
    baseline: str
    number: int
    created_s: float
    replaces: str | None = None
    targets: Sequence[str] = ()
    cwd: str = ""
    options: Mapping[str, Any] = {}
    message: str | None = None
    copies: Sequence[str] = ()


class Result(NamedTuple):
    """How a task ended: `state` is SUCCESS or FAILED; `sha` its experiment; `reason` why it failed."""

    state: str
    sha: str | None = None
    reason: str | None = None


class Queue:
    """The tasks of one repository, in a folder of its own."""

    def __init__(self, folder: str) -> None:
        """Args: folder: made when it is needed."""
        self.folder = folder

    def tasks(self) -> list[Task]:
        """Returns all tasks, in the order in which they came. What cannot be read is passed over."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [self._read(name.removesuffix(".task")) for name in names if name.endswith(".task")]
        return sorted((task for task in found if task is not None), key=lambda task: (task.number, task.id))

    def task(self, key: str) -> Task | None:
        """Returns the task with this id."""
        return self._read(key)

    def add(self, task: Task) -> None:
        """Adds a task; durable when this returns."""
        self._write(task.id, "task", {"version": _VERSION, **task._asdict()})

    def remove(self, task: Task) -> None:
        """Forgets a task that does not run, and its result. The task goes first, so that a kill leaves no half one."""
        for kind in ("task", "done", "made", "kill", "log", "lock"):
            atomic.remove_quietly(self.path(task.id, kind))
        atomic.sync_directory(self.folder)

    def finish(self, task: Task, result: Result) -> None:
        """Records how a task ended; durable when this returns."""
        self._write(task.id, "done", result._asdict())

    def note_made(self, task: Task, sha: str) -> None:
        """Notes the commit of a task's experiment, before a reference names it; durable when this returns."""
        self._write(task.id, "made", {"sha": sha})

    def made(self, task: Task) -> str | None:
        """Returns the commit that was noted for a task."""
        value = self._load(task.id, "made")
        found = value.get("sha") if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    def result(self, task: Task) -> Result | None:
        """Returns how a task ended; None while it has not."""
        value = self._load(task.id, "done")
        if not isinstance(value, dict) or value.get("state") not in (SUCCESS, FAILED):
            return None
        return Result(value["state"], value.get("sha"), value.get("reason"))

    def state(self, task: Task) -> str:
        """Returns what a task is: QUEUED, RUNNING, FAILED or SUCCESS."""
        result = self.result(task)
        if result is not None:
            return result.state
        if self.is_claimed(task.id):
            return RUNNING
        return FAILED if self.is_killed(task) else QUEUED

    def claim(self, task: Task) -> FileLock:
        """Returns the lock that the runner of a task holds; entering it waits for one that is about to end."""
        os.makedirs(self.folder, exist_ok=True)
        return FileLock(self.path(task.id, "lock"), wait_s=1.0)

    def is_claimed(self, key: str) -> bool:
        """Says whether a process runs the task with this id."""
        return self._is_held(self.path(key, "lock"))

    def runner(self, task: Task) -> int | None:
        """Returns the process that runs a task."""
        try:
            with open(self.path(task.id, "lock"), encoding="ascii", errors="replace") as stream:
                text = stream.read(100).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def mark_killed(self, task: Task) -> None:
        """Notes that a task is not to run again after its runner is ended."""
        self._write(task.id, "kill", {})

    def is_killed(self, task: Task) -> bool:
        """Says whether somebody wanted a task to end."""
        return os.path.exists(self.path(task.id, "kill"))

    def stop(self) -> None:
        """Lets a running pool start no more tasks."""
        os.makedirs(self.folder, exist_ok=True)
        atomic.write_file(os.path.join(self.folder, "stop"), b"")

    def may_go_on(self) -> bool:
        """Says whether nobody has stopped the pool."""
        return not os.path.exists(os.path.join(self.folder, "stop"))

    def go_on(self) -> None:
        """Forgets that a pool was stopped."""
        atomic.remove_quietly(os.path.join(self.folder, "stop"))

    def pool(self) -> FileLock:
        """Returns the lock that a pool holds while it runs."""
        os.makedirs(self.folder, exist_ok=True)
        return FileLock(os.path.join(self.folder, "pool.lock"), wait_s=0.0)

    def has_pool(self) -> bool:
        """Says whether a pool runs."""
        return self._is_held(os.path.join(self.folder, "pool.lock"))

    def path(self, key: str, kind: str) -> str:
        """Returns where something of a task is: "task", "done", "made", "kill", "log" or "lock"."""
        return os.path.join(self.folder, f"{key}.{kind}")

    def _read(self, key: str) -> Task | None:
        value = self._load(key, "task")
        if not isinstance(value, dict) or value.pop("version", None) != _VERSION:
            return None
        texts = ("id", "name", "baseline")
        is_right = value.keys() == set(Task._fields) and all(isinstance(value[text], str) for text in texts)
        is_right = is_right and value["id"] == key and isinstance(value["number"], int)
        return Task(**value) if is_right else None

    def _load(self, key: str, kind: str) -> Any:
        try:
            with open(self.path(key, kind), "rb") as stream:
                return json.loads(stream.read(_MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return None

    def _write(self, key: str, kind: str, value: Mapping[str, Any]) -> None:
        os.makedirs(self.folder, exist_ok=True)
        atomic.write_file(self.path(key, kind), json.dumps(value).encode("ascii") + b"\n")

    def _is_held(self, path: str) -> bool:
        """Says whether a process holds a lock. Asks for a share of it, so that those who ask do not meet."""
        import fcntl  # absent on some systems

        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.path.exists(path + ".d")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)
        finally:
            os.close(descriptor)
        return False

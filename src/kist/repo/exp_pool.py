"""The pool that works through the queue: so many runners at once, each a process of its own; no broker.

Not here: running one task (exp_task). Implements docs/spec/experiments.md, section 5.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kist.base.locks import RepositoryLockedError
from kist.base.shell import shell_line
from kist.errors import InputError, LockedError, MissingError
from kist.experiments.queue import FAILED, QUEUED, RUNNING, Queue, Result, Task
from kist.repo.exp_refs import place_of
from kist.repo.exp_task import forget_task, queue_of, sweep_runs

if TYPE_CHECKING:
    from subprocess import Popen

    from kist.repo.repository import Repository

_POLL_S = 0.05


class PoolRunningError(LockedError):
    """A pool works through the queue already; it takes what is added, too."""

    code = "pool-running"
    exit_code = 255


class TaskMissingError(MissingError):
    """No task of the queue has this name."""

    code = "task-missing"
    exit_code = 255


class TaskStateError(InputError):
    """A task cannot be killed or removed as it is now: it runs, or it does not."""

    code = "task-state"
    exit_code = 255


def work(
    repository: Repository,
    jobs: int,
    command: Sequence[str],
    told: Callable[[Task, Result], None],
) -> list[tuple[Task, Result]]:
    """Works through the queue until it is empty or somebody stops it; returns how tasks ended.

    Args:
        jobs: how many runners at once.
        command: starts a runner, with the task's id behind it.
        told: told of each task that ended.

    Raises: PoolRunningError.

    Holds: a task whose result is there is not started; one that a dead runner left is started again. When this is
        interrupted, runners are ended, and their tasks wait again.
    """
    queue = queue_of(repository)
    try:
        with queue.pool():
            queue.go_on()
            sweep_runs(repository, place_of(repository, "run experiments"))
            return _Pool(repository, queue, jobs, command, told).run()
    except RepositoryLockedError as error:
        raise PoolRunningError(
            "cannot start a pool: one works through the queue already", hint="kist queue status"
        ) from error


class _Pool:
    """Runners, and the tasks that they were given."""

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        jobs: int,
        command: Sequence[str],
        told: Callable[[Task, Result], None],
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._jobs = jobs
        self._command = command
        self._told = told
        self._running: list[tuple[Task, Popen[bytes]]] = []
        self._ended: list[tuple[Task, Result]] = []

    def run(self) -> list[tuple[Task, Result]]:
        """Returns how tasks ended."""
        try:
            while self._fill() or self._running:
                self._collect()
                time.sleep(_POLL_S)
        except BaseException:
            self._end_all()
            raise
        return self._ended

    def _fill(self) -> bool:
        """Starts as many runners as there is room for; says whether tasks wait."""
        if not self._queue.may_go_on():
            return False
        own = {task.id for task, _ in self._running}
        waiting = [task for task in self._queue.tasks() if task.id not in own and self._is_waiting(task)]
        for task in waiting[: self._jobs - len(self._running)]:
            self._running.append((task, start_runner(self._repository, self._queue, task, self._command)))
        return bool(waiting)

    def _is_waiting(self, task: Task) -> bool:
        return self._queue.state(task) == QUEUED

    def _collect(self) -> None:
        left = []
        for task, process in self._running:
            status = process.poll()
            if status is None:
                left.append((task, process))
                continue
            result = self._queue.result(task)
            if result is None:
                why = (
                    "it was killed"
                    if self._queue.is_killed(task)
                    else f"its process ended with status {status}"
                )
                result = Result(FAILED, None, why)
                self._queue.finish(task, result)
            self._ended.append((task, result))
            self._told(task, result)
        self._running = left

    def _end_all(self) -> None:
        for _, process in self._running:
            _signal_group(process.pid, signal.SIGTERM)
        for _, process in self._running:
            process.wait()


def start_runner(repository: Repository, queue: Queue, task: Task, command: Sequence[str]) -> Popen[bytes]:
    """Starts the process that runs one task; what it says goes into the task's log."""
    import subprocess

    with open(queue.path(task.id, "log"), "ab") as log:
        return subprocess.Popen(
            [*command, task.id],
            cwd=repository.root,
            env=dict(repository.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the commands of stages can be ended with it
        )


def find_tasks(queue: Queue, names: Sequence[str]) -> list[Task]:
    """Returns the tasks that a person means, by name or the beginning of their id.

    Raises: TaskMissingError.
    """
    present = queue.tasks()
    found: dict[str, Task] = {}
    for name in names:
        matches = [
            task for task in present if task.name == name or (len(name) > 3 and task.id.startswith(name))
        ]
        if not matches:
            raise TaskMissingError(
                f"cannot find '{name}': the queue has no such task", hint="kist queue status"
            )
        found.update({task.id: task for task in matches})
    return list(found.values())


def kill_tasks(repository: Repository, names: Sequence[str], *, force: bool = False) -> list[Task]:
    """Ends running tasks, which count as failed; returns them.

    Args: force: at once, without a chance to tidy up.

    Raises: TaskMissingError, TaskStateError.
    """
    queue = queue_of(repository)
    tasks = (
        find_tasks(queue, names)
        if names
        else [task for task in queue.tasks() if queue.state(task) == RUNNING]
    )
    for task in tasks:
        if queue.state(task) != RUNNING:
            raise TaskStateError(
                f"cannot kill '{task.name}': it does not run",
                hint=shell_line("kist", "queue", "remove", task.name),
            )
    for task in tasks:
        queue.mark_killed(task)
        pid = queue.runner(task)
        if pid is not None:
            _signal_group(pid, signal.SIGKILL if force else signal.SIGTERM)
    return tasks


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has just ended


def remove_tasks(repository: Repository, names: Sequence[str], states: Sequence[str]) -> list[Task]:
    """Takes tasks out of the queue: those that are named, and those in one of these states; returns them.

    Raises: TaskMissingError, TaskStateError: one of them runs.
    """
    queue = queue_of(repository)
    chosen = {task.id: task for task in find_tasks(queue, names)}
    for task in queue.tasks():
        if queue.state(task) in states:
            chosen[task.id] = task
    for task in chosen.values():
        try:
            with queue.claim(task):
                forget_task(repository, task)
        except RepositoryLockedError as error:
            raise TaskStateError(
                f"cannot remove '{task.name}': it runs", hint=shell_line("kist", "queue", "kill", task.name)
            ) from error
    return list(chosen.values())

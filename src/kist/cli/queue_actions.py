"""What `kist queue` does and says, and the parts of `kist exp run` that go beside the workspace."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import InputError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.experiments.queue import Result, Task
    from kist.repo.exp_run import RunRequest
    from kist.repo.repro import ReproOptions

_POLL_S = 0.1


class QueueFailedError(InputError):
    """Some experiments of the queue failed; their logs say why."""

    code = "queue-failed"
    exit_code = 255


class SeveralError(InputError):
    """Several values of a parameter make several experiments, which only the queue takes."""

    code = "several-experiments"
    exit_code = 255


def runner_command() -> list[str]:
    """Returns the command that runs one task of the queue, without the task."""
    return [sys.executable, "-m", "kist.cli.main", "exp", "exec-run"]


def requests_of(args: argparse.Namespace) -> list[RunRequest]:
    """Returns the experiments that the options describe: one, or one for each combination of a sweep's values."""
    from kist.experiments.overrides import expand, parse_override
    from kist.repo.exp_run import RunRequest

    combinations = expand([parse_override(text) for text in args.set_param])
    if len(combinations) == 1:
        return [RunRequest(args.name, combinations[0], args.message, args.force)]
    return [
        RunRequest(f"{args.name}-{number}" if args.name else None, overrides, args.message, args.force)
        for number, overrides in enumerate(combinations, 1)
    ]


def add_to_queue(args: argparse.Namespace, context: Context, options: ReproOptions) -> int:
    """Returns 0: `exp run --queue`."""
    from kist.repo.exp_task import enqueue

    tasks = enqueue(context.repository(), args.targets, requests_of(args), options, copies=args.copy_paths)
    for task in tasks:
        context.console.info(f"Queued experiment '{task.name}' for future execution.")
    return 0


def run_beside(args: argparse.Namespace, context: Context, options: ReproOptions) -> int:
    """Returns 0 when the experiment ran in a work tree of its own: `exp run --temp`."""
    from kist.cli.repro_words import teller
    from kist.repo.exp_task import enqueue, forget_task, queue_of, run_task

    repository = context.repository()
    requests = requests_of(args)
    if len(requests) > 1:
        raise SeveralError(
            f"cannot run {len(requests)} experiments at once in one place",
            hint="add `--queue`, then run them all with `kist exp run --run-all`",
        )
    copies = args.copy_paths
    task = enqueue(repository, args.targets, requests, options, copies=copies, for_pool=False)[0]
    with queue_of(repository).claim(task):
        context.console.info(f"Reproducing experiment '{task.name}'")
        try:
            found = run_task(repository, task, teller(context))
        finally:
            forget_task(repository, task)
    context.console.info(
        f"\nRan experiment(s): {found.name}\n"
        f"To apply the results of an experiment to your workspace run:\n\n\tkist exp apply {found.name}"
    )
    return 0


def run_all(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all experiments of the queue ended well: `exp run --run-all`."""
    from kist.experiments.queue import SUCCESS
    from kist.repo.exp_pool import work

    console = context.console

    def told(task: Task, result: Result) -> None:
        if result.state == SUCCESS:
            console.info(f"Ran experiment '{task.name}'")
        else:
            console.error(f"cannot run experiment '{task.name}': {result.reason}")
        console.flush()

    ended = work(context.repository(), args.jobs or 1, runner_command(), told)
    good = [task.name for task, result in ended if result.state == SUCCESS]
    failed = [task.name for task, result in ended if result.state != SUCCESS]
    if good:
        console.info(
            f"\nRan experiment(s): {', '.join(good)}\n"
            "To apply the results of an experiment to your workspace run:\n\n\tkist exp apply <exp>"
        )
    elif not failed:
        console.info("No experiments in the queue.")
    if failed:
        raise QueueFailedError(
            f"cannot run {len(failed)} of {len(ended)} experiments: {', '.join(failed)}",
            hint=shell_line("kist", "queue", "logs", failed[0]),
        )
    return 0


def run_one(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when one task of the queue ran: what a pool starts."""
    from kist.cli.repro_words import teller
    from kist.repo.exp_pool import find_tasks
    from kist.repo.exp_task import queue_of, run_task

    repository = context.repository()
    queue = queue_of(repository)
    task = find_tasks(queue, [args.task])[0]
    with queue.claim(task):
        if queue.result(task) is None and not queue.is_killed(task):
            run_task(repository, task, teller(context))
    return 0


def start(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when a pool works in the background."""
    import os
    import subprocess

    from kist.repo.exp_pool import PoolRunningError
    from kist.repo.exp_task import queue_of

    repository = context.repository()
    queue = queue_of(repository)
    if queue.has_pool():
        raise PoolRunningError(
            "cannot start a pool: one works through the queue already", hint="kist queue status"
        )
    os.makedirs(queue.folder, exist_ok=True)
    words = [sys.executable, "-m", "kist.cli.main", "exp", "run", "--run-all", "--jobs", str(args.jobs)]
    with open(os.path.join(queue.folder, "pool.log"), "ab") as log:
        process = subprocess.Popen(
            words,
            cwd=repository.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not queue.has_pool() and process.poll() is None:
        time.sleep(_POLL_S / 2)
    context.console.info(f"Started a pool of {args.jobs} in the background.")
    return 0


def stop(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the pool was told."""
    from kist.repo.exp_pool import kill_tasks
    from kist.repo.exp_task import queue_of

    repository = context.repository()
    queue = queue_of(repository)
    if not queue.has_pool():
        context.console.info("No pool runs.")
        return 0
    queue.stop()
    if args.kill:
        kill_tasks(repository, [])
    context.console.info("The pool starts no more experiments.")
    return 0


def status(_args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.experiments.queue import RUNNING
    from kist.repo.exp_task import queue_of

    queue = queue_of(context.repository())
    rows = [(task, queue.state(task)) for task in queue.tasks()]
    console = context.console
    if context.as_json:
        tasks = [
            {"task": task.id, "name": task.name, "created": task.created_s, "status": state}
            for task, state in rows
        ]
        console.data_json({"tasks": tasks, "pool": queue.has_pool()})
        return 0
    width = max([4, *(len(task.name) for task, _ in rows)])
    if rows:
        console.out(f"{'Task':<7}  {'Name':<{width}}  {'Created':<16}  Status")
        for task, state in rows:
            created = time.strftime("%Y-%m-%d %H:%M", time.localtime(task.created_s))
            console.out(f"{task.id[:7]}  {task.name:<{width}}  {created}  {state}")
    else:
        console.out("No experiment tasks in the queue.")
    running = sum(state == RUNNING for _, state in rows)
    console.out(f"\nPool: {'working' if queue.has_pool() else 'none'}, {running} running")
    return 0


def logs(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    import codecs

    from kist.experiments.queue import RUNNING
    from kist.repo.exp_pool import find_tasks
    from kist.repo.exp_task import queue_of

    queue = queue_of(context.repository())
    task = find_tasks(queue, [args.task])[0]
    try:
        decoder = codecs.getincrementaldecoder(args.encoding)("replace")
    except LookupError as error:
        raise BadEncodingError(
            f"cannot read the log: there is no encoding '{args.encoding}'",
            hint="kist queue logs TASK -e utf-8",
        ) from error
    position = 0
    while True:
        is_running = queue.state(task) == RUNNING
        try:
            with open(queue.path(task.id, "log"), "rb") as stream:
                stream.seek(position)
                data = stream.read()
        except FileNotFoundError:
            data = b""
        position += len(data)
        context.console.out(decoder.decode(data), end="")
        if not (args.follow and is_running):
            return 0
        context.console.flush()
        time.sleep(_POLL_S)


class BadEncodingError(InputError):
    """Python knows no encoding of this name."""

    code = "bad-encoding"
    exit_code = 255


def remove(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the tasks are out of the queue."""
    from kist.experiments.queue import FAILED, QUEUED, SUCCESS
    from kist.repo.exp_pool import remove_tasks

    states = [
        state
        for state, is_meant in ((QUEUED, args.queued), (SUCCESS, args.success), (FAILED, args.failed))
        if is_meant or args.all
    ]
    gone = remove_tasks(context.repository(), args.tasks, states)
    if gone:
        context.console.info(f"Removed tasks: {', '.join(task.name for task in gone)}")
    else:
        context.console.info("No tasks to remove.")
    return 0


def kill(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the tasks were told to end."""
    from kist.repo.exp_pool import kill_tasks

    tasks = kill_tasks(context.repository(), args.tasks, force=args.force)
    names = ", ".join(task.name for task in tasks)
    context.console.info(f"Killed tasks: {names}" if tasks else "No task runs.")
    return 0

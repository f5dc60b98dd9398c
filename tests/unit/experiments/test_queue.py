"""The files of the queue."""

from __future__ import annotations

import os
from pathlib import Path

from kist.experiments.queue import FAILED, QUEUED, RUNNING, SUCCESS, Queue, Result, Task


def task(number: int = 1) -> Task:
    return Task(
        f"{number:040x}", f"e{number}", "b" * 40, number, 1.5, targets=["train"], options={"force": True}
    )


def test_tasks_come_back_in_their_order(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path / "queue"))
    assert queue.tasks() == []
    queue.add(task(2))
    queue.add(task(1))
    found = queue.tasks()
    assert [one.name for one in found] == ["e1", "e2"]
    assert (list(found[0].targets), found[0].options) == (["train"], {"force": True})


def test_a_task_goes_from_waiting_to_running_to_its_end(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    queue.add(task())
    assert queue.state(task()) == QUEUED
    with queue.claim(task()):
        assert queue.state(task()) == RUNNING
        assert queue.runner(task()) == os.getpid()
    assert queue.state(task()) == QUEUED
    queue.finish(task(), Result(SUCCESS, "c" * 40))
    assert queue.state(task()) == SUCCESS
    assert queue.result(task()) == Result(SUCCESS, "c" * 40)


def test_a_task_that_was_killed_does_not_wait_again(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    queue.add(task())
    queue.mark_killed(task())
    assert queue.state(task()) == FAILED


def test_garbage_is_passed_over(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    queue.add(task())
    for name, data in (
        ("x.task", b"{"),
        (f"{'1' * 40}.task", b"[]"),
        (f"{'2' * 40}.task", b'{"version": 9}'),
    ):
        (tmp_path / name).write_bytes(data)
    (tmp_path / f"{task().id}.done").write_bytes(b"\xff")
    assert queue.tasks() == [queue.task(task().id)]
    assert queue.state(task()) == QUEUED


def test_a_removed_task_leaves_nothing(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    queue.add(task())
    queue.finish(task(), Result(FAILED, None, "why"))
    queue.remove(task())
    assert os.listdir(tmp_path) == []


def test_a_pool_is_stopped_and_goes_on(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    with queue.pool():
        assert queue.has_pool()
        queue.stop()
        assert not queue.may_go_on()
        queue.go_on()
        assert queue.may_go_on()
    assert not queue.has_pool()

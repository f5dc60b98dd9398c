"""Worker processes: answers in order, failures of every kind reach the caller."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

import pytest

from kist.base.parallel import Emit, WorkerDiedError, WorkerFailedError, Workers, run_requests
from kist.store.loose import ObjectCorruptError


def square(request: Any, emit: Emit) -> Any:
    """Answers a number, and reports it as progress."""
    emit(1, request)
    return request * request, os.getpid()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 23])
def test_answers_come_in_the_order_of_requests_whoever_does_them(workers: int, count: int) -> None:
    seen: list[tuple[int, int]] = []
    answers = run_requests(
        square,
        list(range(count)),
        workers=workers,
        on_progress=lambda files, size: seen.append((files, size)),
    )
    assert [answer[0] for answer in answers] == [number * number for number in range(count)]
    assert sum(files for files, _ in seen) == count
    assert sum(size for _, size in seen) == sum(range(count))
    is_forked = workers > 1 and count > 1
    assert (os.getpid() in {answer[1] for answer in answers}) == (not is_forked and count > 0)


def test_large_requests_and_answers_pass_through_the_pipes() -> None:
    requests = [bytes([number]) * 300_000 for number in range(6)]
    assert run_requests(lambda request, emit: request * 2, requests, workers=2) == [
        data * 2 for data in requests
    ]


def test_one_group_of_workers_does_several_rounds() -> None:
    with Workers(square, 2) as pool:
        for _ in range(3):
            answers = pool.map([3, 4, 5], on_progress=lambda files, size: None)
            assert [answer[0] for answer in answers] == [9, 16, 25]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_system_error_keeps_its_number_and_both_paths(workers: int) -> None:
    def handler(request: Any, emit: Emit) -> Any:
        if request == 2:
            raise OSError(errno.ENOSPC, "No space left on device", "/from", None, "/to")
        return request

    with pytest.raises(OSError, match="No space left") as caught:
        run_requests(handler, [1, 2, 3, 4], workers=workers)
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (
        errno.ENOSPC,
        "/from",
        "/to",
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_ours_keeps_its_class_message_and_hint(workers: int) -> None:
    def handler(request: Any, emit: Emit) -> Any:
        raise ObjectCorruptError("cannot use it", hint="fetch it")

    with pytest.raises(ObjectCorruptError) as caught:
        run_requests(handler, [1, 2], workers=workers)
    assert (caught.value.message, caught.value.hint) == ("cannot use it", "fetch it")


def test_an_unexpected_error_of_a_worker_is_told_with_its_traceback() -> None:
    def handler(request: Any, emit: Emit) -> Any:
        return {}["nothing"]

    with pytest.raises(WorkerFailedError, match="KeyError: 'nothing'"):
        run_requests(handler, [1, 2], workers=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_a_worker_is_an_error_and_never_a_missing_answer(number: signal.Signals) -> None:
    parent = os.getpid()

    def handler(request: Any, emit: Emit) -> Any:
        if request == 3 and os.getpid() != parent:
            os.kill(os.getpid(), number)
        return request

    with pytest.raises(WorkerDiedError, match="ended without an answer"):
        run_requests(handler, list(range(8)), workers=2)


def test_no_worker_outlives_a_failure() -> None:
    pool = Workers(square, 3)
    pids = [child.pid for child in pool._children]
    with pytest.raises(ValueError, match="stop"), pool:
        raise ValueError("stop")
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_who_waits_for_silent_workers_is_called_now_and_then() -> None:
    reader, writer = os.pipe()
    calls: list[tuple[int, int]] = []

    def handler(request: Any, emit: Emit) -> Any:
        return os.read(reader, 1)  # silent until the caller was called

    def on_progress(files: int, size_bytes: int) -> None:
        calls.append((files, size_bytes))
        os.write(writer, b"go")

    assert sorted(run_requests(handler, [1, 2], workers=2, on_progress=on_progress)) == [b"g", b"o"]
    assert calls[0] == (0, 0)
    os.close(reader)
    os.close(writer)

"""Worker processes for work that a single interpreter cannot do at once: hashing, linking, copying.

Workers are forked, so they see what the parent prepared without copying it; they answer over pipes in `marshal`
frames. Small jobs run in the calling process by the same code. Not here: what the work is.
"""

from __future__ import annotations

import collections
import errno
import gc
import marshal
import os
import selectors
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any

from kist.errors import KistError, StorageError

Emit = Callable[[int, int], None]
"""Reports finished work: number of files, number of bytes."""
Handler = Callable[[Any, Emit], Any]
"""Does one request and returns a value that `marshal` can carry."""

_HEADER = struct.Struct("<I")
_MOMENT_S = 0.1
_AHEAD_BYTES = 4000
"""So much fits into every empty pipe."""


class WorkerDiedError(StorageError):
    """A worker process ended without an answer (killed, out of memory). A retry can help; nothing was acknowledged."""

    code = "worker-died"


class WorkerFailedError(KistError):
    """A worker process met an error that it did not expect; the message carries its traceback."""

    code = "worker-failed"


def default_workers() -> int:
    """Returns how many processors this process may use, at most eight."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return max(1, min(8, count))


def can_fork() -> bool:
    """Says whether worker processes are available on this system."""
    return hasattr(os, "fork")


def run_requests(
    handler: Handler, requests: Sequence[Any], *, workers: int, on_progress: Emit | None = None
) -> list[Any]:
    """Returns the handler's answers in the order of `requests`, worked on by up to `workers` processes.

    Raises:
        OSError, KistError: the first failure of any request; all workers have ended by then.
    """
    report = on_progress or _no_progress
    if workers <= 1 or len(requests) <= 1 or not can_fork():
        return [handler(request, report) for request in requests]
    with Workers(handler, min(workers, len(requests))) as pool:
        return pool.map(requests, on_progress=report)


def _no_progress(files: int, size_bytes: int) -> None:
    pass


class Workers:
    """A group of forked processes that answer requests until closed; use as a context manager."""

    def __init__(self, handler: Handler, count: int) -> None:
        self._children: list[_Child] = []
        gc.freeze()  # so that a collection in a worker does not touch, and thereby copy, the parent's pages
        try:
            for _ in range(count):
                self._children.append(_start(handler, self._children))
        except BaseException:
            self.kill()
            raise
        finally:
            gc.unfreeze()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def map(
        self,
        requests: Sequence[Any],
        *,
        on_progress: Emit,
        on_answer: Callable[[int, Any], None] | None = None,
    ) -> list[Any]:
        """Returns the answers in the order of `requests`; each worker takes the next one when it is free.

        Args:
            on_progress: also called, with zeros, when no worker has said anything for a moment.
            on_answer: called with the place of a request and its answer, as they come; then nothing is returned.
        """
        answers: list[Any] = [None] * len(requests)
        pending = collections.deque(range(len(requests)))
        active: dict[int, collections.deque[int]] = {}
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                active[child.reader] = collections.deque()
                self._give(child, pending, requests, active[child.reader])
                selector.register(child.reader, selectors.EVENT_READ, child)
            while any(active.values()):
                ready = selector.select(_MOMENT_S)
                if not ready:
                    on_progress(0, 0)
                for key, _ in ready:
                    child = key.data
                    message = self._receive(child)
                    if message[0] == "progress":
                        on_progress(message[1], message[2])
                        continue
                    if message[0] == "error":
                        raise _revive(message)
                    index = active[child.reader].popleft()
                    self._give(child, pending, requests, active[child.reader])
                    if on_answer is not None:
                        on_answer(index, message[1])
                    else:
                        answers[index] = message[1]
        return [] if on_answer is not None else answers

    def _give(
        self,
        child: _Child,
        pending: collections.deque[int],
        requests: Sequence[Any],
        given: collections.deque[int],
    ) -> None:
        # A small one ahead, so that a worker need not wait for us; near the end each takes what it can do at once.
        # A large one might not fit into the pipe while the worker, in turn, waits for us to read its answer.
        ahead = 2 if len(pending) > 4 * len(self._children) else 1
        while pending and len(given) < ahead:
            frame = _frame(requests[pending[0]])
            if given and len(frame) > _AHEAD_BYTES:
                return
            given.append(pending.popleft())
            try:
                _write(child.writer, frame)
            except BrokenPipeError as error:
                raise _died(child) from error

    def _receive(self, child: _Child) -> tuple[Any, ...]:
        message = _read(child.reader)
        if message is None:
            raise _died(child)
        return message  # type: ignore[no-any-return]

    def close(self) -> None:
        """Lets the workers end and waits for them."""
        for child in self._children:
            os.close(child.writer)
            os.close(child.reader)
        for child in self._children:
            _wait(child.pid)
        self._children = []

    def kill(self) -> None:
        """Ends the workers, whatever they are at."""
        for child in self._children:
            os.kill(child.pid, signal.SIGTERM)
        self.close()


class _Child:
    __slots__ = ("pid", "reader", "writer")

    def __init__(self, pid: int, reader: int, writer: int) -> None:
        self.pid = pid
        self.reader = reader
        self.writer = writer


def _start(handler: Handler, siblings: Sequence[_Child]) -> _Child:
    request_reader, request_writer = os.pipe()
    answer_reader, answer_writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(request_reader)
        os.close(answer_writer)
        return _Child(pid, answer_reader, request_writer)
    status = 1
    try:
        # The parent decides what an interruption means; a worker just ends when told to.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for sibling in siblings:
            os.close(sibling.reader)
            os.close(sibling.writer)
        os.close(request_writer)
        os.close(answer_reader)
        _serve(handler, request_reader, answer_writer)
        status = 0
    except BrokenPipeError:
        status = 0  # the parent is gone, and with it every reason to go on
    finally:
        os._exit(status)


def _serve(handler: Handler, reader: int, writer: int) -> None:
    def emit(files: int, size_bytes: int) -> None:
        _send(writer, ("progress", files, size_bytes))

    while True:
        request = _read(reader)
        if request is None:
            return
        try:
            answer: tuple[Any, ...] = ("answer", handler(request, emit))
        except BrokenPipeError:
            raise
        except OSError as error:
            names = [name if isinstance(name, str) else None for name in (error.filename, error.filename2)]
            answer = ("error", "os", error.errno, error.strerror, *names)
        except KistError as error:
            answer = (
                "error",
                "kist",
                type(error).__module__,
                type(error).__qualname__,
                error.message,
                error.hint,
            )
        except Exception:  # noqa: BLE001 - the edge of this process: the parent raises it again with the text
            import traceback

            answer = ("error", "other", traceback.format_exc())
        _send(writer, answer)


def _revive(message: tuple[Any, ...]) -> BaseException:
    kind = message[1]
    if kind == "os":
        number, text, first, second = message[2:]
        return OSError(number, text, first, None, second) if second else OSError(number, text, first)
    if kind == "kist":
        import importlib

        module, name, text, hint = message[2:]
        found = getattr(importlib.import_module(module), name)
        error: KistError = found.__new__(found)  # a subclass may be made of other arguments
        KistError.__init__(error, text, hint=hint)
        return error
    return WorkerFailedError(f"a worker process failed unexpectedly:\n{message[2]}")


def _died(child: _Child) -> WorkerDiedError:
    return WorkerDiedError(
        f"worker process {child.pid} ended without an answer",
        hint="see whether memory is short, then run the same command again",
    )


def _frame(value: Any) -> bytes:
    body = marshal.dumps(value)
    return _HEADER.pack(len(body)) + body


def _send(descriptor: int, value: Any) -> None:
    _write(descriptor, _frame(value))


def _write(descriptor: int, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(descriptor: int) -> Any:
    header = _read_exactly(descriptor, _HEADER.size)
    if header is None:
        return None
    body = _read_exactly(descriptor, _HEADER.unpack(header)[0])
    return None if body is None else marshal.loads(body)  # noqa: S302 - from our own child, over a private pipe


def _read_exactly(descriptor: int, count: int) -> bytes | None:
    chunk = os.read(descriptor, count)
    if len(chunk) == count:
        return chunk
    parts = [chunk]
    have = len(chunk)
    while have < count:
        if not chunk:
            return None
        chunk = os.read(descriptor, count - have)
        parts.append(chunk)
        have += len(chunk)
    return b"".join(parts)


def _wait(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except OSError as error:
        if error.errno != errno.ECHILD:
            raise

"""Keeps a service busy: many requests at once, each tried again where that can help, at a pace that the service takes.

Not here: what is asked for (transfer.stored) and how a service is spoken to (remotes). Implements docs/spec/storage.md,
section 3.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from kist.base.limiter import Limiter
from kist.remotes.storage import Abilities, StorageFailedError, StorageUnreachableError

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 5
_LONGEST_WAIT_S = 60.0
_FIRST_PAUSE_S = 0.4
_WINDOW_S = 0.5
_STREAM_BYTES_PER_S = 256 << 10
"""What a request should get of a limited rate: more of them would only hold more in memory."""


class Engine:
    """Runs calls to one service in threads.

    Args:
        abilities: of the service: how many requests to begin with, and how many at most.
        jobs: a fixed number of requests at once (`-j`); None: the pace is found.
        limiter: of the command, for the bytes in both directions together; None: as fast as it goes.
    """

    def __init__(
        self, abilities: Abilities, *, jobs: int | None = None, limiter: Limiter | None = None
    ) -> None:
        self._most = jobs or abilities.most_streams
        if limiter is not None:
            self._most = min(self._most, max(1, int(limiter.bytes_per_s / _STREAM_BYTES_PER_S)))
        self._pace = _Pace(min(jobs or abilities.streams, self._most), self._most, is_fixed=jobs is not None)
        self._limiter = limiter
        self._stop = threading.Event()
        self._has_answered = False

    def attempt(self, call: Callable[[], R]) -> R:
        """Returns the answer of a call, which is tried again while that can help.

        Raises: what the call raised last; StorageUnreachableError at once while nobody ever answered.
        """
        for number in range(1, ATTEMPTS + 1):
            try:
                answer = call()
            except StorageUnreachableError:
                if number == ATTEMPTS or not self._has_answered:
                    raise
                wait_s = None
            except StorageFailedError as error:
                self._has_answered = True
                if number == ATTEMPTS or (error.retry_after_s or 0) > _LONGEST_WAIT_S:
                    raise
                self._pace.slow_down()
                wait_s = error.retry_after_s
            else:
                self._has_answered = True
                return answer
            # Jitter: many clients that were turned away together must not come back together.
            pause_s = _FIRST_PAUSE_S * 2 ** (number - 1) * (0.5 + random.random())
            if self._stop.wait(max(pause_s, wait_s or 0.0)):
                raise StorageFailedError("the transfer was stopped")
        raise AssertionError("not reached")

    def spend(self, size_bytes: int) -> None:
        """Waits until this many more bytes may travel, and counts them."""
        if self._limiter is not None:
            self._limiter.spend(size_bytes, wait=self._stop.wait)
        self._pace.count(size_bytes)

    def run(
        self,
        work: Callable[[T], R],
        items: Iterable[T],
        done: Callable[[T, R], None] = lambda item, result: None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Does work for each item, many at once.

        Args:
            items: taken one after the other, by one thread at a time.
            done: told of each result, by one thread at a time.
            meanwhile: called again and again by the calling thread while the others work.

        Raises: the first exception of any of them; what began before has ended or will be ignored.
        """
        job: _Job[T, R] = _Job(self, work, iter(items), done)
        threads: list[threading.Thread] = []
        try:
            while not job.is_over():
                while len(threads) < min(self._pace.limit, self._most) and not job.is_drained():
                    threads.append(
                        threading.Thread(
                            target=job.serve, args=(len(threads),), name="kist-transfer", daemon=True
                        )
                    )
                    threads[-1].start()
                job.wait(_WINDOW_S if meanwhile is None else 0.05)
                self._pace.adjust()
                if meanwhile is not None:
                    meanwhile()
        except BaseException:
            self._stop.set()
            raise
        if job.error is not None:
            self._stop.set()
            raise job.error
        for thread in threads:
            thread.join()
        if meanwhile is not None:
            meanwhile()

    def is_allowed(self, number: int) -> bool:
        """Says whether the thread with this number may take another item at the present pace."""
        return number < self._pace.limit and not self._stop.is_set()

    def is_stopped(self) -> bool:
        """Says whether all work is to end."""
        return self._stop.is_set()


class _Job(Generic[T, R]):
    """One `run`: shared by its threads."""

    def __init__(
        self, engine: Engine, work: Callable[[T], R], items: Iterator[T], done: Callable[[T, R], None]
    ) -> None:
        self.error: BaseException | None = None
        self._engine = engine
        self._work = work
        self._items = items
        self._done = done
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._source = threading.Lock()
        self._is_drained = False
        self._active = 0

    def serve(self, number: int) -> None:
        """Works until nothing is left."""
        while True:
            if not self._engine.is_allowed(number):
                if self._engine.is_stopped() or self.is_drained() or self.error is not None:
                    return
                time.sleep(0.05)  # the pace has gone down; it may rise again
                continue
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        try:
            with self._source:
                with self._lock:
                    if self._is_drained or self.error is not None:
                        return False
                    self._active += 1
                try:
                    item = next(self._items)
                except StopIteration:
                    with self._changed:
                        self._active -= 1
                        self._is_drained = True
                        self._changed.notify_all()
                    return False
            result = self._work(item)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called `run`
            with self._changed:
                self._active -= 1
                self.error = self.error or error
                self._changed.notify_all()
            return False
        with self._changed:
            try:
                self._done(item, result)
            except BaseException as error:  # noqa: BLE001 - as above
                self.error = self.error or error
            self._active -= 1
            self._changed.notify_all()
        return True

    def is_drained(self) -> bool:
        """Says whether no item is left to begin with."""
        return self._is_drained or self.error is not None

    def is_over(self) -> bool:
        """Says whether everything has ended."""
        with self._lock:
            return self.error is not None or (self._is_drained and self._active == 0)

    def wait(self, seconds: float) -> None:
        """Waits until it may be over, or for so long."""
        with self._changed:
            if not (self.error is not None or (self._is_drained and self._active == 0)):
                self._changed.wait(seconds)


class _Pace:
    """How many requests go at once: more while that brings more, half when the service asks for less."""

    def __init__(self, start: int, most: int, *, is_fixed: bool) -> None:
        self.limit = start
        self._most = most
        self._is_fixed = is_fixed
        self._lock = threading.Lock()
        self._bytes = 0
        self._requests = 0
        self._since = time.monotonic()
        self._best = 0.0
        self._slowed = 0.0

    def count(self, size_bytes: int) -> None:
        """Counts one request with its bytes."""
        with self._lock:
            self._bytes += size_bytes
            self._requests += 1

    def slow_down(self) -> None:
        """Halves the number, once a window."""
        now = time.monotonic()
        with self._lock:
            if not self._is_fixed and now - self._slowed > _WINDOW_S:
                self.limit = max(1, self.limit // 2)
                self._slowed = now
                self._best = 0.0

    def adjust(self) -> None:
        """Looks at the throughput of the last window."""
        now = time.monotonic()
        with self._lock:
            span = now - self._since
            if self._is_fixed or span < _WINDOW_S:
                return
            # Small requests are limited by their number, large ones by their bytes: 64 KB weigh as much as a request.
            rate = (self._requests + self._bytes / 65536) / span
            self._bytes = self._requests = 0
            self._since = now
            if rate > self._best * 1.05 and now - self._slowed > 4 * _WINDOW_S:
                self._best = rate
                self.limit = min(self._most, self.limit + max(1, self.limit // 4))

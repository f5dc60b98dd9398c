"""Which stages may run at once: those that share no path that one of them writes, as far as named limits allow. Pure.

Not here: running them (commands), where limits come from. Implements docs/spec/repro.md, section 6.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Use(NamedTuple):
    """The paths that one stage reads and writes, relative to the root, or addresses."""

    reads: Sequence[str]
    writes: Sequence[str]


def waits(uses: Sequence[Use]) -> list[set[int]]:
    """Returns for each stage the earlier ones that have to be over before it begins.

    Args: uses: of the stages, in the order in which they would run one at a time.
    """
    readers: dict[str, list[int]] = {}
    writers: dict[str, list[int]] = {}
    for at, use in enumerate(uses):
        for path in use.reads:
            readers.setdefault(path, []).append(at)
        for path in use.writes:
            writers.setdefault(path, []).append(at)
    found: list[set[int]] = [set() for _ in uses]

    def meet(one: int, others: Sequence[int]) -> None:
        for other in others:
            if other != one:
                found[max(one, other)].add(min(one, other))

    for at, use in enumerate(uses):
        for path in use.reads:
            for around in _with_parents(path):
                meet(at, writers.get(around, ()))
        for path in use.writes:
            for around in _with_parents(path):
                meet(at, writers.get(around, ()))
                meet(at, readers.get(around, ()))
    return found


def _with_parents(path: str) -> Iterator[str]:
    yield path
    at = path.rfind("/")
    while at > 0:
        yield path[:at]
        at = path.rfind("/", 0, at)


class Schedule:
    """Says which stages may begin, by their places in the order of one at a time."""

    def __init__(
        self,
        waiting: Sequence[set[int]],
        needs: Sequence[Mapping[str, int]],
        capacity: Mapping[str, int],
        jobs: int,
    ) -> None:
        """Args:
        waiting: of `waits`.
        needs: how much of what each stage takes while it runs.
        capacity: how much there is; 1 of what is not named. A stage that needs more than there is takes all.
        jobs: how many may run at once.
        """
        self._left = [len(before) for before in waiting]
        self._users: list[list[int]] = [[] for _ in waiting]
        for at, before in enumerate(waiting):
            for maker in before:
                self._users[maker].append(at)
        self._ready = [at for at, count in enumerate(self._left) if not count]
        self._needs = needs
        self._capacity = capacity
        self._taken: dict[str, int] = {}
        self._jobs = jobs
        self._running: set[int] = set()

    def next(self) -> int | None:
        """Returns the first stage that may begin now, which counts as running from here on; None where none may."""
        if len(self._running) >= self._jobs:
            return None
        held: list[int] = []
        chosen: int | None = None
        while self._ready and chosen is None:
            at = heapq.heappop(self._ready)
            if self._fits(at):
                chosen = at
            else:
                held.append(at)
        for at in held:
            heapq.heappush(self._ready, at)
        if chosen is not None:
            self._running.add(chosen)
            for name, count in self._wanted(chosen):
                self._taken[name] = self._taken.get(name, 0) + count
        return chosen

    def over(self, at: int) -> None:
        """Notes that a stage that began has ended, well or not, so that those that waited for it may begin."""
        self._running.discard(at)
        for name, count in self._wanted(at):
            self._taken[name] -= count
        for user in self._users[at]:
            self._left[user] -= 1
            if not self._left[user]:
                heapq.heappush(self._ready, user)

    def _fits(self, at: int) -> bool:
        return all(
            self._taken.get(name, 0) + count <= self._there_is(name) for name, count in self._wanted(at)
        )

    def _wanted(self, at: int) -> Iterator[tuple[str, int]]:
        for name, count in self._needs[at].items():
            yield name, min(count, self._there_is(name))

    def _there_is(self, name: str) -> int:
        return self._capacity.get(name, 1)

"""The limit on bytes a second, with a clock of our own."""

from __future__ import annotations

import threading

from kist.base.limiter import Limiter


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves on."""
        self.slept.append(seconds)
        self.now += seconds


def test_a_seconds_worth_goes_at_once_and_then_the_rate_holds() -> None:
    clock = Clock()
    limiter = Limiter(1000, clock=clock, sleep=clock.sleep)
    limiter.spend(1000)
    assert clock.slept == []
    for _ in range(10):
        limiter.spend(500)
    assert clock.now == 1005.0


def test_what_is_larger_than_a_second_waits_for_all_of_it() -> None:
    clock = Clock()
    limiter = Limiter(1000, clock=clock, sleep=clock.sleep)
    limiter.spend(8000)
    assert clock.slept == [7.0]


def test_a_pause_saves_up_no_more_than_a_second() -> None:
    clock = Clock()
    limiter = Limiter(1000, clock=clock, sleep=clock.sleep)
    limiter.spend(1000)
    clock.now += 3600
    limiter.spend(1000)
    limiter.spend(1000)
    assert clock.slept == [1.0]


def test_threads_share_the_rate() -> None:
    waits: list[float] = []
    limiter = Limiter(1000, clock=lambda: 0.0)
    threads = [
        threading.Thread(target=limiter.spend, args=(1000,), kwargs={"wait": waits.append}) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]  # the first one went at once

"""The engine's pauses: how long it waits before it tries again, and when it does not."""

from __future__ import annotations

import pytest

from kist.base.limiter import Limiter
from kist.remotes.storage import Abilities, StorageFailedError, StorageUnreachableError
from kist.transfer.engine import ATTEMPTS, Engine


class Waiting:
    """Stands in for the event that ends pauses; notes them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Returns at once."""
        self.pauses.append(seconds)
        return False


@pytest.fixture
def waiting() -> Waiting:
    """Returns what notes pauses."""
    return Waiting()


def engine(waiting: Waiting) -> Engine:
    """Returns an engine that does not wait."""
    made = Engine(Abilities())
    made._stop = waiting  # type: ignore[assignment]
    return made


def failing(count: int, retry_after_s: float | None) -> list[StorageFailedError | None]:
    """Returns so many failures, and then none."""
    return [StorageFailedError("busy", retry_after_s=retry_after_s) for _ in range(count)] + [None]


def asked(engine: Engine, answers: list[StorageFailedError | None]) -> int:
    """Returns how many times a call was made."""
    calls = iter(answers)
    made = [0]

    def call() -> None:
        made[0] += 1
        error = next(calls)
        if error is not None:
            raise error

    engine.attempt(call)
    return made[0]


def test_what_the_service_asks_to_wait_is_waited(waiting: Waiting) -> None:
    assert asked(engine(waiting), failing(2, 17.0)) == 3
    assert waiting.pauses == [17.0, 17.0]


def test_without_a_word_the_pauses_grow(waiting: Waiting) -> None:
    assert asked(engine(waiting), failing(4, None)) == ATTEMPTS
    for number, pause in enumerate(waiting.pauses):
        assert 0.2 * 2**number <= pause <= 0.6 * 2**number


def test_nobody_waits_longer_than_a_minute(waiting: Waiting) -> None:
    with pytest.raises(StorageFailedError):
        asked(engine(waiting), failing(1, 61.0))
    assert waiting.pauses == []


def test_an_address_where_nobody_ever_answered_is_asked_once(waiting: Waiting) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise StorageUnreachableError("nobody")

    with pytest.raises(StorageUnreachableError):
        engine(waiting).attempt(call)
    assert len(calls) == 1


@pytest.mark.parametrize(("rate", "streams"), [(1 << 10, 1), (1 << 20, 4), (1 << 30, 16)])
def test_a_limited_rate_is_shared_by_few_requests(rate: int, streams: int) -> None:
    assert Engine(Abilities(streams=16), limiter=Limiter(rate))._pace.limit == streams

"""Which stages may run at once."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kist.pipeline.schedule import Schedule, Use, waits

PATHS = st.sampled_from(["a", "b", "a/x", "a/x/y", "ab", "b/x"])
USES = st.lists(st.builds(Use, st.lists(PATHS, max_size=3), st.lists(PATHS, max_size=2)), max_size=8)


def touches(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


@given(USES)
def test_a_stage_waits_for_all_earlier_ones_that_it_shares_a_written_path_with(uses: list[Use]) -> None:
    found = waits(uses)
    for at, use in enumerate(uses):
        expected = {
            before
            for before, other in enumerate(uses[:at])
            if any(touches(a, b) for a in use.writes for b in [*other.reads, *other.writes])
            or any(touches(a, b) for a in use.reads for b in other.writes)
        }
        assert found[at] == expected


@given(USES, st.integers(1, 4), st.randoms(use_true_random=False), st.booleans())
def test_every_stage_begins_once_and_never_too_early(
    uses: list[Use], jobs: int, chance: random.Random, is_scarce: bool
) -> None:
    waiting = waits(uses)
    needs = [{"gpu": at % 3} if is_scarce else {} for at in range(len(uses))]
    schedule = Schedule(waiting, needs, {}, jobs)
    running: list[int] = []
    over: list[int] = []
    while len(over) < len(uses):
        while (at := schedule.next()) is not None:
            assert waiting[at] <= set(over)
            running.append(at)
        assert 0 < len(running) <= jobs
        assert sum(min(needs[at].get("gpu", 0), 1) for at in running) <= 1
        ended = running.pop(chance.randrange(len(running)))
        schedule.over(ended)
        over.append(ended)
    assert schedule.next() is None
    assert sorted(over) == list(range(len(uses)))


def test_limits_by_name_hold_and_others_go_on() -> None:
    schedule = Schedule([set()] * 4, [{"gpu": 1}, {"gpu": 2}, {"gpu": 1}, {}], {"gpu": 2}, 8)
    assert [schedule.next() for _ in range(4)] == [0, 2, 3, None]
    schedule.over(0)
    assert schedule.next() is None
    schedule.over(2)
    assert schedule.next() == 1
    assert schedule.next() is None


def test_of_what_there_is_too_little_a_stage_takes_all() -> None:
    schedule = Schedule([set()] * 2, [{"gpu": 8}, {"gpu": 1}], {}, 8)
    assert schedule.next() == 0
    assert schedule.next() is None
    schedule.over(0)
    assert schedule.next() == 1

"""Dates make the round: written into a name, a path or a cell, they are read again, whatever stands around them."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from kist.base import dates

DAYS = st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31))
MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2099, 12, 31))
WORDS = st.sampled_from(["", "a", "prices_", "IMG", "part-", "x.y-", "Ü ", "no 7 - "])
ENDS = st.sampled_from(["", ".csv", "_7.csv", "-0001", "_v2", "Z", "b", " (1).jpg"])


def end_of(day: datetime.date) -> int:
    start = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
    return int(start.timestamp()) + 86400


@given(DAYS, WORDS, ENDS, st.sampled_from(["%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%m%d"]))
def test_a_day_in_a_name_is_read_again(day: datetime.date, before: str, after: str, form: str) -> None:
    assert dates.end_of_name(before + day.strftime(form) + after) == end_of(day)


@given(DAYS, st.sampled_from(["%Y/%m/%d", "year=%Y/month=%m/day=%d", "%Y/%m/%d/12", "%Y-%m-%d/a/b"]))
def test_a_day_in_folders_is_read_again(day: datetime.date, form: str) -> None:
    assert dates.end_of_path(f"data/{day.strftime(form)}/rows.csv", {}) == end_of(day)


@given(
    MOMENTS, st.sampled_from(["%Y%m%dT%H%M%S", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%d_%H%M%S", "%Y-%m-%d-%H-%M-%S"])
)
def test_a_second_in_a_name_is_read_again(moment: datetime.datetime, form: str) -> None:
    second = moment.replace(microsecond=0, tzinfo=datetime.UTC)
    assert dates.end_of_name(f"log_{moment.strftime(form)}.txt") == int(second.timestamp()) + 1


ZONES = st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)


@given(st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(9998, 1, 1), timezones=ZONES))
def test_a_moment_with_a_zone_is_over_within_the_second_after_it(moment: datetime.datetime) -> None:
    end = dates.end_of_text(moment.isoformat())
    assert end is not None
    assert datetime.timedelta(0) < datetime.datetime.fromtimestamp(end, datetime.UTC) - moment
    assert datetime.datetime.fromtimestamp(end, datetime.UTC) - moment <= datetime.timedelta(seconds=1)


@given(st.text())
def test_any_text_is_a_date_or_none_and_its_period_is_over_after_it_began(text: str) -> None:
    for end in (dates.end_of_name(text), dates.end_of_path(text, {}), dates.end_of_text(text)):
        if end is not None:
            assert dates.day_text(end - 1) <= "9999-12-31"


@given(st.text("0123456789abcdef", min_size=15), DAYS)
def test_a_word_with_more_digits_than_a_date_and_a_time_have_tells_none(
    word: str, day: datetime.date
) -> None:
    digits = sum(char.isdigit() for char in word)
    named = f"{word[:7]}{day:%Y%m%d}{word[7:]}"
    assert digits + 8 <= 14 or dates.end_of_name(named) is None


@given(
    st.integers(0, 3000),
    st.integers(0, 3000),
    st.sampled_from("dwmy"),
    st.integers(86400 * 365 * 30, 86400 * 365 * 80),
)
def test_a_greater_age_is_never_later(one: int, other: int, unit: str, now: int) -> None:
    least, most = sorted((one % 900 if unit in "my" else one, other % 900 if unit in "my" else other))
    earlier, later = dates.moment_before(f"{most}{unit}", now), dates.moment_before(f"{least}{unit}", now)
    assert earlier is not None and later is not None
    assert earlier <= later <= now

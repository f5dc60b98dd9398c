"""Dates in names and tables, and ages; every row is an expectation that docs/spec/expire.md states."""

from __future__ import annotations

import pytest

from kist.base import dates

NAMES = {
    # A period ends with the first moment after it.
    "2024-05-31": "2024-06-01T00:00:00Z",
    "prices_2024-05-31.csv": "2024-06-01T00:00:00Z",
    "backup_2024_05_31.tar": "2024-06-01T00:00:00Z",
    "2024.05.31.txt": "2024-06-01T00:00:00Z",
    "20240531.csv": "2024-06-01T00:00:00Z",
    "IMG20240531.jpg": "2024-06-01T00:00:00Z",
    "dt=2024-12-31": "2025-01-01T00:00:00Z",
    "2024-02-29": "2024-03-01T00:00:00Z",
    "2024-05.csv": "2024-06-01T00:00:00Z",
    "2024_12": "2025-01-01T00:00:00Z",
    "20240531T1230": "2024-05-31T12:31:00Z",
    "2024-05-31T12:30:15Z.json": "2024-05-31T12:30:16Z",
    "2024-05-31T12:30:15.250Z.json": "2024-05-31T12:30:16Z",
    "IMG_20240531_123015.jpg": "2024-05-31T12:30:16Z",
    "2024-05-31-12-30-15.log": "2024-05-31T12:30:16Z",
    "2024-05-31_12-30.log": "2024-05-31T12:31:00Z",
    "202405311230.log": "2024-05-31T12:31:00Z",
    # Four digits after a sign are a counter, and so are eight.
    "2024-05-31-1230.csv": "2024-06-01T00:00:00Z",
    "2024-05-31_00012345.csv": "2024-06-01T00:00:00Z",
    # The latest of several.
    "2024-01-01_2024-01-31.csv": "2024-02-01T00:00:00Z",
    "20240131-20240101.csv": "2024-02-01T00:00:00Z",
}
NO_NAMES = [
    "",
    "prices.csv",
    "2024.csv",
    "202405.csv",
    "31.05.2024.csv",
    "2024-05-1.csv",
    "2024-13-01",
    "2024-02-30",
    "2023-02-29.csv",
    "18990101.csv",
    "120240531.csv",
    "202405310.csv",
    "part-0002024-05-31",
    "9f20240531e07c11",
    "20240531-1234-4abc-8def-0123456789ab.bin",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_when_its_period_ends(name: str) -> None:
    end = dates.end_of_name(name)
    assert end is not None
    assert dates.moment_text(end) == NAMES[name]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_date_for_sure_is_none(name: str) -> None:
    assert dates.end_of_name(name) is None


PATHS = {
    "data/2024/05/31/a.csv": "2024-05-31",
    "data/2024/05/31.csv": "2024-05-31",
    "data/2024/05/31/12/a.csv": "2024-05-31",
    "data/2024/05/a.csv": "2024-05-31",
    "data/2024/05/12_cats.csv": "2024-05-31",
    "year=2024/month=05/day=07/part-0.parquet": "2024-05-07",
    "dt=2024-05-07/part-0.parquet": "2024-05-07",
    "2024/05/31": "2024-05-31",
    # The deepest part wins, however old.
    "2024-01-01/b_2023-06-01.csv": "2023-06-01",
    "2024-06-01/2023/05/a.csv": "2023-05-31",
    "2020/01/2024-06-01/a.csv": "2024-06-01",
}


@pytest.mark.parametrize("path", PATHS)
def test_the_deepest_part_of_a_path_that_tells_a_date_wins(path: str) -> None:
    end = dates.end_of_path(path, {})
    assert end is not None
    assert dates.day_text(end - 1) == PATHS[path]


@pytest.mark.parametrize(
    "path", ["a.csv", "2024/a.csv", "data/05/31/a.csv", "2024/13/a.csv", "x2024/05/a.csv"]
)
def test_a_path_without_a_date_is_none(path: str) -> None:
    assert dates.end_of_path(path, {}) is None


TEXTS = {
    "2024-05-31": "2024-06-01T00:00:00Z",
    " 2024-05-31 ": "2024-06-01T00:00:00Z",
    "20240531": "2024-06-01T00:00:00Z",
    "2024-05": "2024-06-01T00:00:00Z",
    "2024/05/31": "2024-06-01T00:00:00Z",
    "2024-05-31 10:00": "2024-05-31T10:01:00Z",
    "2024-05-31T12:00:00+02:00": "2024-05-31T10:00:01Z",
    "2024-05-31T12:00:00.25Z": "2024-05-31T12:00:01Z",
    "9999-12-31": "10000",
}
NO_TEXTS = [
    "",
    "never",
    "31.05.2024",
    "5/31/2024",
    "1717113600",
    "2024-W22-5",
    "on 2024-05-31",
    "2024-02-30",
    "2024",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_tells_when_its_period_ends(text: str) -> None:
    end = dates.end_of_text(text)
    assert end is not None
    if text.startswith("9999"):
        assert dates.day_text(end - 1) == "9999-12-31"
    else:
        assert dates.moment_text(end) == TEXTS[text]


@pytest.mark.parametrize("text", NO_TEXTS)
def test_a_cell_without_a_date_is_none(text: str) -> None:
    assert dates.end_of_text(text) is None


@pytest.mark.parametrize(
    ("age", "moment"),
    [
        ("0d", "2024-03-31T11:30:00Z"),
        ("90d", "2024-01-01T11:30:00Z"),
        ("2w", "2024-03-17T11:30:00Z"),
        ("1m", "2024-02-29T11:30:00Z"),
        ("3m", "2023-12-31T11:30:00Z"),
        ("15m", "2022-12-31T11:30:00Z"),
        ("2y", "2022-03-31T11:30:00Z"),
    ],
)
def test_an_age_is_taken_off_now(age: str, moment: str) -> None:
    now = dates.moment_of("2024-03-31T11:30:00")
    assert now is not None
    found = dates.moment_before(age, now)
    assert found is not None
    assert dates.moment_text(found) == moment


@pytest.mark.parametrize("age", ["", "90", "d", "1.5d", "-1d", "90 d", "90D", "1h", "99999y", "999999d"])
def test_what_is_no_age_is_none(age: str) -> None:
    assert dates.moment_before(age, 1_700_000_000.0) is None


def test_a_limit_is_a_day_or_a_moment() -> None:
    assert dates.moment_of("1970-01-02") == 86400
    assert dates.moment_of("1970-01-01T01:00:00+01:00") == 0
    assert dates.moment_of("yesterday") is None

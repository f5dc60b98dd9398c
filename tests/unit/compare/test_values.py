"""Nested values: what of them are metrics, how they differ, and as tables."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from kist.compare.values import (
    compare_files,
    compare_values,
    difference_table,
    flattened,
    measured,
    values_table,
)

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def test_metrics_are_numbers_and_texts_at_any_depth() -> None:
    values = {"a": 1, "b": {"c": None, "d": [1], "e": {}}, "f": {"g": "x", "h": True}, "i": 0.0}
    assert measured(values) == {"a": 1, "f": {"g": "x", "h": True}, "i": 0.0}
    assert measured([1]) == measured(None) == {}
    assert measured(5) == 5


@given(_VALUES)
def test_what_is_measured_holds_nothing_else(value: object) -> None:
    found = measured(value)
    assert measured(found) == found
    flat = flattened(found)
    assert all(isinstance(leaf, (int, float, str, dict)) for leaf in flat.values())


def test_values_are_flattened_with_lists_as_texts() -> None:
    assert flattened({"a": {"b": [1, "x"], 3: {}}, 4: None}) == {"a.b": "[1, 'x']", "4": None}


def test_differences_are_sorted_and_count_numbers_alone() -> None:
    found = compare_values(
        {"b": 1, "a": "x", "gone": 2, "same": 3}, {"b": True, "a": "y", "new": 0.5, "same": 3}
    )
    assert list(found) == ["a", "gone", "new"]
    assert found["a"] == {"old": "x", "new": "y"}
    assert found["gone"] == {"old": 2, "new": None}
    assert compare_values({"b": 1}, {"b": 3.5})["b"]["diff"] == 2.5
    assert "b" in compare_values({"b": 1}, {"b": 1}, everything=True)


def test_a_number_too_large_for_a_float_has_no_difference() -> None:
    assert "diff" not in compare_values({"a": 10**400}, {"a": 1.5})["a"]


def test_what_is_no_number_always_differs_from_itself() -> None:
    assert "a" in compare_values({"a": math.nan}, {"a": math.nan})


def test_a_file_that_is_one_number_is_compared_as_such() -> None:
    assert compare_values(1, 3) == {"": {"old": 1, "new": 3, "diff": 2}}
    assert compare_values({}, 3) == {}


@given(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3))
def test_nothing_differs_from_itself(value: dict[str, object]) -> None:
    assert compare_files({"f": value}, {"f": value}) == {}


def test_tables_have_a_mark_where_nothing_is() -> None:
    table = values_table(
        {"": {"m.json": {"a": 0.123456789}, "n.json": {"b": {"c": 1}}}}, shows_version=False, precision=5
    )
    assert table.headers == ["Path", "a", "b.c"]
    assert table.rows == [["m.json", "0.12346", "-"], ["n.json", "-", "1"]]
    found = compare_files({"m": {"a": None, "b": 1}}, {"m": {"a": 2, "b": 2}})
    table = difference_table(
        found, title="Metric", names=("x", "y"), precision=None, shows_path=False, shows_change=True
    )
    assert table.headers == ["Metric", "x", "y", "Change"]
    assert table.rows == [["a", "-", "2", "-"], ["b", "1", "2", "1"]]

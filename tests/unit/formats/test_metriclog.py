"""Rows and parameters as bytes."""

from __future__ import annotations

import csv
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kist.formats import yaml
from kist.formats.metriclog import HEADER, RowScan, plain_values, render_hparams, render_rows

NAMES = st.text(min_size=1, max_size=12)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=100))
VALUES = st.dictionaries(
    st.text(max_size=20),
    st.recursive(PLAIN, lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6),
    max_size=5,
)


class Tensor:
    """What a framework hands over: a number in a box, which shows itself with its type."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"tensor({self.value})"

    def item(self) -> float:
        return self.value


def test_a_call_becomes_rows_with_names_in_quotes_and_numbers_as_they_are() -> None:
    rows = render_rows({"loss": 3.14, "n": 2, "ok": True, "note": 'a "b"', "none": None}, 1700000000000, 1)
    assert rows == (
        b'"loss",3.14,1700000000000,1\r\n"n",2,1700000000000,1\r\n"ok",True,1700000000000,1\r\n'
        b'"note","a ""b""",1700000000000,1\r\n"none","",1700000000000,1\r\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Tensor(0.5), b"0.5"),
        (float("nan"), b"nan"),
        (float("-inf"), b"-inf"),
        (1e-7, b"1e-07"),
        ("two\r\nlines", b'"two  lines"'),
    ],
)
def test_a_value_is_written_so_that_a_row_is_a_line(value: object, written: bytes) -> None:
    assert render_rows({"x": value}, 5, 7) == b'"x",' + written + b",5,7\r\n"


@given(st.dictionaries(st.text(max_size=20), PLAIN, min_size=1), st.integers())
def test_every_row_is_one_line_with_four_fields(metrics: dict[str, object], step: int) -> None:
    data = render_rows(metrics, 12, step).decode("utf-8", "surrogateescape")
    lines = data.split("\r\n")
    assert lines.pop() == "" and len(lines) == len(metrics)
    assert not any("\n" in line or "\r" in line for line in lines)
    assert [row[2:] for row in csv.reader(lines)] == [["12", str(step)]] * len(metrics)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(NAMES, PLAIN, min_size=1, max_size=4), max_size=3), st.data())
def test_the_scan_finds_the_last_complete_row_wherever_a_file_is_cut(
    calls: list[dict[str, object]], data: st.DataObject
) -> None:
    whole = HEADER
    ends = [len(HEADER)]
    for call in calls:
        for name, value in call.items():
            whole += render_rows({name: value}, 1, 2)
            ends.append(len(whole))
    cut = data.draw(st.integers(len(HEADER), len(whole)))
    block = data.draw(st.integers(1, 64))
    scan = RowScan()
    for at in range(0, cut, block):
        scan.feed(whole[at : min(at + block, cut)])
    assert scan.end == max(end for end in ends if end <= cut)


def test_the_scan_steps_over_line_feeds_in_quotes() -> None:
    scan = RowScan()
    whole = HEADER + b'"a\nb","x\n""y",1,1\r\n'
    scan.feed(whole + b'"torn\nname",')
    assert scan.end == len(whole)


@settings(max_examples=25)  # what the fast reader leaves to the slow one takes a while
@given(VALUES)
def test_parameters_come_back_as_they_were(values: dict[str, object]) -> None:
    data = render_hparams(values)
    assert data.isascii()
    assert yaml.load(data, name="params.yml") == values


def test_parameters_are_sorted_and_nested() -> None:
    assert render_hparams({"lr": 1e-05, "a": {"y": None, "x": True}, "empty": {}, "name": "resnet 50"}) == (
        b"a:\n  x: true\n  y: null\nempty: {}\nlr: 1.0e-05\nname: resnet 50\n"
    )
    assert render_hparams({}) == b"{}\n"
    assert render_hparams({"x": math.inf, "y": -math.inf, "z": math.nan}) == b"x: .inf\ny: -.inf\nz: .nan\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("yes", b"'yes'"),
        ("1.5", b"'1.5'"),
        ("1e-05", b"'1e-05'"),
        ("2024-01-31", b"'2024-01-31'"),
        ("[1, 2]", b"'[1, 2]'"),
        ("it's", b"it's"),
        ("'quoted'", b"'''quoted'''"),
        ("a: b", b"'a: b'"),
        ("", b"''"),
        ("caf\u00e9\n", b'"caf\\xE9\\n"'),
        ("<class 'x'>", b"<class 'x'>"),
    ],
)
def test_a_text_is_quoted_where_a_reader_would_take_it_for_something_else(text: str, written: bytes) -> None:
    assert render_hparams({"k": text}) == b"k: " + written + b"\n"


def test_values_that_are_neither_numbers_nor_texts_become_texts() -> None:
    assert plain_values({"a": [1, 2], "b": {"c": (1,)}, "d": Tensor(1.0), "e": None, "f": 1.5}) == {
        "a": "[1, 2]",
        "b": {"c": "(1,)"},
        "d": "tensor(1.0)",
        "e": None,
        "f": 1.5,
    }

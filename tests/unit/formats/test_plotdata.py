"""Tables and values that plots are drawn from."""

from __future__ import annotations

import pytest

from kist.errors import FormatError
from kist.formats.plotdata import PlotKindError, is_image, parse_plot


def test_a_table_becomes_rows_of_texts() -> None:
    assert parse_plot(b'a,b\n1,"x,y"\n\n2\n', name="t.csv") == [{"a": "1", "b": "x,y"}, {"a": "2", "b": None}]
    assert parse_plot(b"\xef\xbb\xbfa\tb\r\n1\t2\r\n", name="t.tsv") == [{"a": "1", "b": "2"}]


def test_columns_without_names_are_numbered_and_cells_without_columns_dropped() -> None:
    assert parse_plot(b"1,2\n3,4,5\n", name="t.csv", has_header=False) == [
        {"0": "1", "1": "2"},
        {"0": "3", "1": "4"},
    ]


def test_other_files_say_what_they_say() -> None:
    assert parse_plot(b'[{"a": 1}]', name="x.json") == parse_plot(b"- a: 1\n", name="x.yml") == [{"a": 1}]
    assert parse_plot(b"", name="x.csv") == []


@pytest.mark.parametrize(
    ("name", "data"), [("x.csv", b"\xff\xfe"), ("x.json", b"{"), ("x.csv", b'a\n"' + b"x" * 140_000)]
)
def test_what_cannot_be_read_is_one_line(name: str, data: bytes) -> None:
    with pytest.raises(FormatError, match=r"cannot (draw|read) 'x\."):
        parse_plot(data, name=name)


def test_other_kinds_are_named() -> None:
    with pytest.raises(PlotKindError):
        parse_plot(b"", name="model.bin")
    assert is_image("a/b.png")
    assert not is_image("a.csv")

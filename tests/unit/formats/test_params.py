"""Parameter files of four kinds, and dotted names."""

from __future__ import annotations

from typing import Any

import pytest

from kist.formats.params import MISSING, ParamsError, flatten, lookup, parse_params
from kist.formats.yaml import YamlError

PYTHON = b'''
"""Words."""
import os
X = 1
T = (1, (2, "a"))
S = {2, 1}
L = [1, -2]
N: float = -1.5
U: int
D = {"k": {"v": None}}
A = B = 3
E, G = 1, 2
X += 1
SUM = 1 + 2
CALL = os.getcwd()
TEXT = f"x"
BYTES = b"x"
DOTS = ...
if True:
    W = 3
def f():
    Q = 1
def __init__(self):
    self.q = 1
class C:
    y = True
    def __init__(self):
        self.z = "z"
        other.z = 1
        local = 3
        self.a.b = 3
    def method(self):
        self.w = 3
    class Inner:
        v = 1
class Empty:
    pass
'''


def test_yaml_is_read_as_yaml_1_2() -> None:
    data = b"yes: no\noct: 010\nexp: 1e-3\nbig: 123456789012345678901234567890\nempty:\nnested: {a: [1, {b: 2}]}\n"
    assert parse_params(data, name="params.yaml") == {
        "yes": "no",
        "oct": 10,
        "exp": 0.001,
        "big": 123456789012345678901234567890,
        "empty": None,
        "nested": {"a": [1, {"b": 2}]},
    }


@pytest.mark.parametrize("name", ["params.yaml", "params.yml", "params.conf", "params"])
def test_every_other_name_is_yaml_and_may_be_empty(name: str) -> None:
    assert parse_params(b"a: 1\n", name=name) == {"a": 1}
    assert parse_params(b"", name=name) == {}


def test_json_and_toml_are_read() -> None:
    assert parse_params(b'{"a": {"b": [1, null]}}', name="p.json") == {"a": {"b": [1, None]}}
    assert parse_params(b"w = 2\n[sec]\nz = 1.5\n", name="p.toml") == {"w": 2, "sec": {"z": 1.5}}


def test_of_python_only_literals_in_known_places_are_taken() -> None:
    assert parse_params(PYTHON, name="p.py") == {
        "X": 1,
        "T": [1, [2, "a"]],
        "S": [1, 2],
        "L": [1, -2],
        "N": -1.5,
        "D": {"k": {"v": None}},
        "C": {"y": True, "z": "z", "Inner": {"v": 1}},
    }


def test_python_is_not_run(tmp_path: Any) -> None:
    trace = tmp_path / "trace"
    data = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\nX = pathlib.Path({str(trace)!r}).touch()\n"
    assert parse_params(data.encode(), name="p.py") == {}
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("p.json", b"{", "line 1, column 2"),
        ("p.json", b"", "line 1, column 1"),
        ("p.json", b"[1]", "expected a mapping"),
        ("p.json", b'{"a": "\xff"}', "not UTF-8 text"),
        ("p.json", b"[" * 100_000, "nested too deeply"),
        ("p.json", b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
        ("p.toml", b"a = " + b"1" * 5000, "too many digits"),
        ("p.toml", b"a = ", "Invalid value"),
        ("p.toml", b"a = '\xff'", "not UTF-8 text"),
        ("p.py", b"a = (\n", "line 1"),
        ("p.py", b"a = 1\0", "cannot read 'p.py'"),
        ("p.py", b"a = " + b"(" * 10_000, "cannot read 'p.py'"),
        ("p.py", b"a = " + b"-" * 50_000 + b"1", "cannot read 'p.py'"),
        ("p.yaml", b"- 1\n", "expected a mapping"),
        ("p.yaml", b"abc", "expected a mapping"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(name: str, data: bytes, words: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(data, name=name)
    assert caught.value.message.startswith(f"cannot read '{name}': ")
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_bad_yaml_is_the_reader_s_error() -> None:
    with pytest.raises(YamlError, match=r"cannot read 'params.yaml': line"):
        parse_params(b"a: [1\n", name="params.yaml")


VALUES = {"l": [10, [20]], "d": {"x": None, 7: "seven", "n": {"q": 1}}, "a.b": 1, "2": "text", 3: "number"}


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("l", [10, [20]]),
        ("l.0", 10),
        ("l.-1", [20]),
        ("l.1.0", 20),
        ("d.x", None),
        ("d.7", "seven"),
        ("d.n.q", 1),
        ("2", "text"),
        ("3", "number"),
    ],
)
def test_a_dotted_name_steps_through_mappings_and_lists(dotted: str, value: Any) -> None:
    assert lookup(VALUES, dotted) == value


@pytest.mark.parametrize("dotted", ["", "x", "l.2", "l.x", "l[0]", "a.b", "d.x.y", "d.n.q.r", "d.", "2.0"])
def test_a_name_of_nothing_is_missing(dotted: str) -> None:
    assert lookup(VALUES, dotted) is MISSING


def test_flattening_keeps_order_lists_and_empty_mappings() -> None:
    values = {"b": {"y": 1, "x": {"z": [1, {"k": 2}]}}, "a": {}, 3: None}
    assert list(flatten(values).items()) == [("b.y", 1), ("b.x.z", [1, {"k": 2}]), ("a", {}), ("3", None)]

"""What `--set-param` says, and what it does to values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.experiments.overrides import OverrideError, Sweep, apply_overrides, expand, parse_override


def changed(values: dict[str, Any], *texts: str) -> dict[str, Any]:
    return apply_overrides(values, [parse_override(text) for text in texts])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=-1_000", -1000),
        ("a=1e-3", 0.001),
        ("a=.5", 0.5),
        ("a=true", True),
        ("a=null", None),
        ("a=", ""),
        ("a=x y", "x y"),
        ("a='1'", "1"),
        ('a="b,c"', "b,c"),
        ("a='it\\'s'", "it's"),
        ("a=[1, x, [2]]", [1, "x", [2]]),
        ("a={b: 1, c: {d: e}}", {"b": 1, "c": {"d": "e"}}),
        ("a=http://host:80/p?q", "http://host:80/p?q"),
        ("a=${other}", "${other}"),
        ("a=str(1)", "1"),
        ("a=int(2.7)", 2),
        ("a=010", "010"),
    ],
)
def test_a_value_has_the_type_that_it_looks_like(text: str, value: object) -> None:
    found = parse_override(text).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1,2,x", [1, 2, "x"]),
        ("a=choice(b,c)", ["b", "c"]),
        ("a=range(1,4)", [1, 2, 3]),
        ("a=range(3)", [0, 1, 2]),
        ("a=range(0,1,0.5)", [0, 0.5]),
        ("a=range(3,0,-1)", [3, 2, 1]),
        ("a=[1],[2]", [[1], [2]]),
        ("a=sort(3,1,2)", [1, 2, 3]),
        ("a=sort(choice(3,1),reverse=true)", [3, 1]),
    ],
)
def test_several_values_are_a_sweep(text: str, values: list[object]) -> None:
    assert parse_override(text).value == Sweep(values)


def test_sweeps_combine_and_the_last_changes_fastest() -> None:
    combinations = expand([parse_override("a=1,2"), parse_override("b=x"), parse_override("c=3,4")])
    assert [[one.value for one in own] for own in combinations] == [
        [1, "x", 3],
        [1, "x", 4],
        [2, "x", 3],
        [2, "x", 4],
    ]


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(OverrideError, match="combinations"):
        expand([parse_override(f"{name}=range(1000)") for name in "ab"])


def test_a_file_may_stand_in_front() -> None:
    assert parse_override("conf/p.json:a.b=1")[:3] == ("conf/p.json", "set", "a.b")
    assert parse_override("a=x:y")[:3] == ("params.yaml", "set", "a")


def test_changes_go_to_the_named_place_and_nothing_else_changes() -> None:
    values = {"a": {"b": [1, {"c": 2}]}, "d": 3, 5: 6}
    assert changed(values, "a.b.1.c=9", "a.b[0]=0", "5=7") == {"a": {"b": [0, {"c": 9}]}, "d": 3, 5: 7}
    assert changed(values, "+e.f=1", "++d=4") == {**values, "d": 4, "e": {"f": 1}}
    assert changed(values, "~d") == {"a": values["a"], 5: 6}
    assert changed(values, "a={x: 1}") == {**values, "a": {**values["a"], "x": 1}}
    assert values == {"a": {"b": [1, {"c": 2}]}, "d": 3, 5: 6}


@pytest.mark.parametrize(
    "text", ["nope=1", "a.nope=1", "+a=1", "~nope", "~a=2", "a.b.c=1", "a.7=1", "list.9=1", "~list.x"]
)
def test_a_change_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(OverrideError):
        changed({"a": 1, "list": [1]}, text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "=1",
        "a=[1",
        "a='b",
        "a=f(1)",
        "a=1,",
        "a={b}",
        "a=[range(3)]",
        "a=range(1,2,0)",
        "a=int(x)",
        "a=]",
    ],
)
def test_what_cannot_be_understood_is_said(text: str) -> None:
    with pytest.raises(OverrideError, match="cannot understand"):
        parse_override(text)


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = parse_override("a=" + text)
    except OverrideError:
        return
    assert found.key == "a"


@given(
    st.recursive(
        st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=6
    )
)
def test_lists_and_numbers_come_back_as_they_were_written(value: object) -> None:
    text = str(value).replace("None", "null").replace("True", "true").replace("False", "false")
    found = parse_override(f"a={text}").value
    assert found == value

"""The drawing of a graph says exactly its edges: read back by the rules that its module states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.pipeline.drawing import ASCII, UNICODE, Marks, draw


def edges_in(lines: list[str], marks: Marks) -> set[tuple[str, str]]:
    """Returns (maker, user) of each edge that a drawing shows."""
    owners: dict[int, str] = {}
    found = set()
    for line in lines:
        picture, _, name = line.rpartition(" ")
        at = next(place for place, char in enumerate(picture) if char in (marks.root, marks.node))
        ended = []
        if picture[at] == marks.node and (at == 0 or picture[at - 1] != marks.line):
            found.add((owners[at], name))
            ended.append(at)
        place = at - 1
        while (
            place >= 0
            and picture[place] != " "
            and picture[at] == marks.node
            and picture[at - 1] == marks.line
        ):
            char = picture[place]
            if place % 2 == 0 and char in (marks.start, marks.middle, marks.start_end, marks.end):
                found.add((owners[place], name))
                if char in (marks.start_end, marks.end):
                    ended.append(place)
            if char in (marks.start, marks.start_end) and marks.start != marks.middle:
                break
            place -= 1
        for column in ended:
            del owners[column]
        owners[at] = name
    return found


@st.composite
def graphs(choose: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    order = [f"s{number}" for number in range(choose(st.integers(0, 12)))]
    return order, {
        name: choose(st.lists(st.sampled_from(order[:at]), unique=True, max_size=4)) if at else []
        for at, name in enumerate(order)
    }


@given(graphs())
def test_a_drawing_read_back_has_the_edges_of_the_graph(
    graph: tuple[list[str], dict[str, list[str]]],
) -> None:
    order, makers = graph
    lines = draw(order, makers)
    assert [line.rpartition(" ")[2] for line in lines] == order
    assert edges_in(lines, UNICODE) == {(maker, name) for name in order for maker in makers[name]}


def test_a_chain_of_fifty_stages_is_one_column_wide() -> None:
    order = [f"s{number}" for number in range(50)]
    makers = {name: order[at - 1 : at] if at else [] for at, name in enumerate(order)}
    assert draw(order, makers)[:3] == ["○ s0", "● s1", "● s2"]
    assert max(map(len, draw(order, makers))) == len("● s49")


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (UNICODE, ["○   prepare", "├─● features", "●   train"]),
        (ASCII, ["o   prepare", "+-* features", "*   train"]),
    ],
)
def test_a_drawing_can_do_without_unicode(marks: Marks, expected: list[str]) -> None:
    makers = {"prepare": [], "features": ["prepare"], "train": ["prepare"]}
    assert draw(list(makers), makers, marks) == expected

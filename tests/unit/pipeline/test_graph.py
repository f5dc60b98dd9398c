"""Which stage depends on which, and orders made of that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.pipeline.graph import GraphError, Node, build

CHAIN = [
    Node("last", ("c",), ("b/inner",)),
    Node("first", ("a",), ("raw",)),
    Node("second", ("b",), ("a",)),
    Node("alone", ("x/y",), ()),
    Node("of the folder", ("z",), ("x",)),
]


def test_a_stage_depends_on_outputs_at_inside_of_and_around_what_it_reads() -> None:
    assert build(CHAIN).makers == {
        "last": ("second",),
        "first": (),
        "second": ("first",),
        "alone": (),
        "of the folder": ("alone",),
    }


def test_the_order_keeps_that_of_the_stages_where_it_can() -> None:
    graph = build(CHAIN)
    assert graph.order() == ["first", "second", "last", "alone", "of the folder"]
    assert graph.order({"last", "alone", "second"}) == ["second", "last", "alone"]


def test_ancestors_descendants_and_what_is_connected() -> None:
    graph = build(CHAIN)
    assert graph.ancestors(["second"]) == {"first", "second"}
    assert graph.descendants(["second"]) == {"second", "last"}
    assert graph.connected(["second"]) == {"first", "second", "last"}


def test_what_only_a_frozen_stage_leads_to_does_not_run() -> None:
    frozen = [node._replace(is_frozen=node.key == "second") for node in CHAIN]
    assert build(frozen).runnable().ancestors(["last"]) == {"last", "second"}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("a", ("x",), ()), Node("b", ("x",), ())], "'x' is an output of 'a' and of 'b'"),
        ([Node("a", ("x/y",), ()), Node("b", ("x",), ())], "lies in the output 'x' of 'b'"),
        ([Node("a", ("x", "x/y/z"), ())], "lies in the output 'x' of 'a'"),
        ([Node("a", ("x",), ("x",))], "'a' has 'x' as a dependency and as an output"),
        ([Node("a", ("x",), ("y",)), Node("b", ("y",), ("x",))], "depend on each other: 'a' -> 'b' -> 'a'"),
    ],
)
def test_what_makes_no_graph_is_refused(nodes: list[Node], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(nodes)
    assert message in str(caught.value)


def test_outputs_side_by_side_with_similar_names_are_no_clash() -> None:
    assert build([Node("a", ("x",), ()), Node("b", ("x-y", "xy/z"), ("x.txt",))]).makers["b"] == ()


@given(st.lists(st.lists(st.integers(0, 14), max_size=4), max_size=15))
def test_each_stage_comes_once_and_after_all_that_it_depends_on(reads: list[list[int]]) -> None:
    nodes = [
        Node(f"s{at}", (f"out{at}",), tuple(f"out{one}" for one in dict.fromkeys(read) if one < at))
        for at, read in enumerate(reads)
    ]
    graph = build(list(reversed(nodes)))
    order = graph.order()
    assert sorted(order) == sorted(graph.nodes)
    for key, makers in graph.makers.items():
        assert all(order.index(maker) < order.index(key) for maker in makers)

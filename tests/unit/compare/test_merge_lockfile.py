"""Three versions of a `dvc.lock` become one, in which each stage is a run that took place."""

from __future__ import annotations

import pytest

from kist.compare.merge import OURS, THEIRS
from kist.compare.merge_lockfile import merge_lockfile
from kist.compare.merge_metafile import Merged
from kist.errors import FormatError
from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.records import Dependency, Digest, LockedStage, Lockfile, Output


def digest(letter: str) -> Digest:
    return Digest("md5", letter * 32)


def run(out: str = "a", *, dep: str = "a", param: object = 1, cmd: str = "go") -> LockedStage:
    return LockedStage(
        cmd,
        (Dependency("in", digest(dep), 1),),
        {"params.yaml": {"rate": param}},
        (Output("out", digest(out), 1),),
    )


def lock(**stages: LockedStage) -> bytes:
    return render_lockfile(Lockfile(stages))


def merge(base: bytes | None, ours: bytes, theirs: bytes, choice: str | None = None) -> Merged:
    return merge_lockfile(base, ours, theirs, name="dvc.lock", choose=lambda _: choice)


def stages(merged: Merged) -> dict[str, LockedStage]:
    return parse_lockfile(merged.data, name="dvc.lock").stages


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        ({"s": run("a")}, {"s": run("b")}, {"s": run("a")}, {"s": run("b")}),
        ({"s": run("a")}, {"s": run("a")}, {"s": run("b")}, {"s": run("b")}),
        ({"s": run(), "t": run()}, {"s": run("b"), "t": run()}, {"s": run(), "t": run("c")}, {"s": run("b"), "t": run("c")}),
        ({}, {"s": run()}, {"t": run("b")}, {"s": run(), "t": run("b")}),
        ({}, {"s": run()}, {"s": run()}, {"s": run()}),
        ({"s": run(), "t": run()}, {"t": run()}, {"s": run(), "t": run("b")}, {"t": run("b")}),
        ({"s": run()}, {"s": run("b", dep="b")}, {"s": run("b", dep="b", param=2)}, {"s": run("b", dep="b", param=2)}),
        ({"s": run()}, {"s": run(param=1)}, {"s": run(param=1.0)}, {"s": run(param=1.0)}),
    ],
)  # fmt: skip
def test_stages_that_one_side_ran_are_merged(base, ours, theirs, result) -> None:
    merged = merge(lock(**base), lock(**ours), lock(**theirs))
    assert merged.decisions == merged.notes == []
    assert stages(merged) == result


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        ({"s": run("a")}, {"s": run("b")}, {"s": run("c")}),
        ({"s": run("a")}, {"s": run("b", dep="b")}, {"s": run("c", param=2)}),
        ({}, {"s": run("b")}, {"s": run("c")}),
        ({"s": run("a")}, {}, {"s": run("c")}),
        ({"s": run("a")}, {"s": run("c")}, {}),
    ],
)
def test_a_stage_with_two_results_clashes(base, ours, theirs) -> None:
    for choice, result in ((None, ours), (OURS, ours), (THEIRS, theirs)):
        merged = merge(lock(**base), lock(**ours), lock(**theirs), choice)
        assert [item.clash.out for item in merged.decisions] == ["s"]
        assert stages(merged) == result


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        (run(dep="b"), run(param=2), run(dep="b")),
        (run("b", dep="b"), run(param=2), run("b", dep="b")),
        (run(dep="b"), run("b", param=2), run("b", param=2)),
        (run("b", dep="b"), run("b", param=2), run("b", dep="b")),
        (run(dep="b"), run(dep="c"), run(dep="b")),
        (run(cmd="here"), run(param=2), run(cmd="here")),
    ],
)
def test_a_run_that_nobody_made_is_never_recorded(
    ours: LockedStage, theirs: LockedStage, result: LockedStage
) -> None:
    merged = merge(lock(s=run()), lock(s=ours), lock(s=theirs))
    assert merged.decisions == []
    assert stages(merged) == {"s": result}
    assert len(merged.notes) == 1 and "'s'" in merged.notes[0]


def test_outputs_changed_one_on_each_side_are_a_clash() -> None:
    def two(first: str, second: str) -> LockedStage:
        return LockedStage("go", outs=(Output("x", digest(first), 1), Output("y", digest(second), 1)))

    merged = merge(lock(s=two("a", "a")), lock(s=two("b", "a")), lock(s=two("a", "b")))
    assert [item.clash.out for item in merged.decisions] == ["s"]


def test_the_text_of_other_stages_and_comments_stay() -> None:
    ours = lock(s=run("b"), t=run()).replace(b"stages:\n", b"stages:\n  # kept\n")
    base = lock(s=run(), t=run())
    merged = merge(base, ours, lock(s=run(), t=run("c")))
    assert merged.decisions == []
    assert b"  # kept\n  s:\n" in merged.data
    assert stages(merged) == {"s": run("b"), "t": run("c")}


def test_datasets_are_matched_by_name() -> None:
    def with_datasets(**revs: str) -> bytes:
        items = tuple({"name": name, "type": "dvc", "rev_lock": rev} for name, rev in revs.items())
        return render_lockfile(Lockfile({}, items))

    merged = merge(
        with_datasets(a="1", b="1"), with_datasets(a="2", b="1"), with_datasets(a="1", b="3", c="1")
    )
    assert merged.decisions == []
    assert merged.data == with_datasets(a="2", b="3", c="1")
    clash = merge(with_datasets(a="1"), with_datasets(a="2"), with_datasets(a="3"), THEIRS)
    assert [item.clash.field for item in clash.decisions] == ["datasets a"]
    assert clash.data == with_datasets(a="3")


def test_a_base_that_cannot_be_read_counts_as_none() -> None:
    assert merge(b"<<<<<<<\n", lock(s=run()), lock(s=run())).decisions == []


def test_a_side_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(FormatError):
        merge(lock(s=run()), lock(s=run()), b"<<<<<<<\n")

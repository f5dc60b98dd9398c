"""What `status` says of a stage, and the join of a stage with its lock."""

from __future__ import annotations

from typing import Any

import pytest

from kist.formats.metafile import parse_metafile
from kist.formats.records import MD5, Dependency, Digest, FileEntry, LockedStage, Output
from kist.pipeline.changes import StageChanges, stage_changes
from kist.pipeline.locked import locked_dependencies, locked_outputs, locked_single
from kist.pipeline.resolve import ResolvedStage, resolve_single

ONE = Digest(MD5, "1" * 32)
TWO = Digest(MD5, "2" * 32)


def make(**fields: Any) -> ResolvedStage:
    return ResolvedStage("s", "w/dvc.yaml:s", "w/dvc.yaml", ".", **{"cmd": "x", **fields})


def changes(
    stage: ResolvedStage,
    locked: LockedStage | None,
    *,
    disk: dict[str, Digest | None] | None = None,
    cache: tuple[Digest, ...] = (ONE, TWO),
    params: dict[str, dict[Any, Any]] | None = None,
) -> StageChanges:
    """`disk`: what lies at each path; None is something that must not be hashed."""
    disk = disk or {}

    def is_same(path: str, record: Output | Dependency) -> bool:
        assert disk[path] is not None, f"{path} was hashed"
        return disk[path] == record.digest

    return stage_changes(
        stage,
        locked,
        exists=disk.__contains__,
        is_same=is_same,
        is_cached=lambda output: output.digest in cache,
        read_params=(params or {}).get,
    )


def words(found: StageChanges) -> list[Any]:
    return found.as_list(lambda path: path)


def test_an_unchanged_stage_says_nothing() -> None:
    stage = make(deps=("a",), params={"p.yaml": ("k",)}, outs=(Output("o"),))
    locked = LockedStage("x", (Dependency("a", ONE),), {"p.yaml": {"k": 1}}, (Output("o", TWO),))
    found = changes(stage, locked, disk={"w/a": ONE, "w/o": TWO}, params={"w/p.yaml": {"k": 1}})
    assert not found
    assert words(found) == []


def test_a_stage_that_never_ran_is_not_hashed() -> None:
    stage = make(
        deps=("there", "gone"), params={"p.yaml": ("k",), "q.yaml": None}, outs=(Output("made"), Output("o"))
    )
    found = changes(stage, None, disk={"w/there": None, "w/made": None}, params={"w/p.yaml": {}})
    assert words(found) == [
        {
            "changed deps": {
                "w/there": "modified",
                "w/gone": "deleted",
                "w/p.yaml": "new",
                "w/q.yaml": "deleted",
            }
        },
        {"changed outs": {"w/made": "modified", "w/o": "deleted"}},
    ]


def test_the_shown_paths_are_the_caller_s() -> None:
    found = changes(make(deps=("a",), outs=(Output("o"),)), None)
    assert found.as_list(lambda path: "../" + path) == [
        {"changed deps": {"../w/a": "deleted"}},
        {"changed outs": {"../w/o": "deleted"}},
    ]


@pytest.mark.parametrize(
    ("disk", "word"), [({}, "deleted"), ({"w/a": TWO}, "modified"), ({"w/a": ONE}, None)]
)
def test_a_dependency_is_compared_with_the_lock(disk: dict[str, Digest | None], word: str | None) -> None:
    found = changes(make(deps=("a",)), LockedStage("x", (Dependency("a", ONE),)), disk=disk)
    assert found.deps == ({} if word is None else {"w/a": word})


def test_a_lock_entry_belongs_to_the_path_as_written() -> None:
    found = changes(
        make(deps=("./a",), outs=(Output("o/"),)),
        LockedStage("x", (Dependency("a", ONE),), outs=(Output("o", ONE),)),
        disk={"w/a": ONE, "w/o": ONE},
    )
    assert (found.deps, found.outs) == ({"w/a": "modified"}, {"w/o": "modified"})


def test_addresses_are_asked_for_as_written() -> None:
    stage = make(deps=("s3://b/k",))
    found = changes(stage, LockedStage("x", (Dependency("s3://b/k", ONE),)), disk={"s3://b/k": TWO})
    assert found.deps == {"s3://b/k": "modified"}


@pytest.mark.parametrize(
    ("disk", "cache", "use_cache", "word"),
    [
        ({"w/o": ONE}, (ONE,), True, None),
        ({"w/o": TWO}, (ONE,), True, "modified"),
        ({}, (ONE,), True, "deleted"),
        ({"w/o": ONE}, (), True, "not in cache"),
        ({"w/o": TWO}, (), True, "not in cache"),
        ({}, (), True, "not in cache"),
        ({"w/o": ONE}, (), False, None),
        ({"w/o": TWO}, (), False, "modified"),
        ({}, (), False, "deleted"),
    ],
)
def test_an_output_is_compared_with_the_lock_and_the_cache(
    disk: dict[str, Digest | None], cache: tuple[Digest, ...], use_cache: bool, word: str | None
) -> None:
    stage = make(outs=(Output("o", use_cache=use_cache),))
    found = changes(stage, LockedStage("x", outs=(Output("o", ONE),)), disk=disk, cache=cache)
    assert found.outs == ({} if word is None else {"w/o": word})


def test_an_output_that_is_recorded_file_by_file_counts_as_recorded() -> None:
    locked = LockedStage("x", outs=(Output("o", files=(FileEntry("f", ONE),)),))
    assert changes(make(outs=(Output("o"),)), locked, disk={"w/o": ONE}).outs == {"w/o": "not in cache"}


@pytest.mark.parametrize(
    ("keys", "recorded", "current", "change"),
    [
        (("k",), {"k": 1}, {"k": 1}, {}),
        (("k",), {"k": 1}, {"k": 1.0}, {}),
        (("k",), {"k": 1}, {"k": True}, {}),
        (("k",), {"k": [1, {"a": 2}]}, {"k": [1, {"a": 2}]}, {}),
        (("k",), {"k": 1}, {"k": "1"}, {"k": "modified"}),
        (("k",), {"k": 1}, {"k": None}, {"k": "modified"}),
        (("k",), {"k": None}, {"k": None}, {}),
        (("k.a",), {"k.a": 1}, {"k": {"a": 2}}, {"k.a": "modified"}),
        (("k.a",), {"k.a": 1}, {"k.a": 1}, {"k.a": "deleted"}),
        (("k.0",), {"k.0": 1}, {"k": [1]}, {}),
        (("k", "j"), {"k": 1}, {"k": 1, "j": 2}, {"j": "new"}),
        (("k", "j"), {"k": 1}, {"k": 1}, {"j": "deleted"}),
        (("k",), {"k": 1}, {}, {"k": "deleted"}),
        (("k",), {"k": 1, "gone": 2}, {"k": 1}, {}),
        (("k",), {}, {"k": 1}, {"k": "new"}),
        (("k",), None, {"k": 1}, "new"),
        (("k",), None, None, "deleted"),
        (("k",), {"k": 1}, None, "deleted"),
        (None, {"k": 1}, {"k": 1}, {}),
        (None, {"k": 1, "j": 2}, {"k": 3, "new": 1}, {"k": "modified", "j": "deleted", "new": "new"}),
        (None, {"a.b": 1, "7": 2}, {"a.b": 1, 7: 2}, {}),
        (None, {}, {}, {}),
        (None, None, {}, "new"),
    ],
)
def test_parameters_are_compared_key_by_key(
    keys: tuple[str, ...] | None,
    recorded: dict[str, Any] | None,
    current: dict[Any, Any] | None,
    change: dict[str, str] | str,
) -> None:
    locked = LockedStage("x", params={} if recorded is None else {"p.yaml": recorded})
    params = {} if current is None else {"w/p.yaml": current}
    found = changes(make(params={"p.yaml": keys}), locked, params=params)
    assert found.deps == ({"w/p.yaml": change} if change else {})


def test_of_a_frozen_stage_only_outputs_and_command_are_looked_at() -> None:
    stage = make(deps=("a",), params={"p.yaml": ("k",)}, outs=(Output("o"),), frozen=True)
    assert words(changes(stage, LockedStage("y"))) == [
        {"changed outs": {"w/o": "deleted"}},
        "changed command",
    ]


@pytest.mark.parametrize(
    ("cmd", "recorded", "is_changed"),
    [
        ("x", "x", False),
        ("x", "x ", True),
        ("x", ["x"], True),
        (["x", "y"], ["x", "y"], False),
        (["x", "y"], ["y", "x"], True),
        ("x", None, True),
    ],
)
def test_the_command_is_compared_as_text(cmd: Any, recorded: Any, is_changed: bool) -> None:
    stage = make(cmd=cmd, deps=("a",))
    found = changes(stage, LockedStage(recorded, (Dependency("a", ONE),)), disk={"w/a": ONE})
    assert words(found) == (["changed command"] if is_changed else [])


def test_a_command_alone_and_a_flag_are_always_changed() -> None:
    assert words(changes(make(), LockedStage("x"))) == ["always changed"]
    assert words(changes(make(cmd=""), LockedStage(""))) == []
    flagged = make(always_changed=True, deps=("a",))
    locked = LockedStage("y", (Dependency("a", ONE),))
    assert words(changes(flagged, locked, disk={"w/a": ONE})) == ["always changed", "changed command"]


def test_what_dvc_yaml_no_longer_names_is_not_looked_at() -> None:
    locked = LockedStage(
        "x",
        (Dependency("a", ONE), Dependency("b", ONE)),
        {"p.yaml": {"k": 1}},
        (Output("o", ONE), Output("q", ONE)),
    )
    assert not changes(make(deps=("a",)), locked, disk={"w/a": ONE})


def test_the_lock_lends_outputs_their_data_and_nothing_else() -> None:
    stage = make(outs=(Output("o", use_cache=False, desc="d"), Output("new")))
    recorded = Output("o", ONE, 5, 2, True, "v", {"r": {}}, (FileEntry("f"),), has_hash=False)
    assert locked_outputs(stage, LockedStage("x", outs=(recorded,))) == (
        recorded._replace(use_cache=False, desc="d"),
        Output("new"),
    )
    assert locked_outputs(stage, None) == stage.outs


def test_the_lock_lends_dependencies_their_data() -> None:
    stage = make(deps=("b", "a"))
    locked = LockedStage("x", (Dependency("a", ONE), Dependency("old", TWO)))
    assert locked_dependencies(stage, locked) == (Dependency("b"), Dependency("a", ONE))
    assert locked_dependencies(stage, None) == (Dependency("b"), Dependency("a"))


def test_a_single_stage_file_is_its_own_lock() -> None:
    data = (
        b"cmd: x\ndeps:\n- {md5: 11111111111111111111111111111111, path: a}\n- {path: p.yaml, params: {k: 1}}\n"
        b"outs:\n- {md5: 22222222222222222222222222222222, path: o, cache: true, metric: false}\n"
    )
    metafile = parse_metafile(data, name="w/t.dvc")
    stage, locked = resolve_single(metafile, name="w/t.dvc"), locked_single(metafile)
    assert locked.params == {"p.yaml": {"k": 1}}
    one, two = metafile.deps[0].digest, metafile.outs[0].digest
    assert one is not None and two is not None
    same: dict[str, Digest | None] = {"w/a": one, "w/o": two}
    assert not changes(stage, locked, disk=same, cache=(two,), params={"w/p.yaml": {"k": 1}})
    found = changes(stage, locked, disk={"w/a": two}, cache=(two,), params={"w/p.yaml": {"k": 2}})
    assert words(found) == [
        {"changed deps": {"w/a": "modified", "w/p.yaml": {"k": "modified"}}},
        {"changed outs": {"w/o": "deleted"}},
    ]

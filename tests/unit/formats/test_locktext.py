"""A lock that is rewritten stage by stage has the bytes of one that is rewritten whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.locktext import LockText
from kist.formats.records import MD5, Digest, LockedStage, Lockfile, Output

NAMES = st.sampled_from(
    ["a", "b", "each@1", "each@x y", "'q'", "#x", "long" * 40, "yes", "1", "é", "-", "a: b"]
)
ENTRIES = st.builds(
    lambda cmd, value, size: LockedStage(
        cmd,
        params={"params.yaml": {"lr": value}},
        outs=(Output("out", Digest(MD5, f"{size:032x}"), size=size),),
    ),
    st.one_of(st.sampled_from(["x", "echo 'a'  b # c", "x\n  y\n", "  a:\n"]), st.just(["a", "b\nc"])),
    st.one_of(st.none(), st.integers(), st.text(max_size=9), st.just({"n": [1, {"m": "  x:"}]})),
    st.integers(0, 9),
)


@given(st.lists(st.tuples(NAMES, ENTRIES), max_size=6), st.booleans())
def test_entries_put_one_by_one_are_entries_rendered_at_once(
    entries: list[tuple[str, LockedStage]], is_read_anew: bool
) -> None:
    text = LockText(None, name="dvc.lock")
    expected: bytes | None = None
    stages: dict[str, LockedStage] = {}
    for name, entry in entries:
        stages[name] = entry
        expected = render_lockfile(Lockfile(dict(stages)), expected)
        assert text.put(name, entry) == expected
        if is_read_anew:
            text = LockText(expected, name="dvc.lock")
    assert (
        {name: parse_lockfile(expected, name="x").stages[name] for name in stages} == stages
        if expected
        else True
    )


HAND_WRITTEN = b"""\
# of people
schema: '2.0'
stages:
  # of a
  a:
    cmd: x  # inside
    deps:
    - path: f
      md5: d3b07384d113edec49eaa6238ad5ff00
  b: {cmd: y}
  # the end
"""


def test_what_people_wrote_around_a_stage_stays() -> None:
    entry = LockedStage("new")
    text = LockText(HAND_WRITTEN, name="dvc.lock")
    assert text.put("b", entry) == render_lockfile(
        Lockfile({**parse_lockfile(HAND_WRITTEN, name="x").stages, "b": entry}), HAND_WRITTEN
    )


def test_the_same_entry_changes_nothing() -> None:
    text = LockText(HAND_WRITTEN, name="dvc.lock")
    assert text.put("a", parse_lockfile(HAND_WRITTEN, name="x").stages["a"]) is HAND_WRITTEN


def test_a_lock_of_dvc_1_becomes_one_of_today() -> None:
    text = LockText(b"a:\n  cmd: x\n", name="dvc.lock")
    assert text.put("b", LockedStage("y")) == b"schema: '2.0'\nstages:\n  a:\n    cmd: x\n  b:\n    cmd: y\n"


def entry(number: int) -> LockedStage:
    return LockedStage("x", outs=(Output("out", Digest(MD5, f"{number:032x}"), size=number),))


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(0, 4))
def test_entries_that_come_in_any_order_lie_in_the_order_of_one_at_a_time(
    finished: list[str], there: int
) -> None:
    order = ["a", "b", "c", "d", "e"]
    text = LockText(None, name="dvc.lock")
    before = ["z", *finished[:there]]
    for name in before:
        text.put(name, entry(0))
    for name in finished:
        later = {other for other in order[order.index(name) + 1 :] if other not in before}
        text.put(name, entry(1), later=later)
        text = LockText(text.data, name="dvc.lock")
    assert list(text.stages) == before + [name for name in order if name not in before]
    assert text.data == render_lockfile(Lockfile(text.stages))

"""A packed remote in a folder: push, pull, gc and convert killed at each of their changing calls, and power cuts.

What was acknowledged before can be read right after the kill, by the specification alone; then the same command goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
from tests.unit.transfer.schedules import Memory, readable

from . import worlds
from .harness import KIST, Arena, Snapshot, World, for_each_kill
from .invariants import false_objects, half_metafiles, is_lasting, md5, objects, torn_manifests

pytestmark = pytest.mark.timeout(600)

# Names in it are random, so they differ from run to run; what can be read does not.
_PACKED = re.compile(r"remote(/(packs|index|writers|gc)(/.*)?|/kist-packed\.json|/files|/README-kist\.md)?")


def matters(rel: str) -> bool:
    return is_lasting(rel) and _PACKED.fullmatch(rel) is None


def unreadable(state: Snapshot, wanted: Mapping[str, bytes]) -> list[str]:
    """Returns which contents can be read neither from packs nor from loose objects of the remote."""
    memory = Memory()
    for rel, entry in state.items():
        if rel.startswith("remote/") and entry.kind == "file":
            memory.values[rel.removeprefix("remote/")] = entry.content, 0.0
    is_packed = "kist-packed.json" in memory.values
    there = {digest.hex() for digest in readable(memory)} if is_packed else set()
    there |= set(objects(state, "remote"))
    return [f"{rel} cannot be read from the remote" for rel, data in wanted.items() if md5(data) not in there]


def pushed(arena: Arena) -> None:
    """Version 1 is on a packed remote, version 2 tracked and in the cache."""
    worlds.empty(arena)
    arena.must("remote", "init", "-q", "--packed")
    worlds.put(arena, worlds.V1)
    arena.must("add", "-q", *worlds.TARGETS)
    arena.must("push", "-q")
    worlds.put(arena, worlds.V2)
    arena.must("add", "-q", *worlds.TARGETS)


def both_committed(arena: Arena) -> None:
    """Both versions are committed and on the remote."""
    pushed(arena)
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "second")
    arena.must("push", "-q")


def cloned(arena: Arena) -> None:
    """Both versions are on the remote; neither cache nor data is here."""
    pushed(arena)
    arena.must("push", "-q")
    worlds.drop_workspace(arena)
    worlds.drop_cache(arena)


def loose(arena: Arena) -> None:
    """Both versions are on a remote in the loose layout."""
    worlds.pushed_once(arena)
    arena.must("push", "-q")


class Case(NamedTuple):
    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    kept: dict[str, bytes]
    """What the remote must have at every moment."""
    then: dict[str, bytes]
    """What it must have when the command was run again."""
    step: int = 1
    """Every step-th call only."""


GC = ("gc", "-q", "-w", "-c", "-f", "--grace", "0", "--repack")
CASES = [
    Case("push", ("push", "-q"), pushed, worlds.V1, worlds.both_versions()),
    Case("gc", GC, both_committed, worlds.V2, worlds.V2),
    Case(
        "to packed",
        ("remote", "convert", "--packed"),
        loose,
        worlds.both_versions(),
        worlds.both_versions(),
        5,
    ),
    Case(
        "to loose",
        ("remote", "convert", "--loose"),
        both_committed,
        worlds.both_versions(),
        worlds.both_versions(),
        5,
    ),
    Case("init", ("remote", "init", "--packed"), worlds.added, {}, {}),
]


def checker(arena: Arena, case: Case) -> Callable[[World], list[str]]:
    def check(world: World) -> list[str]:
        lines = unreadable(world.now, case.kept) + half_metafiles(world) + false_objects(world.now)
        lines += torn_manifests(world.now, "remote")
        again = arena.run((*KIST, *case.argv))
        if again.status != 0:
            lines.append(f"the next run fails: {again}")
        after = arena.snapshot()
        lines += unreadable(after, case.then)
        left = [rel for rel in after if re.match(r"remote/(writers|gc)/", rel)]
        return lines + [f"{rel} is left" for rel in left]

    return check


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_call_loses_nothing_and_the_next_run_finishes(
    arena: Arena, case: Case, torn: bool
) -> None:
    case.prepare(arena)
    step = 3 * case.step if torn else case.step
    for_each_kill(
        arena, (*KIST, *case.argv), checker(arena, case), torn=torn, matters=matters, step=step
    ).check()


@pytest.mark.parametrize("case", CASES[:3], ids=[case.name.replace(" ", "-") for case in CASES[:3]])
def test_a_power_cut_at_any_call_loses_nothing(arena: Arena, case: Case) -> None:
    case.prepare(arena)
    for_each_kill(
        arena, (*KIST, *case.argv), checker(arena, case), cut="bytes", matters=matters, step=4 * case.step
    ).check()


def test_a_pull_that_was_killed_goes_on(arena: Arena) -> None:
    cloned(arena)

    def check(world: World) -> list[str]:
        return unreadable(world.now, worlds.both_versions()) + false_objects(world.now)

    for_each_kill(arena, (*KIST, "pull", "-q"), check, matters=matters, step=3).check()

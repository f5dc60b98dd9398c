"""Enough files for worker processes and for one sync of the whole file system: the paths that a handful never takes.

F1-F4, F6, F7, F10-F13 and F30 of the fault list. The moments are chosen by chance from a fixed seed.
"""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from . import worlds
from .harness import (
    KIST,
    Arena,
    Result,
    Snapshot,
    World,
    after_power_cut,
    finish,
    for_each_kill,
    lasting_differences,
)
from .invariants import (
    REMOTE,
    false_objects,
    half_metafiles,
    is_lasting,
    lost_data,
    objects,
    stray_names,
    torn_manifests,
    unbacked_metafiles,
)
from .shim import Fail, Record, Switches

pytestmark = pytest.mark.timeout(300)

FILES = 640  # worker processes begin at 600
ONE = {f"data/{number % 8}/{number:03}": b"%d\n" % number for number in range(FILES)}
TWO = {rel: b"new " + content for rel, content in ONE.items()}


def untracked(arena: Arena, link: str) -> None:
    worlds.empty(arena, link)
    worlds.put(arena, ONE)


def added(arena: Arena, link: str) -> None:
    untracked(arena, link)
    arena.must("add", "-q", "data")


def cloned(arena: Arena, link: str) -> None:
    added(arena, link)
    arena.must("push", "-q")
    worlds.remove_tree(arena.path("data"))
    worlds.drop_cache(arena)


def emptied(arena: Arena, link: str) -> None:
    added(arena, link)
    worlds.remove_tree(arena.path("data"))


def edited(arena: Arena, link: str) -> None:
    added(arena, link)
    worlds.put(arena, TWO)


class Many(NamedTuple):
    """One command with many files."""

    argv: tuple[str, ...]
    prepare: Callable[[Arena, str], None]
    precious: dict[str, bytes]
    link: str = "copy"

    def __str__(self) -> str:
        return f"{self.argv[0]}-{self.link}"


CASES = [
    Many(("add", "data"), untracked, ONE),
    Many(("add", "data"), untracked, ONE, "hardlink"),
    Many(("commit", "-f"), edited, {f"{rel}@1": content for rel, content in ONE.items()} | TWO, "symlink"),
    Many(("push",), added, ONE),
    Many(("pull",), cloned, ONE, "hardlink"),
    Many(("checkout",), emptied, ONE),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)


def complaints(world: World, case: Many) -> list[str]:
    return (
        false_objects(world.now)
        + half_metafiles(world)
        + lost_data(world.now, case.precious)
        + unbacked_metafiles(world.now)
        + torn_manifests(world.now, REMOTE)
    )


def prepared(arena: Arena, case: Many) -> tuple[Snapshot, Snapshot, list[Record]]:
    """Saves the state before; returns it, the state after an undisturbed run, and what that called; as before again."""
    case.prepare(arena, case.link)
    arena.save()
    old = arena.snapshot()
    assert arena.run((*KIST, *case.argv), switches=Switches(log=True)).status == 0
    new, log = arena.snapshot(), arena.shim.log()
    arena.restore()
    return old, new, [record for record in log if record.phase == "B"]


def repair(arena: Arena, case: Many, new: Snapshot) -> list[str]:
    again = arena.run((*KIST, *case.argv))
    lines = [] if again.status == 0 else [f"the next run ended with {again.status}: {again.err}"]
    return lines + lasting_differences(new, arena.snapshot(), is_lasting)


@by_case
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_of_all_processes_loses_nothing(arena: Arena, case: Many, torn: bool) -> None:
    case.prepare(arena, case.link)
    report = for_each_kill(
        arena,
        (*KIST, *case.argv),
        lambda world: complaints(world, case),
        torn=torn,
        matters=is_lasting,
        sample=2 if torn else 3,
    )
    assert report.calls > FILES
    report.check()


@by_case
@pytest.mark.parametrize("cut", ["bytes", "names"])
def test_a_power_cut_loses_nothing(arena: Arena, case: Many, cut: str) -> None:
    case.prepare(arena, case.link)
    for_each_kill(
        arena,
        (*KIST, *case.argv),
        lambda world: complaints(world, case),
        cut=cut,
        matters=is_lasting,
        sample=2,
    ).check()


@by_case
@pytest.mark.parametrize("lose_names", [False, True], ids=["bytes", "names"])
def test_what_a_finished_command_stored_survives_a_power_cut(
    arena: Arena, case: Many, lose_names: bool
) -> None:
    case.prepare(arena, case.link)
    result, world = after_power_cut(arena, (*KIST, *case.argv), lose_names=lose_names)
    assert result.status == 0
    assert complaints(world, case) == []
    assert {rel for rel in world.new if "/files/md5/" in rel} <= world.now.keys()
    assert repair(arena, case, world.new) == []


@pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=str)
def test_a_sync_of_the_file_system_that_does_nothing_is_reported(arena: Arena, case: Many) -> None:
    case.prepare(arena, case.link)
    _, world = after_power_cut(
        arena, (*KIST, *case.argv), lose_names=False, switches=Switches(drop_sync=True)
    )
    assert any("holds b''" in line for line in complaints(world, case))


@by_case
def test_a_worker_that_is_killed_makes_a_clear_failure_and_the_next_run_repairs(
    arena: Arena, case: Many
) -> None:
    old, new, log = prepared(arena, case)
    leader = log[-1].pid
    begun = [record.call for record in log if record.pid != leader]
    assert len(begun) > FILES // 2, "no workers were at work"
    call = random.Random(7).choice(begun[len(begun) // 4 : len(begun) * 3 // 4])
    result = arena.run((*KIST, *case.argv), switches=Switches(kill_at=call, alone=True, log=True))
    pids = {record.call: record.pid for record in arena.shim.log()}
    assert pids[call] != pids[1], "it was the command itself"
    assert result.status != 0
    assert f"worker process {pids[call]}" in result.err
    assert not result.crashed()
    assert complaints(World(arena.snapshot(), old, new), case) == []
    assert repair(arena, case, new) == []


@by_case
def test_a_kill_at_a_random_time_of_the_command_alone_loses_nothing(arena: Arena, case: Many) -> None:
    """F7: a real process with a cold start, ended by an alarm that nobody handles; its workers see the pipes close."""
    old, new, _ = prepared(arena, case)
    chance = random.Random(11)
    problems = []
    for _ in range(2):
        arena.restore()
        seconds = chance.uniform(0.05, 1.0)
        ended = alarmed(arena, case.argv, seconds)
        assert ended.status in (0, -signal.SIGALRM), ended
        found = complaints(World(arena.snapshot(), old, new), case)
        problems += [f"after {seconds} s: {line}" for line in found + repair(arena, case, new)]
    assert not problems, "\n".join(problems[:20])


@by_case
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_with_its_workers_and_leaves_no_temporary(
    arena: Arena, case: Many, number: signal.Signals
) -> None:
    """F8. As the terminal does it, all processes get the signal; the command alone says something."""
    old, new, log = prepared(arena, case)
    call = random.Random(number).choice(log[len(log) // 4 : len(log) * 3 // 4]).call
    result = arena.run((*KIST, *case.argv), switches=Switches(kill_at=call, signal=number))
    assert result.status == 128 + number, result
    assert len(result.err.strip().splitlines()) <= 2
    assert not result.crashed()
    world = World(arena.snapshot(), old, new)
    assert complaints(world, case) + stray_names(world) == []
    assert repair(arena, case, new) == []


def alarmed(arena: Arena, argv: tuple[str, ...], seconds: float) -> Result:
    """Runs a command that the kernel ends after so many seconds, and waits for what it started too."""

    def set_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return finish(arena.start((*KIST, *argv), before=set_alarm))


@by_case
def test_a_sync_that_fails_is_no_success(arena: Arena, case: Many) -> None:
    old, new, _ = prepared(arena, case)
    failing = Fail(errno.EIO, "sync", at=1, onward=True)
    result = arena.run((*KIST, *case.argv), switches=Switches(fails=(failing,)))
    assert result.status != 0
    assert os.strerror(errno.EIO).lower() in result.err.lower()
    assert not result.crashed()
    assert complaints(World(arena.snapshot(), old, new), case) == []
    assert repair(arena, case, new) == []
    assert objects(new, "repo/.dvc/cache")

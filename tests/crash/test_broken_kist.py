"""Kist over a library with a planted defect: the suite must see it, or it would see nothing. And warm equals cold."""

from __future__ import annotations

import re

import pytest

from .harness import KIST, Arena, after_power_cut, finish, for_each_kill
from .invariants import is_lasting
from .shim import Record, Switches
from .test_commands import CASES, Case, checker, named

pytestmark = pytest.mark.timeout(240)

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("name", ["add a folder copy", "push", "fetch"])
def test_renames_that_copy_in_place_are_reported(arena: Arena, name: str) -> None:
    case = BY_NAME[name]
    case.prepare(arena)
    broken = Switches(swap_rename=True)
    report = for_each_kill(
        arena, (*KIST, *case.argv), checker(case), switches=broken, matters=is_lasting, enough=80
    )
    assert any("object" in problem.what and "holds" in problem.what for problem in report.problems), report


@pytest.mark.parametrize("name", ["add a folder copy", "add a file", "push", "fetch", "pull copy"])
def test_syncs_that_do_nothing_are_reported(arena: Arena, name: str) -> None:
    case = BY_NAME[name]
    case.prepare(arena)
    result, world = after_power_cut(
        arena, (*KIST, *case.argv), lose_names=False, switches=Switches(drop_sync=True)
    )
    assert result.status == 0
    assert any("holds b''" in line for line in checker(case)(world))


def calls(log: list[Record]) -> list[tuple[str, str]]:
    """Returns what was called on what, without the parts of names that differ from run to run."""
    return [
        (record.name, re.sub(r"\.kist-[0-9a-f]+-\d+-\d+-[0-9a-f]+", "TEMP", record.path))
        for record in log
        if record.phase == "B"
    ]


@named(CASES)
def test_a_forked_command_makes_the_same_calls_as_one_that_starts_cold(arena: Arena, case: Case) -> None:
    case.prepare(arena)
    argv = (*KIST, *case.argv)
    # The cold one is so slow that the files are no longer fresh when it looks at them; an hour later they never are.
    later = Switches(log=True, clock_s=3600)
    arena.save()
    arena.restore()  # both runs find the same files with other inode numbers than the stat index knows
    forked = arena.run(argv, switches=later)
    warm = calls(arena.shim.log())
    arena.restore()
    started = finish(arena.start(argv, switches=later))
    cold = calls(arena.shim.log())
    assert forked == started
    assert warm == cold
    assert len(warm) > 5

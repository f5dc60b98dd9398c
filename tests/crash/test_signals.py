"""Ctrl-C and SIGTERM at any moment (F8, R20): one line, 130 or 143, no traceback, own temporaries removed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

import pytest

from . import worlds
from .harness import KIST, Arena, Result, World, lasting_differences
from .invariants import false_objects, half_metafiles, is_lasting, lost_data, stray_names, unbacked_metafiles
from .shim import Switches

pytestmark = pytest.mark.timeout(300)

EVERY = 3
BOTH = worlds.both_versions()
COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[Arena], object], Mapping[str, bytes]]] = {
    "add": (("add", "data", "model.bin"), worlds.edited, BOTH),
    "commit": (("commit", "-f"), worlds.edited, BOTH),
    "push": (("push",), worlds.two_versions, BOTH),
    "fetch": (("fetch",), worlds.clone, BOTH),
    "pull": (("pull",), worlds.clone, BOTH),
    "checkout": (("checkout",), worlds.switching, BOTH),
    "move": (("move", "data", "moved"), worlds.added, worlds.V1),
    "unprotect": (("unprotect", "data"), lambda arena: worlds.added(arena, "hardlink"), worlds.V1),
}
REPEATABLE = COMMANDS.keys() - {"move"}


def complaints(
    result: Result, world: World, expected: int, number: signal.Signals, precious: Mapping[str, bytes]
) -> list[str]:
    """Returns what is wrong with how a command ended and what it left."""
    lines = (
        false_objects(world.now) + half_metafiles(world) + unbacked_metafiles(world.now) + stray_names(world)
    )
    lines += lost_data(world.now, precious)
    if result.crashed():
        lines.append(f"a traceback: {result.err}")
    # The last calls come after the work is done: then the command may as well succeed, or be ended by the signal.
    done = not lasting_differences(world.new, world.now, is_lasting)
    if result.status != expected and not (done and result.status in (0, -number)):
        lines.append(f"status {result.status} instead of {expected}: {result.err}")
    elif result.status == expected and len(result.err.strip().splitlines()) > 2:
        lines.append(f"more than a line and a hint: {result.err}")
    return lines


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("number", "to_leader"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_an_interrupted_command_says_one_line_and_leaves_no_temporary(
    arena: Arena, name: str, number: signal.Signals, to_leader: bool
) -> None:
    arguments, prepare, precious = COMMANDS[name]
    argv = (*KIST, *arguments)
    prepare(arena)
    arena.save()
    old = arena.snapshot()
    assert arena.run(argv, switches=Switches()).status == 0
    new, calls = arena.snapshot(), arena.shim.calls()
    assert calls > 10
    problems = []
    for call in range(1, calls + 1, EVERY):
        arena.restore()
        result = arena.run(argv, switches=Switches(kill_at=call, signal=number, to_leader=to_leader))
        world = World(arena.snapshot(), old, new)
        found = complaints(result, world, 128 + number, number, precious)
        if name in REPEATABLE or lasting_differences(new, arena.snapshot(), is_lasting):
            again = arena.run(argv)
            if again.status != 0:
                found.append(f"the next run ended with {again.status}: {again.err}")
        found += lasting_differences(new, arena.snapshot(), is_lasting)
        problems += [f"at call {call}: {line}" for line in found]
    assert not problems, "\n".join(problems[:20])

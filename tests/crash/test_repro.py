"""`repro -j` of many stages, killed at any moment: it goes on, runs nothing twice that was finished, and ends with the lock
of an undisturbed run (F9)."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest

from kist.base.processes import state_of

from . import worlds
from .harness import KIST, Arena, finish, kill_group
from .shim import Switches

pytestmark = pytest.mark.timeout(300)

STAGES = 200
JOBS = 4
ARGV = (*KIST, "repro", "-q", "-j", str(JOBS))


def pipeline() -> bytes:
    """Returns a `dvc.yaml` of chains of four stages; each command says that it ran."""
    parts = ["stages:\n"]
    for number in range(STAGES):
        dep = f"o{number - 1}" if number % 4 else "model.bin"
        parts.append(
            f"  s{number}:\n    cmd: echo {number} >> ran; cp {dep} o{number}; echo {number} >> o{number}\n"
            f"    deps: [{dep}]\n    outs: [o{number}]\n"
        )
    return "".join(parts).encode()


def with_many_stages(arena: Arena) -> None:
    worlds.added(arena)
    arena.write("dvc.yaml", pipeline())


def results(arena: Arena) -> dict[str, bytes]:
    """Returns what lasts, but for how often commands ran."""
    found = {}
    for name in ("dvc.lock", ".gitignore", *(f"o{number}" for number in range(STAGES))):
        with open(arena.path(name), "rb") as stream:
            data = stream.read()
        found[name] = data if name != ".gitignore" else b"\n".join(sorted(data.splitlines()))
    return found


def records(arena: Arena) -> int:
    return sum(len(names) for _, _, names in os.walk(arena.path(".dvc/cache/runs")))


def test_a_killed_repro_goes_on_and_ends_with_the_lock_of_an_undisturbed_one(arena: Arena) -> None:
    with_many_stages(arena)
    arena.save()
    assert arena.run((*KIST, "repro", "-q"), switches=Switches()).status == 0
    calls, expected = arena.shim.calls(), results(arena)
    assert records(arena) == STAGES
    chance = random.Random(STAGES)
    for call in sorted(chance.randrange(calls // 20, calls * 9 // 10) for _ in range(3)):
        arena.restore()
        process = arena.start(ARGV, switches=Switches(kill_at=call))
        finish(process)
        assert process.returncode == -signal.SIGKILL, "it was to be killed"
        again = arena.run(ARGV)
        assert again.status == 0, again
        assert results(arena) == expected, f"killed at call {call}"
        assert records(arena) == STAGES
        with open(arena.path("ran")) as stream:
            ran = Counter(stream.read().split())
        assert len(ran) == STAGES
        assert sum(ran.values()) <= STAGES + JOBS, "a finished stage ran again"
    kill_group(process)


def test_commands_that_a_killed_repro_leaves_running_are_ended(arena: Arena) -> None:
    worlds.added(arena)
    os.mkfifo(arena.path("ready"))
    arena.write(
        "dvc.yaml",
        b"stages:\n  s: {cmd: 'echo $$ >> pids; echo > ready; test -e go || sleep 600; touch o', outs: [o]}\n",
    )
    process = arena.start(ARGV)
    with open(arena.path("ready")) as stream:
        stream.readline()
    kill_group(process)
    assert process.wait() == -signal.SIGKILL
    with open(arena.path("pids")) as stream:
        left = int(stream.read())
    os.kill(left, 0)
    arena.write("go", b"")
    again = arena.start((*KIST, "repro", "-j", "2"))
    with open(arena.path("ready")) as stream:
        stream.readline()
    ended = finish(again)
    assert ended.status == 0, ended
    assert "ended 2 processes that a killed `repro` had left running" in ended.err
    assert state_of(left)[0] in ("", "Z"), "it still runs"
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()

"""Several commands at once, holders that stop or die (F40, F41, F43-F45). Reads never wait for a lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from . import worlds
from .harness import KIST, TIMEOUT_S, Arena, finish
from .invariants import CACHE, REMOTE, false_objects, md5, objects, torn_manifests
from .shim import Record, Switches
from .warm import Running

pytestmark = pytest.mark.timeout(180)

BOUND_S = 60.0


def start_all(
    arena: Arena, commands: Sequence[Sequence[str]], folders: Sequence[str]
) -> list[subprocess.Popen[bytes]]:
    return [
        arena.start((*KIST, *command), cwd=folder) for command, folder in zip(commands, folders, strict=True)
    ]


@contextmanager
def stopped(arena: Arena, command: Sequence[str], call: int) -> Iterator[Running]:
    """A command that was stopped right before one of its changing calls; killed at the end if it still lives."""
    running = arena.stop((*KIST, *command), call)
    assert running is not None, f"{command} ended before its call {call}"
    try:
        yield running
    finally:
        running.kill()


def calls_of(arena: Arena, command: Sequence[str]) -> list[Record]:
    """Returns the changing calls of an undisturbed run, in order; the arena is as before."""
    arena.save()
    assert arena.run((*KIST, *command), switches=Switches(log=True)).status == 0
    log = arena.shim.log()
    arena.restore()
    return [record for record in log if record.phase == "B"]


def test_six_adds_at_once_all_store_or_say_that_they_could_not(arena: Arena) -> None:
    worlds.empty(arena)
    names = [f"file{number}.bin" for number in range(6)]
    for name in names:
        arena.write(name, name.encode() * 1000)
    running = start_all(arena, [("add", name) for name in names], [arena.repo] * 6)
    results = [finish(process, timeout_s=BOUND_S) for process in running]
    state = arena.snapshot()
    stored = objects(state, CACHE)
    ignored = state["repo/.gitignore"].content.decode().splitlines()
    for name, result in zip(names, results, strict=True):
        assert not result.crashed()
        if result.status != 0:
            assert "lock" in result.err.lower(), result
            continue
        assert md5(name.encode() * 1000) in stored
        assert f"repo/{name}.dvc" in state
        assert f"/{name}" in ignored
    assert any(result.status == 0 for result in results)
    assert false_objects(state) == []


def clones(arena: Arena, count: int) -> list[str]:
    """Returns copies of the repository, each with its own workspace, cache and private state."""
    folders = []
    for number in range(count):
        folder = os.path.join(arena.work, f"clone{number}")
        shutil.copytree(arena.repo, folder, symlinks=True)
        folders.append(folder)
    return folders


def test_four_clones_push_the_same_objects_at_once(arena: Arena) -> None:
    worlds.two_versions(arena)
    running = start_all(arena, [("push",)] * 4, clones(arena, 4))
    for process in running:
        result = finish(process, timeout_s=BOUND_S)
        assert result.status == 0, result
    state = arena.snapshot()
    assert false_objects(state) == []
    assert torn_manifests(state, REMOTE) == []
    assert {md5(content) for content in worlds.V2.values()} <= objects(state, REMOTE).keys()
    assert [rel for rel in state if rel.startswith("remote/") and ".tmp" in rel] == []


def test_four_clones_pull_into_one_shared_cache_at_once(arena: Arena) -> None:
    worlds.clone(arena)
    folders = clones(arena, 4)
    shared = os.path.join(arena.work, "shared")
    for folder in folders:
        arena.must("cache", "dir", "-q", shared, cwd=folder)
    running = start_all(arena, [("pull",)] * 4, folders)
    for process in running:
        result = finish(process, timeout_s=BOUND_S)
        assert result.status == 0, result
    state = arena.snapshot()
    assert false_objects(state) == []
    assert {md5(content) for content in worlds.V2.values()} <= objects(state, "shared").keys()
    for folder in folders:
        for rel, content in worlds.V2.items():
            assert state[os.path.relpath(os.path.join(folder, rel), arena.work)].content == content


def test_a_stopped_holder_makes_others_say_so_in_bounded_time_and_then_finishes(arena: Arena) -> None:
    worlds.edited(arena)
    arena.write("third.bin", b"third")
    command = ("add", "data", "model.bin")
    with stopped(arena, command, len(calls_of(arena, command)) // 2) as holder:
        began = time.monotonic()
        other = arena.kist("add", "third.bin")
        assert time.monotonic() - began < BOUND_S
        assert other.status != 0
        assert "lock" in other.err.lower()
        assert str(holder.pid) in other.err
        assert not other.crashed()
        holder.go_on()
        assert holder.finish(TIMEOUT_S).status == 0
    assert arena.kist("add", "third.bin").status == 0
    state = arena.snapshot()
    assert false_objects(state) == []
    stored = objects(state, CACHE)
    assert {md5(content) for content in (*worlds.V2.values(), b"third")} <= stored.keys()
    assert sorted(state["repo/.gitignore"].content.splitlines()) == [b"/data", b"/model.bin", b"/third.bin"]


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("data", "status"),
        ("diff", "--json"),
        ("status", "-c"),
        ("list", "."),
        ("config", "--list"),
    ],
)
def test_reading_does_not_wait_for_a_writer(arena: Arena, command: tuple[str, ...]) -> None:
    worlds.edited(arena)
    arena.git("add", ".")
    arena.git("commit", "-q", "-m", "one")
    adding = ("add", "data", "model.bin")
    for record in calls_of(arena, adding)[1::7]:
        # SQLite itself waits ten seconds for a process that stands still while it makes this file: once is enough.
        if record.path.endswith("-shm") and command != ("status",):
            continue
        arena.restore()
        with stopped(arena, adding, record.call) as holder:
            result = arena.kist(*command)
            assert result.status == 0, (record, result)
            assert not result.crashed()
            holder.go_on()
            assert holder.finish(TIMEOUT_S).status == 0


def test_a_killed_holder_leaves_no_lock(arena: Arena) -> None:
    worlds.edited(arena)
    adding = ("add", "data")
    for record in calls_of(arena, adding)[::5]:
        arena.restore()
        arena.kist(*adding, switches=Switches(kill_at=record.call))
        result = arena.kist("add", "model.bin")
        assert result.status == 0, (record, result)
        assert not re.search("lock|wait", result.err)

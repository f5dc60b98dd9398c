"""Several commands at once, holders that stop or die (F40, F41, F43-F45). Reads never wait for a lock."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from . import worlds
from .harness import KIST, Arena, finish, kill_group
from .invariants import CACHE, REMOTE, false_objects, md5, objects, torn_manifests
from .shim import Switches

pytestmark = pytest.mark.timeout(180)

BOUND_S = 60.0


def start_all(
    arena: Arena, commands: Sequence[Sequence[str]], folders: Sequence[str]
) -> list[subprocess.Popen[bytes]]:
    return [
        arena.start((*KIST, *command), cwd=folder) for command, folder in zip(commands, folders, strict=True)
    ]


@contextmanager
def stopped(arena: Arena, command: Sequence[str], call: int) -> Iterator[subprocess.Popen[bytes]]:
    """A command that was stopped right before one of its changing calls; killed at the end if it still lives."""
    process = arena.start((*KIST, *command), switches=Switches(kill_at=call, signal=signal.SIGSTOP))
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"{command} ended before its call {call}"
        yield process
    finally:
        kill_group(process)
        if process.returncode is None:
            process.communicate()


def go_on(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGCONT)


def calls_of(arena: Arena, command: Sequence[str]) -> int:
    arena.save()
    assert arena.run((*KIST, *command), switches=Switches()).status == 0
    calls = arena.shim.calls()
    arena.restore()
    return calls


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


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_stopped_holder_makes_others_say_so_in_bounded_time_and_then_finishes(
    arena: Arena, part: float
) -> None:
    worlds.edited(arena)
    arena.write("third.bin", b"third")
    command = ("add", "data", "model.bin")
    call = max(1, int(calls_of(arena, command) * part))
    with stopped(arena, command, call) as holder:
        began = time.monotonic()
        other = arena.kist("add", "third.bin")
        assert time.monotonic() - began < BOUND_S
        if other.status != 0:
            assert "lock" in other.err.lower()
            assert str(holder.pid) in other.err
            assert not other.crashed()
        go_on(holder)
        assert finish(holder).status == 0
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
    calls = calls_of(arena, adding)
    for call in range(2, calls, 7):
        arena.restore()
        with stopped(arena, adding, call) as holder:
            result = arena.kist(*command)
            assert result.status == 0, (call, result)
            assert not result.crashed()
            go_on(holder)
            assert finish(holder).status == 0


def test_a_killed_holder_leaves_no_lock(arena: Arena) -> None:
    worlds.edited(arena)
    adding = ("add", "data")
    for call in range(1, calls_of(arena, adding), 5):
        arena.restore()
        arena.kist(*adding, switches=Switches(kill_at=call))
        result = arena.kist("add", "model.bin")
        assert result.status == 0, (call, result)
        assert not re.search("lock|wait", result.err)

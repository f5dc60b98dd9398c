"""Disks that fail (F28-F31): a write, a read or a sync that says EIO, and calls that do less than was asked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from . import worlds
from .harness import KIST, Arena, Result, World, lasting_differences
from .invariants import (
    REMOTE,
    false_objects,
    half_metafiles,
    is_lasting,
    lost_data,
    md5,
    objects,
    stray_names,
    torn_manifests,
    unbacked_metafiles,
)
from .shim import Fail, Switches

pytestmark = pytest.mark.timeout(300)

COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[Arena], object]]] = {
    "add": (("add", "data", "model.bin"), worlds.edited),
    "push": (("push",), worlds.two_versions),
    "pull": (("pull",), worlds.clone),
    "checkout": (("checkout",), worlds.switching),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("classes", ["write", "sync", "rename,link,unlink", "read"])
@pytest.mark.parametrize("place", ["repo", "remote"])
def test_each_call_that_fails_in_turn_is_reported_and_loses_nothing(
    arena: Arena, name: str, classes: str, place: str
) -> None:
    arguments, prepare = COMMANDS[name]
    argv = (*KIST, *arguments)
    prepare(arena)
    if (
        classes == "sync"
    ):  # the text for people may lack: a push never fails for it, and its syncs do not count
        arena.write(os.path.join(arena.remote, "README-kist.md"), b"there already")
    arena.save()
    old = arena.snapshot()
    rule = Fail(errno.EIO, classes, at=1 << 40, onward=False, prefix=os.path.join(arena.work, place))
    assert arena.run(argv, switches=Switches(fails=(rule,))).status == 0
    calls = arena.shim.matched()
    new = arena.snapshot()
    problems = []
    for at in range(1, calls + 1):
        arena.restore()
        result = arena.run(argv, switches=Switches(fails=(rule._replace(at=at),), log=True))
        found = complaints(result, World(arena.snapshot(), old, new))
        failed = [record.path for record in arena.shim.log() if record.phase == "E" and record.result < 0]
        matters = any(is_lasting(os.path.relpath(path, arena.work)) for path in failed)
        if classes == "sync" and matters and result.status == 0:
            found.append(f"a failed sync was taken for success: {failed}")
        again = arena.run(argv)
        if again.status != 0:
            found.append(f"the next run ended with {again.status}: {again.err}")
        found += lasting_differences(new, arena.snapshot(), is_lasting)
        problems += [f"{classes} call {at} of {calls}: {line}" for line in found]
    assert not problems, "\n".join(problems[:20])


def complaints(result: Result, world: World) -> list[str]:
    """Returns what is wrong after a command met an error of the disk."""
    lines = (
        false_objects(world.now) + half_metafiles(world) + unbacked_metafiles(world.now) + stray_names(world)
    )
    lines += torn_manifests(world.now, REMOTE) + lost_data(world.now, worlds.both_versions())
    if result.crashed():
        lines.append(f"a traceback: {result.err}")
    if result.status == 0:
        lines += lasting_differences(world.new, world.now, is_lasting)
    elif os.strerror(errno.EIO).lower() not in result.err.lower():
        lines.append(f"the cause is not named: {result.err}")
    return lines


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_the_source_file_that_cannot_be_read_is_named(arena: Arena, link: str) -> None:
    worlds.edited(arena, link)
    bad = arena.path("data/sub/e.txt")
    result = arena.kist("add", "data", switches=Switches(fails=(Fail(errno.EIO, "read", prefix=bad),)))
    assert result.status != 0
    assert "e.txt" in result.err
    assert not result.crashed()
    assert lost_data(arena.snapshot(), worlds.both_versions()) == []
    assert arena.kist("add", "data").status == 0


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize(("write", "read"), [(1, 0), (0, 1), (7, 5)])
def test_calls_that_do_less_than_asked_change_nothing(arena: Arena, link: str, write: int, read: int) -> None:
    """F31. One byte at a time, all commands: the result is what it always is."""
    small = {"data/a": b"some bytes", "data/sub/b": b"other bytes", "model.bin": b"model"}
    worlds.empty(arena, link)
    worlds.put(arena, small)
    short = Switches(short_write=write, short_read=read)
    for command in (("add", "data", "model.bin"), ("push",)):
        assert arena.kist(*command, switches=short).status == 0
    assert false_objects(arena.snapshot()) == []
    assert {md5(content) for content in small.values()} <= objects(arena.snapshot(), REMOTE).keys()
    worlds.drop_workspace(arena)
    worlds.drop_cache(arena)
    assert arena.kist("pull", switches=short).status == 0
    for rel, content in small.items():
        with open(arena.path(rel), "rb") as stream:
            assert stream.read() == content
    assert arena.must("status").out.strip() == "Data and pipelines are up to date."

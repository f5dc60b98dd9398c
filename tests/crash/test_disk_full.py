"""No space left (F22-F27): nothing lost, "no space" said, and all well once there is space."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from . import worlds
from .harness import KIST, Arena, Entry, World, lasting_differences
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

# What needs a block or an inode.
NEEDS_SPACE = "write,open,mkdir,link,symlink"
PLACES: dict[str, tuple[tuple[str, ...], Callable[[Arena], object], str]] = {
    "add, cache full": (("add", "data", "model.bin"), worlds.edited, "repo/.dvc/cache"),
    "add, workspace full": (("add", "data", "model.bin"), worlds.untracked, "repo"),
    "commit, cache full": (("commit", "-f"), worlds.edited, "repo/.dvc/cache"),
    "push, remote full": (("push",), worlds.two_versions, "remote"),
    "fetch, cache full": (("fetch",), worlds.clone, "repo/.dvc/cache"),
    "pull, all full": (("pull",), worlds.clone, "repo"),
    "pull, folder full": (("pull",), worlds.behind, "repo/data"),
    "checkout, folder full": (("checkout",), worlds.switching, "repo/data"),
    "move, workspace full": (("move", "model.bin", "other.bin"), worlds.added, "repo"),
    "config, full": (("config", "cache.type", "copy"), worlds.added, "repo"),
    "remove, full": (("remove", "data.dvc"), worlds.added, "repo"),
}


def complaints(world: World, precious: dict[str, bytes]) -> list[str]:
    return (
        false_objects(world.now)
        + half_metafiles(world)
        + unbacked_metafiles(world.now)
        + torn_manifests(world.now, REMOTE)
        + stray_names(world)
        + lost_data(world.now, precious)
    )


@pytest.mark.parametrize("name", PLACES, ids=[name.replace(", ", "-").replace(" ", "-") for name in PLACES])
def test_a_full_disk_is_said_and_loses_nothing(arena: Arena, name: str) -> None:
    arguments, prepare, place = PLACES[name]
    argv = (*KIST, *arguments)
    prepare(arena)
    precious = {rel: entry.content for rel, entry in _data(arena).items()}
    arena.save()
    old = arena.snapshot()
    assert arena.run(argv).status == 0
    new = arena.snapshot()
    problems = []
    failures = 0
    for at in range(1, 100):
        arena.restore()
        full = Fail(errno.ENOSPC, NEEDS_SPACE, at=at, prefix=os.path.join(arena.work, place))
        result = arena.run(argv, switches=Switches(fails=(full,)))
        found = complaints(World(arena.snapshot(), old, new), precious)
        if result.status == 0:
            found += lasting_differences(new, arena.snapshot(), is_lasting)
        elif "no space" not in result.err.lower() or result.crashed():
            found.append(f"ended with {result.status} and: {result.err}")
        failures += result.status != 0
        again = arena.run(argv)
        if lasting_differences(new, arena.snapshot(), is_lasting):
            found.append(f"with space again, status {again.status}: {again.err}")
            found += lasting_differences(new, arena.snapshot(), is_lasting)
        problems += [f"from call {at} on: {line}" for line in found]
        if result.status == 0:
            break
    assert failures > 0
    assert not problems, "\n".join(problems[:20])


def _data(arena: Arena) -> dict[str, Entry]:
    state = arena.snapshot()
    return {
        rel.removeprefix("repo/"): entry
        for rel, entry in state.items()
        if rel.startswith(("repo/data/", "repo/model.bin"))
        and entry.kind == "file"
        and not rel.endswith(".dvc")
    }


def test_a_full_disk_for_private_state_disturbs_nothing(arena: Arena) -> None:
    worlds.edited(arena)
    full = [Fail(errno.ENOSPC, NEEDS_SPACE, prefix=place) for place in (arena.home, arena.path(".dvc/tmp"))]
    result = arena.kist("add", "data", "model.bin", switches=Switches(fails=tuple(full)))
    assert result.status == 0, result
    stored = objects(arena.snapshot(), "repo/.dvc/cache")
    assert {md5(content) for content in worlds.V2.values()} <= stored.keys()
    for command in ("status", "push", "checkout"):
        assert arena.kist(command, switches=Switches(fails=tuple(full))).status == 0


@pytest.fixture
def small_disk(arena: Arena) -> Iterator[str]:
    """A real file system of 8 MB in `work/small`."""
    path = os.path.join(arena.work, "small")
    os.mkdir(path)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounts are not allowed here; the tests above fill the disk through the shim")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


BIG = {f"data/{number}.bin": bytes([number]) * (3 << 20) for number in range(5)}


def test_a_cache_on_a_disk_that_is_really_too_small(arena: Arena, small_disk: str) -> None:
    worlds.empty(arena)
    arena.must("cache", "dir", "-q", os.path.join(small_disk, "cache"))
    worlds.put(arena, BIG)
    result = arena.kist("add", "data")
    assert result.status != 0
    assert "no space" in result.err.lower()
    assert not result.crashed()
    assert not os.path.exists(arena.path("data.dvc"))
    assert false_objects(arena.snapshot()) == []
    assert all(_read(arena.path(rel)) == content for rel, content in BIG.items())
    assert subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=False).returncode == 0
    assert arena.kist("add", "data").status == 0
    stored = objects(arena.snapshot(), "small/cache")
    assert {md5(content) for content in BIG.values()} <= stored.keys()


def test_a_remote_on_a_disk_that_is_really_too_small(arena: Arena, small_disk: str) -> None:
    worlds.empty(arena)
    arena.must("remote", "modify", "-q", "store", "url", os.path.join(small_disk, "store"))
    worlds.put(arena, BIG)
    arena.must("add", "-q", "data")
    result = arena.kist("push")
    assert result.status != 0
    assert "no space" in result.err.lower()
    assert not result.crashed()
    assert false_objects(arena.snapshot()) == []
    assert torn_manifests(arena.snapshot(), "small/store") == []
    assert subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=False).returncode == 0
    assert arena.kist("push").status == 0
    stored = objects(arena.snapshot(), "small/store")
    assert {md5(content) for content in BIG.values()} <= stored.keys()


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()

"""fsck and `cache migrate`, killed before each of their changing calls: nothing is lost, the same command goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import pytest

from . import worlds
from .harness import KIST, Arena, World, for_each_kill
from .invariants import CACHE, REMOTE, false_objects, half_metafiles, is_lasting, lost_data, md5, objects

pytestmark = pytest.mark.timeout(900)

FIRST = {f"{rel}@1": content for rel, content in worlds.V1.items()}
A, B, MODEL = (md5(worlds.V1[rel]) for rel in ("data/a.txt", "data/b.bin", "model.bin"))


def damage(arena: Arena, store: str, oid: str) -> None:
    """Changes bytes of an object with its mode and modification time as they were."""
    path = os.path.join(store, "files/md5", oid[:2], oid[2:])
    before = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.write(b"rotten")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.chmod(path, before.st_mode)


def damaged(arena: Arena) -> None:
    """Version 1 is stored and pushed, and damaged in cache and remote; version 2 lies in the workspace."""
    worlds.added(arena)
    arena.must("push", "-q")
    worlds.put(arena, worlds.V2)
    cache = arena.path(".dvc/cache")
    manifest = next(oid for oid in objects(arena.snapshot(), REMOTE) if oid.endswith(".dir"))
    for store, oid in ((cache, A), (cache, MODEL), (arena.remote, B), (arena.remote, manifest)):
        damage(arena, store, oid)


def only_in_workspace(arena: Arena) -> None:
    """Version 1 lies there, both stores have `model.bin` and a file of `data` damaged."""
    worlds.added(arena)
    arena.must("push", "-q")
    for store in (arena.path(".dvc/cache"), arena.remote):
        for oid in (A, MODEL):
            damage(arena, store, oid)


def old_layout(arena: Arena) -> None:
    """A repository of DVC 2: a text file with CRLF, and `model.bin`, by their old ids."""
    worlds.empty(arena)
    text, unix = b"a\r\nb\r\n", b"a\nb\n"
    for rel, data, oid in (("table.csv", text, md5(unix)), ("model.bin", worlds.V1["model.bin"], MODEL)):
        arena.write(rel, data)
        arena.write(f".dvc/cache/{oid[:2]}/{oid[2:]}", data)
        arena.write(f"{rel}.dvc", f"outs:\n- md5: {oid}\n  size: {len(data)}\n  path: {rel}\n".encode())
    arena.write(".gitignore", b"/table.csv\n/model.bin\n")


class Case(NamedTuple):
    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]


CASES = [
    Case("fsck", ("fsck", "-c"), damaged),
    Case("fsck from the workspace", ("fsck", "-c"), only_in_workspace),
    Case("cache migrate", ("cache", "migrate"), old_layout),
    Case("cache migrate with metafiles", ("cache", "migrate", "--dvc-files"), old_layout),
]


def check(world: World) -> list[str]:
    """Nothing is damaged that was not so before, nothing that was sound went, metafiles are old or new."""
    before = set(false_objects(world.old))
    lines = [line for line in false_objects(world.now) if line not in before]
    for store in (CACHE, REMOTE):
        now = objects(world.now, store)
        lines += [
            f"object {oid} went from {store}"
            for oid, content in objects(world.old, store).items()
            if md5(content) == oid[:32] and now.get(oid) != content
        ]
    aside = {
        entry.content for rel, entry in world.now.items() if "/kist-bad/" in rel and entry.kind == "file"
    }
    still = {entry.content for entry in world.now.values() if entry.kind == "file"}
    for rel, entry in world.old.items():
        if (
            entry.kind == "file"
            and entry.content.startswith(b"rotten")
            and entry.content not in aside | still
        ):
            lines.append(f"the damaged bytes of {rel} were thrown away")
    return lines + half_metafiles(world)


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_a_kill_at_any_call_loses_nothing_and_the_same_command_goes_on(
    arena: Arena, case: Case, torn: bool
) -> None:
    case.prepare(arena)
    precious = FIRST if case.argv[0] == "fsck" else {}

    def whole(world: World) -> list[str]:
        return check(world) + lost_data(world.now, precious)

    for_each_kill(arena, (*KIST, *case.argv), whole, torn=torn, matters=is_lasting).check()

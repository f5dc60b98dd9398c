"""What one changed file in a hundred costs: its own bytes and one manifest; and switching back and forth costs no bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from . import worlds
from .harness import Arena
from .invariants import CACHE, is_lasting, md5
from .shim import WRITING, Record, Switches

pytestmark = pytest.mark.timeout(300)

FILES, FOLDERS, CHANGED = 3000, 60, 30
"""A hundredth part of what is promised for 100,000 files changes here too; enough files for worker processes."""

PROBE = len("kist link probe")
"""The content of the file with which a link type is tried; it is removed at once."""


def name_of(number: int) -> str:
    return f"data/{number % FOLDERS:03}/{number:06}.bin"


def content_of(number: int, version: int) -> bytes:
    return b"%d of version %d\n" % (number, version) * (20 + number % 60)


def changed() -> dict[str, int]:
    """Returns path -> number of the files in which the two versions differ."""
    return {name_of(number): number for number in range(0, FILES, FILES // CHANGED)}


def first_version(arena: Arena, link: str) -> dict[str, bytes]:
    """Stores version 1 and returns its metafile; version 2 lies there then, not stored."""
    worlds.empty(arena, link)
    for number in range(FILES):
        arena.write(name_of(number), content_of(number, 1))
    arena.must("add", "-q", "data")
    first = metafile(arena)
    for path, number in changed().items():
        arena.write(path, content_of(number, 2))
    return first


def metafile(arena: Arena) -> dict[str, bytes]:
    with open(arena.path("data.dvc"), "rb") as stream:
        return {"data": stream.read()}


def stored(arena: Arena) -> dict[str, tuple[int, int]]:
    """Returns path below the cache -> (inode, size)."""
    found = {}
    for folder, _, names in os.walk(os.path.join(arena.work, CACHE)):
        for name in names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            found[os.path.relpath(path, os.path.join(arena.work, CACHE))] = (info.st_ino, info.st_size)
    return found


def written(arena: Arena, log: list[Record], matters: Callable[[str], bool]) -> int:
    """Returns how many bytes were written to paths that matter, temporary ones included."""
    return sum(
        record.result
        for record in log
        if record.phase == "E"
        and record.name in WRITING
        and matters(os.path.relpath(record.path, arena.work))
    )


def replaced(arena: Arena, log: list[Record]) -> int:
    """Returns how many files of the tracked folder were replaced."""
    return sum(
        record.phase == "E" and record.name == "rename" and record.other.startswith(arena.path("data/"))
        for record in log
    )


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_the_cache_grows_by_the_changed_files_and_one_manifest(arena: Arena, link: str) -> None:
    first_version(arena, link)
    before = stored(arena)
    assert len(before) == FILES + 1
    assert arena.kist("add", "data", switches=Switches(log=True)).status == 0
    after = stored(arena)
    assert {path: after[path] for path in before} == before, "what was there is not touched"
    new = {path.replace("files/md5/", "").replace("/", "") for path in after.keys() - before.keys()}
    contents = [content_of(number, 2) for number in changed().values()]
    (manifest,) = new - {md5(content) for content in contents}
    assert manifest.endswith(".dir")
    assert len(new) == CHANGED + 1
    size = after[f"files/md5/{manifest[:2]}/{manifest[2:]}"][1]
    copied = sum(map(len, contents)) if link == "copy" else 0  # a linked file is its object
    in_cache = written(arena, arena.shim.log(), lambda rel: rel.startswith(CACHE))
    assert in_cache == size + copied + (0 if link == "copy" else PROBE)
    elsewhere = written(arena, arena.shim.log(), lambda rel: is_lasting(rel) and not rel.startswith(CACHE))
    assert elsewhere == len(metafile(arena)["data"])


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_ten_switches_back_and_forth_copy_nothing(arena: Arena, link: str) -> None:
    first = first_version(arena, link)
    arena.must("add", "-q", "data")
    second = metafile(arena)
    before = stored(arena)
    for turn in range(10):
        version = 1 if turn % 2 == 0 else 2
        worlds.name_version(arena, first if version == 1 else second)
        assert arena.kist("checkout", switches=Switches(log=True)).status == 0
        log = arena.shim.log()
        assert written(arena, log, is_lasting) == PROBE, "not one byte of data"
        assert replaced(arena, log) == CHANGED, "what did not change is not made anew"
        assert stored(arena) == before
        for path, number in changed().items():
            content = content_of(number, version)
            oid = md5(content)
            with open(arena.path(path), "rb") as stream:
                assert stream.read() == content
            assert os.path.samefile(arena.path(path), arena.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    assert arena.must("status").out.strip() == "Data and pipelines are up to date."


def test_with_copies_a_switch_writes_the_changed_files_alone(arena: Arena) -> None:
    first = first_version(arena, "copy")
    arena.must("add", "-q", "data")
    second = metafile(arena)
    before = stored(arena)
    for version, target in ((1, first), (2, second)):
        worlds.name_version(arena, target)
        assert arena.kist("checkout", switches=Switches(log=True)).status == 0
        log = arena.shim.log()
        wanted = sum(len(content_of(number, version)) for number in changed().values())
        assert written(arena, log, is_lasting) == wanted
        assert replaced(arena, log) == CHANGED
        assert stored(arena) == before

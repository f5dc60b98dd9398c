"""Data that changes while or right after it is stored, and clocks that are wrong (F47-F52)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from . import worlds
from .harness import KIST, TIMEOUT_S, Arena, remove_tree, result_of
from .invariants import CACHE, REMOTE, false_objects, md5, objects, unbacked_metafiles
from .shim import Switches

pytestmark = pytest.mark.timeout(240)

SOURCE = "data/b.bin"
UP_TO_DATE = "Data and pipelines are up to date."


def append(path: str) -> None:
    with open(path, "ab") as stream:
        stream.write(b"more")


def rewrite(path: str) -> None:
    with open(path, "r+b") as stream:
        stream.write(b"REWRITTEN")


def truncate(path: str) -> None:
    os.truncate(path, 10)


def replace(path: str) -> None:
    with open(path + ".new", "wb") as stream:
        stream.write(b"something else")
    os.rename(path + ".new", path)


def remove(path: str) -> None:
    os.unlink(path)


CHANGES: list[Callable[[str], None]] = [append, rewrite, truncate, replace, remove]


def same_size_same_time(path: str) -> None:
    """Changes one byte and puts the modification time back: only the change time tells."""
    info = os.stat(path)
    with open(path, "r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def is_object(path: str) -> bool:
    return re.fullmatch(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}", path) is not None


def is_clean(arena: Arena) -> bool:
    return arena.must("status").out.strip() == UP_TO_DATE


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_a_file_that_changes_while_it_is_added_never_makes_a_false_object(
    arena: Arena, change: Callable[[str], None], link: str
) -> None:
    """Stops the add before each of its calls, changes the file, lets it go on.

    A hard-linked object shares its bytes with the file. Who writes through it after the add has looked at it for the
    last time damages both; that look comes after the last object was made read-only.
    """
    worlds.untracked(arena, link)
    arena.save()
    argv = (*KIST, "add", "data")
    assert arena.run(argv, switches=Switches(log=True)).status == 0
    log = [record for record in arena.shim.log() if record.phase == "B"]
    last = len(log)
    if link == "hardlink" and change not in (replace, remove):
        last = max(record.call for record in log if record.name == "chmod" and is_object(record.path))
    problems = []
    for call in range(1, last + 1, 2):
        arena.restore()
        running = arena.stop(argv, call)
        if running is None:
            continue
        change(arena.path(SOURCE))
        running.go_on()
        result = result_of(running.finish(TIMEOUT_S))
        state = arena.snapshot()
        found = false_objects(state)
        if result.crashed():
            found.append(result.err)
        if result.status == 0:
            found += unbacked_metafiles(state)
        else:
            if "b.bin" not in result.err:
                found.append(f"the file is not named: {result.err}")
            if "repo/data.dvc" in state:
                found.append("it failed, and yet wrote data.dvc")
        problems += [f"before call {call}: {line}" for line in found]
    assert not problems, "\n".join(problems[:20])


def test_a_folder_that_became_a_file_and_a_file_that_became_a_folder_are_seen_and_restored(
    arena: Arena,
) -> None:
    worlds.added(arena)
    remove_tree(arena.path("data/sub"))
    arena.write("data/sub", b"now a file")
    os.unlink(arena.path("data/a.txt"))
    arena.write("data/a.txt/inside", b"now a folder")
    assert not is_clean(arena)
    refused = arena.kist("checkout")
    assert refused.status != 0
    assert read(arena.path("data/sub")) == b"now a file"
    assert arena.kist("checkout", "--force").status == 0
    assert all(read(arena.path(rel)) == content for rel, content in worlds.V1.items())
    assert is_clean(arena)


def test_outputs_that_changed_kind_are_seen_and_restored(arena: Arena) -> None:
    worlds.added(arena)
    remove_tree(arena.path("data"))
    arena.write("data", b"now a file")
    os.unlink(arena.path("model.bin"))
    arena.write("model.bin/inside", b"now a folder")
    assert not is_clean(arena)
    assert arena.kist("checkout", "--force").status == 0
    assert all(read(arena.path(rel)) == content for rel, content in worlds.V1.items())


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_an_edit_through_a_link_is_seen_and_not_pushed_and_pull_restores(arena: Arena, link: str) -> None:
    worlds.added(arena, link)
    arena.must("push", "-q")
    os.chmod(os.path.realpath(arena.path("model.bin")), 0o644)
    append(arena.path("model.bin"))
    assert not is_clean(arena)
    remove_tree(arena.remote)
    os.mkdir(arena.remote)
    assert arena.kist("push").status != 0
    assert false_objects({rel: e for rel, e in arena.snapshot().items() if rel.startswith(REMOTE)}) == []
    assert md5(worlds.V1["model.bin"]) not in objects(arena.snapshot(), REMOTE)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_pull_restores_what_was_edited_through_a_link(arena: Arena, link: str) -> None:
    worlds.added(arena, link)
    arena.must("push", "-q")
    os.chmod(os.path.realpath(arena.path("model.bin")), 0o644)
    append(arena.path("model.bin"))
    assert arena.kist("pull", "--force").status == 0
    assert read(arena.path("model.bin")) == worlds.V1["model.bin"]
    assert false_objects(arena.snapshot()) == []
    assert is_clean(arena)


@pytest.mark.parametrize("rel", ["model.bin", "data/a.txt", "data/sub/d.txt"])
def test_an_edit_that_keeps_size_and_time_is_seen(arena: Arena, rel: str) -> None:
    worlds.added(arena)
    assert is_clean(arena)
    same_size_same_time(arena.path(rel))
    assert not is_clean(arena)
    assert arena.kist("add", "data", "model.bin").status == 0
    assert md5(read(arena.path(rel))) in objects(arena.snapshot(), CACHE)


def test_an_edit_right_after_the_add_is_seen(arena: Arena) -> None:
    """The racy case: same size, and the same tick of the file system's clock if the machine is quick enough."""
    worlds.empty(arena)
    for number in range(12):
        arena.write("model.bin", b"%04d" % number)
        arena.must("add", "-q", "model.bin")
        with open(arena.path("model.bin"), "r+b") as stream:
            stream.write(b"edit")
        assert not is_clean(arena), number


def test_an_edit_right_before_the_add_is_what_is_stored(arena: Arena) -> None:
    worlds.empty(arena)
    for number in range(12):
        content = b"%04d" % number
        with open(arena.path("model.bin"), "wb") as stream:
            stream.write(content)
        arena.must("add", "-q", "model.bin")
        assert md5(content).encode() in read(arena.path("model.bin.dvc"))


YEAR_S = 31_556_952
TIMES = {"1970": 0, "1901": -68 * YEAR_S, "2100": 130 * YEAR_S, "2446": 476 * YEAR_S - 10 * 86_400}


@pytest.mark.parametrize("year", TIMES)
def test_odd_modification_times_change_nothing(arena: Arena, year: str) -> None:
    worlds.untracked(arena)
    for rel in worlds.V1:
        os.utime(arena.path(rel), ns=(TIMES[year] * 10**9, TIMES[year] * 10**9 + 1))
    arena.must("add", "-q", *worlds.TARGETS)
    assert is_clean(arena)
    same_size_same_time(arena.path("data/a.txt"))
    assert not is_clean(arena)
    assert arena.kist("checkout", "--force").status == 0
    assert all(read(arena.path(rel)) == content for rel, content in worlds.V1.items())
    assert is_clean(arena)


@pytest.mark.parametrize("days", [-400, 400, -40_000])
def test_a_clock_that_jumps_changes_nothing(arena: Arena, days: int) -> None:
    worlds.untracked(arena)
    wrong = Switches(clock_s=days * 86_400)
    assert arena.kist("add", *worlds.TARGETS, switches=wrong).status == 0
    assert is_clean(arena)
    arena.write("data/a.txt", b"A, first version\n")
    assert "data" in arena.kist("status", switches=wrong).out
    assert arena.kist("add", "data").status == 0
    assert arena.kist("push", switches=wrong).status == 0
    for command in ("status", "checkout"):
        assert arena.kist(command, switches=wrong).status == 0
    assert re.search(UP_TO_DATE, arena.kist("status", switches=wrong).out)
    assert false_objects(arena.snapshot()) == []
    same_size_same_time(arena.path("data/a.txt"))
    assert not re.search(UP_TO_DATE, arena.kist("status", switches=wrong).out)

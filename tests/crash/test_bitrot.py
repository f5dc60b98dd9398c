"""Bytes that rot in the cache, the remote, the metafiles and the private state (F14-F21)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable

import pytest

from . import worlds
from .harness import Arena, Result, remove_tree
from .invariants import CACHE, REMOTE, false_objects, md5, objects

pytestmark = pytest.mark.timeout(120)

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flip": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"x",
}
VICTIM = "data/a.txt"
OID = md5(worlds.V2[VICTIM])
LINKS = ("copy", "hardlink", "symlink")


def object_path(store: str, oid: str) -> str:
    return os.path.join(store, "files/md5", oid[:2], oid[2:])


def cache(arena: Arena) -> str:
    return arena.path(".dvc/cache")


def rot(path: str, damage: Callable[[bytes], bytes]) -> None:
    """Changes a file's bytes as a failing disk does: mode and modification time stay."""
    info = os.stat(path)
    with open(path, "rb") as stream:
        data = stream.read()
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.write(damage(data))
        stream.truncate()
    os.chmod(path, info.st_mode & 0o7777)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def forget(arena: Arena) -> None:
    """Loses the private state."""
    remove_tree(arena.home)
    os.mkdir(arena.home)
    remove_tree(arena.path(".dvc/tmp"))


def named(result: Result, rel: str, oid: str) -> bool:
    """Says whether a refusal tells which file or object it is about, without a traceback."""
    text = result.err + result.out
    return result.status != 0 and not result.crashed() and (rel in text or oid in text)


def delivered(arena: Arena, version: dict[str, bytes]) -> list[str]:
    """Returns the files of the workspace that are there and are not what they should be."""
    return [
        rel
        for rel, content in version.items()
        if os.path.exists(arena.path(rel)) and read(arena.path(rel)) != content
    ]


# ---- the cache (F14, F18) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("state", ["remembered", "forgotten"])
def test_a_rotten_object_is_never_checked_out_nor_pushed_and_adding_heals_it(
    arena: Arena, kind: str, link: str, state: str
) -> None:
    worlds.unlinked(arena, link)
    rot(object_path(cache(arena), OID), DAMAGE[kind])
    if state == "forgotten":
        forget(arena)
    assert named(arena.kist("checkout"), VICTIM, OID)
    assert delivered(arena, worlds.V2) == []
    for rel in ("model.bin", "data/sub/e.txt"):
        assert os.path.exists(arena.path(rel)), "the others are there"
    pushed = arena.kist("push")
    assert pushed.status != 0
    assert OID not in objects(arena.snapshot(), REMOTE)
    arena.write(VICTIM, worlds.V2[VICTIM])
    assert arena.kist("add", "data").status == 0
    assert false_objects(arena.snapshot()) == []
    assert OID in objects(arena.snapshot(), CACHE)
    assert arena.kist("push").status == 0
    assert OID in objects(arena.snapshot(), REMOTE)


@pytest.mark.parametrize("link", LINKS)
def test_the_object_of_empty_files_is_healed_by_adding_though_none_of_them_is_a_link(
    arena: Arena, link: str
) -> None:
    worlds.empty(arena, link)
    arena.write("data/empty", b"")
    arena.write("data/full", b"full")
    arena.must("add", "-q", "data")
    arena.must("add", "-q", "data")
    rot(object_path(cache(arena), md5(b"")), DAMAGE["longer"])
    assert arena.kist("add", "data").status == 0
    assert false_objects(arena.snapshot()) == []
    assert arena.kist("push").status == 0


def test_what_was_written_through_a_link_is_moved_aside_when_another_file_heals_the_object(
    arena: Arena,
) -> None:
    worlds.empty(arena, "symlink")
    arena.write("data/z", b"content")
    arena.must("add", "-q", "data")
    rot(object_path(cache(arena), md5(b"content")), DAMAGE["flip"])
    written = read(arena.path("data/z"))
    arena.write("data/a", b"content")
    assert arena.kist("add", "data").status == 0
    assert false_objects(arena.snapshot()) == []
    kept = {entry.content for entry in arena.snapshot().values() if entry.kind == "file"}
    assert {b"content", written} <= kept


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("link", LINKS)
def test_pull_heals_a_rotten_object_of_the_cache(arena: Arena, kind: str, link: str) -> None:
    worlds.two_versions(arena, link)
    arena.must("push", "-q")
    worlds.drop_workspace(arena)
    rot(object_path(cache(arena), OID), DAMAGE[kind])
    assert arena.kist("pull").status == 0
    assert false_objects(arena.snapshot()) == []
    assert all(read(arena.path(rel)) == content for rel, content in worlds.V2.items())


@pytest.mark.parametrize("link", LINKS)
def test_pull_heals_a_cache_that_is_rotten_through_and_through(arena: Arena, link: str) -> None:
    """The manifest first, and the files that only it names, in one run."""
    worlds.two_versions(arena, link)
    arena.must("push", "-q")
    worlds.drop_workspace(arena)
    for oid in objects(arena.snapshot(), CACHE):
        rot(object_path(cache(arena), oid), DAMAGE["flip"])
    assert arena.kist("pull").status == 0
    sound = objects(arena.snapshot(), CACHE)
    assert all(sound[md5(content)] == content for content in worlds.V2.values())
    assert all(read(arena.path(rel)) == content for rel, content in worlds.V2.items())


@pytest.mark.parametrize("link", LINKS)
def test_status_sees_data_that_rotted_in_place(arena: Arena, link: str) -> None:
    worlds.added(arena, link)
    rot(arena.path(VICTIM), DAMAGE["flip"])
    assert "data" in arena.must("status").out


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_rotten_manifest_in_the_cache_is_not_believed(arena: Arena, kind: str) -> None:
    worlds.unlinked(arena)
    (manifest,) = [oid for oid in objects(arena.snapshot(), CACHE) if oid in read(arena.path("data.dvc")).decode()
                   and oid.endswith(".dir")]  # fmt: skip
    rot(object_path(cache(arena), manifest), DAMAGE[kind])
    for command in ("checkout", "push"):
        assert named(arena.kist(command), "data", manifest)
    assert os.path.exists(arena.path("model.bin"))
    assert not os.path.exists(object_path(arena.remote, manifest))


def test_a_missing_object_is_named_and_the_others_are_checked_out(arena: Arena) -> None:
    worlds.unlinked(arena)
    os.unlink(object_path(cache(arena), OID))
    assert named(arena.kist("checkout"), VICTIM, OID)
    present = {rel for rel in worlds.V2 if os.path.exists(arena.path(rel))}
    assert present == worlds.V2.keys() - {VICTIM}


# ---- the remote (F15-F18) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_rotten_object_of_the_remote_is_refused_and_its_owner_heals_it(arena: Arena, kind: str) -> None:
    worlds.two_versions(arena)
    arena.must("push", "-q")
    colleague = os.path.join(arena.work, "colleague")
    shutil.copytree(arena.repo, colleague, ignore=shutil.ignore_patterns("cache", "tmp", "data", "model.bin"))
    rot(object_path(arena.remote, OID), DAMAGE[kind])
    result = arena.kist("pull", cwd=colleague)
    assert named(result, VICTIM, OID)
    state = arena.snapshot()
    assert false_objects({rel: e for rel, e in state.items() if not rel.startswith(REMOTE)}) == []
    assert "colleague/" + VICTIM not in state
    assert state["colleague/model.bin"].content == worlds.V2["model.bin"]
    assert arena.kist("push").status == 0
    assert false_objects(arena.snapshot()) == []
    assert arena.kist("pull", cwd=colleague).status == 0
    assert read(os.path.join(colleague, VICTIM)) == worlds.V2[VICTIM]


def test_two_objects_that_changed_places_are_refused(arena: Arena) -> None:
    worlds.clone(arena)
    one, two = (object_path(arena.remote, md5(worlds.V2[rel])) for rel in (VICTIM, "model.bin"))
    os.rename(one, one + ".aside")
    os.rename(two, one)
    os.rename(one + ".aside", two)
    assert named(arena.kist("pull"), VICTIM, OID)
    assert objects(arena.snapshot(), CACHE).keys().isdisjoint({OID, md5(worlds.V2["model.bin"])})
    assert delivered(arena, worlds.V2) == []


OTHER = json.dumps([{"md5": md5(b"other"), "relpath": "other.txt"}]).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b'[{"md5": "', b"\0\xff garbage", b"{}", b"null", OTHER],
    ids=["empty", "half", "bin", "map", "null", "other"],
)
def test_a_manifest_with_other_bytes_is_refused_by_its_hash(arena: Arena, content: bytes) -> None:
    worlds.clone(arena)
    (manifest,) = [
        oid for oid in objects(arena.snapshot(), REMOTE) if oid in read(arena.path("data.dvc")).decode()
        and oid.endswith(".dir")
    ]  # fmt: skip
    rot(object_path(arena.remote, manifest), lambda _: content)
    assert named(arena.kist("pull"), "data", manifest)
    assert not os.path.exists(arena.path("data/other.txt"))
    assert manifest not in objects(arena.snapshot(), CACHE)
    assert os.path.exists(arena.path("model.bin"))


def test_an_object_missing_from_the_remote_is_named_and_the_next_push_restores_it(arena: Arena) -> None:
    worlds.two_versions(arena)
    arena.must("push", "-q")
    os.unlink(object_path(arena.remote, OID))
    assert arena.kist("push").status == 0
    assert OID in objects(arena.snapshot(), REMOTE)
    os.unlink(object_path(arena.remote, OID))
    worlds.drop_workspace(arena)
    worlds.drop_cache(arena)
    assert named(arena.kist("pull"), VICTIM, OID)
    present = {rel for rel in worlds.V2 if os.path.exists(arena.path(rel))}
    assert present == worlds.V2.keys() - {VICTIM}


# ---- metafiles, state, configuration (F19-F21) -------------------------------------------------------------------


GOOD = b"outs:\n- md5: %s\n  size: 5\n  hash: md5\n  path: model.bin\n" % md5(b"x").encode()
METAFILES = {
    "empty": b"",
    "half": GOOD[: len(GOOD) // 2] + b"\n   -",
    "binary": b"\0\1\2\xff\xfe" * 20,
    "conflict": b"<<<<<<< HEAD\n" + GOOD + b"=======\n" + GOOD + b">>>>>>> other\n",
    "list": b"- a\n- b\n",
    "text": b"just words\n",
    "outs is text": b"outs: model.bin\n",
    "md5 is a list": b"outs:\n- md5: [1, 2]\n  path: model.bin\n",
    "path is missing": b"outs:\n- md5: d3b07384d113edec49eaa6238ad5ff00\n",
    "md5 is missing": b"outs:\n- path: model.bin\n",
}


@pytest.mark.parametrize("kind", METAFILES)
def test_a_damaged_metafile_is_reported_and_the_workspace_stays(arena: Arena, kind: str) -> None:
    worlds.two_versions(arena)
    arena.write("model.bin.dvc", METAFILES[kind])
    for command in (("status",), ("checkout",), ("push",), ("pull",)):
        result = arena.kist(*command)
        assert not result.crashed()
        if kind == "md5 is missing":  # as DVC has it, data that was not stored yet: nothing to push
            assert result.status == 0 if command[0] in ("status", "push") else result.status != 0, command
            assert "model.bin" in result.out + result.err or command == ("push",)
        else:
            assert result.status != 0, command
            assert "model.bin.dvc" in result.err, command
        assert read(arena.path("model.bin")) == worlds.V2["model.bin"], command
        assert read(arena.path(VICTIM)) == worlds.V2[VICTIM], command


@pytest.mark.parametrize(
    "content", [b"", b"garbage\n" * 50, bytes(range(256)) * 40], ids=["empty", "text", "binary"]
)
def test_garbage_in_the_private_state_heals_itself(arena: Arena, content: bytes) -> None:
    worlds.edited(arena)
    arena.must("status")
    spoiled = 0
    for top in (arena.home, arena.path(".dvc/tmp")):
        for folder, _, names in os.walk(top):
            for name in names:
                arena.write(os.path.join(folder, name), content)
                spoiled += 1
    assert spoiled > 0
    assert "data" in arena.must("status").out
    for command in (("add", "data", "model.bin"), ("push",), ("checkout",), ("status", "-c")):
        assert arena.kist(*command).status == 0, command
    stored = objects(arena.snapshot(), REMOTE)
    assert {md5(text) for text in worlds.V2.values()} <= stored.keys()
    assert arena.must("status").out.strip() == "Data and pipelines are up to date."


def test_a_folder_where_the_private_state_should_be_is_no_obstacle(arena: Arena) -> None:
    worlds.edited(arena)
    spoiled = 0
    for folder, _, names in os.walk(arena.path(".dvc/tmp")):
        for name in set(names) - {"lock"}:
            os.unlink(os.path.join(folder, name))
            os.mkdir(os.path.join(folder, name))
            spoiled += 1
    assert spoiled > 0
    for command in (("status",), ("add", "data"), ("push",)):
        assert arena.kist(*command).status == 0, command


@pytest.mark.parametrize(
    "content", [b"[core\n    remote = x\n", b"garbage\n", b"\0\xff\xfe\n"], ids=["open", "words", "binary"]
)
@pytest.mark.parametrize("name", ["config", "config.local"])
def test_a_damaged_configuration_is_one_line_with_file_and_line(
    arena: Arena, content: bytes, name: str
) -> None:
    worlds.added(arena)
    arena.write(".dvc/" + name, content)
    for command in ("status", "push", "checkout"):
        result = arena.kist(command)
        assert result.status == 251, result
        assert f".dvc/{name}', line 1: " in result.err
        assert len([line for line in result.err.splitlines() if not line.startswith("hint")]) == 1

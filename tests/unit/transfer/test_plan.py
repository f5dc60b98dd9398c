"""Pushing and fetching: a manifest is there only when its files are, and damage heals on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import assert_sound, contents, make_poor, md5, put, write

from kist.base.progress import SilentProgress
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.records import MD5, Digest
from kist.remotes.local import FolderRemote
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.transfer.plan import Need, Outcome, fetch, push

FILES = {"a": b"one", "sub/b": b"two", "sub/c": b"three"}


class World:
    """A cache with a directory and a file, and an empty remote."""

    def __init__(self, root: Path) -> None:
        self.cache = LooseStore(str(root / "cache"))
        self.remote = FolderRemote("share", "r", str(root / "remote"), index=StatIndex(str(root / "index")))
        self.there = self.remote.store(MD5)
        tree = tree_of({path: put(self.cache, data) for path, data in FILES.items()})
        self.manifest = put(self.cache, render_manifest(tree), suffix=".dir")
        self.other = put(self.cache, b"another output")

    def push(self, *oids: str, inner: str = "") -> Outcome:
        """Pushes outputs."""
        needs = [Need("data", Digest(MD5, oid), inner) for oid in oids]
        return push(needs, self.cache, self.remote, workers=1, progress=SilentProgress())

    def fetch(self, *oids: str, inner: str = "") -> Outcome:
        """Fetches outputs."""
        needs = [Need("data", Digest(MD5, oid), inner) for oid in oids]
        return fetch(needs, self.cache, self.remote, workers=1, progress=SilentProgress())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Returns a fresh world."""
    return World(tmp_path)


@pytest.mark.parametrize("is_poor", [False, True], ids=["able", "poor"])
def test_a_push_sends_files_before_the_manifest_and_a_second_sends_nothing(
    world: World, is_poor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    done = world.push(world.manifest, world.other)
    assert done.failed == [] and done.moved[-1] == world.manifest
    assert contents(world.there) == contents(world.cache)
    assert world.push(world.manifest, world.other).moved == []


def test_a_part_of_a_directory_does_not_publish_the_manifest_until_the_rest_is_there(world: World) -> None:
    done = world.push(world.manifest, inner="sub")
    assert world.there.oids() == {md5(b"two"), md5(b"three")} and done.failed == []
    world.push(world.manifest, inner="a")
    assert world.there.oids() == {md5(data) for data in FILES.values()} | {world.manifest}


@pytest.mark.parametrize("why", ["missing", "corrupt"])
def test_a_directory_with_a_bad_file_sends_the_rest_and_no_manifest(world: World, why: str) -> None:
    path = world.cache.path(md5(b"two"))
    if why == "missing":
        os.unlink(path)
    else:
        write(path, b"TWO")
    done = world.push(world.manifest)
    assert done.failed == [("data", md5(b"two"), why)]
    assert world.there.oids() == {md5(b"one"), md5(b"three")}
    assert_sound(world.there)
    put(world.cache, b"two")
    assert world.push(world.manifest).failed == []
    assert world.there.has(world.manifest)


@pytest.mark.parametrize("damage", [b"TWO", b"", b"much longer"])
def test_a_damaged_remote_object_heals_with_the_next_push(world: World, damage: bytes) -> None:
    world.push(world.manifest)
    write(world.there.path(md5(b"two")), damage)
    assert world.push(world.manifest).moved == [md5(b"two")]
    assert contents(world.there)[md5(b"two")] == b"two"


def test_a_damaged_remote_object_heals_with_the_push_after_one_of_something_else(world: World) -> None:
    world.push(world.manifest)
    write(world.there.path(md5(b"two")), b"TWO")
    world.push(world.other)
    world.push(world.manifest)
    assert contents(world.there)[md5(b"two")] == b"two"
    assert_sound(world.there)


def test_an_object_that_left_the_remote_is_sent_again(world: World) -> None:
    world.push(world.manifest)
    os.unlink(world.there.path(md5(b"two")))
    assert world.push(world.manifest).moved == [md5(b"two")]


@pytest.mark.parametrize("inner", ["", "sub"])
def test_a_fetch_brings_the_manifest_and_what_is_asked_of_it(
    world: World, inner: str, tmp_path: Path
) -> None:
    world.push(world.manifest)
    world.cache = LooseStore(str(tmp_path / "fresh"))
    done = world.fetch(world.manifest, inner=inner)
    names = [path for path in FILES if path.startswith(inner)]
    assert done.failed == []
    assert world.cache.oids() == {world.manifest} | {md5(FILES[name]) for name in names}
    assert_sound(world.cache)


def test_a_fetch_never_takes_damaged_bytes_and_names_what_lacks(world: World, tmp_path: Path) -> None:
    world.push(world.manifest, world.other)
    write(world.there.path(md5(b"two")), b"TWO")
    os.unlink(world.there.path(md5(b"three")))
    world.cache = LooseStore(str(tmp_path / "fresh"))
    done = world.fetch(world.manifest, world.other)
    assert sorted(done.failed) == sorted(
        [("data", md5(b"two"), "corrupt"), ("data", md5(b"three"), "missing")]
    )
    assert world.cache.oids() == {world.manifest, world.other, md5(b"one")}
    assert_sound(world.cache)


def test_a_damaged_manifest_of_the_cache_is_fetched_anew(world: World) -> None:
    world.push(world.manifest)
    write(world.cache.path(world.manifest), b"[]")
    assert world.fetch(world.manifest).moved == [world.manifest]
    assert_sound(world.cache)


def test_a_new_version_asks_only_for_what_the_last_one_does_not_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.push(world.manifest)
    changed = tree_of(
        {path: put(world.cache, data) for path, data in {**FILES, "a": b"1", "d": b"4"}.items()}
    )
    manifest = put(world.cache, render_manifest(changed), suffix=".dir")
    asked: set[str] = set()
    ask = FolderRemote.missing

    def missing(self: FolderRemote, oids: set[str], algorithm: str) -> set[str]:
        asked.update(oids)
        return ask(self, oids, algorithm)

    monkeypatch.setattr(FolderRemote, "missing", missing)
    done = world.push(manifest)
    assert set(done.moved) == asked == {manifest, md5(b"1"), md5(b"4")}
    assert world.push(manifest).moved == []


def test_an_object_of_the_last_version_that_left_the_remote_is_sent_with_the_new_one(world: World) -> None:
    world.push(world.manifest)
    os.unlink(world.there.path(md5(b"two")))
    changed = tree_of({path: put(world.cache, data) for path, data in {**FILES, "a": b"1"}.items()})
    manifest = put(world.cache, render_manifest(changed), suffix=".dir")
    assert set(world.push(manifest).moved) == {manifest, md5(b"1"), md5(b"two")}

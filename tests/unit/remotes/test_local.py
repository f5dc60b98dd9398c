"""A folder as a remote: damage that shows cheaply is found, by shares, and stays known until it is healed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import assert_sound, contents, make_poor, put, write

from kist.base.progress import SilentProgress
from kist.formats.records import MD5
from kist.remotes import local
from kist.remotes.local import FolderRemote, RemoteFolderMissingError, RemoteNotFolderError
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex


class World:
    """A cache, a remote, and the index that remembers the remote."""

    def __init__(self, root: Path) -> None:
        self.cache = LooseStore(str(root / "cache"))
        self.index = StatIndex(str(root / "index"))
        self.remote = FolderRemote("share", "../remote", str(root / "remote"), index=self.index)
        self.there = self.remote.store(MD5)
        self.oids = {put(self.cache, b"object %d" % number) for number in range(12)}

    def send(self, oids: set[str]) -> None:
        """Sends objects."""
        self.remote.send(oids, self.cache, workers=1, progress=SilentProgress(), phase="Pushing")

    def damaged(self) -> set[str]:
        """Looks for damage; every object's right size is that in the cache."""
        return self.remote.damaged(MD5, size_of=self.size_of, workers=1)

    def size_of(self, oid: str) -> int | None:
        """Returns the right size."""
        record = self.cache.stat(oid)
        return None if record is None else int.from_bytes(record[8:16], "little")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Returns a fresh world."""
    return World(tmp_path)


@pytest.mark.parametrize("is_poor", [False, True], ids=["able", "poor"])
def test_what_is_sent_arrives_and_comes_back(
    world: World, is_poor: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    assert world.remote.missing(world.oids, MD5) == world.oids
    world.send(world.oids)
    assert world.remote.missing(world.oids, MD5) == set()
    assert contents(world.there) == contents(world.cache)
    back = LooseStore(str(tmp_path / "back"))
    world.remote.receive(world.oids, back, workers=1, progress=SilentProgress(), phase="Fetching")
    assert contents(back) == contents(world.cache)
    assert_sound(world.there)


def test_damage_of_the_same_size_is_seen_on_what_was_sent_by_us(world: World) -> None:
    world.send(world.oids)
    assert world.damaged() == set()
    bad = min(world.oids)
    write(world.there.path(bad), b"OBJECT 9"[: world.size_of(bad)])
    assert world.damaged() == {bad}
    assert world.damaged() == {bad}  # and it stays known until it is healed
    world.send({bad})
    assert world.damaged() == set()


def test_a_touched_but_sound_object_is_read_once_and_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.send(world.oids)
    touched = min(world.oids)
    os.utime(world.there.path(touched), (1, 1))
    reads: list[str] = []
    real = LooseStore.is_intact

    def is_intact(store: LooseStore, oid: str) -> bool:
        reads.append(oid)
        return real(store, oid)

    monkeypatch.setattr(LooseStore, "is_intact", is_intact)
    assert world.damaged() == set() and world.damaged() == set()
    assert reads == [touched]


def test_of_what_was_never_seen_the_size_is_compared(world: World) -> None:
    short, unknown = put(world.there, b"object 1"), put(world.there, b"nobody knows my size")
    write(world.there.path(short), b"obj")
    write(world.there.path(unknown), b"x")
    assert world.damaged() == {short}


def test_a_large_remote_is_looked_at_by_shares_until_all_was_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.send(world.oids)
    for oid in world.oids:
        write(world.there.path(oid), b"x")
    monkeypatch.setattr(local, "SHARE", 2)
    found: set[str] = set()
    rounds = 0
    while found != world.oids:
        seen = world.damaged()
        assert len(seen) < len(world.oids)
        found |= seen
        rounds += 1
        assert rounds <= 2 * len(world.oids)
    assert rounds > 1


def test_completeness_is_noted_until_something_goes(world: World) -> None:
    manifest = put(world.cache, b"[]", suffix=".dir")
    world.send(world.oids | {manifest})
    assert not world.remote.is_complete(manifest, MD5)
    world.remote.note_complete(manifest, MD5, "data")
    assert world.remote.is_complete(manifest, MD5)
    os.unlink(world.there.path(min(world.oids)))
    assert not world.remote.is_complete(manifest, MD5)


def test_a_remote_that_is_no_folder_or_not_there_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(RemoteFolderMissingError):
        world.remote.check_readable()
    (tmp_path / "remote").write_bytes(b"")
    with pytest.raises(RemoteNotFolderError):
        world.remote.check_readable()
    with pytest.raises(RemoteNotFolderError):
        world.send(world.oids)

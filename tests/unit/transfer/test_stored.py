"""Objects at a service: hashed on the way, asked for cheaply, large ones in parts that an interruption leaves."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.unit.objects import assert_sound, contents, md5, put

from kist.base.progress import SilentProgress
from kist.formats.records import MD5
from kist.remotes.storage import Abilities, Item, StorageAuthError, StorageFailedError, Upload
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.testing.folder_storage import FolderStorage
from kist.transfer import engine, stored
from kist.transfer.stored import StorageRemote, key_of


class World:
    """A cache, another cache, and a service between them."""

    def __init__(self, root: Path, abilities: Abilities | None = None) -> None:
        self.here = LooseStore(str(root / "here"))
        self.there = LooseStore(str(root / "there"))
        self.storage = FolderStorage(str(root / "service"), abilities)
        self.remote = StorageRemote(self.storage, index=StatIndex(str(root / "index")))

    def send(self, *oids: str) -> stored.CopyOutcome:
        """Sends objects of the first cache."""
        return self.remote.send(set(oids), self.here, workers=1, progress=SilentProgress(), phase="Pushing")

    def receive(self, *oids: str) -> stored.CopyOutcome:
        """Receives objects into the other cache."""
        return self.remote.receive(
            set(oids), self.there, workers=1, progress=SilentProgress(), phase="Fetching"
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Returns a world in which 64 KiB are large, and pauses are short."""
    monkeypatch.setattr(stored, "SMALL_BYTES", 1 << 16)
    monkeypatch.setattr(stored, "_PART_BYTES", 1 << 16)
    monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.001)
    return World(tmp_path)


def large() -> bytes:
    """Returns bytes that travel in seven parts."""
    return random.Random(1).randbytes(6 * (1 << 16) + 100)


def test_objects_travel_there_and_back(world: World) -> None:
    oids = [put(world.here, data) for data in (b"", b"one", b"two", large())]
    sent = world.send(*oids)
    assert sorted(sent.copied) == sorted(oids) and not sent.missing and not sent.corrupt
    assert world.remote.missing(set(oids), MD5) == set()
    got = world.receive(*oids)
    assert sorted(got.copied) == sorted(oids)
    assert contents(world.there) == contents(world.here)
    assert {record[:16].hex() for record in got.records} == set(oids)
    assert_sound(world.there)
    assert [name for name in os.listdir(world.there.base) if name != "files"] == []


def test_a_service_without_parts_or_ranges_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SMALL_BYTES", 1 << 16)
    world = World(tmp_path, Abilities(lists=False, ranges=False))
    oid = put(world.here, large())
    assert world.send(oid).copied == [oid]
    assert world.receive(oid).copied == [oid]
    assert_sound(world.there)


def test_damaged_objects_are_neither_sent_nor_kept(world: World) -> None:
    oids = [put(world.here, data) for data in (b"small", large())]
    for oid in oids:
        path = world.here.path(oid)
        os.chmod(path, 0o644)
        with open(path, "r+b") as stream:
            stream.write(b"X")
    assert sorted(world.send(*oids).corrupt) == sorted(oids)
    assert world.remote.missing(set(oids), MD5) == set(oids)
    assert list(world.storage.list("")) == []
    for oid in oids:
        path = os.path.join(world.storage.path, key_of(oid, MD5))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(world.here.path(oid), path)
    assert sorted(world.receive(*oids).corrupt) == sorted(oids)
    assert contents(world.there) == {}


def test_what_is_not_there_is_named_and_the_rest_arrives(world: World) -> None:
    oid = put(world.here, b"one")
    world.send(oid)
    got = world.receive(oid, md5(b"never sent"))
    assert got.copied == [oid] and got.missing == [md5(b"never sent")]


def test_failures_are_tried_again(world: World) -> None:
    oids = [put(world.here, data) for data in (b"one", large())]
    failures = {"write": 2, "begin": 1, "put_part": 3, "finish": 1, "read": 3, "head": 1}

    def fail(name: str, key: str) -> None:
        if failures.get(name, 0) > 0:
            failures[name] -= 1
            raise StorageFailedError(f"{name} of {key} failed", retry_after_s=0.001)

    world.storage.fault = fail
    assert sorted(world.send(*oids).copied) == sorted(oids)
    assert sorted(world.receive(*oids).copied) == sorted(oids)
    assert set(failures.values()) == {0}


def test_refused_credentials_are_not_tried_again(world: World) -> None:
    oid = put(world.here, b"one")

    def refuse(name: str, key: str) -> None:
        raise StorageAuthError("no")

    world.storage.fault = refuse
    with pytest.raises(StorageAuthError):
        world.send(oid)
    assert world.storage.calls["write"] == 1


def test_an_interrupted_large_push_sends_only_the_rest(world: World) -> None:
    oid = put(world.here, large())

    def break_off(name: str, key: str) -> None:
        if name == "put_part" and world.storage.calls["put_part"] > 4:
            raise KeyboardInterrupt

    world.storage.fault = break_off
    world.remote._jobs = 1
    with pytest.raises(KeyboardInterrupt):
        world.send(oid)
    assert world.remote.missing({oid}, MD5) == {oid}
    world.storage.fault = lambda name, key: None
    world.storage.calls.clear()
    assert world.send(oid).copied == [oid]
    assert world.storage.calls["put_part"] == 3
    assert world.receive(oid).copied == [oid]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_an_interrupted_large_pull_reads_only_the_rest(world: World, is_damaged: bool) -> None:
    oid = put(world.here, large())
    world.send(oid)

    def break_off(name: str, key: str) -> None:
        if name == "read" and world.storage.calls["read"] > 5:
            raise KeyboardInterrupt

    world.storage.fault = break_off
    world.remote._jobs = 1
    with pytest.raises(KeyboardInterrupt):
        world.receive(oid)
    partial = os.path.join(world.there.base, f"kist-part-{oid}")
    if is_damaged:
        with open(partial, "r+b") as stream:
            stream.write(b"X")
    world.storage.fault = lambda name, key: None
    world.storage.calls.clear()
    assert world.receive(oid).copied == [oid]
    assert world.storage.calls["read"] == (9 if is_damaged else 2)
    assert_sound(world.there)
    assert not os.path.exists(partial) and not os.path.exists(partial + ".ranges")


def test_many_questions_become_a_listing_and_few_stay_questions(world: World) -> None:
    oids = {md5(b"%d" % number) for number in range(3000)}
    assert world.remote.missing(oids, MD5) == oids
    assert world.storage.calls["head"] == 0 and world.storage.calls["list"] == 2
    world.storage.calls.clear()
    few = set(sorted(oids)[:3])
    assert world.remote.missing(few, MD5) == few
    assert world.storage.calls == {"head": 3}


def test_an_object_that_went_is_missed_when_its_prefix_has_its_turn(world: World) -> None:
    oids = [put(world.here, b"%d" % number) for number in range(64)]
    world.remote.damaged(MD5, size_of=lambda oid: None, workers=1)
    world.send(*oids)
    gone = min(oids)
    os.unlink(os.path.join(world.storage.path, key_of(gone, MD5)))
    found: set[str] = set()
    for _ in range(16):
        found |= world.remote.damaged(MD5, size_of=lambda oid: None, workers=1)
    assert found == {gone}


def test_what_is_left_of_a_damaged_object_of_another_size_does_no_harm(world: World) -> None:
    oid = put(world.here, large())
    world.send(oid)
    path = os.path.join(world.storage.path, key_of(oid, MD5))
    with open(path, "ab") as stream:
        stream.write(b"more" * 50_000)

    def break_off(name: str, key: str) -> None:
        if name == "read" and world.storage.calls["read"] > 5:
            raise KeyboardInterrupt

    world.storage.fault = break_off
    world.remote._jobs = 1
    with pytest.raises(KeyboardInterrupt):
        world.receive(oid)
    world.storage.fault = lambda name, key: None
    os.truncate(path, len(large()))
    assert world.receive(oid).copied == [oid]
    assert_sound(world.there)


def test_an_object_that_is_gone_when_it_is_to_be_continued_is_missing(world: World) -> None:
    oid = put(world.here, large())
    world.send(oid)
    os.makedirs(world.there.base, exist_ok=True)
    with open(os.path.join(world.there.base, f"kist-part-{oid}"), "wb") as stream:
        stream.write(b"x" * 100)
    os.unlink(os.path.join(world.storage.path, key_of(oid, MD5)))
    assert world.receive(oid).missing == [oid]


def test_a_part_that_was_sent_of_a_damaged_object_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = world.storage.begin

    def with_sums(key: str, size: int, *, before: str | None = None) -> Upload:
        upload = begin(key, size, before=before)
        parts = {}
        for number, (length, name) in upload.parts.items():
            parts[number] = length, f'"{md5(Path(upload.id, name).read_bytes())}"'
        return upload._replace(parts=parts)

    def finish(upload: Upload, tags: dict[int, str]) -> Item:
        return FolderStorage.finish(world.storage, upload, {number: str(number) for number in tags})

    monkeypatch.setattr(world.storage, "begin", with_sums)
    monkeypatch.setattr(world.storage, "finish", finish)
    oid = put(world.here, large())
    key = key_of(oid, MD5)
    before = world.storage.begin(key, len(large()))
    world.storage.put_part(
        before, 0, 0, b"rot" + large()[3 : 1 << 16]
    )  # then it was killed, and the cache healed
    world.storage.put_part(before, 1, 1 << 16, large()[1 << 16 : 2 << 16])
    world.storage.calls.clear()
    assert world.send(oid).copied == [oid]
    assert b"".join(world.storage.read(key)) == large()
    assert world.storage.calls["put_part"] == 6

"""A packed remote: objects travel as chunks in packs, come back right, and stay while they are needed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.unit.objects import contents, md5, put

from kist.base.progress import SilentProgress
from kist.formats import pack
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.pack import Marker
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.storage import StorageFailedError
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.testing.folder_storage import FolderStorage
from kist.transfer import engine, packed_clean, packed_write, plan
from kist.transfer.packed import (
    CannotBePackedError,
    ConversionUnfinishedError,
    PackedRemote,
    check_can_be_packed,
    read_marker,
    write_marker,
)
from kist.transfer.packed_clean import CleanUpBesideError, LivingDamagedError

SILENT = SilentProgress()
MARKER = Marker("0" * 32)


class StoppedClock:
    """Time that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class World:
    """Two projects, each with a cache, and a packed place between them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.here = LooseStore(str(root / "here"))
        self.there = LooseStore(str(root / "there"))
        self.clock = StoppedClock()
        self.storage = FolderStorage(str(root / "service"))
        self.remote = self.client("one")
        self.other = self.client("two")

    def client(self, name: str, marker: Marker = MARKER) -> PackedRemote:
        """Returns the remote as another project, or another command, sees it."""
        return PackedRemote(
            self.storage,
            marker,
            index=StatIndex(str(self.root / name / "index")),
            folder=str(self.root / name / "packed"),
            jobs=1,
            clock=self.clock,
        )

    def send(self, oids: Iterable[str], remote: PackedRemote | None = None) -> CopyOutcome:
        """Sends objects of the first cache."""
        remote = remote or self.remote
        return remote.send(set(oids), self.here, workers=1, progress=SILENT, phase="Pushing")

    def receive(self, oids: Iterable[str], remote: PackedRemote | None = None) -> CopyOutcome:
        """Receives objects into the second cache."""
        remote = remote or self.other
        return remote.receive(set(oids), self.there, workers=1, progress=SILENT, phase="Fetching")

    def clean(
        self, *drop: str, repack: bool = False, remote: PackedRemote | None = None
    ) -> packed_clean.Cleaned:
        """Removes objects."""
        remote = remote or self.client("three")
        return remote.clean({MD5: set(drop)}, repack=repack, progress=SILENT, phase="Cleaning")

    def keys(self, prefix: str) -> list[str]:
        """Returns what stands in the place."""
        return sorted(item.key for item in self.storage.list(prefix))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Returns a world with packs of 300 KB, of which one under 100 KB is small."""
    monkeypatch.setattr(packed_write, "PACK_BYTES", 300_000)
    monkeypatch.setattr(packed_clean, "SMALL_PACK", 100_000)
    monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.001)
    return World(tmp_path)


def noise(seed: int, size: int) -> bytes:
    """Returns bytes that cannot be compressed."""
    return random.Random(seed).randbytes(size)


def test_objects_travel_there_and_back(world: World) -> None:
    data = [b"", b"one", noise(1, 16384), noise(2, 16385), b"text " * 50_000, noise(3, 1_500_000)]
    oids = [put(world.here, item) for item in data]
    assert sorted(world.send(oids).copied) == sorted(oids)
    assert len(world.keys("index/")) == 1 and 5 <= len(world.keys("packs/")) <= 7
    assert world.other.missing({*oids, md5(b"no")}, MD5) == {md5(b"no")}
    got = world.receive([*oids, md5(b"no")])
    assert sorted(got.copied) == sorted(oids) and got.missing == [md5(b"no")] and not got.corrupt
    assert contents(world.there) == contents(world.here)
    modes = {os.stat(world.there.path(oid)).st_mode & 0o777 for oid in oids}
    assert modes == {0o444}
    assert len(got.records) == len(oids)


def test_an_object_over_the_limit_of_memory_travels_and_goes_on_where_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kist.transfer import packed_read

    monkeypatch.setattr(packed_read, "SMALL_BYTES", 100_000)
    monkeypatch.setattr(packed_write, "SMALL_BYTES", 100_000)
    oid = put(world.here, noise(4, 2_000_000))
    world.send([oid])
    os.makedirs(world.there.base)
    with open(os.path.join(world.there.base, f"kist-part-{oid}"), "wb") as stream:
        stream.write(noise(4, 2_000_000)[:1_200_000].ljust(2_000_000, b"\0"))
    read = 0

    def count(name: str, key: str) -> None:
        nonlocal read
        read += name == "read" and key.startswith("packs/")

    world.storage.fault = count
    assert world.receive([oid]).copied == [oid]
    assert read <= 4
    assert contents(world.there) == contents(world.here)
    assert os.listdir(world.there.base) == ["files"]


def test_what_lacks_nothing_writes_nothing(world: World) -> None:
    oids = {put(world.here, noise(5, 1000))}
    world.send(oids)
    world.remote.close()
    world.storage.calls.clear()
    again = world.client("one")
    assert again.missing(oids, MD5) == set()
    again.close()
    assert dict(world.storage.calls) == {"list": 3, "close": 1}


def test_small_files_are_few_objects_and_one_is_read_with_one_range(world: World) -> None:
    oids = [put(world.here, noise(seed, 900)) for seed in range(300)]
    world.send(oids)
    assert len(world.keys("packs/")) == 1
    world.other.missing(set(oids), MD5)
    world.storage.calls.clear()
    world.receive(oids[:1])
    assert world.storage.calls["read"] == 1 and world.storage.calls["list"] == 0


def test_a_change_in_a_large_file_sends_a_few_chunks(world: World) -> None:
    data = noise(6, 3_000_000)
    world.send([put(world.here, data)])
    before = sum(item.size for item in world.storage.list("packs/"))
    world.send([put(world.here, data[:1_500_000] + b"inserted" + data[1_500_000:])], world.other)
    after = sum(item.size for item in world.storage.list("packs/"))
    assert after - before < 400_000


def test_a_damaged_object_of_the_cache_is_not_sent(world: World) -> None:
    good, bad = put(world.here, noise(7, 5000)), put(world.here, noise(8, 5000))
    os.chmod(world.here.path(bad), 0o644)
    with open(world.here.path(bad), "r+b") as stream:
        stream.write(b"rot")
    outcome = world.send([good, bad, md5(b"nowhere")])
    assert (outcome.copied, outcome.corrupt, outcome.missing) == ([good], [bad], [md5(b"nowhere")])
    assert world.other.missing({good, bad}, MD5) == {bad}


@pytest.mark.parametrize("what", ["flip", "cut", "gone"])
def test_a_damaged_pack_hands_out_nothing_wrong(world: World, what: str) -> None:
    oids = [put(world.here, noise(seed, 50_000)) for seed in range(3)]
    world.send(oids)
    [key] = world.keys("packs/")
    path = os.path.join(world.storage.path, key)
    os.chmod(path, 0o644)
    if what == "gone":
        os.unlink(path)
    else:
        with open(path, "r+b") as stream:
            stream.seek(60_000)
            stream.write(b"\0" * 100)
            if what == "cut":
                stream.truncate(60_100)
    if what == "cut":
        with pytest.raises(StorageFailedError):
            world.receive(oids)
        return
    got = world.receive(oids)
    if what == "gone":
        assert sorted(got.missing) == sorted(oids)
        # What is missing is sent again, though an index names it.
        assert world.client("four").missing(set(oids), MD5) == set(oids)
    else:
        assert len(got.corrupt) == 1 and len(got.copied) == 2
        assert set(contents(world.there).values()) <= {noise(seed, 50_000) for seed in range(3)}


def test_a_chunk_that_is_damaged_in_one_pack_is_taken_from_another(world: World) -> None:
    oid = put(world.here, noise(9, 10_000))
    world.send([oid])
    [key] = world.keys("packs/")
    path = os.path.join(world.storage.path, key)
    shutil.move(path, path + ".away")
    world.send([oid], world.other)
    shutil.move(path + ".away", path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.seek(100)
        stream.write(b"\0" * 50)
    assert world.receive([oid], world.client("five")).copied == [oid]


def test_both_kinds_of_digests_live_side_by_side(world: World) -> None:
    old = world.here._replace(algorithm=LEGACY_MD5)
    oid = md5(b"a\nb\n")
    old.make_prefixes([oid[:2]])
    with open(old.path(oid), "wb") as stream:
        stream.write(b"a\r\nb\r\n")
    sent = world.remote.send({oid}, old, workers=1, progress=SILENT, phase="")
    assert sent.copied == [oid]
    assert world.other.missing({oid}, LEGACY_MD5) == set() and world.other.missing({oid}, MD5) == {oid}
    target = world.there._replace(algorithm=LEGACY_MD5)
    assert world.other.receive({oid}, target, workers=1, progress=SILENT, phase="").copied == [oid]
    with open(target.path(oid), "rb") as stream:
        assert stream.read() == b"a\r\nb\r\n"


def test_what_was_sent_and_not_indexed_is_taken_up(world: World) -> None:
    oids = [put(world.here, noise(seed, 200_000)) for seed in range(5)]

    def fail(name: str, key: str) -> None:
        if name == "write" and key.startswith("index/"):
            raise KeyboardInterrupt

    world.storage.fault = fail
    with pytest.raises(KeyboardInterrupt):
        world.send(oids)
    packs = world.keys("packs/")
    assert len(packs) >= 3 and not world.keys("index/")
    world.storage.fault = lambda name, key: None
    again = world.client("one")
    assert sorted(world.send(oids, again).copied) == sorted(oids)
    assert world.keys("packs/") == packs
    assert sorted(world.receive(oids).copied) == sorted(oids)


def test_a_machine_that_slept_does_not_trust_what_it_knew(world: World) -> None:
    oid = put(world.here, noise(10, 5000))
    slept = 0

    def sleep(name: str, key: str) -> None:
        nonlocal slept
        if name == "write" and key.startswith("index/") and not slept:
            slept = 1
            world.clock.time += 7200

    world.storage.fault = sleep
    assert world.send([oid]).copied == [oid]
    assert world.storage.calls["list"] >= 7  # it looked again
    world.remote.close()
    assert world.keys("writers/") == []


# Clean-up


def test_what_nothing_needs_goes_with_its_packs(world: World) -> None:
    keep, drop = put(world.here, noise(11, 200_000)), put(world.here, noise(12, 400_000))
    world.send([keep])
    world.send([drop])
    world.remote.close()
    found = world.other.beyond({keep}, MD5, workers=1)
    assert [(item.oid, item.size_bytes) for item in found.leftovers] == [(drop, 400_000)]
    cleaned = world.clean(drop)
    assert cleaned.packs_removed >= 1
    assert world.keys("gc/") == world.keys("writers/") == []
    assert world.client("six").missing({keep, drop}, MD5) == {drop}
    assert world.receive([keep]).copied == [keep]
    assert not any(md5(b"") in key for key in world.keys(""))


def test_a_chunk_that_another_object_needs_stays(world: World) -> None:
    data = noise(13, 1_000_000)
    one, two = put(world.here, data), put(world.here, data + b"more")
    world.send([one])
    world.send([two])
    world.remote.close()
    world.clean(one)
    assert world.receive([two], world.client("seven")).copied == [two]


def test_repack_rewrites_sparse_packs_and_joins_small_ones(world: World) -> None:
    oids = [put(world.here, noise(seed, 20_000)) for seed in range(60)]
    for at in range(0, 60, 4):
        world.send(oids[at : at + 4])
    world.remote.close()
    assert len(world.keys("packs/")) == len(world.keys("index/")) == 15
    keep = oids[::3]
    world.clean(*(set(oids) - set(keep)))
    before = sum(item.size for item in world.storage.list("packs/"))
    world.clean(repack=True)
    after = sum(item.size for item in world.storage.list("packs/"))
    assert after < 0.5 * before and len(world.keys("packs/")) == 2 and len(world.keys("index/")) == 1
    assert sorted(world.receive(keep, world.client("eight")).copied) == sorted(keep)
    nothing = world.clean(repack=True)
    assert nothing == packed_clean.Cleaned()


def test_two_cleanups_do_not_work_at_once(world: World) -> None:
    oid = put(world.here, noise(14, 1000))
    world.send([oid])
    world.remote.close()
    mark = pack.render_mark(pack.Mark(frozenset(), frozenset()))
    world.storage.write("gc/" + "1" * 32 + ".json", packed_write.Body.of(mark))
    with pytest.raises(CleanUpBesideError, match="another clean-up"):
        world.clean(oid)
    assert world.keys("gc/") == ["gc/" + "1" * 32 + ".json"]
    # One that was not written anew for an hour is dead, and what it named goes as well.
    path = os.path.join(world.storage.path, "gc/" + "1" * 32 + ".json")
    os.utime(path, (1, 1))
    world.clean(oid)
    assert world.keys("gc/") == [] and world.keys("packs/") == []


def test_a_cleanup_waits_for_a_push_and_gives_up_after_a_while(world: World) -> None:
    oid, other = put(world.here, noise(15, 1000)), put(world.here, noise(16, 1000))
    world.send([oid, other])
    with pytest.raises(CleanUpBesideError, match="a push"):
        world.clean(oid)
    assert world.keys("gc/") == []
    world.remote.close()
    world.clean(oid)
    assert world.client("nine").missing({oid, other}, MD5) == {oid}


def test_a_writer_relies_on_nothing_that_a_mark_names(world: World) -> None:
    oid = put(world.here, noise(17, 1000))
    world.send([oid])
    world.remote.close()
    [key] = world.keys("packs/")
    name = pack.pack_of_key(key)
    assert name
    mark = pack.Mark(frozenset({(0, oid)}), frozenset({name}))
    world.storage.write("gc/" + "2" * 32 + ".json", packed_write.Body.of(pack.render_mark(mark)))
    late = world.client("late")
    assert late.missing({oid}, MD5) == {oid}
    assert world.send([oid], late).copied == [oid]
    assert late.missing({oid}, MD5) == set()
    assert len(world.keys("packs/")) == 2


def test_packs_that_a_killed_push_left_go_after_a_day(world: World) -> None:
    packs = [pack.pack_key(f"{number:064x}") for number in range(2)]
    for key in packs:
        world.storage.write(key, packed_write.Body.of(b"x" * 100))
    os.utime(os.path.join(world.storage.path, packs[0]), (1, 1))
    world.clean()
    assert world.keys("packs/") == packs[1:]


def test_a_cleanup_does_not_go_on_over_damage(world: World) -> None:
    one, two = put(world.here, noise(18, 60_000)), put(world.here, noise(19, 60_000))
    world.send([one, two])
    world.remote.close()
    [key] = world.keys("packs/")
    path = os.path.join(world.storage.path, key)
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.write(b"\0" * 130_000)
    before = world.keys("")
    with pytest.raises(LivingDamagedError, match=r"packs/.* is damaged"):
        world.clean(one, repack=True)
    assert world.keys("") == before


def test_a_damaged_index_stops_a_cleanup_and_nothing_else(world: World) -> None:
    one, two = put(world.here, noise(20, 1000)), put(world.here, noise(21, 1000))
    world.send([one])
    world.send([two], world.other)
    world.remote.close()
    world.other.close()
    for key in world.keys("index/"):
        if key not in {pack.index_key(name) for name in world.remote.catalogue.indexes}:
            os.chmod(os.path.join(world.storage.path, key), 0o644)
            with open(os.path.join(world.storage.path, key), "r+b") as stream:
                stream.write(b"rot")
    reader = world.client("ten")
    assert reader.missing({one, two}, MD5) == {two}
    assert world.receive([one], reader).copied == [one]
    with pytest.raises(LivingDamagedError):
        world.clean(one)


# With the plan, and the marker


def test_a_directory_that_was_pushed_is_known_to_be_complete(world: World) -> None:
    members = {f"f{seed}": put(world.here, noise(seed, 500)) for seed in range(20)}
    manifest = render_manifest(tree_of(members))
    oid = put(world.here, manifest, suffix=".dir")
    from kist.formats.records import Digest

    needs = [plan.Need("data", Digest(MD5, oid))]
    done = plan.push(needs, world.here, world.remote, workers=1, progress=SILENT)
    assert len(done.moved) == 21 and not done.failed
    world.remote.close()
    again = world.client("one")
    again._index.close()
    assert plan.push(needs, world.here, again, workers=1, progress=SILENT).moved == []
    got = plan.fetch(needs, world.there, world.other, workers=1, progress=SILENT)
    assert len(got.moved) == 21 and contents(world.there) == contents(world.here)


def test_the_marker_is_found_where_it_was_written(world: World) -> None:
    assert read_marker(world.storage) is None
    write_marker(world.storage, MARKER)
    assert read_marker(world.storage) == MARKER


def test_a_place_that_is_being_converted_is_not_written(world: World) -> None:
    oid = put(world.here, b"x")
    remote = world.client("eleven", MARKER._replace(loose="to"))
    with pytest.raises(ConversionUnfinishedError):
        world.send([oid], remote)
    with pytest.raises(ConversionUnfinishedError):
        world.clean(oid, remote=world.client("twelve", MARKER._replace(loose="from")))


def test_a_service_that_cannot_list_cannot_be_packed(world: World) -> None:
    check_can_be_packed(world.storage)
    world.storage.abilities = world.storage.abilities._replace(lists=False, ranges=False)
    with pytest.raises(CannotBePackedError, match="cannot list, nor read from the middle"):
        check_can_be_packed(world.storage)


def test_an_index_that_lies_about_a_size_fills_no_disk(world: World) -> None:
    data = noise(22, 500)
    world.send([put(world.here, data)])
    [name] = world.remote.catalogue.indexes
    index = world.remote.catalogue.indexes[name]
    place = index.place(0)
    for size in (1 << 50, 100):
        oid = md5(b"%d" % size)
        row = pack.ObjectRow(0, bytes.fromhex(oid), size, [index.chunk(0)])
        raw = pack.render_index(index.packs, {index.chunk(0): place}, [row], nonce=bytes(16))
        key, frame = pack.wrap_index(raw)
        world.storage.write(pack.index_key(key), packed_write.Body.of(frame))
        got = world.receive([oid], world.client(f"liar {size}"))
        assert (got.copied, got.corrupt) == ([], [oid])


def test_what_was_stored_before_a_long_sleep_is_looked_for_again(world: World) -> None:
    """A clean-up may have taken the writer for dead, and removed it."""
    first, second = put(world.here, noise(23, 1000)), put(world.here, noise(24, 1000))
    world.send([first])
    world.clock.time += 7200
    for item in world.storage.list("writers/"):
        os.utime(os.path.join(world.storage.path, item.key), (1, 1))
    world.clean(first)
    assert world.client("thirteen").missing({first}, MD5) == {first}
    assert sorted(world.send([second]).copied) == sorted([first, second])
    assert world.client("fourteen").missing({first, second}, MD5) == set()


def test_an_index_is_split_and_an_object_of_too_many_chunks_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_write, "INDEX_CHUNKS", 20)
    oids = [put(world.here, noise(seed, 700_000)) for seed in range(4)]
    world.send(oids)
    assert 2 <= len(world.keys("index/")) <= 4
    assert sorted(world.receive(oids).copied) == sorted(oids)
    monkeypatch.setattr(pack, "INDEX_LIMIT", 1000)
    large = put(world.here, noise(99, 2_000_000))
    with pytest.raises(packed_write.TooLargeError, match=large):
        world.send([large])

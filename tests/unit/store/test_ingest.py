"""Files become objects: whatever happens, no object holds other bytes than its name says."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.objects import Counted, assert_sound, batches_of, contents, make_poor, md5, put, read, write

from kist.base import digests
from kist.base.listing import STAT_SIZE, UNTRUSTED, pack_stat
from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5
from kist.store import ingest, links
from kist.store.ingest import Stored, hash_batches, store_batches
from kist.store.loose import LooseStore

ALL_LINKS = [links.COPY, links.REFLINK, links.HARDLINK, links.SYMLINK]
FILES = {f"f{number:02}": b"%d" % (number % 8) for number in range(17)} | {"empty": b"", "large": b"x" * 5000}


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small data crosses every boundary, in this process or in two others."""
    monkeypatch.setattr(ingest, "_FORK_FILES", 2)
    monkeypatch.setattr(ingest, "_REQUEST_FILES", 4)
    number: int = request.param
    return number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of small files, some with the same content."""
    for name, data in FILES.items():
        write(tmp_path / "data" / name, data)
    return tmp_path / "data"


@pytest.fixture
def store(tmp_path: Path) -> LooseStore:
    """An empty cache."""
    return LooseStore(str(tmp_path / "cache"))


def ingest_all(folder: Path, store: LooseStore, link: str, workers: int) -> list[Stored]:
    """Stores a folder's files as they look now."""
    return store_batches(batches_of(folder), store, link=link, workers=workers, progress=SilentProgress())


@pytest.mark.parametrize("is_poor", [False, True], ids=["able", "poor"])
@pytest.mark.parametrize("link", ALL_LINKS)
def test_all_files_become_read_only_objects_and_stay_as_they_are(
    folder: Path, store: LooseStore, link: str, workers: int, is_poor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    stored = ingest_all(folder, store, link, workers)
    assert contents(store) == {md5(data): data for data in FILES.values()}
    assert_sound(store)
    names = sorted(FILES)
    assert b"".join(item.digests for item in stored).hex() == "".join(md5(FILES[name]) for name in names)
    assert b"".join(item.stats for item in stored) == b"".join(
        pack_stat(os.stat(folder / name)) for name in names
    )
    assert not any(item.changed for item in stored)
    assert {name: read(folder / name) for name in os.listdir(folder)} == FILES
    for oid in store.oids():
        assert stat.S_IMODE(os.stat(store.path(oid)).st_mode) == 0o444
    is_shared = os.path.samefile(folder / "large", store.path(md5(FILES["large"])))
    assert is_shared == (link in links.PROTECTED)


@pytest.mark.parametrize("is_old", [False, True], ids=["just written", "written long ago"])
@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_file_that_changes_between_hashing_and_publishing_is_told_and_not_stored_wrongly(
    folder: Path,
    store: LooseStore,
    link: str,
    workers: int,
    is_old: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_old:  # then nothing but the change time tells that it was written
        ingest.settle()
        monkeypatch.setattr(ingest, "RACY_NS", -(1 << 60))
    real: Any = ingest._Job._publish

    def publish(job: Any, at: int, column: bytes, emit: Any) -> object:
        batch = job.batches[at]
        if "large" in batch.names.split("\0"):
            look = os.stat(folder / "large")
            with open(folder / "large", "r+b") as stream:
                stream.write(b"edited")
            os.utime(folder / "large", ns=(look.st_atime_ns, look.st_mtime_ns))
        return real(job, at, column, emit)

    monkeypatch.setattr(ingest._Job, "_publish", publish)
    stored = ingest_all(folder, store, link, workers)
    assert [name for item in stored for name in item.changed] == ["large"]
    assert_sound(store)
    assert read(folder / "large") == b"edited" + b"x" * 4994
    assert UNTRUSTED in [
        item.stats[at : at + STAT_SIZE] for item in stored for at in range(0, len(item.stats), STAT_SIZE)
    ]


@pytest.mark.parametrize("link", [links.HARDLINK, links.SYMLINK])
def test_a_file_that_is_replaced_right_before_it_is_linked_is_told_and_not_stored_wrongly(
    folder: Path, store: LooseStore, link: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "RACY_NS", -(1 << 60))
    real = os.link

    def replace_and_link(source: str, target: str, **options: Any) -> None:
        if source == str(folder / "large"):
            write(folder / "large", b"another file")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", replace_and_link)
    stored = ingest_all(folder, store, link, workers)
    assert [name for item in stored for name in item.changed] == ["large"]
    assert_sound(store)


@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_file_that_is_written_after_it_was_published_is_told_though_its_times_say_nothing(
    folder: Path, store: LooseStore, link: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "RACY_NS", -(1 << 60))
    real = ingest.settle

    def settle() -> None:
        real()
        look = os.stat(folder / "large")
        with open(folder / "large", "r+b") as stream:
            stream.write(b"edited")
        os.utime(folder / "large", ns=(look.st_atime_ns, look.st_mtime_ns))

    monkeypatch.setattr(ingest, "settle", settle)
    stored = ingest_all(folder, store, link, workers)
    assert [name for item in stored for name in item.changed] == ["large"]
    assert_sound(store)


@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_file_whose_times_changed_and_content_did_not_is_stored(
    folder: Path, store: LooseStore, link: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "RACY_NS", -(1 << 60))
    real: Any = ingest._Job._publish

    def publish(job: Any, at: int, column: bytes, emit: Any) -> object:
        os.chmod(folder / "large", 0o600)
        return real(job, at, column, emit)

    monkeypatch.setattr(ingest._Job, "_publish", publish)
    stored = ingest_all(folder, store, link, workers)
    assert not any(item.changed for item in stored)
    assert contents(store) == {md5(data): data for data in FILES.values()}


@pytest.mark.parametrize("link", ALL_LINKS)
def test_the_records_of_objects_are_theirs_and_equal_the_file_s_where_both_are_one(
    folder: Path, store: LooseStore, link: str, workers: int
) -> None:
    put(store, FILES["large"])
    stored = ingest_all(folder, store, link, workers)
    names = sorted(FILES)
    digests = b"".join(item.digests for item in stored)
    stats = b"".join(item.stats for item in stored)
    objects = b"".join(item.objects for item in stored)
    for at, name in enumerate(names):
        path = store.path(digests[at * 16 : at * 16 + 16].hex())
        assert objects[at * 32 : at * 32 + 32] == pack_stat(os.stat(path))
        is_one = objects[at * 32 : at * 32 + 32] == stats[at * 32 : at * 32 + 32]
        assert is_one == os.path.samefile(path, folder / name)


@pytest.mark.parametrize("link", [links.HARDLINK, links.SYMLINK])
def test_of_two_names_of_one_file_both_are_stored(
    tmp_path: Path, store: LooseStore, link: str, workers: int
) -> None:
    write(tmp_path / "data" / "one", b"same")
    os.link(tmp_path / "data" / "one", tmp_path / "data" / "two")
    stored = ingest_all(tmp_path / "data", store, link, workers)
    assert not any(item.changed for item in stored)
    assert contents(store) == {md5(b"same"): b"same"}
    assert_sound(store)


@pytest.mark.parametrize("link", [links.HARDLINK, links.SYMLINK])
def test_a_file_that_is_written_after_it_became_its_object_takes_the_object_back(
    folder: Path, store: LooseStore, link: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle() -> None:
        with open(folder / "large", "r+b") as stream:
            stream.write(b"edited")

    monkeypatch.setattr(ingest, "settle", settle)
    stored = ingest_all(folder, store, link, workers)
    assert [name for item in stored for name in item.changed] == ["large"]
    assert_sound(store)
    assert not store.has(md5(FILES["large"]))


@pytest.mark.parametrize("damage", [b"", b"y" * 5000, b"short"])
@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_damaged_object_under_the_name_is_healed(
    folder: Path, store: LooseStore, link: str, workers: int, damage: bytes
) -> None:
    oid = put(store, FILES["large"])
    write(store.path(oid), damage)
    ingest_all(folder, store, link, workers)
    assert read(store.path(oid)) == FILES["large"]
    assert_sound(store)


@pytest.mark.parametrize("link", ALL_LINKS)
def test_an_intact_object_stays_the_file_it_is(
    folder: Path, store: LooseStore, link: str, workers: int
) -> None:
    oid = put(store, FILES["large"])
    before = os.stat(store.path(oid)).st_ino
    ingest_all(folder, store, link, workers)
    assert os.stat(store.path(oid)).st_ino == before
    assert not os.path.samefile(folder / "large", store.path(oid))


@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_symbolic_link_in_the_workspace_gives_an_object_of_its_own(
    tmp_path: Path, store: LooseStore, link: str, workers: int
) -> None:
    write(tmp_path / "outside", b"precious")
    (tmp_path / "data").mkdir()
    os.symlink("../outside", tmp_path / "data" / "link")
    ingest_all(tmp_path / "data", store, link, workers)
    path = store.path(md5(b"precious"))
    assert read(path) == b"precious" and not os.path.islink(path)
    assert not os.path.samefile(path, tmp_path / "outside")


@pytest.mark.parametrize("link", ALL_LINKS)
def test_a_failure_leaves_no_unfinished_file_and_no_wrong_object(
    folder: Path, store: LooseStore, link: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ingest._Job, "_publish", full)
    with pytest.raises(OSError, match="No space left"):
        ingest_all(folder, store, link, workers)
    assert store.oids() == set()
    assert_sound(store)
    assert {name: read(folder / name) for name in os.listdir(folder)} == FILES


def test_a_store_on_another_file_system_gets_copies(
    folder: Path, store: LooseStore, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    ingest_all(folder, store, links.HARDLINK, workers)
    assert contents(store) == {md5(data): data for data in FILES.values()}


def test_hashing_alone_gives_the_digests_in_order(folder: Path, workers: int) -> None:
    write(folder / "text", b"a\r\nb")
    batches = batches_of(folder)
    names = sorted([*FILES, "text"])
    plain = hash_batches(batches, workers=workers, progress=SilentProgress())
    assert b"".join(plain).hex() == "".join(md5(read(folder / name)) for name in names)
    old = hash_batches(batches, algorithm=LEGACY_MD5, workers=workers, progress=SilentProgress())
    expected = [hashlib.md5(read(folder / name).replace(b"\r\n", b"\n")).digest() for name in names]
    assert b"".join(old) == b"".join(expected)


def test_a_file_that_is_gone_is_named(folder: Path, workers: int) -> None:
    batches = batches_of(folder)
    os.unlink(folder / "large")
    with pytest.raises(FileNotFoundError) as caught:
        hash_batches(batches, workers=workers, progress=SilentProgress())
    assert caught.value.filename == str(folder / "large")


def test_batches_stay_small_and_lose_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_REQUEST_FILES", 4)
    monkeypatch.setattr(ingest, "_REQUEST_BYTES", 100)
    names = sorted(FILES)
    stats = [pack_stat(os.stat(folder / name)) for name in names]
    batches = ingest.split_batches(str(folder), names, stats)
    assert "\0".join(batch.names for batch in batches).split("\0") == names
    assert b"".join(batch.stats for batch in batches) == b"".join(stats)
    assert all(len(batch.names.split("\0")) <= 4 for batch in batches)
    assert ingest.split_batches(str(folder), [], []) == []


@pytest.mark.parametrize("link", [links.COPY, links.HARDLINK])
def test_bytes_of_a_large_file_are_reported_while_it_is_read_and_add_up(
    tmp_path: Path, store: LooseStore, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "BLOCK_SIZE", 1000)
    monkeypatch.setattr(digests, "REPORT_SIZE", 3000)
    write(tmp_path / "data" / "large", b"x" * 10_500)
    write(tmp_path / "data" / "small", b"y" * 7)
    shown = Counted()
    store_batches(batches_of(tmp_path / "data"), store, link=link, workers=1, progress=shown)
    hashed = [row for row in shown.rows if row[0] == "Hashing"]
    assert hashed[:3] == [("Hashing", 0, 3000)] * 3
    assert (sum(files for _, files, _ in hashed), sum(size for _, _, size in hashed)) == (2, 10_507)

"""Objects move between stores, each hashed on its way."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.unit.objects import Counted, assert_sound, contents, make_poor, md5, put, read, write

from kist.base import atomic, digests
from kist.base.listing import pack_stat
from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5
from kist.store import copying
from kist.store.copying import CopyOutcome, copy_objects
from kist.store.loose import LooseStore


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small data crosses every boundary, in this process or in two others."""
    monkeypatch.setattr(copying, "_FORK_FILES", 2)
    monkeypatch.setattr(copying, "_REQUEST_FILES", 2)
    monkeypatch.setattr(copying, "_PART_FILES", 5)
    number: int = request.param
    return number


@pytest.fixture
def stores(tmp_path: Path) -> tuple[LooseStore, LooseStore]:
    """Where objects come from, and where they go."""
    return LooseStore(str(tmp_path / "from")), LooseStore(str(tmp_path / "to"))


def copy(oids: set[str], stores: tuple[LooseStore, LooseStore], workers: int) -> CopyOutcome:
    """Copies objects."""
    return copy_objects(oids, *stores, workers=workers, progress=SilentProgress(), phase="Copying")


@pytest.mark.parametrize("is_poor", [False, True], ids=["able", "poor"])
def test_objects_arrive_whole_and_read_only_and_the_rest_is_told(
    stores: tuple[LooseStore, LooseStore], workers: int, is_poor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    source, target = stores
    right = {put(source, b"object %d" % number) for number in range(12)} | {put(source, b"[]", suffix=".dir")}
    absent = {md5(b"absent"), md5(b"absent") + ".dir"}
    damaged = {put(source, b"damaged %d" % number) for number in range(3)} | {
        put(source, b"[ ]", suffix=".dir")
    }
    for oid in damaged:
        write(source.path(oid), b"rot")
    folder = put(source, b"folder")
    os.unlink(source.path(folder))
    os.mkdir(source.path(folder))
    outcome = copy(right | absent | damaged | {folder}, stores, workers)
    assert set(outcome.copied) == right and len(outcome.copied) == len(right)
    assert set(outcome.missing) == absent
    assert set(outcome.corrupt) == damaged | {folder}
    assert contents(target) == {oid: read(source.path(oid)) for oid in right}
    assert_sound(target)
    assert outcome.size_bytes == sum(len(data) for data in contents(target).values())
    assert {record[:16].hex(): record[16:] for record in outcome.records} == {
        oid: pack_stat(os.stat(target.path(oid))) for oid in right if len(oid) == 32
    }
    assert {stat.S_IMODE(os.stat(target.path(oid)).st_mode) for oid in right} == {0o444}


def test_a_damaged_object_of_the_target_is_replaced(
    stores: tuple[LooseStore, LooseStore], workers: int
) -> None:
    oids = {put(stores[0], b"object %d" % number) for number in range(3)}
    for oid in oids:
        stores[1].make_prefixes([oid[:2]])
        write(stores[1].path(oid), b"rot")
    copy(oids, stores, workers)
    assert contents(stores[1]) == contents(stores[0])


def test_a_failure_keeps_what_was_published_and_leaves_nothing_unfinished(
    stores: tuple[LooseStore, LooseStore], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = sorted(put(stores[0], b"object %d" % number) for number in range(9))
    real = copying._Job._copy

    def fail_late(job: copying._Job, oid: str, staged: str, emit: object) -> tuple[int, int]:
        if oid == oids[7]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(job, oid, staged, lambda size: None)

    monkeypatch.setattr(copying._Job, "_copy", fail_late)
    with pytest.raises(OSError, match="No space left"):
        copy(set(oids), stores, workers)
    assert stores[1].oids() == set(oids[:5])
    assert_sound(stores[1])


def test_old_text_objects_are_checked_by_their_old_id(tmp_path: Path, workers: int) -> None:
    source, target = (LooseStore(str(tmp_path / name), LEGACY_MD5) for name in ("from", "to"))
    right, wrong = md5(b"a\nb\n"), md5(b"c\n")
    write(source.path(right), b"a\r\nb\r\n")
    write(source.path(wrong), b"d\r\n")
    outcome = copy({right, wrong}, (source, target), workers)
    assert (outcome.copied, outcome.corrupt) == ([right], [wrong])
    assert read(target.path(right)) == b"a\r\nb\r\n"


def test_asking_for_nothing_touches_nothing(stores: tuple[LooseStore, LooseStore]) -> None:
    assert copy(set(), stores, 2) == CopyOutcome([], [], [], [], 0)
    assert not os.path.exists(stores[1].base)


def test_bytes_of_a_large_object_are_reported_while_it_is_copied_and_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "BLOCK_SIZE", 1000)
    monkeypatch.setattr(digests, "REPORT_SIZE", 3000)
    source, target = LooseStore(str(tmp_path / "a")), LooseStore(str(tmp_path / "b"))
    oids = {put(source, b"x" * 10_500), put(source, b"y" * 7)}
    shown = Counted()
    copy_objects(oids, source, target, workers=1, progress=shown, phase="Copying")
    assert shown.totals == [(2, 10_507)]
    assert [row for row in shown.rows if row[1] == 0] == [("Copying", 0, 3000)] * 3
    assert sum(size for _, _, size in shown.rows) == 10_507


def _two_prefixes(source: LooseStore) -> list[str]:
    """Puts 25 objects into two prefix folders: five parts, of which most have some in both, or share one."""
    chosen = [data for number in range(4500) if md5(data := b"%d" % number)[:2] in ("3c", "a1")][:25]
    assert len(chosen) == 25
    return sorted(put(source, data) for data in chosen)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("syncs", [0, 1000], ids=["beside", "one by one"])
def test_a_failed_publication_is_done_again_and_only_what_came_later_lacks(
    stores: tuple[LooseStore, LooseStore],
    workers: int,
    syncs: int,
    is_done: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(atomic, "SYNC_EACH_LIMIT", syncs)
    oids = _two_prefixes(stores[0])
    real = copying._Job._publish

    def fail_once(job: copying._Job, part: int, asked: list[str]) -> None:
        if part == 1 and not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            if is_done:
                real(job, part, asked)
            raise OSError(errno.EIO, "Input/output error")
        real(job, part, asked)

    monkeypatch.setattr(copying._Job, "_publish", fail_once)
    with pytest.raises(OSError, match="Input/output"):
        copy(set(oids), stores, workers)
    assert stores[1].oids() == set(oids[:15])
    assert_sound(stores[1])
    outcome = copy(set(oids[15:]), stores, workers)
    assert sorted(outcome.copied) == oids[15:]
    assert contents(stores[1]) == contents(stores[0])


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4, 5, 6, 7])
def test_no_object_has_its_name_before_its_bytes_are_durable(
    stores: tuple[LooseStore, LooseStore], workers: int, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "SYNC_EACH_LIMIT", 0)
    oids = _two_prefixes(stores[0])
    real = copying._Job.make_durable
    durable: set[str] = set()
    calls = 0

    def fail(job: copying._Job, part: int, staged: list[str], published: list[str]) -> None:
        nonlocal calls
        calls += bool(staged or published)
        if calls == fails_at:
            raise OSError(errno.EIO, "Input/output error")
        real(job, part, staged, published)
        durable.update(staged)

    monkeypatch.setattr(copying._Job, "make_durable", fail)
    with pytest.raises(OSError, match="Input/output"):
        copy(set(oids), stores, workers)
    assert stores[1].oids() <= durable
    assert_sound(stores[1])


def test_a_damaged_object_is_not_taken_for_its_copy_that_went_meanwhile(
    stores: tuple[LooseStore, LooseStore], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = sorted(put(stores[0], b"object %d" % number) for number in range(3))
    for oid in oids:
        write(stores[1].path(oid), b"rot")
    real = copying._Job._publish

    def swept(job: copying._Job, part: int, asked: list[str]) -> None:
        os.unlink(f"{job._folder(part, asked[0])}/{asked[0][2:]}")
        real(job, part, asked)

    monkeypatch.setattr(copying._Job, "_publish", swept)
    with pytest.raises(FileNotFoundError):
        copy(set(oids), stores, workers)


def test_a_new_prefix_folder_has_the_group_that_its_root_hands_down(
    stores: tuple[LooseStore, LooseStore], workers: int
) -> None:
    oids = {put(stores[0], b"object %d" % number) for number in range(3)}
    root = stores[1].root
    os.makedirs(root)
    os.chmod(root, 0o2775)
    copy(oids, stores, workers)
    assert contents(stores[1]) == contents(stores[0])
    for oid in oids:
        assert os.stat(f"{root}/{oid[:2]}").st_mode & stat.S_ISGID

"""Reading a store: damage is found whatever it looks like, and an interrupted run goes on where it stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import md5, put, write

from kist.base import digests
from kist.base.listing import settle
from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5
from kist.store import verify
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.store.trust import Trust
from kist.store.verify import Sample, Verdict, end_run, verify_store


@pytest.fixture
def store(tmp_path: Path) -> LooseStore:
    return LooseStore(str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path: Path) -> StatIndex:
    return StatIndex(str(tmp_path / "index.db"))


def look(
    store: LooseStore,
    index: StatIndex,
    *,
    workers: int = 1,
    sample: Sample | None = None,
    restart: bool = False,
) -> Verdict:
    return verify_store(
        store,
        index,
        workers=workers,
        progress=SilentProgress(),
        phase="Verifying",
        sample=sample,
        restart=restart,
    )


def fill(store: LooseStore, count: int = 40) -> list[str]:
    oids = [put(store, b"%d" % number) for number in range(count)]
    settle()
    return oids


@pytest.mark.parametrize("data", [b"", b"0x", b"1", b"\0"])
def test_other_bytes_are_found(store: LooseStore, index: StatIndex, data: bytes) -> None:
    oid = fill(store)[0]
    write(store.path(oid), data)
    verdict = look(store, index)
    assert verdict.bad == {oid: "corrupt"} and verdict.objects == 40


def test_what_is_no_file_is_found(store: LooseStore, index: StatIndex) -> None:
    fifo, folder, link = fill(store)[:3]
    for oid in (fifo, folder, link):
        os.unlink(store.path(oid))
    os.mkfifo(store.path(fifo))
    os.mkdir(store.path(folder))
    os.symlink("nowhere", store.path(link))
    assert look(store, index).bad == dict.fromkeys((fifo, folder, link), "corrupt")


def test_large_objects_are_shared_out(
    store: LooseStore, index: StatIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_LARGE_BYTES", 1)
    oids = fill(store)
    write(store.path(oids[20]), b"rotten")
    verdict = look(store, index)
    assert verdict.bad == {oids[20]: "corrupt"} and verdict.objects == 40
    assert Trust(index, store).records([bytes.fromhex(oids[21])])


def test_workers_find_the_same(store: LooseStore, index: StatIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_FORK_OBJECTS", 1)
    oids = fill(store)
    manifest = put(store, b"[]", suffix=".dir")
    write(store.path(oids[5]), b"rotten")
    verdict = look(store, index, workers=2)
    assert verdict.bad == {oids[5]: "corrupt"} and verdict.manifests == [manifest] and verdict.objects == 41


def test_what_an_interrupted_run_read_is_not_read_again(
    store: LooseStore, index: StatIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = fill(store)
    read: list[str] = []
    real = digests.read_md5

    def reading(path: str, size_hint: int = 0) -> tuple[bytes, int]:
        read.append(path)
        if len(read) == 30:
            raise KeyboardInterrupt
        return real(path, size_hint)

    monkeypatch.setattr(digests, "quick_md5", lambda folder, name, size: None)
    monkeypatch.setattr(digests, "read_md5", reading)
    with pytest.raises(KeyboardInterrupt):
        look(store, index)
    first = set(read[:-1])
    verdict = look(store, index)
    second = set(read[30:])
    assert 0 < verdict.known < 30 and verdict.objects == 40 and not verdict.bad
    assert len(second) == 40 - verdict.known and len(first & second) < len(first)
    end_run(store, index)
    assert look(store, index).known == 0
    assert look(store, index, restart=True).known == 0
    assert oids


def test_what_changed_since_the_interrupted_run_is_read(store: LooseStore, index: StatIndex) -> None:
    oids = fill(store)
    assert look(store, index).known == 0
    write(store.path(oids[0]), b"rotten")
    verdict = look(store, index)
    assert verdict.known == 39 and verdict.bad == {oids[0]: "corrupt"}


def test_sound_objects_are_trusted_and_damaged_ones_are_not(store: LooseStore, index: StatIndex) -> None:
    oids = fill(store)
    trust = Trust(index, store)
    trust.add([bytes.fromhex(oid) + b"x" * 32 for oid in oids])
    write(store.path(oids[0]), b"rotten")
    look(store, index, sample=Sample(1.1))
    found = trust.records([bytes.fromhex(oid) for oid in oids])
    assert len(found) == 39 and bytes.fromhex(oids[0]) not in found
    assert found[bytes.fromhex(oids[1])] == store.stat(oids[1])


def test_a_sample_is_a_part_and_leaves_no_notes(store: LooseStore, index: StatIndex) -> None:
    fill(store, 200)
    verdict = look(store, index, sample=Sample(0.5, seed=1))
    assert 0 < verdict.objects < 200
    assert look(store, index).known == 0


def test_old_objects_are_text_with_either_line_end(tmp_path: Path, index: StatIndex) -> None:
    store = LooseStore(str(tmp_path), LEGACY_MD5)
    store.make_prefixes([md5(b"a\nb\n")[:2]])
    write(store.path(md5(b"a\nb\n")), b"a\r\nb\r\n")
    settle()
    assert look(store, index).bad == {} and look(store, index).objects == 1


def test_an_empty_store_has_nothing(store: LooseStore, index: StatIndex) -> None:
    assert look(store, index) == Verdict(0, 0, 0, {}, [])

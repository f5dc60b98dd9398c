"""Reading the objects of a service: damage is found and moved aside, an interrupted run goes on; a text for people."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import md5, put, read, write

from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.storage import Abilities, StorageFailedError, StoragePermissionError
from kist.repo.introduction import KEY, introduce
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.store.verify import Sample, Verdict
from kist.testing.folder_storage import FolderStorage
from kist.transfer import engine
from kist.transfer.stored import StorageRemote
from kist.transfer.verify import end_storage_run, move_aside, verify_storage


class Service:
    """A service, and its objects as a folder."""

    def __init__(self, root: Path, abilities: Abilities | None = None) -> None:
        self.store = LooseStore(str(root / "service"))
        self.storage = FolderStorage(str(root / "service"), abilities)
        self.index = StatIndex(str(root / "index"))
        self.remote = StorageRemote(self.storage, index=self.index)
        self.scratch = str(root / "scratch")

    def verify(
        self, *, algorithm: str = MD5, named: set[str] | None = None, sample: Sample | None = None
    ) -> Verdict:
        """Reads everything."""
        self.storage.calls.clear()
        return verify_storage(
            self.remote,
            algorithm,
            self.index,
            named=named or set(),
            jobs=2,
            scratch=self.scratch,
            progress=SilentProgress(),
            phase="Verifying",
            sample=sample,
        )


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.001)
    return Service(tmp_path)


def test_damage_is_found_and_manifests_are_told(service: Service) -> None:
    oids = [put(service.store, data) for data in (b"one", b"two", b"three")]
    manifest = put(service.store, b"[]", suffix=".dir")
    write(service.store.path(oids[1]), b"rotten")
    assert service.verify() == Verdict(4, 3 + 6 + 5 + 2, 0, {oids[1]: "corrupt"}, [manifest])


def test_an_interrupted_run_goes_on_and_a_finished_one_does_not(service: Service) -> None:
    oids = sorted(put(service.store, b"%d" % number) for number in range(6))
    last = service.store.path(oids[-1])[len(service.storage.path) + 1 :]

    def fault(name: str, key: str) -> None:
        if name == "read" and key == last:
            raise StoragePermissionError("not this one")

    service.storage.fault = fault
    with pytest.raises(StoragePermissionError):
        service.verify()
    service.storage.fault = lambda name, key: None
    verdict = service.verify()
    assert verdict.objects == 6 and verdict.known >= 1
    assert service.storage.calls["read"] == 6 - verdict.known
    end_storage_run(service.remote, MD5, service.index)
    assert service.verify().known == 0


def test_what_changed_since_is_read_again(service: Service) -> None:
    oid = put(service.store, b"one")
    service.verify()
    write(service.store.path(oid), b"rotten")
    assert service.verify().bad == {oid: "corrupt"}


def test_a_service_without_listing_is_asked_for_what_is_named(tmp_path: Path) -> None:
    service = Service(tmp_path, Abilities(lists=False))
    oid = put(service.store, b"one")
    assert service.verify(named={oid, md5(b"never pushed")}) == Verdict(1, 3, 0, {}, [])


def test_failures_are_tried_again_and_a_sample_is_a_part(service: Service) -> None:
    for number in range(40):
        put(service.store, b"%d" % number)
    failed: set[str] = set()

    def fault(name: str, key: str) -> None:
        if name == "read" and key not in failed:
            failed.add(key)
            raise StorageFailedError("once")

    service.storage.fault = fault
    verdict = service.verify(sample=Sample(0.5, seed=3))
    assert 0 < verdict.objects < 40 and not verdict.bad
    assert len(failed) == verdict.objects


def test_old_text_is_right_with_either_line_end(service: Service) -> None:
    old = LooseStore(service.store.base, LEGACY_MD5)
    oid = md5(b"a\nb\n")
    old.make_prefixes([oid[:2]])
    write(old.path(oid), b"a\r\nb\r\n")
    assert service.verify(algorithm=LEGACY_MD5).bad == {}
    assert move_aside(service.remote, oid, LEGACY_MD5, scratch=service.scratch) is None


def test_a_damaged_object_is_moved_and_a_sound_one_is_not(service: Service) -> None:
    bad, sound = (put(service.store, data) for data in (b"one", b"two"))
    write(service.store.path(bad), b"rotten")
    assert move_aside(service.remote, bad, MD5, scratch=service.scratch) == f"kist-bad/{bad}"
    assert move_aside(service.remote, sound, MD5, scratch=service.scratch) is None
    assert move_aside(service.remote, md5(b"gone"), MD5, scratch=service.scratch) is None
    assert read(os.path.join(service.storage.path, "kist-bad", bad)) == b"rotten"
    assert service.store.oids() == {sound}
    assert os.listdir(service.scratch) == []


def test_where_nothing_can_be_deleted_the_name_stays_taken(tmp_path: Path) -> None:
    service = Service(tmp_path, Abilities(deletes=0))
    oid = put(service.store, b"one")
    write(service.store.path(oid), b"rotten")
    assert move_aside(service.remote, oid, MD5, scratch=service.scratch) == f"kist-bad/{oid}"
    assert service.store.oids() == {oid}


def test_an_empty_service_gets_a_text_and_another_one_does_not(service: Service) -> None:
    introduce(service.remote)
    path = os.path.join(service.storage.path, KEY)
    assert b"md5" in read(path)
    write(path, b"mine")
    introduce(service.remote)
    assert read(path) == b"mine"


def test_a_refused_text_stops_no_push(service: Service) -> None:
    def fault(name: str, key: str) -> None:
        if name == "write":
            raise StoragePermissionError("no")

    service.storage.fault = fault
    introduce(service.remote)
    assert service.storage.calls["write"] == 1
    assert not os.path.exists(os.path.join(service.storage.path, KEY))


def test_what_was_used_before_is_not_asked_about(service: Service) -> None:
    service.remote.damaged(MD5, size_of=lambda oid: None, workers=1)
    service.storage.calls.clear()
    introduce(service.remote)
    assert not service.storage.calls

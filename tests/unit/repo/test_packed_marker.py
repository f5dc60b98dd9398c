"""Whether a service is packed: asked once, believed for an hour by who only reads, and asked again by who writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.formats.pack import Marker
from kist.remotes import table
from kist.remotes.storage import Place, StoragePermissionError
from kist.repo import transfers
from kist.repo.transfers import is_packed, open_remote
from kist.testing.folder_storage import FolderStorage
from kist.testing.project import Project
from kist.transfer.packed import write_marker


class Service:
    """A project with a remote at a service that is a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = Project(str(root / "repo"))
        self.project.kist("remote", "add", "-d", "store", "s3://bucket/place")
        self.storage = FolderStorage(str(root / "service"))
        self.options: dict[str, str] = {}

        def open_storage(place: Place) -> FolderStorage:
            self.options = dict(place.options)
            return self.storage

        monkeypatch.setattr(table, "open_storage", open_storage)

    def opens_packed(self, *, writes: bool = False) -> bool:
        """Says what a new command finds."""
        repository = self.project.repository()
        try:
            return is_packed(open_remote(repository, None, writes=writes)[0])
        finally:
            repository.close()

    @property
    def asked(self) -> int:
        """How often the marker was asked for."""
        return self.storage.calls["read"]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(tmp_path, monkeypatch)


def test_that_a_place_is_loose_is_believed_for_an_hour_by_who_only_reads(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not service.opens_packed() and service.asked == 1
    assert not service.opens_packed() and service.asked == 1
    assert not service.opens_packed(writes=True) and service.asked == 2
    write_marker(service.storage, Marker("0" * 32))
    assert not service.opens_packed()
    later = transfers.time.time() + 3601
    monkeypatch.setattr(transfers.time, "time", lambda: later)
    assert service.opens_packed()


def test_who_writes_finds_a_place_that_was_converted_meanwhile(service: Service) -> None:
    assert not service.opens_packed()
    write_marker(service.storage, Marker("0" * 32))
    assert service.opens_packed(writes=True)
    assert service.opens_packed()


def test_a_place_whose_marker_may_not_be_read_counts_as_loose(service: Service) -> None:
    def refuse(name: str, key: str) -> None:
        raise StoragePermissionError("no")

    service.storage.fault = refuse
    assert not service.opens_packed(writes=True)


def test_a_service_that_cannot_list_is_never_asked(service: Service) -> None:
    service.storage.abilities = service.storage.abilities._replace(lists=False)
    assert not service.opens_packed(writes=True) and service.asked == 0


def test_the_profile_that_keeps_dvc_away_is_not_asked_for(service: Service) -> None:
    service.project.kist("remote", "modify", "store", "profile", "kist-packed/lab")
    service.opens_packed()
    assert service.options == {"profile": "lab"}
    service.project.kist("remote", "modify", "store", "profile", "kist-packed")
    service.opens_packed()
    assert service.options == {}

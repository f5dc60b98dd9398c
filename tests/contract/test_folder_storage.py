"""A folder keeps the contract of storages: the backend, and the stand-in that the engine is tested with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.base import atomic
from kist.remotes import folder
from kist.remotes.storage import Body, Storage, StorageRefusedError
from kist.testing.folder_storage import FolderStorage, VersionedFolderStorage
from kist.testing.storage_contract import StorageContract


class TestFolderStorage(StorageContract):
    """All abilities."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Returns an empty storage."""
        return FolderStorage(str(tmp_path / "service"))


class TestVersionedFolderStorage(StorageContract):
    """With versions."""

    keeps_versions = True

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Returns an empty storage."""
        return VersionedFolderStorage(str(tmp_path / "service"))


class TestFolder(StorageContract):
    """The backend that packed remotes in folders use."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Returns an empty storage."""
        return folder.FolderStorage("store", "/data", str(tmp_path / "data"))

    def test_values_are_read_only_and_unfinished_files_are_no_values(self, tmp_path: Path) -> None:
        """Like objects of a store."""
        storage = folder.FolderStorage("store", "/data", str(tmp_path / "data"), shared_group=True)
        storage.write("packs/00/x", Body.of(b"1"))
        assert (tmp_path / "data/packs/00/x").stat().st_mode & 0o777 == 0o444
        assert (tmp_path / "data/packs/00").stat().st_mode & 0o7777 == 0o2775
        (tmp_path / "data/packs" / atomic.temp_name()).write_bytes(b"half")
        assert [item.key for item in storage.list("")] == ["packs/00/x"]

    def test_keys_that_lead_out_are_refused(self, tmp_path: Path) -> None:
        """Whoever wrote them."""
        storage = folder.FolderStorage("store", "/data", str(tmp_path / "data"))
        for key in ("../x", "a/../../x", "/etc/x", "", "a//b"):
            with pytest.raises(StorageRefusedError):
                storage.write(key, Body.of(b"1"))
        assert not (tmp_path / "x").exists()

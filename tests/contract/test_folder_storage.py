"""The stand-in that the engine is tested with keeps the contract of storages."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.remotes.storage import Storage
from kist.testing.folder_storage import FolderStorage
from kist.testing.storage_contract import StorageContract


class TestFolderStorage(StorageContract):
    """All abilities."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Returns an empty storage."""
        return FolderStorage(str(tmp_path / "service"))

"""Faults over Google's interface of Drive: F15 to F18, F63 to F66, against a stand-in of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.contract.test_gdrive import kept_login

from kist.remotes import gdrive, sessions
from kist.remotes.storage import Place
from kist.remotes.table import open_storage
from kist.testing.fault_contract import LARGE_BYTES, FaultContract, FaultWorld
from kist.testing.gdrive_server import GdriveServer
from kist.testing.web_faults import Faults
from kist.testing.web_server import Handler


def suits(kind: str, handler: Handler) -> bool:
    """Says whether a fault can happen to a request."""
    if kind == "half":
        return "uploadType=m" in handler.path
    return kind not in ("truncated", "html") or "alt=media" in handler.path


class DriveWorld(FaultWorld):
    """A stand-in of our own."""

    def __init__(self, root: Path, server: GdriveServer) -> None:
        environ = {
            "KIST_GDRIVE_ENDPOINT": server.url,
            "GDRIVE_CREDENTIALS_DATA": json.dumps(kept_login(token_uri=f"{server.url}/token")),
        }

        def opened(**options: str) -> Place:
            return Place("drive", "gdrive://root/store", "gdrive", options, environ)

        super().__init__(
            root, lambda seconds: open_storage(opened(read_timeout=str(seconds))), open_storage(opened())
        )
        self.server = server
        self.faults = Faults()

    def begin(self, kind: str, count: int) -> None:
        """As of FaultWorld."""
        self.server.fault = self.faults.arrange(kind, count, suits=suits)

    def is_over(self) -> bool:
        """As of FaultWorld."""
        return self.faults.are_over

    def take_back(self) -> None:
        """As of FaultWorld."""
        self.server.fault = None
        self.faults.released.set()


@pytest.mark.slow
class TestGdriveFaults(FaultContract):
    """The suite."""

    passing: ClassVar[list[str]] = ["503", "429", "500", "reset", "truncated", "stalled"]
    lasting: ClassVar[str] = "500"
    refusing: ClassVar[list[str]] = ["401", "403"]
    falsifying: ClassVar[list[str]] = ["html"]
    halving: ClassVar[list[str]] = ["half"]

    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultWorld]:
        """Yields a world."""
        monkeypatch.setattr(sessions, "PART_BYTES", LARGE_BYTES)
        monkeypatch.setattr(gdrive, "PART_BYTES", LARGE_BYTES)
        with GdriveServer(str(tmp_path)) as server:
            world = DriveWorld(tmp_path, server)
            yield world
            world.take_back()
            world.close()

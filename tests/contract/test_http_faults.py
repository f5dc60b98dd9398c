"""Faults over HTTP: F15 to F18, F63 to F66; F67 and what else only HTTP has stands in test_http."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from kist.formats.records import MD5
from kist.remotes.storage import Place
from kist.remotes.table import open_storage
from kist.testing.fault_contract import FaultContract, FaultWorld
from kist.testing.web_faults import Faults
from kist.testing.web_server import WebServer
from kist.transfer.stored import key_of


class HttpWorld(FaultWorld):
    """A web server of our own."""

    def __init__(self, root: Path, server: WebServer) -> None:
        def opened(**options: str) -> Place:
            return Place("web", server.url, "http", {"method": "PUT", **options}, {})

        super().__init__(
            root, lambda seconds: open_storage(opened(read_timeout=str(seconds))), open_storage(opened())
        )
        self.server = server
        self.faults = Faults()

    def begin(self, kind: str, count: int) -> None:
        """As of FaultWorld."""
        self.server.fault = self.faults.arrange(kind, count)

    def is_over(self) -> bool:
        """As of FaultWorld."""
        return self.faults.are_over

    def take_back(self) -> None:
        """As of FaultWorld."""
        self.server.fault = None
        self.faults.released.set()

    def remove(self, oid: str) -> None:
        """As of FaultWorld: HTTP cannot delete."""
        os.unlink(os.path.join(self.server.folder, key_of(oid, MD5)))


class TestHttpFaults(FaultContract):
    """The suite."""

    passing: ClassVar[list[str]] = ["503", "429", "500", "reset", "truncated", "stalled"]
    lasting: ClassVar[str] = "500"
    refusing: ClassVar[list[str]] = ["401", "403"]
    falsifying: ClassVar[list[str]] = ["html"]
    halving: ClassVar[list[str]] = ["half"]

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[FaultWorld]:
        """Yields a world."""
        with WebServer(str(tmp_path / "www")) as server:
            world = HttpWorld(tmp_path, server)
            yield world
            world.take_back()
            world.close()

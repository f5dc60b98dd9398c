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
from kist.testing.fault_contract import LARGE_BYTES, FaultContract, FaultWorld
from kist.testing.web_faults import Faults
from kist.testing.web_server import Handler, WebServer
from kist.transfer import stored
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


def test_a_server_that_tells_no_sizes_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SMALL_BYTES", LARGE_BYTES)

    def unsized(handler: Handler) -> bool:
        if handler.command not in ("HEAD", "GET") or not os.path.isfile(handler._file()):
            return False
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        if handler.command == "GET":
            with open(handler._file(), "rb") as stream:
                handler.wfile.write(stream.read())
        return True

    with WebServer(str(tmp_path / "www")) as server:
        world = HttpWorld(tmp_path, server)
        world.push()
        server.fault = unsized
        assert world.push().moved == [], "what is there is not taken for damaged"
        world.assert_whole(world.receive())
        with open(os.path.join(server.folder, key_of(world.oids[3], MD5)), "ab") as stream:
            stream.write(b"x")
        assert world.receive().corrupt == [world.oids[3]]
        world.close()

"""Faults over SSH: F15 to F18, F63 to F66, with OpenSSH's SFTP server and a stand-in for `ssh` that does harm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from kist.remotes.ssh import SshStorage
from kist.remotes.storage import Body, Place
from kist.remotes.table import open_storage
from kist.testing import faulty_ssh
from kist.testing.fault_contract import FaultContract, FaultWorld


class SshWorld(FaultWorld):
    """A folder behind an SFTP server."""

    def __init__(self, root: Path) -> None:
        self.orders = str(root / "orders")

        def opened(orders: str, **options: str) -> Place:
            programs = faulty_ssh.program(f"{orders}-bin", orders)
            environ = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(root)}
            return Place("store", f"ssh://host{root}/service", "ssh", options, environ)

        super().__init__(
            root,
            lambda seconds: open_storage(opened(self.orders, timeout=str(seconds))),
            open_storage(opened(str(root / "no-orders"))),
        )

    def begin(self, kind: str, count: int) -> None:
        """As of FaultWorld."""
        faulty_ssh.order(self.orders, kind, min(count, 200))

    def is_over(self) -> bool:
        """As of FaultWorld."""
        return not os.listdir(self.orders)

    def take_back(self) -> None:
        """As of FaultWorld."""
        faulty_ssh.take_back(self.orders)


class TestSshFaults(FaultContract):
    """The suite."""

    passing: ClassVar[list[str]] = ["busy", "reset", "short", "stalled"]
    lasting: ClassVar[str] = "busy"
    refusing: ClassVar[list[str]] = ["denied"]
    falsifying: ClassVar[list[str]] = ["flipped"]
    halving: ClassVar[list[str]] = ["dropped"]

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[FaultWorld]:
        """Yields a world."""
        if faulty_ssh.sftp_server() is None:
            if os.environ.get("KIST_ALL"):
                pytest.fail("OpenSSH's sftp-server is not installed: run tools/make_peers.sh")
            pytest.skip("OpenSSH's sftp-server is not installed")
        world = SshWorld(tmp_path)
        yield world
        world.close()


def test_a_connection_that_nobody_used_for_long_is_not_taken_for_dead(tmp_path: Path) -> None:
    if faulty_ssh.sftp_server() is None:
        pytest.skip("OpenSSH's sftp-server is not installed")
    world = SshWorld(tmp_path)
    storage = world._impatient
    assert isinstance(storage, SshStorage)
    storage.write("x", Body.of(b"x"))
    (connection,) = storage._connections
    connection._heard -= 3600  # as after an hour of waiting for its share of a limited rate
    world.arrange("late", 1)
    found = storage.head("x")  # the answer comes after the first look at the clock
    assert found is not None and found.size == 1
    assert storage._connections == [connection]
    world.close()

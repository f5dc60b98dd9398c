"""HTTP remotes against nginx, which takes PUT by its dav module."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers
from tests.unit.objects import assert_sound, contents, put

from kist.base.progress import SilentProgress
from kist.remotes.storage import Body, Place, Storage, StorageAuthError, StorageRefusedError
from kist.remotes.table import open_storage
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.testing.storage_contract import StorageContract, read_all
from kist.transfer.stored import StorageRemote

USER, PASSWORD = "ann", "s3cret word"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields nginx's address."""
    with servers.nginx(tmp_path_factory.mktemp("nginx"), user=USER, password=PASSWORD) as address:
        yield address


def opened(address: str, **options: str) -> Storage:
    """Returns a storage in a folder of its own."""
    given = {"method": "PUT", "auth": "basic", "user": USER, "password": PASSWORD, **options}
    return open_storage(Place("store", f"{address}/deep er/{next(_numbers)}", "http", given, {}))


class TestNginx(StorageContract):
    """The suite."""

    @pytest.fixture
    def storage(self, address: str) -> Storage:
        """Returns an empty storage."""
        return opened(address)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the password."""
        return [PASSWORD]


def test_a_wrong_password_and_a_method_that_is_not_allowed_are_said(address: str) -> None:
    with pytest.raises(StorageAuthError, match="user or password"):
        read_all(opened(address, password="wr0ng"), "x")
    with pytest.raises(StorageRefusedError, match="does not take POST") as caught:
        opened(address, method="POST").write("x", Body.of(b"x"))
    assert caught.value.hint == "kist remote modify store method PUT"


def test_objects_small_and_large_travel_both_ways(address: str, tmp_path: Path) -> None:
    here, there = LooseStore(str(tmp_path / "here")), LooseStore(str(tmp_path / "there"))
    remote = StorageRemote(opened(address), index=StatIndex(str(tmp_path / "index")))
    oids = {put(here, data) for data in (b"", b"one", os.urandom(20 << 20))}
    progress = SilentProgress()
    assert set(remote.send(oids, here, workers=1, progress=progress, phase="p").copied) == oids
    assert set(remote.receive(oids, there, workers=1, progress=progress, phase="p").copied) == oids
    assert contents(there) == contents(here)
    assert_sound(there)

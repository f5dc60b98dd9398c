"""WebDAV remotes against WsgiDAV and Apache's mod_dav."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.peers import servers

from kist.remotes.storage import Body, Place, Storage, StorageAuthError
from kist.remotes.table import open_storage
from kist.testing.storage_contract import ODD_KEYS, StorageContract

USER, PASSWORD = "ann", "s3cret word"
_numbers = itertools.count()


def opened(address: str, **options: str) -> Storage:
    """Returns a storage in a folder of its own that is not there yet."""
    return open_storage(Place("store", f"{address}/deep er/{next(_numbers)}", "webdav", options, {}))


@pytest.fixture(scope="module")
def wsgidav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields WsgiDAV's address."""
    with servers.wsgidav(tmp_path_factory.mktemp("wsgidav"), user=USER, password=PASSWORD) as address:
        yield address


@pytest.fixture(scope="module")
def apache() -> Iterator[str]:
    """Yields Apache's address."""
    # Not below pytest's own folder, which is closed to Apache's user.
    with (
        tempfile.TemporaryDirectory(prefix="kist-apache-") as folder,
        servers.apache_dav(Path(folder)) as address,
    ):
        yield address


class TestWsgidav(StorageContract):
    """A server in Python."""

    # WsgiDAV cuts the destination of a MOVE at a semicolon.
    odd_keys: ClassVar[list[str]] = [key for key in ODD_KEYS if ";" not in key]

    @pytest.fixture
    def storage(self, wsgidav: str) -> Storage:
        """Returns an empty storage."""
        return opened(wsgidav, user=USER, password=PASSWORD)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the password."""
        return [PASSWORD]


class TestApache(StorageContract):
    """mod_dav."""

    @pytest.fixture
    def storage(self, apache: str) -> Storage:
        """Returns an empty storage."""
        return opened(apache)


def test_a_wrong_password_is_said_to_be_one(wsgidav: str) -> None:
    storage = opened(wsgidav, user=USER, password="wr0ng")
    with pytest.raises(StorageAuthError) as caught:
        storage.write("x", Body.of(b"x"))
    assert "wr0ng" not in caught.value.message
    with pytest.raises(StorageAuthError):
        list(storage.list(""))


def test_the_command_of_the_options_gives_the_token(tmp_path: Path) -> None:
    from kist.testing.web_server import WebServer

    with WebServer(str(tmp_path)) as server:
        place = Place(
            "store",
            server.url.replace("http", "webdav"),
            "webdav",
            {"bearer_token_command": "echo a-token"},
            {"PATH": "/bin:/usr/bin"},
        )
        with pytest.raises(Exception, match="501"):
            open_storage(place).head("x")
        assert server.seen_headers == [] or server.seen_headers[-1]["Authorization"] == "Bearer a-token"

"""WebDAV remotes against WsgiDAV and Apache's mod_dav."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.peers import servers

from kist.errors import KistError
from kist.remotes.storage import Body, Place, Storage, StorageAuthError
from kist.remotes.table import open_storage
from kist.remotes.web import Answer
from kist.remotes.webdav import WebdavStorage
from kist.testing.storage_contract import ODD_KEYS, StorageContract, read_all

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


@pytest.mark.parametrize("name", ["wsgidav", "apache"])
def test_a_file_takes_the_place_of_empty_folders_alone(name: str, request: pytest.FixtureRequest) -> None:
    storage = opened(request.getfixturevalue(name), user=USER, password=PASSWORD)
    assert isinstance(storage, WebdavStorage)
    storage.write("files/md5/0a/x", Body.of(b"1"))
    storage.write("files/md5/0b/y", Body.of(b"2"))
    assert not storage.take_place("files", b"guard")
    storage.delete(["files/md5/0a/x"])
    assert not storage.take_place("files", b"guard")
    assert [item.key for item in storage.list("")] == ["files/md5/0b/y"]
    storage.delete(["files/md5/0b/y"])
    for _ in range(2):
        assert storage.take_place("files", b"guard")
        assert read_all(storage, "files") == b"guard"
    with pytest.raises(KistError):
        storage.write("files/md5/0c/z", Body.of(b"3"))
    assert [item.key for item in storage.list("")] == ["files"]


def test_what_comes_while_folders_are_moved_away_is_not_lost(
    wsgidav: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(_numbers)
    storage, other = (
        open_storage(
            Place("store", f"{wsgidav}/race/{number}", "webdav", {"user": USER, "password": PASSWORD}, {})
        )
        for _ in range(2)
    )
    assert isinstance(storage, WebdavStorage)
    storage.write("files/md5/0a/x", Body.of(b"1"))
    storage.delete(["files/md5/0a/x"])
    real = storage._move

    def late(old: str, new: str) -> None:
        if old == "files":
            other.write("files/md5/0a/late", Body.of(b"2"))
        real(old, new)

    monkeypatch.setattr(storage, "_move", late)
    assert not storage.take_place("files", b"guard")
    assert read_all(other, "files/md5/0a/late") == b"2"


@pytest.mark.parametrize("status", [None, 412], ids=["own", "412"])
@pytest.mark.parametrize("name", ["wsgidav", "apache"])
def test_a_folder_that_is_made_anew_before_the_file_is_there_is_not_taken_for_it(
    name: str, status: int | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{request.getfixturevalue(name)}/anew/{next(_numbers)}"
    place = Place("store", address, "webdav", {"user": USER, "password": PASSWORD}, {})
    storage, other = open_storage(place), open_storage(place)
    assert isinstance(storage, WebdavStorage)
    storage.write("files/md5/0a/x", Body.of(b"1"))
    storage.delete(["files/md5/0a/x"])
    monkeypatch.setattr(storage, "_forget_below", lambda folder: other.write(f"{folder}/y", Body.of(b"2")))
    ask = storage._client.ask

    def judged_first(method: str, address: str, **values: Any) -> Answer:
        answer = ask(method, address, **values)
        if method == "PUT":
            answer.status = status or answer.status  # of servers that look at the condition before the kind
        return answer

    monkeypatch.setattr(storage._client, "ask", judged_first)
    assert not storage.take_place("files", b"guard")
    assert read_all(other, "files/y") == b"2"

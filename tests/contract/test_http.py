"""HTTP remotes against a server of our own: the contract, passwords, and faults F63 to F67."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.remotes.http import HttpOptionsError, HttpStorage
from kist.remotes.storage import (
    Body,
    Place,
    Storage,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
)
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract, read_all
from kist.testing.web_server import Handler, WebServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    """Yields a running server."""
    with WebServer(str(tmp_path / "www")) as server:
        yield server


def opened(server: WebServer, **options: str) -> Storage:
    """Returns the storage at a server."""
    return open_storage(Place("store", f"{server.url}/base", "http", options, {}))


@pytest.mark.parametrize("method", ["POST", "PUT"])
class TestHttp(StorageContract):
    """With both methods."""

    @pytest.fixture
    def storage(self, server: WebServer, method: str) -> Storage:
        """Returns an empty storage."""
        return opened(server, method=method)


class TestHttpWithPassword(StorageContract):
    """With Basic."""

    @pytest.fixture
    def storage(self, server: WebServer) -> Storage:
        """Returns an empty storage."""
        server.user, server.password = "ann", "s3cret:word"
        return opened(server, auth="basic", user="ann", password="s3cret:word")

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the password."""
        return ["s3cret"]


def test_a_wrong_password_is_said_to_be_one(server: WebServer) -> None:
    server.user, server.password = "ann", "right"
    storage = opened(server, auth="basic", user="ann", password="wr0ng")
    for call in (
        lambda: storage.head("x"),
        lambda: read_all(storage, "x"),
        lambda: storage.write("x", Body.of(b"x")),
    ):
        with pytest.raises(StorageAuthError, match="user or password") as caught:
            call()
        assert "wr0ng" not in caught.value.message


def test_a_password_is_asked_for_once_where_the_options_say_so(server: WebServer) -> None:
    server.user, server.password = "ann", "typed"
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return "typed"

    options = {"auth": "basic", "user": "ann", "ask_password": "true"}
    storage = open_storage(Place("store", server.url, "http", options, {}, ask))
    storage.write("x", Body.of(b"x"))
    assert read_all(storage, "x") == b"x"
    assert len(questions) == 1 and "ann" in questions[0]
    with pytest.raises(StorageAuthError, match="no terminal"):
        open_storage(Place("store", server.url, "http", options, {}))


def test_a_custom_header_is_sent(server: WebServer) -> None:
    storage = opened(server, auth="custom", custom_auth_header="X-Key", password="k")
    storage.head("x")
    assert server.seen_headers[-1]["X-Key"] == "k"


@pytest.mark.parametrize("options", [{"auth": "basic", "user": "a"}, {"auth": "basic"}, {"auth": "digest"}])
def test_options_that_do_not_fit_together_are_refused(server: WebServer, options: dict[str, str]) -> None:
    with pytest.raises(HttpOptionsError) as caught:
        opened(server, **options)
    assert caught.value.exit_code == 251


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, StoragePermissionError),
        (404, StorageMissingError),
        (405, StorageRefusedError),
        (413, StorageRefusedError),
        (429, StorageFailedError),
        (500, StorageFailedError),
        (503, StorageFailedError),
    ],
)
def test_each_refusal_is_told_apart(server: WebServer, status: int, kind: type[Exception]) -> None:
    def refuse(handler: Handler) -> bool:
        handler.answer(status, b"no", {"Retry-After": "7"})
        return True

    server.fault = refuse
    storage = opened(server)
    with pytest.raises(kind) as caught:
        read_all(storage, "x")
    if isinstance(caught.value, StorageFailedError):
        assert caught.value.retry_after_s == 7


def test_nobody_there_is_said_to_be_that(tmp_path: Path) -> None:
    with WebServer(str(tmp_path)) as server:
        storage = opened(server)
    with pytest.raises(StorageUnreachableError, match="refused"):
        storage.head("x")


@pytest.mark.parametrize("is_announced", [True, False], ids=["with a length", "without"])
def test_a_truncated_answer_is_never_taken_for_the_whole(server: WebServer, is_announced: bool) -> None:
    storage = opened(server)
    storage.write("x", Body.of(b"0123456789" * 100))

    def cut(handler: Handler) -> bool:
        handler.send_response(200)
        if is_announced:
            handler.send_header("Content-Length", "1000")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"0123456789" * 50)
        handler.close_connection = True
        return True

    server.fault = cut
    if is_announced:
        with pytest.raises(StorageFailedError):
            read_all(storage, "x")
    else:  # nobody can know: the hash finds it, in the engine
        assert len(read_all(storage, "x")) == 500


def test_a_server_that_says_nothing_is_given_up(server: WebServer) -> None:
    import threading

    release = threading.Event()

    def stall(handler: Handler) -> bool:
        release.wait(20)
        return True

    server.fault = stall
    storage = opened(server, read_timeout="0.3")
    try:
        with pytest.raises(StorageFailedError):
            storage.head("x")
    finally:
        release.set()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_credentials_do_not_follow_a_redirect_to_another_origin(
    server: WebServer, tmp_path: Path, status: int
) -> None:
    with WebServer(str(tmp_path / "elsewhere")) as other:
        opened(other).write("x", Body.of(b"from elsewhere"))
        other.seen_headers.clear()

        def send_away(handler: Handler) -> bool:
            handler.answer(status, b"", {"Location": f"{other.url}{handler.path}"})
            return True

        server.fault = send_away
        storage = opened(server, auth="basic", user="ann", password="secret")
        assert read_all(storage, "x") == b"from elsewhere"
        assert server.seen_headers[-1]["Authorization"].startswith("Basic ")
        assert all("Authorization" not in headers for headers in other.seen_headers)


def test_a_redirect_inside_of_the_origin_is_followed_with_them(server: WebServer) -> None:
    opened(server).write("y", Body.of(b"moved"))
    server.user, server.password = "ann", "secret"

    def move(handler: Handler) -> bool:
        if handler.path.endswith("/x"):
            handler.answer(302, b"", {"Location": "y"})
            return True
        return False

    server.fault = move
    assert read_all(opened(server, auth="basic", user="ann", password="secret"), "x") == b"moved"


def test_a_server_without_head_or_ranges_is_good_enough(server: WebServer) -> None:
    storage = opened(server)
    storage.write("x", Body.of(b"0123456789"))

    def poor(handler: Handler) -> bool:
        if handler.command == "HEAD":
            handler.answer(501)
            return True
        del handler.headers["Range"]
        return False

    server.fault = poor
    found = storage.head("x")
    assert found is not None and found.size == 10
    assert storage.head("y") is None
    assert read_all(storage, "x", first=3, size=4) == b"3456"


def test_the_address_is_shown_without_its_password() -> None:
    storage = open_storage(Place("store", "https://ann:s3cret@host/path", "https", {}, {}))
    assert isinstance(storage, HttpStorage) and storage.url == "https://host/path"

"""Objects over a server that misbehaves: never a wrong byte, tried again where that helps, said where it does not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.objects import assert_sound, contents, md5, put

from kist.base.progress import SilentProgress
from kist.errors import AuthError
from kist.formats.records import MD5
from kist.remotes.storage import Place, StorageFailedError
from kist.remotes.table import open_storage
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.testing.web_server import Handler, WebServer
from kist.transfer import engine
from kist.transfer.stored import StorageRemote, key_of


class World:
    """Two caches, and a server between them."""

    def __init__(self, root: Path, server: WebServer, **options: str) -> None:
        self.here = LooseStore(str(root / "here"))
        self.there = LooseStore(str(root / "there"))
        self.server = server
        place = Place("web", server.url, "http", {"method": "PUT", **options}, {})
        self.remote = StorageRemote(open_storage(place), index=StatIndex(str(root / "index")))
        self.oids = [put(self.here, data) for data in (b"one", b"two" * 1000, b"x" * 200_000)]

    def send(self) -> CopyOutcome:
        """Sends all."""
        return self.remote.send(set(self.oids), self.here, workers=1, progress=SilentProgress(), phase="p")

    def receive(self) -> CopyOutcome:
        """Receives all."""
        return self.remote.receive(
            set(self.oids), self.there, workers=1, progress=SilentProgress(), phase="p"
        )

    def path(self, oid: str) -> str:
        """Returns the server's file of an object."""
        return os.path.join(self.server.folder, key_of(oid, MD5))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Yields a world in which pauses are short."""
    monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.001)
    with WebServer(str(tmp_path / "www")) as server:
        yield World(tmp_path, server, read_timeout="0.5")


def times(count: int, answer: object) -> object:
    """Returns a fault that happens to the first `count` requests."""
    left = [count]
    lock = threading.Lock()

    def fault(handler: Handler) -> bool:
        with lock:
            if left[0] <= 0:
                return False
            left[0] -= 1
        answer(handler)  # type: ignore[operator]
        return True

    return fault


def refuse(status: int) -> object:
    """Returns an answer with a status."""
    return lambda handler: handler.answer(status, b"", {"Retry-After": "0"})


def reset(handler: Handler) -> None:
    """Ends the connection without a word."""
    handler.close_connection = True
    handler.connection.close()


def cut(handler: Handler) -> None:
    """Announces more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.write(b"some")
    handler.close_connection = True


@pytest.mark.parametrize(
    "answer", [refuse(503), refuse(429), refuse(500), reset], ids=["503", "429", "500", "reset"]
)
def test_what_passes_is_tried_again_both_ways(world: World, answer: object) -> None:
    world.server.fault = times(2, answer)  # type: ignore[assignment]
    assert sorted(world.send().copied) == sorted(world.oids)
    world.server.fault = times(2, answer)  # type: ignore[assignment]
    assert sorted(world.receive().copied) == sorted(world.oids)
    assert contents(world.there) == contents(world.here)
    assert_sound(world.there)


def test_a_truncated_download_is_read_again(world: World) -> None:
    world.send()
    world.server.fault = times(2, cut)  # type: ignore[assignment]
    assert sorted(world.receive().copied) == sorted(world.oids)
    assert_sound(world.there)


@pytest.mark.parametrize("what", ["flipped", "truncated", "a page of HTML", "empty"])
def test_wrong_bytes_are_refused_and_the_next_pull_heals(world: World, what: str) -> None:
    world.send()
    oid = world.oids[1]
    with open(world.path(oid), "rb") as stream:
        right = stream.read()
    wrong = {
        "flipped": b"X" + right[1:],
        "truncated": right[:100],
        "a page of HTML": b"<html>sorry</html>",
        "empty": b"",
    }[what]
    with open(world.path(oid), "wb") as stream:
        stream.write(wrong)
    got = world.receive()
    assert got.corrupt == [oid] and len(got.copied) == 2
    assert not world.there.has(oid)
    with open(world.path(oid), "wb") as stream:
        stream.write(right)
    assert sorted(world.receive().copied) == sorted(world.oids)
    assert_sound(world.there)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_no_missing_object(world: World, status: int) -> None:
    world.server.fault = times(100, refuse(status))  # type: ignore[assignment]
    for call in (world.send, world.receive, lambda: world.remote.missing(set(world.oids), MD5)):
        with pytest.raises(AuthError, match=str(status)):
            call()
    assert contents(world.there) == {}


def test_what_never_passes_is_said_and_ends(world: World) -> None:
    world.server.fault = times(10_000, refuse(500))  # type: ignore[assignment]
    with pytest.raises(StorageFailedError, match="500"):
        world.send()


def test_a_server_that_stalls_once_is_asked_again(world: World) -> None:
    world.send()
    release = threading.Event()
    world.server.fault = times(1, lambda handler: release.wait(20))  # type: ignore[assignment]
    try:
        assert sorted(world.receive().copied) == sorted(world.oids)
    finally:
        release.set()


def test_what_was_stored_by_half_is_sent_again_by_the_next_push(world: World) -> None:
    world.send()
    oid = world.oids[2]
    os.truncate(world.path(oid), 1000)

    def size_of(asked: str) -> int | None:
        record = world.here.stat(asked)
        return None if record is None else int.from_bytes(record[8:16], "little")

    assert world.remote.damaged(MD5, size_of=size_of, workers=1) == set()
    assert world.remote.missing(set(world.oids), MD5) == {oid}
    assert world.remote.missing({md5(b"never")}, MD5) == {md5(b"never")}

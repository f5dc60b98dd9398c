"""Faults over S3: F15 to F18, F63 to F67, with SeaweedFS behind a proxy that does harm."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.peers import servers
from tests.peers.servers import S3Peer

from kist.errors import KistError
from kist.remotes.storage import Body, Place, Storage, StorageFailedError
from kist.remotes.table import open_storage
from kist.testing.fault_contract import FaultContract, FaultWorld
from kist.testing.fault_proxy import FaultProxy
from kist.testing.storage_contract import read_all
from kist.testing.web_faults import Faults
from kist.testing.web_server import Handler, WebServer

_numbers = itertools.count()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Peer]:
    """Yields SeaweedFS with a bucket."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "data")
        yield peer


def opened(peer: S3Peer, endpoint: str, number: int, **options: str) -> Storage:
    """Returns a storage in a folder of the bucket."""
    given = {
        "endpointurl": endpoint,
        "access_key_id": peer.key_id,
        "secret_access_key": peer.secret,
        **options,
    }
    return open_storage(Place("store", f"s3://data/faults/{number}", "s3", given, {}))


class S3World(FaultWorld):
    """A folder of a bucket."""

    def __init__(self, root: Path, peer: S3Peer, proxy: FaultProxy) -> None:
        number = next(_numbers)
        super().__init__(
            root,
            lambda seconds: opened(peer, proxy.url, number, read_timeout=str(seconds)),
            opened(peer, peer.endpoint, number),
        )
        self.proxy = proxy
        self.faults = Faults()

    def begin(self, kind: str, count: int) -> None:
        """As of FaultWorld."""
        if kind != "flipped":
            self.proxy.fault = self.faults.arrange(kind, count)
            return
        self.faults.arrange("html", count)

        def flip(handler: Handler, body: bytes) -> bytes:
            is_value = handler.command == "GET" and "?" not in handler.path and len(body) > 1
            return bytes([body[0] ^ 1]) + body[1:] if is_value and self.faults.is_due() else body

        self.proxy.alter_answer = flip

    def is_over(self) -> bool:
        """As of FaultWorld."""
        return self.faults.are_over

    def take_back(self) -> None:
        """As of FaultWorld."""
        self.proxy.fault = None
        self.proxy.alter_answer = lambda handler, body: body
        self.faults.released.set()


class TestS3Faults(FaultContract):
    """The suite."""

    passing: ClassVar[list[str]] = ["503", "429", "500", "reset", "truncated", "stalled"]
    lasting: ClassVar[str] = "503"
    refusing: ClassVar[list[str]] = ["401", "403"]
    falsifying: ClassVar[list[str]] = ["flipped", "html"]
    halving: ClassVar[list[str]] = ["half"]

    @pytest.fixture
    def world(self, tmp_path: Path, peer: S3Peer) -> Iterator[FaultWorld]:
        """Yields a world."""
        with FaultProxy(peer.endpoint) as proxy:
            world = S3World(tmp_path, peer, proxy)
            yield world
            world.take_back()
            world.close()


def _signed(headers: dict[str, str]) -> bool:
    return "authorization" in {name.lower() for name in headers}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_credentials_do_not_follow_a_redirect_to_another_origin(
    peer: S3Peer, tmp_path: Path, status: int
) -> None:
    """F67: of single requests and of uploads in parts; whether it is followed or refused."""
    with FaultProxy(peer.endpoint) as proxy, WebServer(str(tmp_path / "elsewhere")) as other:

        def send_away(handler: Handler) -> bool:
            handler.answer(status, b"", {"Location": f"{other.url}{handler.path}"})
            return True

        proxy.fault = send_away
        storage = opened(peer, proxy.url, next(_numbers))
        for call in (
            lambda: storage.head("x"),
            lambda: read_all(storage, "x"),
            lambda: list(storage.list("")),
            lambda: storage.write("x", Body.of(b"x")),
            lambda: storage.begin("x", 10 << 20),
        ):
            try:
                call()
            except KistError as error:
                assert peer.secret not in error.message
        assert proxy.seen_headers and all(map(_signed, proxy.seen_headers))
        for headers in other.seen_headers:
            assert not _signed(headers)


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_the_service_asks_to_wait_is_known(peer: S3Peer, status: int) -> None:
    """F64: of single requests too, whose library does not show it; with one more question for all threads."""
    with FaultProxy(peer.endpoint) as proxy:
        storage = opened(peer, proxy.url, next(_numbers))

        def refuse(handler: Handler) -> bool:
            handler.answer(status, b"", {"Retry-After": "17"})
            return True

        proxy.fault = refuse
        for call in (
            lambda: storage.write("x", Body.of(b"x")),
            lambda: read_all(storage, "x"),
            lambda: storage.head("x"),
            lambda: list(storage.list("")),
        ):
            with pytest.raises(StorageFailedError) as caught:
                call()
            assert 15 < (caught.value.retry_after_s or 0) <= 17
        assert sum("X-Amz-Signature" in request for request in proxy.requests) == 1
        assert not any("X-Amz-Signature" in text for text in (caught.value.message, str(caught.value.hint)))

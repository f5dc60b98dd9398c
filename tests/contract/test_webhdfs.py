"""WebHDFS remotes against a stand-in of our own, which public client libraries work with (tests/peers)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.remotes import webhdfs
from kist.remotes.storage import (
    Body,
    Place,
    Storage,
    StorageAuthError,
    StorageFailedError,
    StoragePermissionError,
    StorageRefusedError,
)
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract, read_all
from kist.testing.web_server import Handler
from kist.testing.webhdfs_server import WebhdfsServer


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes parts small: what they hold does not matter."""
    monkeypatch.setattr(webhdfs, "_PART_BYTES", 256 << 10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebhdfsServer]:
    """Yields a running stand-in."""
    with WebhdfsServer(str(tmp_path / "hdfs")) as server:
        yield server


def opened(server: WebhdfsServer, **options: str) -> Storage:
    """Returns the storage at a server, in a folder that is not there yet."""
    address = server.url.replace("http://", "webhdfs://")
    return open_storage(Place("store", f"{address}/deep er/data", "webhdfs", options, {}))


class TestWebhdfs(StorageContract):
    """The suite."""

    @pytest.fixture
    def storage(self, server: WebhdfsServer) -> Storage:
        """Returns an empty storage."""
        server.token = "t0ken/secret"
        return opened(server, token="t0ken/secret")

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the token."""
        return ["t0ken"]


def test_who_asks_is_said(server: WebhdfsServer) -> None:
    opened(server, user="ann", proxy_to="bob").head("x")
    assert any("user.name=ann" in request and "doas=bob" in request for request in server.requests)
    server.user, server.password = "ann", "s3cret"
    opened(server, user="ann", password="s3cret").head("x")
    with pytest.raises(StorageAuthError, match="401") as caught:
        opened(server, user="ann", password="wr0ng").head("x")
    assert "wr0ng" not in caught.value.message


def test_refusals_are_told_apart_and_show_no_token(server: WebhdfsServer) -> None:
    server.readers = {"eve"}
    with pytest.raises(StoragePermissionError, match="permission to write"):
        opened(server, user="eve").write("x", Body.of(b"x"))
    server.token = "right"
    with pytest.raises(StorageAuthError) as caught:
        opened(server, token="wr0ng").head("x")
    assert "wr0ng" not in caught.value.message
    with pytest.raises(StorageRefusedError, match="no Kerberos"):
        opened(server, kerberos="true")


def test_a_proxy_stands_for_the_data_nodes(server: WebhdfsServer, tmp_path: Path) -> None:
    opened(server).write("x", Body.of(b"through"))
    with WebhdfsServer(server.folder) as proxy:

        def send_on(handler: Handler) -> bool:
            if "op=OPEN" in handler.path:
                handler.answer(307, b"", {"Location": f"{server.url}{handler.path}"})
                return True
            return False

        server.fault = send_on
        storage = opened(server, data_proxy_target=f"{proxy.url}/data/webhdfs/v1")
        assert read_all(storage, "x") == b"through"
        assert any("op=OPEN" in request for request in proxy.requests)


def test_half_a_file_is_seen_at_once(server: WebhdfsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(server)
    storage.write("x", Body.of(b"whole"))
    real = Handler._body
    monkeypatch.setattr(Handler, "_body", lambda self: (real(self) or b"")[:3])
    with pytest.raises(StorageFailedError, match="3 bytes are there of 6"):
        storage.write("x", Body.of(b"longer"))
    assert read_all(storage, "x") == b"whole"
    assert [item.key for item in storage.list("")] == ["x"]


def test_a_rename_replaces_in_one_step_and_a_gateway_that_cannot_still_works(server: WebhdfsServer) -> None:
    storage = opened(server)
    storage.write("x", Body.of(b"first"))
    server.requests.clear()
    storage.write("x", Body.of(b"second"))
    assert not any("op=DELETE" in request for request in server.requests), "the name is never missing"
    server.can_replace = False
    storage.write("x", Body.of(b"third"))
    assert read_all(storage, "x") == b"third"


def test_a_part_that_broke_off_is_continued_inside(server: WebhdfsServer) -> None:
    first = opened(server)
    step = first.abilities.part_bytes
    data = random.Random(4).randbytes(2 * step + 100)
    upload = first.begin("x", len(data))
    first.put_part(upload, 0, 0, data[:step])
    with open(os.path.join(server.folder, upload.id.strip("/")), "ab") as stream:
        stream.write(data[step : step + 1000])  # what came before the connection broke
    second = opened(server)
    again = second.begin("x", len(data))
    assert set(again.parts) == {0}
    for number in (1, 2):
        part = data[number * step : (number + 1) * step]
        second.put_part(again, number, number * step, part)
        second.put_part(again, number, number * step, part)  # tried again, for the answer was lost
    assert list(second.list("")) == []
    assert second.finish(again, {0: "", 1: "", 2: ""}).size == len(data)
    assert read_all(second, "x") == data


def test_what_two_pushes_write_at_once_never_gets_the_name(server: WebhdfsServer) -> None:
    first, second = opened(server), opened(server)
    step = first.abilities.part_bytes
    data = random.Random(5).randbytes(3 * step)
    parts = [data[number * step : (number + 1) * step] for number in range(3)]
    one = first.begin("x", len(data))
    first.put_part(one, 0, 0, parts[0])
    two = second.begin("x", len(data))
    first.put_part(one, 1, step, parts[1])
    with open(os.path.join(server.folder, one.id.strip("/")), "ab") as stream:
        stream.write(parts[1])  # the other's, which had asked for the length just before
    with pytest.raises(StorageFailedError, match="another program"):
        first.put_part(one, 2, 2 * step, parts[2])
    with pytest.raises(StorageFailedError, match="another program"):
        first.finish(one, {0: "", 1: "", 2: ""})
    with pytest.raises(StorageFailedError):
        second.put_part(two, 1, step, parts[1])
    assert first.head("x") is None
    assert second.begin("x", len(data)).parts == {}


def test_a_part_that_arrived_twice_is_thrown_away(
    server: WebhdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(server)
    step = storage.abilities.part_bytes
    upload = storage.begin("x", 3 * step)
    storage.put_part(upload, 0, 0, b"0" * step)
    append = webhdfs.WebhdfsStorage._append

    def twice(self: webhdfs.WebhdfsStorage, path: str, body: Body) -> None:
        append(self, path, body)
        append(self, path, body)

    monkeypatch.setattr(webhdfs.WebhdfsStorage, "_append", twice)
    with pytest.raises(StorageFailedError, match="another program"):
        storage.put_part(upload, 1, step, b"1" * step)
    assert storage.begin("x", 3 * step).parts == {}


def test_a_file_that_is_still_open_elsewhere_is_no_lack_of_permission(server: WebhdfsServer) -> None:
    storage = opened(server)

    def refuse(handler: Handler) -> bool:
        said = {"RemoteException": {"exception": "AlreadyBeingCreatedException", "message": "lease"}}
        handler.answer(403, json.dumps(said).encode())
        return True

    server.fault = refuse
    with pytest.raises(StorageFailedError, match="AlreadyBeingCreated"):
        storage.write("x", Body.of(b"1"))

"""The stand-in for WebHDFS works with public client libraries: what Kist wrote they read, and the other way round."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers

from kist.remotes.storage import Body, Place
from kist.remotes.table import open_storage
from kist.testing.project import Project
from kist.testing.storage_contract import read_all
from kist.testing.webhdfs_server import WebhdfsServer

HDFS = """
import sys
from hdfs import InsecureClient
client = InsecureClient(sys.argv[1], user="ann")
assert client.list("/base") == ["ours"], client.list("/base")
with client.read("/base/ours") as stream:
    assert stream.read() == b"from kist" * 1000
with client.read("/base/ours", offset=5, length=4) as stream:
    assert stream.read() == b"kist"
assert client.status("/base/ours")["length"] == 9000
client.makedirs("/base/deep/folder")
client.write("/base/deep/theirs", data=b"from hdfs")
client.rename("/base/deep/theirs", "/base/theirs")
client.write("/base/gone", data=b"x")
assert client.delete("/base/gone") and not client.delete("/base/gone")
assert client.status("/base/gone", strict=False) is None
"""
FSSPEC = """
import sys
from fsspec.implementations.webhdfs import WebHDFS
host, port = sys.argv[1].removeprefix("http://").split(":")
files = WebHDFS(host, int(port), user="ann")
assert files.cat_file("/base/ours") == b"from kist" * 1000
assert files.info("/base/ours")["size"] == 9000
assert not files.exists("/base/none")
with files.open("/base/theirs", "wb") as stream:
    stream.write(b"from fsspec")
assert sorted(files.ls("/base")) == ["/base/ours", "/base/theirs"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebhdfsServer]:
    """Yields a running stand-in."""
    with WebhdfsServer(str(tmp_path / "hdfs")) as server:
        yield server


@pytest.mark.parametrize(
    ("library", "script", "text"), [("hdfs", HDFS, b"from hdfs"), ("fsspec", FSSPEC, b"from fsspec")]
)
def test_a_public_library_and_kist_read_each_other(
    server: WebhdfsServer, library: str, script: str, text: bytes
) -> None:
    address = server.url.replace("http://", "webhdfs://ann@")
    storage = open_storage(Place("store", f"{address}/base", "webhdfs", {}, {}))
    storage.write("ours", Body.of(b"from kist" * 1000))
    # fsspec's is what DVC uses.
    python = servers.program("hdfs" if library == "hdfs" else "dvc", "bin/python")
    done = subprocess.run(
        [python, "-c", script, server.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert read_all(storage, "theirs") == text


def test_a_push_and_a_pull(server: WebhdfsServer, project: Project) -> None:
    project.kist("remote", "add", "-d", "store", server.url.replace("http://", "webhdfs://") + "/data")
    project.kist("remote", "modify", "store", "user", "ann")
    project.kist("push")
    assert os.path.isfile(os.path.join(server.folder, "data/files/md5/5b/bf5a52328e7439ae6e719dfe712200"))
    subprocess.run(["rm", "-rf", project.path(".dvc/cache"), project.path("data")], check=True)
    project.kist("pull")
    assert project.read("data/one.txt") == "one\n"
    assert project.kist("push").out == "Everything is up to date.\n"

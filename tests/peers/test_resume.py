"""A push of a large file that is killed in the middle: the next one sends the rest, on every service that keeps parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.peers import servers

from kist.testing import faulty_ssh
from kist.testing.fault_proxy import FaultProxy
from kist.testing.project import Project
from kist.testing.web_server import WebServer

SIZE = 64 << 20
CUT = SIZE // 2 + (1 << 20)
"""In the middle of a part: with one request at a time all before it are there."""


class Client:
    """A repository with one large file, and a `kist` that can be killed."""

    def __init__(self, root: Path, url: str, environ: Mapping[str, str], **options: str) -> None:
        self.project = Project(str(root / "project"))
        self.environ = {**os.environ, **environ}
        block = os.urandom(1 << 20)
        with open(self.project.path("large"), "wb") as stream:
            for number in range(SIZE >> 20):
                stream.write(number.to_bytes(8, "big") + block[8:])
        self.project.kist("add", "large", "--quiet")
        self.project.kist("remote", "add", "--default", "store", url, "--quiet")
        for option, value in options.items():
            self.project.kist("remote", "modify", "--local", "store", option, value)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a command that moves one part at a time."""
        argv = [sys.executable, "-P", "-m", "kist.cli.main", *words, "-j", "1"]
        self.process = subprocess.Popen(
            argv, cwd=self.project.root, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return self.process

    def kill(self) -> None:
        """Kills it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def run(self, *words: str) -> tuple[int, str]:
        """Runs a command to its end; returns its exit status and what it said."""
        out, _ = self.start(*words).communicate()
        assert self.process is not None
        return self.process.returncode, out.decode()

    def assert_whole(self) -> None:
        """A clone without a cache gets the file back."""
        path = self.project.path("large")
        with open(path, "rb") as stream:
            right = stream.read()
        os.unlink(path)
        subprocess.run(["rm", "-rf", self.project.path(".dvc/cache")], check=True)
        code, said = self.run("pull")
        assert code == 0, said
        with open(path, "rb") as stream:
            assert stream.read() == right


@pytest.fixture(params=["s3", "gs", "azure"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, FaultProxy]]:
    """Yields a client, and the proxy between it and the service."""
    folder = tmp_path_factory.mktemp("service")
    if request.param == "s3":
        with servers.seaweedfs(folder) as peer, FaultProxy(peer.endpoint) as proxy:
            servers.make_bucket(peer, "data")
            keys = {"access_key_id": peer.key_id, "secret_access_key": peer.secret}
            yield Client(tmp_path, "s3://data/large", {}, endpointurl=proxy.url, **keys), proxy
    elif request.param == "gs":
        with servers.fake_gcs_proxy(folder) as proxy:
            servers.make_gcs_bucket(proxy.url, "data")
            proxy.received = 0
            yield Client(tmp_path, "gs://data/large", {}, endpointurl=proxy.url), proxy
    else:
        with servers.azurite(folder) as connection:
            servers.make_container(connection, "data")
            upstream = connection.split("BlobEndpoint=", 1)[1].rstrip(";")
            with FaultProxy(upstream) as proxy:
                through = connection.replace(proxy.upstream, proxy.url.removeprefix("http://"))
                yield Client(tmp_path, "azure://data/large", {}, connection_string=through), proxy


@pytest.mark.timeout(40)
def test_a_push_that_was_killed_sends_only_the_rest(place: tuple[Client, FaultProxy]) -> None:
    client, proxy = place

    def kill_at_the_middle(received: int) -> None:
        if received >= CUT:
            client.kill()

    proxy.on_bytes = kill_at_the_middle
    assert client.run("push")[0] == -signal.SIGKILL
    proxy.on_bytes = lambda received: None
    proxy.received = 0
    code, said = client.run("push")
    assert code == 0 and "1 file pushed" in said, said
    assert 0 < proxy.received < 0.6 * SIZE
    client.assert_whole()


@pytest.mark.timeout(40)
def test_a_push_over_ssh_that_was_killed_sends_only_the_rest(tmp_path: Path) -> None:
    if faulty_ssh.sftp_server() is None:
        pytest.fail("OpenSSH's sftp-server is not installed: run tools/make_peers.sh")
    orders = str(tmp_path / "orders")
    programs = faulty_ssh.program(str(tmp_path / "bin"), orders)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
    client = Client(tmp_path, f"ssh://host{tmp_path}/service", environ)
    faulty_ssh.order(orders, f"kill-{CUT}", 1)
    assert client.run("push")[0] == -signal.SIGKILL
    faulty_ssh.take_back(orders)
    before = faulty_ssh.received(orders)
    assert before >= CUT
    code, said = client.run("push")
    assert code == 0 and "1 file pushed" in said, said
    assert 0 < faulty_ssh.received(orders) - before < 0.6 * SIZE
    client.assert_whole()


@pytest.mark.timeout(40)
def test_a_pull_over_http_that_was_killed_reads_only_the_rest(tmp_path: Path) -> None:
    with WebServer(str(tmp_path / "www")) as server, FaultProxy(server.url) as proxy:
        client = Client(tmp_path, proxy.url, {}, method="PUT")
        assert client.run("push")[0] == 0
        subprocess.run(["mv", client.project.path(".dvc/cache"), str(tmp_path / "aside")], check=True)

        def kill_at_the_middle(sent: int) -> None:
            # What stood in buffers when the beginning turned out to be that of a large file counts too.
            if sent >= CUT + (8 << 20):
                client.kill()

        proxy.on_sent = kill_at_the_middle
        assert client.run("fetch")[0] == -signal.SIGKILL
        proxy.on_sent = lambda sent: None
        proxy.sent = 0
        code, said = client.run("fetch")
        assert code == 0 and "1 file fetched" in said, said
        assert 0 < proxy.sent < 0.6 * SIZE

"""On each kind of storage, DVC pulls what Kist pushed and Kist pulls what DVC pushed; the options are DVC's own."""

from __future__ import annotations

import getpass
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers import servers

from kist.testing.web_server import WebServer

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]


class Kind(NamedTuple):
    """A storage: its address, and options as `remote modify` takes them, with `--local` where they are secrets."""

    url: str
    options: list[tuple[str, ...]]
    environ: dict[str, str]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """SeaweedFS."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "data")
        options = [
            ("endpointurl", peer.endpoint),
            ("--local", "access_key_id", peer.key_id),
            ("--local", "secret_access_key", peer.secret),
        ]
        yield Kind("s3://data/store", options, {})


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """fake-gcs-server."""
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as address:
        servers.make_gcs_bucket(address, "data")
        # DVC's library asks for the kind of a bucket over gRPC, which emulators lack.
        environ = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "STORAGE_EMULATOR_HOST": address}
        yield Kind("gs://data/store", [("endpointurl", address), ("allow_anonymous_login", "true")], environ)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """Azurite."""
    with servers.azurite(tmp_path_factory.mktemp("azurite")) as connection:
        servers.make_container(connection, "data")
        yield Kind("azure://data/store", [("--local", "connection_string", connection)], {})


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """A small server of our own, with a password."""
    with WebServer(str(tmp_path_factory.mktemp("www")), user="ann", password="s3cret") as server:
        options = [("auth", "basic"), ("user", "ann"), ("--local", "password", "s3cret")]
        yield Kind(f"{server.url}/store", options, {})


@pytest.fixture(scope="module")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """WsgiDAV."""
    with servers.wsgidav(tmp_path_factory.mktemp("dav"), user="ann", password="s3cret") as address:
        yield Kind(f"{address}/store", [("user", "ann"), ("--local", "password", "s3cret")], {})


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """OpenSSH."""
    folder = tmp_path_factory.mktemp("sshd")
    with servers.sshd(folder) as peer:
        programs = folder / "bin"
        programs.mkdir()
        wrapper = programs / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {servers.system_program("ssh")} -F {peer.config} "$@"\n')
        wrapper.chmod(0o755)
        options = [
            ("port", str(peer.port)),
            ("user", getpass.getuser()),
            ("keyfile", str(peer.key)),
        ]
        environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
        yield Kind(f"ssh://127.0.0.1{folder}/store", options, environ)


class Worker:
    """A person with a home, and both programs."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self.root = root
        (root / "home").mkdir(parents=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(root / "site"),
            "GIT_AUTHOR_NAME": "Ann",
            "GIT_AUTHOR_EMAIL": "ann@example.org",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.org",
            "AWS_EC2_METADATA_DISABLED": "true",
            **kind.environ,
        }

    def run(self, *argv: str, cwd: Path) -> str:
        """Returns what a command printed; it must succeed."""
        done = subprocess.run(argv, cwd=cwd, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def kist(self, *arguments: str, cwd: Path) -> str:
        """Runs kist."""
        return self.run(sys.executable, "-P", "-m", "kist.cli.main", *arguments, cwd=cwd)

    def dvc(self, *arguments: str, cwd: Path) -> str:
        """Runs the real DVC."""
        return self.run(os.environ["KIST_DVC"], *arguments, cwd=cwd)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the data of a workspace."""
    files = [*(folder / "data").rglob("*"), folder / "large", folder / "second"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def write(path: Path, data: bytes) -> None:
    """Writes a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["s3", "gs", "azure", "http", "webdav", "ssh"])
def test_each_pulls_what_the_other_pushed(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not os.environ.get("KIST_DVC"):
        pytest.skip("set KIST_DVC; `make test-all` does")
    kind: Kind = request.getfixturevalue(name)
    one = Worker(tmp_path / "one", kind)
    first = tmp_path / "first"
    first.mkdir()
    one.run("git", "init", "-q", "-b", "main", cwd=first)
    one.kist("init", "-q", cwd=first)
    one.kist("remote", "add", "-d", "store", kind.url, cwd=first)
    for option in kind.options:
        local = ["--local"] if option[0] == "--local" else []
        one.kist("remote", "modify", *local, "store", *option[-2:], cwd=first)
    source = random.Random(3)
    for number in range(5):
        write(first / "data" / f"d{number % 2}" / str(number), source.randbytes(100 * number))
    write(first / "large", source.randbytes((18 << 20) + 5))
    one.kist("add", "data", "large", cwd=first)
    assert "7 files pushed" in one.kist("push", cwd=first)
    one.run("git", "add", ".", cwd=first)
    one.run("git", "commit", "-qm", "data", cwd=first)

    two = Worker(tmp_path / "two", kind)
    second = tmp_path / "second"
    two.run("git", "clone", "-q", str(first), str(second), cwd=tmp_path)
    local_config = first / ".dvc" / "config.local"
    if local_config.exists():
        write(second / ".dvc" / "config.local", local_config.read_bytes())
    two.dvc("pull", "-q", cwd=second)
    assert contents(second) == contents(first)

    write(second / "data" / "new", b"from DVC")
    write(second / "second", source.randbytes(9 << 20))
    two.dvc("add", "-q", "data", "second", cwd=second)
    two.dvc("push", "-q", cwd=second)
    two.run("git", "add", ".", cwd=second)
    two.run("git", "commit", "-qm", "more", cwd=second)
    one.run("git", "pull", "-q", str(second), "main", cwd=first)
    one.kist("pull", cwd=first)
    assert contents(first) == contents(second)
    assert "up to date" in one.kist("push", cwd=first)
    assert one.kist("status", "-c", "--json", cwd=first).strip() == "{}"

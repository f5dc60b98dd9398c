"""`import-url`, `update`, `get-url` and `list-url` of real services: metafiles are DVC's, and the data is right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]

FILES = {"one.csv": b"one\n", "folder/a": b"a\n", "folder/sub/b": b"b" * 70_000}


class Desk:
    """Two repositories, one for each program, with the service as remote `there`."""

    def __init__(
        self, folder: Path, url: str, options: list[tuple[str, ...]], environ: dict[str, str]
    ) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "HOME": str(folder),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
            **environ,
        }
        for tool in ("dvc", "kist"):
            (folder / tool).mkdir()
            subprocess.run(["git", "init", "-q"], cwd=folder / tool, check=True)
            self.run(tool, "init", "-q")
            self.run(tool, "remote", "add", "-q", "there", url)
            for option in options:
                self.run(tool, "remote", "modify", "-q", *option[:-2], "there", *option[-2:])

    def run(self, tool: str, *words: str, code: int = 0) -> str:
        """Runs a program in its repository; returns what it printed."""
        start = [os.environ["KIST_DVC"]] if tool == "dvc" else [sys.executable, "-m", "kist.cli.main"]
        done = subprocess.run(
            [*start, *words],
            cwd=self.folder / tool,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == bool(code), (tool, words, done)
        return done.stdout

    def read(self, path: str) -> tuple[str, str]:
        """Returns a file of both repositories."""
        return (self.folder / "dvc" / path).read_text(), (self.folder / "kist" / path).read_text()

    def both(self, *words: str) -> None:
        """Runs a command with both programs."""
        self.run("dvc", *words)
        self.run("kist", *words)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """SeaweedFS."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "data")
        options = [
            ("endpointurl", peer.endpoint),
            ("--local", "access_key_id", peer.key_id),
            ("--local", "secret_access_key", peer.secret),
        ]
        yield Desk(tmp_path_factory.mktemp("s3"), "s3://data/given", options, {})


def put(desk: Desk, files: dict[str, bytes]) -> None:
    """Writes values by Kist's own storage: the remote's folder is what is imported from."""
    from kist.remotes.storage import Body
    from kist.repo.repository import Repository
    from kist.repo.settings import ConfigPaths
    from kist.repo.transfers import open_storage_of

    root = str(desk.folder / "kist")
    paths = ConfigPaths(None, None, f"{root}/.dvc/config", f"{root}/.dvc/config.local")
    repository = Repository.find(root, config_paths=paths, environ=desk.environ)
    storage = open_storage_of(repository, repository.settings.remote("there"))
    for key, data in files.items():
        storage.write(key, Body.of(data))
    storage.close()


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """fake-gcs-server."""
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as address:
        servers.make_gcs_bucket(address, "data")
        # DVC's library asks for the kind of a bucket over gRPC, which emulators lack.
        environ = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "STORAGE_EMULATOR_HOST": address}
        options = [("endpointurl", address), ("allow_anonymous_login", "true")]
        yield Desk(tmp_path_factory.mktemp("gs"), "gs://data/given", options, environ)


def test_what_google_holds_is_imported_as_dvc_does(gs: Desk) -> None:
    put(gs, FILES)
    gs.both("import-url", "remote://there/one.csv")
    gs.both("import-url", "remote://there/folder")
    for name in ("one.csv.dvc", "folder.dvc"):
        theirs, ours = gs.read(name)
        assert ours == theirs, name
    assert gs.read("folder/sub/b")[1] == FILES["folder/sub/b"].decode()


def test_what_s3_holds_is_imported_as_dvc_does(s3: Desk) -> None:
    put(s3, FILES)
    s3.both("import-url", "remote://there/one.csv")
    s3.both("import-url", "remote://there/folder")
    for name in ("one.csv.dvc", "folder.dvc"):
        theirs, ours = s3.read(name)
        assert ours == theirs, name
    assert s3.read("folder/sub/b")[1] == FILES["folder/sub/b"].decode()
    put(s3, {"folder/new": b"new\n"})
    s3.both("update", "folder.dvc")
    theirs, ours = s3.read("folder.dvc")
    assert ours == theirs
    assert (
        s3.run("kist", "list-url", "-R", "remote://there") == "folder/a\nfolder/new\nfolder/sub/b\none.csv\n"
    )
    s3.run("kist", "get-url", "remote://there/folder", "got")
    assert (s3.folder / "kist" / "got" / "new").read_bytes() == b"new\n"
    s3.run("kist", "import-url", "remote://there/nope", code=1)

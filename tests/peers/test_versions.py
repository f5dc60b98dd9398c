"""Remotes that keep files by their names, in versions: DVC pulls what Kist pushed, Kist what DVC pushed, with equal metafiles."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers
from tests.peers.test_interop import Kind, Worker, write

from kist.remotes.storage import Place, Storage
from kist.remotes.table import open_storage
from kist.testing.storage_contract import body_of

pytestmark = [pytest.mark.timeout(300)]

PEOPLE = {"data/a": b"first", "data/s/b": b"second", "data/s/1": b"x" * 70_000, "single": b"lone"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """SeaweedFS."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "data", keeps_versions=True)
        servers.make_bucket(peer, "plain")
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
        servers.make_gcs_bucket(address, "plain", keeps_versions=False)
        environ = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "STORAGE_EMULATOR_HOST": address}
        yield Kind("gs://data/store", [("endpointurl", address), ("allow_anonymous_login", "true")], environ)


def opened(kind: Kind, url: str) -> Storage:
    """Returns a storage at another place of the service."""
    options = {option[-2]: option[-1] for option in kind.options}
    return open_storage(Place("store", url, url.partition(":")[0], options, kind.environ))


class Pair:
    """A repository with a remote `cloud`, and a clone of it, each with a person of its own."""

    def __init__(self, tmp_path: Path, kind: Kind, option: str) -> None:
        self.kind = kind
        self.one, self.two = Worker(tmp_path / "one", kind), Worker(tmp_path / "two", kind)
        self.first, self.second = tmp_path / "first", tmp_path / "second"
        self.first.mkdir()
        self.one.run("git", "init", "-q", "-b", "main", cwd=self.first)
        self.one.kist("init", "-q", cwd=self.first)
        url = f"{kind.url}/{tmp_path.name}"
        shared = [("url", url), (option, "true"), *[words for words in kind.options if len(words) == 2]]
        section = "['remote \"cloud\"']\n"
        config = "[core]\n    remote = cloud\n" + section
        (self.first / ".dvc/config").write_text(config + "".join(f"    {k} = {v}\n" for k, v in shared))
        secret = [words[1:] for words in kind.options if len(words) == 3]
        if secret:
            text = section + "".join(f"    {k} = {v}\n" for k, v in secret)
            (self.first / ".dvc/config.local").write_text(text)
        for path, data in PEOPLE.items():
            write(self.first / path, data)
        self.one.kist("add", "-q", "data", "single", cwd=self.first)
        self.commit(self.first)

    def commit(self, folder: Path) -> None:
        """Commits everything."""
        self.one.run("git", "add", "-A", cwd=folder)
        self.one.run("git", "commit", "-qm", "data", cwd=folder)

    def clone(self) -> None:
        """Makes the second repository."""
        self.one.run("git", "clone", "-q", str(self.first), str(self.second), cwd=self.first)
        local = self.first / ".dvc/config.local"
        if local.exists():
            write(self.second / ".dvc/config.local", local.read_bytes())


def data_of(folder: Path) -> dict[str, bytes]:
    """Returns the data in a workspace."""
    paths = [*(folder / "data").rglob("*"), folder / "single"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def metafiles(folder: Path) -> dict[str, str]:
    """Returns the texts of metafiles."""
    return {path.name: path.read_text() for path in folder.glob("*.dvc") if path.is_file()}


def shape(texts: dict[str, str]) -> dict[str, str]:
    """Returns texts without what differs from write to write."""
    return {
        name: re.sub(r"(version_id|etag): .*", r"\1: X", re.sub(r"'(\d+)'", r"\1", text))
        for name, text in texts.items()
    }


@pytest.mark.compat
@pytest.mark.parametrize("name", ["s3", "gs"])
def test_each_pulls_what_the_other_pushed(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not os.environ.get("KIST_DVC"):
        pytest.skip("set KIST_DVC; `make test-all` does")
    pair = Pair(tmp_path, request.getfixturevalue(name), "version_aware")
    # The same push by both, to two places: equal metafiles but for the versions.
    shutil.copytree(pair.first, tmp_path / "copy")
    assert "4 files pushed" in pair.one.kist("push", cwd=pair.first)
    config = tmp_path / "copy" / ".dvc" / "config"
    config.write_text(config.read_text().replace("/store/", "/by-dvc/"))
    pair.one.dvc("push", "-q", cwd=tmp_path / "copy")
    assert shape(metafiles(pair.first)) == shape(metafiles(tmp_path / "copy"))
    pair.commit(pair.first)
    pair.clone()
    pair.two.dvc("pull", "-q", cwd=pair.second)
    assert data_of(pair.second) == PEOPLE
    # What DVC adds and pushes on top is pulled here, and a push here has nothing to do.
    write(pair.second / "data/new", b"from DVC")
    write(pair.second / "single", b"changed")
    (pair.second / "data/new").chmod(0o755)
    shutil.copytree(pair.second, tmp_path / "by-kist")
    pair.two.kist("add", "-q", "data", "single", cwd=tmp_path / "by-kist")
    pair.two.dvc("add", "-q", "data", "single", cwd=pair.second)
    assert metafiles(tmp_path / "by-kist") == metafiles(pair.second)
    pair.two.dvc("push", "-q", cwd=pair.second)
    pair.commit(pair.second)
    pair.one.run("git", "pull", "-q", str(pair.second), "main", cwd=pair.first)
    before = metafiles(pair.first)
    pair.one.kist("pull", cwd=pair.first)
    assert (
        data_of(pair.first)
        == data_of(pair.second)
        == PEOPLE
        | {
            "data/new": b"from DVC",
            "single": b"changed",
        }
    )
    assert pair.one.kist("push", cwd=pair.first) == "Everything is up to date.\n"
    assert pair.one.kist("status", "-c", "--json", cwd=pair.first) == "{}\n"
    assert metafiles(pair.first) == before


@pytest.mark.parametrize("name", ["s3", "gs"])
def test_a_bucket_without_versions_is_refused(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kind: Kind = request.getfixturevalue(name)
    pair = Pair(tmp_path, kind._replace(url=kind.url.replace("data", "plain")), "version_aware")
    with pytest.raises(AssertionError, match="does not keep versions"):
        pair.one.kist("push", cwd=pair.first)
    assert "cloud" not in metafiles(pair.first)["single.dvc"]
    assert list(opened(kind, f"{name}://plain").list("")) == []


@pytest.mark.parametrize("name", ["s3", "gs"])
def test_a_large_file_is_recognised_by_the_tag_of_its_parts(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pair = Pair(tmp_path, request.getfixturevalue(name), "worktree")
    write(pair.first / "single", os.urandom((17 << 20) + 5))
    pair.one.kist("add", "single", cwd=pair.first)
    unpushed = metafiles(pair.first)
    assert "4 files pushed" in pair.one.kist("push", cwd=pair.first)
    pushed = metafiles(pair.first)
    for path, text in unpushed.items():
        (pair.first / path).write_text(text)
    assert "files pushed" not in pair.one.kist("push", cwd=pair.first)
    assert metafiles(pair.first) == pushed
    url = f"{pair.kind.url}/{tmp_path.name}"
    opened(pair.kind, url).write("single", body_of(b"other"))
    (pair.first / "single").unlink()
    shutil.rmtree(pair.first / ".dvc/cache")
    pair.one.kist("pull", cwd=pair.first)
    assert (pair.first / "single").stat().st_size == (17 << 20) + 5

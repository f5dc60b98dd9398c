"""S3 remotes against SeaweedFS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers
from tests.peers.servers import S3Peer

from kist.remotes.storage import (
    Body,
    Place,
    Storage,
    StorageAuthError,
    StoragePermissionError,
    StorageUnreachableError,
)
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract, read_all

_numbers = itertools.count()
SECRET = "kist/secret+key"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Peer]:
    """Yields SeaweedFS with a bucket."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "data")
        yield peer


def opened(peer: S3Peer, *, url: str = "", environ: dict[str, str] | None = None, **options: str) -> Storage:
    """Returns a storage in a folder of its own."""
    given = {"endpointurl": peer.endpoint, **options}
    return open_storage(Place("store", url or f"s3://data/a b/{next(_numbers)}", "s3", given, environ or {}))


class TestSeaweed(StorageContract):
    """Keys in the remote's options."""

    @pytest.fixture
    def storage(self, peer: S3Peer) -> Storage:
        """Returns an empty storage."""
        return opened(peer, access_key_id=peer.key_id, secret_access_key=peer.secret)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the key."""
        return [SECRET]


def test_keys_of_the_environment_are_used(peer: S3Peer) -> None:
    environ = {"AWS_ACCESS_KEY_ID": peer.key_id, "AWS_SECRET_ACCESS_KEY": peer.secret}
    storage = opened(peer, environ=environ)
    storage.write("x", Body.of(b"x"))
    assert read_all(storage, "x") == b"x"


def test_a_profile_of_the_credentials_file_is_used(peer: S3Peer, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[work]\naws_access_key_id = {peer.key_id}\naws_secret_access_key = {peer.secret}\n"
    )
    storage = opened(peer, profile="work", credentialpath=str(credentials))
    storage.write("x", Body.of(b"x"))
    assert read_all(storage, "x") == b"x"
    with pytest.raises(StorageAuthError, match="no profile 'play'"):
        opened(peer, profile="play", credentialpath=str(credentials)).head("x")


def test_wrong_keys_and_lacking_permissions_are_told_apart(peer: S3Peer) -> None:
    wrong = opened(peer, access_key_id=peer.key_id, secret_access_key="wr0ng")
    with pytest.raises((StorageAuthError, StoragePermissionError)) as caught:
        wrong.write("x", Body.of(b"x"))
    assert "wr0ng" not in caught.value.message and "keys" in caught.value.message
    reader = opened(peer, access_key_id="reader-id", secret_access_key="reader-secret")
    with pytest.raises(StoragePermissionError, match="s3:PutObject"):
        reader.write("x", Body.of(b"x"))


def test_nobody_there_is_said_to_be_that(peer: S3Peer) -> None:
    port = servers.free_port()
    storage = opened(peer, endpointurl=f"http://127.0.0.1:{port}", access_key_id="a", secret_access_key="b")
    with pytest.raises(StorageUnreachableError):
        storage.head("x")


def test_no_keys_at_all_is_said_with_what_to_do(
    peer: S3Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageAuthError, match="no credentials"):
        opened(peer).head("x")

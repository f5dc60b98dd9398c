"""S3 remotes against Ceph's radosgw, which is strict about signatures and digests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from tests.peers import servers
from tests.peers.servers import S3Peer

from kist.remotes.s3 import S3Storage
from kist.remotes.storage import Body, Place, Storage, StorageAuthError, StoragePermissionError
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract

_numbers = itertools.count()
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Peer]:
    """Yields radosgw with a bucket."""
    with servers.radosgw(tmp_path_factory.mktemp("ceph")) as peer:
        servers.make_bucket(peer, "data", keeps_versions=True)
        yield peer


def opened(peer: S3Peer, **options: str) -> Storage:
    """Returns a storage in a folder of its own."""
    given = {
        "endpointurl": peer.endpoint,
        "access_key_id": peer.key_id,
        "secret_access_key": peer.secret,
        **options,
    }
    return open_storage(Place("store", f"s3://data/a b/{next(_numbers)}", "s3", given, {}))


class TestRadosgw(StorageContract):
    """The suite, in a bucket that keeps versions."""

    keeps_versions = True

    @pytest.fixture
    def storage(self, peer: S3Peer) -> Storage:
        """Returns an empty storage; few objects, for in this set-up each takes 50 ms (SeaweedFS tries pages)."""
        storage = opened(peer)
        assert isinstance(storage, S3Storage)
        storage.abilities = storage.abilities._replace(page=50)
        return storage

    @pytest.fixture
    def secrets(self, peer: S3Peer) -> list[str]:
        """Returns the key."""
        return [peer.secret]


def test_a_wrong_key_is_said_to_be_one(peer: S3Peer) -> None:
    with pytest.raises((StorageAuthError, StoragePermissionError)) as caught:
        opened(peer, secret_access_key="wr0ng").write("x", Body.of(b"x"))
    assert "wr0ng" not in caught.value.message and "keys" in caught.value.message

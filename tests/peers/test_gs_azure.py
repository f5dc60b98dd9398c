"""Google Cloud Storage and Azure Blob, against their emulators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers

from kist.remotes.storage import (
    Body,
    Place,
    Storage,
    StorageAuthError,
    StorageMissingError,
    StoragePermissionError,
    StorageUnreachableError,
)
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract, read_all

_numbers = itertools.count()


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the emulator's address, with a bucket."""
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as address:
        servers.make_gcs_bucket(address, "data")
        yield address


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the emulator's connection string, with a container."""
    with servers.azurite(tmp_path_factory.mktemp("azurite")) as connection:
        servers.make_container(connection, "data")
        yield connection


def gs(address: str, url: str = "") -> Storage:
    """Returns a storage in a folder of its own."""
    options = {"endpointurl": address}
    return open_storage(Place("store", url or f"gs://data/a b/{next(_numbers)}", "gs", options, {}))


def azure(url: str = "", environ: dict[str, str] | None = None, **options: str) -> Storage:
    """Returns a storage in a folder of its own."""
    url = url or f"azure://data/a b/{next(_numbers)}"
    return open_storage(Place("store", url, "azure", options, environ or {}))


class TestGs(StorageContract):
    """fake-gcs-server, in a bucket that keeps versions."""

    keeps_versions = True

    @pytest.fixture
    def storage(self, gcs: str) -> Storage:
        """Returns an empty storage."""
        return gs(gcs)


class TestAzure(StorageContract):
    """Azurite."""

    @pytest.fixture
    def storage(self, azurite: str) -> Storage:
        """Returns an empty storage."""
        return azure(connection_string=azurite)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the key."""
        return [servers.AZURITE_KEY]


@pytest.mark.parametrize("kind", ["gs", "azure"])
def test_large_values_are_written_from_a_stream(kind: str, gcs: str, azurite: str) -> None:
    storage = gs(gcs) if kind == "gs" else azure(connection_string=azurite)
    block = bytes(range(256)) * 4096  # 1 MiB
    count = 20
    body = Body(count << 20, lambda: iter([block] * count))
    assert storage.write("large", body).size == count << 20
    assert read_all(storage, "large") == block * count
    assert read_all(storage, "large", first=(5 << 20) + 3, size=1000) == (block * 2)[3:1003]


def test_a_bucket_that_is_not_there_is_named(gcs: str, azurite: str) -> None:
    with pytest.raises(StorageMissingError, match="there"):
        gs(gcs, "gs://nowhere/x").write("x", Body.of(b"x"))
    with pytest.raises(StorageMissingError, match="no container 'nowhere'"):
        azure("azure://nowhere/x", connection_string=azurite).write("x", Body.of(b"x"))


def test_the_environment_names_the_account(azurite: str) -> None:
    storage = azure(environ={"AZURE_STORAGE_CONNECTION_STRING": azurite})
    storage.write("x", Body.of(b"x"))
    assert read_all(storage, "x") == b"x"


def test_a_sas_token_is_enough_for_values_and_parts(azurite: str) -> None:
    storage = azure("azure://data/by token", connection_string=servers.with_sas(azurite, "data"))
    storage.write("x", Body.of(b"x"))
    assert read_all(storage, "x") == b"x"
    upload = storage.begin("large", 3 << 20)
    tags = {number: storage.put_part(upload, number, number << 20, b"y" * (1 << 20)) for number in (2, 0, 1)}
    assert set(storage.begin("large", 3 << 20).parts) == {0, 1, 2}
    assert storage.begin("large", 4 << 20).parts == {}, "those are of a value of another size"
    assert storage.finish(upload, tags).size == 3 << 20
    storage.close()


def test_wrong_keys_and_no_account_are_said_to_be_that(azurite: str) -> None:
    wrong = azurite.replace(servers.AZURITE_KEY, "d3JvbmcK")
    with pytest.raises((StorageAuthError, StoragePermissionError)) as caught:
        azure(connection_string=wrong).write("x", Body.of(b"x"))
    assert "d3JvbmcK" not in caught.value.message
    with pytest.raises(StorageAuthError, match="no account"):
        azure().head("x")


def test_nobody_there_is_said_to_be_that() -> None:
    with pytest.raises(StorageUnreachableError):
        gs(f"http://127.0.0.1:{servers.free_port()}").head("x")


def test_a_credentials_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "cannot be read"), (tmp_path / "bad", "is no JSON")):
        if "bad" in path.name:
            path.write_text("{")
        place = Place("store", "gs://data/x", "gs", {"credentialpath": str(path)}, {})
        with pytest.raises(StorageAuthError, match=words):
            open_storage(place).head("x")

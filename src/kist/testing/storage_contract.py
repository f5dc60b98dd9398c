"""The contract suite of storages: a backend's test module inherits `StorageContract` and gives it a fixture `storage`.

Not here: what only one service can do. Implements docs/spec/storage.md, section 2.

Example:
    class TestWebdav(StorageContract):
        @pytest.fixture
        def storage(self, server): ...
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Iterator
from typing import ClassVar, cast

import pytest

from kist.errors import KistError
from kist.remotes.storage import Body, Storage, StorageMissingError, VersionedStorage

OBJECT = "files/md5/0a/1b2c3d4e5f60718293a4b5c6d7e8f9"
ODD_KEYS = [
    "plain",
    "a b/c d.txt",
    "with+plus/and&amp;=?.bin",
    "hash#mark/per%cent%20sign",
    "ünï/cödé.txt",
    "quote'and\"double/x",
    "[brackets]/{braces}/(x)",
    "dir.dir",
    "a/" + "b/" * 12 + "deep",
    "tilde~/comma,semi;colon:at@dollar$",
]


def read_all(storage: Storage, key: str, *, first: int = 0, size: int | None = None) -> bytes:
    """Returns the bytes of a value."""
    return b"".join(storage.read(key, first=first, size=size))


def body_of(data: bytes) -> Body:
    """Returns a body with its md5."""
    return Body.of(data, md5=hashlib.md5(data, usedforsecurity=False).digest())


class StorageContract:
    """What each backend must pass against a real peer. Needs: `storage`, empty, a new one for each test.

    Attributes:
        odd_keys: keys that must survive; a subclass may leave out, with its reason, what a peer cannot hold.
        keeps_versions: whether the place of the fixture is set up to keep versions, where the service can.
    """

    odd_keys: ClassVar[list[str]] = ODD_KEYS
    keeps_versions: ClassVar[bool] = False

    def test_what_is_written_is_read_back(self, storage: Storage) -> None:
        """Sizes around the usual borders."""
        for size in (0, 1, 1000, 1 << 16, (1 << 20) + 7):
            data = random.Random(size).randbytes(size)
            item = storage.write(f"data/{size}", body_of(data))
            assert item.size == size
            assert read_all(storage, f"data/{size}") == data
            found = storage.head(f"data/{size}")
            assert found is not None and found.size == size and found.key == f"data/{size}"

    def test_a_value_is_replaced_as_a_whole(self, storage: Storage) -> None:
        """The second write wins, longer or shorter."""
        for data in (b"first, and long", b"2nd", b"third, and longer than the first"):
            storage.write(OBJECT, body_of(data))
            assert read_all(storage, OBJECT) == data

    def test_what_is_not_there_is_said_to_be_missing(self, storage: Storage) -> None:
        """In an empty place, and beside other values."""
        for _ in range(2):
            assert storage.head(OBJECT) is None
            assert storage.head("files") is None
            with pytest.raises(StorageMissingError):
                read_all(storage, OBJECT)
            storage.write(OBJECT[:-1] + "0", body_of(b"another"))

    def test_ranges_are_read_exactly(self, storage: Storage) -> None:
        """From the start, the middle, and to the end."""
        if not storage.abilities.ranges:
            pytest.skip("the service reads whole values only")
        data = random.Random(5).randbytes(300_000)
        storage.write(OBJECT, body_of(data))
        for first, size in ((0, 1), (0, 300_000), (7, 65_536), (299_999, 1), (100_000, None)):
            end = None if size is None else first + size
            assert read_all(storage, OBJECT, first=first, size=size) == data[first:end]

    def test_names_of_all_kinds_come_back_as_they_went(self, storage: Storage) -> None:
        """Characters that URLs, XML and shells treat specially."""
        for key in self.odd_keys:
            storage.write(key, body_of(key.encode()))
        for key in self.odd_keys:
            assert read_all(storage, key) == key.encode()
            item = storage.head(key)
            assert item is not None and item.key == key
        if storage.abilities.lists:
            assert {item.key for item in storage.list("")} == set(self.odd_keys)

    def test_listing_gives_every_key_below_a_prefix_with_its_size(self, storage: Storage) -> None:
        """More than one page where the page is small enough to try."""
        if not storage.abilities.lists:
            pytest.skip("the service cannot list")
        assert list(storage.list("")) == []
        assert list(storage.list("files/md5/")) == []
        count = min(storage.abilities.page + 5, 1100)
        sizes = {f"files/md5/{n % 3:02x}/{n:030x}": n % 7 for n in range(count)}
        self._write_many(storage, {key: b"x" * size for key, size in sizes.items()})
        storage.write("other", body_of(b"1"))
        assert {item.key: item.size for item in storage.list("files/md5/")} == sizes
        one = {key: size for key, size in sizes.items() if key.startswith("files/md5/01/")}
        assert {item.key: item.size for item in storage.list("files/md5/01/")} == one
        assert {item.key for item in storage.list("")} == {*sizes, "other"}

    def _write_many(self, storage: Storage, values: dict[str, bytes]) -> None:
        items = list(values.items())

        def some(first: int) -> None:
            for key, data in items[first::8]:
                storage.write(key, body_of(data))

        threads = [threading.Thread(target=some, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_deleted_keys_are_gone_and_deleting_again_is_no_error(self, storage: Storage) -> None:
        """Several at once where the service can."""
        if not storage.abilities.deletes:
            pytest.skip("the service cannot delete")
        keys = [f"d/{number}" for number in range(min(5, storage.abilities.deletes))]
        for key in [*keys, "d/kept"]:
            storage.write(key, body_of(b"x"))
        storage.delete(keys)
        storage.delete(keys)
        assert [storage.head(key) for key in keys] == [None] * len(keys)
        assert read_all(storage, "d/kept") == b"x"

    def test_a_body_that_fails_at_its_end_leaves_nothing(self, storage: Storage) -> None:
        """Bytes turn out to be wrong only when all were read."""

        class Wrong(Exception):
            pass

        def blocks() -> Iterator[bytes]:
            yield b"x" * 100_000
            raise Wrong

        with contextlib.suppress(Wrong, KistError):
            storage.write(OBJECT, Body(200_000, blocks))
        assert storage.head(OBJECT) is None
        storage.write(OBJECT, body_of(b"right"))
        with contextlib.suppress(Wrong, KistError):
            storage.write(OBJECT, Body(200_000, blocks))
        assert read_all(storage, OBJECT) == b"right"

    def test_parts_become_one_value_with_the_last(self, storage: Storage) -> None:
        """Nothing is seen before `finish`."""
        if not storage.abilities.parts:
            pytest.skip("the service writes whole values only")
        step = storage.abilities.part_bytes
        data = random.Random(9).randbytes(2 * step + 12_345)
        upload = storage.begin(OBJECT, len(data))
        order = [0, 1, 2] if storage.abilities.in_order else [2, 0, 1]
        tags = {n: storage.put_part(upload, n, n * step, data[n * step : (n + 1) * step]) for n in order}
        assert storage.head(OBJECT) is None
        assert storage.finish(upload, tags).size == len(data)
        assert read_all(storage, OBJECT) == data

    def test_parts_of_an_ended_process_are_found_and_continued(self, storage: Storage) -> None:
        """A second `begin` for the same key and size knows what is there."""
        if not (storage.abilities.parts and storage.abilities.resumes):
            pytest.skip("the service forgets unfinished parts")
        step = storage.abilities.part_bytes
        data = random.Random(10).randbytes(step + 777)
        first = storage.begin(OBJECT, len(data))
        storage.put_part(first, 0, 0, data[:step])
        again = storage.begin(OBJECT, len(data), before=first.id if storage.abilities.by_id else None)
        assert again.parts[0][0] == step
        tags = {0: again.parts[0][1], 1: storage.put_part(again, 1, step, data[step:])}
        storage.finish(again, tags)
        assert read_all(storage, OBJECT) == data
        assert storage.begin("another", len(data)).parts == {}

    def test_an_aborted_upload_leaves_nothing(self, storage: Storage) -> None:
        """And aborting twice is no error."""
        if not storage.abilities.parts:
            pytest.skip("the service writes whole values only")
        upload = storage.begin(OBJECT, 2 * storage.abilities.part_bytes)
        storage.put_part(upload, 0, 0, b"x" * storage.abilities.part_bytes)
        storage.abort(upload)
        storage.abort(upload)
        assert storage.head(OBJECT) is None
        if storage.abilities.lists:
            assert list(storage.list("")) == []

    def test_many_threads_at_once_do_not_mix_values(self, storage: Storage) -> None:
        """Each reads what it wrote."""
        wrong: list[str] = []

        def work(number: int) -> None:
            for turn in range(6):
                data = f"{number} {turn}".encode() * (1 + 2000 * (turn % 2))
                key = f"t/{number}-{turn}"
                storage.write(key, body_of(data))
                if read_all(storage, key) != data:
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert all(storage.head(f"t/{number}-5") is not None for number in range(12))

    def test_each_write_has_a_version_that_stays_what_it_was(self, storage: Storage) -> None:
        """Replaced, deleted and written again; whole and in ranges; the version is told by the write's own answer."""
        kept = self._versioned(storage)
        texts = [b"first, the longest", b"second", b""]
        versions = [kept.write("a b/x", body_of(text)).version for text in texts]
        kept.delete(["a b/x"])
        versions.append(kept.write("a b/x", body_of(b"last")).version)
        assert len({*versions, None, "", "null"}) == 4 + 3
        for text, version in zip([*texts, b"last"], versions, strict=True):
            assert version is not None
            item = kept.head_version("a b/x", version)
            assert item is not None and (item.size, item.version, item.key) == (len(text), version, "a b/x")
            assert b"".join(kept.read_version("a b/x", version)) == text
        first = versions[0] or ""
        for at, size in ((0, 5), (7, 3), (7, None), (17, 1), (0, 0)):
            end = None if size is None else at + size
            assert b"".join(kept.read_version("a b/x", first, first=at, size=size)) == texts[0][at:end]
        latest = kept.head("a b/x")
        assert latest is not None and latest.version == versions[-1]

    def test_versions_are_listed_with_what_is_told_of_them(self, storage: Storage) -> None:
        """The latest ones are marked, deletions are none, neighbours of the prefix stay out."""
        kept = self._versioned(storage)
        written = {
            (key, kept.write(key, body_of(text)).version, len(text))
            for text in (b"1", b"22")
            for key in ("d/a", "d/b c", "d.txt")
        }
        kept.delete(["d/a"])
        found = list(kept.versions("d/"))
        expected = {row for row in written if row[0] != "d.txt"}
        assert {(item.key, item.version, item.size) for item in found} == expected
        assert [item.key for item in found if item.is_latest and item.key == "d/a"] == []
        assert [item.size for item in found if item.is_latest and item.key == "d/b c"] == [2]
        told = {item.version: (item.tag, item.md5) for item in found}
        for _, version, _ in expected:
            key = next(item.key for item in found if item.version == version)
            item = kept.head_version(key, version or "")
            assert item is not None and (item.tag, item.md5) == told[version]
        assert list(kept.versions("nothing/")) == []

    def test_a_version_that_is_not_there_is_missing(self, storage: Storage) -> None:
        """Of a key that is there, with a version of another key."""
        kept = self._versioned(storage)
        kept.write("x", body_of(b"x"))
        kept.write("y", body_of(b"y"))
        other = kept.write("y", body_of(b"y again")).version or ""
        for key in ("x", "z"):
            assert kept.head_version(key, other) is None
            with pytest.raises(StorageMissingError):
                b"".join(kept.read_version(key, other))

    def test_parts_become_a_version(self, storage: Storage) -> None:
        """Whose id `finish` tells, although something else is written to the key at once."""
        kept = self._versioned(storage)
        if not kept.abilities.parts:
            pytest.skip("the service writes whole values only")
        step = kept.abilities.part_bytes
        data = random.Random(11).randbytes(step + 99)
        upload = kept.begin("large", len(data))
        tags = {n: kept.put_part(upload, n, n * step, data[n * step : (n + 1) * step]) for n in (0, 1)}
        item = kept.finish(upload, tags)
        kept.write("large", body_of(b"small"))
        assert item.version is not None and item.size == len(data)
        assert b"".join(kept.read_version("large", item.version)) == data

    def test_a_place_that_keeps_versions_says_so(self, storage: Storage) -> None:
        """And has a command for those that do not."""
        kept = self._versioned(storage)
        assert kept.keeps_versions() is True
        assert kept.versions_hint

    def _versioned(self, storage: Storage) -> VersionedStorage:
        if not (self.keeps_versions and storage.abilities.versions):
            pytest.skip("the service, or the place that the test has there, keeps no versions")
        return cast(VersionedStorage, storage)

    def test_names_and_addresses_hold_no_secret(self, storage: Storage, secrets: list[str]) -> None:
        """`secrets`: a fixture with what must not be shown."""
        for text in (storage.name, storage.url, repr(storage), str(vars(storage).get("url", ""))):
            assert not any(secret in text for secret in secrets)

    @pytest.fixture
    def secrets(self) -> list[str]:
        """Returns the passwords and keys that the storage was opened with; override where there are some."""
        return []

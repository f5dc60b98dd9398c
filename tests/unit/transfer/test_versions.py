"""Sending to, and taking from, a remote that keeps versions: parts of other content, wrong answers, memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kist.base.progress import SilentProgress
from kist.remotes.storage import Body, Item, StorageFailedError
from kist.store.loose import LooseStore
from kist.store.placements import Placement, Placements
from kist.store.statindex import StatIndex
from kist.testing.folder_storage import VersionedFolderStorage
from kist.transfer.stored import tag_of_parts
from kist.transfer.versions import VersionedRemote
from kist.transfer.versions_send import File, NoVersionsError, Sent, send_files
from kist.transfer.versions_take import take_versions

LARGE = (8 << 20) + 100


class Place:
    """A cache, and a service with a remote over it."""

    def __init__(self, tmp_path: Path) -> None:
        self.service = VersionedFolderStorage(str(tmp_path / "service"))
        self.placements = Placements()
        self.cache = LooseStore(str(tmp_path / "cache"))
        self.remote = VersionedRemote(
            self.service, self.placements, is_worktree=False, index=StatIndex(str(tmp_path / "index.db"))
        )

    def file(self, path: str, data: bytes, version: str | None = None) -> File:
        """Puts an object into the cache and returns the file."""
        oid = hashlib.md5(data).hexdigest()
        self.cache.write_small(oid, data)
        return File(path, oid, len(data), version)

    def send(self, *files: File) -> Sent:
        """Sends files."""
        return send_files(self.remote, files, self.cache, progress=SilentProgress())

    def read(self, path: str, item: Item) -> bytes:
        """Returns the bytes of a version."""
        return b"".join(self.service.read_version(path, item.version or ""))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Returns an empty one."""
    return Place(tmp_path)


def test_parts_that_an_interrupted_run_left_of_other_content_are_not_taken_over(place: Place) -> None:
    old, new = b"o" * LARGE, b"n" * LARGE
    step = 8 << 20
    upload = place.service.begin("x", LARGE)
    place.service.put_part(upload, 0, 0, old[:step])
    done = place.send(place.file("x", new))
    assert place.read("x", done.items["x"]) == new


def test_an_object_that_is_damaged_here_is_not_sent(place: Place) -> None:
    small, large = place.file("small", b"right"), place.file("large", b"l" * LARGE)
    for file in (small, large):
        path = Path(place.cache.path(file.oid))
        path.chmod(0o644)
        path.write_bytes(b"w" * file.size)
    done = place.send(small, large)
    assert sorted(why for _, _, why in done.failed) == ["corrupt", "corrupt"]
    assert done.items == {} and list(place.service.versions("")) == []


def test_the_version_is_that_of_the_write_though_somebody_writes_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = place.service.write

    def and_another(key: str, body: Body) -> Item:
        item = write(key, body)
        write(key, Body.of(b"somebody else's"))
        return item

    monkeypatch.setattr(place.service, "write", and_another)
    done = place.send(place.file("x", b"ours"))
    assert place.read("x", done.items["x"]) == b"ours"


def test_an_answer_without_a_version_is_refused_where_nobody_may_ask(place: Place) -> None:
    place.service.keeps = False
    file = place.file("x", b"1")
    with pytest.raises(NoVersionsError):
        place.send(file)
    assert place.service.calls["write"] == 0
    place.service.keeps_versions = lambda: None  # type: ignore[method-assign]
    with pytest.raises(NoVersionsError):
        place.send(file)


def test_the_same_object_in_two_places_is_sent_twice_and_read_from_either(
    place: Place, tmp_path: Path
) -> None:
    files = [place.file(path, b"same") for path in ("a", "b")]
    done = place.send(*files)
    assert sorted(done.sent) == ["a", "b"]
    for file in files:
        version = done.items[file.path].version or ""
        place.placements.note("store", "md5", file.oid, Placement(file.path, version))
    (tmp_path / "service.versions" / "a" / "v0").unlink()
    target = LooseStore(str(tmp_path / "other"))
    outcome = place.remote.receive({files[0].oid}, target, workers=1, progress=SilentProgress(), phase="")
    assert outcome.copied == [files[0].oid] and target.read(files[0].oid) == b"same"


def test_what_is_taken_gets_the_id_of_its_bytes(place: Place) -> None:
    contents = {"a": b"1", "s/b": b"2" * 100_000, "s/c": b""}
    versions = [place.service.write(path, Body.of(data)) for path, data in contents.items()]
    taken = take_versions(place.remote, versions, place.cache, progress=SilentProgress())
    assert taken.oids == {path: hashlib.md5(data).hexdigest() for path, data in contents.items()}
    assert {path: place.cache.read(oid) for path, oid in taken.oids.items()} == contents


def test_what_is_taken_and_has_another_size_than_told_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kist.transfer.engine.ATTEMPTS", 1)
    item = place.service.write("a", Body.of(b"12345"))._replace(size=4)
    with pytest.raises(StorageFailedError):
        take_versions(place.remote, [item], place.cache, progress=SilentProgress())
    assert place.cache.oids() == set()


def test_what_was_sent_of_an_object_that_is_damaged_here_is_not_taken_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.file("x", b"l" * LARGE)
    rot = b"w" * LARGE
    path = Path(place.cache.path(file.oid))
    path.chmod(0o644)
    path.write_bytes(rot)
    sums = [hashlib.md5(rot[at : at + (8 << 20)]).digest() for at in range(0, LARGE, 8 << 20)]
    there = Item("x", LARGE, tag=f'"{tag_of_parts(sums)}"', version="v0", is_latest=True)
    monkeypatch.setattr(place.service, "head", lambda key: there)
    done = place.send(file)
    assert done.items == {} and done.failed == [("x", file.oid, "corrupt")]

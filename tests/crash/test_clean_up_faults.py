"""fsck and gc beside damaged data: cache, remotes, metafiles, private state, configuration (F14-F21).

The remote is a folder, and a service that is asked request by request. Runs in this process: nothing is killed here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kist.testing.folder_storage import FolderStorage
from kist.testing.project import Answer, Project

from .invariants import md5
from .test_bitrot import DAMAGE, METAFILES, OTHER, object_path, read, rot

A, MODEL, OLD = b"a, the second\n", b"model\n" * 40, b"a, the first\n"
MANIFEST = b'[{"md5": "%s", "relpath": "a.txt"}, {"md5": "%s", "relpath": "sub/b.bin"}]'
MANIFESTS = {
    "empty": b"",
    "half": MANIFEST[:20],
    "bin": b"\0\xff garbage",
    "map": b"{}",
    "null": b"null",
    "other": OTHER,
}


class Site:
    """A project of which one version is committed and pushed, and an older one is needed by nothing.

    Attributes:
        cache, remote: folders with objects.
        manifest: id of the list of files of `data`.
    """

    def __init__(self, top: Path, address: str) -> None:
        self.project = Project(str(top / "project"))
        self.cache = self.project.path(".dvc/cache")
        self.remote = str(top / "remote")
        os.makedirs(self.remote)
        self.project.kist("remote", "add", "-q", "-d", "store", address or self.remote)
        self.project.write({"data/a.txt": OLD.decode(), "data/sub/b.bin": "b\n", "model.bin": MODEL.decode()})
        self.project.kist("add", "-q", "data", "model.bin")
        self.project.commit()
        self.project.kist("push", "-q")
        self.project.write({"data/a.txt": A.decode()})
        self.project.kist("add", "-q", "data")
        self.project.commit()
        self.project.kist("push", "-q")
        self.manifest = self.project.read("data.dvc").split("md5: ")[1].split()[0]

    def place(self, store: str) -> str:
        return self.cache if store == "cache" else self.remote

    def object(self, store: str, content: bytes) -> str:
        return object_path(self.place(store), md5(content))

    def list_of(self, store: str) -> str:
        return object_path(self.place(store), self.manifest)

    def stored(self, store: str) -> dict[str, bytes]:
        """Returns id -> bytes of what stands under an object's name."""
        found = {}
        for folder, _, names in os.walk(os.path.join(self.place(store), "files/md5")):
            for name in names:
                found[os.path.basename(folder) + name] = read(os.path.join(folder, name))
        return found

    def is_sound(self, store: str) -> bool:
        """Says whether a store has the present version whole, and nothing under a false name."""
        found = self.stored(store)
        needed = {md5(A), md5(b"b\n"), md5(MODEL), self.manifest}
        return needed <= found.keys() and all(md5(data) == oid[:32] for oid, data in found.items())

    def fsck(self, code: int = 0) -> Any:
        answer = self.project.try_kist("fsck", "-c", "--json")
        assert answer.code == code, answer
        return json.loads(answer.out)

    def gc(self, *words: str) -> Answer:
        """Runs a clean-up of all but the workspace's version, here and on the remote."""
        answer = self.project.try_kist("gc", "-w", "-c", "-f", *words)
        assert "Traceback" not in answer.err
        return answer

    def lose_workspace(self) -> None:
        """So that nothing can be mended from there."""
        for rel in ("data/a.txt", "data/sub/b.bin", "model.bin"):
            os.unlink(self.project.path(rel))


@pytest.fixture(params=["folder", "service"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    address = ""
    if request.param == "service":
        address = "s3://bucket/data"
        served = str(tmp_path / "remote")
        monkeypatch.setattr("kist.remotes.table.open_storage", lambda place: FolderStorage(served))
    return Site(tmp_path, address)


def mended(report: Any) -> dict[str, set[str]]:
    """Returns where -> ids of what was found damaged and mended."""
    return {
        place["where"]: {item["oid"] for item in place["damaged"] if item["mended_from"]}
        for place in report["places"]
    }


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("store", ["cache", "remote"])
def test_fsck_mends_what_rotted_in_one_store_from_the_other(site: Site, store: str, kind: str) -> None:
    """F14, F15."""
    site.lose_workspace()
    rot(site.object(store, A), DAMAGE[kind])
    rot(site.object(store, MODEL), DAMAGE[kind])
    found = mended(site.fsck())
    assert found["cache" if store == "cache" else "store"] == {md5(A), md5(MODEL)}
    assert site.is_sound("cache") and site.is_sound("remote")
    assert mended(site.fsck()) == {"cache": set(), "store": set()}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("store", ["cache", "remote"])
def test_gc_removes_no_named_object_because_it_is_damaged_nor_its_sound_copy(
    site: Site, store: str, kind: str
) -> None:
    """F14, F15."""
    rot(site.object(store, A), DAMAGE[kind])
    rot(site.object(store, OLD), DAMAGE[kind])
    before = {name: site.stored(name) for name in ("cache", "remote")}
    assert site.gc().code == 0
    for name, objects in before.items():
        gone = before[name].keys() - site.stored(name).keys()
        assert md5(OLD) in gone and len(gone) == 2, name
        assert site.stored(name).items() <= objects.items()
    # The damage is still known, and still mended.
    site.fsck()
    assert site.is_sound("cache") and site.is_sound("remote")


@pytest.mark.parametrize("store", ["cache", "remote"])
def test_fsck_mends_two_objects_that_changed_places_and_gc_keeps_them(site: Site, store: str) -> None:
    """F16."""
    site.lose_workspace()
    one, two = read(site.object(store, A)), read(site.object(store, MODEL))
    rot(site.object(store, A), lambda _: two)
    rot(site.object(store, MODEL), lambda _: one)
    assert site.gc().code == 0
    assert {md5(A), md5(MODEL)} <= site.stored(store).keys()
    assert {md5(A), md5(MODEL)} == set().union(*mended(site.fsck()).values())
    assert site.is_sound("cache") and site.is_sound("remote")


@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize("store", ["cache", "remote"])
def test_a_damaged_list_of_files_is_mended_by_fsck_and_never_believed_by_gc(
    site: Site, store: str, kind: str
) -> None:
    """F17."""
    rot(site.list_of(store), lambda _: MANIFESTS[kind])
    assert site.gc().code == 0  # the other store tells what the directory has
    for name in ("cache", "remote"):
        assert {md5(A), md5(b"b\n"), md5(MODEL)} <= site.stored(name).keys()
    site.fsck()
    assert site.is_sound("cache") and site.is_sound("remote")


@pytest.mark.parametrize("kind", [*MANIFESTS, "missing"])
def test_where_a_list_of_files_is_damaged_everywhere_gc_removes_nothing(site: Site, kind: str) -> None:
    """F17, F18."""
    for store in ("cache", "remote"):
        if kind == "missing":
            os.unlink(site.list_of(store))
        else:
            rot(site.list_of(store), lambda _: MANIFESTS[kind])
    before = site.stored("cache"), site.stored("remote")
    answer = site.gc()
    assert answer.code == 255 and site.manifest in answer.err and "'data'" in answer.err
    assert (site.stored("cache"), site.stored("remote")) == before


@pytest.mark.parametrize("store", ["cache", "remote"])
def test_a_missing_object_hinders_neither_and_is_sent_where_it_is_lacking(site: Site, store: str) -> None:
    """F18."""
    os.unlink(site.object(store, A))
    assert site.gc().code == 0
    other = "remote" if store == "cache" else "cache"
    assert {md5(A), md5(b"b\n"), md5(MODEL), site.manifest} <= site.stored(other).keys()
    assert {md5(b"b\n"), md5(MODEL), site.manifest} <= site.stored(store).keys()
    site.fsck()
    # A cache may lack what is on a remote; a remote with a list of files has its members.
    assert site.is_sound("remote")
    site.lose_workspace()
    site.project.kist("pull", "-q")
    assert site.project.read("data/a.txt") == A.decode()


@pytest.mark.parametrize("kind", [kind for kind in METAFILES if kind != "md5 is missing"])
def test_beside_a_damaged_metafile_gc_removes_nothing_and_fsck_mends_and_says_so(
    site: Site, kind: str
) -> None:
    """F19."""
    with open(site.project.path("model.bin.dvc"), "wb") as stream:
        stream.write(METAFILES[kind])
    before = site.stored("cache"), site.stored("remote")
    answer = site.gc()
    assert answer.code == 255 and "model.bin.dvc" in answer.err
    assert (site.stored("cache"), site.stored("remote")) == before
    rot(site.object("cache", A), DAMAGE["flip"])
    answer = site.project.try_kist("fsck", "-c")
    assert "Traceback" not in answer.err and "model.bin.dvc" in answer.err
    assert site.is_sound("cache") and site.is_sound("remote")


@pytest.mark.parametrize(
    "content", [b"", b"garbage\n" * 50, bytes(range(256)) * 40], ids=["empty", "text", "binary"]
)
def test_garbage_in_the_private_state_hinders_neither(site: Site, content: bytes) -> None:
    """F20."""

    def spoil() -> None:
        spoiled = 0
        for folder, _, names in os.walk(site.project.path(".dvc/tmp")):
            for name in names:
                path = os.path.join(folder, name)
                os.chmod(path, 0o644)
                if os.stat(path).st_nlink > 1:
                    os.unlink(path)  # shares its bytes with the cache
                with open(path, "wb") as stream:
                    stream.write(content)
                spoiled += 1
        assert spoiled

    site.project.kist("status")
    spoil()
    assert site.gc().code == 0
    assert md5(OLD) not in site.stored("cache") and md5(OLD) not in site.stored("remote")
    assert site.is_sound("cache") and site.is_sound("remote")
    rot(site.object("cache", A), DAMAGE["flip"])
    spoil()
    assert mended(site.fsck())["cache"] == {md5(A)}


@pytest.mark.parametrize(
    "content", [b"[core\n    remote = x\n", b"garbage\n", b"\0\xff\xfe\n"], ids=["open", "words", "binary"]
)
@pytest.mark.parametrize("name", ["config", "config.local"])
def test_a_damaged_configuration_stops_both_with_one_line(tmp_path: Path, content: bytes, name: str) -> None:
    """F21."""
    site = Site(tmp_path, "")
    with open(site.project.path(f".dvc/{name}"), "wb") as stream:
        stream.write(content)
    before = site.stored("cache"), site.stored("remote")
    for words in (("gc", "-w", "-c", "-f"), ("fsck", "-c")):
        answer = site.project.try_kist(*words)
        assert answer.code == 251 and name in answer.err and "1" in answer.err
        assert len([line for line in answer.err.splitlines() if not line.startswith("hint")]) == 1
    assert (site.stored("cache"), site.stored("remote")) == before

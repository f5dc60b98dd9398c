"""Listing what a store holds beyond what is needed, and removing objects."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.base import atomic
from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5, MD5
from kist.store import garbage
from kist.store.garbage import CannotRemoveError, beyond, is_stale, remove
from kist.store.loose import LooseStore

DAY_S = 86_400


def put(store: LooseStore, data: bytes, suffix: str = "") -> str:
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + suffix
    store.write_small(oid, data)
    return oid


@pytest.fixture(params=[MD5, LEGACY_MD5])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> LooseStore:
    return LooseStore(str(tmp_path / "cache"), request.param)


def listed(store: LooseStore, needed: set[str], workers: int = 1) -> dict[str, int]:
    return {item.oid: item.size_bytes for item in beyond(store, needed, workers=workers).leftovers}


def test_a_store_that_is_not_there_holds_nothing(store: LooseStore) -> None:
    assert beyond(store, set(), workers=2) == garbage.Listing([], [])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_needed_is_listed_with_its_size(
    store: LooseStore, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "_FORK_OBJECTS", 10)
    oids = {put(store, b"%d\n" % number): len(b"%d\n" % number) for number in range(120)}
    manifest = put(store, b"[]", ".dir")
    needed = set(sorted(oids)[::3])
    found = listed(store, needed, workers)
    assert found == {oid: size for oid, size in oids.items() if oid not in needed} | {manifest: 2}
    assert listed(store, {*oids, manifest}, workers) == {}


def test_other_names_are_left_alone_and_unfinished_files_are_told(store: LooseStore) -> None:
    oid = put(store, b"object\n")
    folder = os.path.dirname(store.path(oid))
    os.mkdir(os.path.join(folder, "0" * 30))  # no object: a folder
    ours = os.path.join(folder, atomic.temp_name())
    theirs = os.path.join(store.root, ".abcdefghijklmnopqrstuv.tmp")
    staging = os.path.join(store.base, atomic.temp_name())
    for path in (ours, theirs, os.path.join(folder, "notes.txt"), os.path.join(folder, "1" * 29)):
        with open(path, "w"):
            pass
    os.mkdir(staging)
    found = beyond(store, set(), workers=1)
    assert [item.oid for item in found.leftovers] == [oid]
    assert set(found.temps) == {ours, theirs, staging}


def test_unfinished_files_of_the_living_and_young_ones_of_dvc_are_not_stale(tmp_path: Path) -> None:
    now_s = 1_000_000_000.0
    own = tmp_path / atomic.temp_name()
    dead = tmp_path / own.name.replace(f"-{os.getpid()}-", "-4000000-")
    theirs = tmp_path / ".abcdefghijklmnopqrstuv.tmp"
    for path in (own, dead, theirs):
        path.write_bytes(b"")
        os.utime(path, (now_s, now_s))
    assert not is_stale(str(own), now_s + 30 * DAY_S)
    assert is_stale(str(dead), now_s)
    assert not is_stale(str(theirs), now_s + DAY_S - 1)
    assert is_stale(str(theirs), now_s + DAY_S + 1)
    assert not is_stale(str(tmp_path / "gone.tmp"), now_s)


def test_objects_are_removed_and_those_that_are_gone_are_as_good(store: LooseStore) -> None:
    kept, gone = put(store, b"kept\n"), put(store, b"gone\n")
    manifest = put(store, b"[]", ".dir")
    remove(store, [gone, manifest, "0" * 32, "f" * 32 + ".dir"], progress=SilentProgress(), phase="Removing")
    assert store.oids() == {kept}


def test_manifests_go_first_and_are_gone_for_good_before_any_file(
    store: LooseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = [put(store, b"%d\n" % number) for number in range(5)]
    oids += [put(store, b"[] %d" % number, ".dir") for number in range(3)]
    steps: list[str] = []
    unlink: Callable[..., None] = os.unlink

    def noted(name: str, **options: int) -> None:
        steps.append("manifest" if name.endswith(".dir") else "file")
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", noted)
    monkeypatch.setattr(atomic, "sync_directory", lambda path: steps.append("sync"))
    remove(store, oids, progress=SilentProgress(), phase="Removing")
    assert steps[:3] == ["manifest"] * 3
    assert set(steps[3:-5]) == {"sync"}
    assert steps[-5:] == ["file"] * 5


def test_a_manifest_that_cannot_be_removed_keeps_all_files(
    store: LooseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = [put(store, b"file\n"), put(store, b"[]", ".dir"), put(store, b"[ ]", ".dir")]
    unlink: Callable[..., None] = os.unlink

    def refuse(name: str, **options: int) -> None:
        if name == oids[1][2:]:
            raise PermissionError(13, "Permission denied", name)  # root may remove anything
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(CannotRemoveError, match=oids[1][2:]):
        remove(store, oids, progress=SilentProgress(), phase="Removing")
    assert store.oids() == {oids[0], oids[1]}

"""The loose layout: names that may become paths, what is there, and putting damage aside."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests.unit.objects import make_poor, md5, put, read, write

from kist.base import atomic
from kist.formats.records import LEGACY_MD5
from kist.store import loose
from kist.store.loose import BadObjectIdError, LooseStore, ObjectCorruptError, ObjectMissingError


@pytest.mark.parametrize(
    "oid", ["", "../../secret", "a" * 31, "a" * 33, "A" * 32, "a" * 32 + ".dirx", "a" * 32 + "\n"]
)
def test_what_is_no_object_id_never_becomes_a_path(tmp_path: Path, oid: str) -> None:
    store = LooseStore(str(tmp_path))
    for use in (store.path, store.has, store.read, store.stat):
        with pytest.raises(BadObjectIdError):
            use(oid)


def test_the_layouts_are_those_of_dvc_3_and_2(tmp_path: Path) -> None:
    oid = "ab" + "c" * 30
    assert LooseStore("/base").path(oid + ".dir") == f"/base/files/md5/ab/{'c' * 30}.dir"
    assert LooseStore("/base", LEGACY_MD5).path(oid) == f"/base/ab/{'c' * 30}"


@pytest.mark.parametrize("limit", [0, 1000])
def test_missing_objects_are_found_by_asking_and_by_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(loose, "_STAT_LIMIT", limit)
    store = LooseStore(str(tmp_path))
    there = {put(store, bytes([number])) for number in range(20)} | {put(store, b"[]", suffix=".dir")}
    absent = {md5(b"x"), md5(b"y") + ".dir"}
    assert store.missing(there | absent) == absent
    assert store.missing([]) == set()
    assert LooseStore(str(tmp_path / "none")).missing(there) == there


def test_only_objects_are_listed(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path))
    oid = put(store, b"data")
    for junk in (
        f"{oid[:2]}/notes",
        f"{oid[:2]}/{atomic.temp_name()}",
        "zz/x",
        "file",
        f"{oid[:2]}/{oid[2:]}.unpacked",
    ):
        write(os.path.join(store.root, junk), b"x")
    assert store.oids() == {oid}
    assert store.objects(oid[:2]) == {oid: store.stat(oid)}
    assert store.objects("00" if oid[:2] != "00" else "01") == {}


def test_reading_checks_the_bytes_against_the_name(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path))
    oid = put(store, b"data")
    assert store.read(oid) == b"data" and store.is_intact(oid)
    write(store.path(oid), b"Data")
    assert not store.is_intact(oid)
    with pytest.raises(ObjectCorruptError):
        store.read(oid)
    os.unlink(store.path(oid))
    assert not store.is_intact(oid)
    with pytest.raises(ObjectMissingError):
        store.read(oid)


def test_an_old_object_of_text_is_intact_under_its_old_id(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path), LEGACY_MD5)
    oid = md5(b"a\nb\n")
    write(store.path(oid), b"a\r\nb\r\n")
    assert store.is_intact(oid)
    write(store.path(oid), b"a\r\nc\r\n")
    assert not store.is_intact(oid)


@pytest.mark.parametrize("is_poor", [False, True])
def test_a_manifest_is_written_once_read_only_and_heals_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_poor: bool
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    store = LooseStore(str(tmp_path))
    oid = md5(b"[]") + ".dir"
    store.write_small(oid, b"[]")
    before = os.stat(store.path(oid))
    assert stat.S_IMODE(before.st_mode) == 0o444
    store.write_small(oid, b"[]")
    assert os.stat(store.path(oid)).st_ino == before.st_ino
    write(store.path(oid), b"[[")
    store.write_small(oid, b"[]")
    assert store.read(oid) == b"[]"


def test_what_is_put_aside_never_replaces_what_was_put_aside_before(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path))
    oid = put(store, b"right")
    for edit in (b"first edit", b"second edit", b"third edit"):
        write(store.path(oid), edit)
        store.quarantine(oid)
        assert not store.has(oid)
    kept = {read(entry.path) for entry in os.scandir(tmp_path / "kist-bad")}
    assert kept == {b"first edit", b"second edit", b"third edit"}
    store.quarantine(oid)  # nothing is there any more
    assert len(os.listdir(tmp_path / "kist-bad")) == 3


def test_folders_of_a_group_are_open_to_it_whatever_the_umask(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path / "cache"), shared_group=True)
    before = os.umask(0o077)
    try:
        store.make_prefixes(["ab"])
    finally:
        os.umask(before)
    for path in (tmp_path / "cache", tmp_path / "cache/files", Path(store.root) / "ab"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2775


def test_staging_of_the_dead_is_swept_and_that_of_the_living_stays(tmp_path: Path) -> None:
    store = LooseStore(str(tmp_path))
    own = store.new_staging()
    write(own + "/0-0", b"unfinished")
    process = subprocess.Popen(["true"])
    process.wait()
    dead = tmp_path / f".kist-{atomic.host_tag()}-{process.pid}-1-00000000.tmp"
    write(dead / "0-0", b"unfinished")
    oid = put(store, b"data")
    loose.sweep_staging(str(tmp_path), 0)
    assert not dead.exists() and read(own + "/0-0") == b"unfinished" and store.has(oid)
    loose.remove_staging(own)
    assert not os.path.exists(own)

"""Objects, folders and a poor file system for the tests of stores, remotes and transfers."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

import pytest

from kist.base import atomic
from kist.base.listing import list_directory
from kist.store import links
from kist.store.ingest import FileBatch
from kist.store.loose import LooseStore


def md5(data: bytes) -> str:
    """Returns the id of some bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put(store: LooseStore, data: bytes, *, suffix: str = "") -> str:
    """Puts an object into a store by hand, and returns its id."""
    oid = md5(data) + suffix
    store.make_prefixes([oid[:2]])
    write(store.path(oid), data)
    os.chmod(store.path(oid), 0o444)
    return oid


def write(path: str | Path, data: bytes) -> None:
    """Writes a file, over a read-only one too."""
    if os.path.lexists(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)


def read(path: str | Path) -> bytes:
    """Returns a file's bytes."""
    with open(path, "rb") as stream:
        return stream.read()


def contents(store: LooseStore) -> dict[str, bytes]:
    """Returns id -> bytes of all objects."""
    return {oid: read(store.path(oid)) for oid in store.oids()}


def assert_sound(store: LooseStore) -> None:
    """Every object holds what its name says, and nothing unfinished is left."""
    for oid, data in contents(store).items():
        assert md5(data) == oid[:32]
    left = [name for _, folders, names in os.walk(store.base) for name in folders + names]
    assert not [name for name in left if atomic.is_temp_name(name)]


def batches_of(folder: str | Path, *, each: int = 3) -> list[FileBatch]:
    """Returns a folder's files in batches of `each`."""
    listing = list_directory(str(folder))
    names = listing.names.split("\0") if listing.names else []
    return [
        FileBatch(str(folder), "\0".join(names[at : at + each]), listing.stats[at * 32 : (at + each) * 32])
        for at in range(0, len(names), each)
    ]


def make_poor(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes reflink, flock, syncfs and fsync of folders away; returns a list of what was asked for in vain."""
    asked: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            asked.append("fsync of a folder")
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    def flock(descriptor: int, operation: int) -> None:
        asked.append("flock")
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def sync_file_system(path: str) -> bool:
        asked.append("syncfs")
        return False

    def clone(source: int, target: int) -> bool:
        asked.append("reflink")
        return False

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(atomic, "sync_file_system", sync_file_system)
    monkeypatch.setattr(links, "clone", clone)
    return asked


class Counted:
    """A progress that keeps what it was told.

    Attributes:
        rows: phase, files, bytes of each call.
        totals: files and bytes that each phase announced.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int]] = []
        self.totals: list[tuple[int | None, int | None]] = []
        self._name = ""

    def phase(self, name: str, files: int | None = None, size_bytes: int | None = None) -> Counted:
        self._name = name
        self.totals.append((files, size_bytes))
        return self

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        self.rows.append((self._name, files, size_bytes))

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

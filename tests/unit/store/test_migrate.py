"""Old objects get their new names: as links where that can be, as copies where not, and never when damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.objects import assert_sound, contents, md5, put, read, write

from kist.base.progress import SilentProgress
from kist.formats.records import LEGACY_MD5
from kist.store.loose import LooseStore
from kist.store.migrate import Migrated, migrate_store

TEXT, UNIX = b"a\r\nb\r\n", b"a\nb\n"


@pytest.fixture
def old(tmp_path: Path) -> LooseStore:
    store = LooseStore(str(tmp_path / "cache"), LEGACY_MD5)
    for data in (b"one", b"\0two", b""):
        put(store, data)
    put(store, b"[]", suffix=".dir")
    store.make_prefixes([md5(UNIX)[:2]])
    write(store.path(md5(UNIX)), TEXT)
    return store


def migrate(old: LooseStore, *, workers: int = 1) -> Migrated:
    return migrate_store(old, LooseStore(old.base), workers=workers, progress=SilentProgress())


def test_the_new_name_is_the_md5_of_the_bytes(old: LooseStore) -> None:
    before = contents(old)
    done = migrate(old)
    new = LooseStore(old.base)
    assert (
        set(done.new) == new.oids() == {md5(b"one"), md5(b"\0two"), md5(b""), md5(b"[]") + ".dir", md5(TEXT)}
    )
    assert done.damaged == []
    assert_sound(new)
    assert contents(old) == before
    assert os.path.samefile(old.path(md5(UNIX)), new.path(md5(TEXT)))
    assert os.stat(new.path(md5(b""))).st_nlink == 1
    assert all(os.stat(new.path(oid)).st_mode & 0o777 == 0o444 for oid in new.oids())
    assert migrate(old) == Migrated([], [])


def test_a_damaged_object_is_told_and_left(old: LooseStore) -> None:
    write(old.path(md5(b"one")), b"rotten")
    write(old.path(md5(b"[]") + ".dir"), b"[{}]")
    done = migrate(old)
    assert done.damaged == sorted([md5(b"one"), md5(b"[]") + ".dir"])
    assert read(old.path(md5(b"one"))) == b"rotten"
    assert_sound(LooseStore(old.base))
    assert len(done.new) == 3


def test_where_links_cannot_be_copies_are_made(old: LooseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(os, "link", link)
    assert len(migrate(old).new) == 5
    new = LooseStore(old.base)
    assert_sound(new)
    assert not os.path.samefile(old.path(md5(UNIX)), new.path(md5(TEXT)))


def test_nothing_old_is_nothing_to_do(tmp_path: Path) -> None:
    assert migrate(LooseStore(str(tmp_path / "cache"), LEGACY_MD5)) == Migrated([], [])
    assert not (tmp_path / "cache").exists()

"""What was seen complete stays so exactly until a prefix folder changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import md5, put

from kist.base.listing import settle
from kist.store.loose import LooseStore
from kist.store.presence import Presence
from kist.store.statindex import StatIndex


def never() -> set[str]:
    """Members that must not be asked for."""
    raise AssertionError("asked for members")


@pytest.fixture
def store(tmp_path: Path) -> LooseStore:
    """A store whose object folders have all kinds of names."""
    made = LooseStore(str(tmp_path / "cache"))
    for number in range(40):
        put(made, b"%d" % number)
    settle()
    return made


def test_members_are_asked_for_once_until_the_store_changes(tmp_path: Path, store: LooseStore) -> None:
    index = StatIndex(str(tmp_path / "index"))
    manifest = put(store, b"[]", suffix=".dir")
    members = {md5(b"%d" % number) for number in range(40)}
    assert Presence(index, store).has_all(manifest, lambda: members)
    assert Presence(index, store).has_all(manifest, never)
    assert Presence(index, store).is_known(manifest)
    index.close()


def test_a_lost_member_and_a_lost_manifest_are_noticed(tmp_path: Path, store: LooseStore) -> None:
    index = StatIndex(str(tmp_path / "index"))
    manifest = put(store, b"[]", suffix=".dir")
    members = {md5(b"%d" % number) for number in range(40)}
    assert Presence(index, store).has_all(manifest, lambda: members)
    os.unlink(store.path(manifest))
    assert not Presence(index, store).has_all(manifest, never)
    put(store, b"[]", suffix=".dir")
    index.close()


@pytest.mark.parametrize("number", range(40))
def test_whichever_member_is_lost_is_noticed(tmp_path: Path, store: LooseStore, number: int) -> None:
    index = StatIndex(str(tmp_path / "index"))
    manifest = put(store, b"[]", suffix=".dir")
    Presence(index, store).note(manifest)
    assert Presence(index, store).is_known(manifest)
    os.unlink(store.path(md5(b"%d" % number)))
    assert not Presence(index, store).is_known(manifest)
    assert not Presence(index, store).has_all(manifest, lambda: {md5(b"%d" % number)})
    index.close()


def test_a_folder_that_changed_just_now_is_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = StatIndex(str(tmp_path / "index"))
    store = LooseStore(str(tmp_path / "cache"))
    for number in range(256):
        os.makedirs(f"{store.root}/{number:02x}")
    manifest = put(store, b"[]", suffix=".dir")
    monkeypatch.setattr("kist.store.presence.RACY_NS", 1 << 60)
    Presence(index, store).note(manifest)
    assert not Presence(index, store).is_known(manifest)
    index.close()

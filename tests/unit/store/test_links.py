"""Link types are tried, not guessed, and the trial leaves nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.objects import make_poor

from kist.store import links


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """A store's folder and a workspace."""
    for name in ("store", "workspace"):
        (tmp_path / name).mkdir()
    return str(tmp_path / "store"), str(tmp_path / "workspace")


@pytest.mark.parametrize("kind", [links.HARDLINK, links.SYMLINK, links.COPY])
def test_the_first_type_that_works_is_chosen_and_nothing_is_left(places: tuple[str, str], kind: str) -> None:
    store, workspace = places
    assert links.choose_type([kind, links.COPY], store=store, workspace=workspace) == kind
    assert os.listdir(store) == os.listdir(workspace) == []


def test_without_reflinks_the_next_type_is_taken(
    places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, workspace = places
    asked = make_poor(monkeypatch)
    assert links.choose_type(links.DEFAULT_TYPES, store=store, workspace=workspace) == links.COPY
    assert asked == ["reflink"]
    assert os.listdir(store) == os.listdir(workspace) == []


def test_where_no_type_works_the_error_says_what_to_set(
    places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    make_poor(monkeypatch)
    with pytest.raises(links.NoLinkTypeError, match="reflink,hardlink") as caught:
        links.choose_type([links.REFLINK, links.HARDLINK], store=places[0], workspace=places[1])
    assert caught.value.hint is not None and "cache.type" in caught.value.hint
    assert os.listdir(places[0]) == os.listdir(places[1]) == []


def test_a_full_disk_is_not_taken_for_a_missing_ability(
    places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        links.choose_type([links.HARDLINK, links.COPY], store=places[0], workspace=places[1])


def test_a_link_never_replaces_a_file(places: tuple[str, str]) -> None:
    source, name = places[0] + "/object", places[1] + "/file"
    Path(source).write_bytes(b"object")
    Path(name).write_bytes(b"mine")
    for kind in (links.HARDLINK, links.SYMLINK):
        with pytest.raises(FileExistsError):
            links.make_link(kind, source, name)
    assert Path(name).read_bytes() == b"mine"

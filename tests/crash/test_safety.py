"""What a person has not stored yet is never taken from them (F53, F54, F56)."""

from __future__ import annotations

import os
import shutil

import pytest

from . import worlds
from .harness import Arena, remove_tree
from .invariants import CACHE, objects

pytestmark = pytest.mark.timeout(120)

LINKS = ("copy", "hardlink", "symlink")


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


@pytest.mark.parametrize("command", ["checkout", "pull"])
@pytest.mark.parametrize("link", LINKS)
def test_unsaved_edits_of_a_tracked_folder_are_kept(arena: Arena, command: str, link: str) -> None:
    worlds.two_versions(arena, link)
    arena.must("push", "-q")
    arena.write("data/a.txt", b"not stored anywhere")
    result = arena.kist(command)
    assert read(arena.path("data/a.txt")) == b"not stored anywhere"
    assert result.status != 0
    assert "data" in result.err
    assert not result.crashed()


@pytest.mark.parametrize("command", ["checkout", "pull"])
def test_an_unsaved_edit_of_a_tracked_file_is_kept(arena: Arena, command: str) -> None:
    worlds.two_versions(arena)
    arena.must("push", "-q")
    arena.write("model.bin", b"not stored anywhere")
    result = arena.kist(command)
    assert result.status != 0
    assert "model.bin" in result.err
    assert read(arena.path("model.bin")) == b"not stored anywhere"


@pytest.mark.parametrize("command", ["checkout", "pull"])
def test_an_untracked_file_in_a_tracked_folder_is_kept(arena: Arena, command: str) -> None:
    worlds.two_versions(arena)
    arena.must("push", "-q")
    arena.write("data/notes/mine.txt", b"mine")
    result = arena.kist(command)
    assert result.status != 0
    assert "data/notes/mine.txt" in result.err
    assert read(arena.path("data/notes/mine.txt")) == b"mine"


@pytest.mark.parametrize("command", ["checkout", "pull"])
@pytest.mark.parametrize("link", LINKS)
def test_switching_versions_keeps_unsaved_edits_and_untracked_files(
    arena: Arena, command: str, link: str
) -> None:
    first = worlds.two_versions(arena, link)
    arena.must("push", "-q")
    arena.write("data/a.txt", b"edited, not stored")
    arena.write("data/mine.txt", b"untracked")
    arena.write("model.bin", b"edited, too")
    worlds.name_version(arena, first)
    result = arena.kist(command)
    assert result.status != 0
    assert read(arena.path("data/a.txt")) == b"edited, not stored"
    assert read(arena.path("data/mine.txt")) == b"untracked"
    assert read(arena.path("model.bin")) == b"edited, too"


def test_an_edit_stored_in_no_cache_is_kept_when_its_folder_is_dropped_by_the_new_version(
    arena: Arena,
) -> None:
    first = worlds.two_versions(arena)
    arena.write("data/sub/e.txt", b"edited where version 1 has nothing")
    worlds.name_version(arena, first)
    assert arena.kist("checkout").status != 0
    assert read(arena.path("data/sub/e.txt")) == b"edited where version 1 has nothing"


def test_checkout_force_is_what_gives_edits_up(arena: Arena) -> None:
    worlds.two_versions(arena)
    arena.write("data/a.txt", b"given up")
    assert arena.kist("checkout", "--force").status == 0
    assert read(arena.path("data/a.txt")) == worlds.V2["data/a.txt"]


def test_a_tracked_output_that_a_person_put_back_by_hand_is_not_unsaved(arena: Arena) -> None:
    first = worlds.two_versions(arena)
    worlds.put(arena, worlds.V1)
    worlds.name_version(arena, first)
    assert arena.kist("checkout").status == 0


def test_pushing_to_a_file_instead_of_a_folder_fails(arena: Arena) -> None:
    worlds.two_versions(arena)
    remove_tree(arena.remote)
    with open(arena.remote, "wb") as stream:
        stream.write(b"I am a file")
    result = arena.kist("push")
    assert result.status != 0
    assert not result.crashed()
    assert arena.remote in result.err or "store" in result.err
    assert read(arena.remote) == b"I am a file"


@pytest.mark.parametrize("command", ["pull", "fetch"])
def test_getting_from_a_remote_that_is_not_there_fails(arena: Arena, command: str) -> None:
    worlds.clone(arena)
    remove_tree(arena.remote)
    result = arena.kist(command)
    assert result.status != 0
    assert not result.crashed()
    assert objects(arena.snapshot(), CACHE) == {}
    assert not os.path.exists(arena.path("model.bin"))


def test_a_remote_that_was_never_named_fails(arena: Arena) -> None:
    worlds.two_versions(arena)
    arena.write(".dvc/config", b"")
    for command in ("push", "pull", "fetch"):
        if command == "pull":
            shutil.rmtree(
                arena.path(".dvc/cache")
            )  # with everything at hand there is nothing to ask a remote for
        result = arena.kist(command)
        assert result.status != 0
        assert "remote" in result.err

"""Folders that may not be written or read (F33-F39), as somebody to whom permissions apply."""

from __future__ import annotations

import ctypes
import os
import stat

import pytest

from . import worlds
from .harness import KIST, Arena, Result
from .invariants import false_objects, md5, objects

pytestmark = pytest.mark.timeout(120)

_PR_SET_SECUREBITS = 28
_NO_ROOT = 1


def bound_by_permissions() -> None:
    """In the child: takes from root the right to pass by permission bits; others never had it.

    With this secure bit, a program that root starts gets no capabilities, whatever its owner and place.
    """
    if (
        os.geteuid() == 0
        and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0) != 0
    ):
        raise OSError(ctypes.get_errno(), "cannot give up root's privileges")


def kist(arena: Arena, *arguments: str) -> Result:
    result = arena.run((*KIST, *arguments), before=bound_by_permissions)
    assert not result.crashed()
    return result


def forbid(path: str, *, bits: int = 0o222) -> None:
    """Takes permission bits from a folder and all below it."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in [*names, "."]:
            full = os.path.join(folder, name)
            if not os.path.islink(full):
                os.chmod(full, stat.S_IMODE(os.stat(full).st_mode) & ~bits)


def refused(result: Result) -> bool:
    return result.status != 0 and "permission denied" in result.err.lower()


def test_the_preparation_makes_permissions_count(arena: Arena) -> None:
    os.makedirs(arena.path("locked"))
    forbid(arena.path("locked"))
    assert arena.run(("touch", "locked/x"), before=bound_by_permissions).status != 0


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_checkout_and_status_work_from_a_read_only_cache(arena: Arena, link: str) -> None:
    worlds.unlinked(arena, link)
    forbid(arena.path(".dvc/cache"))
    assert kist(arena, "checkout").status == 0
    assert kist(arena, "status").out.strip() == "Data and pipelines are up to date."
    for rel, content in worlds.V2.items():
        with open(arena.path(rel), "rb") as stream:
            assert stream.read() == content


def test_adding_to_a_read_only_cache_is_refused_and_touches_nothing(arena: Arena) -> None:
    worlds.edited(arena)
    before = worlds.metafiles(arena)
    forbid(arena.path(".dvc/cache"))
    assert refused(kist(arena, "add", "data"))
    assert worlds.metafiles(arena) == before
    for rel, content in worlds.V2.items():
        with open(arena.path(rel), "rb") as stream:
            assert stream.read() == content


def test_pulling_into_a_read_only_cache_is_refused(arena: Arena) -> None:
    worlds.clone(arena)
    os.makedirs(arena.path(".dvc/cache"))
    forbid(arena.path(".dvc/cache"))
    assert refused(kist(arena, "pull"))


def test_pulling_from_a_read_only_remote_works_and_pushing_to_it_is_refused(arena: Arena) -> None:
    worlds.clone(arena)
    forbid(arena.remote)
    assert kist(arena, "pull").status == 0
    assert kist(arena, "push").status == 0, "there is nothing to push"
    arena.write("data/new.txt", b"new")
    assert kist(arena, "add", "data").status == 0
    assert refused(kist(arena, "push"))
    assert false_objects(arena.snapshot()) == []


def test_a_read_only_workspace_folder_is_refused_by_checkout_and_stays_as_it_is(arena: Arena) -> None:
    worlds.switching(arena)
    forbid(arena.path("data"))
    assert refused(kist(arena, "checkout"))
    for rel, content in worlds.V2.items():
        if rel.startswith("data/"):
            with open(arena.path(rel), "rb") as stream:
                assert stream.read() == content


def test_a_read_only_repository_can_be_looked_at(arena: Arena) -> None:
    worlds.edited(arena)
    forbid(arena.repo)
    forbid(arena.home)
    for command in (
        ("status",),
        ("data", "status"),
        ("status", "-c"),
        ("remote", "list"),
        ("config", "--list"),
    ):
        assert kist(arena, *command).status == 0, command
    assert "data" in kist(arena, "status").out
    assert refused(kist(arena, "add", "data"))


def test_private_state_that_cannot_be_written_disturbs_nothing(arena: Arena) -> None:
    worlds.untracked(arena)
    arena.must("status")
    forbid(arena.home)
    forbid(arena.path(".dvc/tmp"))
    for command in (("add", "data"), ("status",), ("push",), ("checkout",), ("status", "-c")):
        assert kist(arena, *command).status == 0, command
    stored = objects(arena.snapshot(), "remote")
    assert {md5(content) for rel, content in worlds.V1.items() if rel.startswith("data/")} <= stored.keys()


def test_a_source_file_that_cannot_be_read_is_named(arena: Arena) -> None:
    worlds.untracked(arena)
    os.chmod(arena.path("data/sub/d.txt"), 0)
    result = kist(arena, "add", "data")
    assert refused(result)
    assert "d.txt" in result.err
    assert not os.path.exists(arena.path("data.dvc"))


def test_a_source_folder_that_cannot_be_read_is_named_and_not_taken_for_empty(arena: Arena) -> None:
    worlds.untracked(arena)
    os.chmod(arena.path("data/sub"), 0)
    result = kist(arena, "add", "data")
    os.chmod(arena.path("data/sub"), 0o755)
    assert refused(result)
    assert "sub" in result.err
    assert not os.path.exists(arena.path("data.dvc"))


def test_an_object_that_cannot_be_read_is_named(arena: Arena) -> None:
    worlds.unlinked(arena)
    oid = md5(worlds.V2["data/a.txt"])
    os.chmod(arena.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"), 0)
    result = kist(arena, "checkout")
    assert result.status != 0
    assert oid in result.err.replace("/", "") or "a.txt" in result.err

"""`gc` where it removes something: killed before each of its changing calls, and power cuts (F5, F42, F46).

Every version is committed, so that all of what nothing in the scope names goes at once, from the remote too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import pytest

from . import worlds
from .harness import KIST, TIMEOUT_S, Arena, World, for_each_kill
from .invariants import (
    CACHE,
    REMOTE,
    false_objects,
    half_metafiles,
    is_lasting,
    lost_data,
    md5,
    objects,
    torn_manifests,
)
from .test_concurrency import calls_of, stopped

pytestmark = pytest.mark.timeout(600)

SHARED = "cache"
OTHER = {"things/a.txt": worlds.V1["data/a.txt"], "things/z.txt": b"of the other project alone\n"}


class Case(NamedTuple):
    """One row.

    Attributes:
        stores: where manifests must always have their members.
        kept: contents that must stand in one of them at every moment.
        gone: how many objects an undisturbed run removes from each.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    stores: tuple[str, ...]
    kept: dict[str, bytes]
    gone: tuple[int, ...]


def matters(rel: str) -> bool:
    """Leaves out what is named by inodes, which are new after every restoring, and the other project's lock."""
    return is_lasting(rel) and "/kist-projects/" not in rel and not rel.startswith("other/.dvc/tmp")


def commit(arena: Arena) -> None:
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "version")


def two_commits(arena: Arena) -> None:
    """Two versions are committed, and on the remote; the second lies in the workspace."""
    worlds.added(arena)
    commit(arena)
    worlds.put(arena, worlds.V2)
    arena.must("add", "-q", *worlds.TARGETS)
    commit(arena)
    arena.must("push", "-q", "-A")


def emptied_cache(arena: Arena) -> None:
    """As above; a clean-up of the workspace alone has come before, so that manifests are on the remote only."""
    two_commits(arena)
    worlds.name_version(arena, worlds.metafiles(arena))
    arena.git("rm", "-q", "--cached", "model.bin.dvc")
    os.unlink(arena.path("model.bin.dvc"))
    commit(arena)
    arena.must("gc", "-w", "-f")


def two_projects(arena: Arena) -> None:
    """Two versions are committed, in a cache that another project uses as well."""
    worlds.empty(arena)
    arena.must("cache", "dir", "../cache")
    worlds.put(arena, worlds.V1)
    arena.must("add", "-q", *worlds.TARGETS)
    commit(arena)
    worlds.put(arena, worlds.V2)
    arena.must("add", "-q", *worlds.TARGETS)
    commit(arena)
    for rel, content in OTHER.items():
        arena.write("../other/" + rel, content)
    there = arena.path("../other")
    for words in (("init", "-q", "--no-scm"), ("cache", "dir", "../cache"), ("add", "-q", "things")):
        assert arena.run((*KIST, "--cd", there, *words)).status == 0


CASES = [
    Case("cache and remote", ("gc", "-w", "-c", "-f"), two_commits, (CACHE, REMOTE), worlds.V2, (4, 4)),
    Case(
        "all commits after the workspace", ("gc", "-A", "-c", "-f"), emptied_cache, (REMOTE,), worlds.V1, (0,)
    ),
    Case("a shared cache", ("gc", "-w", "-f"), two_projects, (SHARED,), worlds.V2 | OTHER, (3,)),
]


def checker(case: Case) -> Callable[[World], list[str]]:
    def check(world: World) -> list[str]:
        lines = false_objects(world.now) + half_metafiles(world)
        for store, gone in zip(case.stores, case.gone, strict=True):
            lines += torn_manifests(world.now, store)
            stored = set(objects(world.now, store).values())
            lines += [
                f"{rel} is gone from {store}" for rel, content in case.kept.items() if content not in stored
            ]
            removed = objects(world.old, store).keys() - objects(world.new, store).keys()
            if len(removed) != gone:
                lines.append(f"an undisturbed run removes {len(removed)} objects from {store}, not {gone}")
        return lines

    return check


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


@named(CASES)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_call_keeps_what_is_named_and_the_next_run_finishes(
    arena: Arena, case: Case, torn: bool
) -> None:
    case.prepare(arena)
    for_each_kill(arena, (*KIST, *case.argv), checker(case), torn=torn, matters=matters).check()


@named([case for case in CASES if any(case.gone)])
@pytest.mark.parametrize("cut", ["bytes", "names"])
def test_a_power_cut_at_any_call_keeps_what_is_named(arena: Arena, case: Case, cut: str) -> None:
    case.prepare(arena)
    for_each_kill(arena, (*KIST, *case.argv), checker(case), cut=cut, matters=matters, step=2).check()


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_after_a_killed_add_a_clean_up_loses_no_data(arena: Arena, link: str) -> None:
    """F42: whatever was stored already and is named by nothing yet, the person's files stay whole."""
    worlds.untracked(arena, link)

    def check(world: World) -> list[str]:
        assert arena.run((*KIST, "gc", "-w", "-f")).status == 0
        now = arena.snapshot()
        lines = false_objects(now) + lost_data(now, worlds.V1) + torn_manifests(now, CACHE)
        for rel, content in worlds.V1.items():
            path = arena.path(rel)
            with open(path, "rb") as stream:  # through a link, where it is one
                if md5(stream.read()) != md5(content):
                    lines.append(f"{rel} is not what it was")
        return lines

    for_each_kill(arena, (*KIST, "add", "-q", *worlds.TARGETS), check, matters=matters).check()


def test_while_an_add_stands_still_a_clean_up_of_another_project_takes_nothing_of_it(arena: Arena) -> None:
    """F42: stopped when all of its objects are in a shared cache, and no metafile names them; then it goes on."""
    two_projects(arena)
    fresh = {f"fresh/{number}.txt": b"fresh %d\n" % number for number in range(3)}
    for rel, content in fresh.items():
        arena.write(rel, content)
    adding = ("add", "-q", "fresh")
    moments = calls_of(arena, adding)
    stored = max(at for at, record in enumerate(moments) if f"{SHARED}/files/" in record.path)
    with stopped(arena, adding, moments[stored + 1].call) as holder:
        now = arena.snapshot()
        assert set(fresh.values()) <= set(objects(now, SHARED).values())
        assert "repo/fresh.dvc" not in now
        done = arena.run((*KIST, "--cd", arena.path("../other"), "gc", "-w", "-f"))
        assert not done.crashed()
        holder.go_on()
        assert holder.finish(TIMEOUT_S).status == 0
    now = arena.snapshot()
    assert set(fresh.values()) <= set(objects(now, SHARED).values())
    assert torn_manifests(now, SHARED) == []
    assert false_objects(now) == []

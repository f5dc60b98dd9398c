"""The merge driver, resolve and install, killed before each of their changing calls, and of those of their gits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

from . import worlds
from .harness import KIST, Arena, Entry, Snapshot, World, for_each_kill, remove_tree
from .invariants import false_objects, half_metafiles, is_lasting, lost_data, unbacked_metafiles
from .test_everyday import GitArena
from .warm import Warm

pytestmark = pytest.mark.timeout(600)

BASE = worlds.V1
OURS = BASE | {"data/a.txt": b"a, ours\n", "data/mine.txt": b"mine\n", "model.bin": b"our model\n"}
THEIRS = BASE | {"data/a.txt": b"a, theirs\n", "data/new.txt": b"new\n", "model.bin": b"their model\n"}
ALL = {
    f"{rel}@{name}": content
    for name, version in (("base", BASE), ("ours", OURS), ("theirs", THEIRS))
    for rel, content in version.items()
}
WITHOUT_OUR_MODEL = {label: content for label, content in ALL.items() if label != "model.bin@ours"}
MINE = b"#!/bin/sh\necho mine\n"


class MergeArena(GitArena):
    """An arena whose snapshots tell of Git what a merge changes: the index."""

    def snapshot(self) -> Snapshot:
        found = Arena.snapshot(self)
        found["git/index"] = Entry("git", 0, self.tell("ls-files", "--stage"))
        return found


@pytest.fixture
def arena(library: str, warm: Warm) -> Iterator[MergeArena]:
    import tempfile

    from .conftest import _quick_folder

    base = tempfile.mkdtemp(prefix="kist-crash-", dir=_quick_folder())
    try:
        yield MergeArena(base, library, warm)
    finally:
        remove_tree(base)


def forked(arena: Arena, ours: Mapping[str, bytes] = OURS) -> None:
    """Branches `theirs` and `ours`, which is checked out, changed the same things."""
    worlds.empty(arena)
    arena.git("checkout", "-q", "-b", "ours")
    commit(arena, BASE)
    arena.git("branch", "theirs")
    if "model.bin" not in ours:
        arena.must("remove", "-q", "--outs", "model.bin.dvc")
    commit(arena, ours)
    arena.git("checkout", "-q", "theirs")
    arena.must("checkout", "-q", "--force")
    commit(arena, THEIRS)
    arena.git("checkout", "-q", "ours")
    arena.must("checkout", "-q", "--force")


def commit(arena: Arena, version: Mapping[str, bytes]) -> None:
    worlds.put(arena, dict(version))
    arena.must("add", "-q", *sorted({rel.split("/")[0] for rel in version}))
    arena.git("add", "--all")
    arena.git("commit", "-q", "-m", "a version")


def stopped(arena: Arena) -> None:
    """In the middle of a merge in which a file of `data`, and `model.bin`, clash."""
    forked(arena)
    merge(arena)


def stopped_without_model(arena: Arena) -> None:
    """The same, but ours removed `model.bin`."""
    forked(arena, {rel: content for rel, content in OURS.items() if rel != "model.bin"})
    merge(arena)


def merge(arena: Arena) -> None:
    arena.must("install", "-q")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = arena.run(("git", "-c", "core.hooksPath=none", "merge", "theirs"), environ={"PATH": path})
    assert done.status == 1 and "kist resolve" in done.err, done


def versions(arena: Arena) -> None:
    """The files that Git hands to the driver for `data.dvc`, in which nothing clashes."""
    forked(arena, OURS | {"data/a.txt": BASE["data/a.txt"]})
    for name, rev in (("base", "ours~1"), ("mine", "ours"), ("other", "theirs")):
        done = arena.run(("git", "show", f"{rev}:data.dvc"))
        arena.write(name, done.out.encode())


def with_hooks(arena: Arena) -> None:
    """Somebody has a hook, which lies where snapshots see it, and attributes."""
    worlds.added(arena)
    arena.git("config", "core.hooksPath", "hooks")
    arena.write("hooks/pre-push", MINE)
    os.chmod(arena.path("hooks/pre-push"), 0o755)
    arena.write(".gitattributes", b"*.txt text\n")


def installed(arena: Arena) -> None:
    """The same, with our hooks."""
    with_hooks(arena)
    arena.must("install", "-q")


class Case(NamedTuple):
    """One row: what follows `kist`, what makes the state before, and what must be recoverable.

    Attributes:
        repeatable: the command succeeds when all is done already.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    precious: Mapping[str, bytes] = ALL
    repeatable: bool = True


DRIVER = (
    "git-hook",
    "merge-driver",
    "--ancestor",
    "base",
    "--our",
    "mine",
    "--their",
    "other",
    "--path",
    "data.dvc",
)
RESOLVE = [
    Case("resolve theirs", ("resolve", "--theirs"), stopped),
    Case("resolve ours", ("resolve", "--ours"), stopped),
    Case("resolve a part", ("resolve", "--theirs", "data"), stopped, repeatable=False),
    Case("resolve removed", ("resolve", "--ours"), stopped_without_model, WITHOUT_OUR_MODEL),
    Case("resolve kept", ("resolve", "--theirs"), stopped_without_model, WITHOUT_OUR_MODEL),
]
INSTALL = [
    Case("install", ("install",), with_hooks, {}),
    Case("uninstall", ("install", "--remove"), installed, {}),
    Case("install for pre-commit", ("install", "--use-pre-commit-tool"), with_hooks, {}),
]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


def unmerged(state: Snapshot) -> set[str]:
    lines = state["git/index"].content.decode().splitlines()
    return {line.split("\t")[1] for line in lines if line.split()[2] != "0"}


@named(RESOLVE)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_killed_resolve_loses_nothing_and_goes_on(arena: MergeArena, case: Case, torn: bool) -> None:
    def check(world: World) -> list[str]:
        now, old, new = world
        lines = (
            false_objects(now)
            + lost_data(now, case.precious)
            + unbacked_metafiles(now)
            + half_metafiles(world)
        )
        for path in unmerged(old) - unmerged(now):
            if now.get(f"repo/{path}") != new.get(f"repo/{path}"):
                lines.append(f"{path} is staged before it is written")
        return lines

    case.prepare(arena)
    for_each_kill(
        arena, (*KIST, *case.argv), check, torn=torn, matters=is_lasting, repeatable=case.repeatable
    ).check()


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("cut", ["", "bytes", "names"])
def test_a_killed_driver_leaves_our_version_or_the_merged_one(
    arena: MergeArena, torn: bool, cut: str
) -> None:
    """The merged one names a manifest that is there, also after the power went."""

    def check(world: World) -> list[str]:
        lines = false_objects(world.now) + lost_data(world.now, precious) + unbacked_metafiles(world.now)
        mine = world.now["repo/mine"]
        if not cut and mine not in (world.old["repo/mine"], world.new["repo/mine"]):
            lines.append(f"neither ours nor merged: {mine}")
        if mine == world.new["repo/mine"] != world.old["repo/mine"]:
            # As if Git had taken it over.
            lines += unbacked_metafiles(dict(world.now) | {"repo/data.dvc": mine})
        return lines

    precious = {label: content for label, content in ALL.items() if label != "data/a.txt@ours"}
    versions(arena)
    for_each_kill(arena, (*KIST, *DRIVER), check, torn=torn and not cut, cut=cut, matters=is_lasting).check()


@named(INSTALL)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_killed_install_keeps_the_hooks_of_others_and_goes_on(
    arena: MergeArena, case: Case, torn: bool
) -> None:
    def check(world: World) -> list[str]:
        lines = half_metafiles(world)
        there = [world.now.get(f"repo/hooks/pre-push{end}") for end in ("", ".before-kist")]
        if not any(entry is not None and entry.content == MINE for entry in there):
            lines.append(f"somebody's hook is gone: {there}")
        if there[0] is None:
            lines.append("for a moment there is no hook")
        for rel in ("repo/.gitattributes", "repo/.pre-commit-config.yaml"):
            if world.now.get(rel) not in (world.old.get(rel), world.new.get(rel)):
                lines.append(f"{rel} is neither old nor new")
        return lines

    case.prepare(arena)
    for_each_kill(arena, (*KIST, *case.argv), check, torn=torn, matters=is_lasting).check()

"""save, switch, sync, restore and expire, killed before each of their changing calls, and of those that git makes for them.

What Git has is part of the compared state: branch, history by content, tags, index, and the Git remote.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

from . import worlds
from .harness import (
    KIST,
    Arena,
    Entry,
    Snapshot,
    World,
    for_each_kill,
    remove_tree,
)
from .invariants import (
    REMOTE,
    false_objects,
    half_metafiles,
    is_lasting,
    lost_data,
    objects,
    torn_manifests,
)
from .shim import Shim, Switches
from .warm import Warm

pytestmark = pytest.mark.timeout(900)

ONE, TWO, BOTH = worlds.V1, worlds.V2, worlds.both_versions()
ORIGIN = "origin.git"


class GitShim(Shim):
    """Sees what is written in `.git` too, but for objects: those that a kill leaves are of no consequence."""

    sees_git = False

    def environment(self, switches: Switches, root: str) -> dict[str, str]:
        settings = super().environment(switches, root)
        # The other repository is another machine's: killing us does not kill what runs there.
        own = "/.git/objects/" if self.sees_git else "/.git/"
        settings["KIST_SHIM_SKIP"] = f"{own}:/{ORIGIN}/:/__pycache__/"
        return settings


class GitArena(Arena):
    """An arena whose snapshots tell what Git has."""

    def __init__(self, base: str, library: str, warm: Warm) -> None:
        super().__init__(base, library, warm)
        self.git_shim = GitShim(library, os.path.join(self.base, "side"))
        self.shim = self.git_shim
        self.shim.reset()

    def snapshot(self) -> Snapshot:
        found = {rel: entry for rel, entry in super().snapshot().items() if not rel.startswith(ORIGIN)}
        form = "%(refname) %(objecttype) %(tree)%(*tree) %(contents)"
        head = self.tell("log", "--format=%T %B", "--topo-order")
        branch = self.tell("rev-parse", "--abbrev-ref", "HEAD") + self.tell(
            "describe", "--all", "--exact-match"
        )
        refs = self.tell("for-each-ref", f"--format={form}", "refs/heads", "refs/tags")
        origin = self.tell("for-each-ref", f"--format={form}", cwd=os.path.join(self.work, ORIGIN))
        index = self.tell("ls-files", "--stage") + self.tell("status", "--porcelain")
        for name, text in (
            ("head", head),
            ("branch", branch),
            ("refs", refs),
            ("origin", origin),
            ("index", index),
        ):
            found[f"git/{name}"] = Entry("git", 0, text)
        journal = os.path.join(self.repo, ".dvc/tmp/kist/everyday.json")
        found["git/journal"] = Entry("git", 0, b"there" if os.path.exists(journal) else b"none")
        return found

    def tell(self, *words: str, cwd: str | None = None) -> bytes:
        """Returns what git prints, also where it fails."""
        environ = self.environment() | {"GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(
            ["git", *words],
            cwd=cwd or self.repo,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout


@pytest.fixture
def arena(library: str, warm: Warm) -> Iterator[GitArena]:
    import tempfile

    from .conftest import _quick_folder

    base = tempfile.mkdtemp(prefix="kist-crash-", dir=_quick_folder())
    try:
        yield GitArena(base, library, warm)
    finally:
        remove_tree(base)


# Worlds


def repository(arena: Arena, link: str = "copy") -> None:
    """A repository with a storage and a Git remote, both empty, on branch `main`."""
    arena.git("init", "-q", "--template=", "-b", "main")
    arena.git("init", "-q", "--template=", "--bare", "-b", "main", f"../{ORIGIN}")
    arena.git("remote", "add", "origin", f"../{ORIGIN}")
    # A remote repository on this machine must not start background work of its own.
    arena.git("config", "gc.auto", "0")
    arena.must("init", "-q")
    with open(arena.path(".dvc/config"), "w") as stream:
        stream.write(f"[core]\n    remote = store\n[cache]\n    type = {link}\n")
        stream.write(f"['remote \"store\"']\n    url = {arena.remote}\n")
    os.makedirs(arena.remote, exist_ok=True)
    arena.git("add", ".")


def saved_once(arena: Arena, link: str = "copy") -> None:
    """Version 1 is saved and pushed as `v1`."""
    repository(arena, link)
    worlds.put(arena, ONE)
    arena.write("code.py", b"print(1)\n")
    arena.git("add", "code.py")
    arena.must("save", "-q", "-m", "one", "--tag", "v1", "--push", *worlds.TARGETS)


def edited(arena: Arena, link: str = "copy") -> None:
    """Version 1 is saved, version 2 lies there, and code is staged."""
    saved_once(arena, link)
    worlds.put(arena, TWO)
    arena.write("code.py", b"print(2)\n")
    arena.git("add", "code.py")


def saved_twice(arena: Arena, link: str = "copy") -> None:
    """Both versions are saved and pushed, `main` is at version 2."""
    edited(arena, link)
    arena.write("later.py", b"print()\n")
    arena.git("add", "later.py")
    arena.must("save", "-q", "-m", "two", "--push")


def with_old_cache_only(arena: Arena, link: str = "copy") -> None:
    """At version 2, of which alone the cache has anything."""
    saved_twice(arena, link)
    worlds.drop_cache(arena)
    arena.must("save", "-q")


def behind(arena: Arena, link: str = "copy") -> None:
    """At version 1, the Git remote has version 2, the cache version 1 alone."""
    saved_twice(arena, link)
    arena.git("reset", "-q", "--hard", "v1")
    arena.git("update-ref", "refs/remotes/origin/main", "v1^{}")
    arena.must("checkout", "-q", "--force")
    worlds.drop_cache(arena)
    arena.must("save", "-q")


def diverged(arena: Arena, rebase: str) -> None:
    """At version 1 with a commit of its own, which changes another file; the Git remote has version 2."""
    behind(arena)
    arena.git("config", "pull.rebase", rebase)
    arena.write("mine.bin", b"mine\n")
    arena.must("save", "-q", "-m", "mine", "mine.bin")


def merging(arena: Arena) -> None:
    diverged(arena, "false")


def rebasing(arena: Arena) -> None:
    diverged(arena, "true")


def removed(arena: Arena) -> None:
    """`model.bin` of version 2 is tracked no more."""
    saved_twice(arena)
    arena.must("remove", "-q", "model.bin.dvc", "--outs")
    arena.must("save", "-q", "-m", "without a model")


DATED = {
    "data/2020-01-01.txt": b"over\n",
    "data/sub/2020-02.txt": b"over too\n",
    "data/2090-01-01.txt": b"not over\n",
    "data/a.txt": b"undated\n",
    "2020-03-03.bin": b"single, over\n" * 20,
}


def dated(arena: Arena, link: str = "copy") -> None:
    """A directory and a single file are saved, with files that are over and such that are not."""
    repository(arena, link)
    for rel, content in DATED.items():
        arena.write(rel, content)
    arena.must("save", "-q", "-m", "dated", "data", "2020-03-03.bin")


def linked(prepare: Callable[[Arena, str], object], link: str) -> Callable[[Arena], object]:
    return lambda arena: prepare(arena, link)


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        argv: what follows `kist`.
        prepare: makes the state before.
        precious: what must be recoverable at every moment.
        is_gits: Git writes metafiles, which it does not do in one step each.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    precious: Mapping[str, bytes]
    is_gits: bool = True


EXPIRE = ("expire", "--before", "2024-01-01", "--apply")
SAVE = ("save", "-m", "two", "--tag", "v2", "--push")
CASES = [
    Case("save", SAVE, edited, BOTH, is_gits=False),
    Case("save with hardlinks", SAVE, linked(edited, "hardlink"), BOTH, is_gits=False),
    Case("save new paths", ("save", "-m", "new", "data", "model.bin"), lambda arena: (repository(arena), worlds.put(arena, ONE)), ONE, is_gits=False),
    Case("switch", ("switch", "v1"), saved_twice, BOTH),
    Case("switch with symlinks", ("switch", "v1"), linked(saved_twice, "symlink"), BOTH),
    Case("switch and fetch", ("switch", "v1"), with_old_cache_only, BOTH),
    Case("switch to a new branch", ("switch", "-c", "exp", "v1"), saved_twice, BOTH),
    Case("sync forward", ("sync",), behind, BOTH),
    Case("sync merge", ("sync",), merging, BOTH | {"mine.bin": b"mine\n"}),
    Case("sync rebase", ("sync",), rebasing, BOTH | {"mine.bin": b"mine\n"}),
    Case("restore", ("restore", "data", "--rev", "v1"), saved_twice, BOTH, is_gits=False),
    Case("restore inside", ("restore", "data/sub/c.txt", "--rev", "v1"), with_old_cache_only, BOTH, is_gits=False),
    Case("expire", EXPIRE, dated, DATED, is_gits=False),
    Case("expire symlinks", EXPIRE, linked(dated, "symlink"), DATED, is_gits=False),
    Case("restore what is tracked no more", ("restore", "model.bin", "--rev", "v1"), removed, BOTH, is_gits=False),
]  # fmt: skip


def checker(case: Case) -> Callable[[World], list[str]]:
    def check(world: World) -> list[str]:
        now, old, new = world
        lines = false_objects(now) + lost_data(now, case.precious) + torn_manifests(now, REMOTE)
        lines += [] if case.is_gits else half_metafiles(world)
        heads = [state["git/head"].content for state in (old, new)]
        if now["git/head"].content not in heads and b"HEAD" not in now["git/branch"].content:
            lines.append(f"HEAD is neither before nor after: {now['git/head'].content!r}")
        if now["git/origin"].content != old["git/origin"].content:
            lacking = objects(new, REMOTE).keys() - objects(now, REMOTE).keys()
            lines += [f"Git was pushed before object {oid}" for oid in sorted(lacking)]
        is_told = now["git/journal"].content != b"none" or not case.is_gits
        if not is_told and not is_part_of(old, now) and not is_part_of(new, now):
            lines.append("the state is neither before nor after, and no journal tells of it")
        return lines

    return check


def is_part_of(state: Snapshot, now: Snapshot) -> bool:
    """Says whether everything of a state is there; more objects may be."""
    return all(now.get(rel) == entry for rel, entry in state.items() if is_lasting(rel))


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


@named(CASES)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_call_loses_nothing_and_the_same_command_goes_on(
    arena: GitArena, case: Case, torn: bool
) -> None:
    case.prepare(arena)
    for_each_kill(
        arena,
        (*KIST, *case.argv),
        checker(case),
        torn=torn,
        matters=is_lasting,
        repeatable=case.argv[0] != "switch",
    ).check()


@named([case for case in CASES if case.name in ("save", "save new paths", "restore", "expire")])
@pytest.mark.parametrize("cut", ["bytes", "names"])
def test_a_power_cut_at_any_call_loses_nothing_and_the_same_command_goes_on(
    arena: GitArena, case: Case, cut: str
) -> None:
    """Git's own folder is left out: what it makes durable is its own to say."""
    case.prepare(arena)
    for_each_kill(arena, (*KIST, *case.argv), checker(case), cut=cut, matters=is_lasting, step=3).check()


GITS = [
    case
    for case in CASES
    if case.name in ("save", "switch", "switch to a new branch", "sync forward", "sync merge", "sync rebase")
]


@named(GITS)
def test_a_kill_within_gits_own_folder_leaves_nothing_to_be_cleaned_by_hand(
    arena: GitArena, case: Case
) -> None:
    case.prepare(arena)
    arena.git_shim.sees_git = True
    for_each_kill(
        arena,
        (*KIST, *case.argv),
        checker(case),
        matters=is_lasting,
        repeatable=case.argv[0] != "switch",
    ).check()


class Next(NamedTuple):
    """Another command after a kill.

    Attributes:
        then: what follows `kist`.
        is_git_compared: it commits nothing, so that Git too is as before or as after the killed command.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    then: tuple[str, ...] = ("save",)
    is_git_compared: bool = True


NEXT = [
    Next("switch", ("switch", "v1"), saved_twice),
    Next("sync forward", ("sync",), behind),
    Next("sync merge", ("sync",), merging),
    Next("sync rebase", ("sync",), rebasing),
    Next("restore", ("restore", "data", "--rev", "v1"), saved_twice, is_git_compared=False),
    Next("expire inside", (*EXPIRE, "data"), dated, is_git_compared=False),
    Next("expire whole", (*EXPIRE, "2020-03-03.bin"), dated, is_git_compared=False),
    Next("checkout", ("checkout",), lambda arena: (saved_twice(arena), worlds.drop_workspace(arena))),
    Next(
        "pull",
        ("pull",),
        lambda arena: (saved_twice(arena), worlds.drop_workspace(arena), worlds.drop_cache(arena)),
    ),
]


@pytest.mark.parametrize("case", NEXT, ids=[case.name.replace(" ", "-") for case in NEXT])
def test_a_save_after_a_kill_settles_it_first_and_records_nothing_halfway(
    arena: GitArena, case: Next
) -> None:
    case.prepare(arena)
    arena.save()
    old = arena.snapshot()
    assert arena.run((*KIST, *case.argv), switches=Switches(log=True)).status == 0
    moments = [record.call for record in arena.shim.log() if record.phase == "B"]
    new = arena.snapshot()
    problems = []
    for call in moments:
        arena.restore()
        arena.run((*KIST, *case.argv), switches=Switches(kill_at=call))
        done = arena.run((*KIST, *case.then))
        now = arena.snapshot()
        if done.status != 0:
            problems.append(f"at call {call}: save ended with {done.status}: {done.err}")
        elif not any(is_as(state, now, with_git=case.is_git_compared) for state in (old, new)):
            problems.append(f"at call {call}: neither before nor after: {done.out}{done.err}")
    assert problems == []


def is_as(state: Snapshot, now: Snapshot, *, with_git: bool) -> bool:
    """Says whether all that a person sees of a state is there: workspace and metafiles, and Git if that counts.

    Data that was not there may have stayed away.
    """
    seen = [rel for rel in state if rel.startswith("repo/") and is_lasting(rel) and "/cache/" not in rel]
    if with_git:
        seen += [rel for rel in state if rel.startswith("git/")]
    return all(now.get(rel) == state[rel] for rel in seen) and not any(
        rel.startswith("repo/data/") and rel not in state for rel in now
    )


def test_a_switch_after_a_killed_save_loses_nothing(arena: GitArena) -> None:
    edited(arena)
    arena.save()
    assert arena.run((*KIST, *SAVE), switches=Switches(log=True)).status == 0
    moments = [record.call for record in arena.shim.log() if record.phase == "B"]
    problems = []
    for call in moments[::2]:
        arena.restore()
        arena.run((*KIST, *SAVE), switches=Switches(kill_at=call))
        done = arena.run((*KIST, "switch", "v1"))
        now = arena.snapshot()
        problems += [f"at call {call}: {line}" for line in lost_data(now, BOTH)]
        if done.status == 0 and now["git/journal"].content != b"none":
            problems.append(f"at call {call}: the journal is there after a switch that succeeded")
        if done.status != 0 and "would be lost" not in done.err:
            problems.append(f"at call {call}: the switch ended with {done.status}: {done.err}")
    assert problems == []


@pytest.mark.parametrize("garbage", [b"", b"\x00\xff garbage", b"[]", b'{"version": 99}', b'{"version": 1}'])
def test_garbage_in_place_of_the_journal_is_thrown_away_and_said(arena: GitArena, garbage: bytes) -> None:
    saved_twice(arena)
    arena.write(".dvc/tmp/kist/everyday.json", garbage)
    arena.write(".dvc/tmp/kist/checking-out.json", garbage)
    done = arena.kist("switch", "v1")
    assert done.status == 0
    assert "an unreadable note about an interrupted command was removed" in done.err
    assert not os.path.exists(arena.path(".dvc/tmp/kist/everyday.json"))
    assert {
        rel: entry.content
        for rel, entry in arena.snapshot().items()
        if rel.startswith("repo/data/") and entry.kind == "file"
    } == {"repo/" + rel: content for rel, content in ONE.items() if rel.startswith("data/")}

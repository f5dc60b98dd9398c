"""exp run, save, apply, remove, rename, and the queue, killed before some of their changing calls.

References of experiments are part of the compared state: each is there whole, or as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from .harness import KIST, Arena, Entry, Snapshot, World, for_each_kill, remove_tree
from .invariants import false_objects, half_metafiles, is_lasting, unbacked_runs
from .test_everyday import GitArena, repository
from .warm import Warm

pytestmark = pytest.mark.timeout(900)

PIPELINE = b"""\
stages:
  make: {cmd: cp params.yaml made.bin; cp params.yaml m.yaml, params: [lr], outs: [made.bin], metrics: [m.yaml: {cache: false}]}
"""
EDITED = b"print('mine, and nowhere else')\n"
KEPT = "refs/exps/apply/stash"
SAMPLE = 8
"""Kills for each row; by hand all of them can be tried, which takes minutes."""


class ExpArena(GitArena):
    """An arena whose snapshots tell of experiments and the queue, and of what `exp apply` keeps."""

    def snapshot(self) -> Snapshot:
        found = super().snapshot()
        form = "--format=%(refname) %(tree) %(parent)"  # the message says what ran, and a repeated run has less to do
        exps = self.tell("for-each-ref", form, "refs/exps", "--sort=refname")
        own = [line for line in exps.splitlines() if not line.startswith(b"refs/exps/apply")]
        found["git/exps"] = Entry("git", 0, b"\n".join(own))
        found["git/queue"] = Entry("git", 0, self.tell("for-each-ref", form, "refs/kist"))
        return found


@pytest.fixture
def arena(library: str, warm: Warm) -> Iterator[ExpArena]:
    import tempfile

    from .conftest import _quick_folder

    base = tempfile.mkdtemp(prefix="kist-crash-", dir=_quick_folder())
    try:
        yield ExpArena(base, library, warm)
    finally:
        remove_tree(base)


def committed(arena: Arena) -> None:
    """A pipeline that ran once, and a script, are committed."""
    repository(arena)
    arena.write("params.yaml", b"lr: 1\n")
    arena.write("code.py", b"print(1)\n")
    arena.write("dvc.yaml", PIPELINE)
    arena.must("repro", "-q")
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "one")


def edited(arena: Arena) -> None:
    """Code and a parameter are edited."""
    committed(arena)
    arena.write("code.py", EDITED)
    arena.write("params.yaml", b"lr: 3\n")


def with_experiment(arena: Arena) -> None:
    """There is an experiment, and the workspace has other edits."""
    committed(arena)
    arena.must("exp", "run", "-q", "-n", "e", "-S", "lr=2")
    arena.git("checkout", "-q", ".")
    arena.write("code.py", EDITED)


def with_task(arena: Arena) -> None:
    """An experiment waits in the queue."""
    committed(arena)
    arena.must("exp", "run", "-q", "--queue", "-n", "q", "-S", "lr=2")


class Case(NamedTuple):
    """One row: what follows `kist`, what is before, whether doing it again succeeds, and how many kills (0: all)."""

    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    repeatable: bool = False
    sample: int = SAMPLE


CASES = [
    Case(("exp", "run", "-n", "f", "-S", "lr=5"), edited),
    Case(("exp", "save", "-n", "s"), edited),
    Case(("exp", "apply", "e"), with_experiment, repeatable=True),
    Case(("exp", "remove", "e"), with_experiment, sample=0),
    Case(("exp", "rename", "e", "f"), with_experiment, sample=0),
    Case(("queue", "remove", "q"), with_task, sample=0),
]


@pytest.mark.parametrize("case", CASES, ids=["-".join(case.argv) for case in CASES])
def test_a_kill_leaves_experiments_as_before_or_after_and_loses_no_edit(arena: ExpArena, case: Case) -> None:
    case.prepare(arena)
    is_edited = case.prepare in (edited, with_experiment)

    def check(world: World) -> list[str]:
        now, old, new = world
        lines = false_objects(now) + unbacked_runs(now)
        lines += [] if case.argv[1] == "apply" else half_metafiles(world)  # Git writes them there
        if now["git/exps"] not in (old["git/exps"], new["git/exps"]):
            lines.append(f"experiments are neither before nor after: {now['git/exps'].content!r}")
        if now["git/head"] != old["git/head"]:
            lines.append("HEAD moved")
        code = now.get("repo/code.py")
        is_here = code is not None and code.content == EDITED
        if is_edited and not is_here and arena.tell("show", f"{KEPT}:code.py") != EDITED:
            lines.append(f"the edit is lost: {code}")
        return lines

    for_each_kill(
        arena, (*KIST, *case.argv), check, matters=is_lasting, repeatable=case.repeatable, sample=case.sample
    ).check()

"""Every command that changes files, killed before each of its changing calls, whole and torn; and power cuts.

F1-F4, F6, F9-F13 of the fault list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from . import worlds
from .harness import KIST, Arena, Snapshot, World, after_power_cut, for_each_kill, lasting_differences
from .invariants import (
    REMOTE,
    false_objects,
    half_metafiles,
    is_lasting,
    lost_data,
    torn_manifests,
    unbacked_metafiles,
    unbacked_runs,
)
from .shim import Switches

pytestmark = pytest.mark.timeout(300)

ONE, TWO, BOTH = worlds.V1, worlds.V2, worlds.both_versions()


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        name: for the reader.
        argv: what follows `kist`.
        prepare: makes the state before.
        precious: what must be recoverable at every moment.
        repeatable: the command succeeds when there is nothing left to do.
        remote: the command changes the remote, and its manifests are checked.
        backed: at every moment each metafile's objects are stored somewhere.
        starts_over: metafiles may be absent for a moment, as the person asked for new ones.
        leaves: pattern of what a kill may leave besides, for `gc` to remove.
    """

    name: str
    argv: tuple[str, ...]
    prepare: Callable[[Arena], object]
    precious: Mapping[str, bytes]
    repeatable: bool = True
    remote: bool = False
    backed: bool = True
    starts_over: bool = False
    leaves: str = "(?!)"

    def matters(self, rel: str) -> bool:
        """Says whether a path has to be as after an undisturbed run."""
        return is_lasting(rel) and re.fullmatch(self.leaves, rel) is None


def linked(prepare: Callable[[Arena, str], object], link: str) -> Callable[[Arena], object]:
    return lambda arena: prepare(arena, link)


def by_link(
    name: str, argv: tuple[str, ...], prepare: Callable[..., object], precious: Mapping[str, bytes]
) -> list[Case]:
    """Returns the same case for each way in which the workspace can share bytes with the cache."""
    return [
        Case(f"{name} {link}", argv, linked(prepare, link), precious)
        for link in ("copy", "hardlink", "symlink")
    ]


def bare_git(arena: Arena) -> None:
    arena.git("init", "-q", "--template=")
    worlds.put(arena, ONE)


def with_extra_file(arena: Arena) -> None:
    worlds.added(arena)
    arena.write("data/sub/new.txt", b"new\n")


def with_remotes(arena: Arena) -> None:
    worlds.added(arena)
    arena.must("remote", "add", "-q", "second", "../elsewhere")


def with_source(arena: Arena) -> None:
    worlds.empty(arena)
    for rel, content in ONE.items():
        arena.write("../source/" + rel, content)


def with_other_repository(arena: Arena) -> None:
    """Another repository with a tracked folder and files of Git lies beside this one."""
    worlds.empty(arena)
    source = os.path.join(arena.work, "source")
    os.makedirs(source)
    arena.git("-C", source, "init", "-q", "--template=")
    arena.must("init", "-q", cwd=source)
    for rel, content in {"data/a.txt": ONE["data/a.txt"], "code/x": b"x", "code/y": b"y"}.items():
        arena.write("../source/" + rel, content)
    arena.must("remote", "add", "-q", "-d", "store", arena.remote, cwd=source)
    arena.must("add", "-q", "data", cwd=source)
    arena.must("push", "-q", cwd=source)
    arena.git("-C", source, "add", "-A")
    arena.git("-C", source, "commit", "-q", "-m", "one")


def with_import(arena: Arena) -> None:
    """A folder is imported, and the other repository has a newer version."""
    with_other_repository(arena)
    arena.must("import", "-q", "../source", "data")
    source = os.path.join(arena.work, "source")
    arena.write("../source/data/b.txt", b"new\n")
    arena.must("add", "-q", "data", cwd=source)
    arena.must("push", "-q", cwd=source)
    arena.git("-C", source, "commit", "-q", "-a", "-m", "two")


PIPELINE = b"stages:\n  make:\n    cmd: cp model.bin made.bin\n    deps: [model.bin]\n    outs: [made.bin]\n"


def with_stage(arena: Arena) -> None:
    worlds.added(arena)
    arena.write("dvc.yaml", PIPELINE)
    arena.write("made.bin", ONE["model.bin"])


def with_history(arena: Arena) -> None:
    with_stage(arena)
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "one")


def with_committed_stage(arena: Arena) -> None:
    with_stage(arena)
    arena.must("commit", "-q", "-f")


STAGES = b"""\
stages:
  make: {cmd: cp model.bin made.bin, deps: [model.bin], params: [lr], outs: [made.bin], metrics: [params.yaml.m: {cache: false}]}
  folder:
    cmd:
    - mkdir folder
    - cp made.bin folder/one && cp made.bin folder/two
    deps: [made.bin]
    outs: [folder]
"""


def with_pipeline(arena: Arena, link: str = "copy") -> None:
    worlds.added(arena, link)
    arena.write("params.yaml", b"lr: 1\n")
    arena.write(
        "dvc.yaml",
        STAGES.replace(b"cp model.bin made.bin", b"cp model.bin made.bin; cp params.yaml params.yaml.m"),
    )


def with_changed_pipeline(arena: Arena, link: str = "copy") -> None:
    with_pipeline(arena, link)
    arena.must("repro", "-q")
    arena.write("model.bin", TWO["model.bin"])


def with_remembered_runs(arena: Arena, link: str = "copy") -> None:
    with_pipeline(arena, link)
    arena.must("repro", "-q")
    for name in ("made.bin", "folder/one", "folder/two", "dvc.lock"):
        os.unlink(arena.path(name))


EACH = b"""\
stages:
  each:
    cmd: cp -r $KIST_ITEM $KIST_OUT
    deps: [data]
    outs: [made]
    meta: {kist: {each: data}}
"""


def with_items(arena: Arena) -> None:
    worlds.added(arena)
    arena.write("dvc.yaml", EACH)
    arena.must("repro", "-q")
    arena.write("data/sub/new.txt", b"new\n")
    arena.write("data/other.txt", b"other\n")


def with_frozen_stage(arena: Arena) -> None:
    with_stage(arena)
    arena.must("freeze", "make")


def with_copies_that_are_to_be_links(arena: Arena) -> None:
    worlds.added(arena)
    arena.must("config", "-q", "cache.type", "hardlink")


def with_both_on_the_remote(arena: Arena) -> None:
    worlds.pushed_once(arena)
    arena.must("push", "-q")


def with_leftovers(arena: Arena) -> None:
    """Two versions, one needed; and an add of a third that was killed half-way."""
    worlds.two_versions(arena)
    arena.write("third/x", b"x")
    arena.kist("add", "third", switches=Switches(kill_at=30))


MANIFEST = r"repo/\.dvc/cache/files/md5/[0-9a-f]{2}(/[0-9a-f]{30}\.dir)?"
NEW = {"data/sub/new.txt": b"new\n"}
CASES = [
    Case("init", ("init",), bare_git, ONE, repeatable=False),
    Case(
        "init without git", ("init", "--no-scm"), lambda arena: worlds.put(arena, ONE), ONE, repeatable=False
    ),
    Case("init again", ("init", "-f"), worlds.added, ONE, backed=False, starts_over=True),
    Case("add a file", ("add", "model.bin"), worlds.untracked, ONE),
    *by_link("add a folder", ("add", "data"), worlds.untracked, ONE),
    *by_link("add again", ("add", "data", "model.bin"), worlds.edited, BOTH),
    Case("add inside", ("add", "data/sub/new.txt"), with_extra_file, ONE | NEW),
    Case("add several", ("add", "data", "model.bin"), worlds.untracked, ONE),
    Case("add to remote", ("add", "../source/data", "--to-remote"), with_source, {}, remote=True),
    Case("import", ("import", "../source", "data"), with_other_repository, {}),
    Case("import files of git", ("import", "../source", "code"), with_other_repository, {}),
    Case("import-url", ("import-url", "../source/data"), with_source, {}),
    Case(
        "import-url to remote", ("import-url", "../source/data", "--to-remote"), with_source, {}, remote=True
    ),
    Case("update", ("update", "data.dvc"), with_import, {}),
    Case("get", ("get", "-f", "../source", "data"), with_other_repository, {}),
    Case("get-url", ("get-url", "-f", "../source/data"), with_source, {}),
    *by_link("commit", ("commit", "-f"), worlds.edited, BOTH),
    Case("commit a stage", ("commit", "-f"), with_stage, ONE),
    *by_link("commit a stage", ("commit", "-f", "train"), worlds.staged, ONE),
    *by_link("checkout", ("checkout",), worlds.unlinked, BOTH),
    Case("checkout relink", ("checkout", "--relink"), with_copies_that_are_to_be_links, ONE),
    Case("checkout force", ("checkout", "--force"), worlds.edited, ONE),
    *by_link("checkout switch", ("checkout",), worlds.switching, BOTH),
    Case("push", ("push",), worlds.two_versions, BOTH, remote=True),
    Case("push again", ("push",), worlds.pushed_once, BOTH, remote=True),
    Case("fetch", ("fetch",), worlds.clone, BOTH),
    *by_link("pull", ("pull",), worlds.clone, BOTH),
    *by_link("pull update", ("pull",), worlds.behind, BOTH),
    Case("repro", ("repro",), with_pipeline, ONE),
    Case(
        "repro after a change",
        ("repro", "make"),
        linked(with_changed_pipeline, "symlink"),
        ONE | {"model.bin": TWO["model.bin"]},
    ),
    Case("repro of remembered runs", ("repro",), linked(with_remembered_runs, "hardlink"), ONE),
    Case("repro item by item", ("repro", "each"), with_items, ONE | NEW, leaves=MANIFEST),
    Case("stage", ("stage", "add", "-n", "new", "-o", "new.txt", "echo"), with_stage, ONE, repeatable=False),
    Case("freeze", ("freeze", "make"), with_stage, ONE),
    Case("unfreeze", ("unfreeze", "make"), with_frozen_stage, ONE),
    Case("plots modify", ("plots", "modify", "made.bin", "-x", "step"), with_stage, ONE),
    Case("dataset add", ("dataset", "add", "-f", "--dvc", ".", "own"), with_history, ONE),
    Case("remove", ("remove", "data.dvc"), worlds.added, ONE, repeatable=False),
    Case("remove outs", ("remove", "data.dvc", "--outs"), worlds.added, ONE, repeatable=False),
    Case("remove a stage", ("remove", "make", "--outs"), with_committed_stage, ONE, repeatable=False),
    Case("move a folder", ("move", "data", "moved"), worlds.added, ONE, repeatable=False),
    Case("move a file", ("move", "model.bin", "other.bin"), worlds.added, ONE, repeatable=False),
    Case("gc", ("gc", "-w", "-f"), with_leftovers, TWO),
    Case("gc of the remote", ("gc", "-w", "-c", "-f"), with_both_on_the_remote, TWO, remote=True),
    Case("unprotect a file", ("unprotect", "model.bin"), linked(worlds.added, "hardlink"), ONE),
    Case("unprotect hardlink", ("unprotect", "data"), linked(worlds.added, "hardlink"), ONE),
    Case("unprotect symlink", ("unprotect", "data"), linked(worlds.added, "symlink"), ONE),
    Case("config", ("config", "cache.type", "hardlink"), worlds.added, ONE),
    Case("config unset", ("config", "--unset", "cache.type"), worlds.added, ONE, repeatable=False),
    Case("remote add", ("remote", "add", "extra", "../extra"), worlds.added, ONE, repeatable=False),
    Case("remote modify", ("remote", "modify", "store", "jobs", "4"), worlds.added, ONE),
    Case("remote default", ("remote", "default", "second"), with_remotes, ONE),
    Case("remote rename", ("remote", "rename", "store", "other"), worlds.added, ONE, repeatable=False),
    Case("remote remove", ("remote", "remove", "store"), worlds.added, ONE, repeatable=False),
    Case("cache dir", ("cache", "dir", "../elsewhere"), worlds.added, ONE),
    *[
        Case(
            f"destroy {link}",
            ("destroy", "-f"),
            linked(worlds.added, link),
            ONE,
            repeatable=False,
            backed=False,
        )
        for link in ("copy", "hardlink", "symlink")
    ],
]
POWER = [case for case in CASES if case.name in (
    "add a file", "add a folder copy", "add a folder hardlink", "add again copy", "add again hardlink", "commit copy",
    "commit a stage copy",
    "push", "push again", "fetch", "pull copy", "pull hardlink", "pull update copy", "checkout copy",
    "checkout switch copy", "checkout switch symlink", "move a file", "unprotect hardlink", "config", "commit a stage",
    "gc of the remote", "remove a stage", "repro", "repro of remembered runs",
)]  # fmt: skip


def checker(case: Case) -> Callable[[World], list[str]]:
    def check(world: World) -> list[str]:
        lines = false_objects(world.now) + lost_data(world.now, case.precious)
        lines += [
            line for line in half_metafiles(world) if not (case.starts_over and line.endswith(": None"))
        ]
        if case.backed:
            lines += unbacked_metafiles(world.now) + unbacked_runs(world.now)
        if case.remote:
            lines += torn_manifests(world.now, REMOTE)
        return lines

    return check


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


def metafiles_of(state: Snapshot) -> dict[str, bytes]:
    return {
        rel: entry.content for rel, entry in state.items() if rel.endswith(".dvc") and entry.kind == "file"
    }


def data_of(state: Snapshot) -> dict[str, tuple[str, bytes]]:
    """Kind and content: a file that is not yet a link to its object, and so still writable, is the same data."""
    return {
        rel: (entry.kind, entry.content)
        for rel, entry in state.items()
        if rel.startswith(("repo/data/", "repo/model.bin"))
    }


@named(CASES)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_call_loses_nothing_and_the_next_run_repairs(
    arena: Arena, case: Case, torn: bool
) -> None:
    case.prepare(arena)
    for_each_kill(
        arena, (*KIST, *case.argv), checker(case), torn=torn, matters=case.matters, repeatable=case.repeatable
    ).check()


@named(POWER)
@pytest.mark.parametrize("cut", ["bytes", "names"])
def test_a_power_cut_at_any_call_loses_nothing_and_the_next_run_repairs(
    arena: Arena, case: Case, cut: str
) -> None:
    case.prepare(arena)
    for_each_kill(
        arena,
        (*KIST, *case.argv),
        checker(case),
        cut=cut,
        matters=case.matters,
        repeatable=case.repeatable,
        step=3,
    ).check()


@named(POWER)
@pytest.mark.parametrize("lose_names", [False, True], ids=["bytes", "names"])
def test_what_a_finished_command_stored_survives_a_power_cut(
    arena: Arena, case: Case, lose_names: bool
) -> None:
    case.prepare(arena)
    argv = (*KIST, *case.argv)
    result, world = after_power_cut(arena, argv, lose_names=lose_names)
    assert result.status == 0
    assert checker(case)(world) == []
    stored = {rel for rel in world.new if "/files/md5/" in rel} - world.now.keys()
    assert stored == set(), "acknowledged objects are gone"
    honest = arena.kist("status")
    assert honest.status == 0
    if metafiles_of(world.now) == metafiles_of(world.new) and data_of(world.now) != data_of(world.new):
        assert "up to date" not in honest.out
    if case.repeatable:
        again = arena.run(argv)
        assert again.status == 0, again
        assert lasting_differences(world.new, arena.snapshot(), case.matters) == []

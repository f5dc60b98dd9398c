"""`reproduce` killed: the workspace is as before; what is left is its clean folder, which the next one removes."""

from __future__ import annotations

import pytest

from . import worlds
from .harness import KIST, Arena, Snapshot, World, for_each_kill
from .invariants import false_objects, half_metafiles, is_lasting, lost_data, unbacked_metafiles

pytestmark = pytest.mark.timeout(300)

CLEAN = "repo/.dvc/tmp/.kist-"
STAGE = b"stages:\n  make:\n    cmd: cp model.bin made.bin\n    deps: [model.bin]\n    outs: [made.bin]\n"


def besides(state: Snapshot) -> Snapshot:
    """Returns a state without the clean folders."""
    return {rel: entry for rel, entry in state.items() if not rel.startswith(CLEAN)}


def check(world: World) -> list[str]:
    now = besides(world.now)
    lines = false_objects(now) + lost_data(now, worlds.V1) + unbacked_metafiles(now)
    return lines + half_metafiles(World(now, besides(world.old), besides(world.new)))


def test_a_kill_leaves_the_workspace_as_it_was_and_the_next_one_tidies_up(arena: Arena) -> None:
    worlds.added(arena)
    arena.write("dvc.yaml", STAGE)
    arena.must("repro", "-q")
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "a pipeline")
    argv = (*KIST, *("reproduce", "--force", "HEAD"))
    for_each_kill(arena, argv, check, matters=is_lasting, step=9).check()

"""Kist over a library with a planted defect: the suite must see it, or it would see nothing. And warm equals cold."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from .harness import KIST, Arena, after_power_cut, finish, for_each_kill
from .invariants import is_lasting
from .shim import Record, Switches
from .test_commands import CASES, Case, checker, named

pytestmark = pytest.mark.timeout(240)

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("name", ["add a folder copy", "push", "fetch"])
def test_renames_that_copy_in_place_are_reported(arena: Arena, name: str) -> None:
    case = BY_NAME[name]
    case.prepare(arena)
    broken = Switches(swap_rename=True)
    report = for_each_kill(
        arena, (*KIST, *case.argv), checker(case), switches=broken, matters=is_lasting, enough=80
    )
    assert any("object" in problem.what and "holds" in problem.what for problem in report.problems), report


@pytest.mark.parametrize("name", ["add a folder copy", "add a file", "push", "fetch", "pull copy"])
def test_syncs_that_do_nothing_are_reported(arena: Arena, name: str) -> None:
    case = BY_NAME[name]
    case.prepare(arena)
    result, world = after_power_cut(
        arena, (*KIST, *case.argv), lose_names=False, switches=Switches(drop_sync=True)
    )
    assert result.status == 0
    assert any("holds b''" in line for line in checker(case)(world))


METAFILE_FIRST = """
import kist.repo.add as add
store_targets = add.store_targets
def too_early(repository, stages, paths, options, **more):
    hashed = store_targets(repository, stages, paths, options._replace(to_cache=False), **more)
    add.record(repository, hashed, add.Changes(repository))
    return store_targets(repository, stages, paths, options, **more)
add.store_targets = too_early
"""
MANIFEST_FIRST = """
from kist.remotes.local import FolderRemote
send = FolderRemote.send
def too_early(self, oids, source, **more):
    send(self, {oid for oid in source.oids() if oid.endswith(".dir")}, source, **more)
    return send(self, oids, source, **more)
FolderRemote.send = too_early
"""
IN_PLACE = """
from kist.base import atomic
def in_place(path, data, *, durable=True, mode=None):
    with open(path, "wb") as stream:
        stream.write(data)
atomic.write_file = in_place
"""
SYNC_AFTER_RENAME = """
import os
from kist.base import atomic
from kist.store.loose import LooseStore
late = []
def too_late(path):
    late.append(os.open(path, os.O_RDONLY))
sync_folders = LooseStore.sync_folders
def at_last(self, prefixes):
    while late:
        os.fsync(late.pop())
    sync_folders(self, prefixes)
atomic.sync_file = too_late
LooseStore.sync_folders = at_last
"""


class Wrong(NamedTuple):
    """A planted defect, the command that shows it, and what is said about it.

    Attributes:
        enough: problems after which it is plain; where others come first, more.
    """

    name: str
    plant: str
    complaint: str
    torn: bool = False
    cut: str = ""
    enough: int = 1


WRONG = {
    "the metafile before the objects, copied": Wrong(
        "add a folder copy", METAFILE_FIRST, "is stored nowhere"
    ),
    "the metafile before the objects, linked": Wrong(
        "add again hardlink", METAFILE_FIRST, "is stored nowhere"
    ),
    "the manifest before the files": Wrong("push", MANIFEST_FIRST, " lacks ", enough=40),
    "a metafile written in place": Wrong("add a file", IN_PLACE, "is neither old nor new", torn=True),
    "a manifest written in place": Wrong("add a folder copy", IN_PLACE, "holds b", torn=True),
    "sync after rename in add": Wrong("add a folder copy", SYNC_AFTER_RENAME, "holds b''", cut="bytes"),
    "sync after rename in push": Wrong("push", SYNC_AFTER_RENAME, "holds b''", cut="bytes"),
    "sync after rename in fetch": Wrong("fetch", SYNC_AFTER_RENAME, "holds b''", cut="bytes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_kist_with_its_steps_in_a_wrong_order_is_reported(arena: Arena, what: str) -> None:
    wrong = WRONG[what]
    case = BY_NAME[wrong.name]
    case.prepare(arena)
    report = for_each_kill(
        arena,
        (*KIST, *case.argv),
        checker(case),
        torn=wrong.torn,
        cut=wrong.cut,
        switches=Switches(plant=wrong.plant),
        matters=is_lasting,
        enough=wrong.enough,
    )
    assert any(wrong.complaint in problem.what for problem in report.problems), report


_OF_ONE_RUN = re.compile(
    r"\.kist-[0-9a-f]+-\d+-\d+-[0-9a-f]+|(?<=/)commands-\d+|(?<=/)each-\d+-\d+-[0-9a-f.]+"
)
"""Names that carry the number of a process."""


def calls(log: list[Record]) -> list[tuple[str, str]]:
    """Returns what was called on what, without the parts of names that differ from run to run."""
    return [(record.name, _OF_ONE_RUN.sub("TEMP", record.path)) for record in log if record.phase == "B"]


@named(CASES)
def test_a_forked_command_makes_the_same_calls_as_one_that_starts_cold(arena: Arena, case: Case) -> None:
    case.prepare(arena)
    argv = (*KIST, *case.argv)
    # The cold one is so slow that the files are no longer fresh when it looks at them; an hour later they never are.
    later = Switches(log=True, clock_s=3600)
    arena.save()
    arena.restore()  # both runs find the same files with other inode numbers than the stat index knows
    forked = arena.run(argv, switches=later)
    warm = calls(arena.shim.log())
    arena.restore()
    started = finish(arena.start(argv, switches=later))
    cold = calls(arena.shim.log())
    assert forked == started
    assert warm == cold
    assert len(warm) > 5

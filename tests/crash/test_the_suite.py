"""The crash suite's own check: the shim sees every change, and programs with planted defects are found out."""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest

from .harness import Arena, World, after_power_cut, count_calls, differences, for_each_kill
from .invariants import false_objects, half_metafiles, lost_data, unbacked_metafiles
from .power import power_cut
from .shim import Fail, NoCompilerError, Switches, build_shim

TOYS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "toys")
DATA = {"one.bin": b"first content " * 20, "two.bin": b"second content " * 20}

EXPECTED = [
    ("mkdir", "made"), ("mkdir", "below"), ("create", "text"), ("write", "text"), ("write", "text"),
    ("create", "raw"), ("write", "raw"), ("pwrite", "raw"), ("writev", "raw"), ("truncate", "raw"), ("chmod", "raw"),
    ("utime", "raw"), ("fsync", "raw"), ("fsync", "raw"), ("truncate", "raw"), ("chmod", "raw"), ("utime", "raw"),
    ("link", "linked"), ("symlink", "pointer"), ("rename", "linked"), ("rename", "renamed"), ("rename", "text"),
    ("create", "copied"), ("sendfile", "copied"), ("sendfile", "copied"), ("create", "ranged"),
    ("copy_file_range", "ranged"), ("syncfs", ""), ("syncfs", ""), ("unlink", "copied"), ("unlink", "ranged"),
    ("rmdir", "below"),
]  # fmt: skip
"""What every_call.py does up to its database, in order."""


def toy(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, os.path.join(TOYS, name), *arguments)


def keeper(way: str) -> tuple[str, ...]:
    return toy("keeper.py", way)


@pytest.fixture
def folder(arena: Arena) -> Arena:
    """An arena with two files to store."""
    for name, content in DATA.items():
        arena.write(name, content)
    return arena


def check(world: World) -> list[str]:
    return (
        false_objects(world.now)
        + half_metafiles(world)
        + lost_data(world.now, DATA)
        + unbacked_metafiles(world.now)
    )


def test_every_kind_of_change_is_counted_once_and_in_order(arena: Arena) -> None:
    assert arena.run(toy("every_call.py"), switches=Switches(log=True)).status == 0
    log = [record for record in arena.shim.log() if record.phase == "B"]
    seen = [(record.name, os.path.relpath(record.path, arena.repo).replace(".", "")) for record in log]
    assert seen[: len(EXPECTED)] == EXPECTED
    rest = {(record.name, os.path.basename(record.path)) for record in log[len(EXPECTED) :]}
    assert {("create", "rows.db"), ("pwrite", "rows.db"), ("fsync", "rows.db"), ("create", "child")} <= rest
    assert {("create", "rows.db-journal"), ("unlink", "rows.db-journal"), ("create", "grandchild")} <= rest
    assert [record.call for record in log] == list(range(1, arena.shim.calls() + 1))
    assert len({record.pid for record in log}) == 3


def test_changes_outside_the_root_and_in_git_are_not_counted(arena: Arena) -> None:
    outside = os.path.join(arena.base, "outside")
    script = f"import os; open({outside!r}, 'w').write('x'); os.mkdir('.git'); os.mkdir('.git/objects'); os.mkdir('in')"
    assert arena.run((sys.executable, "-c", script), switches=Switches(log=True)).status == 0
    assert [os.path.basename(r.path) for r in arena.shim.log() if r.phase == "B"] == [".git", "in"]


def test_a_command_killed_at_its_nth_call_has_done_the_calls_before_it_only(folder: Arena) -> None:
    calls = count_calls(folder, keeper("right"))
    assert calls > 20
    for call in (1, 7, calls):
        folder.restore()
        result = folder.run(keeper("right"), switches=Switches(kill_at=call, log=True))
        assert result.status == -signal.SIGKILL
        assert folder.shim.fired()
        assert {record.call for record in folder.shim.log() if record.phase == "E"} == set(range(1, call))


def test_children_die_with_the_command(arena: Arena) -> None:
    script = "import os, time\nif os.fork():\n open('x', 'w')\nelse:\n time.sleep(30); open('late', 'w')"
    result = arena.run((sys.executable, "-c", script), switches=Switches(kill_at=1), timeout_s=20)
    assert result.status == -signal.SIGKILL
    assert os.listdir(arena.repo) == []


def test_a_torn_write_leaves_the_first_half(arena: Arena) -> None:
    script = "import os; d = os.open('x', os.O_WRONLY | os.O_CREAT); os.write(d, b'0123456789')"
    result = arena.run((sys.executable, "-c", script), switches=Switches(kill_at=2, torn=True))
    assert result.status == -signal.SIGKILL
    with open(arena.path("x"), "rb") as stream:
        assert stream.read() == b"01234"


def test_a_torn_sendfile_leaves_the_first_half(arena: Arena) -> None:
    arena.write("x", b"0123456789")
    script = "import shutil; shutil.copyfile('x', 'y')"
    arena.run((sys.executable, "-c", script), switches=Switches(kill_at=2, torn=True))
    with open(arena.path("y"), "rb") as stream:
        assert stream.read() == b"01234"


@pytest.mark.parametrize(
    ("fail", "name"),
    [
        (Fail(errno.ENOSPC, "write"), "ENOSPC"),
        (Fail(errno.EROFS, "open"), "EROFS"),
        (Fail(errno.EIO, "sync"), "EIO"),
        (Fail(errno.EACCES, "mkdir,rename"), "EACCES"),
        (Fail(errno.EIO, "read", prefix="PREFIX/one.bin"), "EIO"),
    ],
)
def test_an_injected_error_reaches_the_program(folder: Arena, fail: Fail, name: str) -> None:
    fail = fail._replace(prefix=fail.prefix.replace("PREFIX", folder.repo))
    result = folder.run(keeper("right"), switches=Switches(fails=(fail,)))
    assert result.status == 1
    assert os.strerror(getattr(errno, name)) in result.err


def test_an_error_rule_counts_matching_calls_and_holds_for_its_prefix_only(arena: Arena) -> None:
    script = (
        "import os\n"
        "for name in 'abcd':\n"
        " try: os.mkdir(name)\n"
        " except OSError as error: print(name, error.errno)\n"
        " try: os.mkdir('a/' + name)\n"
        " except OSError as error: print('a/' + name, error.errno)\n"
    )
    once = Fail(errno.ENOSPC, "mkdir", at=3, onward=False, prefix=arena.path("a"))
    later = Fail(errno.EIO, "mkdir", at=4, onward=True, prefix=arena.path("a"))
    result = arena.run((sys.executable, "-c", script), switches=Switches(fails=(once, later)))
    assert result.out.splitlines() == [f"a/b {errno.ENOSPC}", f"a/c {errno.EIO}", f"a/d {errno.EIO}"]


def test_short_writes_and_reads_do_not_change_what_a_right_program_stores(folder: Arena) -> None:
    folder.save()
    assert folder.run(keeper("right")).status == 0
    whole = folder.snapshot()
    folder.restore()
    assert folder.run(keeper("right"), switches=Switches(short_write=7, short_read=5)).status == 0
    assert differences(whole, folder.snapshot()) == []
    folder.restore()
    assert folder.run(keeper("short"), switches=Switches(short_write=7)).status == 0
    assert false_objects(folder.snapshot())


def test_a_signal_lets_the_command_go_on(arena: Arena) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('got it')); open('x', 'w'); print('end')"
    result = arena.run((sys.executable, "-c", script), switches=Switches(kill_at=1, signal=signal.SIGTERM))
    assert (result.status, result.out) == (0, "got it\nend\n")


def test_the_clock_can_be_wrong(arena: Arena) -> None:
    script = "import datetime, time; print(datetime.datetime.now().year, time.gmtime(time.time()).tm_year)"
    years = arena.run((sys.executable, "-c", script), switches=Switches(clock_s=-40 * 31_556_952)).out.split()
    assert years[0] == years[1]
    assert int(years[0]) < 2000


def test_restoring_brings_back_hard_links_symbolic_links_modes_and_times(arena: Arena) -> None:
    arena.write("a", b"x")
    os.chmod(arena.path("a"), 0o444)
    os.utime(arena.path("a"), ns=(5, 7_000_000_001))
    os.link(arena.path("a"), arena.path("b"))
    os.symlink(arena.path("a"), arena.path("c"))
    arena.save()
    before = arena.snapshot()
    arena.write("a", b"changed")
    os.unlink(arena.path("c"))
    arena.restore()
    assert arena.snapshot() == before
    assert os.path.samefile(arena.path("a"), arena.path("b"))
    assert os.stat(arena.path("a")).st_mtime_ns == 7_000_000_001


def test_a_missing_compiler_is_a_failure(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError, match="no C compiler"):
        build_shim(str(tmp_path))


@pytest.mark.parametrize("torn", [False, True])
def test_a_right_program_survives_every_kill(folder: Arena, torn: bool) -> None:
    report = for_each_kill(folder, keeper("right"), check, torn=torn)
    assert report.runs == (4 if torn else 19)
    assert report.calls == 36, "17 of them syncs, which a kill cannot tell from the call that follows"
    report.check()


@pytest.mark.parametrize("cut", ["bytes", "names"])
def test_a_right_program_survives_every_power_cut(folder: Arena, cut: str) -> None:
    for_each_kill(folder, keeper("right"), check, cut=cut).check()


@pytest.mark.parametrize(
    ("way", "torn", "complaint"),
    [
        ("in place", True, "holds"),
        ("in place", False, "holds"),
        ("trusting", False, "differs: repo/.dvc/cache"),
        ("rename before write", False, "holds"),
        ("metafile first", False, "stored nowhere"),
        ("moving", False, "is lost"),
        ("litter", False, "stray: repo/one.bin.dvc."),
    ],
)
def test_a_program_that_a_kill_can_break_is_reported(
    folder: Arena, way: str, torn: bool, complaint: str
) -> None:
    report = for_each_kill(folder, keeper(way), check, torn=torn)
    assert any(complaint in problem.what for problem in report.problems), report
    with pytest.raises(AssertionError, match="problems in"):
        report.check()


@pytest.mark.parametrize("way", ["rename before sync", "no sync", "in place"])
def test_a_program_that_a_power_cut_can_break_is_reported(folder: Arena, way: str) -> None:
    report = for_each_kill(folder, keeper(way), check, cut="bytes")
    assert any("holds b''" in problem.what for problem in report.problems), report


@pytest.mark.parametrize("defect", [Switches(drop_sync=True), Switches(swap_rename=True)])
def test_a_right_program_over_a_broken_library_is_reported(folder: Arena, defect: Switches) -> None:
    report = for_each_kill(
        folder, keeper("right"), check, switches=defect, cut="bytes" if defect.drop_sync else ""
    )
    assert any("object" in problem.what for problem in report.problems), report


def test_what_was_acknowledged_outlives_a_power_cut_only_with_its_folder_synced(folder: Arena) -> None:
    _, world = after_power_cut(folder, keeper("right"), lose_names=True)
    assert differences(world.new, world.now) == []
    folder.restore()
    _, world = after_power_cut(folder, keeper("no folder sync"), lose_names=True)
    assert "missing: repo/one.bin.dvc" in differences(world.new, world.now)


def test_a_power_cut_brings_back_what_an_unsynced_rename_and_removal_took(arena: Arena) -> None:
    arena.write("a", b"old a")
    arena.write("b", b"old b")
    arena.write("gone", b"still here")
    before = arena.snapshot()
    script = (
        "import os; os.rename('a', 'b'); os.unlink('gone'); os.mkdir('d'); open('d/new', 'w'); os.rmdir('e')"
    )
    os.mkdir(arena.path("e"))
    before = arena.snapshot()
    assert arena.run((sys.executable, "-c", script), switches=Switches(log=True, keep=True)).status == 0
    power_cut(arena.work, arena.shim.log(), keep=arena.shim.keep_path, lose_names=True)
    assert differences(before, arena.snapshot()) == []


def test_a_power_cut_empties_the_file_that_was_written_after_its_last_sync_and_no_other(arena: Arena) -> None:
    script = (
        "import os\n"
        "def put(name, sync):\n"
        " d = os.open(name, os.O_WRONLY | os.O_CREAT)\n"
        " os.write(d, b'1')\n"
        " if sync: os.fsync(d)\n"
        " return d\n"
        "put('synced', True); put('unsynced', False)\n"
        "os.write(put('written again', True), b'2')\n"
        "os.rename('unsynced', 'renamed'); os.link('renamed', 'linked')\n"
    )
    arena.write("untouched", b"1")
    assert arena.run((sys.executable, "-c", script), switches=Switches(log=True, keep=True)).status == 0
    emptied = power_cut(arena.work, arena.shim.log(), keep=arena.shim.keep_path)
    assert [os.path.basename(path) for path in emptied] == ["linked", "renamed", "written again"]
    assert os.path.getsize(arena.path("synced")) == os.path.getsize(arena.path("untouched")) == 1

"""Writes that are done or not begun, and what is taken for left over."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.objects import make_poor, read

from kist.base import atomic


def dead_pid() -> int:
    """Returns the id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_temporary_name_is_known_as_ours_and_never_given_twice() -> None:
    names = {atomic.temp_name() for _ in range(200)}
    assert len(names) == 200
    assert all(atomic.is_temp_name(name) for name in names)


@pytest.mark.parametrize(
    "name", ["", ".kist-", ".kist-notes.tmp", "a.tmp", ".kist-0011aabb-1-1-zzzzzzzz.tmp"]
)
def test_a_persons_file_is_not_taken_for_a_temporary_one(name: str) -> None:
    assert not atomic.is_temp_name(name)


def test_a_temporary_file_is_stale_when_its_maker_is_gone_or_it_is_a_day_old_and_from_elsewhere() -> None:
    assert not atomic.is_stale_temp(atomic.temp_name(), 0, 1e9)
    gone = f".kist-{atomic.host_tag()}-{dead_pid()}-1-00000000.tmp"
    assert atomic.is_stale_temp(gone, 1e9, 1e9)
    other_host = "00000000" if atomic.host_tag() != "00000000" else "00000001"
    elsewhere = f".kist-{other_host}-1-1-00000000.tmp"
    assert not atomic.is_stale_temp(elsewhere, 1e9, 1e9 + atomic.STALE_AFTER_S)
    assert atomic.is_stale_temp(elsewhere, 1e9, 1e9 + atomic.STALE_AFTER_S + 1)


@pytest.mark.parametrize("durable", [True, False])
def test_a_write_replaces_the_content_and_keeps_the_mode(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    atomic.write_file(str(path), b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    atomic.write_file(str(path), b"newer", durable=durable, mode=0o444)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_replaces_a_symbolic_link_and_leaves_what_it_led_to(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    os.symlink("outside", tmp_path / "link")
    atomic.write_file(str(tmp_path / "link"), b"new")
    assert not os.path.islink(tmp_path / "link") and read(tmp_path / "link") == b"new"
    assert read(tmp_path / "outside") == b"precious"


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space left"):
            atomic.write_file(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        real_fsync(descriptor)

    def replace(source: str, target: str) -> None:
        steps.append("name")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    atomic.write_file(str(tmp_path / "file"), b"new")
    assert steps == ["content", "name", "folder"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    atomic.write_file(str(tmp_path / "file"), b"0123456789")
    assert read(tmp_path / "file") == b"0123456789"


def test_leftovers_of_the_dead_go_and_everything_else_stays(tmp_path: Path) -> None:
    stale = f".kist-{atomic.host_tag()}-{dead_pid()}-1-00000000.tmp"
    own = atomic.temp_name()
    for name in (stale, own, ".kist-notes.tmp", "data"):
        (tmp_path / name).write_bytes(b"x")
    atomic.tidy_folder(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([own, ".kist-notes.tmp", "data"])


def test_a_folder_that_cannot_be_synced_is_accepted_but_a_failing_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = errno.EINVAL

    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.sync_directory(str(tmp_path))
    number = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        atomic.sync_directory(str(tmp_path))


@pytest.mark.parametrize(("count", "has_call", "expected"), [(2, True, 3), (3, True, 0), (3, False, 4)])
def test_many_files_cost_one_sync_where_there_is_such_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, has_call: bool, expected: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(atomic, "SYNC_EACH_LIMIT", 2)
    monkeypatch.setattr(atomic, "sync_file_system", lambda path: has_call)
    monkeypatch.setattr(os, "fsync", synced.append)
    paths = [str(tmp_path / str(number)) for number in range(count)]
    for path in paths:
        Path(path).write_bytes(b"x")
    atomic.sync_many(paths, [str(tmp_path)], root=str(tmp_path))
    assert len(synced) == expected


def test_a_write_works_where_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = make_poor(monkeypatch)
    atomic.write_file(str(tmp_path / "file"), b"new")
    assert read(tmp_path / "file") == b"new" and asked == ["fsync of a folder"]


def test_many_files_are_written_and_no_temporary_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    for count in (0, 2, 60):  # one by one, and by one sync of the file system
        files = [(str(tmp_path / name), name.encode()) for name in ["a", *map(str, range(count))]]
        atomic.write_many(files, root=str(tmp_path), folders=[str(tmp_path)])
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            os.path.basename(path): data for path, data in files
        }


def test_many_files_that_cannot_be_written_leave_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    files = [(str(tmp_path / "a"), b"a"), (str(tmp_path / "folder"), b"b"), (str(tmp_path / "c"), b"c")]
    with pytest.raises(OSError, match="directory"):
        atomic.write_many(files, root=str(tmp_path))
    assert not [path for path in tmp_path.iterdir() if atomic.is_temp_name(path.name)]


def test_whatever_ends_a_call_beside_is_raised_by_the_wait() -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        atomic.Beside(fail).wait()


def test_a_python_without_foreign_calls_syncs_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert atomic.sync_file_system(str(tmp_path)) is False

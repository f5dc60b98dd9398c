"""What a look at tracked data tells, and when it reads again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.objects import md5, write

from kist.base.listing import FOLDER_LINK, settle
from kist.base.progress import SilentProgress
from kist.store.statindex import StatIndex
from kist.workspace.scan import (
    NameNotTextError,
    Snapshot,
    SpecialFileError,
    directory_oid,
    read_all,
    refuse_specials,
    scan_directory,
    scan_file,
)

FILES = {"a.txt": b"one\n", "sub/b.txt": b"two\n"}


@pytest.fixture
def index(tmp_path: Path) -> StatIndex:
    """An empty index."""
    return StatIndex(str(tmp_path / "index"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The directory of a golden manifest."""
    for path, content in FILES.items():
        write(tmp_path / "data" / path, content)
    return tmp_path / "data"


def look(data: Path, index: StatIndex) -> Snapshot:
    """Scans the directory."""
    return scan_directory(str(data), "data", index=index, ignores=None)


def read(snapshot: Snapshot, index: StatIndex) -> Snapshot:
    """Reads what is unknown, and remembers it."""
    return read_all([snapshot], index=index, workers=1, progress=SilentProgress())[0]


def test_a_directory_has_the_id_that_dvc_gives_it(data: Path, index: StatIndex) -> None:
    first = look(data, index)
    assert first.unread == 2
    snapshot = read(first, index)
    row = directory_oid(snapshot, index=index)
    assert row == ("20ad46588e5628537eb822c2583dd63d.dir", 8, 2)
    assert directory_oid(snapshot, index=index) == row


def test_files_that_are_settled_are_read_once(data: Path, index: StatIndex) -> None:
    settle()
    known = read(look(data, index), index)
    again = look(data, index)
    assert (again.unread, again.changed) == (0, set())
    assert again.tree() == known.tree()


def test_files_that_changed_just_before_the_look_are_read_again(data: Path, index: StatIndex) -> None:
    now = os.stat(data / "a.txt").st_ctime_ns
    snapshot = look(data, index)._replace(times=(now, now))
    read(snapshot, index)
    assert look(data, index).unread >= 1


def test_an_edit_with_the_old_size_and_time_is_seen(data: Path, index: StatIndex) -> None:
    settle()
    read(look(data, index), index)
    before = os.stat(data / "a.txt")
    with open(data / "a.txt", "r+b") as stream:
        stream.write(b"ONE\n")
    os.utime(data / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    snapshot = look(data, index)
    assert (snapshot.unread, snapshot.changed) == (1, {""})
    assert read(snapshot, index).tree().get("a.txt") == md5(b"ONE\n")


def test_new_and_removed_files_and_folders_are_seen(data: Path, index: StatIndex) -> None:
    settle()
    read(look(data, index), index)
    write(data / "new" / "c", b"three\n")
    os.unlink(data / "sub" / "b.txt")
    os.rmdir(data / "sub")
    snapshot = look(data, index)
    assert snapshot.stale == ["data/sub"]
    files = dict(read(snapshot, index).tree().files())
    assert files == {"a.txt": md5(b"one\n"), "new/c": md5(b"three\n")}
    assert look(data, index).stale == []


def test_executable_files_are_named_whether_or_not_anything_changed(data: Path, index: StatIndex) -> None:
    (data / "sub" / "b.txt").chmod(0o755)
    settle()
    snapshot = read(look(data, index), index)
    assert snapshot.executables == ["sub/b.txt"]
    again = look(data, index)
    assert (again.unread, again.executables) == (0, ["sub/b.txt"])


def test_the_id_of_a_directory_knows_no_modes_links_or_empty_folders(data: Path, index: StatIndex) -> None:
    (data / "sub" / "b.txt").chmod(0o755)
    (data / "a.txt").rename(data.parent / "elsewhere")
    (data / "a.txt").symlink_to("../elsewhere")
    (data / "hollow" / "deeper").mkdir(parents=True)
    snapshot = read(look(data, index), index)
    assert directory_oid(snapshot, index=index) == ("20ad46588e5628537eb822c2583dd63d.dir", 8, 2)


def test_what_cannot_be_stored_is_refused_by_name(data: Path, index: StatIndex) -> None:
    os.mkfifo(data / "sub" / "pipe")
    with pytest.raises(SpecialFileError, match="sub/pipe"):
        refuse_specials(look(data, index))
    os.unlink(data / "sub" / "pipe")
    write(os.fsencode(data / "sub") + b"/\xff", b"")  # type: ignore[arg-type]
    with pytest.raises(NameNotTextError):
        refuse_specials(look(data, index))


def test_a_link_to_a_folder_is_left_out_and_one_to_a_folder_around_it_refused(
    data: Path, index: StatIndex, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", data / "sub" / "link")
    found = look(data, index)
    refuse_specials(found)
    assert found.specials == [("sub/link", FOLDER_LINK)] and found.strange == []
    assert "sub/link" not in dict(read(found, index).tree().files())
    os.symlink("..", data / "sub" / "loop")
    with pytest.raises(SpecialFileError, match="sub/loop"):
        refuse_specials(look(data, index))


def test_a_single_file_is_looked_at_like_a_directory(data: Path, index: StatIndex) -> None:
    settle()
    path = str(data / "a.txt")
    first = scan_file(path, "data/a.txt", index=index)
    assert first is not None and first.unread == 1
    assert read(first, index).folders[""].digests.hex() == md5(b"one\n")
    again = scan_file(path, "data/a.txt", index=index)
    assert again is not None and again.unread == 0
    assert scan_file(str(data / "none"), "data/none", index=index) is None
    os.symlink("nowhere", data / "dead")
    dead = scan_file(str(data / "dead"), "data/dead", index=index)
    assert dead is not None and [name for name, _ in dead.specials] == ["dead"]

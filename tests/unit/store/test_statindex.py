"""The index remembers, and never stands in the way: garbage, read-only and missing files included."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kist.store.statindex import FolderRow, StatIndex, TreeRow

ROW = FolderRow("a\0b", b"s" * 64, b"d" * 32)
TREE = TreeRow("a" * 32 + ".dir", 5, 2)


def filled(path: Path) -> None:
    """Makes an index with one folder and one tree."""
    index = StatIndex(str(path))
    index.save("md5", [("data", ROW)], trees=[(b"key", TREE)])
    index.close()


def test_what_was_saved_is_found_by_this_and_the_next_process(tmp_path: Path) -> None:
    index = StatIndex(str(tmp_path / "new" / "index"))
    assert index.folder("md5", "data") is None
    index.save("md5", [("data", ROW), ("gone", ROW)], trees=[(b"key", TREE)])
    assert index.folder("md5", "data") == ROW
    index.save("md5", [("data", ROW._replace(names="c\0d"))], gone=["gone"])
    index.close()
    again = StatIndex(str(tmp_path / "new" / "index"))
    assert again.folders("md5", "") == {"data": ROW._replace(names="c\0d")}
    assert again.tree(b"key") == TREE and again.tree(b"other") is None
    assert again.folder("other", "data") is None
    again.close()


def test_the_folders_below_a_path_are_found_and_its_neighbours_not(tmp_path: Path) -> None:
    index = StatIndex(str(tmp_path / "index"))
    paths = ["d", "d/x", "d/x/y", "d/é", "d-x", "d.x", "d0", "dx", "c/d", "D/x", ""]
    index.save("md5", [(path, ROW) for path in paths])
    assert set(index.folders("md5", "d")) == {"d", "d/x", "d/x/y", "d/é"}
    assert set(index.folders("md5", "")) == set(paths)
    index.close()


@pytest.mark.parametrize(
    "kind", ["noise", "empty", "half", "overwritten page", "other schema", "newer version"]
)
def test_a_damaged_index_heals_by_itself(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "index"
    filled(path)
    data = path.read_bytes()
    if kind == "noise":
        path.write_bytes(b"no database at all" * 100)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "half":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "overwritten page":
        path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))
    else:
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE folders" if kind == "other schema" else "PRAGMA user_version = 99")
        connection.commit()
        connection.close()
    index = StatIndex(str(path))
    assert index.folder("md5", "data") in (None, ROW)
    index.save("md5", [("fresh", ROW)])
    assert index.folder("md5", "fresh") == ROW
    index.close()
    again = StatIndex(str(path))
    assert again.folder("md5", "fresh") == ROW
    again.close()


def test_an_index_that_cannot_be_written_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "index")

    def refuse(*_: Any) -> Any:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(StatIndex, "_open", refuse)
    index = StatIndex(str(tmp_path / "index"))
    assert index.folder("md5", "data") == ROW
    index.save("md5", [("more", ROW)])
    index.flush()
    assert index.folder("md5", "more") is None
    assert index.folder("md5", "data") == ROW
    index.close()
    assert os.listdir(tmp_path) == ["index"]


def test_an_index_that_another_process_holds_is_neither_read_nor_removed(tmp_path: Path) -> None:
    filled(tmp_path / "index")
    other = sqlite3.connect(tmp_path / "index", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    index = StatIndex(str(tmp_path / "index"))
    assert index.folder("md5", "data") is None, "its pages may be of different ages"
    index.save("md5", [("more", ROW)])
    index.close()
    other.execute("COMMIT")
    other.close()
    again = StatIndex(str(tmp_path / "index"))
    assert again.folders("md5", "") == {"data": ROW}
    again.close()


def test_an_index_that_is_locked_between_two_questions_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "index")
    index = StatIndex(str(tmp_path / "index"))
    assert index.folder("md5", "data") == ROW

    class Locked:
        def execute(self, *_: Any) -> Any:
            raise sqlite3.OperationalError("database is locked")

    connection, index._connection = index._connection, Locked()  # type: ignore[assignment]
    assert index.folder("md5", "data") is None
    index._connection = connection
    assert index.folder("md5", "data") == ROW
    index.close()


def test_an_index_with_changes_beside_it_is_not_read_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left in the log belongs to the pages; a folder that cannot be written cannot have it."""
    filled(tmp_path / "index")
    living = StatIndex(str(tmp_path / "index"))
    living.save("md5", [("data", ROW._replace(names="new\0names"))])
    living.flush()
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"index{suffix}", tmp_path / f"copy{suffix}")
    living.close()

    def refuse(*_: Any) -> Any:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(StatIndex, "_open", refuse)
    index = StatIndex(str(tmp_path / "copy"))
    assert index.folder("md5", "data") is None
    index.close()


def test_without_a_place_for_the_index_everything_is_merely_unknown(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    index = StatIndex(str(tmp_path / "file" / "index"))
    index.save("md5", [("data", ROW)], trees=[(b"key", TREE)])
    assert index.folder("md5", "data") is None
    assert index.folders("md5", "") == {} and index.tree(b"key") is None
    index.close()


def test_a_name_that_is_no_text_harms_nothing(tmp_path: Path) -> None:
    index = StatIndex(str(tmp_path / "index"))
    index.save("md5", [("data", ROW)])
    index.flush()
    index.save("md5", [("\udcff", ROW)])
    assert index.folder("md5", "data") == ROW
    index.close()


def test_a_row_whose_columns_do_not_fit_is_not_believed(tmp_path: Path) -> None:
    index = StatIndex(str(tmp_path / "index"))
    index.save("md5", [("data", FolderRow("a\0b", b"s" * 32, b"d" * 32))])
    assert index.folder("md5", "data") is None and index.folders("md5", "") == {}
    index.close()

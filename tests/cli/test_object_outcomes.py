"""`push`, `fetch` and `pull` with `--json`: a line for each object, then one for the whole."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from typing import Any

import pytest

from kist.repo.outcomes import ObjectOutcome, joined
from kist.testing.project import Answer, Project

ONE, MODEL = "5bbf5a52328e7439ae6e719dfe712200", "f2a2ae2eba56ef3d2cd1d1ecd6b8c63b"


@pytest.fixture
def stored(project: Project) -> Project:
    """Returns the project with an empty remote `store`."""
    project.kist("remote", "add", "--default", "store", "../remote")
    return project


def lines(answer: Answer) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Returns first path -> line of an object, and the last line."""
    *rows, last = [json.loads(line) for line in answer.out.splitlines()]
    assert all(row.keys() == rows[0].keys() for row in rows)
    return {row["paths"][0]: row for row in rows}, last


def outcomes(rows: dict[str, dict[str, Any]]) -> Counter[str]:
    """Returns how often each outcome is there."""
    return Counter(row["outcome"] for row in rows.values())


def test_a_push_tells_each_object_once_with_all_its_paths(stored: Project) -> None:
    stored.write({"again.txt": "one\n"})
    stored.kist("add", "again.txt")
    rows, last = lines(stored.kist("push", "--json"))
    assert set(rows) == {
        "again.txt",
        "data/",
        "data/deep/three.txt",
        "data/two.txt",
        "model.bin",
        "sub/table.csv",
    }
    assert rows["again.txt"] == {
        "oid": ONE,
        "algorithm": "md5",
        "paths": ["again.txt", "data/one.txt"],
        "bytes": 4,
        "remote": "store",
        "outcome": "sent",
        "reason": None,
    }
    assert rows["data/"]["oid"].endswith(".dir")
    assert outcomes(rows) == {"sent": 6}
    assert last == {"pushed": 6, "bytes": sum(row["bytes"] for row in rows.values()), "failed": []}
    again, last = lines(stored.kist("push", "--json"))
    assert outcomes(again) == {"present": 6} and last["pushed"] == 0
    assert again.keys() == rows.keys()


def test_a_push_tells_what_failed_and_what_waits_for_it(stored: Project) -> None:
    os.unlink(stored.path(f".dvc/cache/files/md5/{ONE[:2]}/{ONE[2:]}"))
    answer = stored.try_kist("push", "--json")
    assert answer.code == 1
    rows, last = lines(answer)
    failed = rows["data/one.txt"]
    assert (failed["outcome"], failed["reason"], failed["bytes"]) == ("failed", "missing", None)
    assert (rows["data/"]["outcome"], rows["data/"]["reason"]) == ("held", "incomplete")
    assert outcomes(rows) == {"sent": 4, "failed": 1, "held": 1}
    assert len(last["failed"]) == 1


def test_a_fetch_tells_what_came_what_was_here_and_what_is_damaged_there(stored: Project) -> None:
    stored.kist("push")
    shutil.rmtree(stored.path(".dvc/cache"))
    path = stored.path(f"../remote/files/md5/{ONE[:2]}/{ONE[2:]}")
    os.chmod(path, 0o644)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("uno\n")
    answer = stored.try_kist("fetch", "--json", "data/one.txt", "model.bin")
    assert answer.code == 1
    rows, last = lines(answer)
    assert {path: row["outcome"] for path, row in rows.items()} == {
        "data/": "fetched",
        "data/one.txt": "failed",
        "model.bin": "fetched",
    }
    assert rows["data/one.txt"]["reason"] == "corrupt"
    assert last["fetched"] == 2
    rows, _ = lines(stored.kist("fetch", "--json", "model.bin", "sub/table.csv"))
    assert {path: row["outcome"] for path, row in rows.items()} == {
        "model.bin": "present",
        "sub/table.csv": "fetched",
    }


def test_a_pull_that_has_to_heal_the_cache_tells_what_came_at_last(stored: Project) -> None:
    stored.kist("push")
    stored.kist("config", "cache.type", "copy")
    shutil.rmtree(stored.path("data"))
    rows, _ = lines(stored.kist("pull", "--json"))
    assert outcomes(rows) == {"present": 6}
    assert {row["remote"] for row in rows.values()} == {None}, "no remote had to be asked"
    path = stored.path(f".dvc/cache/files/md5/{ONE[:2]}/{ONE[2:]}")
    before = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("uno\n")
    os.chmod(path, 0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(stored.path("data"))
    rows, last = lines(stored.kist("pull", "--json"))
    assert rows["data/one.txt"]["outcome"] == "fetched"
    assert outcomes(rows) == {"present": 5, "fetched": 1}
    assert last["fetched"] == 1 and "data/" in last["added"]
    assert stored.read("data/one.txt") == "one\n"


def test_paths_are_told_from_where_one_is(stored: Project) -> None:
    rows, _ = lines(stored.kist("push", "--json", cwd="sub"))
    assert "table.csv" in rows and "../data/" in rows


def test_of_two_transfers_of_the_same_data_the_second_has_the_last_word() -> None:
    first = ObjectOutcome("a" * 32, "md5", ("a",), 1, None, "present")
    other = ObjectOutcome("b" * 32, "md5", ("b",), 1, None, "present")
    again = first._replace(remote="store", outcome="fetched")
    assert joined([first, other], [again, other]) == [again, other]
    failed = again._replace(outcome="failed", reason="corrupt")
    assert joined([again], [failed]) == [failed]

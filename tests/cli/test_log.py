"""`kist log`: the versions of data, what came and went, and whether the remote has them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .two_worlds import TwoWorlds


@pytest.fixture
def worlds(tmp_path: Path) -> TwoWorlds:
    """Three versions on `main`, the last not pushed, one with code alone between them, and one on `exp`."""
    made = TwoWorlds.make(tmp_path / "ada")
    project = made.project
    project.write({"data/two.txt": "two, better\n", "data/four.txt": "four\n"})
    os.unlink(project.path("data/one.txt"))
    made.kist("save", "-m", "second", "--tag", "v2", "--push")
    project.write({"code.py": "2\n"})
    made.git("commit", "-q", "-a", "-m", "code alone")
    made.git("branch", "exp")
    project.write({"model.bin": "a better model\n"})
    made.kist("save", "-m", "third")
    made.kist("switch", "exp")
    project.write({"data/five.txt": "five\n"})
    made.kist("save", "-m", "experiment")
    made.kist("switch", "main")
    return made


def log(worlds: TwoWorlds, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(worlds.kist("log", "--json", *words).out)
    return found


def test_the_versions_with_what_came_and_went(worlds: TwoWorlds) -> None:
    assert [row["subject"] for row in log(worlds)] == ["third", "second", "a version"]
    third, second, first = log(worlds)
    assert third["branches"] == ["main"]
    assert (second["tags"], first["tags"]) == (["v2"], ["v1"])
    assert second["commit"] == worlds.git("rev-parse", "v2^{commit}")
    assert second["parents"] == [first["commit"]]
    assert second["author"] == {"name": "A Person", "email": "person@example.invalid"}
    assert second["date"] == "2024-01-01T00:00:00+00:00"
    assert second["files"] == {"added": 1, "changed": 1, "removed": 1}
    assert second["bytes"] == {
        "added": len("four\n"),
        "changed": len("two, better\n"),
        "removed": len("one\n"),
    }
    assert [(row["path"], row["change"]) for row in first["outputs"]] == [
        ("data", "added"),
        ("model.bin", "added"),
    ]
    assert first["files"] == {"added": 4, "changed": 0, "removed": 0}
    assert third["outputs"] == [
        {
            "path": "model.bin",
            "change": "changed",
            "size": 15,
            "nfiles": None,
            "files": {"added": 0, "changed": 1, "removed": 0},
            "bytes": {"added": 0, "changed": 15, "removed": 0},
        }
    ]


def test_the_lines_for_people(worlds: TwoWorlds) -> None:
    second = worlds.git("rev-parse", "--short=7", "v2^{commit}")
    assert worlds.kist("log", "data").out.splitlines()[:2] == [
        f"{second}  2024-01-01  A Person  (tag: v2)  second",
        "    data/: 1 file added, 1 changed, 1 removed (+17 B, -4 B)",
    ]


def test_one_path_a_path_inside_and_so_many(worlds: TwoWorlds) -> None:
    assert [row["subject"] for row in log(worlds, "model.bin")] == ["third", "a version"]
    assert [row["subject"] for row in log(worlds, "data/one.txt")] == ["second", "a version"]
    assert log(worlds, "data/one.txt")[0]["files"] == {"added": 0, "changed": 0, "removed": 1}
    assert [row["subject"] for row in log(worlds, "data/deep")] == ["a version"]
    assert [row["subject"] for row in log(worlds, "-n", "2")] == ["third", "second"]


def test_other_revisions_and_all_of_them(worlds: TwoWorlds) -> None:
    assert [row["subject"] for row in log(worlds, "--rev", "exp")] == ["experiment", "second", "a version"]
    assert {row["subject"] for row in log(worlds, "--all")} == {"experiment", "third", "second", "a version"}
    assert worlds.project.try_kist("log", "--all", "--rev", "exp").code == 254


def test_the_remote_is_asked_whether_it_has_them_whole(worlds: TwoWorlds) -> None:
    assert [row["in_remote"] for row in log(worlds, "--cloud", "--all", "data")] == [False, True, True]
    assert [row["in_remote"] for row in log(worlds, "-r", "store")] == [False, True, True]
    assert "in_remote" not in log(worlds)[0]
    said = worlds.kist("log", "-c").out.splitlines()
    assert said[0].endswith("third  [remote: not whole]")
    assert said[2].endswith("second  [remote: whole]")


def test_what_the_cache_does_not_have_is_unknown_not_wrong(worlds: TwoWorlds) -> None:
    for place in (".dvc/cache", ".dvc/tmp/kist/manifests"):
        subprocess.run(["rm", "-rf", worlds.project.path(place)], check=True)
    _, second, first = log(worlds)
    assert (second["files"], second["bytes"]) == (None, None)
    assert first["files"] == {"added": 4, "changed": 0, "removed": 0}
    assert "    data/: ? files\n" in worlds.kist("log").out
    assert "hint: kist log -c data\n" in worlds.kist("log", "data").err


def test_a_clone_has_the_lists_of_older_versions_from_the_remote(worlds: TwoWorlds) -> None:
    clone = worlds.clone("ben")
    assert log(clone, "data")[0]["files"] is None
    second, first = log(clone, "-c")
    assert second["files"] == {"added": 1, "changed": 1, "removed": 1}
    assert (second["in_remote"], first["in_remote"]) == (True, True)
    answer = clone.kist("log", "-c")
    assert "    data/: 1 file added, 1 changed, 1 removed" in answer.out and "[remote: ?]" not in answer.out
    assert not answer.err
    assert log(clone)[0]["files"] == second["files"]  # what was seen once stays known
    assert "hint" not in clone.kist("log").err


def test_a_list_that_the_remote_has_not_stays_unknown(worlds: TwoWorlds) -> None:
    clone = worlds.clone("ben", with_data=False)
    subprocess.run(["rm", "-rf", str(worlds.top / "store/files")], check=True)
    assert [(row["files"] is None, row["in_remote"]) for row in log(clone, "-c", "data")] == [
        (True, False),
        (False, False),
    ]


def test_removed_and_moved_data(worlds: TwoWorlds) -> None:
    worlds.kist("move", "model.bin", "best.bin")
    worlds.kist("save", "-m", "moved")
    worlds.kist("remove", "best.bin.dvc", "--outs")
    worlds.kist("save", "-m", "removed")
    gone, moved = log(worlds)[:2]
    assert [(row["path"], row["change"]) for row in gone["outputs"]] == [("best.bin", "removed")]
    assert [(row["path"], row["change"]) for row in moved["outputs"]] == [
        ("best.bin", "added"),
        ("model.bin", "removed"),
    ]
    assert gone["files"] == {"added": 0, "changed": 0, "removed": 1}


def test_outputs_of_pipelines(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write({"dvc.yaml": "stages:\n  make:\n    cmd: x\n    outs:\n    - out.txt\n", "out.txt": "1\n"})
    project.kist("commit", "-f")
    worlds.kist("save", "-m", "pipeline")
    project.write({"out.txt": "2\n"})
    project.kist("commit", "-f")
    worlds.kist("save", "-m", "another run")
    second, first = log(worlds)[:2]
    assert (second["subject"], first["subject"]) == ("another run", "pipeline")
    assert [(row["path"], row["change"]) for row in second["outputs"]] == [("out.txt", "changed")]
    assert [(row["path"], row["change"]) for row in first["outputs"]] == [("out.txt", "added")]


def test_a_merge_counts_only_when_its_data_is_new(worlds: TwoWorlds) -> None:
    worlds.git("merge", "-q", "-m", "plain merge", "exp")
    assert [row["subject"] for row in log(worlds)].count("plain merge") == 0
    worlds.kist("checkout")
    worlds.project.write({"model.bin": "of the merge\n"})
    worlds.kist("add", "model.bin")
    worlds.git("commit", "-q", "-a", "--amend", "-m", "merge with a model")
    newest = log(worlds)[0]
    assert newest["subject"] == "merge with a model"
    assert [row["path"] for row in newest["outputs"]] == ["model.bin"]


def test_the_graph_is_gits(worlds: TwoWorlds) -> None:
    worlds.git("merge", "-q", "-m", "plain merge", "exp")
    text = worlds.kist("log", "--graph").out
    lines = text.splitlines()
    assert any(
        "third: 1 file changed (+15 B)" in line and line.startswith(("* | ", "| * ")) for line in lines
    )
    assert any(
        "experiment: 1 file added (+5 B)" in line and line.startswith(("* | ", "| * ")) for line in lines
    )
    assert lines[-1].startswith("* ")
    assert "a version: 4 files added" in lines[-1]
    assert "code alone" not in text


def test_a_repository_without_a_commit_has_no_versions(tmp_path: Path) -> None:
    from kist.testing.project import Project

    project = Project(str(tmp_path / "fresh"))
    assert project.kist("log").out == ""
    assert project.kist("log", "--graph").out == ""
    assert json.loads(project.kist("log", "--json").out) == []


def test_a_metafile_that_was_broken_once_is_noted_and_left_out(worlds: TwoWorlds) -> None:
    text = worlds.project.read("model.bin.dvc")
    worlds.project.write({"model.bin.dvc": "<<<<<<< ours\n"})
    worlds.git("commit", "-q", "-a", "-m", "broken")
    worlds.project.write({"model.bin.dvc": text})
    worlds.git("commit", "-q", "-a", "-m", "mended")
    answer = worlds.kist("log")
    assert "left out '" in answer.err
    assert "third" in answer.out

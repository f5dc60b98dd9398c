"""`kist restore`: one path comes back with its data, everything else stays."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .two_worlds import FIRST, TwoWorlds


@pytest.fixture
def worlds(tmp_path: Path) -> TwoWorlds:
    """Version `v1`, and another one of `data` and `model.bin` on `main`."""
    made = TwoWorlds.make(tmp_path / "ada")
    made.project.write({"data/two.txt": "two, better\n", "data/four.txt": "four\n", "model.bin": "better\n"})
    os.unlink(made.project.path("data/one.txt"))
    made.kist("save", "--push")
    return made


OLD = {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}
NEW = {"two.txt": "two, better\n", "four.txt": "four\n", "deep/three.txt": "three\n"}


def test_a_file_comes_back_and_the_rest_stays(worlds: TwoWorlds) -> None:
    head = worlds.head()
    said = worlds.kist("restore", "model.bin", "--rev", "v1").out
    assert said.splitlines()[-1] == "git: model.bin.dvc changed, not committed"
    assert worlds.project.read("model.bin") == FIRST["model.bin"]
    assert worlds.project.files("data") == NEW
    assert worlds.git("status", "--porcelain") == "M model.bin.dvc"
    assert worlds.head() == head
    assert worlds.git("diff", "v1", "--", "model.bin.dvc") == ""
    assert "up to date" in worlds.kist("status").out


def test_a_directory_comes_back_whole(worlds: TwoWorlds) -> None:
    worlds.kist("restore", "data", "--rev", "v1")
    assert worlds.project.files("data") == OLD
    assert worlds.git("diff", "v1", "--", "data.dvc") == ""
    assert worlds.project.read("model.bin") == "better\n"


@pytest.mark.parametrize(
    ("inner", "files"),
    [
        ("data/one.txt", {**NEW, "one.txt": "one\n"}),
        ("data/two.txt", {**NEW, "two.txt": "two\n"}),
    ],
)
def test_a_path_inside_of_a_directory_comes_back_alone(
    worlds: TwoWorlds, inner: str, files: dict[str, str]
) -> None:
    worlds.kist("restore", inner, "--rev", "v1")
    assert worlds.project.files("data") == files
    assert "up to date" in worlds.kist("status").out


def test_a_folder_inside_of_a_directory_loses_what_came_later(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/deep/three.txt": "changed\n", "data/deep/new.txt": "new\n"})
    worlds.kist("save")
    worlds.kist("restore", "data/deep", "--rev", "v1")
    assert worlds.project.files("data") == NEW
    assert "up to date" in worlds.kist("status").out


def test_the_default_is_the_last_commit(worlds: TwoWorlds) -> None:
    os.unlink(worlds.project.path("model.bin"))
    subprocess.run(["rm", "-r", worlds.project.path("data/deep")], check=True)
    said = worlds.kist("restore", "model.bin").out
    assert said.splitlines()[-1] == "git: model.bin.dvc says so already"
    worlds.kist("restore", "data/deep")
    assert worlds.project.files("data") == NEW
    assert worlds.git("status", "--porcelain") == ""


def test_the_data_is_fetched(worlds: TwoWorlds) -> None:
    other = worlds.clone("bob")
    said = other.kist("restore", "data", "--rev", "v1").out
    assert "data: 3 files fetched from store\n" in said
    assert other.project.files("data") == OLD
    third = worlds.clone("eve", with_data=False)
    said = third.kist("restore", "data/one.txt", "--rev", "v1").out
    assert third.project.files("data") == {"one.txt": "one\n"}
    assert third.project.kist("list", ".", "data", "-R").out.split() == [
        "deep/three.txt",
        "four.txt",
        "one.txt",
        "two.txt",
    ]


def test_data_that_is_tracked_no_more_comes_back_with_its_metafile(worlds: TwoWorlds) -> None:
    worlds.kist("remove", "model.bin.dvc", "--outs")
    worlds.kist("save")
    assert not worlds.project.exists("model.bin")
    worlds.kist("restore", "model.bin", "--rev", "v1")
    assert worlds.project.read("model.bin") == "model\n"
    assert worlds.git("status", "--porcelain", ".gitignore", "model.bin.dvc", "model.bin").split() == [
        "M",
        ".gitignore",
        "??",
        "model.bin.dvc",
    ]


def test_data_that_would_be_lost_is_refused_before_anything_changes(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/two.txt": "edited\n", "data/four.txt": "edited\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("restore", "data/two.txt", "--rev", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "would be lost: data 'data/two.txt'\n" in refused.err
    worlds.kist("restore", "data/two.txt", "--rev", "v1", "--force")
    assert worlds.project.files("data") == {**NEW, "two.txt": "two\n", "four.txt": "edited\n"}


def test_what_cannot_be_restored_says_what_to_do_instead(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write(
        {
            "dvc.yaml": "stages:\n  make:\n    cmd: echo > out.txt\n    outs:\n    - out.txt\n",
            "out.txt": "1\n",
        }
    )
    project.kist("commit", "-f")
    worlds.kist("save")
    cases = {
        ("out.txt",): "kist switch HEAD",
        ("code.py", "--rev", "v1"): "git restore --source v1 -- code.py",
        ("nothing",): "kist log nothing",
        ("data/nothing", "--rev", "v1"): "kist log data/nothing",
    }
    before = worlds.seen()
    for words, hint in cases.items():
        refused = project.try_kist("restore", *words)
        assert (refused.code, worlds.seen()) == (1, before), words
        assert hint in refused.err, words
    gone = project.try_kist("restore", "model.bin", "--rev", "nope")
    assert gone.code == 1
    assert "cannot find revision 'nope'" in gone.err
    worlds.kist("remove", "data.dvc", "--outs")
    inner = project.try_kist("restore", "data/one.txt", "--rev", "v1")
    assert inner.code == 1
    assert "kist restore data --rev v1" in inner.err


def test_comments_in_the_metafile_stay(worlds: TwoWorlds) -> None:
    text = worlds.project.read("model.bin.dvc")
    worlds.project.write({"model.bin.dvc": "# mine\n" + text + "desc: the best\n"})
    worlds.kist("restore", "model.bin", "--rev", "v1")
    now = worlds.project.read("model.bin.dvc")
    assert now.startswith("# mine\n")
    assert "desc: the best\n" in now
    assert worlds.project.read("model.bin") == "model\n"


def test_the_json_form(worlds: TwoWorlds) -> None:
    told = json.loads(worlds.kist("restore", "model.bin", "--rev", "v1", "--json").out)
    assert told == {
        "path": "model.bin",
        "commit": worlds.git("rev-parse", "v1"),
        "metafile": "model.bin.dvc",
        "changed": True,
        "fetched": 0,
        "data": {**told["data"], "modified": ["model.bin"]},
        "to_stage": ["model.bin.dvc"],
    }


@pytest.mark.parametrize(
    "words",
    [
        ("model.bin", "--rev", "v1"),
        ("data", "--rev", "v1"),
        ("data/one.txt", "--rev", "v1"),
        ("data/two.txt", "--rev", "v1"),
        ("data/deep", "--rev", "v1"),
        ("gone.csv", "--rev", "HEAD~1"),
        ("model.bin", "--rev", "v1", "--force"),
    ],
    ids=" ".join,
)
def test_pasted_plain_commands_end_in_the_same_state(
    worlds: TwoWorlds, tmp_path: Path, words: tuple[str, ...]
) -> None:
    project = worlds.project
    project.write({"gone.csv": "1\n", "data/deep/three.txt": "changed\n"})
    worlds.kist("save", "gone.csv", "data")
    worlds.kist("remove", "gone.csv.dvc", "--outs")
    worlds.kist("save", "--push")
    if "--force" in words:
        project.write({"model.bin": "edited\n"})
    twin = worlds.twin(tmp_path / "twin")
    commands = worlds.dry("restore", *words)
    worlds.kist("restore", *words)
    twin.paste(commands)
    assert twin.seen() == worlds.seen()

"""`kist sync`: Git's branch and the data of the result, as Git is configured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .two_worlds import FIRST, TwoWorlds


@pytest.fixture
def worlds(tmp_path: Path) -> TwoWorlds:
    return TwoWorlds.make(tmp_path / "ada")


@pytest.fixture
def other(worlds: TwoWorlds) -> TwoWorlds:
    """Somebody else's clone, who has pushed another `data` and `code.py`."""
    made = worlds.clone("bob")
    made.project.write({"data/two.txt": "bob's\n", "data/four.txt": "four\n", "code.py": "bob\n"})
    os.unlink(made.project.path("data/one.txt"))
    made.kist("save", "data", "code.py", "--push")
    return made


BOBS = {"two.txt": "bob's\n", "four.txt": "four\n", "deep/three.txt": "three\n"}


def test_a_fast_forward_brings_code_and_data(worlds: TwoWorlds, other: TwoWorlds) -> None:
    said = worlds.kist("sync").out.splitlines()
    assert said[0] == f"git: fast-forward to origin/main; branch main at {other.head()[:7]}"
    assert said[1] == "data: 3 files fetched from store"
    assert worlds.head() == other.head()
    assert worlds.project.files("data") == BOBS
    assert worlds.project.read("code.py") == "bob\n"
    again = worlds.kist("sync").out.splitlines()
    assert again == [
        f"git: up to date with origin/main; branch main at {other.head()[:7]}",
        "data: everything is in place",
    ]


def test_a_merge_where_git_is_told_to_merge(worlds: TwoWorlds, other: TwoWorlds) -> None:
    worlds.git("config", "pull.rebase", "false")
    worlds.project.write({"model.bin": "ada's\n"})
    worlds.kist("save")
    said = worlds.kist("sync").out
    assert said.startswith("git: merged origin/main; branch main at ")
    assert worlds.git("show", "-s", "--format=%P").split()[1] == other.head()
    assert worlds.project.files("data") == BOBS
    assert worlds.project.read("model.bin") == "ada's\n"
    assert "up to date" in worlds.kist("status").out


@pytest.mark.parametrize("setting", ["pull.rebase", "branch.main.rebase"])
def test_a_rebase_where_git_is_told_to_rebase(worlds: TwoWorlds, other: TwoWorlds, setting: str) -> None:
    worlds.git("config", setting, "true")
    worlds.project.write({"model.bin": "ada's\n"})
    worlds.kist("save")
    assert worlds.kist("sync").out.startswith("git: rebased onto origin/main; branch main at ")
    assert worlds.git("show", "-s", "--format=%P") == other.head()
    assert worlds.project.files("data") == BOBS
    assert worlds.project.read("model.bin") == "ada's\n"


@pytest.mark.parametrize("settings", [{}, {"pull.ff": "only"}])
def test_two_sides_without_a_rule_are_refused_before_anything_changes(
    worlds: TwoWorlds, other: TwoWorlds, settings: dict[str, str]
) -> None:
    for name, value in settings.items():
        worlds.git("config", name, value)
    worlds.project.write({"model.bin": "ada's\n"})
    worlds.kist("save")
    before = worlds.seen()
    refused = worlds.project.try_kist("sync")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "'main' and 'origin/main' both have commits of their own" in refused.err
    assert "git config pull.rebase" in refused.err


def test_no_fast_forward_where_git_is_told_so(worlds: TwoWorlds, other: TwoWorlds) -> None:
    worlds.git("config", "pull.ff", "false")
    worlds.kist("sync")
    assert worlds.git("show", "-s", "--format=%P").split()[1] == other.head()
    assert worlds.project.files("data") == BOBS


@pytest.mark.parametrize(("rebase", "word"), [("false", "merge"), ("true", "rebase")])
def test_conflicts_are_listed_with_the_way_out_and_the_data_stays(
    worlds: TwoWorlds, other: TwoWorlds, rebase: str, word: str
) -> None:
    worlds.git("config", "pull.rebase", rebase)
    worlds.project.write({"data/two.txt": "ada's\n", "code.py": "ada\n"})
    worlds.kist("save", "data", "code.py")
    files = worlds.project.files("data")
    refused = worlds.project.try_kist("sync")
    assert refused.code == 1
    assert refused.err.startswith(
        f"error: cannot finish the {word}: both sides changed data: 'data.dvc'; in Git: 'code.py'\n"
        "hint: choose with `kist resolve --ours`, `--theirs` or `--each`, then edit the files in Git and `git add` "
        f"them, then run `git {word} --continue && kist sync`; or give up with `git {word} --abort`\n"
    )
    assert worlds.project.files("data") == files
    assert worlds.seen()["journal"] is False
    again = worlds.project.try_kist("sync")
    assert again.code == 1
    assert f"cannot sync: a {word} is in progress" in again.err
    worlds.git(word, "--abort")
    assert "up to date" in worlds.kist("status").out


def test_unsaved_work_that_the_other_side_changed_is_named_before_anything_changes(
    worlds: TwoWorlds, other: TwoWorlds
) -> None:
    worlds.project.write({"data/two.txt": "edited\n", "code.py": "edited\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("sync")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "would be lost: in Git 'code.py'; data 'data/two.txt'" in refused.err


@pytest.mark.parametrize("rebase", ["false", "true"])
def test_unsaved_data_is_named_also_where_the_result_is_not_known(
    worlds: TwoWorlds, other: TwoWorlds, rebase: str
) -> None:
    worlds.git("config", "pull.rebase", rebase)
    worlds.project.write({"model.bin": "ada's\n"})
    worlds.kist("save")
    worlds.project.write({"data/two.txt": "edited\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("sync")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "would be lost: data 'data/two.txt'" in refused.err


@pytest.mark.parametrize("diverged", [False, True])
def test_edits_that_the_other_side_did_not_touch_stay(
    worlds: TwoWorlds, other: TwoWorlds, diverged: bool
) -> None:
    worlds.git("config", "pull.rebase", "false")
    if diverged:
        worlds.project.write({"extra.csv": "1\n"})
        worlds.kist("save", "extra.csv")
    worlds.project.write({"model.bin": "edited\n"})
    said = worlds.kist("sync").out
    assert "data: model.bin was edited and stays as it is\n" in said
    assert worlds.project.read("model.bin") == "edited\n"
    assert worlds.project.files("data") == BOBS


def test_data_that_cannot_be_had_is_refused_before_git_moves(worlds: TwoWorlds, other: TwoWorlds) -> None:
    subprocess.run(["rm", "-rf", str(worlds.top / "store/files")], check=True)
    before = worlds.seen()
    refused = worlds.project.try_kist("sync")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "is missing on the remote" in refused.err


def test_a_branch_that_follows_nothing_is_told_how_to(worlds: TwoWorlds) -> None:
    worlds.git("switch", "-q", "-c", "exp")
    refused = worlds.project.try_kist("sync")
    assert refused.code == 1
    assert "cannot sync: branch 'exp' follows no branch elsewhere" in refused.err
    assert "git branch --set-upstream-to=origin/exp" in refused.err
    worlds.git("switch", "-q", "--detach")
    assert "cannot sync: HEAD is on no branch" in worlds.project.try_kist("sync").err


def test_a_git_remote_that_is_away_is_gits_to_tell(worlds: TwoWorlds) -> None:
    os.rename(worlds.top / "origin.git", worlds.top / "away.git")
    refused = worlds.project.try_kist("sync")
    assert refused.code == 1
    assert "cannot fetch: git says: " in refused.err
    assert worlds.project.read("model.bin") == FIRST["model.bin"]


def test_the_json_form(worlds: TwoWorlds, other: TwoWorlds) -> None:
    before = worlds.head()
    told = json.loads(worlds.kist("sync", "--json").out)
    assert told == {
        "how": "fast-forward",
        "upstream": "origin/main",
        "branch": "main",
        "before": before,
        "commit": other.head(),
        "fetched": 3,
        "data": {**told["data"], "modified": ["data/"]},
        "left_alone": [],
    }


@pytest.mark.parametrize("rebase", ["", "false", "true"], ids=["forward", "merge", "rebase"])
def test_pasted_plain_commands_end_in_the_same_state(
    worlds: TwoWorlds, other: TwoWorlds, tmp_path: Path, rebase: str
) -> None:
    if rebase:
        worlds.git("config", "pull.rebase", rebase)
        worlds.project.write({"model.bin": "ada's\n"})
        worlds.kist("save")
    twin = worlds.twin(tmp_path / "twin")
    commands = worlds.dry("sync")
    worlds.kist("sync")
    twin.paste(commands)
    assert twin.seen() == worlds.seen()


def test_with_hooks_and_merge_driver_two_sides_of_a_directory_become_one(
    worlds: TwoWorlds, other: TwoWorlds
) -> None:
    worlds.git("config", "pull.rebase", "false")
    worlds.project.write({"data/mine.txt": "ada's\n"})
    worlds.paste([["kist", "install"], ["kist", "save"], ["kist", "sync"]])
    assert worlds.project.files("data") == {**BOBS, "mine.txt": "ada's\n"}
    assert worlds.git("show", "-s", "--format=%P").split()[1] == other.head()
    assert "up to date" in worlds.kist("status").out

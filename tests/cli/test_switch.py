"""`kist switch`: both worlds move together, unsaved work stays or is named, and `--dry` tells plain commands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .two_worlds import FIRST, TwoWorlds


@pytest.fixture
def worlds(tmp_path: Path) -> TwoWorlds:
    """Version `v1`, and `v2` on `main`: one file of `data` changed, one came, one went; `model.bin` is the same."""
    made = TwoWorlds.make(tmp_path / "ada")
    made.project.write({"data/two.txt": "two, better\n", "data/four.txt": "four\n", "code.py": "2\n"})
    os.unlink(made.project.path("data/one.txt"))
    made.kist("save", "data", "code.py", "--tag", "v2", "--push")
    return made


OLD = {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}
NEW = {"two.txt": "two, better\n", "four.txt": "four\n", "deep/three.txt": "three\n"}


def drop_cache(worlds: TwoWorlds) -> None:
    subprocess.run(["rm", "-rf", worlds.project.path(".dvc/cache")], check=True)


def test_a_tag_is_a_detached_head_with_its_data_and_that_is_said(worlds: TwoWorlds) -> None:
    said = worlds.kist("switch", "v1").out
    assert said.splitlines()[0] == f"git: no branch (HEAD is detached) at {worlds.head()[:7]}"
    assert "data: data/ modified\n" in said
    assert worlds.git("branch", "--show-current") == ""
    assert worlds.project.files("data") == OLD
    assert worlds.project.read("code.py") == FIRST["code.py"]
    assert "up to date" in worlds.kist("status").out
    assert worlds.kist("switch", "main").out.splitlines()[0] == f"git: branch main at {worlds.head()[:7]}"
    assert worlds.project.files("data") == NEW
    worlds.kist("switch", "HEAD~1")
    assert worlds.project.files("data") == OLD
    worlds.kist("switch", "-")
    assert (worlds.git("branch", "--show-current"), worlds.project.files("data")) == ("main", NEW)


def test_a_new_branch_here_moves_nothing(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/two.txt": "edited\n"})
    os.unlink(worlds.project.path("model.bin"))
    worlds.kist("switch", "-c", "exp")
    assert worlds.git("branch", "--show-current") == "exp"
    assert worlds.project.read("data/two.txt") == "edited\n"
    assert not worlds.project.exists("model.bin")


def test_a_new_branch_elsewhere_moves_both(worlds: TwoWorlds) -> None:
    worlds.kist("switch", "-c", "exp", "v1")
    assert worlds.git("branch", "--show-current") == "exp"
    assert worlds.project.files("data") == OLD
    taken = worlds.project.try_kist("switch", "-c", "main")
    assert taken.code == 1
    assert "cannot make branch 'main': there is one already" in taken.err


def test_a_branch_that_only_the_git_remote_has_is_followed(worlds: TwoWorlds) -> None:
    worlds.git("switch", "-q", "-c", "exp")
    worlds.project.write({"model.bin": "exp's\n"})
    worlds.kist("save", "--push")
    other = worlds.clone("bob")
    other.kist("switch", "exp")
    assert other.git("rev-parse", "--abbrev-ref", "exp@{upstream}") == "origin/exp"
    assert other.project.read("model.bin") == "exp's\n"


def test_missing_objects_are_fetched_before_git_moves(worlds: TwoWorlds) -> None:
    other = worlds.clone("bob")
    said = other.kist("switch", "v1").out
    assert "data: 3 files fetched from store\n" in said
    assert other.project.files("data") == OLD


def test_data_whose_only_copy_is_here_is_refused_until_it_is_saved(worlds: TwoWorlds) -> None:
    drop_cache(worlds)
    refused = worlds.project.try_kist("switch", "v1")
    assert refused.code == 1
    assert "data 'data/four.txt', 'data/two.txt'" in refused.err
    answer = worlds.kist("save")
    assert answer.out == "Nothing to save.\n"
    assert "'data' was not in the cache, and is again\n" in answer.err
    worlds.kist("switch", "v1")
    assert worlds.project.files("data") == OLD


def test_data_that_cannot_be_had_is_refused_before_git_moves(worlds: TwoWorlds) -> None:
    drop_cache(worlds)
    os.rename(worlds.top / "store", worlds.top / "away")
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "cannot read remote 'store'" in refused.err
    worlds.kist("remote", "remove", "store")
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert (
        "the cache lacks data of 'data', 'model.bin', and there is no remote to fetch it from" in refused.err
    )
    assert "git switch --detach v1 && kist checkout --allow-missing" in refused.err


def test_an_object_that_is_nowhere_is_named(worlds: TwoWorlds) -> None:
    drop_cache(worlds)
    subprocess.run(["rm", "-rf", str(worlds.top / "store/files")], check=True)
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "is missing on the remote" in refused.err


def test_what_would_be_lost_in_both_worlds_is_named_before_anything_changes(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/two.txt": "edited\n", "data/mine.txt": "mine\n", "code.py": "edited\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert refused.err == (
        "error: cannot switch to 'v1': this is saved nowhere and would be lost: "
        "in Git 'code.py'; data 'data/mine.txt', 'data/two.txt'\n"
        "hint: keep it with `git add -- code.py && kist save`, or drop it with `kist switch v1 --force`\n"
    )
    worlds.kist("switch", "v1", "--force")
    assert worlds.project.files("data") == OLD
    assert worlds.project.read("code.py") == FIRST["code.py"]


def test_edits_of_data_that_both_sides_record_alike_stay(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "edited\n"})
    said = worlds.kist("switch", "v1").out
    assert "data: model.bin was edited and stays as it is\n" in said
    assert worlds.project.read("model.bin") == "edited\n"
    assert worlds.project.files("data") == OLD
    worlds.kist("switch", "main", "--force")
    assert worlds.project.read("model.bin") == "model\n"


def test_metafiles_that_git_carries_over_keep_their_data(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "edited\n"})
    worlds.kist("add", "model.bin")
    worlds.kist("switch", "v1")
    assert worlds.project.read("model.bin") == "edited\n"
    assert worlds.project.files("data") == OLD
    assert worlds.git("status", "--porcelain") == "M model.bin.dvc"


def test_data_that_the_other_side_does_not_track_goes_if_it_is_stored(worlds: TwoWorlds) -> None:
    worlds.project.write({"extra/a.csv": "a\n"})
    worlds.kist("save", "extra")
    worlds.project.write({"extra/a.csv": "edited\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "v1")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "data 'extra/a.csv'" in refused.err
    worlds.kist("save")
    subprocess.run(["rm", "-rf", worlds.project.path(".dvc/tmp")], check=True)  # nothing is remembered
    worlds.kist("switch", "v1")
    assert not worlds.project.exists("extra/a.csv")
    worlds.kist("switch", "main")
    assert worlds.project.read("extra/a.csv") == "edited\n"


def test_data_that_was_gits_own_once_comes_and_goes(tmp_path: Path) -> None:
    worlds = TwoWorlds.make(tmp_path / "ada")
    worlds.project.write({"table.csv": "1\n"})
    worlds.git("add", "table.csv")
    worlds.kist("save", "-m", "in Git", "--tag", "in-git")
    worlds.git("rm", "-q", "--cached", "table.csv")
    worlds.git("commit", "-q", "-m", "out of Git")
    worlds.project.write({"table.csv": "2\n"})
    worlds.kist("save", "table.csv", "--tag", "in-kist")
    worlds.kist("switch", "in-git")
    assert worlds.project.read("table.csv") == "1\n"
    assert worlds.git("status", "--porcelain") == ""
    worlds.kist("switch", "in-kist")
    assert worlds.project.read("table.csv") == "2\n"
    assert worlds.git("status", "--porcelain") == ""


def test_a_merge_in_progress_is_refused(worlds: TwoWorlds) -> None:
    Path(worlds.project.path(".git/MERGE_HEAD")).write_text(worlds.head() + "\n")
    refused = worlds.project.try_kist("switch", "v1")
    assert refused.code == 1
    assert "cannot switch: a merge is in progress" in refused.err


def test_untracked_files_in_the_way_are_gits_to_refuse(worlds: TwoWorlds) -> None:
    worlds.project.write({"new.py": "theirs\n"})
    worlds.git("switch", "-q", "-c", "exp")
    worlds.git("add", "new.py")
    worlds.kist("save")
    worlds.kist("switch", "main")
    worlds.project.write({"new.py": "mine\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("switch", "exp")
    assert (refused.code, worlds.seen()) == (1, before)
    assert "cannot switch to 'exp': git says: The following untracked working tree files" in refused.err
    assert "new.py" in refused.err


def test_a_hook_that_fails_after_the_switch_does_not_stop_the_data(worlds: TwoWorlds) -> None:
    hook = Path(worlds.project.path(".git/hooks/post-checkout"))
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho hook: no\nexit 1\n")
    hook.chmod(0o755)
    answer = worlds.kist("switch", "v1")
    assert "hook: no\n" in answer.err
    assert worlds.project.files("data") == OLD
    assert worlds.seen()["journal"] is False


def test_where_one_is_already_the_data_is_completed(worlds: TwoWorlds) -> None:
    other = worlds.clone("bob", with_data=False)
    said = other.kist("switch", "main").out
    assert said.splitlines()[0] == f"git: branch main at {other.head()[:7]}, as before"
    assert other.project.files("data") == NEW


def test_the_json_form(worlds: TwoWorlds) -> None:
    told = json.loads(worlds.kist("switch", "v1", "--json").out)
    assert told == {
        "branch": None,
        "commit": worlds.head(),
        "fetched": 0,
        "data": {
            **told["data"],
            "added": [],
            "modified": ["data/"],
            "deleted": [],
            "missing": [],
            "damaged": [],
        },
        "left_alone": [],
    }


def test_without_git_there_is_nothing_to_switch(tmp_path: Path) -> None:
    from kist.testing.project import Project

    project = Project(str(tmp_path / "plain"), git=False)
    for words in (("save",), ("switch", "main"), ("sync",), ("restore", "data"), ("log",)):
        refused = project.try_kist(*words)
        assert refused.code == 1
        assert "there is no Git repository here" in refused.err


@pytest.mark.parametrize(
    "words",
    [("v1",), ("main",), ("-c", "exp"), ("-c", "exp", "v1"), ("exp",), ("--force", "v1")],
    ids=" ".join,
)
def test_pasted_plain_commands_end_in_the_same_state(
    worlds: TwoWorlds, tmp_path: Path, words: tuple[str, ...]
) -> None:
    worlds.git("push", "-q", "origin", "v1:refs/heads/exp")
    other = worlds.clone("bob")
    if words == ("--force", "v1"):
        other.project.write({"data/mine.txt": "mine\n", "code.py": "edited\n"})
    if words == ("main",):
        other.kist("switch", "v1")
    twin = other.twin(tmp_path / "twin")
    commands = other.dry("switch", *words)
    other.kist("switch", *words)
    twin.paste(commands)
    assert twin.seen() == other.seen()


def test_dry_says_that_an_interrupted_command_comes_first_and_leaves_it(worlds: TwoWorlds) -> None:
    worlds.project.write({".dvc/tmp/kist/everyday.json": "garbage"})
    answer = worlds.kist("switch", "v1", "--dry")
    assert answer.out == "git switch --detach v1\nkist pull\n"
    assert answer.err == "without `--dry` an interrupted command is settled first\n"
    assert worlds.seen()["journal"] is True

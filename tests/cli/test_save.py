"""`kist save`: what it takes, what it refuses, and that `--dry` tells the same in plain commands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .two_worlds import TwoWorlds


@pytest.fixture
def worlds(tmp_path: Path) -> TwoWorlds:
    return TwoWorlds.make(tmp_path / "ada")


def test_changed_data_is_stored_and_committed_with_a_message_that_tells_what_changed(
    worlds: TwoWorlds,
) -> None:
    project = worlds.project
    project.write({"data/two.txt": "two, better\n", "data/four.txt": "four\n"})
    os.unlink(project.path("data/one.txt"))
    said = worlds.kist("save").out
    assert worlds.subject() == "data: 1 file added, 1 changed, 1 removed in data"
    assert "data: data/: 1 file added, 1 changed, 1 removed\n" in said
    assert f"git: commit {worlds.head()[:7]} on branch main: data:" in said
    assert worlds.git("show", "--name-only", "--format=") == "data.dvc"
    assert worlds.git("status", "--porcelain") == ""
    assert "up to date" in worlds.kist("status").out


def test_a_message_of_ones_own_is_taken_as_it_is(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n"})
    worlds.kist("save", "-m", "# a better model\n\nand why\n")
    assert worlds.git("log", "-1", "--format=%B") == "# a better model\n\nand why"


def test_nothing_to_save_is_said_and_is_no_failure(worlds: TwoWorlds) -> None:
    before = worlds.seen()
    answer = worlds.kist("save")
    assert answer.out == "Nothing to save.\n"
    assert worlds.seen() == before


def test_new_paths_are_added_when_they_are_named(worlds: TwoWorlds) -> None:
    worlds.project.write({"extra/a.csv": "1\n", "extra/b.csv": "2\n", "notes.txt": "small\n"})
    worlds.kist("save", "extra")
    assert worlds.subject() == "data: 2 files added in extra"
    assert worlds.git("show", "--name-only", "--format=").split() == [".gitignore", "extra.dvc"]
    assert worlds.git("status", "--porcelain") == "?? notes.txt"


def test_large_new_files_and_folders_are_pointed_out_and_left(worlds: TwoWorlds) -> None:
    worlds.project.write({"big.bin": "x" * (1 << 20), "many/one": "x" * (1 << 20), "small.txt": "x"})
    answer = worlds.kist("save")
    assert answer.err == (
        "hint: new and not saved: big.bin (1.0 MB), many (1.0 MB); track them with `kist save big.bin many`\n"
    )
    assert worlds.git("status", "--porcelain").split() == ["??", "big.bin", "??", "many/", "??", "small.txt"]


def test_what_is_staged_goes_along_and_other_changes_of_code_stay(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n", "code.py": "1\n", "new.py": "2\n", "other.py": "3\n"})
    worlds.git("add", "new.py")
    worlds.kist("save")
    assert worlds.git("show", "--name-only", "--format=").split() == ["model.bin.dvc", "new.py"]
    assert worlds.git("status", "--porcelain").split("\n") == ["M code.py", "?? other.py"]


def test_only_staged_code_is_committed_with_its_names_as_the_message(worlds: TwoWorlds) -> None:
    worlds.project.write({"code.py": "1\n"})
    worlds.git("add", "code.py")
    worlds.kist("save")
    assert worlds.subject() == "update code.py"


def test_metafiles_that_lay_there_changed_are_committed_too(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write({"model.bin": "better\n", "sub/table.csv": "1\n"})
    project.kist("add", "model.bin", "sub/table.csv")
    project.kist("remote", "add", "backup", "../backup")
    worlds.kist("save")
    assert worlds.git("show", "--name-only", "--format=").split() == [
        ".dvc/config",
        "model.bin.dvc",
        "sub/.gitignore",
        "sub/table.csv.dvc",
    ]
    assert worlds.subject() == "data: 1 file added, 1 changed in model.bin, sub/table.csv"


def test_data_that_was_removed_from_tracking_is_committed_as_removed(worlds: TwoWorlds) -> None:
    worlds.project.kist("remove", "model.bin.dvc")
    worlds.kist("save")
    assert worlds.subject() == "data: 1 file removed in model.bin"
    assert worlds.git("show", "--name-status", "--format=").split() == [
        "M",
        ".gitignore",
        "D",
        "model.bin.dvc",
    ]
    assert worlds.git("status", "--porcelain") == "?? model.bin"


def test_paths_choose_what_is_saved(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n", "data/two.txt": "better\n", "code.py": "1\n"})
    worlds.kist("save", "data", "code.py")
    assert worlds.git("show", "--name-only", "--format=").split() == ["code.py", "data.dvc"]
    assert "model.bin" in worlds.kist("status").out
    worlds.kist("save", ".")
    assert worlds.git("show", "--name-only", "--format=").split() == ["model.bin.dvc"]


def test_settings_go_along_whatever_is_named(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n"})
    worlds.kist("remote", "add", "backup", "../backup")
    worlds.kist("save", "model.bin")
    assert worlds.git("show", "--name-only", "--format=").split() == [".dvc/config", "model.bin.dvc"]


def test_a_path_inside_of_a_directory_saves_that_part(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/two.txt": "better\n", "data/four.txt": "four\n"})
    worlds.kist("save", "data/four.txt")
    assert worlds.subject() == "data: 1 file added in data"
    assert worlds.project.kist("diff", "--json").out.count("two.txt") == 1


def test_data_that_is_not_there_stays_tracked(worlds: TwoWorlds) -> None:
    os.unlink(worlds.project.path("model.bin"))
    answer = worlds.kist("save")
    assert answer.out == "Nothing to save.\n"
    assert "hint: 'model.bin' is not there and stays tracked" in answer.err
    refused = worlds.project.try_kist("save", "model.bin")
    assert refused.code == 1
    assert "cannot save 'model.bin': it is not there" in refused.err
    assert "kist remove model.bin.dvc" in refused.err


def test_files_of_a_directory_that_were_never_fetched_stay_in_it(worlds: TwoWorlds, tmp_path: Path) -> None:
    other = worlds.clone("bob", with_data=False)
    other.project.kist("pull", "data/two.txt")
    other.project.write({"data/two.txt": "two, better\n"})
    twin = other.twin(tmp_path / "twin")
    commands = other.dry("save")
    assert commands[0] == ["kist", "add", "data/two.txt"]
    answer = other.kist("save")
    assert other.subject() == "data: 1 file changed in data"
    assert "2 files of 'data' that were never fetched stay in it" in answer.err
    other.kist("pull")
    assert other.project.files("data") == {
        "one.txt": "one\n",
        "two.txt": "two, better\n",
        "deep/three.txt": "three\n",
    }
    twin.paste(commands)
    assert twin.project.read("data.dvc") == other.project.read("data.dvc")


def test_a_tag_is_annotated_with_the_message(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n"})
    worlds.kist("save", "-m", "A better model", "--tag", "v2")
    assert worlds.git("cat-file", "-t", "v2") == "tag"
    assert worlds.git("tag", "-n", "--format=%(contents)", "-l", "v2") == "A better model"
    assert worlds.git("rev-parse", "v2^{commit}") == worlds.head()


def test_a_tag_without_anything_to_save_names_the_last_commit(worlds: TwoWorlds) -> None:
    worlds.kist("save", "--tag", "v2")
    assert worlds.git("rev-parse", "v2^{commit}") == worlds.head()
    assert worlds.kist("save", "--tag", "v2").out == "Nothing to save.\ngit: tag v2\n"


def test_a_tag_that_is_taken_is_refused_before_anything_changes(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("save", "--tag", "v1")
    assert refused.code == 1
    assert "cannot save as 'v1': that tag names commit" in refused.err
    assert worlds.seen() == before
    bad = worlds.project.try_kist("save", "--tag", "no spaces")
    assert (bad.code, worlds.seen()) == (1, before)
    assert "Git allows no such name" in bad.err


def test_push_sends_data_first_then_branch_and_tag(worlds: TwoWorlds) -> None:
    worlds.project.write({"model.bin": "better\n"})
    said = worlds.kist("save", "--tag", "v2", "--push").out.splitlines()
    assert said[-3:] == [
        "data: 1 file pushed to store",
        "git: pushed branch main to origin",
        "git: pushed tag v2 to origin",
    ]
    origin = subprocess.run(
        ["git", "-C", str(worlds.top / "origin.git"), "rev-parse", "main", "v2^{commit}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert origin == [worlds.head()] * 2
    other = worlds.clone("bob")
    assert other.project.read("model.bin") == "better\n"


def test_commits_before_it_that_go_along_bring_their_data(worlds: TwoWorlds, tmp_path: Path) -> None:
    project = worlds.project
    for text in ("second\n", "third\n"):
        project.write({"model.bin": text})
        worlds.kist("save", "-m", text.strip())
    twin = worlds.twin(tmp_path / "twin")
    commands = worlds.dry("save", "--push")
    assert commands[0] == ["kist", "push", "--all-commits"]
    worlds.kist("save", "--push")
    twin.paste(commands)
    assert twin.seen() == worlds.seen()
    other = worlds.clone("bob")
    other.kist("switch", "HEAD~1")
    assert other.project.read("model.bin") == "second\n"


def test_data_that_older_commits_lost_keeps_nothing_back(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write({"model.bin": "second\n"})
    worlds.kist("save", "-m", "second")
    subprocess.run(["rm", "-r", project.path(".dvc/cache")], check=True)
    project.write({"model.bin": "third\n"})
    answer = worlds.kist("save", "--push")
    assert "data of older commits is nowhere to be had, and was not pushed: 'model.bin'" in answer.err
    assert worlds.git("ls-remote", "origin", "main").split()[0] == worlds.head()


def test_a_branch_without_upstream_gets_one_with_its_first_push(worlds: TwoWorlds) -> None:
    worlds.git("switch", "-q", "-c", "exp")
    worlds.project.write({"model.bin": "better\n"})
    worlds.kist("save", "--push")
    assert worlds.git("rev-parse", "--abbrev-ref", "exp@{upstream}") == "origin/exp"


def test_data_that_cannot_be_pushed_keeps_the_branch_back(worlds: TwoWorlds) -> None:
    before = worlds.git("rev-parse", "origin/main")
    project = worlds.project
    project.write({"model.bin": "better\n"})
    project.kist("add", "model.bin")
    subprocess.run(["rm", "-r", project.path(".dvc/cache"), project.path("model.bin")], check=True)
    answer = project.try_kist("save", "--push")
    assert answer.code == 1
    assert "cannot push" in answer.err
    assert worlds.head() != before
    assert worlds.git("ls-remote", "origin", "main").split()[0] == before


def test_a_push_that_cannot_work_is_refused_before_the_commit(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write({"model.bin": "better\n"})
    project.git("remote", "remove", "origin")
    before = worlds.head()
    refused = project.try_kist("save", "--push")
    assert (refused.code, worlds.head()) == (1, before)
    assert "no Git remote is chosen" in refused.err
    project.git("checkout", "-q", "--detach")
    detached = project.try_kist("save", "--push")
    assert (detached.code, worlds.head()) == (1, before)
    assert "HEAD is on no branch" in detached.err


def test_a_push_that_the_other_side_refuses_says_what_to_do_and_keeps_the_commit(worlds: TwoWorlds) -> None:
    other = worlds.clone("bob")
    other.project.write({"model.bin": "bob's\n"})
    other.kist("save", "--push")
    worlds.project.write({"data/two.txt": "better\n"})
    answer = worlds.project.try_kist("save", "--push")
    assert answer.code == 1
    assert "git: commit" in answer.out
    assert "cannot push to 'origin'" in answer.err
    assert "kist sync" in answer.err


def test_a_hook_that_refuses_is_shown_and_nothing_is_committed(worlds: TwoWorlds) -> None:
    hook = Path(worlds.project.path(".git/hooks/pre-commit"))
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "style: not like this"\necho "inside $KIST_INSIDE" >&2\nexit 1\n')
    hook.chmod(0o755)
    worlds.project.write({"model.bin": "better\n"})
    before = worlds.head()
    refused = worlds.project.try_kist("save")
    assert (refused.code, worlds.head()) == (1, before)
    assert "style: not like this\ninside save\n" in refused.err
    assert "error: cannot commit: git says: style: not like this" in refused.err
    assert worlds.seen()["journal"] is False
    hook.unlink()
    worlds.kist("save")
    assert worlds.subject() == "data: 1 file changed in model.bin"


def test_a_missing_identity_is_one_clear_line_before_anything_changes(
    worlds: TwoWorlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    worlds.git("config", "user.useConfigOnly", "true")
    worlds.project.write({"model.bin": "better\n"})
    before = worlds.seen()
    refused = worlds.project.try_kist("save")
    assert refused.code == 1
    assert refused.err.splitlines()[0] == "error: cannot commit: Git does not know your name and address"
    assert "git config --global user.name" in refused.err
    assert worlds.seen() == before


def test_conflicts_are_refused_with_the_way_out(worlds: TwoWorlds) -> None:
    project = worlds.project
    worlds.git("switch", "-q", "-c", "exp")
    project.write({"code.py": "one\n"})
    worlds.git("commit", "-q", "-a", "-m", "one")
    worlds.git("switch", "-q", "main")
    project.write({"code.py": "two\n"})
    worlds.git("commit", "-q", "-a", "-m", "two")
    with pytest.raises(subprocess.CalledProcessError):
        worlds.git("merge", "exp")
    refused = project.try_kist("save")
    assert refused.code == 1
    assert "cannot save: 'code.py' have conflicts" in refused.err
    project.write({"code.py": "both\n"})
    worlds.git("add", "code.py")
    worlds.kist("save")
    assert worlds.subject() == "Merge branch 'exp'"


def test_outputs_of_pipelines_are_said_and_left(worlds: TwoWorlds) -> None:
    project = worlds.project
    project.write(
        {
            "dvc.yaml": "stages:\n  make:\n    cmd: echo > out.txt\n    outs:\n    - out.txt\n",
            "out.txt": "1\n",
        }
    )
    project.kist("commit", "-f")
    worlds.kist("save")
    assert set(worlds.git("show", "--name-only", "--format=").split()) >= {"dvc.yaml", "dvc.lock"}
    project.write({"out.txt": "2\n"})
    answer = worlds.kist("save")
    assert answer.out == "Nothing to save.\n"
    assert "'out.txt' changed and belongs to 'dvc.yaml:make': kist commit out.txt" in answer.err
    refused = project.try_kist("save", "out.txt")
    assert refused.code == 1
    assert "cannot save 'out.txt': it is an output of 'dvc.yaml:make'" in refused.err


def test_the_json_form(worlds: TwoWorlds) -> None:
    worlds.project.write({"data/four.txt": "four\n", "big.bin": "x" * (1 << 20)})
    told = json.loads(worlds.kist("save", "--json", "--tag", "v2", "--push").out)
    assert told == {
        "commit": worlds.head(),
        "branch": "main",
        "message": "data: 1 file added in data",
        "tag": "v2",
        "changes": [{"path": "data", "files": {"added": 1, "changed": 0, "removed": 0}}],
        "pushed": {"files": 2, "bytes": told["pushed"]["bytes"], "failed": []},
        "pushed_git": ["branch main to origin", "tag v2 to origin"],
        "not_saved": [{"path": "big.bin", "bytes": 1 << 20}],
        "notes": [],
    }


def test_below_the_top_of_the_git_repository_only_our_part_is_taken(tmp_path: Path) -> None:
    top = tmp_path / "mono"
    (top / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=top, check=True)
    project = TwoWorlds(top).project.at(str(top / "sub"))
    project.kist("init", "-q", "--subdir")
    (top / "outside.dvc").write_text("outs: []\n")
    project.write({"d/a.csv": "1\n"})
    assert project.kist("save", "d", "--dry").out.splitlines()[:2] == [
        "kist add d",
        "git add -- d.dvc .gitignore",
    ]
    project.kist("save", "d")
    assert project.git("log", "-1", "--format=%s").strip() == "data: 1 file added in d"
    assert "outside.dvc" not in project.git("ls-files", ":/")


@pytest.mark.parametrize(
    "words",
    [
        ("save",),
        ("save", "-m", 'it\'s $HOME, "quoted"'),
        ("save", "--tag", "v2"),
        ("save", "--tag", "v2", "--push"),
        ("save", "new folder", "data"),
        ("save", "data/four.txt"),
        ("save", "."),
    ],
    ids=" ".join,
)
def test_pasted_plain_commands_end_in_the_same_state(
    worlds: TwoWorlds, tmp_path: Path, words: tuple[str, ...]
) -> None:
    project = worlds.project
    project.write(
        {
            "data/two.txt": "two, better\n",
            "data/four.txt": "four\n",
            "new folder/x.csv": "x\n",
            "model.bin": "better\n",
            "code.py": "1\n",
            "staged.py": "2\n",
        }
    )
    os.unlink(project.path("data/one.txt"))
    project.kist("add", "-q", "model.bin")
    project.git("add", "staged.py")
    twin = worlds.twin(tmp_path / "twin")
    commands = worlds.dry(*words)
    worlds.kist(*words)
    twin.paste(commands)
    assert twin.seen() == worlds.seen()


def test_in_a_clone_that_fetched_nothing_a_new_file_leaves_the_others_in_the_branch(tmp_path: Path) -> None:
    worlds = TwoWorlds.make(tmp_path / "ada")
    other = worlds.clone("job", with_data=False)
    other.project.write({"data/new.txt": "new\n"})
    answer = other.kist("save", "--push", "data")
    assert answer.out.startswith("data: data/: 1 file added\n")
    assert "nfiles: 4" in other.project.read("data.dvc")
    other.kist("pull", "-q")
    assert sorted(other.project.files("data")) == ["deep/three.txt", "new.txt", "one.txt", "two.txt"]


def test_where_it_cannot_be_known_what_a_directory_had_it_is_refused(tmp_path: Path) -> None:
    worlds = TwoWorlds.make(tmp_path / "ada")
    other = worlds.clone("job", with_data=False)
    (worlds.top / "store").rename(worlds.top / "gone")
    other.project.write({"data/new.txt": "new\n"})
    head = other.head()
    answer = other.project.try_kist("save")
    assert answer.code == 1 and "what was never fetched cannot be told from what was removed" in answer.err
    assert other.head() == head and other.git("status", "--porcelain") == ""
    (worlds.top / "gone").rename(worlds.top / "store")
    other.kist("save")
    assert "nfiles: 4" in other.project.read("data.dvc")

"""`exp`: experiments in the workspace, by their references, files and words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kist.testing.project import Project

from .helpers import copy_of

PIPELINE = """\
stages:
  train:
    cmd: sh train.sh
    deps: [train.sh, data.txt]
    params: [lr]
    outs: [model.bin]
    metrics: [metrics.json: {cache: false}]
"""
TRAIN = """\
lr=$(sed -n 's/^lr: //p' params.yaml)
echo "{\\"acc\\": $lr}" > metrics.json
echo "model $lr" > model.bin
echo "$DVC_EXP_NAME" > name.txt
"""


def run(project: Project, *words: str, code: int = 0, cwd: str = "") -> subprocess.CompletedProcess[str]:
    """Runs kist as a process of its own, for commands of stages write to the real standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *words],
        cwd=os.path.join(project.root, cwd),
        env={**os.environ, "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(str(tmp_path_factory.mktemp("made") / "project"))
    project.write(
        {
            "dvc.yaml": PIPELINE,
            "train.sh": TRAIN,
            "params.yaml": "# rate\nlr: 0.1\n",
            "data.txt": "data\n",
            ".gitignore": "name.txt\n",
        }
    )
    project.kist("add", "--quiet", "data.txt")
    project.commit()
    run(project, "exp", "run", "-n", "one", "-S", "lr=0.2")
    project.git("checkout", "-q", ".")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    return copy_of(made, tmp_path)


def head(project: Project) -> str:
    return project.git("rev-parse", "HEAD").strip()


def ref(project: Project, name: str) -> str:
    sha = head(project)
    return f"refs/exps/{sha[:2]}/{sha[2:]}/{name}"


def refs(project: Project) -> str:
    return project.git("for-each-ref", "--format=%(refname)", "refs/exps")


def test_a_run_is_one_commit_on_its_baseline_with_what_it_changed(project: Project) -> None:
    done = run(project, "exp", "run", "-n", "two", "-S", "lr=0.5", "-m", "my words")
    lines = done.stdout.splitlines()
    assert lines[0] == "Reproducing experiment 'two'"
    assert lines[-2:] == [
        "Ran experiment(s): two",
        "Experiment results have been applied to your workspace.",
    ]
    assert project.git("log", "-1", "--format=%P %B", ref(project, "two")).split() == [
        head(project),
        "my",
        "words",
    ]
    files = project.git("ls-tree", "-r", "--name-only", ref(project, "two")).split()
    assert {"dvc.lock", "metrics.json", "params.yaml", "train.sh", ".gitignore"} <= set(files)
    assert not {"model.bin", "data.txt", "name.txt"} & set(files)
    assert project.read("params.yaml") == "# rate\nlr: 0.5\n"
    assert project.read("name.txt") == "two\n"
    assert project.git("show", ref(project, "two") + ":metrics.json") == '{"acc": 0.5}\n'


def test_a_run_leaves_head_index_and_branches_as_they_are(project: Project) -> None:
    project.write({"staged.txt": "mine\n"})
    project.git("add", "staged.txt")
    before = (project.git("ls-files", "--stage"), head(project), project.git("branch"))
    run(project, "exp", "run", "-n", "two", "-S", "lr=0.5")
    assert (project.git("ls-files", "--stage"), head(project), project.git("branch")) == before


def test_a_name_that_is_taken_is_refused_before_anything_changes(project: Project) -> None:
    before = project.git("status", "--porcelain")
    done = run(project, "exp", "run", "-n", "one", "-S", "lr=0.9", code=255)
    assert "cannot call an experiment 'one'" in done.stderr
    assert project.git("status", "--porcelain") == before
    run(project, "exp", "run", "-f", "-n", "one", "-S", "lr=0.9")
    assert '"acc": 0.9' in project.git("show", ref(project, "one") + ":metrics.json")


def test_a_run_that_fails_leaves_no_experiment(project: Project) -> None:
    project.write({"train.sh": "exit 3\n"})
    before = refs(project)
    run(project, "exp", "run", code=255)
    assert refs(project) == before


def test_names_are_made_up_where_none_is_given(project: Project) -> None:
    run(project, "exp", "run", "-S", "lr=0.7")
    run(project, "exp", "run", "-S", "lr=0.8")
    names = run(project, "exp", "list", "--name-only").stdout.split()
    assert len(names) == 3
    assert "one" in names


def test_save_takes_the_workspace_and_what_git_does_not_know_if_asked(project: Project) -> None:
    run(project, "repro", "-q")
    project.write({"notes.txt": "n\n", "other.txt": "o\n"})
    done = run(project, "exp", "save", "-n", "kept", "-I", "notes.txt")
    assert "Experiment has been saved as: kept" in done.stdout
    files = project.git("ls-tree", "-r", "--name-only", ref(project, "kept")).split()
    assert "notes.txt" in files
    assert "other.txt" not in files
    found = json.loads(run(project, "exp", "save", "--json", "-n", "again").stdout)
    assert found == {"ref": project.git("rev-parse", ref(project, "again")).strip(), "name": "again"}


def test_apply_brings_code_params_and_data(project: Project) -> None:
    done = run(project, "exp", "apply", "one")
    assert "Changes for experiment 'one' have been applied to your current workspace." in done.stdout
    assert project.read("params.yaml") == "# rate\nlr: 0.2\n"
    assert project.read("model.bin") == "model 0.2\n"
    assert "Data and pipelines are up to date." in run(project, "repro").stdout


def test_apply_keeps_edits_where_git_finds_them(project: Project) -> None:
    project.write({"train.sh": TRAIN + "# mine\n", "metrics.json": "not tracked\n"})
    done = run(project, "exp", "apply", "one")
    assert "git stash apply" in done.stdout
    assert project.read("train.sh") == TRAIN
    kept = "refs/exps/apply/stash"
    assert project.git("show", f"{kept}:train.sh") == TRAIN + "# mine\n"
    assert project.git("show", f"{kept}:metrics.json") == "not tracked\n"
    assert project.git("rev-parse", "refs/exps/apply/ORIG_HEAD").strip() == head(project)
    project.git("checkout", "-q", ".")
    project.git("clean", "-fdq")
    project.git("stash", "apply", "-q", kept)
    assert project.read("train.sh") == TRAIN + "# mine\n"


def test_apply_keeps_files_and_links_where_the_experiment_has_folders(
    project: Project, tmp_path: Path
) -> None:
    project.write({"notes/a.txt": "a\n", "links/b.txt": "b\n"})
    run(project, "exp", "save", "-n", "deep", "-I", "notes/a.txt", "-I", "links/b.txt")
    shutil.rmtree(project.path("notes"))
    shutil.rmtree(project.path("links"))
    project.write({"notes": "mine, and nowhere else\n"})
    os.symlink(tmp_path, project.path("links"))
    run(project, "exp", "apply", "deep")
    assert (project.read("notes/a.txt"), project.read("links/b.txt")) == ("a\n", "b\n")
    kept = "refs/exps/apply/stash"
    assert project.git("show", f"{kept}:notes") == "mine, and nowhere else\n"
    assert project.git("show", f"{kept}:links") == str(tmp_path)


@pytest.mark.parametrize("mark", ["--skip-worktree", "--assume-unchanged"])
def test_apply_keeps_edits_that_git_was_told_not_to_look_at(project: Project, mark: str) -> None:
    project.write({"train.sh": TRAIN + "# theirs\n"})
    run(project, "exp", "save", "-n", "theirs")
    project.git("checkout", "-q", ".")
    project.git("update-index", mark, "train.sh")
    project.write({"train.sh": TRAIN + "# mine\n"})
    run(project, "exp", "apply", "one")  # which has nothing new there
    assert project.read("train.sh") == TRAIN + "# mine\n"
    assert "git stash apply" in run(project, "exp", "apply", "theirs").stdout
    assert project.read("train.sh") == TRAIN + "# theirs\n"
    assert project.git("show", "refs/exps/apply/stash:train.sh") == TRAIN + "# mine\n"


def test_apply_refuses_where_a_repository_of_its_own_is_in_the_way(project: Project) -> None:
    project.write({"inner": "a file\n"})
    run(project, "exp", "save", "-n", "flat", "-I", "inner")
    os.unlink(project.path("inner"))
    project.write({"inner/sub/work.txt": "work\n"})
    subprocess.run(["git", "init", "-q", project.path("inner/sub")], check=True)
    before = refs(project)
    done = run(project, "exp", "apply", "--force", "flat", code=255)
    assert "'inner/sub' is in its way, a repository of its own" in done.stderr
    assert project.read("inner/sub/work.txt") == "work\n"
    assert refs(project) == before


def test_a_git_remote_is_never_an_option_of_git(project: Project, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for words in (["push"], ["pull"], ["list"]):
        run(project, "exp", *words, "--", f"--upload-pack=touch {ran};", code=255)
    project.write(
        {".dvc/config": f"[exp]\n    auto_push = true\n    git_remote = '--upload-pack=touch {ran};'\n"}
    )
    run(project, "exp", "save", "-n", "pushed")
    assert not ran.exists()


def test_apply_refuses_to_drop_data_that_is_stored_nowhere(project: Project) -> None:
    project.write({"data.txt": "edited, and stored nowhere\n", "train.sh": TRAIN + "# mine\n"})
    done = run(project, "exp", "apply", "one", code=255)
    assert "data.txt" in done.stderr
    assert project.read("data.txt") == "edited, and stored nowhere\n"
    assert project.read("train.sh") == TRAIN + "# mine\n"
    assert "apply" not in refs(project)
    run(project, "exp", "apply", "--force", "one")
    assert project.read("data.txt") == "data\n"


def test_branch_rename_and_remove(project: Project) -> None:
    sha = project.git("rev-parse", ref(project, "one"))
    assert "git checkout one-branch" in run(project, "exp", "branch", "one").stdout
    assert project.git("rev-parse", "one-branch") == sha
    assert "there is one already" in run(project, "exp", "branch", "one", code=255).stderr
    run(project, "exp", "rename", "one", "uno")
    assert run(project, "exp", "list").stdout == f"{branch(project)}:\n\t{sha[:7]} [uno]\n"
    assert "did you mean `uno`?" in run(project, "exp", "remove", "un", code=255).stderr
    assert run(project, "exp", "remove", sha[:8]).stdout == "Removed experiments: 'uno'\n"
    assert refs(project) == ""


def branch(project: Project) -> str:
    return project.git("rev-parse", "--abbrev-ref", "HEAD").strip()


def test_remove_by_baseline_and_all_but_some(project: Project) -> None:
    run(project, "exp", "run", "-q", "-n", "two", "-S", "lr=0.5")
    run(project, "exp", "run", "-q", "-n", "three", "-S", "lr=0.6")
    assert "Removed experiments: " in run(project, "exp", "remove", "--keep", "two").stdout
    assert run(project, "exp", "list", "--name-only").stdout == "two\n"
    run(project, "exp", "remove", "--rev", "HEAD")
    assert refs(project) == ""
    assert "none are named" in run(project, "exp", "remove", code=255).stderr


def test_experiments_travel_with_their_data(project: Project, tmp_path: Path) -> None:
    origin, store = str(tmp_path / "origin.git"), str(tmp_path / "store")
    project.git("init", "-q", "--bare", origin)
    project.git("remote", "add", "origin", origin)
    project.kist("remote", "add", "-q", "-d", "store", store)
    project.git("commit", "-qam", "remote", "--amend")
    run(project, "exp", "run", "-q", "-n", "two", "-S", "lr=0.5")
    project.git("push", "-q", "origin", "HEAD")
    assert "Pushed experiment two to" in run(project, "exp", "push", "origin").stdout
    assert "is up to date" in run(project, "exp", "push", "origin", "two").stdout
    assert "two" in run(project, "exp", "list", "origin").stdout
    other = Project.at(str(tmp_path / "clone"))
    project.git("clone", "-q", origin, other.root)
    assert "Pulled experiment two from" in run(other, "exp", "pull", "origin", "two").stdout
    run(other, "exp", "apply", "two")
    assert other.read("model.bin") == "model 0.5\n"
    run(other, "exp", "remove", "-g", "origin", "two")
    assert run(other, "exp", "list", "origin").stdout == ""


def test_another_experiment_of_the_same_name_is_not_overwritten(project: Project, tmp_path: Path) -> None:
    origin = str(tmp_path / "origin.git")
    project.git("init", "-q", "--bare", origin)
    project.git("remote", "add", "origin", origin)
    run(project, "exp", "push", "--no-cache", "origin", "one")
    run(project, "exp", "run", "-q", "-f", "-n", "one", "-S", "lr=0.9")
    assert "another experiment" in run(project, "exp", "push", "--no-cache", "origin", "one", code=255).stderr
    assert "another experiment" in run(project, "exp", "pull", "--no-cache", "origin", "one", code=255).stderr
    run(project, "exp", "push", "-f", "--no-cache", "origin", "one")
    assert "is up to date" in run(project, "exp", "pull", "--no-cache", "origin", "one").stdout


def test_params_in_files_of_all_kinds_change_and_keep_their_form(project: Project) -> None:
    project.write({"p.json": '{\n  "seed": 7\n}\n', "p.toml": "a = 1 # one\n", "p.py": "A = 1\n"})
    words = ("-S", "p.json:seed=8", "-S", "p.toml:a=2", "-S", "+new={a: [1]}")
    run(project, "exp", "run", "-q", "-n", "two", *words)
    assert project.read("p.json") == '{\n  "seed": 8\n}\n'
    assert project.read("p.toml") == "a = 2 # one\n"
    assert project.read("params.yaml") == "# rate\nlr: 0.1\nnew:\n  a:\n  - 1\n"
    for text in ("p.py:A=2", "no.yaml:a=1", "lr=1,2", "absent=1", "lr=[1"):
        assert run(project, "exp", "run", "-n", "x", "-S", text, code=255).stderr.startswith("error: ")


def test_without_git_or_a_commit_there_are_no_experiments(tmp_path: Path) -> None:
    bare = Project(str(tmp_path / "bare"), git=False)
    assert "no Git repository" in run(bare, "exp", "list", code=255).stderr
    young = Project(str(tmp_path / "young"))
    assert "no commit yet" in run(young, "exp", "run", code=255).stderr

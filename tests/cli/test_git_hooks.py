"""The hooks, run by Git itself: data follows, nothing unsaved is lost, and no branch goes out without its data."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kist.testing.project import Project

from .helpers import copy_of, made_project, project_at, search_path, try_git
from .test_start_up import HEAVY, loaded_by


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with hooks; `old` is a version with other data in `data/` and `model.bin`; `ours` is checked out."""
    project = made_project(tmp_path_factory.mktemp("template"))
    project.git("branch", "--move", "ours")
    project.git("tag", "old")
    project.kist("install", "--quiet")
    project.write({"data/one.txt": "changed\n", "data/new.txt": "new\n", "model.bin": "better\n"})
    project.kist("add", "--quiet", "data", "model.bin")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "newer data")
    return project


@pytest.fixture
def hooked(template: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    return copy_of(template, tmp_path)


@pytest.fixture
def shared(hooked: Project, tmp_path: Path) -> Project:
    """The same with an empty storage, and a bare Git repository as `origin`."""
    hooked.kist("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin.git")], check=True)
    hooked.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    hooked.git("commit", "--quiet", "--no-verify", "--all", "--message", "a storage")
    return hooked


def must_git(project: Project, *words: str) -> str:
    status, said = try_git(project, *words)
    assert status == 0, said
    return said


# Data follows


def test_a_checkout_brings_the_data(hooked: Project) -> None:
    said = must_git(hooked, "checkout", "--quiet", "old")
    assert "M\tdata/" in said
    assert hooked.read("model.bin") == "model\n"
    assert not hooked.exists("data/new.txt")
    must_git(hooked, "switch", "--quiet", "ours")
    assert hooked.read("model.bin") == "better\n"
    assert hooked.read("data/new.txt") == "new\n"


def test_a_checkout_of_files_leaves_the_data(hooked: Project) -> None:
    must_git(hooked, "checkout", "--quiet", "old", "--", "model.bin.dvc")
    assert hooked.read("model.bin") == "better\n"


def test_unsaved_data_stays_and_is_named(hooked: Project) -> None:
    hooked.write({"model.bin": "never added\n"})
    _, said = try_git(hooked, "checkout", "--quiet", "old")
    assert "model.bin" in said
    assert hooked.read("model.bin") == "never added\n"


def test_data_that_is_not_here_is_said_and_not_fetched(shared: Project) -> None:
    shared.kist("push", "--quiet", "--all-tags")
    must_git(shared, "tag", "newer")
    must_git(shared, "checkout", "--quiet", "old")
    oid = shared.git("show", "newer:model.bin.dvc").split("md5: ")[1][:32]
    os.unlink(shared.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    status, said = try_git(shared, "checkout", "--quiet", "newer")
    assert status == 1
    assert "hint: kist pull" in said
    assert shared.read("data/new.txt") == "new\n"
    assert oid not in shared.objects()


def test_a_merge_brings_the_data(hooked: Project) -> None:
    must_git(hooked, "checkout", "--quiet", "-b", "other", "old")
    hooked.write({"data/two.txt": "from the other\n"})
    hooked.kist("add", "--quiet", "data")
    hooked.git("commit", "--quiet", "--all", "--no-verify", "--message", "other data")
    must_git(hooked, "merge", "--quiet", "ours")
    assert hooked.files("data") == {
        "one.txt": "changed\n",
        "two.txt": "from the other\n",
        "new.txt": "new\n",
        "deep/three.txt": "three\n",
    }
    assert hooked.kist("status").out == "Data and pipelines are up to date.\n"


def test_a_fast_forward_brings_the_data(hooked: Project) -> None:
    must_git(hooked, "checkout", "--quiet", "-b", "behind", "old")
    must_git(hooked, "merge", "--quiet", "--ff-only", "ours")
    assert hooked.read("model.bin") == "better\n"


def test_a_rebase_brings_the_data_once_it_is_over(hooked: Project) -> None:
    must_git(hooked, "checkout", "--quiet", "-b", "other", "old")
    for number in range(3):
        hooked.write({"data/two.txt": f"step {number}\n"})
        hooked.kist("add", "--quiet", "data")
        hooked.git("commit", "--quiet", "--all", "--no-verify", "--message", f"step {number}")
    said = must_git(hooked, "rebase", "ours")
    assert said.count("M\tdata/") == 1
    assert hooked.files("data") == {
        "one.txt": "changed\n",
        "two.txt": "step 2\n",
        "new.txt": "new\n",
        "deep/three.txt": "three\n",
    }


def test_a_rebase_that_only_moves_forward_brings_the_data(hooked: Project) -> None:
    must_git(hooked, "checkout", "--quiet", "-b", "behind", "old")
    must_git(hooked, "rebase", "ours")
    assert hooked.read("model.bin") == "better\n"


def test_amending_a_commit_leaves_the_data(hooked: Project) -> None:
    hooked.write({"model.bin": "being edited\n"})
    said = must_git(hooked, "commit", "--quiet", "--amend", "--no-edit")
    assert "error" not in said
    assert hooked.read("model.bin") == "being edited\n"


def test_in_a_repository_below_the_top_of_git_too(hooked: Project) -> None:
    hooked.write({"nest/readme": "a repository of its own\n"})
    hooked.kist("init", "--quiet", "--subdir", cwd="nest")
    hooked.write({"nest/own.txt": "first\n"})
    hooked.kist("add", "--quiet", "own.txt", cwd="nest")
    hooked.git("add", "--all")
    hooked.git("commit", "--quiet", "--no-verify", "--message", "a repository below")
    hooked.write({"nest/own.txt": "second\n"})
    hooked.kist("add", "--quiet", "own.txt", cwd="nest")
    hooked.git("commit", "--quiet", "--all", "--no-verify", "--message", "its data changes")
    must_git(hooked, "checkout", "--quiet", "HEAD~1")
    assert hooked.read("nest/own.txt") == "first\n"


def test_outside_of_a_repository_hooks_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"refs/heads/x {'1' * 40} refs/heads/x {'0' * 40}\n"))
    project = project_at(str(tmp_path))
    project.git("init", "--quiet")
    for words in (
        ["pre-commit"],
        ["post-checkout", "a", "b", "1"],
        ["post-merge", "0"],
        ["pre-push", "origin", "url"],
    ):
        answer = project.kist("git-hook", *words)
        assert (answer.out, answer.err) == ("", "")


def test_below_a_command_of_ours_hooks_do_nothing(hooked: Project) -> None:
    status, said = try_git(hooked, "checkout", "--quiet", "old", environ={"KIST_INSIDE": "switch"})
    assert (status, said) == (0, "")
    assert hooked.read("model.bin") == "better\n"


# Before a commit


def test_a_commit_shows_what_changed_and_goes_on(hooked: Project) -> None:
    said = must_git(hooked, "commit", "--allow-empty", "--message", "nothing")
    assert "Data and pipelines are up to date.\n" in said
    hooked.write({"model.bin": "edited\n"})
    said = must_git(hooked, "commit", "--allow-empty", "--message", "nothing")
    assert "modified:           model.bin\n" in said


# Before a push


def test_a_branch_whose_data_is_not_on_the_remote_is_refused(shared: Project) -> None:
    status, said = try_git(shared, "push", "origin", "ours")
    assert status == 1
    assert (
        "error: cannot push 'ours': its data is not on remote 'store': 'data', 'data/deep/three.txt'," in said
    )
    assert "hint: send it with `kist push`, or go on without it: `git -c kist.allowMissing=true push`" in said
    assert "refs/heads" not in shared.git("ls-remote", "origin")
    shared.kist("push", "--quiet")
    must_git(shared, "push", "origin", "ours")


def test_one_file_that_is_missing_is_enough(shared: Project) -> None:
    shared.kist("push", "--quiet")
    shared.write({"model.bin": "newest\n"})
    shared.kist("add", "--quiet", "model.bin")
    shared.git("commit", "--quiet", "--all", "--no-verify", "--message", "newest")
    status, said = try_git(shared, "push", "origin", "ours")
    assert status == 1
    assert "is not on remote 'store': 'model.bin'\n" in said


@pytest.mark.parametrize("way", ["variable", "setting", "setting for once"])
def test_missing_data_can_be_let_pass(shared: Project, way: str) -> None:
    environ = {"KIST_ALLOW_MISSING": "1"} if way == "variable" else {}
    if way == "setting":
        shared.git("config", "kist.allowMissing", "true")
    once = ["-c", "kist.allowMissing=true"] if way == "setting for once" else []
    status, said = try_git(shared, *once, "push", "origin", "ours", environ=environ)
    assert status == 0
    assert "warning: cannot push 'ours'" in said


def test_the_option_lets_missing_data_pass(shared: Project) -> None:
    commit = shared.git("rev-parse", "HEAD").strip()
    hook = [os.path.join(shared.path(".git/hooks/pre-push")), "origin", "url", "--allow-missing"]
    for words, status in ((hook[:-1], 1), (hook, 0)):
        done = subprocess.run(
            words,
            cwd=shared.root,
            input=f"refs/heads/ours {commit} refs/heads/ours {'0' * 40}\n",
            env={**os.environ, "PATH": search_path()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr


def test_a_setting_makes_the_hook_send_the_data(shared: Project) -> None:
    shared.git("config", "kist.push", "true")
    must_git(shared, "push", "origin", "ours")
    assert shared.kist("status", "--cloud").out == "Cache and remote 'store' are in sync.\n"


def test_the_commit_that_goes_out_counts_and_not_the_workspace(shared: Project) -> None:
    shared.kist("push", "--quiet")
    status, said = try_git(shared, "push", "origin", "old")
    assert status == 1
    assert "cannot push 'old'" in said
    assert "`kist push --all-tags`" in said
    shared.git("branch", "older", "old")
    _, said = try_git(shared, "push", "origin", "older")
    assert "`kist push --all-branches`" in said
    shared.kist("push", "--quiet", "--all-branches")
    must_git(shared, "push", "origin", "older", "old")


def test_what_is_nowhere_is_said(shared: Project) -> None:
    oid = shared.git("show", "HEAD:model.bin.dvc").split("md5: ")[1][:32]
    shared.kist("push", "--quiet")
    for base in (shared.path(".dvc/cache"), os.path.join(os.path.dirname(shared.root), "store")):
        os.unlink(f"{base}/files/md5/{oid[:2]}/{oid[2:]}")
    _, said = try_git(shared, "push", "origin", "ours")
    assert "is not on remote 'store': 'model.bin'\nhint: run `kist push` where the data is" in said


def test_a_branch_that_is_deleted_needs_no_data(shared: Project) -> None:
    assert try_git(shared, "push", "--no-verify", "origin", "ours:gone")[0] == 0
    must_git(shared, "push", "origin", ":gone")


def test_commits_without_data_are_pushed_without_a_remote(hooked: Project, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin.git")], check=True)
    hooked.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    status, said = try_git(hooked, "push", "origin", "ours")
    assert status == 1
    assert "remote" in said
    empty = hooked.git(
        "commit-tree", "-m", "empty", hooked.git("hash-object", "-t", "tree", "-w", "/dev/null").strip()
    )
    must_git(hooked, "push", "origin", f"{empty.strip()}:refs/heads/empty")


# The words of others


def test_command_lines_of_dvc_are_understood(hooked: Project) -> None:
    hooked.git("config", "core.hooksPath", hooked.path(".git/no-hooks"))
    hooked.git("checkout", "--quiet", "old")
    hooked.kist("git-hook", "post-checkout", "a" * 40, "b" * 40, "0")
    assert hooked.read("model.bin") == "better\n"
    hooked.kist("git-hook", "post-checkout", "a" * 40, "b" * 40, "1")
    assert hooked.read("model.bin") == "model\n"
    assert hooked.kist("git-hook", "pre-commit").out == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize(("kind", "model"), [("1", "model\n"), ("0", "better\n")])
def test_the_pre_commit_tool_speaks_by_variables(
    hooked: Project, monkeypatch: pytest.MonkeyPatch, kind: str, model: str
) -> None:
    hooked.git("config", "core.hooksPath", hooked.path(".git/no-hooks"))
    hooked.git("checkout", "--quiet", "old")
    monkeypatch.setenv("PRE_COMMIT_CHECKOUT_TYPE", kind)
    hooked.kist("git-hook", "post-checkout")
    assert hooked.read("model.bin") == model


@pytest.mark.parametrize(
    "variables",
    [
        {"PRE_COMMIT_TO_REF": "HEAD", "PRE_COMMIT_REMOTE_BRANCH": "refs/heads/ours"},
        {"PRE_COMMIT_LOCAL_BRANCH": "refs/heads/ours", "PRE_COMMIT_REMOTE_BRANCH": "refs/heads/ours"},
        {},
    ],
)
def test_the_pre_commit_tool_names_what_is_pushed(
    shared: Project, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Without a commit where the whole history is new to the remote (pre-commit 4.7.0)."""
    for name, value in {"PRE_COMMIT": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    answer = shared.try_kist("git-hook", "pre-push")
    assert answer.code == 1
    assert f"cannot push '{'ours' if variables else 'HEAD'}'" in answer.err
    shared.kist("push", "--quiet")
    shared.kist("git-hook", "pre-push")


def driver(project: Project, base: str, ours: str, theirs: str, *more: str) -> tuple[int, str]:
    """Runs the driver as Git does; returns the exit status and the result."""
    project.write({".merge_1": base, ".merge_2": ours, ".merge_3": theirs})
    words = [
        "git-hook",
        "merge-driver",
        "--ancestor",
        ".merge_1",
        "--our",
        ".merge_2",
        "--their",
        ".merge_3",
        *more,
    ]
    return project.try_kist(*words).code, project.read(".merge_2")


def metafile(letter: str, path: str = "f") -> str:
    return f"outs:\n- md5: {letter * 32}\n  size: 1\n  hash: md5\n  path: {path}\n"


def test_the_driver_needs_no_path(project: Project) -> None:
    base, ours, theirs = metafile("a"), metafile("a", "g"), metafile("b")
    assert driver(project, base, ours, theirs) == (0, metafile("b", "g"))
    assert driver(project, base, metafile("c"), theirs) == (1, metafile("c"))
    lock = "schema: '2.0'\nstages:\n  one:\n    cmd: go\n"
    both = lock + "  two:\n    cmd: go\n"
    assert driver(project, lock, lock.replace("go", "run"), both) == (0, both.replace("go", "run", 1))


def test_the_driver_merges_files_outside_of_a_repository(tmp_path: Path) -> None:
    project = project_at(str(tmp_path))
    assert driver(project, metafile("a"), metafile("a", "g"), metafile("b")) == (0, metafile("b", "g"))
    directories = [metafile(letter).replace("\n  size", ".dir\n  size") for letter in "abc"]
    assert driver(project, *directories) == (1, directories[1])


@pytest.mark.parametrize("theirs", ["", "<<<<<<< HEAD\n", "what: is this\n", "\0\1"])
def test_what_cannot_be_read_is_a_clash(project: Project, theirs: str) -> None:
    assert driver(project, metafile("a"), metafile("b"), theirs) == (1, metafile("b"))


def test_a_version_that_is_missing_is_a_clash_and_no_crash(project: Project) -> None:
    project.write({".merge_2": metafile("b")})
    answer = project.try_kist(
        "git-hook",
        "merge-driver",
        "--ancestor",
        "no",
        "--our",
        ".merge_2",
        "--their",
        "no",
        "--path",
        "f.dvc",
    )
    assert answer.code == 1
    assert project.read(".merge_2") == metafile("b")


def test_the_driver_loads_nothing_heavy(project: Project) -> None:
    project.write({"1": metafile("a"), "2": metafile("a", "g"), "3": metafile("b")})
    words = ["git-hook", "merge-driver", "--ancestor", "1", "--our", "2", "--their", "3", "--path", "f.dvc"]
    loaded = loaded_by(f"from kist.cli.main import main; assert main({words}) == 0", Path(project.root))
    assert loaded & HEAVY == {"argparse"}

"""A path that a tracked directory does not have: asked for, and not done (rule R10). DVC ends with 0 and says nothing."""

from __future__ import annotations

import shutil

import pytest

from kist.testing.project import Project


@pytest.fixture
def pushed(project: Project) -> Project:
    """Returns the project with a remote that has everything."""
    project.kist("remote", "add", "--default", "store", "../remote")
    project.kist("push", "--quiet")
    return project


@pytest.mark.parametrize("command", ["push", "fetch", "pull", "checkout"])
def test_what_is_not_there_is_an_error_and_the_rest_is_done(pushed: Project, command: str) -> None:
    if command != "push":
        shutil.rmtree(pushed.path(".dvc/cache"))
    if command == "checkout":
        pushed.kist("fetch", "--quiet")
    shutil.rmtree(pushed.path("data/deep"))
    answer = pushed.try_kist(command, "data/deep/three.txt", "data/deep/nope.txt", "data/no", "model.bin")
    assert answer.code == (255 if command == "checkout" else 1)
    verb = "check out" if command == "checkout" else command
    assert (
        f"error: cannot {verb} 'data/deep/nope.txt': 'data' has no such file or folder, and 1 more\n"
        "hint: kist list . data\n"
    ) in answer.err
    assert "up to date" not in answer.out
    assert pushed.exists("data/deep/three.txt") == (command in ("pull", "checkout"))
    assert pushed.try_kist(command, "data/deep/three.txt").code == 0
    assert pushed.try_kist(command, "data/deep").code == 0


@pytest.mark.parametrize("command", ["pull", "checkout"])
def test_what_only_the_workspace_has_is_taken_away(pushed: Project, command: str) -> None:
    pushed.write({"data/new.txt": "new\n"})
    answer = pushed.kist(command, "--force", "data/new.txt")
    assert "data" in answer.out and not pushed.exists("data/new.txt")


def test_a_path_that_another_version_has_is_there(pushed: Project) -> None:
    pushed.git("tag", "first")
    shutil.rmtree(pushed.path("data/deep"))
    pushed.kist("add", "--quiet", "data")
    pushed.commit()
    pushed.kist("push", "--quiet")
    assert pushed.try_kist("fetch", "data/deep/three.txt").code == 1
    assert pushed.try_kist("fetch", "--all-tags", "data/deep/three.txt").code == 0

"""Finding a repository in plain files."""

from __future__ import annotations

import os
from pathlib import Path

from kist.git.locate import find_paths

from .conftest import Sandbox


def test_the_repository_is_found_from_below_and_not_from_outside(sandbox: Sandbox, tmp_path: Path) -> None:
    below = sandbox.top / "a" / "b"
    below.mkdir(parents=True)
    found = find_paths(str(below))
    assert found is not None
    assert found == (str(sandbox.top), str(sandbox.top / ".git"), str(sandbox.top / ".git"))
    assert find_paths(str(tmp_path)) is None


def test_a_linked_working_tree_shares_the_common_directory(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.commit()
    sandbox.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    found = find_paths(str(tmp_path / "linked"))
    assert found is not None
    assert found.top == str(tmp_path / "linked")
    assert found.git_dir == str(sandbox.top / ".git" / "worktrees" / "linked")
    assert found.common_dir == str(sandbox.top / ".git")


def test_a_relative_gitdir_file_is_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    os.rename(sandbox.top / ".git", tmp_path / "elsewhere.git")
    (sandbox.top / ".git").write_text("gitdir: ../elsewhere.git\n")
    found = find_paths(str(sandbox.top))
    assert found is not None
    assert found.git_dir == str(tmp_path / "elsewhere.git")


def test_a_git_entry_that_is_no_repository_is_passed_over(sandbox: Sandbox) -> None:
    for name, content in (("empty", None), ("garbage", "hello\n"), ("dangling", "gitdir: /nowhere/at/all\n")):
        directory = sandbox.top / name
        directory.mkdir()
        if content is None:
            (directory / ".git").mkdir()
        else:
            (directory / ".git").write_text(content)
        found = find_paths(str(directory))
        assert found is not None
        assert found.top == str(sandbox.top), name

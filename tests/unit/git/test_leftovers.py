"""What a killed git left is put right, and nothing that somebody worked on is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kist.git import leftovers
from kist.git.leftovers import edits, git_is_at_work, remove_dead_locks, undo, wait_for_orphans

from .conftest import Sandbox

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at in /proc")


@pytest.fixture
def two(sandbox: Sandbox) -> tuple[str, str]:
    """Two commits; the second, on branch `other`, changes one file, drops one and adds two."""
    for path in ("changed.txt", "dropped.txt", "same.txt", "folder/changed.txt"):
        sandbox.write(path, f"old {path}\n" * 3)
    first = sandbox.commit("first")
    sandbox.git("switch", "--quiet", "-c", "other")
    for path in ("changed.txt", "folder/changed.txt", "added.txt", "new/added.txt"):
        sandbox.write(path, f"new {path}\n" * 3)
    (sandbox.top / "dropped.txt").unlink()
    second = sandbox.commit("second")
    sandbox.git("switch", "--quiet", "main")
    return first, second


def states(sandbox: Sandbox) -> str:
    return sandbox.git("status", "--porcelain", "--untracked-files=all")


def test_files_that_git_was_writing_are_put_back(sandbox: Sandbox, two: tuple[str, str]) -> None:
    first, second = two
    sandbox.write("changed.txt", "new changed.txt\n" * 3)  # written whole
    sandbox.write("folder/changed.txt", "new fol")  # torn
    sandbox.write("new/added.txt", "")  # made, not written
    (sandbox.top / "dropped.txt").unlink()
    back, kept = undo(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert back == ["changed.txt", "dropped.txt", "folder/changed.txt", "new/added.txt"]
    assert kept == []
    assert states(sandbox) == ""
    assert not (sandbox.top / "new").exists()


def test_an_index_that_is_at_the_other_side_already_is_put_back_too(
    sandbox: Sandbox, two: tuple[str, str]
) -> None:
    first, second = two
    sandbox.git("read-tree", "-m", "-u", first, second)
    assert states(sandbox) != ""
    undo(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert states(sandbox) == ""


def test_what_somebody_worked_on_stays(sandbox: Sandbox, two: tuple[str, str]) -> None:
    first, second = two
    sandbox.write("changed.txt", "mine\n")
    sandbox.write("added.txt", "mine too\n")
    sandbox.write("same.txt", "not between the two\n")
    sandbox.write("untracked.txt", "never git's\n")
    (sandbox.top / "dropped.txt").unlink()
    back, kept = undo(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert back == ["dropped.txt"]
    assert kept == ["added.txt", "changed.txt"]
    assert (sandbox.top / "changed.txt").read_text() == "mine\n"
    assert (sandbox.top / "same.txt").read_text() == "not between the two\n"
    assert (sandbox.top / "untracked.txt").exists()
    found = edits(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert found == ["changed.txt", "same.txt"]


def test_content_that_git_has_is_not_somebodys_work(sandbox: Sandbox, two: tuple[str, str]) -> None:
    first, second = two
    sandbox.git("hash-object", "-w", "--stdin", data="merged\n")
    sandbox.write("changed.txt", "merged\n")
    back, kept = undo(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert (back, kept) == (["changed.txt"], [])


def test_links_and_folders_in_the_place_of_files(sandbox: Sandbox) -> None:
    sandbox.write("thing", "a file\n")
    os.symlink("thing", sandbox.top / "link")
    first = sandbox.commit()
    (sandbox.top / "thing").unlink()
    (sandbox.top / "link").unlink()
    sandbox.write("thing/below", "now a folder\n")
    os.symlink("elsewhere", sandbox.top / "link")
    second = sandbox.commit()
    sandbox.git("reset", "--quiet", "--hard", first)
    (sandbox.top / "thing").unlink()
    sandbox.write("thing/below", "now a")
    (sandbox.top / "link").unlink()
    os.symlink("elsewhere", sandbox.top / "link")
    _, kept = undo(sandbox.repository(), sandbox.environ, before=first, other=second)
    assert kept == []
    assert states(sandbox) == ""


@linux
def test_dead_locks_go_and_others_stay(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.commit()
    monkeypatch.setattr(leftovers, "_QUIET_S", 0.0)
    started = time.time()
    git_dir = sandbox.top / ".git"
    dead = [git_dir / "index.lock", git_dir / "HEAD.lock", git_dir / "refs/heads/main.lock"]
    older = git_dir / "config.lock"
    for path in (*dead, older):
        path.write_text("")
    os.utime(older, (started - 60, started - 60))
    removed = remove_dead_locks(sandbox.repository(), since_s=started)
    assert sorted(removed) == sorted(map(str, dead))
    assert older.exists()


@linux
def test_locks_stay_while_a_git_is_at_work_here(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.commit()
    monkeypatch.setattr(leftovers, "_QUIET_S", 0.0)
    repository = sandbox.repository()
    lock = sandbox.top / ".git/index.lock"
    lock.write_text("")
    assert not git_is_at_work(repository)
    with running_git(sandbox.top, sandbox, "cat-file", "--batch") as process:
        assert git_is_at_work(repository)
        assert remove_dead_locks(repository, since_s=0.0) == []
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    with running_git(tmp_path, sandbox, "hash-object", "--stdin"):
        assert not git_is_at_work(repository), "a git that works elsewhere"
    assert remove_dead_locks(repository, since_s=0.0) == [str(lock)]


@linux
def test_gits_that_outlive_their_command_are_waited_for(sandbox: Sandbox) -> None:
    sandbox.commit()
    repository = sandbox.repository()
    with running_git(sandbox.top, sandbox, "update-index", "--stdin", KIST_INSIDE="switch"):
        assert not wait_for_orphans(repository, wait_s=0.0)
    assert wait_for_orphans(repository, wait_s=0.0)
    with running_git(sandbox.top, sandbox, "update-index", "--stdin"):
        assert wait_for_orphans(repository, wait_s=0.0), "a git of the person's own"


def running_git(where: Path, sandbox: Sandbox, *words: str, **more: str) -> subprocess.Popen[bytes]:
    """Starts a git that waits for its input, and returns when it has begun to."""
    process = subprocess.Popen(
        ["git", *words],
        cwd=where,
        env={**sandbox.environ, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while Path(f"/proc/{process.pid}/comm").read_text().strip() != "git":
        assert process.poll() is None
    return process

"""Mirrors of Git repositories: fetched once, read without asking, mended after a kill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kist.git.process import GitProgram
from kist.git.repository import RevisionMissingError
from kist.registry.mirrors import Mirrors, SourceMissingError, clones_folder


class Far:
    """A bare repository that stands for one on a server, and a work tree that pushes to it."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "far.git"
        self.work = folder / "work"
        self.url = f"file://{self.bare}"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.bare)], check=True)
        subprocess.run(
            ["git", "clone", "-q", str(self.bare), str(self.work)], check=True, stderr=subprocess.DEVNULL
        )
        self.git("checkout", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.work, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def push(self, text: str) -> str:
        """Pushes a new version of the one file; returns the commit."""
        (self.work / "file").write_text(text)
        self.git("add", "file")
        self.git("commit", "-q", "-m", text)
        self.git("push", "-q", "origin", "main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path)


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    return Mirrors(str(tmp_path / "clones"), dict(os.environ))


def test_what_is_checked_out_there_is_what_no_revision_means(far: Far, mirrors: Mirrors) -> None:
    far.push("one")
    second = far.push("two")
    mirror = mirrors.open(far.url, None)
    assert mirror.commit == second
    assert mirror.git.read_file(mirror.commit, "file") == b"two"


def test_a_new_commit_is_seen_by_the_next_run(far: Far, mirrors: Mirrors) -> None:
    far.push("one")
    mirrors.open(far.url, "main")
    second = far.push("two")
    assert mirrors.open(far.url, "main").commit == second
    assert mirrors.open(far.url, "origin/main").commit == second


def test_a_commit_that_is_here_is_read_without_the_source(far: Far, mirrors: Mirrors) -> None:
    first = far.push("one")
    mirrors.open(far.url, None)
    far.bare.rename(far.bare.with_name("gone"))
    assert mirrors.open(far.url, first).git.read_file(first, "file") == b"one"
    with pytest.raises(SourceMissingError):
        mirrors.open(far.url, "main")


def test_a_commit_that_no_branch_reaches_any_more_is_still_here(far: Far, mirrors: Mirrors) -> None:
    first = far.push("one")
    mirrors.open(far.url, None)
    far.git("commit", "-q", "--amend", "-m", "other")
    far.git("push", "-q", "--force", "origin", "main")
    assert mirrors.open(far.url, "main").commit != first
    assert mirrors.open(far.url, first).commit == first


def test_tags_and_branches_that_went_are_no_revisions(far: Far, mirrors: Mirrors) -> None:
    first = far.push("one")
    far.git("push", "-q", "origin", "main:refs/heads/old", "main:refs/tags/v1")
    assert mirrors.open(far.url, "v1").commit == first
    far.git("push", "-q", "--delete", "origin", "v1", "old")
    for name in ("v1", "old", "nope", "--all", "-x"):
        with pytest.raises(RevisionMissingError):
            mirrors.open(far.url, name)


def test_an_empty_repository_and_none_at_all_are_said_as_such(
    far: Far, mirrors: Mirrors, tmp_path: Path
) -> None:
    with pytest.raises(SourceMissingError, match="no commit"):
        mirrors.open(far.url, None)
    with pytest.raises(SourceMissingError):
        mirrors.open(f"file://{tmp_path}/nothing", None)


def test_what_a_killed_git_left_is_removed(far: Far, mirrors: Mirrors) -> None:
    far.push("one")
    path = mirrors.open(far.url, None).path
    for name in ("kist-fetching", "packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x"):
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        Path(path, name).write_bytes(b"")
    second = far.push("two")
    assert mirrors.open(far.url, "main").commit == second
    assert not any(name.endswith(".lock") for _, _, names in os.walk(path) for name in names)
    assert not os.path.exists(os.path.join(path, "kist-fetching"))


def test_a_kill_between_fetching_and_the_new_head_is_put_right(
    far: Far, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.push("one")
    path = mirrors.open(far.url, None).path
    real = GitProgram.run

    def killed(self: GitProgram, arguments: Sequence[str], **options: Any) -> bytes:
        if arguments[0] == "update-ref":
            Path(path, "HEAD.lock").write_bytes(b"")
            raise KeyboardInterrupt
        return real(self, arguments, **options)

    second = far.push("two")
    with monkeypatch.context() as patched:
        patched.setattr(GitProgram, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            mirrors.open(far.url, None)
    assert mirrors.open(far.url, None).commit == second


def test_what_is_fetched_appears_at_once_and_never_a_commit_without_its_files(
    far: Far, mirrors: Mirrors
) -> None:
    far.push("one")
    objects = Path(mirrors.open(far.url, None).path, "objects")
    # Loose objects would come one by one, the commit before its files.
    assert sorted(path.name for path in objects.iterdir()) == ["info", "pack"]


def test_several_at_once_share_one_clone(far: Far, mirrors: Mirrors) -> None:
    commit = far.push("one")
    with ThreadPoolExecutor(4) as pool:
        found = [mirror.commit for mirror in pool.map(lambda _: mirrors.open(far.url, None), range(4))]
    assert found == [commit] * 4
    assert len([name for name in os.listdir(mirrors.folder) if not name.endswith(".lock")]) == 1


def test_clones_are_the_persons_own() -> None:
    assert clones_folder({"HOME": "/home/ann"}) == "/home/ann/.cache/kist/clones"
    assert clones_folder({"HOME": "/h", "XDG_CACHE_HOME": "/x"}) == "/x/kist/clones"
    assert clones_folder({"HOME": "/h"}, "/site") == "/site/kist/clones"
    assert clones_folder({"DVC_SITE_CACHE_DIR": "/d"}, "/site") == "/d/kist/clones"
    assert clones_folder({}).startswith("/var/tmp/kist-")

"""Git commands as a person types them: where things go, what git says, and what hooks see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.git.porcelain import (
    BadTagNameError,
    GitRefusedError,
    IdentityMissingError,
    NoGitRemoteError,
    Place,
    Porcelain,
    PushTarget,
    Upstream,
    reason,
)
from kist.git.process import Said

from .conftest import Sandbox


def porcelain(sandbox: Sandbox, **more: str) -> Porcelain:
    environ = {name: text for name, text in {**sandbox.environ, **more}.items() if text}
    return Porcelain(sandbox.repository(), environ, inside="save")


def test_where_head_is(sandbox: Sandbox) -> None:
    assert porcelain(sandbox).place() == Place("main", None)
    sha = sandbox.commit()
    assert porcelain(sandbox).place() == Place("main", sha)
    sandbox.git("switch", "--quiet", "-c", "topic/one")
    assert porcelain(sandbox).place() == Place("topic/one", sha)
    sandbox.git("switch", "--quiet", "--detach")
    assert porcelain(sandbox).place() == Place(None, sha)


def test_what_waits_to_be_finished(sandbox: Sandbox) -> None:
    sandbox.commit()
    assert porcelain(sandbox).in_progress() is None
    for name, word in (
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
    ):
        path = sandbox.top / ".git" / name
        path.write_text("x\n")
        assert porcelain(sandbox).in_progress() == word
        path.unlink()
    (sandbox.top / ".git/rebase-merge").mkdir()
    assert porcelain(sandbox).in_progress() == "rebase"


def test_hooks_see_who_started_git_and_the_persons_own_language(sandbox: Sandbox) -> None:
    sandbox.commit()
    hook = sandbox.top / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "$KIST_INSIDE $LC_ALL $GIT_CONFIG_PARAMETERS|"\n')
    hook.chmod(0o755)
    git = porcelain(sandbox, LC_ALL="C.UTF-8")
    sandbox.write("a", "1")
    sandbox.git("add", "a")
    assert git.must(["commit", "--quiet", "-m", "x"], failed="commit").text == "save C.UTF-8 |"
    assert git.said == ["save C.UTF-8 |"]


def test_a_refusal_names_the_reason_in_one_line(sandbox: Sandbox) -> None:
    sandbox.commit()
    with pytest.raises(GitRefusedError, match=r"cannot switch: git says: invalid reference: nope"):
        porcelain(sandbox).must(["switch", "nope"], failed="switch")
    assert reason(Said(1, "hint: one\nfatal: two\n")) == "two"
    assert reason(Said(1, "To x\n ! [rejected] main -> main (fetch first)\nerror: failed\n")) == "failed"
    assert reason(Said(1, "")) == "it ended with status 1"
    assert reason(Said(1, "first line\nsecond\n")) == "first line"


def test_an_identity_is_asked_for_before_it_is_needed(sandbox: Sandbox) -> None:
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    porcelain(sandbox).check_identity()
    sandbox.git("config", "user.useConfigOnly", "true")
    nobody = porcelain(sandbox, **dict.fromkeys(names, ""))
    with pytest.raises(IdentityMissingError) as caught:
        nobody.check_identity()
    assert "git config --global user.name" in (caught.value.hint or "")
    sandbox.git("config", "user.name", "Ada")
    sandbox.git("config", "user.email", "ada@example.invalid")
    nobody.check_identity()


@pytest.mark.parametrize("name", ["", "-x", "a b", "a..b", "a~1", "x.lock", "HEAD", "a\nb"])
def test_names_that_git_does_not_allow(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(BadTagNameError):
        porcelain(sandbox).check_name(name, "tags")


def test_where_a_branch_goes(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.commit()
    git = porcelain(sandbox)
    with pytest.raises(NoGitRemoteError, match="there is none"):
        git.push_target("main")
    sandbox.git("init", "--quiet", "--bare", str(tmp_path / "one.git"))
    sandbox.git("remote", "add", "one", str(tmp_path / "one.git"))
    assert git.push_target("main") == PushTarget("one", "refs/heads/main", sets_upstream=True)
    sandbox.git("remote", "add", "two", str(tmp_path / "one.git"))
    with pytest.raises(NoGitRemoteError, match="there are several"):
        git.push_target("main")
    sandbox.git("remote", "rename", "two", "origin")
    assert git.push_target("main") == PushTarget("origin", "refs/heads/main", sets_upstream=True)
    sandbox.git("push", "--quiet", "--set-upstream", "one", "main:trunk")
    assert git.push_target("main") == PushTarget("one", "refs/heads/trunk", sets_upstream=False)
    sandbox.git("config", "remote.pushDefault", "origin")
    assert git.push_target("main") == PushTarget("origin", "refs/heads/main", sets_upstream=False)


def test_what_a_branch_follows(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.commit()
    git = porcelain(sandbox)
    assert git.upstream("main") is None
    sandbox.git("init", "--quiet", "--bare", str(tmp_path / "one.git"))
    sandbox.git("remote", "add", "one", str(tmp_path / "one.git"))
    sandbox.git("push", "--quiet", "--set-upstream", "one", "main")
    assert git.upstream("main") == Upstream("one", "refs/remotes/one/main")
    sandbox.git("branch", "--quiet", "topic", "--track", "main")
    assert git.upstream("topic") == Upstream(".", "refs/heads/main")
    sandbox.git("update-ref", "-d", "refs/remotes/one/main")
    assert git.upstream("main") is None


def test_messages_parents_and_the_branch_before(sandbox: Sandbox) -> None:
    first = sandbox.commit("first")
    second = sandbox.commit("second\n\nbody")
    git = porcelain(sandbox)
    assert git.message_of(first) == ("first", [])
    assert git.message_of(second) == ("second\n\nbody", [first])
    assert git.previous() is None
    sandbox.git("switch", "--quiet", "-c", "topic")
    assert git.previous() == "main"
    assert git.merge_base(first, second) == first


def test_what_is_staged(sandbox: Sandbox) -> None:
    sandbox.write("a", "1")
    git = porcelain(sandbox)
    assert not git.has_staged()
    sandbox.git("add", "a")
    assert git.has_staged()
    sandbox.commit()
    assert not git.has_staged()
    (sandbox.top / ".git/MERGE_HEAD").write_text("x\n")
    assert git.has_staged()


def test_looking_at_changes_takes_no_lock(sandbox: Sandbox) -> None:
    sandbox.write("a", "1")
    sandbox.commit()
    index = sandbox.top / ".git/index"
    before = index.read_bytes()
    os.utime(sandbox.top / "a", (1, 1))
    sandbox.write("new/b", "1")
    found = porcelain(sandbox).changes()
    assert [(item.path, item.staged) for item in found] == [("new/", "?")]
    assert index.read_bytes() == before

"""Questions to a real repository, answered by the real git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.git.process import GitFailedError, GitMissingError
from kist.git.repository import (
    GitObjectMissingError,
    GitRepository,
    PathStatus,
    RevisionMissingError,
    parse_status,
)

from .conftest import Sandbox


class Spawned(Exception):
    """git was started where nothing but files should be read."""


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise Spawned(arguments)

    monkeypatch.setattr("subprocess.Popen", refuse)


def test_a_repository_without_commits_has_no_head(sandbox: Sandbox) -> None:
    repository = sandbox.repository()
    assert repository.head_sha() is None
    assert not repository.has_commits()
    assert repository.branches() == {}
    assert repository.all_commits() == []
    with pytest.raises(RevisionMissingError, match="cannot find revision 'HEAD'"):
        repository.resolve("HEAD")


def test_the_head_is_read_without_a_process(sandbox: Sandbox, request: pytest.FixtureRequest) -> None:
    sha = sandbox.commit()
    repository = sandbox.repository()
    request.getfixturevalue("no_processes")
    assert repository.head_sha() == sha
    assert repository.resolve("HEAD") == sha
    assert repository.resolve(sha) == sha


def test_the_head_is_found_packed_detached_and_in_a_linked_tree(sandbox: Sandbox, tmp_path: Path) -> None:
    first = sandbox.commit("first")
    second = sandbox.commit("second")
    sandbox.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"), first)
    sandbox.git("pack-refs", "--all", "--prune")
    linked = GitRepository.find(str(tmp_path / "linked"), environ=sandbox.environ)
    assert linked is not None
    assert linked.head_sha() == first
    assert sandbox.repository().head_sha() == second
    sandbox.git("checkout", "--quiet", "--detach", first)
    assert sandbox.repository().head_sha() == first


def test_names_resolve_to_commits(sandbox: Sandbox) -> None:
    first = sandbox.commit("first")
    second = sandbox.commit("second")
    sandbox.git("tag", "-a", "v1", "-m", "one", first)
    sandbox.git("branch", "feature/x", first)
    repository = sandbox.repository()
    answers = {
        rev: repository.resolve(rev) for rev in ("HEAD~1", "v1", "main", "feature/x", first, first[:9], "@")
    }
    expected = dict.fromkeys(("HEAD~1", "v1", "feature/x", first, first[:9]), first)
    assert answers == {**expected, "main": second, "@": second}


@pytest.mark.parametrize(
    "rev",
    ["nope", "-x", "--all", "--output=pwned", "", "HEAD..HEAD", "^HEAD", "HEAD:file", "@{99}", "@{u}", "a\nHEAD", "a\0b",
     "0" * 40, "HEAD^{tree}"],
)  # fmt: skip
def test_what_names_no_commit_is_missing_and_never_an_option(sandbox: Sandbox, rev: str) -> None:
    sandbox.write("file", "x")
    sandbox.commit()
    with pytest.raises(RevisionMissingError) as caught:
        sandbox.repository().resolve(rev)
    assert caught.value.message.startswith(f"cannot find revision '{rev}'")
    assert caught.value.hint
    assert not (sandbox.top / "pwned").exists()


def test_branches_and_tags_name_commits_only(sandbox: Sandbox) -> None:
    sandbox.write("file", "x")
    sha = sandbox.commit()
    sandbox.git("tag", "light")
    sandbox.git("tag", "-a", "heavy", "-m", "x")
    sandbox.git("tag", "a-blob", sandbox.git("rev-parse", "HEAD:file"))
    sandbox.git("branch", "b/ü")
    repository = sandbox.repository()
    assert repository.branches() == {"b/ü": sha, "main": sha}
    assert repository.tags() == {"heavy": sha, "light": sha}


def test_all_commits_leave_experiments_out_unless_asked(sandbox: Sandbox) -> None:
    first = sandbox.commit("first")
    second = sandbox.commit("second")
    experiment = sandbox.git("commit-tree", "HEAD^{tree}", "-p", second, "-m", "exp")
    sandbox.git("update-ref", f"refs/exps/{second[:2]}/{second[2:]}/exp-a", experiment)
    sandbox.git("checkout", "--quiet", "--detach")
    detached = sandbox.commit("on no branch")
    repository = sandbox.repository()
    assert set(repository.all_commits()) == {first, second, detached}
    assert set(repository.all_commits(experiments=True)) == {first, second, detached, experiment}


def test_children_come_before_parents_also_of_one_second(sandbox: Sandbox) -> None:
    commits = [sandbox.commit(f"number {number}") for number in range(8)]
    for number, commit in enumerate(commits[:-1]):
        sandbox.git("tag", f"v{number}", commit)
    newest_first = commits[::-1]
    repository = sandbox.repository()
    assert repository.all_commits() == newest_first
    assert [sha for sha, _ in repository.dated_commits()] == newest_first
    assert repository.newest_first(sorted(commits[::2])) == newest_first[1::2]


def test_what_a_dead_run_left_beside_experiments_is_none(sandbox: Sandbox) -> None:
    sandbox.commit("first")
    left = sandbox.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "left")
    sandbox.git("update-ref", "refs/exps/exec/EXEC_CHECKPOINT", left)
    sandbox.git("symbolic-ref", "refs/exps/exec/EXEC_HEAD", "refs/heads/gone")
    sandbox.git("update-ref", "refs/exps/celery/stash", left)
    assert sandbox.repository().experiment_commits() == []


def test_a_tree_is_listed_with_any_name(sandbox: Sandbox) -> None:
    names = ["a.dvc", "d/ü b.dvc", "d/tab\there.dvc", "q'\".dvc", "[x]*.dvc", "other", "-dash.dvc"]
    for name in names:
        sandbox.write(name, name)
    os.symlink("other", sandbox.top / "link.dvc")
    sandbox.commit()
    repository = sandbox.repository()
    assert set(repository.list_tree("HEAD")) == {*names, "link.dvc"}
    assert set(repository.list_tree("HEAD", [".dvc"], under="d")) == {"d/ü b.dvc", "d/tab\there.dvc"}
    assert repository.list_tree("HEAD")["link.dvc"].mode == "120000"
    contents = {path: repository.read_file("HEAD", path) for path in [*names, "link.dvc", "d", "missing"]}
    assert contents == {
        **{name: name.encode() for name in names},
        "link.dvc": None,
        "d": None,
        "missing": None,
    }


def test_many_blobs_come_from_one_process_in_order(sandbox: Sandbox) -> None:
    count = 3000  # more names and more bytes than both pipes hold
    for number in range(count):
        sandbox.write(f"f{number}", f"{number}\n" * 20)
    sandbox.write("empty", "")
    sandbox.commit()
    repository = sandbox.repository()
    tree = repository.list_tree("HEAD")
    wanted = [tree[f"f{number}"].sha for number in reversed(range(count))] + [tree["empty"].sha]
    found = list(repository.read_blobs(wanted))
    assert [sha for sha, _ in found] == wanted
    assert found[0][1] == f"{count - 1}\n".encode() * 20
    assert found[-1][1] == b""
    assert list(repository.read_blobs([])) == []


def test_a_reader_may_stop_early(sandbox: Sandbox) -> None:
    sandbox.write("big", "x" * 500_000)
    sandbox.commit()
    repository = sandbox.repository()
    sha = repository.list_tree("HEAD")["big"].sha
    blobs = repository.read_blobs([sha] * 20_000)
    assert next(blobs)[0] == sha
    del blobs
    assert next(repository.read_blobs([sha]))[0] == sha


def test_a_missing_object_is_an_error_that_names_it(sandbox: Sandbox) -> None:
    sandbox.commit()
    with pytest.raises(GitObjectMissingError, match="cannot read git object 'aaaa"):
        list(sandbox.repository().read_blobs(["a" * 40]))


def history_of(sandbox: Sandbox) -> list[str]:
    """Makes a history with a merge, a deletion, a rename, a link in place of a file; returns all commits."""
    sandbox.write("a.dvc", "1")
    sandbox.write("s p/ü.dvc", "2")
    sandbox.write("other", "x")
    sandbox.commit("root")
    sandbox.git("checkout", "--quiet", "-b", "side")
    sandbox.write("side.dvc", "3")
    sandbox.commit("side")
    sandbox.git("checkout", "--quiet", "main")
    sandbox.write("a.dvc", "4")
    sandbox.commit("edit")
    sandbox.git("merge", "--quiet", "--no-edit", "side")
    sandbox.git("mv", "a.dvc", "renamed.dvc")
    sandbox.commit("rename")
    sandbox.git("rm", "--quiet", "side.dvc")
    os.symlink("other", sandbox.top / "side.dvc")
    sandbox.commit("link")
    sandbox.write("other", "y")
    sandbox.commit("nothing of ours")
    return sandbox.repository().all_commits()


def test_trees_of_many_commits_equal_their_listings(sandbox: Sandbox) -> None:
    commits = history_of(sandbox)
    repository = sandbox.repository()
    order = [*commits[::2], *commits[1::2], commits[0]]
    found = dict(repository.trees(order, [".dvc"]))
    expected = {
        commit: {
            path: item.sha
            for path, item in repository.list_tree(commit, [".dvc"]).items()
            if item.mode[:3] == "100"
        }
        for commit in commits
    }
    assert found == expected
    assert len(commits) == 7
    assert list(repository.trees([], [".dvc"])) == []


def test_the_history_holds_every_version_of_every_path(sandbox: Sandbox) -> None:
    commits = history_of(sandbox)
    repository = sandbox.repository()
    expected = {
        (path, item.sha)
        for commit in commits
        for path, item in repository.list_tree(commit, [".dvc"]).items()
        if item.mode[:3] == "100"
    }
    for revs in (["--all"], ["main"], ["--branches", "--tags"], commits):
        found = {
            (path, sha)
            for change in repository.history(revs, [".dvc"])
            for path, sha in change.blobs.items()
            if sha
        }
        assert found == expected, revs
    assert list(repository.history([], [".dvc"])) == []
    assert {change.commit for change in repository.history(["side"], ["side.dvc"])} == {
        repository.resolve("side")
    }


def test_the_users_git_settings_do_not_change_the_answers(sandbox: Sandbox) -> None:
    commits = history_of(sandbox)
    before = list(sandbox.repository().history(["--all"], [".dvc"]))
    settings = {
        "log.showSignature": "true", "log.diffMerges": "off", "diff.renames": "copies", "color.ui": "always",
        "core.quotepath": "true", "status.short": "true", "status.relativePaths": "true", "log.showRoot": "false",
        "diff.noprefix": "true", "status.branch": "true", "core.pager": "false", "format.pretty": "oneline",
    }  # fmt: skip
    for name, value in settings.items():
        sandbox.git("config", name, value)
    sandbox.write("new ü", "")
    repository = sandbox.repository()
    assert list(repository.history(["--all"], [".dvc"])) == before
    assert repository.status(untracked=True) == [PathStatus("new ü", "?", "?")]
    assert len(dict(repository.trees(commits, [".dvc"]))) == len(commits)


def test_tracked_paths_come_back_as_they_were_given(sandbox: Sandbox) -> None:
    for name in ("d/e/f", "[x]", "-dash", "s p"):
        sandbox.write(name, "")
    sandbox.git("add", "--all")
    sandbox.write("x", "untracked")
    top = str(sandbox.top)
    asked = ["d", "d/e", "d/e/f", "[x]", "-dash", "x", "missing", f"{top}/s p", f"{top}/x", "e"]
    assert sandbox.repository().is_tracked(asked) == {"d", "d/e", "d/e/f", "[x]", "-dash", f"{top}/s p"}
    assert sandbox.repository().is_tracked([]) == set()


def test_more_paths_than_fit_on_a_command_line_are_asked_in_batches(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kist.git.repository._ARGUMENT_BYTES", 100)
    names = [f"file-{number}" for number in range(50)]
    for name in names[::2]:
        sandbox.write(name, "")
    sandbox.git("add", "--all")
    assert sandbox.repository().is_tracked(names) == set(names[::2])


def test_status_tells_staged_from_unstaged(sandbox: Sandbox) -> None:
    for name in ("both", "gone", "old name", "same"):
        sandbox.write(name, f"{name} with enough text to be recognised after a rename\n")
    sandbox.commit()
    sandbox.write("both", "1")
    sandbox.git("add", "both")
    sandbox.write("both", "2")
    os.unlink(sandbox.top / "gone")
    sandbox.git("mv", "old name", "new name")
    sandbox.write("dir/untracked ü", "")
    sandbox.write(".gitignore", "*.tmp\n")
    sandbox.write("x.tmp", "")
    repository = sandbox.repository()
    tracked = [
        PathStatus("both", "M", "M"),
        PathStatus("gone", " ", "D"),
        PathStatus("new name", "R", " ", "old name"),
    ]
    untracked = [PathStatus(".gitignore", "?", "?"), PathStatus("dir/untracked ü", "?", "?")]
    assert repository.status() == tracked
    assert repository.status(untracked=True) == sorted([*tracked, *untracked])
    assert PathStatus("x.tmp", "!", "!") in repository.status(untracked=True, ignored=True)
    assert parse_status("") == []


def test_reading_takes_no_lock_and_leaves_the_index_alone(sandbox: Sandbox) -> None:
    sandbox.write("a", "1")
    sandbox.commit()
    os.utime(sandbox.top / "a", (1, 1))  # a refresh would now rewrite the index
    index = (sandbox.top / ".git" / "index").read_bytes()
    assert sandbox.repository().status(untracked=True) == []
    assert (sandbox.top / ".git" / "index").read_bytes() == index
    (sandbox.top / ".git" / "index.lock").write_bytes(b"")
    assert sandbox.repository().status(untracked=True) == []
    assert sandbox.repository().is_tracked(["a"]) == {"a"}


def test_ignored_paths_are_found_by_git_itself(sandbox: Sandbox) -> None:
    sandbox.write(".gitignore", "*.tmp\n")
    asked = ["a.tmp", "b", str(sandbox.top / "c.tmp"), "-x.tmp", "new\nline.tmp"]
    assert sandbox.repository().ignored(asked) == {
        "a.tmp",
        str(sandbox.top / "c.tmp"),
        "-x.tmp",
        "new\nline.tmp",
    }
    assert sandbox.repository().ignored([]) == set()
    assert sandbox.repository().ignored(["b"]) == set()


def test_staging_takes_any_name_literally(sandbox: Sandbox) -> None:
    for name in ("gone", "kept"):
        sandbox.write(name, "1")
    sandbox.commit()
    os.unlink(sandbox.top / "gone")
    names = ["*.dvc", "-dash", ":(top)x", "s p", "ü", "new\nline", "d/e"]
    for name in [*names, "not.dvc"]:
        sandbox.write(name, "")
    sandbox.repository().stage([*names, "gone", "never was", str(sandbox.top / "kept")])
    staged = {item.path: item.staged for item in sandbox.repository().status()}
    assert staged == {**dict.fromkeys(names, "A"), "gone": "D"}


def test_a_refusal_of_git_is_one_clear_line(sandbox: Sandbox) -> None:
    sandbox.write("a", "")
    (sandbox.top / ".git" / "index.lock").write_bytes(b"")
    with pytest.raises(
        GitFailedError, match=r"^cannot run `git add`: Unable to create '.*index\.lock'"
    ) as caught:
        sandbox.repository().stage(["a"])
    assert "\n" not in caught.value.message
    assert caught.value.hint is not None
    assert "lock" in caught.value.hint


def test_a_repository_that_git_refuses_is_not_taken_for_an_empty_one(sandbox: Sandbox) -> None:
    sandbox.commit()
    sandbox.git("config", "core.repositoryformatversion", "99")
    with pytest.raises(GitFailedError, match="cannot run `git rev-parse`"):
        sandbox.repository().resolve("main")
    (sandbox.top / ".git" / "HEAD").write_text("ref: refs/heads/unborn\n")
    with pytest.raises(GitFailedError, match="cannot run `git rev-parse`"):
        sandbox.repository().head_sha()


def test_a_missing_git_program_is_a_clear_error(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = sandbox.top / "empty"
    empty.mkdir()
    found = GitRepository.find(str(sandbox.top), environ={"PATH": str(empty)})
    assert found is not None
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(GitMissingError, match="cannot start 'git'") as caught:
        found.branches()
    assert caught.value.code == "git-missing"


def test_variables_that_git_sets_for_hooks_do_not_lead_astray(sandbox: Sandbox, tmp_path: Path) -> None:
    sha = sandbox.commit()
    other = Sandbox(tmp_path / "other")
    other.top.mkdir()
    other.git("init", "--quiet")
    astray = {
        "GIT_DIR": str(other.top / ".git"),
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_WORK_TREE": str(other.top),
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_EXTERNAL_DIFF": "false",
    }
    found = GitRepository.find(str(sandbox.top), environ={**sandbox.environ, **astray})
    assert found is not None
    assert found.branches() == {"main": sha}
    sandbox.write("a", "")
    found.stage(["a"])
    assert found.is_tracked(["a"]) == {"a"}


def test_reading_runs_no_program_that_the_repository_names(sandbox: Sandbox) -> None:
    commits = history_of(sandbox)
    trap = sandbox.top / "trap"
    for name in ("core.fsmonitor", "diff.external", "core.pager", "pager.log", "pager.status", "gpg.program"):
        sandbox.git("config", name, f"touch '{trap}'; false")
    sandbox.git("config", "diff.trap.textconv", f"touch '{trap}'; cat")
    sandbox.write(".git/info/attributes", "*.dvc diff=trap\n")
    hooks = sandbox.top / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch '{trap}'\n")
        (hooks / hook).chmod(0o755)
    repository = sandbox.repository()
    repository.status(untracked=True)
    repository.is_tracked(["other"])
    assert list(repository.history(["--all"], [".dvc"]))
    assert len(list(repository.trees(commits, [".dvc"]))) == len(commits)
    repository.resolve("main")
    assert not trap.exists()


def test_what_commits_say_of_themselves(sandbox: Sandbox) -> None:
    first = sandbox.commit("one\n\nbody")
    second = sandbox.commit("zwei: ü")
    repository = sandbox.repository()
    found = repository.describe([second, first])
    assert list(found) == [second, first]
    words = ([first], "Ada", "ada@example.invalid", "2024-01-01T00:00:00+00:00", "zwei: ü", 1_704_067_200)
    assert found[second] == words
    assert found[first].subject == "one"
    assert repository.describe([]) == {}


def test_paths_between_commits_commits_not_pushed_and_the_drawing(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.write("a.dvc", "1")
    first = sandbox.commit("one")
    sandbox.git("init", "--quiet", "--bare", str(tmp_path / "far.git"))
    sandbox.git("remote", "add", "far", str(tmp_path / "far.git"))
    sandbox.git("push", "--quiet", "far", "main")
    sandbox.write("a.dvc", "2")
    sandbox.write("other folder/b.txt", "2")
    second = sandbox.commit("two")
    sandbox.write("c.txt", "3")
    third = sandbox.commit("three")
    repository = sandbox.repository()
    assert repository.changed_paths(first, third) == {"a.dvc", "other folder/b.txt", "c.txt"}
    assert repository.unpushed("far") == [third, second]
    assert repository.unpushed("nowhere") == [third, second, first]
    assert repository.graph(["HEAD"], ["a.dvc"]) == [("*", second), ("*", first)]


def test_changes_from_commit_to_commit_make_their_trees(sandbox: Sandbox) -> None:
    commits = history_of(sandbox)
    repository = sandbox.repository()
    tree: dict[str, str] = {}
    for change in repository.tree_changes(reversed(commits)):
        change.apply_to(tree)
        listed = repository.list_tree(change.commit).items()
        assert tree == {path: item.sha for path, item in listed if item.mode[:3] == "100"}


def test_single_blobs_come_through_one_process_that_ends(sandbox: Sandbox) -> None:
    sandbox.write("a", "one\n")
    sandbox.write("b", "")
    sandbox.commit()
    repository = sandbox.repository()
    shas = {path: item.sha for path, item in repository.list_tree("HEAD").items()}
    tree = sandbox.git("rev-parse", "HEAD^{tree}")
    with repository.blob_reader() as reader:
        assert reader.read(shas["a"]) == b"one\n"
        assert reader.read("0" * 40) is None
        assert reader.read(tree) is None
        assert reader.read(shas["b"]) == b""
    reader.close()


def test_named_commits_leave_out_what_only_other_references_reach(sandbox: Sandbox) -> None:
    assert sandbox.repository().named_commits() == []
    first = sandbox.commit()
    sandbox.git("update-ref", "refs/notes/own", sandbox.git("commit-tree", "-m", "note", f"{first}^{{tree}}"))
    second = sandbox.commit()
    repository = sandbox.repository()
    assert repository.named_commits() == [second, first]
    assert repository.current_branch() == sandbox.git("branch", "--show-current")
    sandbox.git("checkout", "--quiet", "--detach")
    assert repository.current_branch() is None

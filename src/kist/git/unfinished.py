"""What Git left unfinished: unmerged paths with their three versions, and the operation that stopped, with its sides.

Not here: merging (compare), finishing (repo.resolve). Source: gitrepository-layout(5), git-ls-files(1), git 2.39.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from kist.git.locate import read_small_file
from kist.git.process import GitProgram

_SIGNS = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "AUTO_MERGE")
_REBASES = ("rebase-merge", "rebase-apply")
_SHORT = 7


class UnmergedPath(NamedTuple):
    """One path with a clash.

    Attributes:
        path: relative to the top.
        base, ours, theirs: blobs of stages 1, 2, 3; None where that side has no such file.
    """

    path: str
    base: str | None
    ours: str | None
    theirs: str | None


class MergeSide(NamedTuple):
    """One side of an operation: how people call it, and its commit where there is one."""

    name: str
    commit: str | None


class Operation(NamedTuple):
    """What stopped.

    Attributes:
        kind: "merge", "rebase", "cherry-pick", "revert", or "stash" for whatever leaves no trace.
    """

    kind: str
    ours: MergeSide
    theirs: MergeSide


class LastChange(NamedTuple):
    """The last commit of one side that changed a path: its id, ISO date, and author."""

    commit: str
    date: str
    author: str


def is_rebasing(git_dir: str) -> bool:
    """Says whether a rebase is under way. Starts no process."""
    return any(os.path.isdir(os.path.join(git_dir, name)) for name in _REBASES)


def has_commits_to_rebase(git_dir: str) -> bool:
    """Says whether a rebase is under way that will apply more commits; False for one that only moves forward."""
    if not is_rebasing(git_dir):
        return False
    todo = read_small_file(os.path.join(git_dir, "rebase-merge", "git-rebase-todo"))
    return todo is None or any(line.strip() and not line.startswith("#") for line in todo.splitlines())


def may_be_unfinished(git_dir: str) -> bool:
    """Says whether paths may be unmerged; False is certain with git 2.34 or newer. Starts no process."""
    return is_rebasing(git_dir) or any(os.path.lexists(os.path.join(git_dir, name)) for name in _SIGNS)


def unmerged_paths(git: GitProgram) -> list[UnmergedPath]:
    """Returns the unmerged paths of the index, sorted.

    Raises: GitFailedError.
    """
    found: dict[str, list[str | None]] = {}
    for record in os.fsdecode(git.run(["ls-files", "--unmerged", "-z", "--full-name"])).split("\0"):
        if record:
            head, path = record.split("\t", 1)
            _, sha, stage = head.split(" ")
            found.setdefault(path, [None, None, None])[int(stage) - 1] = sha
    return [UnmergedPath(path, *shas) for path, shas in sorted(found.items())]


def read_operation(git: GitProgram, git_dir: str) -> Operation:
    """Returns the operation that is under way, with names that tell its sides apart."""
    here = _head(git, git_dir)
    if is_rebasing(git_dir):
        return _rebase(git, git_dir, here)
    for name, kind in (("MERGE_HEAD", "merge"), ("CHERRY_PICK_HEAD", "cherry-pick")):
        commit = _first_line(git_dir, name)
        if commit is not None:
            shown = _name(git, commit) if kind == "merge" else f"commit {commit[:_SHORT]}"
            return Operation(kind, here, MergeSide(shown, commit))
    reverted = _first_line(git_dir, "REVERT_HEAD")
    if reverted is not None:
        return Operation("revert", here, MergeSide(f"what was before {reverted[:_SHORT]}", None))
    return Operation("stash", here, MergeSide("the stashed changes", None))


def last_changes(
    git: GitProgram, tip: str | None, other: str | None, paths: Sequence[str]
) -> dict[str, LastChange]:
    """Returns path -> the last commit that `tip` reaches and `other` does not, and that changed it.

    Args: tip: None gives nothing. other: None stands for no commit.
    """
    if tip is None or not paths:
        return {}
    revs = [tip, f"^{other}"] if other is not None else [tip]
    words = [
        "log",
        "--format=%x01%H%x02%cI%x02%an",
        "--name-only",
        "-z",
        "--no-renames",
        "--no-show-signature",
    ]
    words += ["-m", "--first-parent", *revs, "--"]
    found: dict[str, LastChange] = {}
    wanted = set(paths)
    for record in os.fsdecode(git.run(words)).split("\x01")[1:]:
        head, _, names = record.partition("\0")
        change = LastChange(*head.split("\x02"))
        for name in names.split("\0"):
            path = name.lstrip("\n")
            if path in wanted:
                found.setdefault(path, change)
    return found


def _rebase(git: GitProgram, git_dir: str, here: MergeSide) -> Operation:
    folder = next(name for name in _REBASES if os.path.isdir(os.path.join(git_dir, name)))
    onto = _first_line(git_dir, folder, "onto")
    branch = (_first_line(git_dir, folder, "head-name") or "").removeprefix("refs/heads/")
    commit = _first_line(git_dir, "REBASE_HEAD")
    theirs = f"commit {commit[:_SHORT]}" if commit else "the commit that is applied"
    if branch and branch != "detached HEAD":
        theirs += f" of '{branch}'"
    ours = _name(git, onto) if onto else here.name
    return Operation("rebase", MergeSide(ours, here.commit), MergeSide(theirs, commit))


def _head(git: GitProgram, git_dir: str) -> MergeSide:
    text = _first_line(git_dir, "HEAD") or ""
    commit = git.run(["rev-parse", "--verify", "--quiet", "HEAD"], accepted=(0, 1)).decode("ascii").strip()
    if text.startswith("ref: "):
        name = text.removeprefix("ref: ").removeprefix("refs/heads/")
        return MergeSide(f"'{name}'", commit or None)
    return MergeSide(f"commit {commit[:_SHORT]}", commit or None)


def _name(git: GitProgram, commit: str) -> str:
    """Returns a branch, remote branch or tag that is at a commit, or the commit's short id."""
    for prefix in ("refs/heads", "refs/remotes", "refs/tags"):
        arguments = ["for-each-ref", f"--points-at={commit}", "--format=%(refname)", prefix]
        for name in os.fsdecode(git.run(arguments)).splitlines():
            short = name.removeprefix(prefix + "/")
            if not short.endswith("/HEAD"):
                return f"'{short}'"
    return f"commit {commit[:_SHORT]}"


def _first_line(git_dir: str, *names: str) -> str | None:
    text = read_small_file(os.path.join(git_dir, *names))
    return None if text is None or not text.strip() else text.splitlines()[0].strip()

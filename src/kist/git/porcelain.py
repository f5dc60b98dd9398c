"""What changes a repository, through the person's own git: hooks, signing, identity and configuration as at a shell.

Not here: reading history and trees (kist.git.repository), putting right what a killed git left (kist.git.leftovers).
Each method is one git command, which `Command.words` spells as a person would type it.
Source: git 2.25 or newer; git-switch(1), git-commit(1), git-push(1), git-merge(1), git-rebase(1), git-var(1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, MissingError, StorageError
from kist.git.locate import read_small_file
from kist.git.process import GitProgram, Said
from kist.git.repository import GitRepository, PathStatus, parse_status

INSIDE = "KIST_INSIDE"
"""Variable that git's hooks see: which command of ours started git, and holds the repository's lock."""

_BRANCHES = "refs/heads/"
_IN_PROGRESS = (
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
)
_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
_UNMERGED = frozenset({"DD", "AU", "UD", "UA", "DU", "AA", "UU"})


class GitRefusedError(StorageError):
    """Git, or a hook of the person's, refused; the message holds what it said first. The user mends the cause."""

    code = "git-refused"


class IdentityMissingError(InputError):
    """Git does not know who makes the commit. The hint sets it; a retry then helps."""

    code = "git-identity-missing"


class NoGitRemoteError(MissingError):
    """There is no Git remote that a branch could be pushed to, or none that it follows."""

    code = "git-remote-missing"


class BadTagNameError(InputError):
    """Git does not allow such a name for a tag or a branch."""

    code = "git-name-invalid"


class Place(NamedTuple):
    """Where HEAD is: the branch (None when detached) and its commit (None before the first one)."""

    branch: str | None
    head: str | None


class PushTarget(NamedTuple):
    """Where a branch goes: the Git remote, the reference there, and whether that becomes the branch's upstream."""

    remote: str
    ref: str
    sets_upstream: bool


class Upstream(NamedTuple):
    """What a branch follows: the Git remote ("." for this repository), and the reference here that tells of it."""

    remote: str
    ref: str


class Porcelain:
    """Git commands that change something, as one of our commands gives them."""

    def __init__(self, repository: GitRepository, environ: Mapping[str, str], *, inside: str) -> None:
        """Args: environ: the person's environment. inside: name of our command, for hooks."""
        self._repository = repository
        self._environ = environ
        self._git = GitProgram(repository.top, environ)
        self._extra = {INSIDE: inside}
        self.said: list[str] = []
        """What git and its hooks wrote, command by command."""

    # What is so now

    def place(self) -> Place:
        """Returns where HEAD is. Usually starts no process."""
        head = self._repository.head_sha()
        text = (read_small_file(os.path.join(self._repository.git_dir, "HEAD")) or "").rstrip("\n")
        if text == "ref: refs/heads/.invalid":  # reftable: the file says nothing
            found = self._git.run(["symbolic-ref", "--quiet", "HEAD"], accepted=(0, 1))
            text = "ref: " + os.fsdecode(found).strip()
        name = text.removeprefix("ref: ")
        return Place(name.removeprefix(_BRANCHES) if name.startswith(_BRANCHES) else None, head)

    def in_progress(self) -> str | None:
        """Returns "merge", "rebase", "cherry-pick" or "revert" where one waits to be finished, else None."""
        for name, word in _IN_PROGRESS:
            if os.path.exists(os.path.join(self._repository.git_dir, name)):
                return word
        return None

    def changes(self) -> list[PathStatus]:
        """Returns the paths that differ from the last commit, and untracked ones; folders of the latter as one."""
        # Writes nothing, no refreshed index either: no journal could tell of a lock that a kill leaves here.
        output = self._git.run(["status", "--porcelain=v1", "-z", "--untracked-files=normal"])
        return parse_status(os.fsdecode(output))

    def unmerged(self) -> list[str]:
        """Returns the paths with conflicts."""
        return [item.path for item in self.changes() if item.staged + item.unstaged in _UNMERGED]

    def has_staged(self) -> bool:
        """Says whether a commit would hold something: the index differs from HEAD, or a merge is concluded."""
        if self.in_progress() == "merge":
            return True
        return self._git.run_as_typed(["diff", "--cached", "--quiet"], extra={}).status != 0

    def check_identity(self) -> None:
        """Raises IdentityMissingError if git would refuse to commit for want of a name or address."""
        if all(self._environ.get(name) for name in _IDENTITY):
            return
        # The author is the same person, but for rare settings, with which git itself refuses later.
        said = self._git.run_as_typed(["var", "GIT_COMMITTER_IDENT"], extra={})
        if said.status != 0:
            raise IdentityMissingError(
                "cannot commit: Git does not know your name and address",
                hint="git config --global user.name 'Your Name' && "
                "git config --global user.email you@example.com",
            )

    def check_name(self, name: str, kind: str) -> None:
        """Raises BadTagNameError if `name` is none for a tag ("tags") or a branch ("heads")."""
        said = self._git.run_as_typed(["check-ref-format", f"refs/{kind}/{name}"], extra={})
        if said.status != 0 or name.startswith("-") or name == "HEAD":
            what = "tag" if kind == "tags" else "branch"
            raise BadTagNameError(
                f"cannot call a {what} '{name}': Git allows no such name",
                hint="use letters, digits, '-', '_', '.' and '/'",
            )

    def has_commit(self, ref: str) -> str | None:
        """Returns the commit that a full reference name leads to, or None."""
        found = self._git.run(["rev-parse", "--verify", "--quiet", ref + "^{commit}"], accepted=(0, 1, 128))
        return found.decode("ascii", "replace").strip() or None

    def message_of(self, commit: str) -> tuple[str, list[str]]:
        """Returns a commit's message and its parents."""
        text = self._git.run(["log", "-1", "--format=%P%x00%B", "--no-show-signature", commit])
        parents, _, message = text.decode("utf-8", "surrogateescape").partition("\0")
        return message.strip(), parents.split()

    def config(self, name: str) -> str | None:
        """Returns a value of git's configuration, the last one that counts; None where it is not set."""
        found = self._git.run(["config", "--get", name], accepted=(0, 1))
        return os.fsdecode(found).rstrip("\n") or None

    def previous(self) -> str | None:
        """Returns the branch that was checked out before, or None."""
        found = self._git.run(
            ["rev-parse", "--abbrev-ref", "--verify", "--quiet", "@{-1}"], accepted=(0, 1, 128)
        )
        return os.fsdecode(found).strip() or None

    def remotes(self) -> list[str]:
        """Returns the names of the Git remotes."""
        return os.fsdecode(self._git.run(["remote"])).split()

    def remote_branches(self, name: str) -> list[str]:
        """Returns the references here of remotes' branches with this name."""
        found = self._git.run(["for-each-ref", "--format=%(refname)", f"refs/remotes/*/{name}"])
        return os.fsdecode(found).split()

    def upstream(self, branch: str) -> Upstream | None:
        """Returns what a branch follows, or None; also None where that was deleted."""
        form = "%(upstream:remotename)%00%(upstream)"
        found = os.fsdecode(self._git.run(["for-each-ref", f"--format={form}", _BRANCHES + branch])).strip()
        remote, _, ref = found.partition("\0")
        if not ref or self.has_commit(ref) is None:
            return None
        return Upstream(remote or ".", ref)

    def push_target(self, branch: str) -> PushTarget:
        """Returns where `git push` would send a branch, or where its first push goes.

        Raises: NoGitRemoteError.
        """
        form = "%(push:remotename)%00%(push:remoteref)%00%(upstream:remotename)%00%(upstream:remoteref)"
        found = os.fsdecode(self._git.run(["for-each-ref", f"--format={form}", _BRANCHES + branch])).strip()
        push_remote, push_ref, remote, ref = (found.split("\0") + [""] * 4)[:4]
        chosen = (
            self.config(f"branch.{branch}.pushRemote") or self.config("remote.pushDefault") or push_remote
        )
        if chosen and chosen != remote:
            return PushTarget(chosen, push_ref or _BRANCHES + branch, sets_upstream=False)
        if remote and ref:
            return PushTarget(remote, push_ref or ref, sets_upstream=False)
        known = self.remotes()
        if len(known) == 1 or "origin" in known:
            name = known[0] if len(known) == 1 else "origin"
            return PushTarget(name, _BRANCHES + branch, sets_upstream=True)
        why = "there are several and none is called 'origin'" if known else "there is none"
        raise NoGitRemoteError(
            f"cannot push branch '{branch}': no Git remote is chosen, for {why}",
            hint=shell_line("git", "push", "--set-upstream", "REMOTE", branch)
            if known
            else "git remote add origin ADDRESS",
        )

    def merge_base(self, first: str, second: str) -> str | None:
        """Returns the best common ancestor of two commits, or None."""
        found = self._git.run(["merge-base", first, second], accepted=(0, 1))
        return found.decode("ascii").strip() or None

    # Commands

    def run(self, words: Sequence[str], *, data: bytes = b"") -> Said:
        """Runs a git command, remembers what it said, and returns that."""
        said = self._git.run_as_typed(words, extra=self._extra, data=data)
        if said.text:
            self.said.append(said.text)
        return said

    def must(self, words: Sequence[str], *, failed: str, hint: str | None = None) -> Said:
        """Runs a git command that must succeed.

        Args: failed: what could not be done, for the message.

        Raises: GitRefusedError.
        """
        said = self.run(words)
        if said.status != 0:
            raise refused(failed, said, hint)
        return said


def refused(failed: str, said: Said, hint: str | None = None) -> GitRefusedError:
    """Returns the error for a git command that failed; its whole text is for the notes."""
    return GitRefusedError(f"cannot {failed}: git says: {reason(said)}", hint=hint)


def reason(said: Said) -> str:
    """Returns the line in which git says why, without its label."""
    lines = [line.strip() for line in said.text.splitlines() if line.strip()]
    for prefix in ("fatal: ", "error: ", "! ["):
        for line in lines:
            if line.startswith(prefix):
                return line.removeprefix(prefix) if prefix != "! [" else line
    if lines:
        return lines[0]
    return f"it ended with status {said.status}"


def short(commit: str) -> str:
    """Returns a commit's id as it is shown."""
    return commit[:7]

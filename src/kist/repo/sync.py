"""`sync`: brings Git's branch up to its upstream, as Git is configured, and the data of the result.

Not here: what would be lost and what must be fetched (moving). Implements docs/spec/save-switch-sync.md, section 2.3.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, KistError, MissingError
from kist.git.porcelain import Place, Porcelain, Upstream, refused
from kist.git.repository import GitRepository
from kist.repo.beside_git import listed, need_git, offset_of, told
from kist.repo.collect import LOCK_FILE, OLD_FILE
from kist.repo.journal import Journal, remove_journal, write_journal
from kist.repo.moving import (
    Move,
    Side,
    Ways,
    absent_imports,
    before_git_moves,
    carried_metafiles,
    code_at_risk,
    here,
    prepare,
    there,
)
from kist.repo.pull import PullResult, pull_locked
from kist.repo.recover import recover
from kist.repo.switch import InProgressError
from kist.repo.transfers import TransferResult

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_FALSE = ("false", "no", "off", "0")
_FAILED = "sync"
_WAYS = Ways(
    _FAILED,
    "git stash && kist checkout --force && kist sync",
    "git pull && kist checkout --allow-missing",
)


class NoUpstreamError(MissingError):
    """The branch follows no other one, or HEAD is on no branch. The hint sets it."""

    code = "no-upstream"


class DivergedError(InputError):
    """Both sides have commits of their own, and Git is not told whether to merge or to rebase."""

    code = "diverged"


class SyncConflictsError(InputError):
    """The merge or rebase stopped with conflicts. `kist resolve` helps with data."""

    code = "sync-conflicts"


class SyncResult(NamedTuple):
    """What `sync` did.

    Attributes:
        before, place: where HEAD was and is.
        upstream: as people call it, `origin/main`.
        how: "up to date", "fast-forward", "merge" or "rebase".
        fetched: what was fetched before Git moved.
        data: what happened to the workspace's data.
        left_alone: outputs that were edited, and that both sides record alike.
        said: what git and hooks wrote.
        notes: lines to tell the person.
    """

    before: Place
    place: Place
    upstream: str
    how: str
    fetched: TransferResult
    data: PullResult
    left_alone: list[str]
    said: list[str]
    notes: list[str]


class _Plan(NamedTuple):
    """A sync that nothing speaks against yet.

    Attributes:
        how: as in `SyncResult`.
        theirs: the upstream's commit.
        words: git's command; none when up to date.
    """

    before: Place
    how: str
    theirs: str
    words: list[str]


def sync(repository: Repository, *, words: str = "kist sync") -> SyncResult:
    """Fetches, merges or rebases, and checks out.

    Raises: KistError, OSError: HEAD is as before, but after conflicts, which Git keeps to be resolved.

    Holds: a kill leaves HEAD as before, or there with data on the way; the next command of the group does the rest.
    """
    git = need_git(repository, _FAILED)
    porcelain = Porcelain(git, repository.environ, inside="sync")
    with repository.lock():
        settled = recover(repository, git, porcelain)
        if settled.unfinished is not None:
            repository.notes.append(f"not finished: {settled.unfinished.message}")
        repository.sweep_now()
        before, upstream = _followed(porcelain)
        # Until more is known it tells whose the lock files of `git fetch` are. That of another command is worth more.
        is_own = settled.unfinished is None
        if is_own:
            write_journal(repository, Journal("sync", words, branch=before.branch, head=before.head))
        try:
            if upstream.remote != ".":
                hint = shell_line("git", "remote", "get-url", upstream.remote)
                porcelain.must(["fetch", "--quiet"], failed="fetch", hint=hint)
            plan = _plan(porcelain, before, upstream)
            move, fetched = _prepare(repository, git, porcelain, plan, keeps_edits=is_own)
        except (KistError, OSError):
            if is_own:
                remove_journal(repository)
            raise
        alone = [*move.left_alone, *absent_imports(repository, move.items)]
        if plan.words:
            _move_git(repository, porcelain, plan, alone, words)
        repository.forget_version()
        data = pull_locked(repository, [], left_alone=alone)
        repository.notes += data.notes
        if data.checkout.error(repository) is None:
            remove_journal(repository)
        return SyncResult(
            before,
            porcelain.place(),
            _short(upstream),
            plan.how,
            fetched,
            data,
            move.left_alone,
            told(porcelain),
            repository.take_notes(),
        )


def _followed(porcelain: Porcelain) -> tuple[Place, Upstream]:
    """Returns where HEAD is and what its branch follows."""
    busy = porcelain.in_progress()
    if busy is not None:
        raise InProgressError(
            f"cannot sync: a {busy} is in progress",
            hint=f"where data clashes run `kist resolve`, then `{shell_line('git', busy, '--continue')} && kist sync`",
        )
    place = porcelain.place()
    if place.branch is None or place.head is None:
        raise NoUpstreamError(
            "cannot sync: HEAD is on no branch" if place.head else "cannot sync: there is no commit yet",
            hint="kist switch BRANCH" if place.head else "kist save -m 'First version'",
        )
    upstream = porcelain.upstream(place.branch)
    if upstream is None:
        remotes = porcelain.remotes()
        name = remotes[0] if remotes else "origin"
        follow = shell_line("git", "branch", f"--set-upstream-to={name}/{place.branch}")
        hint = f"make it on '{name}' with `kist save --push`, or follow one that is there with `{follow}`"
        raise NoUpstreamError(
            f"cannot sync: branch '{place.branch}' follows no branch elsewhere",
            hint=hint if remotes else "git remote add origin ADDRESS",
        )
    return place, upstream


def _short(upstream: Upstream) -> str:
    return upstream.ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")


def _words(porcelain: Porcelain, branch: str, upstream: Upstream) -> list[str]:
    """Returns the command by which Git is configured to bring two sides together; the first word may be "rebase"."""
    rebase = porcelain.config(f"branch.{branch}.rebase") or porcelain.config("pull.rebase")
    forward = porcelain.config("pull.ff")
    if rebase is not None and rebase.lower() not in _FALSE:
        return ["rebase", *(["--rebase-merges"] if rebase in ("merges", "m") else [])]
    if forward == "only" or (rebase is None and forward is None):
        return ["merge", "--ff-only", _short(upstream)]
    no_forward = forward is not None and forward.lower() in _FALSE
    return ["merge", "--no-edit", *(["--no-ff"] if no_forward else []), _short(upstream)]


def _plan(porcelain: Porcelain, before: Place, upstream: Upstream) -> _Plan:
    """Finds out how the two sides stand, and refuses what Git is not told how to do."""
    assert before.head is not None and before.branch is not None
    theirs = porcelain.has_commit(upstream.ref)
    if theirs is None:
        raise NoUpstreamError(
            f"cannot sync: '{_short(upstream)}' is no more",
            hint=f"{shell_line('git', 'branch', '--unset-upstream', before.branch)} && kist save --push",
        )
    base = porcelain.merge_base(before.head, theirs)
    if base == theirs:
        return _Plan(before, "up to date", theirs, [])
    words = _words(porcelain, before.branch, upstream)
    if base == before.head and "--no-ff" not in words:
        return _Plan(before, "fast-forward", theirs, ["merge", "--ff-only", _short(upstream)])
    if "--ff-only" in words:
        raise DivergedError(
            f"cannot sync: '{before.branch}' and '{_short(upstream)}' both have commits of their own, "
            "and Git is not told what to do",
            hint="run `git config pull.rebase false` to merge, or `git config pull.rebase true` to rebase, "
            "then `kist sync` again",
        )
    return _Plan(before, words[0], theirs, words)


def _prepare(
    repository: Repository, git: GitRepository, porcelain: Porcelain, plan: _Plan, *, keeps_edits: bool
) -> tuple[Move, TransferResult]:
    """Fetches what the result needs, as far as it is known, and refuses what would be lost."""
    changes = porcelain.changes()
    carried = carried_metafiles(changes, offset_of(repository, git))
    now = here(repository)
    if plan.how == "up to date":
        wanted = now
    elif plan.how == "fast-forward":
        wanted = there(repository, plan.theirs, carried)
    else:
        now, wanted = _both_sides(repository, porcelain, plan, now)
    code = []
    if plan.how == "fast-forward":
        code = code_at_risk(git, changes, plan.before.head, plan.theirs)
    return prepare(repository, git, now, wanted, code, _WAYS, keeps_edits=keeps_edits)


def _both_sides(repository: Repository, porcelain: Porcelain, plan: _Plan, now: Side) -> tuple[Side, Side]:
    """Returns, for a result that is not known yet, what is here and what the upstream changed of it.

    Outputs that the upstream did not change stay as they are here.
    """
    assert plan.before.head is not None
    base_commit = porcelain.merge_base(plan.before.head, plan.theirs)
    base = there(repository, base_commit) if base_commit is not None else Side([], set())
    theirs = there(repository, plan.theirs)
    old = {item.out.path: item.out.output.digest for item in base.items}
    changed = [item for item in theirs.items if old.get(item.out.path) != item.out.output.digest]
    paths = {item.out.path for item in changed}
    gone = base.paths - theirs.paths
    rest = [item for item in now.items if item.out.path not in paths | gone]
    return now, Side([*changed, *rest], (paths | now.paths) - gone)


def _move_git(
    repository: Repository, porcelain: Porcelain, plan: _Plan, left_alone: Sequence[str], words: str
) -> None:
    """Writes the journal and lets Git bring the sides together.

    Raises:
        SyncConflictsError: Git stopped with conflicts, and keeps them.
        GitRefusedError: Git refused; all is as before.
    """
    before = plan.before
    before_git_moves(repository, here(repository))
    journal = Journal(
        "sync",
        words,
        branch=before.branch,
        head=before.head,
        to_branch=before.branch,
        to_head=plan.theirs if plan.how == "fast-forward" else None,
        other=plan.theirs,
        left_alone=tuple(left_alone),
    )
    write_journal(repository, journal)
    said = porcelain.run([plan.words[0], "--quiet", *plan.words[1:]])
    if said.status == 0:
        return
    conflicts = porcelain.unmerged()
    busy = porcelain.in_progress()
    if conflicts or busy is not None:
        remove_journal(repository)
        raise _conflicts(conflicts, busy or plan.how)
    if porcelain.place() == before:
        remove_journal(repository)
        repository.notes += told(porcelain)
        raise refused(
            f"{plan.how if plan.how != 'fast-forward' else 'merge'}", said, "kist save, then kist sync"
        )


def _conflicts(paths: Sequence[str], busy: str) -> SyncConflictsError:
    """Returns the error that tells which files clash and what to do."""
    is_data = [path.endswith((".dvc", OLD_FILE)) or posixpath.basename(path) == LOCK_FILE for path in paths]
    data = [path for path, mine in zip(paths, is_data, strict=True) if mine]
    code = [path for path, mine in zip(paths, is_data, strict=True) if not mine]
    parts = [f"data: {listed(data)}"] if data else []
    parts += [f"in Git: {listed(code)}"] if code else []
    steps = ["choose with `kist resolve --ours`, `--theirs` or `--each`"] if data else []
    steps += ["edit the files in Git and `git add` them"] if code else []
    steps.append(f"run `{shell_line('git', busy, '--continue')} && kist sync`")
    what = "; ".join(parts) or "see `git status`"
    return SyncConflictsError(
        f"cannot finish the {busy}: both sides changed {what}",
        hint=f"{', then '.join(steps)}; or give up with `{shell_line('git', busy, '--abort')}`",
    )


def sync_commands(repository: Repository) -> list[list[str]]:
    """Returns the commands of `git` and `kist` that do the same; fetches nothing, changes nothing.

    Raises: NoGitError, InProgressError, NoUpstreamError.
    """
    git = need_git(repository, _FAILED)
    porcelain = Porcelain(git, repository.environ, inside="sync")
    before, upstream = _followed(porcelain)
    commands = [["git", "fetch"]] if upstream.remote != "." else []
    commands.append(["git", *_words(porcelain, before.branch or "", upstream)])
    commands.append(["kist", "pull" if repository.settings.remotes else "checkout"])
    return commands

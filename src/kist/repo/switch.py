"""`switch`: moves Git and data to another branch, tag or commit together.

Not here: what would be lost and what must be fetched (moving). Implements docs/spec/save-switch-sync.md, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, KistError
from kist.git.porcelain import Place, Porcelain, refused
from kist.git.repository import GitRepository, PathStatus
from kist.repo.beside_git import need_git, offset_of, told
from kist.repo.checkout import CheckoutOptions
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
    plan_move,
    prepare,
    refuse_losses,
    there,
)
from kist.repo.pull import PullResult, pull_locked
from kist.repo.recover import recover
from kist.repo.transfers import TransferResult

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class BranchTakenError(InputError):
    """A branch of this name exists. The user switches to it, or takes another name."""

    code = "branch-taken"


class InProgressError(InputError):
    """A merge, rebase, cherry-pick or revert waits to be finished first."""

    code = "git-in-progress"


class AmbiguousBranchError(InputError):
    """Several Git remotes have a branch of this name, and none here."""

    code = "branch-ambiguous"


class SwitchOptions(NamedTuple):
    """What `switch` was asked for; `words` is the command as typed.

    Attributes:
        create: make the branch at `start` (None: where HEAD is).
        force: drop what is saved nowhere.
    """

    create: bool = False
    start: str | None = None
    force: bool = False
    words: str = "kist switch"


class SwitchResult(NamedTuple):
    """What `switch` did.

    Attributes:
        before, place: where HEAD was and is.
        fetched: what was fetched before Git moved.
        data: what happened to the workspace's data; None where a branch was made here and nothing moved.
        left_alone: outputs that were edited, and that both sides record alike.
        said: what git and hooks wrote.
        notes: lines to tell the person.
    """

    before: Place
    place: Place
    fetched: TransferResult
    data: PullResult | None
    left_alone: list[str]
    said: list[str]
    notes: list[str]


class _Target(NamedTuple):
    """Where HEAD is to be, and git's words for it; none where it is there already."""

    place: Place
    words: list[str]
    made_branch: str | None


class _Plan(NamedTuple):
    """A switch that nothing speaks against yet."""

    target: _Target
    before: Place
    now: Side
    wanted: Side

    @property
    def moves_data(self) -> bool:
        """Says whether data is to be what the metafiles say: not where a branch is only made where HEAD is."""
        return self.target.made_branch is None or self.target.place.head != self.before.head


def switch(repository: Repository, name: str, options: SwitchOptions) -> SwitchResult:
    """Switches to a branch, tag or commit, or makes a branch called `name`.

    Raises: KistError, OSError: HEAD is as before, but for what fails after Git moved (no space, a signal).

    Holds: a kill leaves HEAD as before, or there with data on the way; the next command of the group does the rest.
    """
    git = need_git(repository, "switch")
    porcelain = Porcelain(git, repository.environ, inside="switch")
    with repository.lock():
        settled = recover(repository, git, porcelain)
        if settled.unfinished is not None:
            repository.notes.append(f"not finished: {settled.unfinished.message}")
        repository.sweep_now()
        changes = porcelain.changes()
        plan = _plan(
            repository, git, porcelain, name, options, changes, is_done=settled.finished == options.words
        )
        ways = _ways(plan.target, options, name)
        code = code_at_risk(git, changes, plan.before.head, plan.target.place.head)
        move, fetched = Move([], [], []), TransferResult(0, [], [], 0)
        if plan.moves_data:
            keeps_edits = settled.unfinished is None
            move, fetched = prepare(
                repository,
                git,
                plan.now,
                plan.wanted,
                code,
                ways,
                keeps_edits=keeps_edits,
                force=options.force,
            )
        absent = absent_imports(repository, move.items)
        if plan.target.words:
            _move_git(repository, porcelain, plan, [*move.left_alone, *absent], options, ways)
        data = None
        if plan.moves_data:
            repository.forget_version()
            data = pull_locked(
                repository,
                [],
                options=CheckoutOptions(force=options.force),
                left_alone=[*move.left_alone, *absent],
            )
            repository.notes += data.notes
        if data is None or data.checkout.error(repository) is None:
            remove_journal(repository)
        notes = repository.take_notes()
        return SwitchResult(
            plan.before, porcelain.place(), fetched, data, move.left_alone, told(porcelain), notes
        )


def _plan(
    repository: Repository,
    git: GitRepository,
    porcelain: Porcelain,
    name: str,
    options: SwitchOptions,
    changes: Sequence[PathStatus],
    *,
    is_done: bool = False,
) -> _Plan:
    """Finds out where to go, and refuses what Git would refuse.

    Args: is_done: the very same command was interrupted, and has just been finished.
    """
    busy = porcelain.in_progress()
    if busy is not None:
        raise InProgressError(
            f"cannot switch: a {busy} is in progress",
            hint=f"run `{shell_line('git', busy, '--continue')}` or `{shell_line('git', busy, '--abort')}`; "
            "where data clashes, `kist resolve` first",
        )
    before = porcelain.place()
    target = _Target(before, [], None) if is_done else _find(git, porcelain, name, options, before)
    carried = carried_metafiles(changes, offset_of(repository, git)) if not options.force else set()
    now = here(repository)
    wanted = now
    if target.place.head is not None and (target.place.head != before.head or options.force):
        wanted = there(repository, target.place.head, carried)
    return _Plan(target, before, now, wanted)


def _find(
    git: GitRepository, porcelain: Porcelain, name: str, options: SwitchOptions, before: Place
) -> _Target:
    force = ["--discard-changes"] if options.force else []
    if options.create:
        porcelain.check_name(name, "heads")
        if porcelain.has_commit(f"refs/heads/{name}") is not None:
            raise BranchTakenError(
                f"cannot make branch '{name}': there is one already", hint=shell_line("kist", "switch", name)
            )
        start = git.resolve(options.start) if options.start is not None else before.head
        words = ["switch", *force, "-c", name, *([options.start] if options.start is not None else [])]
        return _Target(Place(name, start), words, name if start is not None else None)
    if name == "-":
        name = porcelain.previous() or name
    branch = porcelain.has_commit(f"refs/heads/{name}")
    if branch is not None:
        is_here = before == Place(name, branch) and not options.force
        return _Target(Place(name, branch), [] if is_here else ["switch", *force, name], None)
    elsewhere = porcelain.remote_branches(name)
    if len(elsewhere) == 1 and porcelain.has_commit(f"refs/tags/{name}") is None:
        sha = git.resolve(elsewhere[0])
        short_name = elsewhere[0].removeprefix("refs/remotes/")
        return _Target(Place(name, sha), ["switch", *force, "-c", name, "--track", short_name], name)
    if elsewhere and porcelain.has_commit(f"refs/tags/{name}") is None:
        remotes = ", ".join(ref.removeprefix("refs/remotes/") for ref in elsewhere)
        raise AmbiguousBranchError(
            f"cannot switch to '{name}': several Git remotes have it: {remotes}",
            hint=shell_line("kist", "switch", "-c", name, elsewhere[0].removeprefix("refs/remotes/")),
        )
    sha = git.resolve(name)
    is_here = before == Place(None, sha) and not options.force
    return _Target(Place(None, sha), [] if is_here else ["switch", *force, "--detach", name], None)


def _ways(target: _Target, options: SwitchOptions, name: str) -> Ways:
    without = " ".join(["git", *target.words]) if target.words else "git status"
    return Ways(
        f"switch to '{name}'", f"{options.words} --force", f"{without} && kist checkout --allow-missing"
    )


def _move_git(
    repository: Repository,
    porcelain: Porcelain,
    plan: _Plan,
    left_alone: Sequence[str],
    options: SwitchOptions,
    ways: Ways,
) -> None:
    """Writes the journal and lets Git go there.

    Raises: GitRefusedError: Git refused; all is as before.
    """
    target, before = plan.target, plan.before
    before_git_moves(repository, plan.now)
    journal = Journal(
        "switch",
        options.words,
        branch=before.branch,
        head=before.head,
        to_branch=target.place.branch,
        to_head=target.place.head,
        other=target.place.head,
        made_branch=target.made_branch,
        left_alone=tuple(left_alone),
    )
    write_journal(repository, journal)
    said = porcelain.run([target.words[0], "--quiet", *target.words[1:]])
    # A hook that fails after the switch does not undo it.
    if said.status != 0 and porcelain.place() != target.place:
        remove_journal(repository)
        repository.notes += told(porcelain)
        raise refused(ways.failed, said)


def switch_commands(repository: Repository, name: str, options: SwitchOptions) -> list[list[str]]:
    """Returns the commands of `git` and `kist` that do the same; changes nothing, fetches nothing.

    Raises: what `switch` raises before its first change, as far as it can be known without fetching.
    """
    git = need_git(repository, "switch")
    porcelain = Porcelain(git, repository.environ, inside="switch")
    changes = porcelain.changes()
    plan = _plan(repository, git, porcelain, name, options, changes)
    commands = [["git", *plan.target.words]] if plan.target.words else []
    if not plan.moves_data:
        return commands
    move = plan_move(repository, plan.now, plan.wanted, keeps_edits=not options.force)
    if not options.force:
        code = code_at_risk(git, changes, plan.before.head, plan.target.place.head)
        refuse_losses(repository, git, _ways(plan.target, options, name), code=code, data=move.lost)
    verb = "pull" if repository.settings.remotes else "checkout"
    # What was edited stays as it is: then the others are named.
    targets = [repository.shown(item.out.path) for item in move.items] if move.left_alone else []
    if targets or not move.left_alone:
        commands.append(["kist", verb, *(["--force"] if options.force else []), *targets])
    return commands


def error_of(result: SwitchResult, repository: Repository) -> KistError | None:
    """Returns what is to be reported after Git has moved and some data could not."""
    return None if result.data is None else result.data.checkout.error(repository)

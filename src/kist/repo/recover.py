"""Settles what an interrupted save, switch, sync, restore or expire left: finishes it, or puts back what was before.

Not here: the note that tells of it (journal), what git itself left (git.leftovers).
Implements docs/spec/save-switch-sync.md, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.locks import WAIT_S
from kist.base.shell import shell_line
from kist.errors import InputError, KistError, LockedError
from kist.formats.records import MD5, Digest
from kist.git.leftovers import edits, remove_dead_locks, undo, wait_for_orphans
from kist.git.porcelain import Place, Porcelain, short
from kist.git.repository import GitRepository
from kist.repo import halfway
from kist.repo.beside_git import listed
from kist.repo.checkout import CheckoutOptions, checkout_items
from kist.repo.collect import WorkspaceSource, collect
from kist.repo.journal import Journal, read_journal, remove_journal
from kist.repo.pull import pull_locked
from kist.repo.targets import all_outputs, select
from kist.repo.withdraw import finish

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class UnfinishedError(InputError):
    """An interrupted command cannot be finished, and going on would record what it left. The hint finishes it."""

    code = "unfinished-command"


class GitBusyError(LockedError):
    """A git command of an interrupted command still runs. A retry helps once it has ended."""

    code = "git-busy"


class Settled(NamedTuple):
    """What became of an interrupted command.

    Attributes:
        unfinished: why it could not be finished; its journal is there then.
        finished: as it was typed, if it is done now.
    """

    unfinished: KistError | None = None
    finished: str | None = None


def recover(repository: Repository, git: GitRepository, porcelain: Porcelain) -> Settled:
    """Settles an interrupted command; the caller holds the lock. What was done is in the repository's notes.

    Raises: GitBusyError.
    """
    journal = read_journal(repository)
    if journal is None:
        return _finish_checkouts(repository)
    if journal.host == atomic.machine_name():
        if not wait_for_orphans(git, wait_s=WAIT_S):
            raise GitBusyError(
                f"cannot settle the interrupted `{journal.words}`: its git still runs",
                hint="wait until it has ended, then run the same command again",
            )
        remove_dead_locks(git, since_s=journal.started_s)
    settled = Settled()
    if journal.command == "save":
        _settle_save(repository, porcelain, journal)
    elif journal.command == "restore":
        settled = _settle_restore(repository, journal)
    elif journal.command == "expire":
        _settle_expire(repository, journal)
    else:
        settled = _settle_move(repository, git, porcelain, journal)
    if settled.unfinished is not None:
        return settled
    remove_journal(repository)
    return settled._replace(unfinished=_finish_checkouts(repository).unfinished)


def _finish_checkouts(repository: Repository) -> Settled:
    """Finishes checkouts that were killed: what they had not made yet is not what somebody deleted."""
    paths = halfway.unfinished(repository)
    if not paths:
        return Settled()
    stages = collect(WorkspaceSource(repository), on_damage=lambda path, error: None)
    known = {item.out.path for item in all_outputs(stages)}
    tracked = [path for path in paths if any(path == one or path.startswith(one + "/") for one in known)]
    halfway.finished(repository, [path for path in paths if path not in tracked])
    items = select(repository, [repository.abspath(path) for path in tracked]) if tracked else []
    error = checkout_items(repository, items, CheckoutOptions()).error(repository, allow_missing=True)
    if error is None and tracked:
        repository.notes.append(f"finished an interrupted checkout: {listed(tracked)}")
    return Settled(error)


def refuse_unfinished(settled: Settled, *, failed: str) -> None:
    """Raises UnfinishedError where an interrupted command could not be finished."""
    cause = settled.unfinished
    if cause is not None:
        raise UnfinishedError(
            f"cannot {failed}: an interrupted command is not finished: {cause.message}", hint=cause.hint
        ) from cause


def _say(repository: Repository, journal: Journal, what: str) -> None:
    repository.notes.append(f"interrupted before: `{journal.words}`: {what}")


def _settle_save(repository: Repository, porcelain: Porcelain, journal: Journal) -> None:
    place = porcelain.place()
    if place.head == journal.head:
        _say(repository, journal, "it had not committed; its changes are here, and count as not saved")
        return
    assert place.head is not None
    message, parents = porcelain.message_of(place.head)
    is_its_commit = (
        parents[:1] == ([journal.head] if journal.head else []) and (journal.message or "") in message
    )
    if not is_its_commit:
        _say(repository, journal, "the history went on without it")
        return
    done = f"its commit {short(place.head)} is there"
    if journal.tag is not None and porcelain.has_commit(f"refs/tags/{journal.tag}") is None:
        said = porcelain.run(["tag", "-a", "-m", journal.message or "", journal.tag, place.head])
        done += f"; tag '{journal.tag}' was made" if said.status == 0 else f"; tag '{journal.tag}' is missing"
    if "--push" in journal.words.split():
        done += "; what it was to push is pushed by `kist save --push`"
    _say(repository, journal, done)


def _settle_restore(repository: Repository, journal: Journal) -> Settled:
    assert journal.path is not None and journal.metafile is not None
    try:
        items = select(repository, [repository.abspath(journal.path)])
    except KistError:
        items = []  # its metafile was not written, or is gone
    chosen = [
        item
        for item in items
        if (digest := item.out.output.digest) is not None and digest.value == journal.digest
    ]
    if not chosen:
        _say(repository, journal, "it had changed nothing")
        return Settled()
    error = checkout_items(repository, chosen, CheckoutOptions()).error(repository)
    if error is None:
        _say(repository, journal, f"finished, '{repository.shown(journal.path)}' is back")
    return Settled(error, None if error is not None else journal.words)


def _settle_expire(repository: Repository, journal: Journal) -> None:
    assert journal.path is not None and journal.metafile is not None and journal.before is not None
    stages = collect(WorkspaceSource(repository), on_damage=lambda path, error: None)
    now = next(
        (item.out.output.digest for item in all_outputs(stages) if item.out.path == journal.path), None
    )
    if (now.value if now is not None else None) != journal.digest:
        _say(repository, journal, "what it had not finished counts as not begun")
        return
    shown = repository.shown(journal.path)
    if finish(repository, journal.path, Digest(MD5, journal.before), now):
        _say(repository, journal, f"finished for '{shown}'")
    else:
        _say(repository, journal, f"some files that expired may still lie in '{shown}': kist checkout")


def _settle_move(
    repository: Repository, git: GitRepository, porcelain: Porcelain, journal: Journal
) -> Settled:
    if journal.command == "sync" and porcelain.in_progress() in ("merge", "rebase"):
        error = _abort(repository, git, porcelain, journal)
        if error is not None:
            return Settled(error)
    place = porcelain.place()
    wanted = Place(journal.to_branch, journal.to_head)
    went_on = journal.to_head is None and place.branch == journal.to_branch and place.head != journal.head
    if place == wanted or went_on:
        return _finish_data(repository, journal)
    if place != Place(journal.branch, journal.head):
        _say(repository, journal, "the history went on without it")
        return Settled()
    kept: list[str] = []
    if journal.head is not None and journal.other is not None:
        _, kept = undo(git, repository.environ, before=journal.head, other=journal.other)
    if journal.made_branch is not None and journal.to_head is not None:
        ref = f"refs/heads/{journal.made_branch}"
        if porcelain.has_commit(ref) == journal.to_head:
            porcelain.run(["update-ref", "-d", ref, journal.to_head])
    rest = f"; left as they are, because somebody worked on them: {listed(kept)}" if kept else ""
    _say(repository, journal, f"put back to what was before{rest}")
    return Settled()


def _abort(
    repository: Repository, git: GitRepository, porcelain: Porcelain, journal: Journal
) -> KistError | None:
    """Aborts the merge or rebase that the killed command had begun, unless somebody has worked on since."""
    assert journal.head is not None and journal.other is not None
    word = porcelain.in_progress() or ""
    touched = edits(git, repository.environ, before=journal.head, other=journal.other)
    if touched:
        return UnfinishedError(
            f"a {word} is in progress, and somebody worked on {listed(touched)}",
            hint=f"run `{shell_line('git', word, '--continue')}` or `{shell_line('git', word, '--abort')}`, "
            "then `kist checkout`",
        )
    # Files that it was just writing would be in the way.
    here = porcelain.place().head
    for side in (journal.other, journal.head):
        if here is not None and here != side:
            undo(git, repository.environ, before=here, other=side)
    if porcelain.run([word, "--abort"]).status == 0:
        return None
    # What git had written of its own state is not enough for it; ours is.
    if word == "rebase":
        porcelain.run(["rebase", "--quit"])
        if journal.branch is not None:
            porcelain.run(["symbolic-ref", "HEAD", f"refs/heads/{journal.branch}"])
    said = porcelain.run(["reset", "--quiet", "--merge", journal.head])
    if said.status != 0 or porcelain.in_progress() is not None:
        return UnfinishedError(
            f"a {word} is in progress that cannot be aborted", hint=shell_line("git", word, "--abort")
        )
    return None


def _finish_data(repository: Repository, journal: Journal) -> Settled:
    repository.forget_version()
    try:
        done = pull_locked(repository, [], left_alone=journal.left_alone)
    except KistError as error:
        return Settled(error)
    problem = done.checkout.error(repository)
    if problem is not None:
        return Settled(problem)
    _say(repository, journal, "finished, the data is as Git says")
    return Settled(finished=journal.words)

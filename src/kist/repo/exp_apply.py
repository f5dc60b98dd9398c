"""`exp apply`: makes the workspace what an experiment is; HEAD and the person's index stay.

Not here: Git's files one by one (git.plumbing), data (checkout). Implements docs/spec/experiments.md, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import UnsavedError
from kist.experiments.refs import APPLY_HEAD, APPLY_STASH, Experiment
from kist.git.plumbing import FileChange, RefChange
from kist.repo.checkout import CheckoutOptions, CheckoutResult, checkout_items
from kist.repo.exp_refs import Place, experiments_of, find_experiment, need_head, place_of
from kist.repo.moving import Ways, here, plan_move, refuse_losses, there

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_SUBMODULE = "160000"


class InTheWayError(UnsavedError):
    """A repository of its own is where the experiment has a file; Git cannot keep it. The person moves it."""

    code = "repository-in-the-way"


class Applied(NamedTuple):
    """What was applied.

    Attributes:
        kept: the commit that holds what the workspace was before; None where it was as HEAD is.
        data: what happened to outputs; what the cache lacks is in it.
    """

    experiment: Experiment
    kept: str | None
    data: CheckoutResult


def apply_experiment(repository: Repository, name: str, *, force: bool = False) -> Applied:
    """Applies an experiment.

    Args: force: data that is stored nowhere may go.

    Raises: ExperimentMissingError, WouldLoseError, GitFailedError, OSError.

    Holds: docs/spec/experiments.md, section 3.
    """
    place = place_of(repository, "apply an experiment")
    found = find_experiment(place, experiments_of(place), name)
    head = need_head(place.git, "apply an experiment")
    with repository.lock():
        repository.sweep_now()
        wanted = there(repository, found.sha)
        if not force:
            move = plan_move(repository, here(repository), wanted, keeps_edits=False)
            ways = Ways(
                f"apply experiment '{found.name}'",
                shell_line("kist", "exp", "apply", "--force", name),
                shell_line("git", "checkout", found.sha, "--", "."),
            )
            refuse_losses(repository, place.git, ways, code=[], data=move.lost)
        with place.plumbing.index() as index:
            index.take_changes()
            present = index.write()
            hidden = set(index.add_hidden())  # after that: where the experiment has nothing new, they stay
        changes = place.plumbing.differing(present, found.sha)
        changes, in_way = _without_same(place, changes, _standing(place, changes, found.name))
        is_dirty = present != place.plumbing.tree_of(head) or any(one.path in hidden for one in changes)
        kept = _keep(place, head, found.name, in_way) if is_dirty or in_way else None
        data = checkout_items(repository, wanted.items, CheckoutOptions(force=True))
        _put(place, found.sha, changes)
        repository.forget_version()
        return Applied(found, kept, data)


def _standing(place: Place, changes: Sequence[FileChange], name: str) -> list[str]:
    """Returns what no index knows and new files would be written over.

    Raises: InTheWayError: a folder that would go holds a repository, of which Git would keep a commit's id alone.
    """
    top = place.git.top
    found: dict[str, None] = {}
    for change in changes:
        if change.before is None:
            at = _standing_at(top, change.path)
        else:
            at = change.path if change.before.mode == _SUBMODULE else None
        if at is None or change.after is None:
            continue
        inner = _repository_below(os.path.join(top, at)) if change.after.mode != _SUBMODULE else None
        if inner is not None:
            raise InTheWayError(
                f"cannot apply experiment '{name}': '{os.path.relpath(inner, top)}' is in its way, "
                "a repository of its own",
                hint=shell_line("mv", inner, inner + ".old"),
            )
        if change.before is None:
            found[at] = None
    return list(found)


def _standing_at(top: str, path: str) -> str | None:
    """Returns what a file would be written over: its own path, or what is no folder on the way to it."""
    at = path.find("/")
    while at >= 0:
        above = os.path.join(top, path[:at])
        if os.path.islink(above) or os.path.isfile(above):
            return path[:at]
        at = path.find("/", at + 1)
    return path if os.path.lexists(os.path.join(top, path)) else None


def _repository_below(path: str) -> str | None:
    if os.path.islink(path):
        return None
    for folder, folders, files in os.walk(path):
        if ".git" in folders or ".git" in files:
            return folder
    return None


def _without_same(
    place: Place, changes: Sequence[FileChange], untracked: Sequence[str]
) -> tuple[list[FileChange], list[str]]:
    """Returns what must be written, and which untracked files stand in its way; what is there already is left out."""
    if not untracked:
        return list(changes), []
    with place.plumbing.index() as index:
        index.add(untracked, ignored=True)
        tree = index.write()
    wanted = {change.path: change.after for change in changes}
    same = {path for path, item in place.plumbing.items(tree, untracked).items() if item == wanted.get(path)}
    rest = [change for change in changes if change.path not in same]
    return rest, [path for path in untracked if path not in same]


def _keep(place: Place, head: str, name: str, in_way: Sequence[str]) -> str:
    """Keeps what the workspace is now where it can be found again; returns the commit."""
    plumbing = place.plumbing
    with plumbing.index() as index:
        staged = index.write()
        index.take_changes()
        index.add_hidden()
        index.add(in_way, ignored=True)
        present = index.write()
    below = plumbing.commit(staged, [head], f"index before `kist exp apply {name}`")
    kept = plumbing.commit(present, [head, below], f"before `kist exp apply {name}`")
    changes = [RefChange(APPLY_HEAD, head), RefChange(APPLY_STASH, kept)]
    plumbing.change_refs(changes, reason=f"before `kist exp apply {name}`")
    return kept


def _put(place: Place, sha: str, changes: Sequence[FileChange]) -> None:
    """Makes Git's files what a commit has."""
    top = place.git.top
    folders: set[str] = set()
    for change in changes:
        if change.after is None:
            atomic.remove_quietly(os.path.join(top, change.path))
            folders.add(os.path.dirname(change.path))
    for folder in sorted(folders, key=len, reverse=True):
        _remove_empty(top, folder)
    written = [change.path for change in changes if change.after is not None]
    if written:
        with place.plumbing.index(sha) as index:
            index.put(written)


def _remove_empty(top: str, folder: str) -> None:
    """Removes a folder in which nothing is left, and those above it."""
    while folder:
        try:
            os.rmdir(os.path.join(top, folder))
        except OSError:  # something is left, or it went already
            return
        folder = os.path.dirname(folder)

"""`checkout`: makes the workspace's data what the metafiles say.

Not here: links and files (workspace.checkout), fetching (transfers).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import FormatError, KistError, MissingError, UnsavedError
from kist.formats.manifest import Tree, TreeFolder, compare_manifests
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo import halfway, placed
from kist.repo.absent import absence, absent_parts
from kist.repo.checkout_apply import Applied, FileTask, apply_directory, apply_files
from kist.repo.collect import Out
from kist.repo.data import Look, algorithm_of, current_tree, digest_of, look_at, readable_tree
from kist.repo.journal import settle_journal
from kist.repo.targets import Selected, select
from kist.store import links
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.transfer.plan import part
from kist.workspace.checkout import (
    Plan,
    apply_plan,
    plan_checkout,
    plan_differences,
    unsaved_paths,
    with_empty_folders,
)
from kist.workspace.scan import remember

if TYPE_CHECKING:
    from kist.repo.repository import Repository


_NAMED = 5
"""How many paths a message names."""


class CheckoutIncompleteError(MissingError):
    """Some data could not be checked out: it is missing from the cache or damaged there. `kist fetch` helps."""

    code = "checkout-incomplete"


class UnsavedFilesError(UnsavedError):
    """Going on would remove content that no cache has. Save it with `kist commit`, or say `--force`."""

    code = "unsaved-files"


class CheckoutOptions(NamedTuple):
    """What `checkout` was asked for besides its targets."""

    force: bool = False
    relink: bool = False
    allow_missing: bool = False
    with_deps: bool = False
    recursive: bool = False


class OutChange(NamedTuple):
    """What happened to one output: kind is "added", "modified" or "deleted"; directories' paths end in "/"."""

    kind: str
    path: str


class CheckoutResult(NamedTuple):
    """What `checkout` did.

    Attributes:
        changes: outputs that changed.
        added, modified: numbers of files.
        removed: number of files, of folders inside of outputs, and of outputs that no metafile names any more.
        missing: (path, object id) of files, or whole outputs, that the cache does not have.
        damaged: the same for objects that were found damaged; they were moved aside.
        refused: set where content would have been lost; then nothing was done.
        absent: (path, tracked directory) of targets that neither their directory nor the workspace has.
    """

    changes: list[OutChange]
    added: int
    modified: int
    removed: int
    missing: list[tuple[str, str]]
    damaged: list[tuple[str, str]]
    refused: UnsavedFilesError | None = None
    absent: Sequence[tuple[str, str]] = ()

    def error(self, repository: Repository, *, allow_missing: bool = False) -> KistError | None:
        """Returns what is to be reported when not everything could be done, or None."""
        if self.refused is not None:
            return self.refused
        gone = self.damaged if allow_missing else [*self.missing, *self.damaged]
        if not gone:
            return absence(repository, self.absent, "check out") if self.absent else None
        listed = _listed([repository.shown(path) for path, _ in gone])
        why = "missing from the cache" if gone != self.damaged else "damaged in the cache"
        if self.damaged and gone != self.damaged:
            why += ", or damaged there"
        return CheckoutIncompleteError(f"cannot check out {listed}: {why}", hint="kist pull")


def _listed(paths: Sequence[str]) -> str:
    different = list(dict.fromkeys(paths))
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return ", ".join(f"'{path}'" for path in different[:_NAMED]) + more


class _Tally:
    """Collects what happens, output by output."""

    def __init__(self) -> None:
        self.changes: list[OutChange] = []
        self.added = 0
        self.modified = 0
        self.removed = 0
        self.missing: list[tuple[str, str]] = []
        self.damaged: list[tuple[str, str]] = []

    def result(self, refused: UnsavedFilesError | None = None) -> CheckoutResult:
        return CheckoutResult(
            self.changes, self.added, self.modified, self.removed, self.missing, self.damaged, refused
        )


class _Wish(NamedTuple):
    """One output that is to be checked out; `inners` are the paths inside of it that are meant, none means all."""

    item: Selected
    inners: tuple[str, ...]

    @property
    def path(self) -> str:
        return self.item.out.path

    @property
    def digest(self) -> Digest:
        digest = self.item.out.output.digest
        assert digest is not None
        return digest

    def means(self, inner: str) -> bool:
        """Says whether a path inside of the output is meant."""
        return not self.inners or any(inner == one or inner.startswith(one + "/") for one in self.inners)


class _Task(NamedTuple):
    """What is to happen to one output.

    Attributes:
        current: the content that is there.
        removal: takes away what is in the way: a file where a directory is wanted, or the other way round.
        plan: None where the manifest that is wanted cannot be read.
    """

    wish: _Wish
    look: Look
    current: Digest | None
    removal: Plan | None
    plan: Plan | None


def checkout(repository: Repository, targets: Sequence[str], options: CheckoutOptions) -> CheckoutResult:
    """Checks out targets, or everything; what cannot be done is in the result, and all the rest is done.

    Raises:
        KistError, OSError: nothing at all could be done, or the system refused.

    Holds: content that is stored nowhere is never removed without `force`; a kill leaves each file old or new.
    """
    with repository.lock():
        repository.sweep_now()
        items = select(repository, targets, with_deps=options.with_deps, recursive=options.recursive)
        parts = [item for item in items if item.inner and not os.path.lexists(repository.abspath(item.path))]
        result = checkout_items(repository, items, options, is_everything=not targets)
        result = result._replace(absent=absent_parts(repository, parts))
        if not targets and result.error(repository, allow_missing=options.allow_missing) is None:
            settle_journal(repository)
        return result


def checkout_items(
    repository: Repository,
    items: Sequence[Selected],
    options: CheckoutOptions,
    *,
    is_everything: bool = False,
    left_alone: Collection[str] = (),
) -> CheckoutResult:
    """Checks out chosen outputs; the caller holds the lock. What must be refused is refused before the first write.

    Args:
        is_everything: the items are all outputs there are, so that data of no output can go.
        left_alone: paths of outputs whose data stays as it is.
    """
    wishes = _wishes(item for item in items if can_check_out(item.out) and item.out.path not in left_alone)
    asked = [(wish.path, algorithm_of(wish.digest)) for wish in wishes]
    tasks = [
        _plan(repository, wish, look, options)
        for wish, look in zip(wishes, look_at(repository, asked), strict=True)
    ]
    tally = _Tally()
    tally.missing += [(item.out.path, "") for item in items if _was_never_recorded(item)]
    refused = None if options.force else _refusal(repository, tasks)
    if refused is not None:
        return tally.result(refused)
    if is_everything:
        _remove_leftovers(repository, {item.out.path for item in items}, tally)
    changing = [path for task in tasks if _changes(task) for path in _paths_of(task)]
    with halfway.under_way(repository, changing):
        _carry_out(repository, tasks, options, tally)
    halfway.finished(repository, [path for task in tasks for path in _paths_of(task)])
    return tally.result()


def refusal(repository: Repository, items: Sequence[Selected]) -> UnsavedFilesError | None:
    """Returns the error that names all files that were edited since these outputs were recorded, or None."""
    wishes = _wishes(item for item in items if can_check_out(item.out))
    asked = [(wish.path, algorithm_of(wish.digest)) for wish in wishes]
    tasks = [
        _plan(repository, wish, look, CheckoutOptions())
        for wish, look in zip(wishes, look_at(repository, asked), strict=True)
    ]
    return _refusal(repository, tasks)


def _changes(task: _Task) -> bool:
    return task.removal is not None or (task.plan is not None and not task.plan.is_empty)


def _paths_of(task: _Task) -> list[str]:
    """Returns the paths that are meant of one output."""
    path = task.wish.path
    return [f"{path}/{inner}" for inner in task.wish.inners] or [path]


def _wishes(items: Iterable[Selected]) -> list[_Wish]:
    """Returns one wish a path. Of several metafiles that name one path the last counts, as in DVC."""
    found: dict[str, _Wish] = {}
    for item in items:
        before = found.get(item.out.path)
        inners: tuple[str, ...] = (item.inner,) if item.inner else ()
        if before is not None and before.item.stage.address == item.stage.address:
            inners = (*before.inners, *inners) if before.inners and inners else ()
        found[item.out.path] = _Wish(item, inners)
    return list(found.values())


def _was_never_recorded(item: Selected) -> bool:
    output = item.out.output
    is_plain = item.stage.metafile is not None and not item.out.is_import and item.out.is_inside
    return is_plain and output.digest is None and output.use_cache and not output.files


def can_check_out(out: Out) -> bool:
    """Says whether an output's content is recorded and kept in the cache."""
    output = out.output
    digest = output.digest
    return out.is_inside and output.use_cache and digest is not None and digest.algorithm in (MD5, LEGACY_MD5)


def _plan(repository: Repository, wish: _Wish, look: Look, options: CheckoutOptions) -> _Task:
    """Returns what is to happen to one output; changes nothing."""
    digest, snapshot = wish.digest, look.snapshot
    current = digest_of(repository, look, algorithm=digest.algorithm) if snapshot is not None else None
    place = wish.path if digest.is_dir else os.path.dirname(wish.path)
    if snapshot is not None and look.is_dir != digest.is_dir:
        tree = _wanted(repository, wish, Look(wish.path, None, False))
        plan = plan_checkout(repository.root, place, None, tree) if tree is not None else None
        return _Task(wish, look, current, _plan_removal(repository, look), plan)
    plan = Plan(repository.root, place, [], [])
    relink = options.relink or _lacks_x_bit(wish, look)
    if current != digest or relink or (snapshot is not None and snapshot.specials):
        store = repository.store_for(digest.algorithm)
        item = wish.item._replace(inner=wish.inners[0] if wish.inners else "")
        quick = quick_plan(repository, item, look, current, store, options) if not relink else None
        if quick is None:
            tree = _wanted(repository, wish, look)
            if tree is None:
                return _Task(wish, look, current, None, None)
            quick = plan_checkout(repository.root, place, snapshot, tree, relink=relink)
        plan = quick
    if snapshot is not None and look.is_dir:
        for inner in wish.inners or ("",):
            plan = with_empty_folders(plan, snapshot, inner)
    return _Task(wish, look, current, None, plan)


def _wanted(repository: Repository, wish: _Wish, look: Look) -> Tree | None:
    """Returns the tree that is wanted: what is there, with the paths that are meant put in."""
    store = repository.store_for(wish.digest.algorithm)
    tree = readable_tree(store, wish.digest, os.path.basename(wish.path))
    if tree is None or not wish.inners:
        return tree
    wanted = current_tree(look)
    for inner in wish.inners:
        wanted = _with_part(wanted, part(tree, inner), inner)
    return wanted


def _plan_removal(repository: Repository, look: Look) -> Plan:
    """Returns the plan by which everything that is there goes."""
    assert look.snapshot is not None
    top = look.path if look.is_dir else os.path.dirname(look.path)
    plan = plan_checkout(repository.root, top, look.snapshot, Tree({}))
    return with_empty_folders(plan, look.snapshot) if look.is_dir else plan


def _lacks_x_bit(wish: _Wish, look: Look) -> bool:
    output = wish.item.out.output
    return output.isexec and not wish.digest.is_dir and look.snapshot is not None and not look.is_executable


def _x_bits(task: _Task) -> int:
    """Returns how many files have an x bit that is recorded nowhere: they are told, and keep it, as in DVC."""
    look, plan = task.look, task.plan
    if look.snapshot is None or plan is None or task.removal is not None:
        return 0
    if not look.is_dir:
        return int(look.is_executable and not task.wish.item.out.output.isexec and plan.is_empty)
    if not look.snapshot.executables:
        return 0
    made = {folder.path: {*folder.names, *folder.removes} for folder in plan.folders}
    return sum(
        task.wish.means(path) and os.path.basename(path) not in made.get(os.path.dirname(path), ())
        for path in look.snapshot.executables
    )


def _refusal(repository: Repository, tasks: Sequence[_Task]) -> UnsavedFilesError | None:
    """Returns the error that names all files whose content would be lost, or None where none would."""
    lost: list[str] = []
    outputs: list[str] = []
    for task in tasks:
        plan = task.removal or task.plan
        if plan is None or task.plan is None:
            continue
        own = _unsaved(repository, task.look, plan)
        if own:
            lost += [repository.shown(f"{plan.root}/{path}" if plan.root else path) for path in own]
            outputs.append(repository.shown(task.wish.path))
    if not lost:
        return None
    named = outputs if len(outputs) <= _NAMED else []
    keep, drop = shell_line("kist", "commit", *named), shell_line("kist", "checkout", "--force", *named)
    return UnsavedFilesError(
        f"cannot check out {_listed(outputs)}: {_listed(lost)} would be lost, "
        "for the cache does not have that content",
        hint=f"keep it with `{keep}`, or drop it with `{drop}`",
    )


def _unsaved(repository: Repository, look: Look, plan: Plan) -> list[str]:
    if not plan.at_risk or look.snapshot is None:
        return []
    store = _store_of(repository, look)
    digests = {bytes.fromhex(oid) for _, oid in plan.at_risk if oid}
    return unsaved_paths(plan, store, look.snapshot, repository.trust(store).records(digests))


def _store_of(repository: Repository, look: Look) -> LooseStore:
    """Returns the store that holds what is there, if any does."""
    assert look.snapshot is not None
    return repository.store_for(look.snapshot.space.partition(":")[0])


def _carry_out(
    repository: Repository, tasks: Sequence[_Task], options: CheckoutOptions, tally: _Tally
) -> None:
    """Does what was planned: first what is in the way goes, then directories, then all single files together."""
    befores = []
    for task in tasks:
        before = task.look.snapshot
        if before is not None:
            atomic.remove_stale(before.temps, time.time())
        if task.removal is not None and task.plan is not None:
            removed = _take_away(repository, task.look, task.removal)
            tally.removed += removed if task.look.is_dir else 0
            before = None
        befores.append(before)
    files: list[FileTask] = []
    applied: dict[str, Applied] = {}
    for task, before in zip(tasks, befores, strict=True):
        wish, plan = task.wish, task.plan
        if plan is None:
            _note_unreadable(repository, wish, tally)
        elif wish.digest.is_dir:
            store = repository.store_for(wish.digest.algorithm)
            applied[wish.path] = apply_directory(repository, wish.path, plan, before, store)
        elif plan.folders:
            row = before.folders.get("") if before is not None else None
            is_executable = wish.item.out.output.isexec
            files.append(FileTask(wish.path, plan.folders[0], row, wish.digest.algorithm, is_executable))
    applied.update(apply_files(repository, files))
    placed_now = []
    for task in tasks:
        if task.plan is None:
            continue
        _tell(task, task.plan, applied.get(task.wish.path, Applied()), tally)
        if task.current != task.wish.digest:
            placed_now.append(task.wish.path)
        elif options.relink:
            placed.forget(
                repository.index, task.wish.path
            )  # as DVC: what was made anew like this is the person's
    if placed_now:
        placed.note(repository.index, placed_now)


def _tell(task: _Task, plan: Plan, done: Applied, tally: _Tally) -> None:
    """Adds what happened to one output to the tally."""
    wish, is_there = task.wish, task.look.snapshot is not None
    added = done.added
    modified = done.modified + _x_bits(task) + (done.relinked if _lacks_x_bit(wish, task.look) else 0)
    if task.removal is not None and not wish.digest.is_dir:
        added, modified = 0, modified + added
    tally.added += added
    tally.modified += modified
    tally.removed += done.removed
    tally.missing += done.missing
    tally.damaged += done.damaged
    shown = wish.path + "/" if wish.digest.is_dir else wish.path
    if not is_there and (added or (wish.digest.is_dir and not plan.file_count())):
        tally.changes.append(OutChange("added", shown))
    elif is_there and (added or modified or done.removed or task.removal is not None):
        tally.changes.append(OutChange("modified", shown))


def _note_unreadable(repository: Repository, wish: _Wish, tally: _Tally) -> None:
    store, oid = repository.store_for(wish.digest.algorithm), wish.digest.value
    if store.has(oid):
        store.quarantine(oid)
        tally.damaged.append((wish.item.path, oid))
    else:
        tally.missing.append((wish.item.path, oid))


def _with_part(current: Tree, wanted: Tree, inner: str) -> Tree:
    """Returns the present tree with the file or folder `inner` as wanted."""
    folders: dict[str, TreeFolder] = {}
    parent, _, name = inner.rpartition("/")
    for path, row in current.folders.items():
        if path != inner and not path.startswith(inner + "/"):
            folders[path] = _without(row, name) if path == parent else row
    for path, row in wanted.folders.items():
        mine = folders.get(path)
        folders[path] = row if mine is None or not mine.names else _joined(mine, row)
    return Tree({path: row for path, row in folders.items() if row.names})


def _without(row: TreeFolder, name: str) -> TreeFolder:
    names = row.names.split("\0")
    if name not in names:
        return row
    at = names.index(name)
    return TreeFolder(
        "\0".join(names[:at] + names[at + 1 :]), row.digests[: at * 16] + row.digests[at * 16 + 16 :]
    )


def _joined(first: TreeFolder, second: TreeFolder) -> TreeFolder:
    pairs: dict[str, bytes] = {}
    for row in (first, second):
        for at, name in enumerate(row.names.split("\0")):
            pairs[name] = row.digests[at * 16 : at * 16 + 16]
    names = sorted(pairs)
    return TreeFolder("\0".join(names), b"".join([pairs[name] for name in names]))


def _take_away(repository: Repository, look: Look, plan: Plan) -> int:
    """Carries out the plan of a removal; returns the number of files, and of folders inside, that are gone."""
    assert look.snapshot is not None
    store = _store_of(repository, look)
    done = apply_plan(
        plan, look.snapshot, store, link=links.COPY, trusted={}, workers=1, progress=repository.progress
    )
    if look.is_dir:
        try:
            os.rmdir(repository.abspath(look.path))
        except OSError:
            pass  # files that rules exclude stay, and so does their folder
    if done.snapshot is not None:
        remember(done.snapshot, index=repository.index)
    return done.removed


def _remove_leftovers(repository: Repository, paths: set[str], tally: _Tally) -> None:
    """Removes data that an earlier checkout or add put there and that no metafile names any more, if it is stored."""
    for path in placed.recorded(repository.index):
        if path in paths or any(
            path.startswith(other + "/") or other.startswith(path + "/") for other in paths
        ):
            continue
        placed.forget(repository.index, path)  # what stays now, for it is stored nowhere, is the person's own
        look = look_at(repository, [(path, MD5)])[0]
        git = repository.git
        if look.snapshot is None or (git is not None and git.is_tracked([repository.abspath(path)])):
            continue
        plan = _plan_removal(repository, look)
        if not _unsaved(repository, look, plan):
            _take_away(repository, look, plan)
            tally.removed += 1  # as in DVC, whatever it held
            tally.changes.append(OutChange("deleted", path + "/" if look.is_dir else path))


def quick_plan(
    repository: Repository,
    item: Selected,
    look: Look,
    current: Digest | None,
    store: LooseStore,
    options: CheckoutOptions,
) -> Plan | None:
    """Returns the plan between two versions of a directory whose manifests are both at hand, else None.

    Only what differs is taken apart: switching costs what changed.
    """
    wanted = item.out.output.digest
    snapshot = look.snapshot
    if wanted is None or current is None or snapshot is None or not (wanted.is_dir and look.is_dir):
        return None
    if item.inner or options.relink or snapshot.specials or not store.has(current.value):
        return None
    try:
        manifests = [store.read(digest.value) for digest in (current, wanted)]
        only_now, only_wanted = compare_manifests(*manifests, name=item.out.path)
    except (ObjectMissingError, ObjectCorruptError, FormatError):
        return None
    return plan_differences(repository.root, item.out.path, only_now, only_wanted)

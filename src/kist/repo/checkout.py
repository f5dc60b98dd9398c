"""`checkout`: makes the workspace's data what the metafiles say.

Not here: links and files (workspace.checkout), fetching (transfers).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.errors import FormatError, KistError, MissingError, UnsavedError
from kist.formats.manifest import Tree, TreeFolder, compare_manifests
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo import placed
from kist.repo.collect import Out
from kist.repo.data import Look, algorithm_of, current_tree, digest_of, look_at, readable_tree
from kist.repo.journal import settle_journal
from kist.repo.targets import Selected, select
from kist.repo.tracking import link_type
from kist.store import links
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.transfer.plan import part
from kist.workspace.checkout import (
    Plan,
    UnsavedFilesError,
    apply_plan,
    plan_checkout,
    plan_differences,
    refuse_unsaved,
)
from kist.workspace.scan import remember

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CheckoutIncompleteError(MissingError):
    """Some data could not be checked out: it is missing from the cache or damaged there. `kist fetch` helps."""

    code = "checkout-incomplete"


class CheckoutUnsavedError(UnsavedError):
    """Some data was left as it is, for its content is stored nowhere."""

    code = "checkout-unsaved"


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
        made, removed: numbers of files.
        missing: (path, object id) of files, or whole outputs, that the cache does not have.
        damaged: the same for objects that were found damaged; they were moved aside.
        unsaved: one error for each output that was left alone.
    """

    changes: list[OutChange]
    made: int
    removed: int
    missing: list[tuple[str, str]]
    damaged: list[tuple[str, str]]
    unsaved: list[UnsavedFilesError]

    def error(self, repository: Repository, *, allow_missing: bool = False) -> KistError | None:
        """Returns what is to be reported when not everything could be done, or None."""
        if self.unsaved:
            if len(self.unsaved) == 1:
                return self.unsaved[0]
            return CheckoutUnsavedError(
                "; ".join(error.message for error in self.unsaved), hint=self.unsaved[0].hint
            )
        gone = self.damaged if allow_missing else [*self.missing, *self.damaged]
        if not gone:
            return None
        paths = list(dict.fromkeys(repository.shown(path) for path, _ in gone))
        listed = ", ".join(f"'{path}'" for path in paths[:5]) + (
            f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        )
        why = "damaged in the cache" if self.damaged else "missing from the cache"
        return CheckoutIncompleteError(f"cannot check out {listed}: {why}", hint="kist pull")


class _Tally:
    """Collects what happens, output by output."""

    def __init__(self) -> None:
        self.changes: list[OutChange] = []
        self.made = 0
        self.removed = 0
        self.missing: list[tuple[str, str]] = []
        self.damaged: list[tuple[str, str]] = []
        self.unsaved: list[UnsavedFilesError] = []

    def result(self) -> CheckoutResult:
        return CheckoutResult(self.changes, self.made, self.removed, self.missing, self.damaged, self.unsaved)


def checkout(repository: Repository, targets: Sequence[str], options: CheckoutOptions) -> CheckoutResult:
    """Checks out targets, or everything; what cannot be done is in the result, and all the rest is done.

    Raises:
        KistError, OSError: nothing at all could be done, or the system refused.

    Holds: content that is stored nowhere is never removed without `force`; a kill leaves each file old or new.
    """
    with repository.lock():
        repository.sweep_now()
        items = select(repository, targets, with_deps=options.with_deps, recursive=options.recursive)
        result = checkout_items(repository, items, options, is_everything=not targets)
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
    """Checks out chosen outputs; the caller holds the lock.

    Args:
        is_everything: the items are all outputs there are, so that data of no output can go.
        left_alone: paths of outputs whose data stays as it is.
    """
    wanted = [item for item in items if can_check_out(item.out) and item.out.path not in left_alone]
    tally = _Tally()
    if is_everything:
        _remove_leftovers(repository, {item.out.path for item in items}, tally, options)
    for item in items:
        is_plain = item.stage.metafile is not None and not item.out.is_import and item.out.is_inside
        if (
            is_plain
            and item.out.output.digest is None
            and item.out.output.use_cache
            and not item.out.output.files
        ):
            tally.missing.append((item.out.path, ""))  # nothing was ever recorded
    looks = look_at(repository, [(item.out.path, algorithm_of(item.out.output.digest)) for item in wanted])
    by_path: dict[str, Look] = {}
    for item, look in zip(wanted, looks, strict=True):
        look = by_path.get(item.out.path, look)
        after = _check_out_one(repository, item, look, options, tally)
        by_path[item.out.path] = after
    placed.note(repository.index, by_path)
    return tally.result()


def can_check_out(out: Out) -> bool:
    """Says whether an output's content is recorded and kept in the cache."""
    output = out.output
    digest = output.digest
    return out.is_inside and output.use_cache and digest is not None and digest.algorithm in (MD5, LEGACY_MD5)


def _check_out_one(
    repository: Repository, item: Selected, look: Look, options: CheckoutOptions, tally: _Tally
) -> Look:
    output = item.out.output
    digest = output.digest
    assert digest is not None
    if look.snapshot is not None:
        atomic.remove_stale(look.snapshot.temps, time.time())
    store = repository.store_for(digest.algorithm)
    current = digest_of(repository, look, algorithm=digest.algorithm) if look.snapshot is not None else None
    is_same = current == digest and (look.snapshot is None or not look.snapshot.specials)
    if is_same and not options.relink and look.is_executable == (output.isexec and not look.is_dir):
        return look
    if digest.is_dir != look.is_dir and look.snapshot is not None:
        return _replace_kind(repository, item, look, options, tally)
    plan = quick_plan(repository, item, look, current, store, options)
    if plan is None:
        folder, name = os.path.split(item.out.path)
        tree = readable_tree(store, digest, name)
        if tree is None:
            _note_unreadable(store, digest.value, item, tally)
            return look
        if item.inner:
            tree = _with_part(current_tree(look), part(tree, item.inner), item.inner)
        is_other_mode = look.snapshot is not None and not look.is_dir and look.is_executable != output.isexec
        root = item.out.path if digest.is_dir else folder
        plan = plan_checkout(
            repository.root, root, look.snapshot, tree, relink=options.relink or is_other_mode
        )
    changed = _apply(repository, item, look, plan, store, options, tally)
    if changed is None:
        return look
    shown = item.out.path + "/" if digest.is_dir else item.out.path
    if look.snapshot is None:
        if (changed.snapshot is not None and changed.snapshot.folders) or (plan.is_empty and digest.is_dir):
            tally.changes.append(OutChange("added", shown))
    elif current != digest or look.is_executable != (output.isexec and not look.is_dir):
        tally.changes.append(OutChange("modified", shown))
    return changed


def _note_unreadable(store: LooseStore, oid: str, item: Selected, tally: _Tally) -> None:
    if store.has(oid):
        store.quarantine(oid)
        tally.damaged.append((item.path, oid))
    else:
        tally.missing.append((item.path, oid))


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


def _replace_kind(
    repository: Repository, item: Selected, look: Look, options: CheckoutOptions, tally: _Tally
) -> Look:
    """Checks out a directory where a file is, or the other way round: first the old one goes, if it is stored."""
    removed = remove_output(repository, look, item.out.path, options, tally)
    if not removed:
        return look
    after = _check_out_one(repository, item, Look(item.out.path, None, False), options, tally)
    if tally.changes and tally.changes[-1].kind == "added":
        tally.changes[-1] = tally.changes[-1]._replace(kind="modified")
    return after


def remove_output(
    repository: Repository, look: Look, path: str, options: CheckoutOptions, tally: _Tally
) -> bool:
    """Removes what is at `path` if its content is stored, or by force; returns whether it is gone."""
    store = repository.store_for(look.snapshot.space.partition(":")[0] if look.snapshot is not None else MD5)
    item_root = path if look.is_dir else os.path.dirname(path)
    snapshot = look.snapshot
    if snapshot is None:
        return True
    plan = plan_checkout(repository.root, item_root, snapshot, Tree({}))
    try:
        if not options.force:
            at_risk = {bytes.fromhex(oid) for _, oid in plan.at_risk if oid}
            trusted = repository.trust(store).records(at_risk)
            refuse_unsaved(plan, store, snapshot, trusted, shown=repository.shown(path))
    except UnsavedFilesError as error:
        tally.unsaved.append(error)
        return False
    done = apply_plan(
        plan,
        snapshot,
        store,
        link=links.COPY,
        trusted={},
        workers=1,
        progress=repository.progress,
    )
    tally.removed += done.removed
    if look.is_dir:
        try:
            os.rmdir(repository.abspath(path))
        except OSError:
            pass  # files that rules exclude stay, and so does their folder
    if done.snapshot is not None:
        remember(done.snapshot, index=repository.index)
    return not os.path.lexists(repository.abspath(path)) or look.is_dir


def _remove_leftovers(
    repository: Repository, paths: set[str], tally: _Tally, options: CheckoutOptions
) -> None:
    """Removes data that an earlier checkout or add put there and that no metafile names any more, if it is stored."""
    for path in placed.recorded(repository.index):
        if path in paths or any(
            path.startswith(other + "/") or other.startswith(path + "/") for other in paths
        ):
            continue
        look = look_at(repository, [(path, MD5)])[0]
        if look.snapshot is not None:
            quiet = _Tally()
            gentle = options._replace(force=False)
            git = repository.git
            if git is not None and git.is_tracked([repository.abspath(path)]):
                placed.forget(repository.index, path)
                continue
            if not remove_output(repository, look, path, gentle, quiet):
                continue  # somebody's unsaved work: it is theirs now
            tally.removed += quiet.removed
            tally.changes.append(OutChange("deleted", path + "/" if look.is_dir else path))
        placed.forget(repository.index, path)


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


def _apply(
    repository: Repository,
    item: Selected,
    look: Look,
    plan: Plan,
    store: LooseStore,
    options: CheckoutOptions,
    tally: _Tally,
) -> Look | None:
    """Carries out the plan for one output; returns how it looks after, or None when it was left alone."""
    output = item.out.output
    is_dir = output.digest is not None and output.digest.is_dir
    make_executable = output.isexec and not is_dir
    shown = repository.shown(item.path)
    try:
        if not options.force:
            at_risk = {bytes.fromhex(oid) for _, oid in plan.at_risk if oid}
            known = repository.trust(store).records(at_risk)
            refuse_unsaved(plan, store, look.snapshot, known, shown=shown)
    except UnsavedFilesError as error:
        tally.unsaved.append(error)
        return None
    if plan.is_empty and look.snapshot is not None:
        return look
    target = repository.abspath(plan.root)
    if not is_dir:
        atomic.tidy_folder(target)
    if is_dir and plan.is_empty and not os.path.lexists(target):
        os.makedirs(target)
    kind = links.COPY
    if plan.file_count():
        near = target if os.path.isdir(target) else repository.root
        kind = link_type(repository, near)
    trusted = {}
    if kind in links.PROTECTED and not make_executable:
        trusted = repository.trust(store).records(plan.digests())
    done = apply_plan(
        plan,
        look.snapshot,
        store,
        link=kind,
        trusted=trusted,
        workers=repository.workers,
        progress=repository.progress,
        make_executable=make_executable,
    )
    repository.trust(store).add(done.records)
    tally.made += done.made
    tally.removed += done.removed
    base = item.out.path + "/" if is_dir else (os.path.dirname(item.out.path) + "/").lstrip("/")
    tally.missing += [(base + path, oid) for path, oid in done.missing]
    for path, oid in done.corrupt:
        store.quarantine(oid)
        tally.damaged.append((base + path, oid))
    snapshot = done.snapshot
    if snapshot is not None:
        space = store.algorithm if is_dir else f"{store.algorithm}:file"
        snapshot = snapshot._replace(key=item.out.path, space=space)
        remember(snapshot, index=repository.index)
    return Look(item.out.path, snapshot, is_dir, output.isexec)

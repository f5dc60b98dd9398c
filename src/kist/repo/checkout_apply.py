"""Carries out what a checkout planned: one directory, or all single files together.

A checkout waits for the clock, makes copies durable and tries links; single files share that. Not here: the plans.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.listing import STAT_SIZE
from kist.repo.tracking import link_type
from kist.store import links
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE
from kist.workspace.checkout import Done, FolderPlan, Plan, apply_plan
from kist.workspace.scan import Folder, Snapshot, remember

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class FileTask(NamedTuple):
    """One output that is a single file.

    Attributes:
        path: relative to the repository's root.
        folder: what is to happen, one name in it.
        before: what is there; None when nothing is, or nothing with content.
        is_executable: the metafile records an x bit.
    """

    path: str
    folder: FolderPlan
    before: Folder | None
    algorithm: str
    is_executable: bool


class Applied(NamedTuple):
    """What happened to one output: numbers of files, and (path, object id) of those that could not be made."""

    added: int = 0
    modified: int = 0
    relinked: int = 0
    removed: int = 0
    missing: Sequence[tuple[str, str]] = ()
    damaged: Sequence[tuple[str, str]] = ()


def apply_directory(
    repository: Repository, path: str, plan: Plan, current: Snapshot | None, store: LooseStore
) -> Applied:
    """Makes a directory what its plan says. Damaged objects are moved aside.

    Raises: UnsafePathError, OSError.
    """
    target = repository.abspath(path)
    if plan.is_empty:
        if current is None:
            os.makedirs(target, exist_ok=True)
        return Applied()
    near = target if os.path.isdir(target) else repository.root
    done = _apply(repository, plan, current, store, near=near)
    if done.snapshot is not None:
        remember(done.snapshot._replace(key=path, space=store.algorithm), index=repository.index)
    missing = [(f"{path}/{inner}", oid) for inner, oid in done.missing]
    damaged = [(f"{path}/{inner}", oid) for inner, oid in done.corrupt]
    return Applied(done.added, done.modified, done.relinked, done.removed, missing, damaged)


def apply_files(repository: Repository, tasks: Sequence[FileTask]) -> dict[str, Applied]:
    """Makes single files what their plans say; returns what happened by path. Damaged objects are moved aside.

    Raises: UnsafePathError, OSError.
    """
    groups: dict[tuple[str, bool, int], list[FileTask]] = {}
    near: dict[tuple[str, bool, int], str] = {}
    for task in tasks:
        folder = repository.abspath(os.path.dirname(task.path))
        atomic.tidy_folder(folder)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        key = (task.algorithm, task.is_executable, os.stat(folder).st_dev)
        groups.setdefault(key, []).append(task)
        near.setdefault(key, folder)
    applied: dict[str, Applied] = {}
    for key, group in groups.items():
        store = repository.store_for(key[0])
        plan, current = _together(repository, group)
        done = _apply(repository, plan, current, store, near=near[key], make_executable=key[1])
        applied.update(_by_path(repository, group, store, done))
    return applied


def _together(repository: Repository, tasks: Sequence[FileTask]) -> tuple[Plan, Snapshot]:
    """Returns one plan for all files, from the repository's root on, and what is there as one snapshot."""
    by_folder: dict[str, list[FileTask]] = {}
    for task in sorted(tasks, key=lambda task: task.path):
        by_folder.setdefault(os.path.dirname(task.path), []).append(task)
    folders: list[FolderPlan] = []
    rows: dict[str, Folder] = {}
    for path, group in by_folder.items():
        names = tuple(name for task in group for name in task.folder.names)
        digests = b"".join([task.folder.digests for task in group])
        replaces = frozenset().union(*[task.folder.replaces for task in group])
        relinks = frozenset().union(*[task.folder.relinks for task in group])
        folders.append(FolderPlan(path, names, digests, replaces, (), relinks))
        there = [task.before for task in group if task.before is not None]
        rows[path] = Folder(
            "\0".join([row.names for row in there]),
            b"".join([row.stats for row in there]),
            b"".join([row.digests for row in there]),
        )
    snapshot = Snapshot(repository.root, "", "", rows, [], [], [], [], set(), (0, 0), 0)
    return Plan(repository.root, "", folders, []), snapshot


def _by_path(
    repository: Repository, tasks: Sequence[FileTask], store: LooseStore, done: Done
) -> dict[str, Applied]:
    """Tells the files apart again, and records how each looks now."""
    missing, damaged = dict(done.missing), dict(done.corrupt)
    snapshot = done.snapshot
    assert snapshot is not None
    places = {
        path: {name: at for at, name in enumerate(row.split())} for path, row in snapshot.folders.items()
    }
    found: dict[str, Applied] = {}
    for task in tasks:
        path = task.path
        if path in missing:
            found[path] = Applied(missing=[(path, missing[path])])
        elif path in damaged:
            found[path] = Applied(damaged=[(path, damaged[path])])
        else:
            is_there, is_same = bool(task.folder.replaces), bool(task.folder.relinks)
            found[path] = Applied(int(not is_there), int(is_there and not is_same), int(is_same))
            folder, name = os.path.split(path)
            row, at = snapshot.folders[folder], places[folder][name]
            own = Folder(
                name,
                row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE],
                row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE],
            )
            space = f"{store.algorithm}:file"
            look = snapshot._replace(key=path, space=space, folders={"": own}, changed={""}, stale=[])
            remember(look, index=repository.index)
    return found


def _apply(
    repository: Repository,
    plan: Plan,
    current: Snapshot | None,
    store: LooseStore,
    *,
    near: str,
    make_executable: bool = False,
) -> Done:
    """Carries out a plan, with links as they work in the folder `near`."""
    kind = link_type(repository, near) if plan.file_count() else links.COPY
    trusted = {}
    if kind in links.PROTECTED and not make_executable:
        trusted = repository.trust(store).records(plan.digests())
    done = apply_plan(
        plan,
        current,
        store,
        link=kind,
        trusted=trusted,
        workers=repository.workers,
        progress=repository.progress,
        make_executable=make_executable,
        after_hardlink=links.after_hardlink(repository.settings.cache_types),
    )
    repository.trust(store).add(done.records)
    for _, oid in done.corrupt:
        store.quarantine(oid)
    return done

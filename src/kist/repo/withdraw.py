"""Takes out of the workspace what the new version of an output does not name any more.

Only files that are as the old version has them, and that are stored, ever go. Not here: which files those are to be
(expire), and metafiles. Implements docs/spec/expire.md, section 4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.errors import FormatError
from kist.formats.manifest import compare_manifests
from kist.formats.records import Digest
from kist.repo import placed
from kist.repo.data import Look, algorithm_of, look_at
from kist.repo.manifests import Manifests
from kist.repo.metafiles import Changes
from kist.repo.remove import delete_data
from kist.store import links
from kist.store.statindex import DIGEST_SIZE
from kist.workspace.checkout import apply_plan, plan_differences, unsaved_paths, with_empty_folders
from kist.workspace.scan import remember

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def present_files(look: Look, among: Mapping[str, str]) -> dict[str, str]:
    """Returns path -> id of those files of an output that are there; a single file has the path "".

    Args: among: the paths that are asked for.
    """
    if look.snapshot is None or (look.is_dir and "" in among) or not (look.is_dir or "" in among):
        return {}
    found = {}
    for folder, row in look.snapshot.folders.items():
        prefix = folder + "/" if folder else ""
        digits = row.digests.hex()
        for at, name in enumerate(row.split()):
            path = prefix + name if look.is_dir else ""
            if path in among:
                found[path] = digits[at * 2 * DIGEST_SIZE : (at + 1) * 2 * DIGEST_SIZE]
    return found


def in_the_way(repository: Repository, look: Look, gone: Mapping[str, str], digest: Digest) -> list[str]:
    """Returns the paths, relative to the root, of files that must not go: edited since, or stored nowhere.

    Args:
        look: how the output looks; everything was read.
        gone: path -> id of what is to go, as the version `digest` has it.
    """
    present = present_files(look, gone)
    edited = {path for path, oid in present.items() if oid != gone[path]}
    plan = plan_differences(
        repository.root,
        look.path,
        {path: oid for path, oid in present.items() if path not in edited},
        {},
    )
    store = repository.store_for(algorithm_of(digest))
    trusted = repository.trust(store).records({bytes.fromhex(oid) for _, oid in plan.at_risk})
    current = look.snapshot if look.is_dir else None
    found = edited | set(unsaved_paths(plan, store, current, trusted))
    return sorted(f"{look.path}/{path}" if path else look.path for path in found)


def take_out(repository: Repository, look: Look, gone: Mapping[str, str]) -> int:
    """Removes files of a directory that are as `gone` has them; returns how many. Their folders go when they are empty.

    Args: gone: path -> id; nothing of it is `in_the_way`.
    """
    if look.snapshot is None or not look.is_dir:
        return 0
    present = {path: oid for path, oid in present_files(look, gone).items() if oid == gone[path]}
    plan = plan_differences(repository.root, look.path, present, {})
    # A removal that was interrupted may have left a folder without its files.
    above = {folder for path in gone for folder in _folders_above(path)}
    planned = {folder.path for folder in plan.folders}
    wide = with_empty_folders(plan, look.snapshot).folders
    plan = plan._replace(folders=[item for item in wide if item.path in planned or item.path in above])
    store = repository.store_for(look.snapshot.space.partition(":")[0])
    done = apply_plan(
        plan, look.snapshot, store, link=links.COPY, trusted={}, workers=1, progress=repository.progress
    )
    if done.snapshot is not None:
        remember(done.snapshot, index=repository.index)
    _sync(repository.abspath(look.path), above)
    return len(present)


def _sync(top: str, folders: Iterable[str]) -> None:
    """Makes the removal durable: after it the note goes that tells of it."""
    paths = [top, *(path for folder in folders if os.path.isdir(path := os.path.join(top, folder)))]
    if len(paths) > atomic.SYNC_EACH_LIMIT and atomic.sync_file_system(top):
        return
    for path in paths:
        atomic.sync_directory(path)


def _folders_above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def take_out_single(repository: Repository, path: str, changes: Changes) -> None:
    """Removes a single file, which nothing tracks any more, and its line in `.gitignore`."""
    delete_data(repository.abspath(path))
    # Else a later checkout would take what somebody puts there for left over.
    placed.forget(repository.index, path)
    repository.index.flush()
    changes.stop_ignoring(path)


def finish(repository: Repository, path: str, before: Digest, after: Digest | None) -> bool:
    """Does the rest of a removal that was interrupted; what was edited, or is stored nowhere, stays.

    Args: before, after: what the metafile said and says; None: it is gone.

    Returns: False where the list of what was to go cannot be had; then nothing was done.
    """
    gone = {"": before.value} if after is None else _difference(repository, before, after, path)
    if gone is None:
        return False
    look = look_at(repository, [(path, algorithm_of(before))])[0]
    prefix = len(path) + 1
    kept = {full[prefix:] for full in in_the_way(repository, look, gone, before)}
    if after is not None:
        take_out(repository, look, {inner: oid for inner, oid in gone.items() if inner not in kept})
    elif not kept:
        take_out_single(repository, path, Changes(repository))
    return True


def _difference(repository: Repository, before: Digest, after: Digest, path: str) -> dict[str, str] | None:
    manifests = Manifests(repository)
    old, new = manifests.read(before), manifests.read(after)
    if old is None or new is None:
        return None
    try:
        gone, came = compare_manifests(old, new, name=path)
    except FormatError:
        return None
    return {inner: oid for inner, oid in gone.items() if inner not in came}

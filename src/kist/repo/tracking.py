"""Stores the present content of outputs in the cache: the part that `add` and `commit` share.

Order: file objects, then manifests; metafiles come after, by the caller (rule R4).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.listing import STAT_SIZE, UNTRUSTED
from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.manifest import render_manifest
from kist.formats.records import MD5, Digest, Output
from kist.repo.data import Look, look_at
from kist.store import links
from kist.store.ingest import FileBatch, FileChangedError, Stored, store_batches
from kist.store.loose import LooseStore
from kist.store.presence import Presence
from kist.store.statindex import DIGEST_SIZE
from kist.workspace.checkout import FolderPlan, Plan, apply_plan
from kist.workspace.scan import (
    Snapshot,
    directory_manifest,
    read_all,
    refuse_specials,
    remember,
    unread_batches,
    with_stored,
)

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_ATTEMPTS = 4


class CannotCommitError(InputError):
    """A stage cannot be committed: its data is missing, or it changed and nobody confirmed."""

    code = "cannot-commit"


class IgnoreFileInsideError(InputError):
    """A directory that is to be tracked holds a `.dvcignore`. Exit status as in DVC."""

    code = "ignore-file-inside"
    exit_code = 255


class Tracked(NamedTuple):
    """What was stored for one path: its id and figures for the metafile."""

    path: str
    digest: Digest
    size: int | None
    nfiles: int | None
    is_executable: bool


def store_paths(
    repository: Repository, paths: Sequence[str], *, to_cache: bool = True, relink: bool = True
) -> list[Tracked]:
    """Stores files and directories as they are now and returns what they became, in order.

    Args:
        to_cache: False: only hash (`--no-commit`).
        relink: make workspace files links to their objects where `cache.type` says so.

    Raises:
        SpecialFileError, NameNotTextError, FileChangedError, OSError.

    Holds: everything returned is durable in the cache; user files keep their content at every moment.
    """
    for _ in range(_ATTEMPTS):
        looks = look_at(repository, [(path, MD5) for path in paths], read=False)
        for look in looks:
            if look.snapshot is not None:
                atomic.remove_stale(look.snapshot.temps, time.time())
                refuse_specials(look.snapshot)
                _refuse_dvcignore(look)
            if not look.is_dir:
                atomic.tidy_folder(os.path.dirname(repository.abspath(look.path)))
        if not to_cache:
            return [_hashed(repository, look) for look in looks]
        stored, changed = _store_once(repository, looks, relink=relink)
        if not changed:
            return stored
    raise FileChangedError(
        f"cannot store '{changed[0]}': it changes while it is read",
        hint="wait until nothing writes to it, then try again",
    )


def _refuse_dvcignore(look: Look) -> None:
    """Raises IgnoreFileInsideError: a `.dvcignore` in data would change what the data is."""
    for path, row in look.snapshot.folders.items() if look.is_dir and look.snapshot is not None else ():
        if ".dvcignore" in row.names and ".dvcignore" in row.split():
            inside = f"{look.path}/{path}/.dvcignore" if path else f"{look.path}/.dvcignore"
            raise IgnoreFileInsideError(
                f"cannot track '{look.path}': '{inside}' lies in it", hint=shell_line("mv", inside, ".")
            )


def link_type(repository: Repository, workspace: str, *, relink: bool = True) -> str:
    """Returns the first of `cache.type` that works between the cache and a workspace folder."""
    types = repository.settings.cache_types or links.DEFAULT_TYPES
    if not relink:
        types = links.DEFAULT_TYPES
    if tuple(types) == (links.COPY,):
        return links.COPY
    store = repository.cache
    store.make_folder(store.base)
    return links.choose_type(types, store=store.base, workspace=workspace)


def _hashed(repository: Repository, look: Look) -> Tracked:
    assert look.snapshot is not None
    read = read_all(
        [look.snapshot], index=repository.index, workers=repository.workers, progress=repository.progress
    )
    return _tracked(repository, look._replace(snapshot=read[0]))[0]


def _store_once(
    repository: Repository, looks: list[Look], *, relink: bool
) -> tuple[list[Tracked], list[str]]:
    """Returns what was stored, and the files that changed meanwhile."""
    store = repository.cache
    by_kind: dict[str, list[int]] = {}
    for at, look in enumerate(looks):
        folder = (
            os.path.dirname(repository.abspath(look.path))
            if not look.is_dir
            else repository.abspath(look.path)
        )
        kind = link_type(repository, folder, relink=relink)
        # A hard link has no x bit of its own, and the object's mode is not the workspace's to set.
        if look.is_executable and kind in links.PROTECTED:
            kind = links.COPY
        by_kind.setdefault(kind, []).append(at)
    changed: list[str] = []
    for kind, positions in by_kind.items():
        snapshots = []
        for at in positions:
            snapshot = looks[at].snapshot
            assert snapshot is not None
            snapshots.append(snapshot)
        done, moved = _store_snapshots(repository, snapshots, kind, relink=relink)
        changed += moved
        for at, snapshot in zip(positions, done, strict=True):
            looks[at] = looks[at]._replace(snapshot=snapshot)
    if changed:
        return [], changed
    stored = []
    for look in looks:
        item, manifest = _tracked(repository, look)
        stored.append(item)
        if look.is_executable and relink:
            _set_checkout_mode(repository.abspath(look.path))
        if look.is_dir and look.snapshot is not None and not store.is_intact(item.digest.value):
            data = manifest if manifest is not None else render_manifest(look.snapshot.tree())
            store.write_small(item.digest.value, data)
            Presence(repository.index, store).note(
                item.digest.value
            )  # what was known is there, the rest was stored
    return stored, []


def _store_snapshots(
    repository: Repository, snapshots: Sequence[Snapshot], kind: str, *, relink: bool
) -> tuple[list[Snapshot], list[str]]:
    store = repository.cache
    batches: list[FileBatch] = []
    places: list[list[tuple[str, list[int]]]] = []
    for snapshot in snapshots:
        own, where = unread_batches(_forget_missing(repository, snapshot, kind))
        batches += own
        places.append(where)
    stored = store_batches(
        batches, store, link=kind, workers=repository.workers, progress=repository.progress
    )
    moved = [
        os.path.join(batch.folder, name)
        for batch, item in zip(batches, stored, strict=True)
        for name in item.changed
    ]
    results = iter(stored)
    done = []
    records: list[bytes] = []
    for snapshot, where in zip(snapshots, places, strict=True):
        own_results = [next(results) for _ in where]
        snapshot = with_stored(snapshot, where, own_results) if where else snapshot
        if not moved and relink:
            snapshot = _as_links(repository, snapshot, where, kind)
        done.append(snapshot._replace(changed=snapshot.changed | {path for path, _ in where}))
        for item in own_results:
            records += (
                _records(item.digests, item.stats) if kind in links.PROTECTED else _of_objects(store, item)
            )
    if not moved:
        for snapshot in done:
            remember(snapshot, index=repository.index)
        repository.trust(store).add(records)
    return done, moved


def _damaged(repository: Repository, oids: set[str]) -> set[str]:
    """Returns objects of the cache whose bytes are wrong; only those that changed since they were right are read."""
    store = repository.cache
    trust = repository.trust(store)
    known = trust.records({bytes.fromhex(oid) for oid in oids})
    bad: set[str] = set()
    fresh: list[bytes] = []
    for oid in oids:
        digest = bytes.fromhex(oid)
        found = store.stat(oid)
        if found is None or found == known.get(digest):
            continue
        if store.is_intact(oid):
            fresh.append(digest + found)
        else:
            bad.add(oid)
    trust.add(fresh)
    return bad


def _as_links(
    repository: Repository, snapshot: Snapshot, where: list[tuple[str, list[int]]], kind: str
) -> Snapshot:
    """Replaces files that were just stored by links to their objects, where storing did not make them so.

    With symlinks that is every file; with the other kinds those that were links to somewhere else, for which the
    workspace gets a file of its own, as DVC does it.
    """
    foreign = {relpath for relpath in snapshot.links if not _is_ours(repository, snapshot, relpath)}
    if kind != links.SYMLINK and not foreign:
        return snapshot
    chosen: dict[str, set[int]] = {}
    for path, positions in where:
        chosen.setdefault(path, set()).update(positions)
    folders = []
    for path, picked in chosen.items():
        row = snapshot.folders[path]
        names = row.split()
        prefix = path + "/" if path else ""
        at = [k for k in sorted(picked) if kind == links.SYMLINK or prefix + names[k] in foreign]
        digests = b"".join([row.digests[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE] for k in at])
        make = tuple(names[k] for k in at)
        folders.append(FolderPlan(path, make, digests, frozenset(make), ()))
    root = os.path.relpath(snapshot.root, repository.root).replace(os.sep, "/")
    plan = Plan(repository.root, "" if root == "." else root, folders, [])
    done = apply_plan(
        plan,
        snapshot,
        repository.cache,
        link=kind,
        trusted=repository.trust(repository.cache).records(plan.digests()),
        workers=repository.workers,
        progress=repository.progress,
    )
    return (done.snapshot or snapshot)._replace(links=[])


def _is_ours(repository: Repository, snapshot: Snapshot, relpath: str) -> bool:
    target = os.path.realpath(os.path.join(snapshot.root, relpath))
    return target.startswith(os.path.realpath(repository.cache_dir) + os.sep)


def _of_objects(store: LooseStore, item: Stored) -> list[bytes]:
    """Returns trust records of objects that were just copied and hashed."""
    records = []
    for at in range(0, len(item.digests), DIGEST_SIZE):
        digest = item.digests[at : at + DIGEST_SIZE]
        found = store.stat(digest.hex())
        if found is not None:
            records.append(digest + found)
    return records


def _set_checkout_mode(path: str) -> None:
    """Gives an executable file the mode that a checkout gives it: the owner's x bit alone."""
    umask = os.umask(0)
    os.umask(umask)
    wanted = 0o666 & ~umask | 0o100
    if os.stat(path).st_mode & 0o777 != wanted:
        os.chmod(path, wanted)


def _records(digests: bytes, stats: bytes) -> list[bytes]:
    return [
        digests[at * 16 : at * 16 + 16] + stats[at * 32 : at * 32 + 32] for at in range(len(digests) // 16)
    ]


def _forget_missing(repository: Repository, snapshot: Snapshot, kind: str) -> Snapshot:
    """Returns the snapshot with the digests of files that the cache does not hold made unknown, to be stored.

    A linked file is its object; a copied file's object may have rotted, and this is the time to heal it (rule R9).
    """
    oids = {oid for oid in snapshot.tree().oids() if oid != "0" * 32}
    lacking = repository.cache.missing(oids)
    if kind not in links.PROTECTED:
        lacking |= _damaged(repository, oids - lacking)
    if not lacking:
        return snapshot
    folders = dict(snapshot.folders)
    changed = set(snapshot.changed)
    gone = {bytes.fromhex(oid) for oid in lacking}
    for path, row in snapshot.folders.items():
        column = bytearray(row.digests)
        for at in range(0, len(column), DIGEST_SIZE):
            if bytes(column[at : at + DIGEST_SIZE]) in gone:
                column[at : at + DIGEST_SIZE] = bytes(DIGEST_SIZE)
                changed.add(path)
        folders[path] = row._replace(digests=bytes(column))
    return snapshot._replace(folders=folders, changed=changed)


def _tracked(repository: Repository, look: Look) -> tuple[Tracked, bytes | None]:
    """Returns what a look stands for, and its manifest where that had to be made."""
    snapshot = look.snapshot
    assert snapshot is not None
    if look.is_dir:
        row, manifest = directory_manifest(snapshot, index=repository.index)
        return Tracked(look.path, Digest(MD5, row.oid), row.size, row.files, False), manifest
    file = snapshot.folders[""]
    digest = Digest(MD5, file.digests.hex())
    return Tracked(look.path, digest, snapshot.size_bytes(), None, look.is_executable), None


def updated_output(output: Output, tracked: Tracked) -> Output:
    """Returns an output's entry with new content; unchanged content leaves the entry as it is."""
    if output.digest == tracked.digest and output.files is None:
        return output._replace(isexec=tracked.is_executable)
    return output._replace(
        digest=tracked.digest,
        size=tracked.size,
        nfiles=tracked.nfiles,
        isexec=tracked.is_executable,
        version_id=None,
        cloud=None,
        files=None,
    )

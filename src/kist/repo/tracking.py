"""Stores the present content of outputs in the cache: the part that `add` and `commit` share.

Order: file objects, then manifests; metafiles come after, by the caller (rule R4).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.listing import STAT_SIZE, UNTRUSTED
from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.manifest import render_manifest
from kist.formats.records import MD5, Digest, Output
from kist.repo import halfway, linking
from kist.repo.data import Look, look_at
from kist.repo.linking import KINDS, LinkPolicy, Positions, Survey, shape
from kist.store import links
from kist.store.ingest import EMPTY_DIGEST, FileBatch, FileChangedError, Stored, store_batches
from kist.store.presence import Presence
from kist.store.statindex import DIGEST_SIZE, UNKNOWN
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
_NONE: Mapping[str, Look] = {}


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
    repository: Repository,
    paths: Sequence[str],
    *,
    to_cache: bool = True,
    relink: bool = True,
    looks: Mapping[str, Look] | None = None,
    put_off: bool = False,
) -> list[Tracked]:
    """Stores files and directories as they are now and returns what they became, in order.

    Args:
        looks: how some of them looked a moment ago, which spares another look.
        to_cache: False: only hash (`--no-commit`).
        relink: make workspace files links to their objects where `cache.type` says so.
        put_off: see `store_batches`; for single files.

    Raises:
        SpecialFileError, NameNotTextError, FileChangedError, OSError.

    Holds: everything returned is durable in the cache; user files keep their content at every moment.
    """
    if not to_cache:
        return [_hashed(repository, look) for look in _looks(repository, paths)]
    store = repository.cache
    tracked = []
    for look in _stored(repository, paths, relink=relink, known=looks or {}, put_off=put_off):
        item, manifest = _tracked(repository, look)
        tracked.append(item)
        if look.is_executable and relink:
            _set_checkout_mode(repository.abspath(look.path))
        if look.is_dir and look.snapshot is not None and not store.is_intact(item.digest.value):
            data = manifest if manifest is not None else render_manifest(look.snapshot.tree())
            store.write_small(item.digest.value, data)
            # What was known is there, and the rest was stored.
            Presence(repository.index, store).note(item.digest.value)
    halfway.finished(repository, paths)  # whatever was left half made there, this is what is wanted
    return tracked


def relink_paths(repository: Repository, paths: Sequence[str]) -> None:
    """Makes files what `cache.type` wants; what the cache lacks is stored on the way, and no manifest is written.

    Raises, Holds: as `store_paths`.
    """
    _stored(repository, paths, relink=True)


def store_files(repository: Repository, path: str) -> Look:
    """Stores the files of a directory, without a manifest of it, and returns how it looks then.

    Raises, Holds: as `store_paths`.
    """
    return _stored(repository, [path], relink=False)[0]


def _looks(repository: Repository, paths: Sequence[str], known: Mapping[str, Look] = _NONE) -> list[Look]:
    fresh = iter(look_at(repository, [(path, MD5) for path in paths if path not in known], read=False))
    looks = [known[path] if path in known else next(fresh) for path in paths]
    for look in looks:
        if look.snapshot is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), repository.abspath(look.path))
        atomic.remove_stale(look.snapshot.temps, time.time())
        refuse_specials(look.snapshot)
        for relpath, what in look.snapshot.specials:
            note = f"left out '{repository.shown(f'{look.path}/{relpath}')}': it is {what}"
            if note not in repository.notes:
                repository.notes.append(note)
        _refuse_dvcignore(look)
        if not look.is_dir:
            atomic.tidy_folder(os.path.dirname(repository.abspath(look.path)))
    return looks


def _stored(
    repository: Repository,
    paths: Sequence[str],
    *,
    relink: bool,
    known: Mapping[str, Look] = _NONE,
    put_off: bool = False,
) -> list[Look]:
    """Returns how paths look after all of their files were stored, and linked where that is wanted."""
    for _ in range(_ATTEMPTS):
        found = _looks(repository, paths, known)
        looks, changed = _store_once(repository, found, relink=relink, put_off=put_off)
        if not changed:
            return looks
        known = _NONE
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


def _link_policy(repository: Repository, look: Look, *, relink: bool) -> LinkPolicy:
    """Returns what files are to become, as DVC has it.

    A single file becomes what comes first of `cache.type` and works; a file of a directory may stay whatever stands
    in the list, and so a copy with `reflink,hardlink`.
    """
    path = repository.abspath(look.path)
    folder = path if look.is_dir else os.path.dirname(path)
    target = link_type(repository, folder, relink=relink)
    if not relink:
        return LinkPolicy(target, target, KINDS)
    if not look.is_dir:
        # A hard link has no x bit of its own, and the object's mode is not the workspace's to set.
        if look.is_executable and target in links.PROTECTED:
            target = links.COPY
        return LinkPolicy(target, target, frozenset({shape(target)}))
    types = repository.settings.cache_types or links.DEFAULT_TYPES
    allowed = frozenset({shape(target), *map(shape, types)})
    ingest = target
    is_own = types[0] == target == links.HARDLINK or allowed == {target}
    if target in links.PROTECTED and not is_own:  # the files stay apart from their objects, or are told apart
        ingest = link_type(repository, folder, relink=False)
    return LinkPolicy(ingest, target, allowed)


def _hashed(repository: Repository, look: Look) -> Tracked:
    assert look.snapshot is not None
    read = read_all(
        [look.snapshot], index=repository.index, workers=repository.workers, progress=repository.progress
    )
    return _tracked(repository, look._replace(snapshot=read[0]))[0]


def _store_once(
    repository: Repository, looks: list[Look], *, relink: bool, put_off: bool
) -> tuple[list[Look], list[str]]:
    """Returns how all looks after it was stored, and the files that changed meanwhile."""
    by_policy: dict[LinkPolicy, list[int]] = {}
    known: dict[tuple[str, bool, bool], LinkPolicy] = {}
    for at, look in enumerate(looks):
        place = (look.path if look.is_dir else os.path.dirname(look.path), look.is_dir, look.is_executable)
        if place not in known:
            known[place] = _link_policy(repository, look, relink=relink)
        by_policy.setdefault(known[place], []).append(at)
    changed: list[str] = []
    for policy, positions in by_policy.items():
        snapshots = []
        for at in positions:
            snapshot = looks[at].snapshot
            assert snapshot is not None
            snapshots.append(snapshot)
        done, moved = _store_snapshots(repository, snapshots, policy, relink=relink, put_off=put_off)
        changed += moved
        if moved:
            continue
        for at, snapshot in zip(positions, done, strict=True):
            looks[at] = looks[at]._replace(snapshot=snapshot)
    return looks, changed


def _store_snapshots(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    policy: LinkPolicy,
    *,
    relink: bool,
    put_off: bool,
) -> tuple[list[Snapshot], list[str]]:
    """Returns the snapshots after everything in them was stored and linked, and the files that changed meanwhile."""
    store = repository.cache
    batches: list[FileBatch] = []
    places: list[list[tuple[str, list[int]]]] = []
    misfits: list[Positions] = []
    for snapshot in snapshots:
        ready, found = _prepare(repository, snapshot, policy)
        own, where = unread_batches(ready)
        batches += own
        places.append(where)
        misfits.append(found if relink else {})
    stored = store_batches(
        batches,
        store,
        link=policy.ingest,
        workers=repository.workers,
        progress=repository.progress,
        put_off=put_off,
    )
    moved = [
        os.path.join(batch.folder, name)
        for batch, item in zip(batches, stored, strict=True)
        for name in item.changed
    ]
    if moved:
        return [], moved
    if not put_off:
        repository.trust(store).add([record for item in stored for record in _object_records(item)])
    results = iter(stored)
    done = []
    for snapshot, where, todo in zip(snapshots, places, misfits, strict=True):
        own_results = [next(results) for _ in where]
        snapshot = with_stored(snapshot, where, own_results) if where else snapshot
        snapshot = snapshot._replace(changed=snapshot.changed | {path for path, _ in where})
        if relink:
            todo = _with_fresh(todo, _fresh_misfits(snapshot, policy, where, own_results))
        if todo:
            snapshot, edited = linking.relink(repository, snapshot, todo, policy)
            moved += edited
        done.append(snapshot)
    if not moved:
        for snapshot in done:
            remember(snapshot, index=repository.index)
    return done, moved


def _prepare(repository: Repository, snapshot: Snapshot, policy: LinkPolicy) -> tuple[Snapshot, Positions]:
    """Returns the snapshot with the digests of files that are to be stored again made unknown, and known files that may
    not stay of the kind that they are.

    Stored again is what the cache lacks, or holds damaged (rule R9): the object of a file that is no link may have
    rotted, and this is the time to heal it.
    """
    store, index = repository.cache, repository.index
    tree = snapshot.tree()
    oids = {oid for oid in tree.oids() if oid != "0" * 32}
    lacking = store.missing(oids)
    if policy.ingest not in links.PROTECTED:
        bad, looks = _inspected(repository, oids - lacking)
        found = linking.survey(snapshot, policy, looks)
    else:
        is_settled = linking.is_settled(index, snapshot, policy)
        found = Survey({}, set(), {})
        if not is_settled:
            trusted = repository.trust(store).records({bytes.fromhex(oid) for oid in oids})
            found = linking.survey(snapshot, policy, trusted, store=store)
        apart = {digest.hex() for digest in found.apart} | (
            oids & {EMPTY_DIGEST.hex()}
        )  # that is never a link
        bad = _inspected(repository, apart - lacking)[0] if apart else set()
        if not (is_settled or lacking or any(found)):
            linking.note_settled(index, snapshot, policy)
    return _forget(snapshot, {bytes.fromhex(oid) for oid in lacking | bad}, found.loose), found.misfits


def _inspected(repository: Repository, oids: set[str]) -> tuple[set[str], dict[bytes, bytes]]:
    """Returns objects of the cache whose bytes are wrong, and digest -> stat record of all.

    Only those that changed since they were right are read; what is right is made read-only.
    """
    store = repository.cache
    looks = store.looks(oids)
    known = repository.trust(store).records(set(looks))
    bad: set[str] = set()
    fresh: list[bytes] = []
    for digest, found in looks.items():
        if found == known.get(digest):
            continue
        oid = digest.hex()
        if not store.is_intact(oid):
            bad.add(oid)
            continue
        looks[digest] = store.protect(oid) or found
        fresh.append(digest + looks[digest])
    repository.trust(store).add(fresh)
    return bad, looks


def _forget(snapshot: Snapshot, gone: set[bytes], loose: Positions) -> Snapshot:
    """Returns the snapshot with digests made unknown, so that their files are stored again."""
    if not gone and not loose:
        return snapshot
    folders = dict(snapshot.folders)
    changed = set(snapshot.changed)
    for path, row in snapshot.folders.items():
        column = bytearray(row.digests)
        forgotten = [
            at
            for at in range(len(column) // DIGEST_SIZE)
            if row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] in gone
        ]
        for at in [*forgotten, *loose.get(path, ())]:
            column[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] = UNKNOWN
            changed.add(path)
        folders[path] = row._replace(digests=bytes(column))
    return snapshot._replace(folders=folders, changed=changed)


def _object_records(item: Stored) -> list[bytes]:
    """Returns trust records of the objects that files became, or that were found to hold the same."""
    return [
        item.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] + record
        for at in range(len(item.digests) // DIGEST_SIZE)
        if (record := item.objects[at * STAT_SIZE : (at + 1) * STAT_SIZE]) != UNTRUSTED
    ]


def _fresh_misfits(
    snapshot: Snapshot, policy: LinkPolicy, where: list[tuple[str, list[int]]], stored: list[Stored]
) -> Positions:
    """Returns the files that were just stored and may not stay of the kind that they are."""
    among: Positions = {}
    for path, positions in where:
        among.setdefault(path, []).extend(positions)
    looks = {
        record[:DIGEST_SIZE]: record[DIGEST_SIZE:] for item in stored for record in _object_records(item)
    }
    return linking.survey(snapshot, policy, looks, among=among).misfits


def _with_fresh(known: Positions, fresh: Positions) -> Positions:
    """Returns both; no file is in both."""
    return {
        path: sorted({*known.get(path, ()), *fresh.get(path, ())})
        for path in [*known, *(fresh.keys() - known)]
    }


def _set_checkout_mode(path: str) -> None:
    """Gives an executable file the mode that a checkout gives it: the owner's x bit alone."""
    umask = os.umask(0)
    os.umask(umask)
    wanted = 0o666 & ~umask | 0o100
    if os.stat(path).st_mode & 0o777 != wanted:
        os.chmod(path, wanted)


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


def updated_output(repository: Repository, output: Output, tracked: Tracked) -> Output:
    """Returns an output's entry with new content; unchanged content leaves the entry as it is.

    A directory that its entry lists file by file stays listed so, with the versions of what did not change.
    """
    if output.digest == tracked.digest and output.files is None:
        return output._replace(isexec=tracked.is_executable)
    if output.files and tracked.digest.is_dir:
        from kist.repo.versioned_outputs import relisted  # few repositories have such outputs

        found = relisted(repository, output, tracked.digest, tracked.path)
        if found is not None:
            return found
    return output._replace(
        digest=tracked.digest,
        size=tracked.size,
        nfiles=tracked.nfiles,
        isexec=tracked.is_executable,
        version_id=None,
        cloud=None,
        files=None,
    )

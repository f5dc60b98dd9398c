"""Which files of the workspace are of another kind than `cache.type` wants, and making them so.

A file is its object's hard link, a symbolic link to it, or a copy, which a reflink looks like too.
Not here: which types work (store.links), storing content (tracking). Implements docs/spec/links.md, 7 to 10.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base.listing import STAT_SIZE, pack_stat
from kist.store import links
from kist.store.ingest import EMPTY_DIGEST
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE, UNKNOWN, FolderRow, StatIndex
from kist.workspace.checkout import FolderPlan, Plan, apply_plan
from kist.workspace.scan import Folder, Snapshot

if TYPE_CHECKING:
    from kist.repo.repository import Repository

KINDS = frozenset({links.COPY, links.HARDLINK, links.SYMLINK})

Positions = dict[str, list[int]]
"""Folder of a snapshot -> positions in its row."""


class LinkPolicy(NamedTuple):
    """What is wanted for the files of one output.

    Attributes:
        ingest: how unread files go into the store: HARDLINK, SYMLINK, REFLINK or COPY.
        target: what a file becomes that may not stay as it is; the same four.
        allowed: kinds that stay; COPY stands for reflinks too.
    """

    ingest: str
    target: str
    allowed: frozenset[str]


class Survey(NamedTuple):
    """How the known files of a snapshot are tied to their objects.

    Attributes:
        misfits: files that may not stay as they are.
        apart: digests of files that are not the object itself, so that the object has to be looked at.
        loose: files that are the object itself, which somebody can write to.
    """

    misfits: Positions
    apart: set[bytes]
    loose: Positions


def shape(kind: str) -> str:
    """Returns the kind that a link type looks like."""
    return links.COPY if kind == links.REFLINK else kind


def survey(
    snapshot: Snapshot,
    policy: LinkPolicy,
    looks: Mapping[bytes, bytes],
    *,
    store: LooseStore | None = None,
    among: Positions | None = None,
) -> Survey:
    """Returns how files are tied to their objects.

    Args:
        looks: digest -> stat record of its object.
        store: looked into where `looks`, which may be old then, do not show that a file is its object.
        among: look at these files alone.
    """
    found = Survey({}, set(), {})
    linked: dict[str, set[str]] = {}
    for relpath in snapshot.links:
        folder, _, name = relpath.rpartition("/")
        linked.setdefault(folder, set()).add(name)
    for path, row in snapshot.folders.items() if among is None else _rows(snapshot, among):
        symlinks: set[int] = set()
        if path in linked:
            symlinks = {at for at, name in enumerate(row.split()) if name in linked[path]}
        positions = range(len(row.digests) // DIGEST_SIZE) if among is None else among[path]
        misfits, loose = _survey_folder(row, positions, symlinks, policy, looks, store, found.apart)
        if misfits:
            found.misfits[path] = misfits
        if loose:
            found.loose[path] = loose
    return found


def _rows(snapshot: Snapshot, among: Positions) -> Iterable[tuple[str, Folder]]:
    return [(path, snapshot.folders[path]) for path in among]


def _survey_folder(
    row: Folder,
    positions: Iterable[int],
    symlinks: set[int],
    policy: LinkPolicy,
    looks: Mapping[bytes, bytes],
    store: LooseStore | None,
    apart: set[bytes],
) -> tuple[list[int], list[int]]:
    """Returns the positions of misfits and of loose files; adds to `apart`."""
    allowed = policy.allowed
    may_be_empty_link = links.SYMLINK in allowed and policy.target not in links.PROTECTED
    misfits: list[int] = []
    loose: list[int] = []
    digests, stats = row.digests, row.stats
    for at in positions:
        digest = digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
        if digest == UNKNOWN:
            continue
        is_link = at in symlinks
        if digest == EMPTY_DIGEST:  # shared, a write into one would be a write into all
            if is_link and not may_be_empty_link:
                misfits.append(at)
            continue
        record = stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
        is_object = looks.get(digest) == record
        if not is_object and store is not None:
            found, is_protected = store.look(digest.hex())
            is_object = found == record
            if is_object and not is_protected:
                loose.append(at)
                continue
        if not is_object:
            apart.add(digest)
        kind = links.SYMLINK if is_link else links.HARDLINK if is_object else links.COPY
        if kind not in allowed or (is_link and not is_object):
            misfits.append(at)
    return misfits, loose


def is_settled(index: StatIndex, snapshot: Snapshot, policy: LinkPolicy) -> bool:
    """Says whether all files are known to be links as wanted.

    A hard link cannot lose its object, nor a symbolic link, without a change of the stat that both share.
    """
    if snapshot.unread or snapshot.space.endswith(":file"):
        return False
    row = index.folder(f"links:{snapshot.space}", snapshot.key)
    return row is not None and row.names == _policy_text(policy) and row.stats == _sum(snapshot)


def note_settled(index: StatIndex, snapshot: Snapshot, policy: LinkPolicy) -> None:
    """Remembers that all files of a directory are links as wanted."""
    if not snapshot.unread and not snapshot.space.endswith(":file"):
        row = FolderRow(_policy_text(policy), _sum(snapshot), b"")
        index.save(f"links:{snapshot.space}", [(snapshot.key, row)])


def _policy_text(policy: LinkPolicy) -> str:
    return "\0".join([policy.target, *sorted(policy.allowed)])


def _sum(snapshot: Snapshot) -> bytes:
    """Returns 32 bytes that stand for how all files look."""
    import hashlib  # only where files are links

    total = hashlib.sha256()
    for row in snapshot.folders.values():
        total.update(row.stats)
    return total.digest()


def relink(
    repository: Repository, snapshot: Snapshot, misfits: Positions, policy: LinkPolicy
) -> tuple[Snapshot, list[str]]:
    """Makes files of the wanted kind.

    Returns: the snapshot as it is then, and the absolute paths of files that changed since it was taken; if there are
        any, nothing was done.

    Raises: OSError, UnsafePathError.

    Holds: each file has its content at every moment; its object is verified before the file gives way to it.
    """
    changed = _changed(snapshot, misfits)
    if changed:
        return snapshot, changed
    folders = []
    for path, positions in misfits.items():
        row = snapshot.folders[path]
        names = row.split()
        make = tuple(names[at] for at in positions)
        digests = b"".join([row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] for at in positions])
        folders.append(FolderPlan(path, make, digests, frozenset(make), ()))
    root = os.path.relpath(snapshot.root, repository.root).replace(os.sep, "/")
    plan = Plan(repository.root, "" if root == "." else root, folders, [])
    trust = repository.trust(repository.cache)
    done = apply_plan(
        plan,
        snapshot,
        repository.cache,
        link=policy.target,
        trusted=trust.records(plan.digests()),
        workers=repository.workers,
        progress=repository.progress,
    )
    trust.add(done.records)
    if done.snapshot is None or done.missing or done.corrupt:
        # Those files stayed what they were, and will be looked at again.
        return snapshot, []
    made = {f"{folder.path}/{name}" if folder.path else name for folder in folders for name in folder.names}
    after = done.snapshot._replace(
        links=[relpath for relpath in snapshot.links if relpath not in made]
        + (sorted(made) if policy.target == links.SYMLINK else []),
        changed=snapshot.changed | done.snapshot.changed,
    )
    return _with_new_looks(after, done.records), []


def _changed(snapshot: Snapshot, misfits: Positions) -> list[str]:
    found = []
    for path, positions in misfits.items():
        row = snapshot.folders[path]
        names = row.split()
        for at in positions:
            absolute = os.path.join(snapshot.root, path, names[at])
            try:
                now = pack_stat(os.stat(absolute))
            except FileNotFoundError:
                now = b""
            if now != row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]:
                found.append(absolute)
    return found


def _with_new_looks(snapshot: Snapshot, records: Iterable[bytes]) -> Snapshot:
    """Returns the snapshot with the stats of files that were links of an object before it got, or lost, another one."""
    newest = {record[:DIGEST_SIZE]: record[DIGEST_SIZE:] for record in records}
    folders = dict(snapshot.folders) if newest else snapshot.folders
    changed = set(snapshot.changed)
    for path, row in snapshot.folders.items() if newest else ():
        stats = bytearray(row.stats)
        for at in range(len(row.digests) // DIGEST_SIZE):
            now = newest.get(row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE])
            before = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
            if now is not None and now != before and now[:24] == before[:24]:
                stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] = now
        if stats != row.stats:
            folders[path] = row._replace(stats=bytes(stats))
            changed.add(path)
    return snapshot._replace(folders=folders, changed=changed)

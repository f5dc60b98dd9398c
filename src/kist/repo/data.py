"""The data of outputs as it is now: looked at together, so that what must be read is read by all processes at once.

Not here: comparing it with anything. Used by add, commit, status, checkout.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import parallel
from kist.base.digests import read_legacy_md5
from kist.errors import FormatError, InputError
from kist.formats.manifest import Tree, parse_manifest, tree_of
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.store import links
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.store.statindex import UNKNOWN
from kist.workspace.scan import (
    Folder,
    Snapshot,
    directory_oid,
    is_known_other,
    read_all,
    scan_directory,
    scan_file,
)

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class SymlinkedFolderError(InputError):
    """A folder on the way to tracked data is a symbolic link that leaves the repository (rule R14)."""

    code = "symlinked-folder"


_LOOKS_AT_LEAST = 5_000
"""For fewer files no process is worth its start."""


class Look(NamedTuple):
    """How one path looks now.

    Attributes:
        path: relative to the repository's root.
        snapshot: None when nothing is there.
        is_dir: it is a real directory.
        is_executable: a single file with the owner's x bit.
    """

    path: str
    snapshot: Snapshot | None
    is_dir: bool
    is_executable: bool = False

    @property
    def size_bytes(self) -> int:
        """Sum of the file sizes."""
        return self.snapshot.size_bytes() if self.snapshot is not None else 0


def look_at(repository: Repository, paths: Sequence[tuple[str, str]], *, read: bool = True) -> list[Look]:
    """Returns how paths look, in order.

    Args:
        paths: (path relative to the root, algorithm of its digests) pairs.
        read: read the files that are new or changed since they were last read; otherwise their digests stay unknown.

    Raises:
        OSError: something cannot be read.
    """
    looks = [_look(repository, path, algorithm) for path, algorithm in paths]
    if not read:
        return looks
    for algorithm in {algorithm for _, algorithm in paths}:
        places = [
            at for at, (_, kind) in enumerate(paths) if kind == algorithm and looks[at].snapshot is not None
        ]
        snapshots = [snapshot for at in places if (snapshot := looks[at].snapshot) is not None]
        unread = [place for snapshot in snapshots for place in _unread_places(snapshot)]
        done = read_all(
            snapshots,
            index=repository.index,
            algorithm=algorithm,
            workers=repository.workers,
            progress=repository.progress,
        )
        for at, snapshot in zip(places, done, strict=True):
            looks[at] = looks[at]._replace(snapshot=snapshot)
        if unread and set(repository.settings.cache_types) & links.PROTECTED:
            # A linked file is the object itself: having read the one, the other need not be read again.
            rows = {(item.index_path(path)): row for item in done for path, row in item.folders.items()}
            store = repository.store_for(algorithm)
            records = [_record(rows[key], at) for key, at in unread]
            repository.trust(store).add(_objects_themselves(store, records, workers=repository.workers))
    return looks


def _objects_themselves(store: LooseStore, records: Sequence[bytes], *, workers: int) -> list[bytes]:
    """Returns the records of those files that are their objects themselves, read-only.

    An unfinished link is writable, and not to be trusted.
    """

    def handle(request: tuple[int, int], _emit: parallel.Emit) -> bytes:
        part = records[slice(*request)]
        return bytes([store.look(record[:16].hex()) == (record[16:], True) for record in part])

    step = max(_LOOKS_AT_LEAST, len(records) // (4 * workers) + 1)
    requests = [(at, at + step) for at in range(0, len(records), step)]
    answers = b"".join(parallel.run_requests(handle, requests, workers=workers))
    return list(itertools.compress(records, answers))


def _unread_places(snapshot: Snapshot) -> list[tuple[str, int]]:
    if not snapshot.unread:
        return []
    found = []
    for path in snapshot.changed:
        row = snapshot.folders.get(path)
        for at in range(len(row.digests) // 16 if row is not None else 0):
            if row is not None and row.digests[at * 16 : at * 16 + 16] == UNKNOWN:
                found.append((snapshot.index_path(path), at))
    return found


def _record(row: Folder, at: int) -> bytes:
    return row.digests[at * 16 : at * 16 + 16] + row.stats[at * 32 : at * 32 + 32]


def _look(repository: Repository, path: str, algorithm: str) -> Look:
    absolute = repository.abspath(path)
    try:
        found = os.lstat(absolute)
    except (FileNotFoundError, NotADirectoryError):
        return Look(path, None, False)
    if stat.S_ISDIR(found.st_mode):
        snapshot = scan_directory(
            absolute,
            path,
            index=repository.index,
            ignores=repository.ignores,
            algorithm=algorithm,
            workers=repository.workers,
        )
        return Look(path, snapshot, True)
    single = scan_file(absolute, path, index=repository.index, algorithm=algorithm)
    return Look(path, single, False, bool(found.st_mode & stat.S_IXUSR) and stat.S_ISREG(found.st_mode))


def digest_of(repository: Repository, look: Look, *, algorithm: str = MD5) -> Digest | None:
    """Returns the content id of what is there now, or None when nothing (or nothing with content) is."""
    snapshot = look.snapshot
    if snapshot is None:
        return None
    if look.is_dir:
        return Digest(algorithm, directory_oid(snapshot, index=repository.index).oid)
    row = snapshot.folders.get("")
    return Digest(algorithm, row.digests.hex()) if row is not None else None


def current_tree(look: Look) -> Tree:
    """Returns the content of a look as a tree; a single file is named by its own name."""
    return look.snapshot.tree() if look.snapshot is not None else Tree({})


def wanted_tree(store: LooseStore, digest: Digest, name: str) -> Tree:
    """Returns what a digest stands for: a manifest's tree, or one file called `name`.

    Raises:
        ObjectMissingError, ObjectCorruptError, ManifestError: the manifest cannot be had.
    """
    if not digest.is_dir:
        return tree_of({name: digest.value})
    return parse_manifest(store.read(digest.value), name=digest.value)


def readable_tree(store: LooseStore, digest: Digest, name: str) -> Tree | None:
    """Returns the tree of a digest, or None where its manifest is missing or damaged."""
    try:
        return wanted_tree(store, digest, name)
    except (ObjectMissingError, ObjectCorruptError, FormatError):
        return None


def algorithm_of(digest: Digest | None) -> str:
    """Returns which kind of digest the data of an output is compared by."""
    return LEGACY_MD5 if digest is not None and digest.algorithm == LEGACY_MD5 else MD5


def refuse_symlinked_parents(repository: Repository, path: str, *, verb: str = "track") -> None:
    """Raises SymlinkedFolderError if a folder above `path` is a symbolic link out of the repository."""
    parts = path.split("/")[:-1]
    here = repository.root
    for part in parts:
        here = os.path.join(here, part)
        if os.path.islink(here):
            raise SymlinkedFolderError(
                f"cannot {verb} '{path}': '{os.path.relpath(here, repository.root)}' is a symbolic link",
                hint="track the folder that the link leads to, from inside its repository",
            )


def names_match_legacy(repository: Repository, look: Look, digest: Digest) -> bool:
    """Says whether data recorded by DVC 2.x or older is unchanged by the other of its two text rules.

    DVC 1 and 2 judge once a file whether it is text, DVC 3 judges each block; files over 1 MiB that mix both differ.
    """
    snapshot = look.snapshot
    if snapshot is None:
        return False
    tree = readable_tree(repository.store_for(LEGACY_MD5), digest, os.path.basename(look.path))
    if tree is None:
        return False
    recorded = dict(tree.files())
    found = dict(snapshot.tree().files())
    if recorded.keys() != found.keys():
        return False
    for relpath, oid in found.items():
        if recorded[relpath] != oid:
            ids = read_legacy_md5(os.path.join(snapshot.root, relpath))
            if bytes.fromhex(recorded[relpath]) not in ids:
                return False
    return True


def is_as_recorded(repository: Repository, look: Look, digest: Digest) -> bool:
    """Says whether what is there has the recorded content."""
    if look.snapshot is None or look.is_dir != digest.is_dir:
        return False
    if (
        digest.is_dir
        and digest.algorithm == MD5
        and is_known_other(look.snapshot, digest.value, index=repository.index)
    ):
        return False
    if digest_of(repository, look, algorithm=digest.algorithm) == digest:
        return not look.snapshot.strange
    return digest.algorithm == LEGACY_MD5 and names_match_legacy(repository, look, digest)

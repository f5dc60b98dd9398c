"""Looks at tracked data on disk and tells what it holds, reading only files whose stat changed since the last look.

Not here: comparing with what was recorded in metafiles (repo), changing anything (checkout).
Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kist.base import parallel
from kist.base.listing import (
    FOLDER_LINK,
    STAT_SIZE,
    Listing,
    list_directory,
    pack_stat,
    total_size,
    without_racy,
)
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.errors import InputError
from kist.formats.manifest import Tree, TreeFolder, fingerprint, render_manifest
from kist.formats.records import MD5
from kist.store.ingest import FileBatch, Stored, hash_batches, split_batches
from kist.store.statindex import DIGEST_SIZE, UNKNOWN, FolderRow, StatIndex, TreeRow
from kist.workspace.ignores import DirectoryMatcher, IgnoreTree

LOOP = "a symbolic link to a directory that holds it"
_FORK_FILES = 8000
_FORK_FOLDERS = 64
"""Files seen, and folders still to see, from which on processes of their own pay."""


class SpecialFileError(InputError):
    """Tracked data holds something that has no content: a named pipe, a socket, a device, a dead link (rule R17)."""

    code = "special-file"


class NameNotTextError(InputError):
    """A file name is not UTF-8, so that a manifest cannot hold it. Rename the file."""

    code = "name-not-text"


class Folder(NamedTuple):
    """The files right in one folder, as columns: names joined by NUL, stat records, md5 digests (UNKNOWN: unread)."""

    names: str
    stats: bytes
    digests: bytes

    def split(self) -> list[str]:
        """Returns the names as a list."""
        return self.names.split("\0") if self.names else []


class Snapshot(NamedTuple):
    """What a tracked directory, or single file, looked like.

    Attributes:
        root: absolute path of the directory, or of the folder that holds the single file.
        key: the directory, or the single file itself, relative to the repository, as the stat index calls it.
        space: the part of the stat index that its rows are in: the digest's algorithm, and whether it is one file.
        folders: path relative to `root` -> files. For a single file, one row "" with one name.
        links: relative paths of symbolic links to files.
        specials: (relative path, what it is) of entries without content.
        temps: absolute paths of temporary files of our own.
        stale: folders of the index below `key` that are no more.
        changed: folders that differ from the index, or hold unread files.
        times: wall clock in ns before and after the look.
        unread: number of files whose content is unknown.
        executables: relative paths of files in a directory with the owner's x bit.
    """

    root: str
    key: str
    space: str
    folders: dict[str, Folder]
    links: list[str]
    specials: list[tuple[str, str]]
    temps: list[str]
    stale: list[str]
    changed: set[str]
    times: tuple[int, int]
    unread: int
    executables: Sequence[str] = ()

    @property
    def strange(self) -> list[tuple[str, str]]:
        """The specials that data must not hold. Links to other folders may stay: they are left out, as in DVC."""
        return [item for item in self.specials if item[1] != FOLDER_LINK]

    def tree(self) -> Tree:
        """Returns the content as a tree; every file must have been read."""
        return Tree(
            {path: TreeFolder(row.names, row.digests) for path, row in self.folders.items() if row.names}
        )

    def size_bytes(self) -> int:
        """Returns the sum of the file sizes."""
        return sum(total_size(row.stats) for row in self.folders.values())

    def file_count(self) -> int:
        """Returns the number of files."""
        return sum(len(row.stats) for row in self.folders.values()) // STAT_SIZE

    def index_path(self, path: str) -> str:
        """Returns how the stat index calls the folder `path` of this snapshot."""
        if not path:
            return self.key
        return f"{self.key}/{path}" if self.key else path


def scan_directory(
    root: str,
    key: str,
    *,
    index: StatIndex,
    ignores: IgnoreTree | None,
    algorithm: str = MD5,
    workers: int = 1,
) -> Snapshot:
    """Returns what the directory holds, with digests of the files that did not change since they were recorded.

    Args: workers: how many processes may look at once; a small directory is looked at by one.

    Raises:
        OSError: a folder cannot be read.
    """
    known = index.folders(algorithm, key)
    started = time.time_ns()
    snapshot = Snapshot(root, key, algorithm, {}, [], [], [], [], set(), (started, started), 0)
    unread = 0
    executables: list[str] = []
    matcher = ignores.enter(key) if ignores is not None else None
    for found in _Walk(snapshot, known).run(matcher, workers):
        path, names, stats, digests, unknown, has_folders, links, specials, temps, x_bits = found
        row = Folder(names, stats, digests)
        if names is None:
            row = Folder(*known[snapshot.index_path(path)])
        else:
            snapshot.changed.add(path)
        if row.names or not has_folders or not path:
            snapshot.folders[path] = row
        unread += unknown
        snapshot.links.extend(links)
        snapshot.specials.extend(specials)
        snapshot.temps.extend(temps)
        executables += x_bits
    present = {snapshot.index_path(path) for path in snapshot.folders}
    stale = [path for path in known if path not in present]
    times = (started, time.time_ns())
    return snapshot._replace(unread=unread, stale=stale, times=times, executables=executables)


class _Walk:
    """Visits the folders of a directory, parents before children and siblings in order."""

    def __init__(self, snapshot: Snapshot, known: dict[str, FolderRow]) -> None:
        self.snapshot = snapshot
        self.known = known
        self.pending: list[tuple[str, DirectoryMatcher | None]] = []

    def run(self, matcher: DirectoryMatcher | None, workers: int) -> Iterator[tuple[Any, ...]]:
        """Yields what was found, folder by folder; shared out to processes as soon as it shows that it is much."""
        self.pending = [("", matcher)]
        files = 0
        while self.pending:
            if workers > 1 and files >= _FORK_FILES and len(self.pending) >= _FORK_FOLDERS:
                share = max(1, len(self.pending) // (8 * workers))
                requests = [(at, at + share) for at in range(0, len(self.pending), share)]
                self.pending.reverse()
                for answer in parallel.run_requests(self.handle, requests, workers=workers):
                    yield from answer
                return
            found = self._visit(*self.pending.pop(), self.pending)
            files += (
                len(found[2] or b"") // STAT_SIZE if found[1] is not None else self._known_files(found[0])
            )
            yield found

    def handle(self, request: Any, emit: Emit) -> list[tuple[Any, ...]]:
        """Returns what is in and below the pending folders [first, last)."""
        first, last = request
        found = []
        for start in self.pending[first:last]:
            below = [start]
            while below:
                found.append(self._visit(*below.pop(), below))
        return found

    def _known_files(self, path: str) -> int:
        return len(self.known[self.snapshot.index_path(path)].stats) // STAT_SIZE

    def _visit(
        self, path: str, matcher: DirectoryMatcher | None, pending: list[tuple[str, DirectoryMatcher | None]]
    ) -> tuple[Any, ...]:
        """Returns (path, names, stats, digests, number of unknown files, whether it has folders, links, specials,
        temps, executables) of one folder, and puts its folders on top of `pending`. Names are None where all is as
        recorded.
        """
        root = self.snapshot.root
        here = f"{root}/{path}" if path else root
        needs_asking = matcher is not None and not matcher.is_trivial
        listing = list_directory(here, matcher.is_ignored if needs_asking and matcher is not None else None)
        if matcher is not None and not needs_asking:
            listing = _without_built_in(listing, matcher)
        prefix = path + "/" if path else ""
        for name in reversed(listing.folders):
            pending.append((prefix + name, matcher.child(name) if matcher is not None else None))
        others = (
            bool(listing.folders),
            [prefix + name for name in listing.links],
            [(prefix + name, _special(here, name, what)) for name, what in listing.specials],
            [f"{here}/{name}" for name in listing.temps],
            [prefix + name for name in listing.executables],
        )
        row = self.known.get(self.snapshot.index_path(path))
        if row is not None and row.stats == listing.stats and row.names == listing.names:
            return path, None, None, None, 0, *others
        digests, unread = _recall(listing.names, listing.stats, row)
        return path, listing.names, listing.stats, digests, unread, *others


def _special(folder: str, name: str, what: str) -> str:
    """Returns what an entry is, where a link to a folder around it is more than a link to a folder: a loop."""
    if what != FOLDER_LINK:
        return what
    target = os.path.realpath(f"{folder}/{name}").rstrip("/") + "/"
    return LOOP if (os.path.realpath(folder) + "/").startswith(target) else what


def _without_built_in(listing: Listing, matcher: DirectoryMatcher) -> Listing:
    folders = [name for name in listing.folders if not matcher.is_ignored(name, True)]
    names = listing.names
    if names[:1] != "." and "\0." not in names:
        return listing._replace(folders=folders)
    split = names.split("\0")
    kept = [at for at, name in enumerate(split) if not matcher.is_ignored(name, False)]
    if len(kept) == len(split):
        return listing._replace(folders=folders)
    stats = b"".join([listing.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] for at in kept])
    return listing._replace(folders=folders, names="\0".join([split[at] for at in kept]), stats=stats)


def _recall(names: str, stats: bytes, row: FolderRow | None) -> tuple[bytes, int]:
    """Returns the digest column for a folder that differs from its row, and how many files are unknown in it."""
    if not names:
        return b"", 0
    split = names.split("\0")
    if row is None:
        return UNKNOWN * len(split), len(split)
    old = {name: at for at, name in enumerate(row.names.split("\0"))} if row.names else {}
    column = []
    unread = 0
    for at, name in enumerate(split):
        before = old.get(name)
        digest = UNKNOWN
        if before is not None:
            record = row.stats[before * STAT_SIZE : (before + 1) * STAT_SIZE]
            if record == stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]:
                digest = row.digests[before * DIGEST_SIZE : (before + 1) * DIGEST_SIZE]
        column.append(digest)
        unread += digest == UNKNOWN
    return b"".join(column), unread


def scan_file(path: str, key: str, *, index: StatIndex, algorithm: str = MD5) -> Snapshot | None:
    """Returns the snapshot of one file, or None where there is none.

    Args:
        path: absolute; what it leads to is looked at if it is a symbolic link.

    Raises:
        OSError: it cannot be looked at.
    """
    started = time.time_ns()
    root, name = os.path.split(path)
    space = f"{algorithm}:file"
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    is_link = stat.S_ISLNK(found.st_mode)
    empty = Snapshot(root, key, space, {}, [], [], [], [], set(), (started, time.time_ns()), 0)
    if is_link:
        try:
            found = os.stat(path)
        except OSError as error:
            what = f"a symbolic link that leads nowhere ({error.strerror})"
            return empty._replace(specials=[(name, what)])
    if not stat.S_ISREG(found.st_mode):
        return empty._replace(specials=[(name, "a special file")])
    stats = pack_stat(found)
    row = index.folder(space, key)
    digests, unread = _recall(name, stats, row)
    return empty._replace(
        folders={"": Folder(name, stats, digests)},
        links=[name] if is_link else [],
        changed={""} if unread else set(),
        unread=unread,
        times=(started, time.time_ns()),
    )


def refuse_specials(snapshot: Snapshot) -> None:
    """Raises SpecialFileError or NameNotTextError if something in the snapshot cannot be stored."""
    for relpath, what in snapshot.strange:
        raise SpecialFileError(
            f"cannot track '{os.path.join(snapshot.root, relpath)}': it is {what}",
            hint="move it elsewhere, or name it in .dvcignore",
        )
    for path, row in snapshot.folders.items():
        try:
            (path + row.names).encode("utf-8")
        except UnicodeEncodeError:
            bad = next(name for name in [path, *row.split()] if not _is_text(name))
            shown = os.path.join(snapshot.root, path, bad).encode("utf-8", "backslashreplace").decode()
            raise NameNotTextError(
                f"cannot track '{shown}': its name is not UTF-8", hint="rename it, or name it in .dvcignore"
            ) from None


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def unread_batches(snapshot: Snapshot) -> tuple[list[FileBatch], list[tuple[str, list[int]]]]:
    """Returns batches for the files whose content is unknown, and for each batch (folder, positions in its row)."""
    batches: list[FileBatch] = []
    places: list[tuple[str, list[int]]] = []
    for path, row in snapshot.folders.items():
        if path not in snapshot.changed or not row.names:
            continue
        names = row.names.split("\0")
        unknown = [
            at
            for at in range(len(names))
            if row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] == UNKNOWN
        ]
        if not unknown:
            continue
        folder = f"{snapshot.root}/{path}" if path else snapshot.root
        stats = [row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] for at in unknown]
        first = 0
        for batch in split_batches(folder, [names[at] for at in unknown], stats):
            count = len(batch.stats) // STAT_SIZE
            batches.append(batch)
            places.append((path, unknown[first : first + count]))
            first += count
    return batches, places


def with_columns(
    snapshot: Snapshot, places: Iterable[tuple[str, list[int]]], columns: Iterable[tuple[bytes, bytes | None]]
) -> Snapshot:
    """Returns the snapshot with digests, and new stat records where given, put in at `places`."""
    folders = dict(snapshot.folders)
    digests: dict[str, bytearray] = {}
    stats: dict[str, bytearray] = {}
    for (path, positions), (column, records) in zip(places, columns, strict=True):
        row = folders[path]
        target = digests.setdefault(path, bytearray(row.digests))
        looks = stats.setdefault(path, bytearray(row.stats))
        for k, at in enumerate(positions):
            target[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] = column[
                k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE
            ]
            if records is not None:
                looks[at * STAT_SIZE : (at + 1) * STAT_SIZE] = records[k * STAT_SIZE : (k + 1) * STAT_SIZE]
    for path, column_now in digests.items():
        folders[path] = folders[path]._replace(digests=bytes(column_now), stats=bytes(stats[path]))
    return snapshot._replace(folders=folders, unread=0)


def read_all(
    snapshots: Sequence[Snapshot], *, index: StatIndex, algorithm: str = MD5, workers: int, progress: Progress
) -> list[Snapshot]:
    """Returns the snapshots with every digest known, and records what was read.

    Raises:
        OSError: a file cannot be read.
    """
    batches: list[FileBatch] = []
    all_places = []
    for snapshot in snapshots:
        own, places = unread_batches(snapshot) if snapshot.unread else ([], [])
        batches += own
        all_places.append(places)
    columns = iter(
        hash_batches(batches, algorithm=algorithm, workers=workers, progress=progress) if batches else []
    )
    done = []
    for snapshot, places in zip(snapshots, all_places, strict=True):
        read = with_columns(snapshot, places, [(next(columns), None) for _ in places]) if places else snapshot
        remember(read, index=index)
        done.append(read)
    return done


def with_stored(snapshot: Snapshot, places: list[tuple[str, list[int]]], stored: list[Stored]) -> Snapshot:
    """Returns the snapshot after its unread files went into a store, with their digests and new stat records."""
    done = with_columns(snapshot, places, [(item.digests, item.stats) for item in stored])
    now = time.time_ns()
    return done._replace(times=(now, now))


def remember(snapshot: Snapshot, *, index: StatIndex) -> None:
    """Records the changed folders of a snapshot whose files are all known."""
    rows = []
    for path in snapshot.changed:
        row = snapshot.folders.get(path)
        if row is not None:
            stats = without_racy(row.stats, *snapshot.times)
            rows.append((snapshot.index_path(path), FolderRow(row.names, stats, row.digests)))
    index.save(snapshot.space, rows, gone=snapshot.stale)


def directory_oid(snapshot: Snapshot, *, index: StatIndex) -> TreeRow:
    """Returns the manifest id, total size and number of files of a snapshot whose files are all known.

    The manifest is made once for each content; afterwards a fingerprint finds its id.
    """
    return directory_manifest(snapshot, index=index)[0]


def directory_manifest(snapshot: Snapshot, *, index: StatIndex) -> tuple[TreeRow, bytes | None]:
    """Returns what `directory_oid` does, and the manifest's bytes where they had to be made."""
    tree = snapshot.tree()
    key = fingerprint(tree)
    known = index.tree(key)
    if known is not None:
        return known, None
    import hashlib  # unchanged data needs none

    data = render_manifest(tree)
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    row = TreeRow(oid, snapshot.size_bytes(), snapshot.file_count())
    remember_tree(key, row, index=index)
    return row, data


def remember_tree(key: bytes, row: TreeRow, *, index: StatIndex) -> None:
    """Remembers a tree's id by its fingerprint, and the other way round."""
    index.save(MD5, (), trees=[(key, row), (row.oid.encode(), TreeRow(key.hex(), row.size, row.files))])


def is_known_other(snapshot: Snapshot, oid: str, *, index: StatIndex) -> bool:
    """Says whether the snapshot certainly is not the tree `oid`: cheaper than making its manifest to compare ids."""
    known = index.tree(oid.encode())
    return known is not None and known.oid != fingerprint(snapshot.tree()).hex()

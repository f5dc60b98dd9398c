"""`remote ls`: what a remote holds, by the names that people know.

Not here: the layout on the screen (cli), removing what nothing needs (gc). Implements docs/spec/remotes.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import FormatError, KistError, MissingError
from kist.formats.manifest import member_oids, parse_manifest
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.remotes.base import Remote
from kist.remotes.local import FolderRemote
from kist.repo.members import read_manifests, staging_path
from kist.repo.named import Named, Scope, named
from kist.repo.transfers import can_list, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_ALGORITHMS = (MD5, LEGACY_MD5)


class NothingNamedError(MissingError):
    """No version of the data has the path that was asked for."""

    code = "path-not-tracked"


class UnreadableListError(MissingError):
    """Which files a tracked directory has cannot be told: its list of files is damaged or nowhere."""

    code = "list-of-files-unreadable"


class Row(NamedTuple):
    """One version of a tracked path, or of a file in a tracked directory.

    Attributes:
        files: how many it has; None when its list of files can be read nowhere.
        missing: how many of them, and of lists of files, the remote lacks.
        size_bytes: of what the remote has of it; None where the service tells no sizes.
        refs: branches and tags whose tips need it.
        commit: the newest commit that needs it; "" for the workspace.
    """

    path: str
    digest: Digest
    files: int | None
    missing: int
    size_bytes: int | None
    refs: tuple[str, ...]
    commit: str

    @property
    def is_complete(self) -> bool:
        """Says whether the remote has all of it."""
        return self.files is not None and not self.missing


class Contents(NamedTuple):
    """What a remote holds.

    Attributes:
        unneeded: number and bytes of objects that nothing names; None when a path was asked for, or it cannot list.
        damaged: metafiles that could not be read, a line each: what they need counts as unneeded.
    """

    remote: str
    rows: list[Row]
    unneeded: tuple[int, int] | None
    damaged: list[str]


class _Held:
    """The objects of a remote: id -> size, or what was asked about where it cannot list, each object once."""

    def __init__(self, repository: Repository, remote: Remote) -> None:
        self._remote = remote
        self.lists = can_list(remote)
        self.sizes: dict[str, dict[str, int]] = {algorithm: {} for algorithm in _ALGORITHMS}
        self._asked: dict[str, set[str]] = {algorithm: set() for algorithm in _ALGORITHMS}
        self._lacking: dict[str, set[str]] = {algorithm: set() for algorithm in _ALGORITHMS}
        if self.lists:
            for algorithm in _ALGORITHMS:
                listing = remote.beyond(set(), algorithm, workers=repository.workers)
                self.sizes[algorithm] = {item.oid: item.size_bytes for item in listing.leftovers}

    def missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that are not there."""
        if self.lists:
            return oids - self.sizes[algorithm].keys()
        # Versions share most of their files.
        fresh = oids - self._asked[algorithm]
        if fresh:
            self._lacking[algorithm] |= self._remote.missing(fresh, algorithm)
            self._asked[algorithm] |= fresh
        return oids & self._lacking[algorithm]

    @property
    def is_empty(self) -> bool:
        """Says whether it is seen that nothing is there."""
        return self.lists and not any(self.sizes.values())

    def size(self, oids: set[str], algorithm: str) -> int | None:
        """Returns the sum of the sizes of those that are there."""
        sizes = self.sizes[algorithm]
        return sum(sizes.get(oid, 0) for oid in oids) if self.lists else None


def remote_contents(repository: Repository, name: str | None, path: str | None = None) -> Contents:
    """Returns the versions of tracked data of which a remote has something, and what nothing needs there.

    Args: path: relative to the root: outputs at or below it, or files inside of a tracked directory; versions of which
        the remote has nothing are told as well.

    Raises: NothingNamedError, UnreadableListError, and those of opening and listing the remote.
    """
    remote, note = open_remote(repository, name)
    repository.notes += [note] if note else []
    damaged: list[str] = []

    def left_out(where: str, error: FormatError) -> None:
        damaged.append(f"left out '{where}': {error.message}")

    try:
        if isinstance(remote, FolderRemote):
            remote.check_readable()
        held = _Held(repository, remote)
        scope = Scope(commits=True, experiments=True, stash=True)
        items = list(named(repository, scope, on_damage=left_out, with_refs=True))
        needed: dict[str, set[str]] = {algorithm: set() for algorithm in _ALGORITHMS}
        age = {(item.path, item.digest): number for number, item in enumerate(items)}
        rows: list[tuple[str, int, Row]] = []
        unreadable: dict[str, int] = {}
        for item, data in _with_manifests(repository, items, remote):
            found = _rows(item, data, held, path)
            number = age[item.path, item.digest]
            rows += [(row.path, number, row) for row in found if path or _may_have_some(row, held)]
            needed[item.digest.algorithm] |= _objects(item, data)
            if (
                path
                and item.digest.is_dir
                and path.startswith(item.path + "/")
                and not _is_readable(item, data)
            ):
                unreadable[item.path] = unreadable.get(item.path, 0) + 1
        if unreadable and not rows:
            where = next(iter(unreadable))
            raise UnreadableListError(
                f"cannot tell what remote '{remote.name}' has of '{path}': the list of files of '{where}' can be read"
                " neither there nor in the cache",
                hint=shell_line("kist", "fsck", "-r", remote.name),
            )
        for where, count in unreadable.items():
            damaged.append(f"left out {count} version(s) of '{where}': the list of files cannot be read")
        if path and not rows:
            raise NothingNamedError(
                f"cannot tell what remote '{remote.name}' has of '{path}': no version of the data has that path",
                hint="kist list . -R",
            )
        unneeded = None
        if not path and held.lists:
            rest = [
                size
                for algorithm, sizes in held.sizes.items()
                for oid, size in sizes.items()
                if oid not in needed[algorithm]
            ]
            unneeded = (len(rest), sum(rest))
        rows.sort()  # no two rows have the same path and age
        return Contents(remote.name, [row for _, _, row in rows], unneeded, damaged)
    finally:
        remote.close()


def _may_have_some(row: Row, held: _Held) -> bool:
    """Says whether the remote has something of a version, or may have: without its list of files that is unknown."""
    if row.files is None:
        return not held.is_empty
    return row.missing < row.files + row.digest.is_dir


def _with_manifests(
    repository: Repository, items: Sequence[Named], remote: Remote
) -> Iterator[tuple[Named, bytes | None]]:
    """Yields each version, those of directories with their lists of files where these can be had."""
    for item in items:
        if not item.digest.is_dir:
            yield item, None
    for algorithm in _ALGORITHMS:
        by_oid: dict[str, list[Named]] = {}
        for item in items:
            if item.digest.is_dir and item.digest.algorithm == algorithm:
                by_oid.setdefault(item.digest.value, []).append(item)
        unread: list[str] = []

        def note(oid: str, _: KistError, unread: list[str] = unread) -> None:
            unread.append(oid)

        store, staging = repository.store_for(algorithm), staging_path(repository)
        for oid, data in read_manifests(store, by_oid, remotes=[remote], staging=staging, on_failure=note):
            for item in by_oid[oid]:
                yield item, data
        for oid in unread:
            for item in by_oid[oid]:
                yield item, None


def _is_readable(item: Named, data: bytes | None) -> bool:
    try:
        return data is not None and bool(parse_manifest(data, name=item.digest.value))
    except FormatError:
        return False


def _objects(item: Named, data: bytes | None) -> set[str]:
    try:
        members = member_oids(data, name=item.digest.value) if data is not None else set()
    except FormatError:
        members = set()
    return members | {item.digest.value}


def _rows(item: Named, data: bytes | None, held: _Held, path: str | None) -> list[Row]:
    """Returns the rows of a version that the path means."""
    if path and item.path != path and not item.path.startswith(path + "/"):
        if data is None or not path.startswith(item.path + "/"):
            return []
        return _inner_rows(item, data, held, path[len(item.path) + 1 :])
    oids = _objects(item, data)
    algorithm = item.digest.algorithm
    lacking = held.missing(oids, algorithm)
    files: int | None = 1
    if item.digest.is_dir:
        files = len(oids) - 1 if data is not None else None
    return [
        Row(item.path, item.digest, files, len(lacking), held.size(oids, algorithm), item.refs, item.commit)
    ]


def _inner_rows(item: Named, data: bytes, held: _Held, inner: str) -> list[Row]:
    algorithm = item.digest.algorithm
    try:
        files = [
            (relpath, oid)
            for relpath, oid in parse_manifest(data, name=item.digest.value).files()
            if relpath == inner or relpath.startswith(inner + "/")
        ]
    except FormatError:
        return []
    lacking = held.missing({oid for _, oid in files}, algorithm)
    return [
        Row(
            f"{item.path}/{relpath}",
            Digest(algorithm, oid),
            1,
            int(oid in lacking),
            held.size({oid}, algorithm),
            item.refs,
            item.commit,
        )
        for relpath, oid in files
    ]

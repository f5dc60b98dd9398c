"""How many files, and bytes, came, went and changed between two versions of an output.

Reads manifests from the cache, or from the memory of those seen before, each once while it is among the last few; never
the data itself. What neither has is unknown, never guessed. Not here: which versions there are (history), words (the
verbs and the cli).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError
from kist.formats.manifest import compare_manifests, parse_manifest
from kist.formats.records import LEGACY_MD5, MD5, Digest, Output
from kist.repo.manifests import Manifests
from kist.store.loose import ObjectCorruptError, ObjectMissingError

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_KEPT_MANIFESTS = 4
"""Manifests of large directories have megabytes: following versions share one, older ones are not needed again."""


class Tally(NamedTuple):
    """Numbers of files, and their bytes: those that came, those that changed (as they are now), those that went.

    Bytes are None where a size is unknown.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    added_bytes: int | None = 0
    changed_bytes: int | None = 0
    removed_bytes: int | None = 0

    @property
    def is_empty(self) -> bool:
        """Says whether nothing differs."""
        return not (self.added or self.changed or self.removed)


def total(tallies: Iterable[Tally | None]) -> Tally | None:
    """Returns the sum; None if one is unknown."""
    sums = Tally()
    for tally in tallies:
        if tally is None:
            return None
        sums = Tally(
            sums.added + tally.added,
            sums.changed + tally.changed,
            sums.removed + tally.removed,
            _plus(sums.added_bytes, tally.added_bytes),
            _plus(sums.changed_bytes, tally.changed_bytes),
            _plus(sums.removed_bytes, tally.removed_bytes),
        )
    return sums


def _plus(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


class Counter:
    """Compares versions of outputs."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._manifests: dict[Digest, bytes | None] = {}
        self._sizes: dict[tuple[str, str], int | None] = {}

    def manifest(self, digest: Digest) -> bytes | None:
        """Returns a manifest's bytes, or None where neither cache nor memory has it intact."""
        if digest in self._manifests:
            self._manifests[digest] = self._manifests.pop(digest)  # the last in is the last to go
            return self._manifests[digest]
        data: bytes | None
        try:
            data = self._repository.store_for(digest.algorithm).read(digest.value)
        except (ObjectMissingError, ObjectCorruptError):
            data = Manifests(self._repository).recall(digest)
        self.know(digest, data)
        return data

    def know(self, digest: Digest, manifest: bytes | None) -> None:
        """Remembers a manifest that the cache may not have."""
        self._manifests[digest] = manifest
        if len(self._manifests) > _KEPT_MANIFESTS:
            del self._manifests[next(iter(self._manifests))]

    def compare(self, old: Output | None, new: Output | None, *, inner: str = "") -> Tally | None:
        """Returns how an output differs between two versions; None where that is unknown.

        Args:
            old, new: None where a version does not have it.
            inner: only what is at or below this path of a directory.
        """
        before = old.digest if old is not None else None
        after = new.digest if new is not None else None
        if before == after:
            return Tally()
        if not inner:
            whole = _as_whole(old, new)
            if whole is not None:
                return whole
        found = self._differing(before, after)
        if found is None:
            return None
        gone, came = (_part(files, inner) for files in found)
        added = {path: oid for path, oid in came.items() if path not in gone}
        changed = {path: oid for path, oid in came.items() if path in gone}
        removed = {path: oid for path, oid in gone.items() if path not in came}
        grown = _grown(old, new) if not inner else None
        if grown is not None and grown >= 0 and not (changed or removed):
            return Tally(added=len(added), added_bytes=grown)
        if grown is not None and grown <= 0 and not (changed or added):
            return Tally(removed=len(removed), removed_bytes=-grown)
        return Tally(
            len(added),
            len(changed),
            len(removed),
            self._size(after, added, new),
            self._size(after, changed, new),
            self._size(before, removed, old),
        )

    def _differing(
        self, before: Digest | None, after: Digest | None
    ) -> tuple[dict[str, str], dict[str, str]] | None:
        """Returns path -> id of the files that only one of two versions has so."""
        if before is None or after is None or not (before.is_dir and after.is_dir):
            gone, came = self._members(before), self._members(after)
            return None if gone is None or came is None else (gone, came)
        if before.algorithm != after.algorithm:
            return None  # ids of two kinds tell nothing of each other
        manifests = self.manifest(before), self.manifest(after)
        if manifests[0] is None or manifests[1] is None:
            return None
        try:
            return compare_manifests(manifests[0], manifests[1], name=after.value)
        except FormatError:
            return None

    def _members(self, digest: Digest | None) -> dict[str, str] | None:
        """Returns path -> id of the files of one version; a single file has the path ""."""
        if digest is None:
            return {}
        if not digest.is_dir:
            return {"": digest.value}
        manifest = self.manifest(digest)
        try:
            return None if manifest is None else dict(parse_manifest(manifest, name=digest.value).files())
        except FormatError:
            return None

    def _size(self, digest: Digest | None, files: dict[str, str], output: Output | None) -> int | None:
        if not files or digest is None:
            return 0
        if not digest.is_dir and output is not None and output.size is not None:
            return output.size
        sizes = [self._size_of(digest.algorithm, oid) for oid in files.values()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _size_of(self, algorithm: str, oid: str) -> int | None:
        key = (algorithm, oid)
        if key not in self._sizes:
            record = self._repository.store_for(algorithm).stat(oid)
            self._sizes[key] = None if record is None else int.from_bytes(record[8:16], "little")
        return self._sizes[key]


def _as_whole(old: Output | None, new: Output | None) -> Tally | None:
    """Returns the figures of an output that came or went whole, as its metafile has them; else None."""
    for mine, other in ((old, new), (new, old)):
        if other is not None and other.digest is not None:
            continue
        if mine is None or mine.digest is None or mine.digest.algorithm not in (MD5, LEGACY_MD5):
            return None
        files = mine.nfiles if mine.digest.is_dir else 1
        if files is None or mine.size is None:
            return None
        if mine is new:
            return Tally(added=files, added_bytes=mine.size)
        return Tally(removed=files, removed_bytes=mine.size)
    return None


def _grown(old: Output | None, new: Output | None) -> int | None:
    """Returns by how many bytes an output is larger, as its metafiles have it; None where one does not tell."""
    if old is None or new is None or old.size is None or new.size is None:
        return None
    return new.size - old.size


def _part(files: dict[str, str], inner: str) -> dict[str, str]:
    if not inner:
        return files
    return {path: oid for path, oid in files.items() if path == inner or path.startswith(inner + "/")}

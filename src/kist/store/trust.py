"""Which objects of a store were read and found right, and how their files looked then (rule R6).

An object is trusted without reading while its (inode, size, mtime_ns, ctime_ns) stays what it was. Records live in the
stat index, one row a prefix folder. Not here: the reading. Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from kist.base.listing import STAT_SIZE
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE, FolderRow, StatIndex

_MANY = 20_000
"""From here on reading all rows costs less than looking for each digest."""


class Trust:
    """The trust records of one store."""

    def __init__(self, index: StatIndex, store: LooseStore) -> None:
        self._index = index
        self._space = f"store:{store.root}"

    def records(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Returns digest (16 bytes) -> packed stat record for those of `digests` that are trusted."""
        wanted = digests if isinstance(digests, set) else set(digests)
        if len(wanted) > _MANY:
            rows: Iterable[FolderRow] = self._index.folders(self._space, "").values()
            return {digest: record for row in rows for digest, record in _pairs(row) if digest in wanted}
        found: dict[bytes, bytes] = {}
        by_prefix: dict[bytes, list[bytes]] = {}
        for digest in wanted:
            by_prefix.setdefault(digest[:1], []).append(digest)
        for prefix, group in by_prefix.items():
            row = self._index.folder(self._space, prefix.hex())
            for digest in group if row is not None else ():
                at = _find(row.digests, digest) if row is not None else -1
                if row is not None and at >= 0:
                    found[digest] = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
        return found

    def add(self, pieces: Iterable[bytes], *, gone: Iterable[bytes] = ()) -> None:
        """Adds and replaces records.

        Args:
            pieces: digest and stat record of each object, joined (48 bytes).
            gone: digests of objects that are no longer there, or no longer trusted.
        """
        changed: dict[str, list[bytes]] = {}
        for piece in pieces:
            changed.setdefault(piece[:1].hex(), []).append(piece)
        removed: dict[str, list[bytes]] = {}
        for digest in gone:
            removed.setdefault(digest[:1].hex(), []).append(digest)
        if changed or removed:
            self._index.save(self._space, self._merged(changed, removed))

    def _merged(
        self, changed: dict[str, list[bytes]], removed: dict[str, list[bytes]]
    ) -> Iterable[tuple[str, FolderRow]]:
        for prefix in sorted(changed.keys() | removed.keys()):
            row = self._index.folder(self._space, prefix) or FolderRow("", b"", b"")
            stats, digests = bytearray(row.stats), bytearray(row.digests)
            for digest in removed.get(prefix, ()):
                at = _find(digests, digest)
                if at >= 0:
                    del stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
                    del digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
            fresh: dict[bytes, bytes] = {}
            for piece in changed.get(prefix, ()):
                at = _find(digests, piece[:DIGEST_SIZE])
                if at >= 0:
                    stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] = piece[DIGEST_SIZE:]
                else:
                    fresh[piece[:DIGEST_SIZE]] = piece[DIGEST_SIZE:]
            stats += b"".join(fresh.values())
            digests += b"".join(fresh)
            yield prefix, FolderRow("", bytes(stats), bytes(digests))


def _find(digests: bytes | bytearray, digest: bytes) -> int:
    """Returns the position of a digest in a column, or -1."""
    at = digests.find(digest)
    while at >= 0 and at % DIGEST_SIZE:
        at = digests.find(digest, at + 1)
    return at // DIGEST_SIZE if at >= 0 else -1


def _pairs(row: FolderRow) -> Iterable[tuple[bytes, bytes]]:
    digests, stats = row.digests, row.stats
    return [
        (digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE], stats[at * STAT_SIZE : (at + 1) * STAT_SIZE])
        for at in range(len(digests) // DIGEST_SIZE)
    ]

"""Which objects of a store were read and found right, and how their files looked then (rule R6).

An object is trusted without reading while its (inode, size, mtime_ns, ctime_ns) stays what it was. Records live in the
stat index, one row a prefix folder. Not here: the reading. Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from kist.base.listing import STAT_SIZE
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE, FolderRow, StatIndex


class Trust:
    """The trust records of one store."""

    def __init__(self, index: StatIndex, store: LooseStore) -> None:
        self._index = index
        self._space = f"store:{store.root}"

    def records(self) -> dict[bytes, bytes]:
        """Returns digest (16 bytes) -> packed stat record for all trusted objects."""
        found: dict[bytes, bytes] = {}
        for row in self._index.folders(self._space, "").values():
            found.update(_pairs(row))
        return found

    def records_of(self, prefix: str) -> dict[bytes, bytes]:
        """Returns the records of one prefix folder."""
        row = self._index.folder(self._space, prefix)
        return {} if row is None else dict(_pairs(row))

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
            records = self.records_of(prefix)
            for digest in removed.get(prefix, ()):
                records.pop(digest, None)
            for piece in changed.get(prefix, ()):
                records[piece[:DIGEST_SIZE]] = piece[DIGEST_SIZE:]
            digests = sorted(records)
            yield prefix, FolderRow("", b"".join([records[digest] for digest in digests]), b"".join(digests))


def _pairs(row: FolderRow) -> Iterable[tuple[bytes, bytes]]:
    digests, stats = row.digests, row.stats
    return [
        (digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE], stats[at * STAT_SIZE : (at + 1) * STAT_SIZE])
        for at in range(len(digests) // DIGEST_SIZE)
    ]

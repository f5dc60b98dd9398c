"""Which objects of a store were read and found right, and how their files looked then (rule R6).

An object is trusted without reading while its (inode, size, mtime_ns, ctime_ns) stays what it was. Records live in the
stat index, one row a prefix folder. Not here: the reading. Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable

from kist.base.listing import STAT_SIZE, UNTRUSTED, list_directory, without_racy
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE, FolderRow, StatIndex

_MANY = 20_000
"""From here on reading all rows costs less than looking for each digest."""

SHARE = 5_000
"""How many objects of a large store `changed` looks at in one call."""


class Trust:
    """The trust records of one store."""

    def __init__(self, index: StatIndex, store: LooseStore) -> None:
        self._index = index
        self._store = store
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

    def changed(self) -> dict[bytes, bytes]:
        """Returns digest -> stat record as it was, for trusted objects that are there and do not look like that now.

        Of a large store, those of the prefix folders whose turn it is.
        """
        rows = self._index.folders(self._space, "")
        found: dict[bytes, bytes] = {}
        for prefix in self._share(rows):
            try:
                listing = list_directory(f"{self._store.root}/{prefix}", follow_links=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            names = listing.names.split("\0") if listing.names else []
            now = {
                name: listing.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] for at, name in enumerate(names)
            }
            for digest, record in _pairs(rows[prefix]):
                look = now.get(digest.hex()[2:])
                if look is not None and look != record:
                    found[digest] = record
        return found

    def _share(self, rows: dict[str, FolderRow]) -> list[str]:
        """Returns the prefixes to look at now."""
        prefixes = sorted(rows)
        if sum(len(row.digests) for row in rows.values()) <= SHARE * DIGEST_SIZE:
            return prefixes
        last = self._index.folder("turn", self._space)
        first = bisect.bisect_right(prefixes, last.names) if last is not None else 0
        chosen: list[str] = []
        size = 0
        for prefix in prefixes[first:] + prefixes[:first]:
            size += len(rows[prefix].digests) // DIGEST_SIZE
            if chosen and size > SHARE:
                break
            chosen.append(prefix)
        self._index.save("turn", [(self._space, FolderRow(chosen[-1], b"", b""))])
        return chosen

    def recheck(self, digest: bytes) -> bool:
        """Reads an object again and says whether it is right; what is known of it is corrected.

        Raises: OSError: it cannot be read.
        """
        oid = digest.hex()
        before, started = self._store.stat(oid), time.time_ns()
        if not self._store.is_intact(oid):
            self.add((), gone=[digest])
            return False
        record = without_racy(before, started, started) if before is not None else UNTRUSTED
        if record != UNTRUSTED and self._store.stat(oid) == record:
            self.add([digest + record])
        return True

    def row(self, prefix: str) -> FolderRow | None:
        """Returns what is known of one prefix folder."""
        return self._index.folder(self._space, prefix)

    def put_row(self, prefix: str, row: FolderRow) -> None:
        """Replaces what is known of a prefix folder, all of which was read."""
        self._index.save(self._space, [(prefix, row)])

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

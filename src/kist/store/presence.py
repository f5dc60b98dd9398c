"""Whether all objects of a directory are in a store, without asking for each: by the state of the prefix folders.

While neither a prefix folder nor the manifest has changed since all members were seen there, they still are.
Not here: whether their bytes are right (trust). Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

from kist.base.listing import RACY_NS, pack_stat, settle, unpack_stat
from kist.formats.records import MD5
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex, TreeRow

_COMPLETE = "complete"


class Presence:
    """Answers for one store during one command, in which nobody else is expected to remove objects."""

    def __init__(self, index: StatIndex, store: LooseStore) -> None:
        self._index = index
        self._store = store
        self._state: bytes | None = None
        self._is_settled = False

    def has_all(self, oid: str, members: Callable[[], set[str]]) -> bool:
        """Says whether the store has the manifest `oid` and every member.

        Args: members: gives the ids; only called when the answer is not known.
        """
        if not self._store.has(oid):
            return False
        if self.is_known(oid):
            return True
        if self._store.missing(members()):
            return False
        self.note(oid)
        return True

    def is_known(self, oid: str) -> bool:
        """Says whether everything of the manifest `oid` was seen in the store and nothing can have gone since."""
        known = self._index.tree(self._key(oid))
        return known is not None and known == self._row(oid)

    def note(self, oid: str) -> None:
        """Remembers that the store has the manifest and all members, as the caller just saw."""
        key = self._key(oid)
        if not self._is_settled:
            settle()  # a folder that changed just now could change again without a trace
            self._state = None
            key = self._key(oid)
        row = self._row(oid)
        if self._is_settled and row is not None:
            self._index.save(MD5, (), trees=[(key, row)])

    def _row(self, oid: str) -> TreeRow | None:
        """Returns what is remembered of a complete manifest: how its file looks."""
        found = self._store.stat(oid)
        if found is None:
            return None
        _, size, mtime_ns, ctime_ns = unpack_stat(found)
        return TreeRow(f"{_COMPLETE} {mtime_ns} {ctime_ns}", size, 0)

    def _key(self, oid: str) -> bytes:
        return hashlib.blake2b(self._folders() + oid.encode(), digest_size=16).digest()

    def _folders(self) -> bytes:
        """Returns bytes that change whenever an object is added to or removed from the store."""
        if self._state is None:
            root = self._store.root
            digest = hashlib.blake2b(root.encode("utf-8", "surrogateescape"), digest_size=16)
            newest = 0
            for number in range(256):
                try:
                    found = os.stat(f"{root}/{number:02x}")
                except OSError:
                    digest.update(b"-")
                    continue
                digest.update(pack_stat(found))
                newest = max(newest, found.st_ctime_ns)
            self._is_settled = newest < time.time_ns() - RACY_NS
            self._state = digest.digest()
        return self._state

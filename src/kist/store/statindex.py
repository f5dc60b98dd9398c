"""What was known of files when they were last read: packed stats and digests, one row a directory, in SQLite.

Trust rests on it: a file whose (inode, size, mtime_ns, ctime_ns) equals its record holds the recorded content. The
database is disposable: garbage in it is thrown away, and where it cannot be written everything works, only slower.
Not here: listing directories, hashing. Implements docs/spec/stat-index.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base.listing import STAT_SIZE

if TYPE_CHECKING:
    import sqlite3

DIGEST_SIZE = 16
UNKNOWN = b"\0" * DIGEST_SIZE
"""The digest column's value for a file that was not read."""

_VERSION = 1
_WAIT_S = 0.2
"""For another process that writes: work done again costs less than a person who waits for a lock."""
_SCHEMA = (
    "CREATE TABLE folders (space TEXT, path TEXT, names TEXT, stats BLOB, digests BLOB)",
    "CREATE UNIQUE INDEX folders_by_path ON folders (space, path)",
    "CREATE TABLE trees (fingerprint BLOB PRIMARY KEY, oid TEXT, size INTEGER, files INTEGER) WITHOUT ROWID",
)


_ALL = "SELECT path, names, stats, digests FROM folders WHERE space = ?"
_BELOW = _ALL + " AND (path = ? OR (path >= ? AND path < ?))"


class FolderRow(NamedTuple):
    """One recorded directory: names joined by NUL in code-point order, and two columns beside them."""

    names: str
    stats: bytes
    digests: bytes


class TreeRow(NamedTuple):
    """A manifest's id and figures, remembered by what went into it."""

    oid: str
    size: int
    files: int


class StatIndex:
    """The index of one repository. Never raises because of its own state (rule R11)."""

    def __init__(self, path: str) -> None:
        """Args: path: the database file; its directory is made when something is to be written."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._is_open = False
        self._is_broken = False
        self._pending: list[tuple[str, list[tuple[Any, ...]]]] = []

    def folders(self, space: str, top: str) -> dict[str, FolderRow]:
        """Returns the rows of `top` and of all folders below it, by path ("" is the root of the space)."""
        values: tuple[str, ...] = (space, top, top + "/", top + "0") if top else (space,)
        found = self._select(_BELOW if top else _ALL, values)
        return {
            path: FolderRow(names, stats, digests)
            for path, names, stats, digests in found
            if _fits(stats, digests)
        }

    def folder(self, space: str, path: str) -> FolderRow | None:
        """Returns one row, or None."""
        query = "SELECT names, stats, digests FROM folders WHERE space = ? AND path = ?"
        for names, stats, digests in self._select(query, (space, path)):
            if _fits(stats, digests):
                return FolderRow(names, stats, digests)
        return None

    def tree(self, fingerprint: bytes) -> TreeRow | None:
        """Returns the manifest that was made of content with this fingerprint, or None."""
        for row in self._select("SELECT oid, size, files FROM trees WHERE fingerprint = ?", (fingerprint,)):
            return TreeRow(*row)
        return None

    def save(
        self,
        space: str,
        rows: Iterable[tuple[str, FolderRow]],
        *,
        gone: Iterable[str] = (),
        trees: Iterable[tuple[bytes, TreeRow]] = (),
    ) -> None:
        """Notes rows; they are written, in one transaction, by `flush`, `close` or the next look-up."""
        replace = "INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?)"
        changes: list[tuple[str, list[tuple[Any, ...]]]] = [
            (replace, [(space, path, *row) for path, row in rows]),
            ("DELETE FROM folders WHERE space = ? AND path = ?", [(space, path) for path in gone]),
            ("INSERT OR REPLACE INTO trees VALUES (?, ?, ?, ?)", [(key, *row) for key, row in trees]),
        ]
        self._pending += [(statement, values) for statement, values in changes if values]

    def flush(self) -> None:
        """Writes what was noted; does nothing where the index cannot be written."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._write(pending)

    def close(self) -> None:
        """Writes what was noted and closes the database."""
        self.flush()
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._is_open = False

    def _select(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        self.flush()
        connection = self._connect(create=False)
        if connection is None:
            return []
        import sqlite3

        try:
            return connection.execute(query, values).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_locked(error):
                self._discard(error)
            return []

    def _write(self, changes: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        import sqlite3

        for attempt in range(2):
            connection = self._connect(create=True)
            if connection is None:
                return
            try:
                with connection:
                    for statement, values in changes:
                        connection.executemany(statement, values)
                return
            except sqlite3.OperationalError as error:
                if not _is_damage(error):
                    return  # locked, read-only, full: the next command does the work again
                self._discard(error)
            except sqlite3.DatabaseError as error:
                self._discard(error)
            except UnicodeEncodeError:
                return  # a name that is not UTF-8 has no place in the index
            if attempt:
                self._is_broken = True

    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        if self._is_broken:
            return None
        if self._connection is not None:
            return self._connection
        if self._is_open and not create:
            return None
        self._is_open = True
        exists = os.path.exists(self._path)
        if not exists and not create:
            return None
        import sqlite3  # 4 ms, and `kist --version` needs none of it

        for _ in range(2):
            try:
                opened = self._open(sqlite3, exists)
                self._connection = opened
                return opened
            except sqlite3.OperationalError as error:
                if _is_locked(error):
                    break
                if not _is_damage(error):
                    return self._open_read_only(sqlite3)
                self._remove()
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                self._remove()
            except OSError:
                break
            exists = False
        self._is_broken = True
        return None

    def _open(self, module: Any, exists: bool) -> sqlite3.Connection:
        if not exists:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
        connection: sqlite3.Connection = module.connect(self._path, timeout=_WAIT_S)
        # WAL: readers and a writer do not wait for each other. NORMAL: a power cut loses the newest rows, not the file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    for table in ("folders", "trees"):
                        connection.execute(f"DROP TABLE IF EXISTS {table}")
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection

    def _open_read_only(self, module: Any) -> sqlite3.Connection | None:
        import urllib.parse

        if os.path.exists(
            self._path + "-wal"
        ):  # without it the pages may be of different ages, a row half of each
            self._is_broken = True
            return None
        quoted = urllib.parse.quote(os.path.abspath(self._path))
        try:
            address = f"file:{quoted}?mode=ro&immutable=1"
            connection: sqlite3.Connection = module.connect(address, uri=True)
            if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
                self._connection = connection
                return connection
        except module.DatabaseError:
            pass
        self._is_broken = True
        return None

    def _discard(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._is_open = False
        self._remove()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                os.unlink(self._path + suffix)
            except FileNotFoundError:
                pass
            except OSError:
                self._is_broken = True


def _fits(stats: bytes, digests: bytes) -> bool:
    return len(stats) // STAT_SIZE >= len(digests) // DIGEST_SIZE


def _is_damage(error: Exception) -> bool:
    text = str(error)
    return (
        "malformed" in text or "no such table" in text or "no such column" in text or "not a database" in text
    )


def _is_locked(error: Exception) -> bool:
    text = str(error)
    return "locked" in text or "busy" in text

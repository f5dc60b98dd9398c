"""A folder as a remote: on a local disk or a mounted share.

Not here: the copying itself (store.copying). Implements docs/spec/remotes.md.
"""

from __future__ import annotations

import bisect
import os
import time
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING, Any

from kist.base import atomic, parallel
from kist.base.listing import STAT_SIZE, UNTRUSTED, list_directory, unpack_stat
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.base.shell import shell_line
from kist.errors import MissingError, StorageError
from kist.formats.records import MD5
from kist.remotes.base import SizeOf
from kist.store import garbage
from kist.store.copying import CopyOutcome, copy_objects
from kist.store.loose import LooseStore, sweep_staging
from kist.store.presence import Presence
from kist.store.statindex import DIGEST_SIZE, FolderRow, StatIndex

if TYPE_CHECKING:
    from kist.base.limiter import Limiter

SHARE = 8_000
"""Objects of a remote whose stat is looked at in one push."""
_SMALL_SHARE = 8
"""For less than such a part of a folder, records are put in one by one; else all are sorted again."""


class RemoteFolderMissingError(MissingError):
    """A remote's folder does not exist, so nothing can be read from it. Is the disk mounted?"""

    code = "remote-folder-missing"


class RemoteNotFolderError(StorageError):
    """A remote's path is a file."""

    code = "remote-not-folder"


class FolderRemote:
    """A remote that is a folder."""

    def __init__(
        self,
        name: str,
        url: str,
        path: str,
        *,
        index: StatIndex,
        shared_group: bool = False,
        limiter: Limiter | None = None,
    ) -> None:
        """Args: path: absolute. index: remembers how objects looked when they were last seen sound.

        limiter: how fast bytes may travel, both ways.
        """
        self.name = name
        self.url = url
        self.path = path
        self._index = index
        self._shared_group = shared_group
        self._limiter = limiter

    def store(self, algorithm: str) -> LooseStore:
        """Returns the objects of one kind."""
        return LooseStore(self.path, algorithm, self._shared_group)

    def check_readable(self) -> None:
        """Raises RemoteFolderMissingError or RemoteNotFolderError."""
        try:
            os.listdir(self.path)
        except FileNotFoundError as error:
            change = shell_line("kist", "remote", "modify", self.name, "url", "FOLDER")
            raise RemoteFolderMissingError(
                f"cannot read remote '{self.name}': its folder '{self.path}' does not exist",
                hint=f"mount it, or name another with `{change}`",
            ) from error
        except NotADirectoryError as error:
            raise self._not_folder() from error

    def _not_folder(self) -> RemoteNotFolderError:
        return RemoteNotFolderError(f"cannot use remote '{self.name}': '{self.path}' is not a folder")

    def missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that the remote does not have, by name alone."""
        return self.store(algorithm).missing(oids)

    def is_complete(self, manifest: str, algorithm: str) -> bool:
        """Says whether a manifest and all its members are known to be there: no prefix folder changed since."""
        store = self.store(algorithm)
        return store.has(manifest) and Presence(self._index, store).is_known(manifest)

    def note_complete(self, manifest: str, algorithm: str, label: str) -> None:
        """Remembers that a manifest and all its members were just seen there, as the last version of `label`."""
        store = self.store(algorithm)
        Presence(self._index, store).note(manifest)
        self._index.save(f"last:{store.root}", [(label, FolderRow(manifest, b"", b""))])

    def last_complete(self, label: str, algorithm: str) -> str | None:
        """Returns the manifest last noted for `label`, if all of it is known to be there still."""
        row = self._index.folder(f"last:{self.store(algorithm).root}", label)
        return row.names if row is not None and self.is_complete(row.names, algorithm) else None

    def damaged(self, algorithm: str, *, size_of: SizeOf, workers: int) -> set[str]:
        """Returns objects that can be seen cheaply to be damaged, of the share whose turn it is."""
        store = self.store(algorithm)
        space = f"seen:{store.root}"
        prefixes = self._share(store)
        if not prefixes:
            return set()
        rows = {prefix: row for prefix in prefixes if (row := self._index.folder(space, prefix)) is not None}
        survey = _Survey(store, rows)
        count = workers if len(prefixes) * len(os.listdir(f"{store.root}/{prefixes[0]}")) > 5000 else 1
        step = max(1, len(prefixes) // (4 * count))
        groups = [prefixes[at : at + step] for at in range(0, len(prefixes), step)]
        found: set[str] = set()
        changed = []
        for prefix, names, stats, doubtful in (
            item for answer in parallel.run_requests(survey.handle, groups, workers=count) for item in answer
        ):
            if names is None:
                continue
            bad = {
                name
                for name, record, was_seen in doubtful
                if not self._is_sound(store, prefix + name, record, was_seen, size_of)
            }
            found.update(prefix + name for name in bad)
            changed.append((prefix, _pack(prefix, _records_but(names, stats, bad))))
        self._index.save(space, changed)
        return found

    def _share(self, store: LooseStore) -> list[str]:
        """Returns the prefix folders to look at now: all of a small remote, or those whose turn it is."""
        prefixes = store.prefixes()
        if not prefixes:
            return []
        each = max(1, len(os.listdir(f"{store.root}/{prefixes[0]}")))
        share = max(1, SHARE // each)
        if share >= len(prefixes):
            return prefixes
        row = self._index.folder("turn", store.root)
        first = int(row.names) % len(prefixes) if row is not None and row.names.isdigit() else 0
        self._index.save("turn", [(store.root, FolderRow(str(first + share), b"", b""))])
        return (prefixes + prefixes)[first : first + share]

    def _is_sound(self, store: LooseStore, oid: str, record: bytes, was_seen: bool, size_of: SizeOf) -> bool:
        if not was_seen:
            expected = size_of(oid)
            return expected is None or expected == unpack_stat(record)[1]
        return store.is_intact(oid)

    def send(
        self, oids: set[str], source: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects to the folder, which is made if needed."""
        target = self.store(source.algorithm)
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise self._not_folder()
        sweep_staging(self.path, time.time())
        outcome = self._copy(oids, source, target, workers, progress, phase)
        self._remember(target, outcome)
        return outcome

    def _copy(
        self,
        oids: set[str],
        source: LooseStore,
        target: LooseStore,
        workers: int,
        progress: Progress,
        phase: str,
    ) -> CopyOutcome:
        limiter = self._limiter
        return copy_objects(
            oids, source, target, workers=workers, progress=progress, phase=phase, limiter=limiter
        )

    def _remember(self, store: LooseStore, outcome: CopyOutcome) -> None:
        """Records how just sent objects look, so that the next survey finds them unchanged."""
        sent: dict[str, dict[str, bytes]] = {}
        for piece in outcome.records:
            name = piece[:DIGEST_SIZE].hex()
            sent.setdefault(name[:2], {})[name[2:]] = piece[DIGEST_SIZE:]
        for oid in outcome.copied:
            record = store.stat(oid) if oid.endswith(".dir") else None
            if record is not None:
                sent.setdefault(oid[:2], {})[oid[2:]] = record
        space = f"seen:{store.root}"
        rows = []
        for prefix, records in sent.items():
            row = self._index.folder(space, prefix)
            is_small = row is not None and len(records) * _SMALL_SHARE < len(row.digests) // DIGEST_SIZE
            if row is None or not is_small or any(name.endswith(".dir") for name in records):
                known = _records(row) if row is not None else {}
                rows.append((prefix, _pack(prefix, {**known, **records})))
            else:
                rows.append((prefix, _with_plain(row, prefix, records)))
        self._index.save(space, rows)

    def receive(
        self, oids: set[str], target: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects from the folder."""
        source = self.store(target.algorithm)
        return self._copy(oids, source, target, workers, progress, phase)

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> garbage.Listing:
        """Returns what the folder holds besides `needed`; one that is not there holds nothing."""
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise self._not_folder()
        return garbage.beyond(self.store(algorithm), needed, workers=workers)

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Removes objects: manifests first, and no file while a manifest could not be removed."""
        garbage.remove(self.store(algorithm), oids, progress=progress, phase=phase)

    def address(self, oid: str, algorithm: str) -> str:
        """Returns the path of an object."""
        return self.store(algorithm).path(oid)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix that ends in "/"."""
        for folder, _, names in os.walk(os.path.join(self.path, prefix)):
            for name in sorted(names):
                if not atomic.is_temp_name(name):
                    yield os.path.relpath(os.path.join(folder, name), self.path).replace(os.sep, "/")

    def read_key(self, key: str) -> bytes:
        """Returns a small value."""
        with open(os.path.join(self.path, key), "rb") as stream:
            return stream.read()

    def write_key(self, key: str, data: bytes) -> None:
        """Writes a small value, whole or not at all."""
        path = os.path.join(self.path, key)
        self.store(MD5).make_folder(os.path.dirname(path))
        atomic.write_file(path, data)

    def close(self) -> None:
        """Does nothing: a folder has no connections."""


def _pack(prefix: str, records: dict[str, bytes]) -> FolderRow:
    """Returns what to remember of a prefix folder: plain objects as digests, manifests by name, both with stats."""
    plain = sorted(name for name in records if len(name) == 30)
    named = sorted(name for name in records if name.endswith(".dir"))
    stats = b"".join([records[name] for name in [*plain, *named]])
    return FolderRow("\0".join(named), stats, bytes.fromhex("".join([prefix + name for name in plain])))


def _with_plain(row: FolderRow, prefix: str, records: dict[str, bytes]) -> FolderRow:
    """Returns the row with records of plain objects put in, or in place of those that it has."""
    digests, stats = bytearray(row.digests), bytearray(row.stats)
    for name, record in records.items():
        digest = bytes.fromhex(prefix + name)
        at = bisect.bisect_left(
            range(len(digests) // DIGEST_SIZE),
            digest,
            key=lambda k: bytes(digests[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE]),
        )
        end = at + (digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] == digest)
        digests[at * DIGEST_SIZE : end * DIGEST_SIZE] = digest
        stats[at * STAT_SIZE : end * STAT_SIZE] = record
    return FolderRow(row.names, bytes(stats), bytes(digests))


def _records_but(names: str, stats: bytes, bad: set[str]) -> dict[str, bytes]:
    """Returns name -> stat record; damaged objects stay on record as such until they are healed."""
    split = names.split("\0") if names else []
    return {
        name: UNTRUSTED if name in bad else stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
        for at, name in enumerate(split)
    }


class _Survey:
    """Compares prefix folders with what was remembered of them; made before the fork."""

    def __init__(self, store: LooseStore, rows: dict[str, FolderRow]) -> None:
        self.store = store
        self.rows = rows

    def handle(self, request: Any, emit: Emit) -> list[tuple[Any, ...]]:
        """Returns (prefix, names, stats, doubtful) a prefix; names are None where all is as it was."""
        return [self._look(prefix) for prefix in request]

    def _look(self, prefix: str) -> tuple[Any, ...]:
        try:
            listing = list_directory(f"{self.store.root}/{prefix}", follow_links=False)
        except FileNotFoundError:
            return prefix, "", b"", []
        row = self.rows.get(prefix)
        names = listing.names.split("\0") if listing.names else []
        plain = [at for at, name in enumerate(names) if len(name) == 30]
        named = [at for at, name in enumerate(names) if name.endswith(".dir")]
        stats = listing.stats
        column = stats
        if len(plain) != len(names):
            column = b"".join([stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] for at in [*plain, *named]])
        digits = prefix + prefix.join([names[at] for at in plain]) if plain else ""
        if (
            row is not None
            and row.stats == column
            and row.names == "\0".join([names[at] for at in named])
            and row.digests.hex() == digits
        ):
            return prefix, None, b"", []
        before = _records(row) if row is not None else {}
        doubtful = []
        for at in [*plain, *named]:
            record = stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
            if before.get(names[at]) != record:
                doubtful.append((names[at], record, names[at] in before))
        return prefix, listing.names, stats, doubtful


def _records(row: FolderRow) -> dict[str, bytes]:
    digits = row.digests.hex()
    names = [digits[at + 2 : at + 32] for at in range(0, len(digits), 32)]
    names += row.names.split("\0") if row.names else []
    return {name: row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] for at, name in enumerate(names)}

"""A packed remote: objects as chunks in packs, over any storage that lists, reads ranges and deletes.

Not here: which objects are wanted and in which order (transfer.plan). Implements docs/spec/packed.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING

from kist.base.progress import Progress
from kist.base.shell import shell_line
from kist.errors import ConfigError, LockedError
from kist.formats import pack
from kist.formats.pack import Marker
from kist.remotes.base import SizeOf
from kist.remotes.storage import Body, Storage, StorageMissingError
from kist.store import garbage
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore, remove_staging
from kist.store.statindex import FolderRow, StatIndex
from kist.transfer import packed_clean
from kist.transfer.engine import Engine
from kist.transfer.packed_index import Catalogue, kind_of, oid_of
from kist.transfer.packed_read import ChunkReader, ObjectReader, Wanted
from kist.transfer.packed_write import (
    Clock,
    LeaseLostError,
    Session,
    SystemClock,
    Tools,
    bury_dead,
    send_portion,
)
from kist.transfer.stored import StorageRemote

if TYPE_CHECKING:
    from kist.base.limiter import Limiter

MARKER_KEY = "kist-packed.json"
_STREAMS = 3
_TRIES = 3


class ConversionUnfinishedError(LockedError):
    """The remote is being converted to or from the loose layout; the conversion must end first."""

    code = "packed-conversion"


class CannotBePackedError(ConfigError):
    """The service lacks something that the packed layout needs."""

    code = "packed-unable"


class PackedRemote:
    """A remote in the packed layout.

    Attributes:
        name, url: of the storage.
    """

    def __init__(
        self,
        storage: Storage,
        marker: Marker,
        *,
        index: StatIndex,
        folder: str,
        jobs: int | None = None,
        limiter: Limiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Args: folder: where the repository keeps indexes of packed remotes. Others as of StorageRemote."""
        self.name = storage.name
        self.url = storage.url
        self.storage = storage
        self.marker = marker
        self._index = index
        # A stream holds a whole pack, or a range: their number bounds the memory.
        able = storage.abilities._replace(streams=_STREAMS, most_streams=_STREAMS)
        fixed = min(jobs, 2 * _STREAMS) if jobs else None

        def engine() -> Engine:
            return Engine(able, jobs=fixed, limiter=limiter)

        own = os.path.join(folder, marker.id)
        self.catalogue = Catalogue(storage, own, engine)
        self._tools = Tools(
            storage,
            self.catalogue,
            marker.bounds,
            engine,
            clock or SystemClock(),
            os.urandom,
            own,
            self.name,
        )
        self._session = Session(self._tools)
        self.loose = StorageRemote(storage, index=index, jobs=jobs, limiter=limiter)
        self._needed: dict[str, Set[str]] = {}

    def _look(self) -> None:
        if not self.catalogue.has_looked:
            self.catalogue.look()

    def _check_may_write(self) -> None:
        pack.check_may_write(self.marker, name=f"{self.url.rstrip('/')}/{MARKER_KEY}")
        if self.marker.loose == "to":
            raise ConversionUnfinishedError(
                f"cannot write to remote '{self.name}': it is being converted to the loose layout",
                hint=shell_line("kist", "remote", "convert", "--loose", self.name),
            )

    # What is there

    def missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that the remote does not have."""
        lacking = self.lacking(oids, algorithm)
        if lacking and self.marker.loose:
            lacking = self.loose.missing(lacking, algorithm)
        return lacking

    def lacking(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that are not in packs."""
        self._look()
        lacking: set[str] = set()
        for kind, wanted in _by_kind(oids, algorithm).items():
            md5s = set(map(bytes.fromhex, wanted))
            present = self._session.present(kind, md5s)
            self._session.relied.setdefault(kind, set()).update(present)
            lacking.update(oid_of(md5, kind) for md5 in md5s - present)
        return lacking

    def wait_for_writers(self) -> None:
        """Waits until nobody who began before writes any more; who begins now must be kept away by the marker.

        Raises: CleanUpBesideError: that lasts, or a clean-up is at work.
        """
        self.finish()
        packed_clean.wait_for_others(self._tools)

    def has(self, algorithm: str) -> dict[str, int]:
        """Returns id -> size of all objects of one kind that are in packs."""
        listing = self.beyond(frozenset(), algorithm, workers=1)
        return {item.oid: item.size_bytes for item in listing.leftovers}

    def is_complete(self, manifest: str, algorithm: str) -> bool:
        """Says whether nothing changed since a manifest and all its members were seen there."""
        self._look()
        row = self._index.folder(self._space, f"{algorithm}:{manifest}")
        if row is None or row.names != self.catalogue.fingerprint():
            return False
        kind, md5 = kind_of(manifest, algorithm), bytes.fromhex(manifest[:32])
        if not self._session.present(kind, {md5}):
            return False
        self._session.whole.add((kind, md5))
        return True

    def note_complete(self, manifest: str, algorithm: str, label: str) -> None:
        """Remembers that a manifest and all its members were just seen there, as the last version of `label`."""
        if self.marker.loose:
            return
        rows = [
            (f"{algorithm}:{manifest}", self.catalogue.fingerprint()),
            (f"last:{algorithm}:{label}", manifest),
        ]
        self._index.save(self._space, [(path, FolderRow(text, b"", b"")) for path, text in rows])

    def last_complete(self, label: str, algorithm: str) -> str | None:
        """Returns the manifest last noted for `label`, if all of it is known to be there still."""
        row = self._index.folder(self._space, f"last:{algorithm}:{label}")
        return row.names if row is not None and self.is_complete(row.names, algorithm) else None

    @property
    def _space(self) -> str:
        return f"packed:{self.marker.id}"

    def damaged(self, algorithm: str, *, size_of: SizeOf, workers: int) -> set[str]:
        """Returns none: an object whose packs went is missing; bytes are verified by whoever reads them."""
        self.tidy()
        self._look()
        return set()

    def tidy(self) -> None:
        """Deletes what killed processes of this machine left to say that they are alive."""
        bury_dead(self._tools)

    # Moving

    def send(
        self, oids: set[str], source: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Sends objects; those that are told to be copied stand in an index, and stay whatever happens beside."""
        outcome = CopyOutcome([], [], [], [], 0)
        if not oids:
            return outcome
        self._check_may_write()
        left = set(oids)
        with progress.phase(phase, len(oids), None) as shown:
            for attempt in range(1, _TRIES + 1):
                try:
                    self._session.begin()
                    size = self._send(left, source, outcome, shown.advance)
                    return outcome._replace(size_bytes=size)
                except LeaseLostError:
                    self._session.lost()
                    if attempt == _TRIES:
                        raise
        raise AssertionError("not reached")

    def _send(
        self, left: set[str], source: LooseStore, outcome: CopyOutcome, shown: Callable[[int, int], None]
    ) -> int:
        algorithm = source.algorithm
        # What was there when it was asked for, and is not any more, goes along.
        for kind in (kind_of("", algorithm), kind_of(".dir", algorithm)):
            vanished = {oid_of(md5, kind) for md5 in self._session.vanished(kind)}
            left |= vanished - source.missing(vanished)
        asked = iter(sorted(left))
        total = 0
        while (done := send_portion(self._tools, self._session, asked, source, shown=shown)) is not None:
            cutter, _ = done
            outcome.copied.extend(oid for oid, _ in cutter.rows)
            outcome.missing.extend(cutter.missing)
            outcome.corrupt.extend(cutter.corrupt)
            total += sum(row.size for _, row in cutter.rows)
            left.difference_update(oid for oid, _ in cutter.rows)
            left.difference_update(cutter.missing, cutter.corrupt)
        return total

    def receive(
        self, oids: set[str], target: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects from the remote; published in the store only when whole, right and durable."""
        outcome = self.receive_packed(oids, target, progress=progress, phase=phase)
        unknown = set(outcome.missing)
        if unknown:
            # Somebody who did not know of the packs may have sent it.
            outcome.missing.clear()
            rest = self.loose.receive(unknown, target, workers=workers, progress=progress, phase=phase)
            outcome = _joined(outcome, rest)
        return outcome

    def receive_packed(
        self, oids: set[str], target: LooseStore, *, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects out of packs alone; see `receive`."""
        if not oids:
            return CopyOutcome([], [], [], [], 0)
        self._look()
        wanted, unknown = self._find(oids, target.algorithm)
        if unknown:
            # Written since the look, perhaps.
            self.catalogue.look()
            wanted, unknown = self._find(oids, target.algorithm)
        chunks = ChunkReader(self.storage, self.catalogue, self._tools.engine)
        staging = target.new_staging()
        try:
            target.make_prefixes({oid[:2] for oid in oids})
            with progress.phase(phase, len(oids), sum(item.size for item in wanted)) as shown:
                reader = ObjectReader(chunks, target, staging, shown)
                reader.bring(wanted)
        finally:
            remove_staging(staging)
        reader.outcome.missing.extend(unknown)
        return reader.outcome._replace(size_bytes=reader.size_bytes)

    def _find(self, oids: set[str], algorithm: str) -> tuple[list[Wanted], set[str]]:
        """Returns where objects stand, and those that no index has."""
        found: dict[str, Wanted] = {}
        for kind, wanted in _by_kind(oids, algorithm).items():
            for md5, index, row in self.catalogue.rows(kind, set(map(bytes.fromhex, wanted))):
                found[oid_of(md5, kind)] = Wanted(oid_of(md5, kind), index, row)
        return list(found.values()), oids - found.keys()

    # Clean-up

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> garbage.Listing:
        """Returns the objects that are there besides `needed`; their time is that of the newest index that has them."""
        self.catalogue.look()
        self._needed[algorithm] = needed
        found: dict[str, garbage.Leftover] = {}
        for kind in (kind_of("", algorithm), kind_of(".dir", algorithm)):
            for name, index in self.catalogue.indexes.items():
                changed_ns = int(self.catalogue.times.get(name, 0.0) * 1e9)
                first = index.first_of(kind)
                column = bytes(index.ids_of(kind)).hex()
                suffix = ".dir" if kind & 1 else ""
                for number in range(index.counts[kind]):
                    oid = column[32 * number : 32 * number + 32] + suffix
                    known = found.get(oid)
                    if oid not in needed and (known is None or known.changed_ns < changed_ns):
                        found[oid] = garbage.Leftover(oid, index.size(first + number), changed_ns)
        lost = self.catalogue.lost(found, algorithm)
        return garbage.Listing([found[oid] for oid in sorted(found) if oid not in lost], [])

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Removes objects, and the packs in which nothing lives any more."""
        self.clean({algorithm: set(oids)}, repack=False, progress=progress, phase=phase)

    def clean(
        self, drop: Mapping[str, Set[str]], *, repack: bool, progress: Progress, phase: str
    ) -> packed_clean.Cleaned:
        """Removes objects and packs without use; with `repack` rewrites sparse packs and joins small ones.

        Args: drop: algorithm -> ids.

        Raises: CleanUpBesideError, StorageFailedError, packed_clean.LivingDamagedError.

        Holds: what lives can be read at every moment; a kill leaves too much, never too little.
        """
        self._check_may_write()
        self._refuse_conversion("clean up")
        self._session.end()
        going = {
            (kind, bytes.fromhex(oid[:32]))
            for algorithm, oids in drop.items()
            for oid in oids
            for kind in (kind_of(oid, algorithm),)
        }
        needed = {
            (kind_of(oid, algorithm), bytes.fromhex(oid[:32]))
            for algorithm, oids in self._needed.items()
            for oid in oids
            if oid.endswith(".dir")
        }
        with progress.phase(phase, None) as shown:
            return packed_clean.clean(self._tools, going, needed, repack=repack, shown=shown.advance)

    def named(self, algorithm: str) -> dict[str, int]:
        """Returns id -> size of all objects that an index names, in a pack that is there or not.

        Raises: ConversionUnfinishedError.
        """
        self._refuse_conversion("verify")
        self.catalogue.look()
        found: dict[str, int] = {}
        for index in self.catalogue.indexes.values():
            for row, kind, md5 in index.objects():
                oid = oid_of(md5, kind)
                if kind == kind_of(oid, algorithm):
                    found[oid] = index.size(row)
        return found

    def drop_packs(self, names: frozenset[str], *, progress: Progress) -> set[packed_clean.Key]:
        """Takes damaged packs away; returns the objects that could be read from there alone, and cannot any more."""
        self._check_may_write()
        self.finish()
        with progress.phase(f"Cleaning up {self.name}", None) as shown:
            done = packed_clean.clean(
                self._tools, set(), set(), repack=False, shown=shown.advance, spoilt=names
            )
        self.catalogue.look()
        return set(done.dropped)

    def engine(self) -> Engine:
        """Returns what runs calls to the service."""
        return self._tools.engine()

    def _refuse_conversion(self, what: str) -> None:
        if self.marker.loose:
            raise ConversionUnfinishedError(
                f"cannot {what} remote '{self.name}': a conversion of it is not finished",
                hint=shell_line("kist", "remote", "convert", "--packed", self.name),
            )

    def address(self, oid: str, algorithm: str) -> str:
        """Returns where an object lies, as a person would look for it."""
        kind = kind_of(oid, algorithm)
        for _, index, row in self.catalogue.rows(kind, {bytes.fromhex(oid[:32])}):
            numbers = index.chunks_of(row)
            if numbers:
                return f"{self.url.rstrip('/')}/{index.packs[index.pack_number(numbers[0])].key} ({oid})"
        return f"{self.url.rstrip('/')} ({oid})"

    # Beside the objects

    def keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix that ends in "/"."""
        return self.loose.keys(prefix)

    def read_key(self, key: str) -> bytes:
        """Returns a small value."""
        return self.loose.read_key(key)

    def write_key(self, key: str, data: bytes) -> None:
        """Writes a small value."""
        self._check_may_write()
        self.loose.write_key(key, data)

    def finish(self) -> None:
        """Says that nothing more is written."""
        self._session.end()

    def close(self) -> None:
        """Says that nothing more is written, and ends connections."""
        self.finish()
        self.storage.close()


def _by_kind(oids: Iterable[str], algorithm: str) -> dict[int, list[str]]:
    files, manifests = kind_of("", algorithm), kind_of(".dir", algorithm)
    found: dict[int, list[str]] = {}
    plain = [oid for oid in oids if len(oid) == 32]
    if plain:
        found[files] = plain
    named = [oid[:32] for oid in oids if len(oid) != 32]
    if named:
        found[manifests] = named
    return found


def _joined(one: CopyOutcome, other: CopyOutcome) -> CopyOutcome:
    return CopyOutcome(
        one.copied + other.copied,
        one.missing + other.missing,
        one.corrupt + other.corrupt,
        one.records + other.records,
        one.size_bytes + other.size_bytes,
    )


# The marker


def read_marker(storage: Storage) -> Marker | None:
    """Returns the marker of a place; None where it is not packed.

    Raises: MarkerError, NewerLayoutError, and what the service raises.
    """
    engine = Engine(storage.abilities, jobs=1)
    try:
        data = engine.attempt(lambda: b"".join(storage.read(MARKER_KEY)))
    except StorageMissingError:
        return None
    return pack.parse_marker(data, name=f"{storage.url.rstrip('/')}/{MARKER_KEY}")


def write_marker(storage: Storage, marker: Marker) -> None:
    """Writes the marker of a place."""
    data = pack.render_marker(marker)
    body = Body.of(data, md5=hashlib.md5(data, usedforsecurity=False).digest())
    Engine(storage.abilities, jobs=1).attempt(lambda: storage.write(MARKER_KEY, body))


def check_can_be_packed(storage: Storage) -> None:
    """Raises CannotBePackedError, naming what the service lacks."""
    able = storage.abilities
    lacks = [
        what
        for what, has in (
            ("list", able.lists),
            ("read from the middle", able.ranges),
            ("delete", able.deletes),
        )
        if not has
    ]
    if lacks:
        raise CannotBePackedError(
            f"cannot make remote '{storage.name}' packed: its kind cannot {', nor '.join(lacks)}"
        )

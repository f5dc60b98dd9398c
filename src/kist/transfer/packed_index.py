"""What a packed remote holds: its indexes, packs and marks, as the last look found them; and where chunks lie.

Indexes are kept by name in a folder of the repository and looked at where they lie, by bisection. Not here: writing
and reading of data (packed_write, packed_read). Implements docs/spec/packed.md, sections 4 and 5.1.
"""

from __future__ import annotations

import bisect
import hashlib
import mmap
import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from kist.base import atomic
from kist.errors import FormatError
from kist.formats import pack
from kist.formats.pack import Index, Mark, PackIndexError, PackName, Place
from kist.formats.records import MD5
from kist.remotes.storage import Item, Storage, StorageMissingError
from kist.transfer.engine import Engine

_SMALL_ROWS = 20_000
_SUM_BYTES = 32
_LOOKS = 5


class Located(NamedTuple):
    """Where a chunk lies: its pack, and the place in it."""

    pack: PackName
    place: Place


def kind_of(oid: str, algorithm: str) -> int:
    """Returns the kind of an object."""
    return (0 if algorithm == MD5 else 2) + oid.endswith(".dir")


def oid_of(md5: bytes, kind: int) -> str:
    """Returns the id of an object."""
    return md5.hex() + (".dir" if kind & 1 else "")


class Finder:
    """Finds ids in many sorted tables: by their first 8 bytes, then as a whole."""

    def __init__(self, tables: Sequence[memoryview], row_bytes: int, id_bytes: int) -> None:
        """Args: tables: rows that begin with an id, sorted by it."""
        self._tables = tables
        self._row_bytes = row_bytes
        self._id_bytes = id_bytes
        self._large: list[tuple[int, array[int]]] = []
        small: list[int] = []
        for number, table in enumerate(tables):
            heads = _heads(table, row_bytes)
            if len(heads) > _SMALL_ROWS:
                self._large.append((number, heads))
            else:
                low = number << 32
                small += [head << 64 | low | row for row, head in enumerate(heads)]
        # Many small tables are one: or each question would cost a search in each of them.
        small.sort()
        self._heads = array("Q", [entry >> 64 for entry in small])
        self._rows = array("Q", [entry & 0xFFFFFFFFFFFFFFFF for entry in small])

    def find(self, wanted: bytes) -> Iterator[tuple[int, int]]:
        """Yields (table, row) of each place where an id stands."""
        head = int.from_bytes(wanted[:8], "big")
        for number, heads in self._large:
            row = bisect.bisect_left(heads, head)
            while row < len(heads) and heads[row] == head:
                if self._is(number, row, wanted):
                    yield number, row
                row += 1
        at = bisect.bisect_left(self._heads, head)
        while at < len(self._heads) and self._heads[at] == head:
            number, row = self._rows[at] >> 32, self._rows[at] & 0xFFFFFFFF
            if self._is(number, row, wanted):
                yield number, row
            at += 1

    def _is(self, number: int, row: int, wanted: bytes) -> bool:
        first = row * self._row_bytes
        return self._tables[number][first : first + self._id_bytes] == wanted


def _heads(table: memoryview, row_bytes: int) -> array[int]:
    words = array("Q", bytes(table))
    if sys.byteorder == "little":
        words.byteswap()
    return words[:: row_bytes // 8]


class Catalogue:
    """What a packed remote holds, as of the last look.

    Attributes:
        marks: name of a clean-up -> what it is about to remove.
        mark_times: when each was written last, by the clock of the service.
        indexes: name -> index.
        times: name of an index -> when it was written, by the clock of the service.
        packs: name -> size and time of the packs that are there.
        damaged: indexes that cannot be read, and why: what they alone know counts as missing.
        journal: packs that were written from here and are in no index: name -> table of its chunks.
    """

    def __init__(self, storage: Storage, folder: str, engine: Callable[[], Engine]) -> None:
        """Args: folder: where indexes are kept."""
        self._storage = storage
        self._folder = folder
        self._engine = engine
        self.marks: dict[str, Mark] = {}
        self.mark_times: dict[str, float] = {}
        self.indexes: dict[str, Index] = {}
        self.times: dict[str, float] = {}
        self.packs: dict[str, Item] = {}
        self.damaged: dict[str, PackIndexError] = {}
        self.journal: dict[str, bytes] = {}
        self.has_looked = False
        self._chunks: Finder | None = None
        self._unindexed: Finder | None = None
        self._objects: dict[int, Finder] = {}
        self._order: list[Index] = []
        self._journal_order: list[str] = []
        self._spoilt: dict[str, bool] = {}

    # Looking

    def look(self) -> None:
        """Lists marks, indexes and packs, in this order, and reads the indexes that are new."""
        engine = self._engine()
        for _ in range(_LOOKS):
            self._look_at_marks(engine)
            listed = self._list(engine, "index/")
            packs = self._list(engine, "packs/")
            if self._read_indexes(engine, listed):
                break  # otherwise a clean-up replaced some meanwhile
        self.packs = {name: item for item in packs if (name := pack.pack_of_key(item.key))}
        self.has_looked = True
        self.forget_lookups()

    def _list(self, engine: Engine, prefix: str) -> list[Item]:
        items = engine.attempt(lambda: list(self._storage.list(prefix)))
        engine.spend(0)
        return items

    def _look_at_marks(self, engine: Engine) -> None:
        found: dict[str, Mark] = {}
        for item in self._list(engine, "gc/"):
            name = item.key.removeprefix("gc/").removesuffix(".json")
            # One that was written anew may name more.
            if name not in self.marks or self.mark_times.get(name) != item.modified_s:
                try:
                    data = engine.attempt(lambda key=item.key: b"".join(self._storage.read(key)))  # type: ignore[misc]
                except StorageMissingError:
                    continue  # the clean-up is over
                self.mark_times[name] = item.modified_s or 0.0
                found[name] = pack.parse_mark(data, name=item.key)
            else:
                found[name] = self.marks[name]
        self.marks = found

    def new_marks(self) -> list[Mark]:
        """Lists the marks again; returns those that the last look did not see, and remembers all."""
        before = self.marks
        self._look_at_marks(self._engine())
        self.forget_lookups()
        return [mark for name, mark in self.marks.items() if before.get(name) != mark]

    def _read_indexes(self, engine: Engine, items: Sequence[Item]) -> bool:
        listed = {name: item for item in items if (name := pack.index_of_key(item.key))}
        for name in self.indexes.keys() - listed.keys():
            del self.indexes[name]
        self.times = {name: item.modified_s or 0.0 for name, item in listed.items()}
        self.damaged = {name: error for name, error in self.damaged.items() if name in listed}
        kept = self._kept()
        fresh = []
        for name in listed.keys() - self.indexes.keys() - self.damaged.keys():
            index = self._load(name) if name in kept else None
            if index is None:
                fresh.append(name)
            else:
                self.indexes[name] = index
        for name in kept - listed.keys():
            atomic.remove_quietly(self._path(name))
        is_whole = True

        def read(name: str) -> bytes | None:
            key = pack.index_key(name)
            try:
                return engine.attempt(lambda: b"".join(self._storage.read(key)))
            except StorageMissingError:
                return None

        def keep(name: str, frame: bytes | None) -> None:
            nonlocal is_whole
            if frame is None:
                is_whole = False
                self.times.pop(name, None)
                return
            engine.spend(len(frame))
            try:
                self.keep(name, pack.unwrap_index(frame, name=name))
            except PackIndexError as error:
                self.damaged[name] = error

        if fresh:
            engine.run(read, sorted(fresh), keep)
        return is_whole

    # What is kept here

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _kept(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._folder) if len(name) == 64}
        except FileNotFoundError:
            return set()

    def keep(self, name: str, data: bytes, *, written_s: float | None = None) -> None:
        """Takes in an index that was read or written, and keeps it in the folder.

        Raises: PackIndexError.
        """
        index = Index(data, name=name)
        try:
            os.makedirs(self._folder, exist_ok=True)
            atomic.write_file(self._path(name), data + hashlib.sha256(data).digest(), durable=False)
        except OSError:
            pass  # it is read again by the next command
        self.indexes[name] = index
        if written_s is not None:
            self.times[name] = written_s
        self.forget_lookups()

    def _load(self, name: str) -> Index | None:
        try:
            with open(self._path(name), "rb") as stream:
                view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):
            return None
        data, told = view[:-_SUM_BYTES], view[-_SUM_BYTES:]
        if hashlib.sha256(data).digest() != told:
            return None
        try:
            return Index(data, name=name, is_known_sound=True)
        except PackIndexError:
            return None

    # Objects

    def forget_lookups(self) -> None:
        """Drops tables made for look-ups, after something came or went."""
        self._chunks = None
        self._objects = {}
        self._order = list(self.indexes.values())
        self._spoilt = {}

    def fingerprint(self) -> str:
        """Returns what changes whenever something that was there may not be there any more."""
        state = sorted(self.indexes) + sorted(self.marks) + sorted(self._lost_packs())
        return hashlib.sha256("\n".join(state).encode()).hexdigest()

    def _lost_packs(self) -> set[str]:
        return {entry.digest.hex() for index in self._order for entry in index.packs} - self.packs.keys()

    def lost(self, oids: Collection[str], algorithm: str) -> set[str]:
        """Returns those objects of which a chunk lies in no pack that is there."""
        gone = self._lost_packs()
        if not gone:
            return set()
        suspects: set[str] = set()
        sound: set[str] = set()
        for index in self._order:
            has_all = gone.isdisjoint(entry.digest.hex() for entry in index.packs)
            for row, kind, md5 in index.objects():
                oid = oid_of(md5, kind)
                if kind == kind_of(oid, algorithm) and oid in oids:
                    is_sound = has_all or all(
                        any(True for _ in self.locate(index.chunk(number))) for number in index.chunks_of(row)
                    )
                    (sound if is_sound else suspects).add(oid)
        return suspects - sound

    def is_reliable(self, name: str) -> bool:
        """Says whether a pack is there, and no clean-up is about to remove it."""
        return name in self.packs and not any(name in mark.packs for mark in self.marks.values())

    def present(self, kind: int, md5s: set[bytes]) -> set[bytes]:
        """Returns those objects that are there, and stay: no mark names them, nor the packs that they need."""
        found: set[bytes] = set()
        for number, row, md5 in self._rows(kind, md5s):
            if md5 not in found and self._stays(self._order[number], row):
                found.add(md5)
        for mark in self.marks.values():
            found -= {bytes.fromhex(md5) for other, md5 in mark.objects if other == kind}
        return found

    def rows(self, kind: int, md5s: set[bytes]) -> Iterator[tuple[bytes, Index, int]]:
        """Yields (md5, index, row) for each place where one of the objects stands."""
        for number, row, md5 in self._rows(kind, md5s):
            yield md5, self._order[number], row

    def _rows(self, kind: int, md5s: set[bytes]) -> Iterator[tuple[int, int, bytes]]:
        total = sum(index.counts[kind] for index in self._order)
        if len(md5s) * 16 < total:
            finder = self._objects.get(kind)
            if finder is None:
                tables = [index.ids_of(kind) for index in self._order]
                finder = self._objects[kind] = Finder(tables, 16, 16)
            for md5 in md5s:
                for number, row in finder.find(md5):
                    yield number, self._order[number].first_of(kind) + row, md5
            return
        for number, index in enumerate(self._order):
            column, first = bytes(index.ids_of(kind)), index.first_of(kind)
            ids = [column[at : at + 16] for at in range(0, len(column), 16)]
            if md5s.isdisjoint(ids):
                continue
            for row, md5 in enumerate(ids, first):
                if md5 in md5s:
                    yield number, row, md5

    def _stays(self, index: Index, row: int) -> bool:
        spoilt = self._spoilt.get(index.name)
        if spoilt is None:
            spoilt = not all(self.is_reliable(entry.digest.hex()) for entry in index.packs)
            self._spoilt[index.name] = spoilt
        if not spoilt:
            return True
        return all(
            self.is_reliable(index.packs[index.pack_number(number)].digest.hex())
            or any(self.is_reliable(other.pack.digest.hex()) for other in self.locate(index.chunk(number)))
            for number in index.chunks_of(row)
        )

    # Chunks

    def locate(self, chunk: bytes) -> Iterator[Located]:
        """Yields each place of a chunk that an index or the journal knows and whose pack is there."""
        if self._chunks is None or self._unindexed is None:
            self._journal_order = sorted(self.journal)
            tables = [index.chunk_ids for index in self._order]
            self._chunks = Finder(tables, 32, 32)
            self._unindexed = Finder(
                [memoryview(self.journal[name]) for name in self._journal_order], pack.ROW_BYTES, 32
            )
        for number, row in self._chunks.find(chunk):
            index = self._order[number]
            try:
                place = index.place(row)
            except FormatError:
                continue
            entry = index.packs[place.pack]
            if entry.digest.hex() in self.packs:
                yield Located(entry, place)
        for number, row in self._unindexed.find(chunk):
            name = self._journal_order[number]
            item = self.packs.get(name)
            if item is not None:
                _, place = pack.parse_pack_table(self.journal[name][48 * row : 48 * row + 48], name=name)[0]
                yield Located(PackName(bytes.fromhex(name), item.size), place)

    def locate_reliable(self, chunk: bytes) -> Located | None:
        """Returns a place of a chunk in a pack that stays."""
        for located in self.locate(chunk):
            if self.is_reliable(located.pack.digest.hex()):
                return located
        return None

"""Writes into a packed remote: fills packs with new chunks, sends them, then indexes that name what is complete.

Everything that is told to be stored is named by an index, and stays though a clean-up runs beside. Not here: what is
wanted (transfer.plan), clean-up (packed_clean). Implements docs/spec/packed.md, section 5.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from kist.base import atomic, digests
from kist.errors import AuthError, InputError, LockedError, NetworkError
from kist.formats import pack
from kist.formats.pack import Bounds, ObjectRow, PackName, Place
from kist.remotes.storage import Body, Item, Storage, StorageFailedError
from kist.store.chunks import Chunker, chunk_id, pack_chunk
from kist.store.loose import LooseStore
from kist.transfer.engine import Engine
from kist.transfer.packed_index import Catalogue, Located, kind_of
from kist.transfer.stored import SMALL_BYTES, fits

PACK_BYTES = 32 << 20
PORTION_BYTES = 1 << 30
INDEX_OBJECTS, INDEX_CHUNKS = 100_000, 2_000_000
RENEW_S, LEASE_S, DEAD_S = 600.0, 1800.0, 3600.0
_TRIES = 3
_PART_BYTES = 8 << 20


class LeaseLostError(NetworkError):
    """The process stood still for so long that others may have taken it for dead; doing it again helps."""

    code = "packed-lease-lost"


class ChangedMeanwhileError(LockedError):
    """A clean-up of the remote began, or removed what this command relied on; doing it again helps."""

    code = "packed-changed"


class TooLargeError(InputError):
    """An object has more chunks than an index can name: over some 800 GB."""

    code = "packed-too-large"


class Clock(Protocol):
    """Time as it goes on while a machine sleeps, too."""

    def now(self) -> float:
        """Returns seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The clock of the system."""

    def now(self) -> float:
        """Returns seconds; those that the machine slept count."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return time.time() if clock is None else time.clock_gettime(clock)

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


class Tools(NamedTuple):
    """What writing and cleaning need of a packed remote.

    Attributes:
        engine: makes an engine for the service.
        random: returns so many random bytes.
        folder: where the repository keeps what concerns this remote.
    """

    storage: Storage
    catalogue: Catalogue
    bounds: Bounds
    engine: Callable[[], Engine]
    clock: Clock
    random: Callable[[int], bytes]
    folder: str
    name: str


class Lease:
    """A value that is written again and again, so that others see that its writer is alive.

    Attributes:
        body: what is written.
        began: when the last writing of it began, by our clock.
        item: what the service said of that.
    """

    def __init__(self, tools: Tools, key: str, body: bytes) -> None:
        self.key = key
        self.body = body
        self.began = 0.0
        self._tools = tools
        self.item: Item | None = None

    def take(self) -> Item:
        """Writes the value; returns what the service says of it."""
        began = self._tools.clock.now()
        self.item = put(self._tools, self.key, self.body)
        self.began = began
        return self.item

    def renew(self) -> None:
        """Writes it again if that is due."""
        if self._tools.clock.now() - self.began > RENEW_S:
            self.check()
            self.take()

    def check(self) -> None:
        """Raises LeaseLostError where others may have taken the writer for dead."""
        if self._tools.clock.now() - self.began > LEASE_S:
            raise LeaseLostError(
                f"cannot go on with remote '{self._tools.name}': this process stood still for too long",
                hint="do it again; what was sent is found there",
            )

    def drop(self) -> None:
        """Deletes the value."""
        engine = self._tools.engine()
        engine.attempt(lambda: self._tools.storage.delete([self.key]))


def put(tools: Tools, key: str, data: bytes) -> Item:
    """Writes a value, and makes sure that all of it is there."""
    body = Body.of(data, md5=hashlib.md5(data, usedforsecurity=False).digest())
    item = tools.engine().attempt(lambda: tools.storage.write(key, body))
    _check_size(key, item, len(data))
    return item


def _check_size(key: str, item: Item, size: int) -> None:
    if item.size != size:
        raise StorageFailedError(
            f"cannot store '{key}': {item.size} bytes arrived of {size}", hint="kist push"
        )


class OpenPack:
    """A pack that is being filled.

    Attributes:
        name: once it is closed.
    """

    def __init__(self, nonce: bytes) -> None:
        self.name: PackName | None = None
        self.table = b""
        # One buffer from the first byte to the last: a pack is never in memory twice.
        self._data = bytearray(pack.render_pack_header(nonce))
        self._rows: list[tuple[bytes, Place]] = []

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def add(self, chunk: bytes, stored: bytes | memoryview, size: int, codec: int) -> Place:
        """Puts a chunk at the end; returns its place."""
        place = Place(0, len(self._data), len(stored), size, codec)
        self._data += stored
        self._rows.append((chunk, place))
        return place

    def close(self) -> bytearray:
        """Returns the bytes of the whole, which has its name from now on."""
        end = pack.render_pack_end(self._rows)
        self.table = end[: -pack.PACK_TAIL_BYTES]
        data, self._data = self._data, bytearray()
        data += end
        self.name = PackName(hashlib.sha256(data).digest(), len(data))
        return data


class Filler:
    """Takes chunks in and gives full packs out; remembers where each chunk of the portion lies."""

    def __init__(self, tools: Tools) -> None:
        self.places: dict[bytes, tuple[OpenPack | PackName, Place]] = {}
        self.new_bytes = 0
        self._tools = tools
        self._open: OpenPack | None = None

    def take(self, chunk: bytes, data: bytes | memoryview) -> OpenPack | None:
        """Takes a chunk, unless it is known; returns a pack that is full now."""
        if chunk in self.places:
            return None
        known = self._tools.catalogue.locate_reliable(chunk)
        if known is not None:
            self.places[chunk] = known.pack, known.place
            return None
        stored, codec = pack_chunk(data)
        return self.add(chunk, stored, len(data), codec)

    def add(self, chunk: bytes, stored: bytes | memoryview, size: int, codec: int) -> OpenPack | None:
        """Puts a chunk into the open pack; returns it when it is full."""
        if self._open is None:
            self._open = OpenPack(self._tools.random(pack.NONCE_BYTES))
        self.places[chunk] = self._open, self._open.add(chunk, stored, size, codec)
        self.new_bytes += len(stored)
        return self.flush() if self._open.size >= PACK_BYTES else None

    def flush(self) -> OpenPack | None:
        """Returns the open pack, if there is one; it is not open any more."""
        full, self._open = self._open, None
        return full

    def located(self, chunk: bytes) -> Located:
        """Returns where a chunk lies, once its pack is closed."""
        where, place = self.places[chunk]
        name = where.name if isinstance(where, OpenPack) else where
        assert name is not None
        return Located(name, place)


def send_packs(tools: Tools, packs: Iterable[OpenPack], *, meanwhile: Callable[[], None]) -> None:
    """Writes packs, several at once; each is noted in the journal when it is there."""
    engine = tools.engine()

    def work(one: OpenPack) -> Item:
        data = one.close()
        assert one.name is not None
        item = _send_pack(tools, engine, one.name.key, data)
        _check_size(one.name.key, item, len(data))
        return item

    def done(one: OpenPack, item: Item) -> None:
        assert one.name is not None
        name = one.name.digest.hex()
        tools.catalogue.packs[name] = item
        note_journal(tools, name, one.table)

    engine.run(work, packs, done, meanwhile=meanwhile)


def _send_pack(tools: Tools, engine: Engine, key: str, data: bytearray) -> Item:
    storage, able = tools.storage, tools.storage.abilities
    view = memoryview(data)
    step = max(_PART_BYTES, able.part_bytes)
    if not able.parts or able.in_order or len(data) <= 2 * step:
        engine.spend(len(data))
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        body = Body(
            len(data), lambda: (bytes(view[at : at + (1 << 20)]) for at in range(0, len(data), 1 << 20)), md5
        )
        return engine.attempt(lambda: storage.write(key, body))
    # Parts, one after the other: what has to be tried again is small, and other packs travel meanwhile.
    upload = engine.attempt(lambda: storage.begin(key, len(data)))
    tags: dict[int, str] = {}
    for number, first in enumerate(range(0, len(data), step)):
        piece = bytes(view[first : first + step])
        engine.spend(len(piece))
        tags[number] = engine.attempt(
            lambda number=number, first=first, piece=piece: storage.put_part(upload, number, first, piece)  # type: ignore[misc]
        )
    return engine.attempt(lambda: storage.finish(upload, tags))


def write_index(
    tools: Tools, objects: Sequence[ObjectRow], locate: Callable[[bytes], Located], lease: Lease
) -> list[str]:
    """Writes indexes of objects; returns their names.

    Raises: LeaseLostError: what was written does not count.
    """
    names = []
    for part in _parts(objects):
        packs: dict[PackName, int] = {}
        chunks: dict[bytes, Place] = {}
        for row in part:
            for chunk in row.chunks:
                if chunk not in chunks:
                    located = locate(chunk)
                    number = packs.setdefault(located.pack, len(packs))
                    chunks[chunk] = located.place._replace(pack=number)
        data = pack.render_index(list(packs), chunks, part, nonce=tools.random(pack.NONCE_BYTES))
        if len(data) > pack.INDEX_LIMIT:
            largest = max(part, key=lambda row: len(row.chunks))
            raise TooLargeError(
                f"cannot store object '{largest.md5.hex()}' on remote '{tools.name}': its {largest.size} bytes "
                "are too many chunks for the packed layout",
                hint="keep it on a remote that is not packed",
            )
        name, frame = pack.wrap_index(data)
        lease.check()
        item = put(tools, pack.index_key(name), frame)
        lease.check()
        tools.catalogue.keep(name, data, written_s=item.modified_s or 0.0)
        names.append(name)
    return names


def _parts(objects: Sequence[ObjectRow]) -> Iterator[list[ObjectRow]]:
    """Yields the objects of one index after the other."""
    part: list[ObjectRow] = []
    chunks = 0
    for row in objects:
        if part and (len(part) >= INDEX_OBJECTS or chunks + len(row.chunks) > INDEX_CHUNKS):
            yield part
            part, chunks = [], 0
        part.append(row)
        chunks += len(row.chunks)
    if part:
        yield part


# The journal: packs that were sent and that no index names yet


def note_journal(tools: Tools, name: str, table: bytes) -> None:
    """Remembers a pack that was sent."""
    tools.catalogue.journal[name] = table
    try:
        os.makedirs(tools.folder, exist_ok=True)
        path = os.path.join(tools.folder, f"{name}.sent")
        atomic.write_file(path, table + hashlib.sha256(table).digest(), durable=False)
    except OSError:
        pass  # after a kill they are sent once more


def read_journal(tools: Tools) -> dict[str, bytes]:
    """Returns what was sent from here and is in no index: name of a pack -> table of its chunks."""
    found = {}
    try:
        names = os.listdir(tools.folder)
    except FileNotFoundError:
        return {}
    for name in names:
        if name.endswith(".sent"):
            try:
                with open(os.path.join(tools.folder, name), "rb") as stream:
                    data = stream.read()
                table, told = data[:-32], data[-32:]
                if hashlib.sha256(table).digest() == told:
                    pack.parse_pack_table(table, name=name)
                    found[name.removesuffix(".sent")] = table
            except (OSError, pack.PackError):
                continue
    return found


def forget_journal(tools: Tools, names: Iterable[str]) -> None:
    """Forgets packs that an index names now, or that are gone."""
    for name in names:
        tools.catalogue.journal.pop(name, None)
        atomic.remove_quietly(os.path.join(tools.folder, f"{name}.sent"))


# Reading objects of a store


class Cutter:
    """Reads objects of a store, cuts them, and gives the full packs out."""

    def __init__(self, tools: Tools, source: LooseStore, filler: Filler) -> None:
        self.rows: list[tuple[str, ObjectRow]] = []
        self.missing: list[str] = []
        self.corrupt: list[str] = []
        self._source = source
        self._filler = filler
        self._chunker = Chunker(tools.bounds)

    def cut(self, oid: str) -> Iterator[OpenPack]:
        """Yields the packs that become full by an object; notes what became of it."""
        path = self._source.path(oid)
        try:
            descriptor = digests.open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            self.missing.append(oid)
            return
        chunks: list[bytes] = []
        with open(descriptor, "rb", buffering=0) as stream:
            if os.fstat(descriptor).st_size <= SMALL_BYTES:
                data = stream.readall()
                size, digest = len(data), hashlib.md5(data, usedforsecurity=False).digest()
                # Known to be right before its chunks go anywhere.
                pieces: Iterable[bytes | memoryview] = (
                    self._chunker.cut(data) if self._fits(oid, digest, path) else ()
                )
                yield from self._take(pieces, chunks)
            else:
                reader = _Hashing(stream.readinto)
                yield from self._take(self._chunker.cut_stream(reader), chunks)
                size, digest = reader.size, reader.digest.digest()
        if not self._fits(oid, digest, path):
            self.corrupt.append(oid)
            return
        kind = kind_of(oid, self._source.algorithm)
        self.rows.append((oid, ObjectRow(kind, bytes.fromhex(oid[:32]), size, chunks)))

    def _fits(self, oid: str, digest: bytes, path: str) -> bool:
        return fits(oid, digest, path, self._source.algorithm)

    def _take(self, pieces: Iterable[bytes | memoryview], chunks: list[bytes]) -> Iterator[OpenPack]:
        for piece in pieces:
            chunk = chunk_id(piece)
            chunks.append(chunk)
            full = self._filler.take(chunk, piece)
            if full is not None:
                yield full


class _Hashing:
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, read: Callable[[memoryview], int | None]) -> None:
        self.digest = hashlib.md5(usedforsecurity=False)
        self.size = 0
        self._read = read

    def readinto(self, target: memoryview) -> int:
        """Reads into a buffer; returns how much."""
        count = self._read(target) or 0
        self.digest.update(target[:count])
        self.size += count
        return count


class Session:
    """One process's writing into a packed remote, from the first object to the end.

    Attributes:
        relied: kind -> objects that were told to be there, and are counted on.
        whole: manifests that were told to be complete without a look at each member.
    """

    def __init__(self, tools: Tools) -> None:
        self.relied: dict[int, set[bytes]] = {}
        self.whole: set[tuple[int, bytes]] = set()
        self._stated: dict[int, set[bytes]] = {}
        self._tools = tools
        self._lease: Lease | None = None
        self._old: list[Lease] = []

    def present(self, kind: int, md5s: set[bytes]) -> set[bytes]:
        """Returns those objects that are there and stay, or that this process has stated."""
        here = self._stated.get(kind, set()) & md5s
        return here | self._tools.catalogue.present(kind, md5s - here)

    def begin(self) -> None:
        """Makes this process known as a writer, and looks again.

        Raises: ChangedMeanwhileError: a directory that was complete is not known to be so any more.
        """
        tools = self._tools
        if self._lease is not None:
            self._lease.renew()
            return
        bury_dead(tools)
        lease = Lease(tools, f"writers/{tools.random(16).hex()}", b"A push is under way.\n")
        note_alive(tools, lease.key)
        lease.take()
        self._lease = lease
        tools.catalogue.look()
        tools.catalogue.journal = read_journal(tools)
        tools.catalogue.forget_lookups()
        for kind, md5 in self.whole:
            if md5 not in self.present(kind, {md5}):
                raise self._changed()

    def _changed(self) -> ChangedMeanwhileError:
        return ChangedMeanwhileError(
            f"cannot finish with remote '{self._tools.name}': a clean-up began there meanwhile",
            hint="kist push",
        )

    def vanished(self, kind: int) -> set[bytes]:
        """Returns what was counted on and is not there any more."""
        relied = self.relied.get(kind, set())
        return relied - self.present(kind, relied)

    def lost(self) -> None:
        """Begins anew: what was known before does not count."""
        if self._lease is not None:
            self._old.append(self._lease)
        self._lease = None
        # What was stored by then must be looked for like everything else.
        for kind, md5s in self._stated.items():
            self.relied.setdefault(kind, set()).update(md5s)
        self._stated = {}

    @property
    def lease(self) -> Lease:
        """The lease of a writer that began."""
        assert self._lease is not None
        return self._lease

    def state(self, rows: Sequence[ObjectRow], locate: Callable[[bytes], Located]) -> None:
        """Writes the index of objects whose packs are there; afterwards they stay whatever a clean-up does.

        Raises: LeaseLostError, ChangedMeanwhileError.
        """
        if rows:
            write_index(self._tools, rows, locate, self.lease)
        for row in rows:
            self._stated.setdefault(row.kind, set()).add(row.md5)
        self._settle()

    def _settle(self) -> None:
        """States again what a clean-up that began meanwhile is about to remove."""
        for mark in self._tools.catalogue.new_marks():
            named = {(kind, bytes.fromhex(md5)) for kind, md5 in mark.objects}
            if named & self.whole:
                raise self._changed()
            again = [
                (kind, md5)
                for kind, md5 in named
                if md5 in self.relied.get(kind, ()) or md5 in self._stated.get(kind, ())
            ]
            rows = [self._row_of(kind, md5) for kind, md5 in again]
            if rows:
                write_index(self._tools, rows, self._locate_any, self.lease)
            for kind, md5 in again:
                self._stated.setdefault(kind, set()).add(md5)
        self.lease.check()

    def _row_of(self, kind: int, md5: bytes) -> ObjectRow:
        for _, index, row in self._tools.catalogue.rows(kind, {md5}):
            return ObjectRow(kind, md5, index.size(row), [index.chunk(n) for n in index.chunks_of(row)])
        raise self._changed()

    def _locate_any(self, chunk: bytes) -> Located:
        catalogue = self._tools.catalogue
        located = catalogue.locate_reliable(chunk) or next(catalogue.locate(chunk), None)
        if located is None:
            raise self._changed()
        return located

    def end(self) -> None:
        """Says that this process writes no more."""
        leases = self._old + ([self._lease] if self._lease is not None else [])
        self._lease, self._old = None, []
        for lease in leases:
            try:
                lease.drop()
            except (NetworkError, AuthError):
                continue  # what was stored stays stored; the note here lets the next command delete it
            forget_alive(self._tools, lease.key)


# Writers and clean-ups of this machine that died


def note_alive(tools: Tools, key: str) -> None:
    """Remembers, before it is written, a key that this process must delete again."""
    try:
        os.makedirs(tools.folder, exist_ok=True)
        name = f"{atomic.host_tag()}-{os.getpid()}-{key.replace('/', '-')}.alive"
        atomic.write_file(os.path.join(tools.folder, name), key.encode())
    except OSError:
        pass  # then it is taken for alive for an hour


def forget_alive(tools: Tools, key: str) -> None:
    """Forgets a key that is deleted."""
    name = f"{atomic.host_tag()}-{os.getpid()}-{key.replace('/', '-')}.alive"
    atomic.remove_quietly(os.path.join(tools.folder, name))


def bury_dead(tools: Tools) -> None:
    """Deletes what processes of this machine left behind when they were killed: their marks and leases."""
    try:
        names = os.listdir(tools.folder)
    except FileNotFoundError:
        return
    for name in names:
        host, _, rest = name.partition("-")
        process = rest.partition("-")[0]
        if not name.endswith(".alive") or host != atomic.host_tag() or not process.isdigit():
            continue
        if atomic.is_alive(int(process)):
            continue
        path = os.path.join(tools.folder, name)
        try:
            with open(path, encoding="ascii") as stream:
                key = stream.read()
        except (OSError, ValueError):
            continue
        if key.startswith(("writers/", "gc/")):
            tools.engine().attempt(lambda key=key: tools.storage.delete([key]))  # type: ignore[misc]
        atomic.remove_quietly(path)


def send_portion(
    tools: Tools,
    session: Session,
    oids: Iterator[str],
    source: LooseStore,
    *,
    shown: Callable[[int, int], None],
) -> tuple[Cutter, int] | None:
    """Sends some of the objects, and states them; returns what became of them, and the bytes sent; None at the end."""
    filler = Filler(tools)
    cutter = Cutter(tools, source, filler)
    began = tools.clock.now()
    count = 0

    def packs() -> Iterator[OpenPack]:
        nonlocal count
        for oid in oids:
            count += 1
            yield from cutter.cut(oid)
            shown(1, cutter.rows[-1][1].size if cutter.rows and cutter.rows[-1][0] == oid else 0)
            is_late = tools.clock.now() - began > RENEW_S
            if filler.new_bytes >= PORTION_BYTES or len(cutter.rows) >= INDEX_OBJECTS or is_late:
                break
        last = filler.flush()
        if last is not None:
            yield last

    send_packs(tools, packs(), meanwhile=session.lease.renew)
    if not count:
        return None
    tools.catalogue.forget_lookups()
    session.state([row for _, row in cutter.rows], filler.located)
    names = {entry.digest.hex() for index in tools.catalogue.indexes.values() for entry in index.packs}
    gone = tools.catalogue.journal.keys() - tools.catalogue.packs.keys()
    forget_journal(tools, (tools.catalogue.journal.keys() & names) | gone)
    return cutter, filler.new_bytes

"""Clean-up of a packed remote: takes objects out of the indexes, rewrites and deletes packs, beside writers.

Not here: which objects may go (repo.unneeded). Implements docs/spec/packed.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.errors import CorruptError, FormatError, LockedError
from kist.formats import pack
from kist.formats.manifest import member_oids
from kist.formats.pack import Index, Mark, ObjectRow
from kist.transfer.packed_index import Catalogue, Located, oid_of
from kist.transfer.packed_read import ChunkReader
from kist.transfer.packed_write import (
    DEAD_S,
    Filler,
    Lease,
    OpenPack,
    Tools,
    bury_dead,
    forget_alive,
    forget_journal,
    note_alive,
    send_packs,
    write_index,
)

SMALL_PACK = 16 << 20
KEEP_SHARE = 0.7
UNINDEXED_S = 86_400.0
WAIT_S, _POLL_S = 300.0, 2.0
_WINDOW_BYTES = 24 << 20
_JOIN_OBJECTS = 50_000

Key = tuple[int, bytes]
"""Kind and md5 of an object."""


class CleanUpBesideError(LockedError):
    """Another clean-up, or a push, is at work on the remote; later it will go."""

    code = "packed-busy"


class LivingDamagedError(CorruptError):
    """A chunk that is needed cannot be read, so its pack is not rewritten; `fsck -c` mends it."""

    code = "packed-damaged"


class Cleaned(NamedTuple):
    """What a clean-up did: packs that went, new ones, and their bytes; objects that only a damaged pack had."""

    packs_removed: int = 0
    bytes_removed: int = 0
    packs_written: int = 0
    bytes_written: int = 0
    dropped: frozenset[Key] = frozenset()


def clean(
    tools: Tools,
    going: Set[Key],
    needed: Set[Key],
    *,
    repack: bool,
    shown: Callable[[int, int], None],
    spoilt: frozenset[str] = frozenset(),
) -> Cleaned:
    """Removes objects, and packs of which nothing lives; see `PackedRemote.clean`.

    Args:
        needed: manifests whose members are known to be needed; those of others that came meanwhile are read.
        spoilt: damaged packs, which go in any case: what can be read in them is copied.
    """
    return _CleanUp(tools, set(going), needed, repack, shown, spoilt).run()


class _CleanUp:
    def __init__(
        self,
        tools: Tools,
        going: set[Key],
        needed: Set[Key],
        repack: bool,
        shown: Callable[[int, int], None],
        spoilt: frozenset[str],
    ) -> None:
        self._tools = tools
        self._catalogue: Catalogue = tools.catalogue
        self._going = going
        self._needed = needed
        self._repack = repack
        self._shown = shown
        self._id = tools.random(16).hex()
        self._lease = Lease(tools, f"gc/{self._id}.json", pack.render_mark(Mark(frozenset(), frozenset())))
        self._spoilt = spoilt
        self._unreadable: set[bytes] = set()
        self._dropped: set[Key] = set()
        self._condemned: set[str] = set()
        self._dead_marks: list[str] = []

    def run(self) -> Cleaned:
        tools = self._tools
        bury_dead(tools)
        self._catalogue.look()
        self._check_indexes()
        seen = set(self._catalogue.indexes)
        self._going &= {key for index in self._catalogue.indexes.values() for key in _keys(index)}
        self._choose(None)
        if not (self._going or self._condemned or self._catalogue.marks or self._small_indexes()):
            return Cleaned()
        note_alive(tools, self._lease.key)
        may_take_back = True
        try:
            item = self._lease.take()
            self._choose(item.modified_s)
            if not (self._going or self._condemned or self._dead_marks or self._small_indexes()):
                return Cleaned()
            self._mark()
            self._wait_for_writers()
            self._catalogue.look()
            self._check_indexes()
            self._spare(seen)
            filler, rows, replaced = self._rewrite()
            written = self._replace(filler, rows, replaced)
            may_take_back = False
            done = self._delete_packs()
            self._delete([f"gc/{name}.json" for name in self._dead_marks])
            may_take_back = True
            return done._replace(
                packs_written=written[0], bytes_written=written[1], dropped=frozenset(self._dropped)
            )
        finally:
            if may_take_back:
                self._lease.drop()
                forget_alive(tools, self._lease.key)

    def _check_indexes(self) -> None:
        for error in self._catalogue.damaged.values():
            raise LivingDamagedError(
                f"cannot clean up remote '{self._tools.name}': {error.message}",
                hint=shell_line("kist", "fsck", "-r", self._tools.name),
            )

    # 1: what goes

    def _choose(self, now_s: float | None) -> None:
        """Chooses the packs that go; `now_s` is the time of the service, where it is known."""
        catalogue = self._catalogue
        living: dict[str, dict[int, int]] = {}
        indexed: set[str] = set()
        for index in catalogue.indexes.values():
            names = [entry.digest.hex() for entry in index.packs]
            indexed.update(names)
            alive = bytearray(index.chunk_count)
            for row, kind, md5 in index.objects():
                if (kind, md5) not in self._going:
                    for number in index.chunks_of(row):
                        alive[number] = 1
            for number, lives in enumerate(alive):
                if lives:
                    place = index.place(number)
                    living.setdefault(names[place.pack], {})[place.first] = place.stored
        here = catalogue.packs
        going = {name for name in indexed & here.keys() if name not in living}
        for name in here.keys() - indexed:
            age = None if now_s is None else now_s - (here[name].modified_s or now_s)
            if age is None or age > UNINDEXED_S:
                going.add(name)
        if self._repack:
            sizes = {name: here[name].size for name in living.keys() & here.keys()}
            sparse = {name for name, size in sizes.items() if _used(living[name]) < KEEP_SHARE * size}
            small = {name for name, size in sizes.items() if size < SMALL_PACK} - sparse
            going |= sparse | (small if len(small) > 1 else set())
        self._dead_marks = []
        for name, mark in catalogue.marks.items():
            if now_s is not None and now_s - catalogue.mark_times.get(name, now_s) > DEAD_S:
                self._dead_marks.append(name)
                going |= mark.packs & here.keys()
        self._condemned = going | (self._spoilt & here.keys())

    def _small_indexes(self) -> set[str]:
        small = {
            name for name, index in self._catalogue.indexes.items() if index.object_count < _JOIN_OBJECTS
        }
        return small if self._repack and len(small) > 1 else set()

    # 2, 3: telling, and waiting

    def _mark(self) -> None:
        named = frozenset((kind, md5.hex()) for kind, md5 in self._going)
        self._lease.body = pack.render_mark(Mark(named, frozenset(self._condemned)))
        self._lease.take()
        engine = self._tools.engine()
        items = engine.attempt(lambda: list(self._tools.storage.list("gc/")))
        others = {item.key.removeprefix("gc/").removesuffix(".json") for item in items}
        if others - {self._id} - set(self._dead_marks):
            raise CleanUpBesideError(
                f"cannot clean up remote '{self._tools.name}': another clean-up is at work there",
                hint="wait for it; one that was killed counts as dead after an hour",
            )

    def _wait_for_writers(self) -> None:
        """Waits for writers that may not have seen the mark."""
        wait_for_writers(self._tools, self._lease)

    # 4: what came meanwhile lives

    def _spare(self, seen: set[str]) -> None:
        for name, index in self._catalogue.indexes.items():
            if name not in seen:
                for row, kind, md5 in index.objects():
                    self._going.discard((kind, md5))
                    if kind & 1 and (kind, md5) not in self._needed:
                        self._going -= self._members(index, row, kind, md5)

    def _members(self, index: Index, row: int, kind: int, md5: bytes) -> set[Key]:
        oid = oid_of(md5, kind)
        parts: dict[bytes, bytes] = {}
        chunks = [index.chunk(number) for number in index.chunks_of(row)]
        failed = self._reader().read(dict.fromkeys(chunks), parts.__setitem__)
        if failed:
            raise self._damaged(next(iter(failed)))
        data = b"".join([parts[chunk] for chunk in chunks])
        try:
            members = member_oids(data, name=oid)
        except FormatError:
            return set()  # it names nothing that could be lost
        return {(kind - 1, bytes.fromhex(member[:32])) for member in members}

    def _reader(self) -> ChunkReader:
        return ChunkReader(self._tools.storage, self._catalogue, self._tools.engine)

    def _damaged(self, chunk: bytes) -> LivingDamagedError:
        where = next(self._catalogue.locate(chunk), None)
        key = where.pack.key if where is not None else "a pack that is gone"
        return LivingDamagedError(
            f"cannot clean up remote '{self._tools.name}': '{key}' is damaged, and something in it is needed",
            hint=shell_line("kist", "fsck", "-r", self._tools.name),
        )

    # 4, 5: new packs and indexes

    def _rewrite(self) -> tuple[Filler, list[ObjectRow], list[str]]:
        """Copies living chunks out of packs that go; returns what new indexes say, and those that they replace."""
        catalogue = self._catalogue
        joined = self._small_indexes()
        replaced = [
            name
            for name, index in catalogue.indexes.items()
            if name in joined
            or not self._condemned.isdisjoint(entry.digest.hex() for entry in index.packs)
            or any(key in self._going for key in _keys(index))
        ]
        rows: dict[Key, ObjectRow] = {}
        homeless: dict[bytes, int] = {}
        for name in replaced:
            index = catalogue.indexes[name]
            for row, kind, md5 in index.objects():
                if (kind, md5) in self._going or (kind, md5) in rows:
                    continue
                numbers = index.chunks_of(row)
                chunks = [index.chunk(number) for number in numbers]
                lost = False
                for number, chunk in zip(numbers, chunks, strict=True):
                    if chunk not in homeless and catalogue.locate_reliable(chunk) is None:
                        lost = lost or next(catalogue.locate(chunk), None) is None
                        homeless[chunk] = index.place(number).size
                if not lost:  # what lies in no pack any more is nowhere, whatever an index says
                    rows[kind, md5] = ObjectRow(kind, md5, index.size(row), chunks)
        filler = Filler(self._tools)
        used = {chunk for row in rows.values() for chunk in row.chunks}
        moving = {chunk: size for chunk, size in homeless.items() if chunk in used}
        if moving:
            send_packs(self._tools, self._copies(filler, moving), meanwhile=self._lease.renew)
        catalogue.forget_lookups()
        self._dropped = {key for key, row in rows.items() if not self._unreadable.isdisjoint(row.chunks)}
        return filler, [row for key, row in rows.items() if key not in self._dropped], replaced

    def _copies(self, filler: Filler, moving: dict[bytes, int]) -> Iterator[OpenPack]:
        reader = self._reader()
        for window in _windows(moving):
            parts: dict[bytes, bytes] = {}
            failed = reader.read(window, parts.__setitem__)
            if failed and not self._spoilt:
                raise self._damaged(next(iter(failed)))
            self._unreadable |= failed.keys()
            for chunk in window:
                if chunk in failed:
                    continue
                full = filler.take(chunk, parts[chunk])
                self._shown(0, len(parts[chunk]))
                if full is not None:
                    yield full
        last = filler.flush()
        if last is not None:
            yield last

    def _replace(self, filler: Filler, rows: Sequence[ObjectRow], replaced: Sequence[str]) -> tuple[int, int]:
        catalogue = self._catalogue

        def locate(chunk: bytes) -> Located:
            if chunk in filler.places:
                return filler.located(chunk)
            located = catalogue.locate_reliable(chunk)
            if located is None:
                raise self._damaged(chunk)
            return located

        # Where a chunk lies is found out before anything is written.
        places = {chunk: locate(chunk) for row in rows for chunk in row.chunks}
        self._lease.renew()
        write_index(self._tools, rows, places.__getitem__, self._lease)
        self._delete([pack.index_key(name) for name in replaced])
        for name in replaced:
            catalogue.indexes.pop(name, None)
        catalogue.forget_lookups()
        written = {
            where.name.digest.hex(): where.name.size
            for where, _ in filler.places.values()
            if isinstance(where, OpenPack) and where.name is not None
        }
        forget_journal(self._tools, written)
        self._shown(len(rows), 0)
        return len(written), sum(written.values())

    # 6: the end of packs

    def _delete_packs(self) -> Cleaned:
        here = self._catalogue.packs
        names = sorted(self._condemned & here.keys())
        size = sum(here[name].size for name in names)
        self._delete([pack.pack_key(name) for name in names])
        for name in names:
            del here[name]
        forget_journal(self._tools, names)
        return Cleaned(len(names), size)

    def _delete(self, keys: Sequence[str]) -> None:
        storage = self._tools.storage
        step = storage.abilities.deletes
        for start in range(0, len(keys), step):
            self._lease.renew()
            self._lease.check()
            batch = keys[start : start + step]
            self._tools.engine().attempt(lambda batch=batch: storage.delete(batch))  # type: ignore[misc]


def _used(living: dict[int, int]) -> int:
    """Returns the bytes of a pack that only these chunks (first byte -> stored bytes) fill, with their table."""
    return pack.PACK_HEADER_BYTES + pack.PACK_TAIL_BYTES + pack.ROW_BYTES * len(living) + sum(living.values())


def _keys(index: Index) -> Iterator[Key]:
    for _, kind, md5 in index.objects():
        yield kind, md5


def _windows(chunks: dict[bytes, int]) -> Iterable[list[bytes]]:
    window: list[bytes] = []
    size = 0
    for chunk, length in chunks.items():
        window.append(chunk)
        size += length
        if size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def wait_for_writers(tools: Tools, lease: Lease) -> None:
    """Waits until the writers that are there now have ended, or are dead.

    Args: lease: what was just written, and tells the time of the service.

    Raises: CleanUpBesideError: that lasts.
    """
    began = tools.clock.now()
    awaited: set[str] | None = None
    while True:
        taken, item = tools.clock.now(), lease.item
        engine = tools.engine()
        found = engine.attempt(lambda: list(tools.storage.list("writers/")))
        now_s = ((item.modified_s if item else None) or 0.0) + taken - lease.began
        alive = {one.key for one in found if now_s - (one.modified_s or now_s) <= DEAD_S}
        awaited = alive if awaited is None else awaited & alive
        if not awaited:
            return
        if tools.clock.now() - began > WAIT_S:
            raise CleanUpBesideError(
                f"cannot go on with remote '{tools.name}': a push into it is under way",
                hint="wait for it; one that was killed counts as dead after an hour",
            )
        tools.clock.sleep(_POLL_S)
        lease.renew()


def wait_for_others(tools: Tools) -> None:
    """Waits for writers as a clean-up does, and refuses while a clean-up is at work.

    Raises: CleanUpBesideError.
    """
    bury_dead(tools)
    mark = pack.render_mark(Mark(frozenset(), frozenset()))
    lease = Lease(tools, f"gc/{tools.random(16).hex()}.json", mark)
    note_alive(tools, lease.key)
    lease.take()
    try:
        engine = tools.engine()
        if any(item.key != lease.key for item in engine.attempt(lambda: list(tools.storage.list("gc/")))):
            raise CleanUpBesideError(
                f"cannot go on with remote '{tools.name}': a clean-up of it is at work, or was killed",
                hint="run `kist gc -c` when it is over",
            )
        wait_for_writers(tools, lease)
    finally:
        lease.drop()
        forget_alive(tools, lease.key)

"""Reads objects out of packs: neighbouring chunks in one request, each verified by its id, each object by its md5.

Not here: where chunks lie (packed_index). Implements docs/spec/packed.md, section 7.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from kist.base import atomic, digests
from kist.base.progress import Phase
from kist.formats import pack
from kist.formats.pack import Index
from kist.remotes.storage import Storage, StorageFailedError, StorageMissingError
from kist.store.copying import CopyOutcome
from kist.store.loose import OBJECT_MODE, LooseStore
from kist.transfer.engine import Engine
from kist.transfer.packed_index import Catalogue, Located
from kist.transfer.stored import SMALL_BYTES, fits, publish

GAP_BYTES = 128 << 10
RANGE_BYTES = 8 << 20
_BATCH_OBJECTS = 20_000
_WINDOW_CHUNKS = 4096

Sink = Callable[[bytes, bytes], None]
"""Takes a chunk: its id, and its bytes, which are right. Called from several threads."""


class Wanted(NamedTuple):
    """An object that is to be read: its chunks are those of a row of an index."""

    oid: str
    table: Index
    row: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.table.size(self.row)

    def chunks(self) -> list[bytes]:
        """Returns the ids of its chunks, in their order."""
        return [self.table.chunk(number) for number in self.table.chunks_of(self.row)]

    def is_sound(self) -> bool:
        """Says whether its chunks have as many bytes as it."""
        return sum(self.table.place(number).size for number in self.table.chunks_of(self.row)) == self.size

    def order(self) -> tuple[bytes, int]:
        """Returns what neighbours in packs have alike."""
        numbers = self.table.chunks_of(self.row)
        if not numbers:
            return b"", 0
        place = self.table.place(numbers[0])
        return self.table.packs[place.pack].digest, place.first


class Range(NamedTuple):
    """Chunks of a pack that are read in one request."""

    key: str
    first: int
    size: int
    chunks: list[tuple[bytes, Located]]


def ranges_of(located: Iterable[tuple[bytes, Located]]) -> Iterator[Range]:
    """Yields the requests that bring some chunks."""
    ordered = sorted(located, key=lambda item: (item[1].pack.digest, item[1].place.first))
    current: list[tuple[bytes, Located]] = []
    first = end = 0
    for chunk, where in ordered:
        place = where.place
        if current and (
            current[0][1].pack != where.pack
            or place.first - end > GAP_BYTES
            or place.first + place.stored - first > RANGE_BYTES
        ):
            yield Range(current[0][1].pack.key, first, end - first, current)
            current = []
        if not current:
            first = place.first
        current.append((chunk, where))
        end = max(end, place.first + place.stored) if len(current) > 1 else place.first + place.stored
    if current:
        yield Range(current[0][1].pack.key, first, end - first, current)


def read_chunks(
    storage: Storage, engine: Engine, located: Iterable[tuple[bytes, Located]], sink: Sink
) -> dict[bytes, str]:
    """Reads chunks; returns those that could not be had, and why: "missing" or "corrupt"."""
    failed: dict[bytes, str] = {}

    def work(one: Range) -> dict[bytes, str]:
        def read() -> bytes:
            data = b"".join(storage.read(one.key, first=one.first, size=one.size))
            if len(data) != one.size:
                raise StorageFailedError(f"cannot read '{one.key}': {len(data)} bytes came of {one.size}")
            return data

        try:
            data = memoryview(engine.attempt(read))
        except StorageMissingError:
            return dict.fromkeys([chunk for chunk, _ in one.chunks], "missing")
        engine.spend(one.size)
        bad: dict[bytes, str] = {}
        for chunk, (_, place) in one.chunks:
            at = place.first - one.first
            content = pack.unpack_chunk(data[at : at + place.stored], chunk, place)
            if content is None:
                bad[chunk] = "corrupt"
            else:
                sink(chunk, content)
        return bad

    def done(_: Range, bad: dict[bytes, str]) -> None:
        failed.update(bad)

    engine.run(work, ranges_of(located), done)
    return failed


class ChunkReader:
    """Reads chunks wherever they lie: what fails is looked for once more, at every other place."""

    def __init__(self, storage: Storage, catalogue: Catalogue, engine: Callable[[], Engine]) -> None:
        self._storage = storage
        self._catalogue = catalogue
        self._engine = engine
        self._has_looked_again = False

    def read(self, chunks: Iterable[bytes], sink: Sink) -> dict[bytes, str]:
        """Gives each chunk to `sink`; returns those that can be had nowhere, and why."""
        located: list[tuple[bytes, Located]] = []
        failed: dict[bytes, str] = {}
        for chunk in chunks:
            where = next(self._catalogue.locate(chunk), None)
            if where is None:
                failed[chunk] = "missing"
            else:
                located.append((chunk, where))
        failed.update(read_chunks(self._storage, self._engine(), located, sink))
        if not failed:
            return failed
        if not self._has_looked_again:
            self._has_looked_again = True
            self._catalogue.look()
        tried = dict(located)
        for chunk, why in list(failed.items()):
            for where in self._catalogue.locate(chunk):
                if why == "corrupt" and where == tried.get(chunk):
                    continue
                again = read_chunks(self._storage, self._engine(), [(chunk, where)], sink)
                if not again:
                    del failed[chunk]
                    break
                if again[chunk] == "corrupt":
                    failed[chunk] = "corrupt"
        return failed


class ObjectReader:
    """Brings objects into a store."""

    def __init__(self, chunks: ChunkReader, target: LooseStore, staging: str, shown: Phase) -> None:
        self.outcome = CopyOutcome([], [], [], [], 0)
        self.size_bytes = 0
        self._chunks = chunks
        self._target = target
        self._staging = staging
        self._shown = shown

    def bring(self, wanted: Sequence[Wanted]) -> None:
        """Reads objects and publishes them; what became of each stands in `outcome`."""
        false = {item.oid for item in wanted if not item.is_sound()}
        for oid in false:
            self._fail(oid, "corrupt")
        wanted = [item for item in wanted if item.oid not in false]
        small = sorted((item for item in wanted if item.size <= SMALL_BYTES), key=Wanted.order)
        for start in range(0, len(small), _BATCH_OBJECTS):
            self._publish(self._bring_small(small[start : start + _BATCH_OBJECTS]))
        for item in wanted:
            if item.size > SMALL_BYTES:
                self._publish(self._bring_large(item))

    def _publish(self, arrived: dict[str, int]) -> None:
        publish(arrived, self._target, self._staging, self.outcome)
        self.size_bytes += sum(arrived.values())

    def _fail(self, oid: str, why: str) -> None:
        (self.outcome.missing if why == "missing" else self.outcome.corrupt).append(oid)
        self._shown.advance(1, 0)

    def _bring_small(self, wanted: Sequence[Wanted]) -> dict[str, int]:
        uses: dict[bytes, list[tuple[str, int]]] = {}
        whole: set[str] = set()
        needs: dict[str, list[bytes]] = {}
        for item in wanted:
            chunks = needs[item.oid] = item.chunks()
            if len(chunks) == 1:
                whole.add(item.oid)
            at = 0
            for chunk, number in zip(chunks, item.table.chunks_of(item.row), strict=True):
                uses.setdefault(chunk, []).append((item.oid, at))
                at += item.table.place(number).size
            if not chunks:
                self._write(item.oid, 0, b"", OBJECT_MODE)
        right: dict[str, bool] = {}

        def sink(chunk: bytes, data: bytes) -> None:
            for oid, at in uses[chunk]:
                self._write(oid, at, data, OBJECT_MODE if oid in whole else 0o600)
                if oid in whole:
                    digest = hashlib.md5(data, usedforsecurity=False).digest()
                    right[oid] = self._fits(oid, digest)
                    self._shown.advance(1, len(data))

        failed = self._chunks.read(uses, sink)
        arrived: dict[str, int] = {}
        for item in wanted:
            why = {failed[chunk] for chunk in needs[item.oid] if chunk in failed}
            if why:
                self._fail(item.oid, "corrupt" if "corrupt" in why else "missing")
                continue
            if item.oid not in whole:
                right[item.oid] = self._fits(item.oid, digests.read_md5(self._path(item.oid))[0])
                os.chmod(self._path(item.oid), OBJECT_MODE)
                self._shown.advance(1, item.size)
            if right[item.oid]:
                arrived[item.oid] = item.size
            else:
                self._fail(item.oid, "corrupt")
        return arrived

    def _path(self, oid: str) -> str:
        return f"{self._staging}/{oid}"

    def _fits(self, oid: str, digest: bytes) -> bool:
        return fits(oid, digest, self._path(oid), self._target.algorithm)

    def _write(self, oid: str, at: int, data: bytes, mode: int) -> None:
        descriptor = os.open(self._path(oid), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            if mode == OBJECT_MODE:
                os.fchmod(descriptor, mode)  # whatever the umask: a shared cache is for others too
            _write_at(descriptor, data, at)
        finally:
            os.close(descriptor)

    def _bring_large(self, item: Wanted) -> dict[str, int]:
        """Reads an object into a file that an interruption leaves; chunks that are in it are known by their ids."""
        partial = os.path.join(self._target.base, f"kist-part-{item.oid}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            was_there = os.fstat(descriptor).st_size == item.size
            os.ftruncate(descriptor, item.size)
            failed = self._fill(item, descriptor, was_there)
        finally:
            os.close(descriptor)
        if failed:
            self._fail(item.oid, "corrupt" if "corrupt" in failed.values() else "missing")
            return {}
        if not fits(item.oid, digests.read_md5(partial)[0], partial, self._target.algorithm):
            atomic.remove_quietly(partial)
            self._fail(item.oid, "corrupt")
            return {}
        os.chmod(partial, OBJECT_MODE)
        os.replace(partial, self._path(item.oid))
        self._shown.advance(1, 0)
        return {item.oid: item.size}

    def _fill(self, item: Wanted, descriptor: int, was_there: bool) -> dict[bytes, str]:
        failed: dict[bytes, str] = {}
        numbers = item.table.chunks_of(item.row)
        at = 0
        for start in range(0, len(numbers), _WINDOW_CHUNKS):
            uses: dict[bytes, list[int]] = {}
            for number in numbers[start : start + _WINDOW_CHUNKS]:
                chunk, size = item.table.chunk(number), item.table.place(number).size
                if was_there and hashlib.sha256(os.pread(descriptor, size, at)).digest() == chunk:
                    self._shown.advance(0, size)
                else:
                    uses.setdefault(chunk, []).append(at)
                at += size

            def sink(chunk: bytes, data: bytes, uses: dict[bytes, list[int]] = uses) -> None:
                for first in uses[chunk]:
                    _write_at(descriptor, data, first)
                    self._shown.advance(0, len(data))

            failed.update(self._chunks.read(uses, sink))
        return failed


def _write_at(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view = view[written:]
        at += written

"""Bytes of the packed layout: packs and their tables, indexes, the marker, marks of clean-ups. Pure.

An index is kept in columns and looked at where it lies: a hundred thousand objects cost no objects of Python. Not here:
files, requests, cutting (store.chunks), compressing of chunks. Implements docs/spec/packed.md, sections 1, 3 and 4.
"""

from __future__ import annotations

import hashlib
import operator
import re
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from kist.errors import ConfigError, FormatError
from kist.formats import zstd

VERSION = 1
NONCE_BYTES = 16
PACK_HEADER_BYTES = 32
PACK_TAIL_BYTES = 48
ROW_BYTES = 48
PACK_LIMIT = 64 << 20
INDEX_LIMIT = 512 << 20
KINDS = 4
RAW, ZSTD = 0, 1
"""Codecs of chunks."""
_PACK_MAGIC, _PACK_END, _INDEX_MAGIC = b"KISTPACK", b"KISTPEND", b"KISTINDX"
_PACK_HEADER = struct.Struct("<8sII16s")
_PACK_TAIL = struct.Struct("<II32s8s")
_ROW = struct.Struct("<32sIIII")
_PLACE = struct.Struct("<IIII")
_OBJECT = struct.Struct("<QII")
_INDEX_HEADER = struct.Struct("<8s4I4I16s")
_PACK_ENTRY = struct.Struct("<32sQ")
_HEX32 = re.compile(r"[0-9a-f]{32}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class PackError(FormatError):
    """A pack, or its table, is not what the layout says; another copy of its chunks helps."""

    code = "pack-format"


class PackIndexError(FormatError):
    """An index is not what the layout says."""

    code = "pack-index-format"


class MarkerError(FormatError):
    """The marker of a packed remote, or a mark of a clean-up, cannot be understood."""

    code = "pack-marker-format"


class NewerLayoutError(ConfigError):
    """A packed remote asks for a newer Kist than this one."""

    code = "packed-newer"


class Place(NamedTuple):
    """Where a chunk lies.

    Attributes:
        pack: number of the pack in the index; 0 in a pack's own table.
        first: place of the first byte in the pack.
        stored: bytes there.
        size: bytes of the chunk.
        codec: RAW or ZSTD.
    """

    pack: int
    first: int
    stored: int
    size: int
    codec: int


class PackName(NamedTuple):
    """A pack as an index names it: its SHA-256, and its size in bytes."""

    digest: bytes
    size: int

    @property
    def key(self) -> str:
        """The key that it lies under."""
        return pack_key(self.digest.hex())


def pack_key(name: str) -> str:
    """Returns the key of a pack, given its SHA-256 in hex."""
    return f"packs/{name[:2]}/{name}.pack"


def pack_of_key(key: str) -> str | None:
    """Returns the SHA-256 in hex that a key names; None where it is no pack's."""
    name = key.rpartition("/")[2].removesuffix(".pack")
    return name if _HEX64.fullmatch(name) and key == pack_key(name) else None


def index_key(name: str) -> str:
    """Returns the key of an index, given its SHA-256 in hex."""
    return f"index/{name}.idx"


def index_of_key(key: str) -> str | None:
    """Returns the SHA-256 in hex that a key names; None where it is no index's."""
    name = key.removeprefix("index/").removesuffix(".idx")
    return name if _HEX64.fullmatch(name) and key == index_key(name) else None


# Packs


def render_pack_header(nonce: bytes) -> bytes:
    """Returns the first bytes of a pack; `nonce` is random, so that no name ever comes back."""
    return _PACK_HEADER.pack(_PACK_MAGIC, VERSION, 0, nonce)


def render_pack_end(rows: Iterable[tuple[bytes, Place]]) -> bytes:
    """Returns table and tail of a pack."""
    table = b"".join(sorted(_ROW.pack(chunk, 0, *_packed(place)[1:]) for chunk, place in rows))
    tail = _PACK_TAIL.pack(len(table) // ROW_BYTES, VERSION, hashlib.sha256(table).digest(), _PACK_END)
    return table + tail


def _packed(place: Place) -> tuple[int, int, int, int]:
    return place.pack, place.first, place.stored, place.size | place.codec << 24


def parse_pack_tail(tail: bytes, size: int, *, name: str) -> tuple[int, int, bytes]:
    """Returns (first byte of the table, its length, its SHA-256), given the last 48 bytes and the size of a pack.

    Raises: PackError.
    """
    if len(tail) != PACK_TAIL_BYTES:
        raise PackError(f"cannot read pack '{name}': it ends early")
    count, version, digest, end = _PACK_TAIL.unpack(tail)
    first = size - PACK_TAIL_BYTES - count * ROW_BYTES
    if end != _PACK_END or version != VERSION or first < PACK_HEADER_BYTES or size > PACK_LIMIT:
        raise PackError(f"cannot read pack '{name}': its last bytes are not those of a pack")
    return first, count * ROW_BYTES, digest


def parse_pack_table(table: bytes, *, name: str, digest: bytes | None = None) -> list[tuple[bytes, Place]]:
    """Returns the chunks of a pack, sorted by id.

    Args: digest: SHA-256 that the table must have.

    Raises: PackError.
    """
    if len(table) % ROW_BYTES or (digest is not None and hashlib.sha256(table).digest() != digest):
        raise PackError(f"cannot read pack '{name}': its table is damaged")
    rows = []
    previous = b""
    for chunk, pack, first, stored, size in _ROW.iter_unpack(table):
        place = Place(0, first, stored, size & 0xFFFFFF, size >> 24)
        if pack or chunk <= previous or not _is_sound(place, PACK_LIMIT):
            raise PackError(f"cannot read pack '{name}': a row of its table makes no sense")
        previous = chunk
        rows.append((chunk, place))
    return rows


def _is_sound(place: Place, pack_size: int) -> bool:
    _, first, stored, size, codec = place
    return (
        first >= PACK_HEADER_BYTES
        and stored > 0
        and first + stored <= pack_size
        and size > 0
        and (codec == ZSTD or (codec == RAW and stored == size))
    )


def unpack_chunk(stored: bytes | memoryview, chunk: bytes, place: Place) -> bytes | None:
    """Returns a chunk's bytes, or None where they do not match its id."""
    try:
        data = (
            bytes(stored)
            if place.codec == RAW
            else zstd.decompress(stored, limit=place.size, name=chunk.hex())
        )
    except zstd.FrameError:
        return None
    return data if len(data) == place.size and hashlib.sha256(data).digest() == chunk else None


# Indexes


class ObjectRow(NamedTuple):
    """An object that goes into an index: the numbers of its chunks are those of `chunks` in `render_index`."""

    kind: int
    md5: bytes
    size: int
    chunks: Sequence[bytes]


class Index:
    """An index over its bytes; nothing is taken out before it is asked for.

    Attributes:
        packs: in the order of their numbers.
        chunk_ids: 32 bytes each, sorted.
        object_ids: 16 bytes each, sorted within each kind.
        counts: objects of each kind.
    """

    def __init__(self, data: bytes | memoryview, *, name: str, is_known_sound: bool = False) -> None:
        """Args: data: unpacked; checked as a whole unless it was before. Raises: PackIndexError."""
        self.name = name
        view = memoryview(data)
        if len(view) < _INDEX_HEADER.size:
            raise self._wrong("it ends early")
        magic, version, packs, chunks, references, *rest = _INDEX_HEADER.unpack_from(view)
        if magic != _INDEX_MAGIC or version != VERSION:
            raise self._wrong("its first bytes are not those of an index")
        self.counts: tuple[int, ...] = tuple(rest[:KINDS])
        objects = sum(self.counts)
        at = _INDEX_HEADER.size
        columns = []
        for length in (40 * packs, 32 * chunks, 16 * chunks, 16 * objects, 16 * objects, 4 * references):
            columns.append(view[at : at + length])
            at += length
        if at != len(view):
            raise self._wrong(f"it has {len(view)} bytes, and its first ones say {at}")
        pack_rows, self.chunk_ids, self._places, self.object_ids, self._objects, refs = columns
        self.packs = [PackName(*row) for row in _PACK_ENTRY.iter_unpack(pack_rows)]
        self._refs = array("I", bytes(refs))
        if sys.byteorder == "big":
            self._refs.byteswap()
        if not is_known_sound:
            self._check()

    def _wrong(self, why: str) -> PackIndexError:
        return PackIndexError(f"cannot read index '{self.name}': {why}")

    def _check(self) -> None:
        chunks, references = self.chunk_count, len(self._refs)
        if any(not PACK_HEADER_BYTES < pack.size <= PACK_LIMIT for pack in self.packs):
            raise self._wrong("it names a pack of an impossible size")
        if not _is_ascending(_slices(self.chunk_ids, 32)):
            raise self._wrong("its chunks are not in order")
        for kind in range(KINDS):
            if not _is_ascending(_slices(self.ids_of(kind), 16)):
                raise self._wrong("its objects are not in order")
        if references and max(self._refs) >= chunks:
            raise self._wrong("an object names a chunk that is not there")
        places = _words(self._places)
        if chunks and (max(places[0::4]) >= len(self.packs) or max(places[3::4]) >> 24 > ZSTD):
            raise self._wrong("a chunk lies where nothing can be")
        rows = _words(self._objects)
        if rows and max(map(operator.add, rows[2::4], rows[3::4])) > references:
            raise self._wrong("an object has chunks that are not there")

    @property
    def chunk_count(self) -> int:
        """Number of located chunks."""
        return len(self.chunk_ids) // 32

    @property
    def object_count(self) -> int:
        """Number of objects of all kinds."""
        return sum(self.counts)

    def first_of(self, kind: int) -> int:
        """Returns the row of the first object of a kind."""
        return sum(self.counts[:kind])

    def ids_of(self, kind: int) -> memoryview:
        """Returns the md5 of the objects of a kind, 16 bytes each, sorted."""
        first = self.first_of(kind)
        return self.object_ids[16 * first : 16 * (first + self.counts[kind])]

    def place(self, row: int) -> Place:
        """Returns where a chunk lies.

        Raises: PackIndexError: nowhere in its pack.
        """
        pack, first, stored, size = _PLACE.unpack_from(self._places, 16 * row)
        place = Place(pack, first, stored, size & 0xFFFFFF, size >> 24)
        if not _is_sound(place, self.packs[pack].size):
            raise self._wrong("a chunk lies where nothing can be")
        return place

    def pack_number(self, row: int) -> int:
        """Returns the number of the pack of a chunk."""
        return int.from_bytes(self._places[16 * row : 16 * row + 4], "little")

    def chunk(self, row: int) -> bytes:
        """Returns the id of a chunk."""
        return bytes(self.chunk_ids[32 * row : 32 * row + 32])

    def size(self, row: int) -> int:
        """Returns the bytes of an object."""
        return int.from_bytes(self._objects[16 * row : 16 * row + 8], "little")

    def chunks_of(self, row: int) -> array[int]:
        """Returns the numbers of the chunks of an object, in their order."""
        _, first, count = _OBJECT.unpack_from(self._objects, 16 * row)
        return self._refs[first : first + count]

    def objects(self) -> Iterator[tuple[int, int, bytes]]:
        """Yields (row, kind, md5) of all objects."""
        row = 0
        for kind in range(KINDS):
            for md5 in _slices(self.ids_of(kind), 16):
                yield row, kind, md5
                row += 1


def _slices(column: memoryview, width: int) -> list[bytes]:
    data = bytes(column)
    return [data[at : at + width] for at in range(0, len(data), width)]


def _is_ascending(items: list[bytes]) -> bool:
    return all(map(operator.lt, items, islice(items, 1, None)))


def _words(column: memoryview) -> array[int]:
    words = array("I", bytes(column))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def render_index(
    packs: Sequence[PackName],
    chunks: Mapping[bytes, Place],
    objects: Iterable[ObjectRow],
    *,
    nonce: bytes,
) -> bytes:
    """Returns the unpacked bytes of an index.

    Args:
        chunks: where each chunk lies; `pack` is a number of `packs`. Every chunk of an object must be among them.
    """
    ordered = sorted(chunks)
    numbers = {chunk: number for number, chunk in enumerate(ordered)}
    rows = sorted(objects, key=lambda row: row[:2])
    counts = [0] * KINDS
    references = array("I")
    table = bytearray()
    for kind, _, size, own in rows:
        counts[kind] += 1
        table += _OBJECT.pack(size, len(references), len(own))
        references.extend([numbers[chunk] for chunk in own])
    if sys.byteorder == "big":
        references.byteswap()
    header = _INDEX_HEADER.pack(
        _INDEX_MAGIC, VERSION, len(packs), len(ordered), len(references), *counts, nonce
    )
    return b"".join(
        [
            header,
            *[_PACK_ENTRY.pack(*pack) for pack in packs],
            *ordered,
            *[_PLACE.pack(*_packed(chunks[chunk])) for chunk in ordered],
            *[row.md5 for row in rows],
            bytes(table),
            references.tobytes(),
        ]
    )


def wrap_index(data: bytes) -> tuple[str, bytes]:
    """Returns the name and the stored bytes of an index."""
    frame = zstd.compress(data)
    return hashlib.sha256(frame).hexdigest(), frame


def unwrap_index(frame: bytes, *, name: str) -> bytes:
    """Returns the unpacked bytes of an index as it is stored.

    Raises: PackIndexError: its name is not that of these bytes, or they are no frame.
    """
    if hashlib.sha256(frame).hexdigest() != name:
        raise PackIndexError(f"cannot read index '{name}': its bytes have another SHA-256")
    try:
        return zstd.decompress(frame, limit=INDEX_LIMIT, name=name)
    except zstd.FrameError as error:
        raise PackIndexError(f"cannot read index '{name}': {error.message}") from error


# Marker and marks


class Bounds(NamedTuple):
    """Sizes of chunks in bytes."""

    min: int = 16384
    average: int = 65536
    max: int = 262144

    @property
    def are_usable(self) -> bool:
        """Says whether a cutter can work with them."""
        return (
            64 <= self.min < self.average < self.max < 1 << 24
            and self.min <= 1 << 20
            and 256 <= self.average <= 4 << 20
            and self.max >= 1024
        )


class Marker(NamedTuple):
    """What says that a place is packed.

    Attributes:
        id: 32 hex digits, of this place alone.
        reader, writer: lowest version that may read and write here.
        loose: "", or "from" or "to" while a conversion is under way.
        others: keys that are not known here; kept.
    """

    id: str
    bounds: Bounds = Bounds()
    reader: int = 1
    writer: int = 1
    loose: str = ""
    others: Mapping[str, Any] = {}


def parse_marker(data: bytes, *, name: str) -> Marker:
    """Returns what a marker says.

    Raises:
        MarkerError: it says nothing that can be understood.
        NewerLayoutError: this version may not read there.
    """
    value = _json(data, name)
    try:
        reader, writer = value["reader"], value["writer"]
        is_ours = value["format"] == "kist-packed"
    except KeyError as error:
        raise MarkerError(f"cannot read '{name}': {error} lacks") from error
    if not (is_ours and _is_count(reader) and _is_count(writer)):
        raise MarkerError(f"cannot read '{name}': it is not the marker of a packed remote")
    if reader > VERSION:
        raise NewerLayoutError(
            f"cannot read '{name}': it needs version {reader} of the packed layout, and this Kist knows {VERSION}",
            hint="install a newer Kist",
        )
    bounds, loose = value.get("chunks"), value.get("loose", "")
    sizes: list[Any] = [bounds.get(key) for key in Bounds._fields] if isinstance(bounds, dict) else []
    identity = value.get("id")
    if not (isinstance(identity, str) and _HEX32.fullmatch(identity) and loose in ("", "from", "to")):
        raise MarkerError(f"cannot read '{name}': it is damaged")
    if not (sizes and all(map(_is_count, sizes)) and Bounds(*sizes).are_usable):
        raise MarkerError(f"cannot read '{name}': nothing can be cut with its sizes of chunks")
    known = {"format", "version", "reader", "writer", "id", "chunks", "loose"}
    others = {key: item for key, item in value.items() if key not in known}
    return Marker(identity, Bounds(*sizes), reader, writer, loose, others)


def check_may_write(marker: Marker, *, name: str) -> None:
    """Raises NewerLayoutError where this version may only read."""
    if marker.writer > VERSION:
        raise NewerLayoutError(
            f"cannot write to '{name}': it needs version {marker.writer} of the packed layout, "
            f"and this Kist knows {VERSION}",
            hint="install a newer Kist",
        )


def render_marker(marker: Marker) -> bytes:
    """Returns the bytes of a marker."""
    value = {
        "format": "kist-packed",
        "version": VERSION,
        "reader": marker.reader,
        "writer": marker.writer,
        "id": marker.id,
        "chunks": marker.bounds._asdict(),
        "loose": marker.loose,
        **marker.others,
    }
    return _dump(value)


class Mark(NamedTuple):
    """What a clean-up is about to remove: objects (kind, md5 in hex), and packs (SHA-256 in hex)."""

    objects: frozenset[tuple[int, str]]
    packs: frozenset[str]


def parse_mark(data: bytes, *, name: str) -> Mark:
    """Returns what a mark says.

    Raises: MarkerError.
    """
    value = _json(data, name)
    objects, packs = value.get("objects"), value.get("packs")
    if not (isinstance(objects, list) and isinstance(packs, list)):
        raise MarkerError(f"cannot read '{name}': it is not the mark of a clean-up")
    for item in objects:
        if not (isinstance(item, list) and len(item) == 2 and item[0] in range(KINDS)):
            raise MarkerError(f"cannot read '{name}': it names an object of no kind")
        if not (isinstance(item[1], str) and _HEX32.fullmatch(item[1])):
            raise MarkerError(f"cannot read '{name}': it names an object without an md5")
    if not all(isinstance(pack, str) and _HEX64.fullmatch(pack) for pack in packs):
        raise MarkerError(f"cannot read '{name}': it names a pack without a SHA-256")
    return Mark(frozenset((kind, md5) for kind, md5 in objects), frozenset(packs))


def render_mark(mark: Mark) -> bytes:
    """Returns the bytes of a mark."""
    return _dump({"objects": sorted(map(list, mark.objects)), "packs": sorted(mark.packs)})


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _json(data: bytes, name: str) -> dict[str, Any]:
    import json  # a start-up that meets no packed remote needs none

    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MarkerError(f"cannot read '{name}': {error}") from error
    if not isinstance(value, dict):
        raise MarkerError(f"cannot read '{name}': it is no JSON object")
    return value


def _dump(value: Any) -> bytes:
    import json  # as above

    return json.dumps(value, indent=1).encode() + b"\n"

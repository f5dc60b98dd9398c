"""Bytes of the packed layout: round trips, golden bytes, and hostile bytes that are refused in one line."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kist.errors import FormatError
from kist.formats import pack
from kist.formats.pack import (
    RAW,
    ZSTD,
    Bounds,
    Index,
    Mark,
    Marker,
    NewerLayoutError,
    ObjectRow,
    PackError,
    PackIndexError,
    PackName,
    Place,
)

NONCE = bytes(range(16))
digests = st.binary(min_size=32, max_size=32)
md5s = st.binary(min_size=16, max_size=16)


@st.composite
def places(draw: st.DrawFn, pack_count: int = 1) -> Place:
    first = draw(st.integers(32, 1 << 24))
    stored = draw(st.integers(1, 1 << 20))
    is_raw = draw(st.booleans())
    size = stored if is_raw else draw(st.integers(1, (1 << 24) - 1))
    return Place(draw(st.integers(0, pack_count - 1)), first, stored, size, RAW if is_raw else ZSTD)


Content = tuple[list[PackName], dict[bytes, Place], list[ObjectRow]]


@st.composite
def contents(draw: st.DrawFn) -> Content:
    packs = [PackName(digest, pack.PACK_LIMIT) for digest in draw(st.lists(digests, min_size=1, max_size=4))]
    chunks = draw(st.dictionaries(digests, places(len(packs)), min_size=1, max_size=12))
    keys = draw(st.lists(st.tuples(st.integers(0, 3), md5s), max_size=12, unique=True))
    objects = [
        ObjectRow(
            kind,
            md5,
            draw(st.integers(0, 1 << 60)),
            draw(st.lists(st.sampled_from(sorted(chunks)), max_size=5)),
        )
        for kind, md5 in keys
    ]
    return packs, chunks, objects


@given(contents())
def test_an_index_gives_back_what_went_into_it(content: Content) -> None:
    packs, chunks, objects = content
    name, frame = pack.wrap_index(pack.render_index(packs, chunks, objects, nonce=NONCE))
    index = Index(pack.unwrap_index(frame, name=name), name=name)
    assert index.packs == packs
    assert {index.chunk(row): index.place(row) for row in range(index.chunk_count)} == chunks
    found = [
        ObjectRow(kind, md5, index.size(row), [index.chunk(number) for number in index.chunks_of(row)])
        for row, kind, md5 in index.objects()
    ]
    assert found == sorted(objects, key=lambda row: row[:2])


@given(st.dictionaries(digests, places(), max_size=12))
def test_the_table_of_a_pack_comes_back(chunks: dict[bytes, Place]) -> None:
    end = pack.render_pack_end(chunks.items())
    size = 32 + (1 << 25) + len(end)
    first, length, digest = pack.parse_pack_tail(end[-48:], size, name="p")
    assert (first, length) == (size - len(end), len(end) - 48)
    table = pack.parse_pack_table(end[:-48], name="p", digest=digest)
    assert table == sorted(chunks.items())


@given(contents(), st.data())
def test_a_damaged_index_is_refused_or_still_makes_sense(content: Content, data: st.DataObject) -> None:
    raw = bytearray(pack.render_index(*content, nonce=NONCE))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for hostile in (bytes(raw), bytes(raw[:cut])):
        try:
            index = Index(hostile, name="i")
            for row, _, _ in index.objects():
                for number in index.chunks_of(row):
                    index.place(number)
        except PackIndexError:
            pass


@given(st.binary(max_size=400))
def test_any_bytes_are_a_format_error_at_worst(data: bytes) -> None:
    name = hashlib.sha256(data).hexdigest()
    for act in (
        lambda: Index(data, name="i"),
        lambda: pack.unwrap_index(data, name=name),
        lambda: pack.parse_pack_tail(data[-48:], len(data), name="p"),
        lambda: pack.parse_pack_table(data, name="p"),
        lambda: pack.parse_marker(data, name="m"),
        lambda: pack.parse_mark(data, name="m"),
    ):
        try:
            act()
        except FormatError:
            pass


def test_an_index_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "INDEX_LIMIT", 1000)
    name, frame = pack.wrap_index(bytes(1_000_000))
    with pytest.raises(PackIndexError, match="more than the 1000 bytes"):
        pack.unwrap_index(frame, name=name)


def test_an_index_under_a_wrong_name_is_refused() -> None:
    _, frame = pack.wrap_index(pack.render_index([], {}, [], nonce=NONCE))
    with pytest.raises(PackIndexError, match="another SHA-256"):
        pack.unwrap_index(frame, name="0" * 64)


def test_the_bytes_are_those_of_the_specification() -> None:
    chunks = {b"\x01" * 32: Place(0, 32, 5, 5, RAW), b"\x02" * 32: Place(0, 37, 4, 1000, ZSTD)}
    rows = [
        ObjectRow(0, b"\x0a" * 16, 1005, [b"\x01" * 32, b"\x02" * 32]),
        ObjectRow(1, b"\x0b" * 16, 5, [b"\x01" * 32]),
    ]
    raw = pack.render_index([PackName(b"\x07" * 32, 200)], chunks, rows, nonce=NONCE)
    one, five = (1).to_bytes(4, "little"), (5).to_bytes(4, "little")
    assert raw == b"".join(
        [
            b"KISTINDX" + one + one + (2).to_bytes(4, "little") + (3).to_bytes(4, "little"),
            one + one + bytes(8) + NONCE,
            b"\x07" * 32 + (200).to_bytes(8, "little"),
            b"\x01" * 32 + b"\x02" * 32,
            bytes(4) + (32).to_bytes(4, "little") + five + five,
            bytes(4) + (37).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"\xe8\x03\x00\x01",
            b"\x0a" * 16 + b"\x0b" * 16,
            (1005).to_bytes(8, "little") + bytes(4) + (2).to_bytes(4, "little"),
            (5).to_bytes(8, "little") + (2).to_bytes(4, "little") + one,
            bytes(4) + one + bytes(4),
        ]
    )
    table = b"\x01" * 32 + bytes(4) + (32).to_bytes(4, "little") + five + five
    assert pack.render_pack_header(NONCE) == b"KISTPACK" + one + bytes(4) + NONCE
    assert pack.render_pack_end([(b"\x01" * 32, Place(0, 32, 5, 5, RAW))]) == (
        table + one + one + hashlib.sha256(table).digest() + b"KISTPEND"
    )


def test_a_row_of_a_table_that_points_nowhere_is_refused() -> None:
    for place in (
        Place(0, 31, 5, 5, RAW),
        Place(0, 32, 0, 5, ZSTD),
        Place(0, 32, 4, 5, RAW),
        Place(0, 32, 5, 5, 2),
    ):
        table = pack.render_pack_end([(b"\x01" * 32, place)])[:-48]
        with pytest.raises(PackError):
            pack.parse_pack_table(table, name="p")


bounds = st.builds(
    lambda least, average, most: Bounds(least, least + average, least + average + most),
    st.integers(256, 1 << 20),
    st.integers(1, 1 << 20),
    st.integers(1024, 1 << 20),
)


@given(
    st.builds(
        Marker,
        st.binary(min_size=16, max_size=16).map(bytes.hex),
        bounds,
        reader=st.just(1),
        writer=st.just(2),
        loose=st.sampled_from(["", "from", "to"]),
        others=st.dictionaries(st.just("later"), st.integers()),
    )
)
def test_a_marker_comes_back_with_what_it_does_not_know(marker: Marker) -> None:
    assert pack.parse_marker(pack.render_marker(marker), name="m") == marker


def test_a_newer_layout_is_named_with_both_versions() -> None:
    newer = pack.render_marker(Marker("0" * 32, reader=2))
    with pytest.raises(NewerLayoutError, match=r"version 2 .* knows 1"):
        pack.parse_marker(newer, name="m")
    readable = pack.parse_marker(pack.render_marker(Marker("0" * 32, writer=2)), name="m")
    with pytest.raises(NewerLayoutError, match="cannot write"):
        pack.check_may_write(readable, name="m")


@settings(max_examples=50)
@given(
    st.frozensets(st.tuples(st.integers(0, 3), md5s.map(bytes.hex)), max_size=9),
    st.frozensets(digests.map(bytes.hex), max_size=9),
)
def test_a_mark_comes_back(objects: frozenset[tuple[int, str]], packs: frozenset[str]) -> None:
    mark = Mark(objects, packs)
    assert pack.parse_mark(pack.render_mark(mark), name="m") == mark


def test_keys_name_what_they_say_and_nothing_else() -> None:
    name = "ab" * 32
    assert pack.pack_of_key(pack.pack_key(name)) == name
    assert pack.index_of_key(pack.index_key(name)) == name
    for key in ("packs/ac/" + name + ".pack", "packs/ab/x.pack", "index/" + name, "files/md5/ab/" + "0" * 30):
        assert pack.pack_of_key(key) is None
        assert pack.index_of_key(key) is None

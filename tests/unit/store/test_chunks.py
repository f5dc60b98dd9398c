"""Cutting: the vectors of docs/spec/packed.md hold, streams and memory cut alike, and a change stays where it is."""

from __future__ import annotations

import hashlib
import io
import random
import re
from pathlib import Path

import pytest

from kist.formats.pack import RAW, ZSTD, Bounds, Place, unpack_chunk
from kist.store.chunks import Chunker, chunk_id, pack_chunk

DEFAULT = Bounds()
SPEC = Path(__file__).parents[3] / "docs" / "spec" / "packed.md"


def numbers(size: int) -> bytes:
    """Returns the deterministic bytes of the specification."""
    return b"".join(hashlib.sha256(b"kist %d" % at).digest() for at in range(-(-size // 32)))[:size]


def figures(data: bytes, bounds: Bounds = DEFAULT) -> tuple[list[int], str]:
    """Returns lengths of chunks, and the SHA-256 of their ids."""
    chunks = [bytes(chunk) for chunk in Chunker(bounds).cut(data)]
    assert b"".join(chunks) == data
    return [len(chunk) for chunk in chunks], hashlib.sha256(b"".join(map(chunk_id, chunks))).hexdigest()


@pytest.mark.parametrize(
    ("label", "data"),
    [
        ("Numbers(16384)", numbers(16384)),
        ("Numbers(1048576)", numbers(1 << 20)),
        ("1048576 zeros", bytes(1 << 20)),
        ("`X` and Numbers(1048576)", b"X" + numbers(1 << 20)),
    ],
)
def test_the_vectors_of_the_specification_hold(label: str, data: bytes) -> None:
    lengths, digest = figures(data)
    row = next(line for line in SPEC.read_text().splitlines() if line.startswith(f"| {label} |"))
    _, _, told, told_digest, _ = row.split("|")
    expected = [262144] * 4 if "four times" in told else [int(word) for word in told.split()]
    assert lengths == expected
    assert told_digest.strip() == f"`{digest}`"


def test_other_bounds_have_a_vector_too() -> None:
    match = re.search(r"Numbers\(131072\): ([\d ]+); `(\w+)`", SPEC.read_text())
    assert match
    lengths, digest = figures(numbers(131072), Bounds(2048, 8192, 32768))
    assert (lengths, digest) == ([int(word) for word in match[1].split()], match[2])


@pytest.mark.parametrize("size", [1, 16384, 16385, 65536, 300_000, 3_000_000])
def test_a_stream_is_cut_as_what_is_in_memory(size: int) -> None:
    data = random.Random(size).randbytes(size)
    chunker = Chunker(Bounds())
    assert list(chunker.cut_stream(io.BytesIO(data))) == [bytes(chunk) for chunk in chunker.cut(data)]


def test_an_empty_object_has_no_chunks() -> None:
    assert list(Chunker(Bounds()).cut(b"")) == []


def test_an_insertion_changes_a_few_chunks_only() -> None:
    data = random.Random(3).randbytes(8 << 20)
    before = {chunk_id(chunk) for chunk in Chunker(Bounds()).cut(data)}
    after = {chunk_id(chunk) for chunk in Chunker(Bounds()).cut(data[: 4 << 20] + b"new" + data[4 << 20 :])}
    assert len(after - before) <= 3


@pytest.mark.parametrize(
    ("data", "codec"), [(random.Random(1).randbytes(5000), RAW), (b"abc" * 5000, ZSTD), (b"x", RAW)]
)
def test_a_chunk_is_compressed_where_that_pays_and_comes_back(data: bytes, codec: int) -> None:
    stored, used = pack_chunk(data)
    assert used == codec
    place = Place(0, 32, len(stored), len(data), codec)
    assert unpack_chunk(stored, chunk_id(data), place) == data
    assert unpack_chunk(stored, chunk_id(b"another"), place) is None
    assert unpack_chunk(stored, chunk_id(data), place._replace(size=len(data) + 1)) is None
    assert unpack_chunk(bytes(stored)[:-1], chunk_id(data), place) is None

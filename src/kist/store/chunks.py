"""Cuts streams into chunks where their content says so: the same bytes give the same chunks everywhere.

Not here: where chunks go (transfer.packed), the bytes of packs (formats.pack).
Implements docs/spec/packed.md, section 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from kist.formats import zstd
from kist.formats.pack import RAW, ZSTD, Bounds

if TYPE_CHECKING:
    from pyfastcdc import FastCDC


class Reader(Protocol):
    """What can be read from the front to the end."""

    def readinto(self, target: memoryview, /) -> int:
        """Reads into a buffer; returns how much, 0 at the end."""


class Chunker:
    """Cuts with one remote's bounds. Not for several threads at once."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._cutter: FastCDC | None = None

    def _fastcdc(self) -> FastCDC:
        if self._cutter is None:
            from pyfastcdc import FastCDC  # most files are one chunk

            least, average, most = self._bounds
            self._cutter = FastCDC(average, min_size=least, max_size=most, normalized_chunking=2)
        return self._cutter

    def cut(self, data: bytes) -> Iterator[bytes | memoryview]:
        """Yields the chunks of what is in memory."""
        if len(data) <= self._bounds.min:
            if data:
                yield data
            return
        for chunk in self._fastcdc().cut_buf(data):
            yield chunk.data

    def cut_stream(self, stream: Reader) -> Iterator[bytes]:
        """Yields the chunks of a stream; a few of them are in memory at a time."""
        for chunk in self._fastcdc().cut_stream(stream):
            yield bytes(chunk.data)


def chunk_id(data: bytes | memoryview) -> bytes:
    """Returns the id of a chunk."""
    return hashlib.sha256(data).digest()


def pack_chunk(data: bytes | memoryview) -> tuple[bytes | memoryview, int]:
    """Returns a chunk as it is stored, and the codec: compressed where that saves at least a sixteenth."""
    frame = zstd.compress(data)
    if len(frame) > len(data) - len(data) // 16:
        return data, RAW
    return frame, ZSTD

"""Zstandard frames, from the standard library where it has them. The library is loaded by the first call.

Not here: what is compressed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kist.errors import FormatError

if TYPE_CHECKING:
    from backports.zstd import ZstdCompressor

LEVEL = 3
_local = threading.local()
_module: Any = None


class FrameError(FormatError):
    """Bytes are not one whole zstd frame, or become more than they may."""

    code = "zstd-frame"


def _zstd() -> Any:
    global _module
    if _module is None:
        # Most commands compress nothing; Python has it from 3.14 on.
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd
        _module = zstd
    return _module


def compress(data: bytes | memoryview) -> bytes:
    """Returns one frame of the project's level; a thread's compressor is used again and again."""
    compressor: ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = _zstd().ZstdCompressor(level=LEVEL)
    return compressor.compress(data, compressor.FLUSH_FRAME)


def decompress(frame: bytes | memoryview, *, limit: int, name: str) -> bytes:
    """Returns what a frame holds; never more than `limit` bytes are made.

    Raises:
        FrameError: damaged, incomplete, followed by something, or longer.
    """
    zstd = _zstd()
    machine = zstd.ZstdDecompressor()
    try:
        data: bytes = machine.decompress(frame, max_length=limit + 1)
    except zstd.ZstdError as error:
        raise FrameError(f"cannot unpack '{name}': {error}") from error
    if len(data) > limit or not machine.eof or machine.unused_data:
        raise FrameError(
            f"cannot unpack '{name}': it is cut, or holds more than the {limit} bytes that it may"
        )
    return data

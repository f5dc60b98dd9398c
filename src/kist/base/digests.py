"""Content ids of files: md5, and DVC 2's md5 of text with LF for CRLF. Read in blocks, whatever the size.

Not here: where digests are kept. Source: docs/spec/store.md; DVC 2.58 and 3.67.1 for the old kind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable

BLOCK_SIZE = 1 << 20
REPORT_SIZE = 16 << 20
"""So many bytes of one file are told together: a part of a second on any disk, and hundreds of blocks."""
_SAMPLE = 512
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"


_QUICK_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_md5(
    path: str, size_hint: int = 0, *, report: Callable[[int], None] | None = None
) -> tuple[bytes, int]:
    """Returns the md5 digest (16 bytes) of a file's bytes and their number.

    Args:
        size_hint: the expected size in bytes; a small file is then read in one call.
        report: told now and then how many bytes more of a large file were read; not of its end.

    Raises: OSError: with the path in `filename`.
    """
    descriptor = open_regular(path)
    try:
        if size_hint < BLOCK_SIZE:
            data = os.read(descriptor, size_hint + 1)
            if len(data) == size_hint:
                return hashlib.md5(data, usedforsecurity=False).digest(), size_hint
            digest = hashlib.md5(data, usedforsecurity=False)
            total = len(data)
        else:
            digest, total = hashlib.md5(usedforsecurity=False), 0
        buffer = bytearray(BLOCK_SIZE)
        view = memoryview(buffer)
        told = 0
        while count := os.readv(descriptor, [buffer]):
            digest.update(view[:count])
            total += count
            if report is not None and total - told >= REPORT_SIZE:
                report(total - told)
                told = total
        return digest.digest(), total
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


class QuickFolder:
    """A folder whose small files are hashed quickly, by name; a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> QuickFolder:
        with contextlib.suppress(OSError):  # whoever reads a file in it says what is wrong
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def md5(self, name: str, size: int) -> bytes | None:
        """Returns what `quick_md5` does."""
        return quick_md5(self._descriptor, name, size) if self._descriptor >= 0 else None


def quick_md5(folder: int, name: str, size: int) -> bytes | None:
    """Returns the md5 digest of a file that was just seen to be a regular one; None where it cannot be had so quickly.

    Args: folder: descriptor of its folder. size: in bytes, as it was seen.
    """
    if size >= BLOCK_SIZE:
        return None
    try:
        descriptor = os.open(name, _QUICK_FLAGS, dir_fd=folder)
        try:
            data = os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return hashlib.md5(data, usedforsecurity=False).digest() if len(data) == size else None


def read_block(descriptor: int, path: str, size: int | None = None) -> bytes:
    """Returns the next bytes of an open file, b"" at its end.

    Raises: OSError: naming `path`, which the system does not.
    """
    try:
        return os.read(descriptor, size or BLOCK_SIZE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def open_regular(path: str) -> int:
    """Returns a descriptor for reading; never waits for a writer of a named pipe that took the file's place.

    Raises: OSError: EINVAL when it is no regular file.
    """
    return open_sized(path)[0]


def open_sized(path: str) -> tuple[int, int]:
    """Returns what `open_regular` does, and the file's size in bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0))
    status = os.fstat(descriptor)
    if status.st_mode & 0o170000 != 0o100000:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, status.st_size


def read_legacy_md5(path: str) -> tuple[bytes, bytes]:
    """Returns the two ids that a file may have in a cache of DVC 2.x and older.

    The first decides once a file whether it is text (1.x, 2.x), the second once a block (3.x reading old data). They
    differ only for files of over 1 MiB that mix both.
    """
    once, each = hashlib.md5(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with open(open_regular(path), "rb", buffering=0) as stream:
        is_text: bool | None = None
        while block := _read_block(stream.fileno()):
            block_is_text = is_text_sample(block[:_SAMPLE])
            if is_text is None:
                is_text = block_is_text
            unix = block.replace(b"\r\n", b"\n") if is_text or block_is_text else block
            once.update(unix if is_text else block)
            each.update(unix if block_is_text else block)
    return once.digest(), each.digest()


def _read_block(descriptor: int) -> bytes:
    """Returns the next 1 MiB, less only at the end: where blocks begin decides what counts as text."""
    parts = []
    have = 0
    while have < BLOCK_SIZE and (part := os.read(descriptor, BLOCK_SIZE - have)):
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def is_text_sample(sample: bytes) -> bool:
    """Says whether DVC takes a block that begins with `sample` (512 bytes at most) for text."""
    if not sample:
        return True
    if b"\0" in sample:
        return False
    return len(sample.translate(None, _TEXT)) / len(sample) <= 0.30

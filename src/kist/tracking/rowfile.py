"""A file that rows are appended to, by several processes at once, each row whole and safe from a kill when written.

Not here: what a row says (formats.metriclog). Implements docs/spec/logger.md, sections 3 and 4.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kist.base import atomic
from kist.errors import FormatError, StorageError
from kist.formats.metriclog import HEADER, RowScan

_BLOCK = 1 << 20
_SYNC_SHARE = 100
"""A sync that took a second is followed by the next not before this many seconds."""


class NotAMetricsFileError(FormatError):
    """The file that is to be continued was not made by the logger. Nothing was written; name another path."""

    code = "not-a-metrics-file"


class LogWriteError(StorageError):
    """The operating system refused the write (disk full, no permission); no part of the call is in the file."""

    code = "log-write-failed"


class RowFile:
    """An open metrics file. One process may use it from several threads if they take turns."""

    def __init__(self, path: str, *, resume: bool, sync_s: float | None) -> None:
        """Opens or makes the file, and begins it anew unless `resume`.

        Raises: NotAMetricsFileError, LogWriteError.
        """
        self._path = path
        self._sync_s = sync_s
        self._next_sync_s = time.monotonic() + (sync_s or 0.0)
        self._is_dirty = False
        self.removed = b""
        """What was cut off behind the last complete row."""
        try:
            _unlink_from_cache(path, keep=resume)
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise refused(path, error) from error
        try:
            with locked(self._descriptor):
                self._begin(resume)
        except OSError as error:
            os.close(self._descriptor)
            raise refused(path, error) from error
        except NotAMetricsFileError:
            os.close(self._descriptor)
            raise

    def _begin(self, resume: bool) -> None:
        descriptor = self._descriptor
        size = os.fstat(descriptor).st_size
        if resume and size:
            first = os.pread(descriptor, len(HEADER) + 1, 0)
            if not HEADER.startswith(first) and first.replace(b"\r\n", b"\n")[: len(HEADER)] != HEADER:
                raise NotAMetricsFileError(
                    f"cannot continue '{self._path}': it does not begin with '{HEADER.decode().strip()}'",
                    hint="name another file, or leave `resume` out to begin this one anew",
                )
            size = self._cut(size)
        if size and not resume:
            os.ftruncate(descriptor, 0)
            size = 0
        if not size:
            atomic.write_all(descriptor, HEADER)
            self._is_dirty = True

    def _cut(self, size: int) -> int:
        """Cuts off what follows the last complete row; returns the size then."""
        scan = RowScan()
        tail = b""
        at = 0
        while block := os.pread(self._descriptor, _BLOCK, at):
            at += len(block)
            scan.feed(block)
            tail = block if scan.end > at - len(block) else tail + block
        if scan.end < at:
            self.removed = tail[scan.end - at :]
            os.ftruncate(self._descriptor, scan.end)
            self._is_dirty = True
        return scan.end

    def append(self, rows: bytes) -> None:
        """Writes rows; they are in the file when this returns, or nothing of them is.

        Raises: LogWriteError.
        """
        try:
            _append(self._descriptor, rows)
            self._is_dirty = True
            if self._sync_s is not None and time.monotonic() >= self._next_sync_s:
                self._sync(self._sync_s)
        except OSError as error:
            raise refused(self._path, error) from error

    def _sync(self, sync_s: float) -> None:
        began = time.monotonic()
        os.fsync(self._descriptor)
        self._is_dirty = False
        took = time.monotonic() - began
        # A slow disk is asked seldom: no more than one part in a hundred goes into waiting.
        self._next_sync_s = began + (max(sync_s, _SYNC_SHARE * took) if sync_s else 0.0)

    def close(self) -> None:
        """Syncs and closes the file; does nothing the second time.

        Raises: LogWriteError: the sync failed.
        """
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if self._is_dirty:
                os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe, a device
                raise refused(self._path, error) from error
        finally:
            os.close(descriptor)


def _append(descriptor: int, rows: bytes) -> None:
    """Writes rows in one call; where that fails half-way, takes back what it wrote."""
    with locked(descriptor) as is_alone:
        end = os.fstat(descriptor).st_size
        try:
            atomic.write_all(descriptor, rows)
        except OSError:
            if is_alone:
                os.ftruncate(descriptor, end)
            raise


@contextmanager
def locked(descriptor: int) -> Iterator[bool]:
    """Holds the lock of a file; gives whether the file system has such locks."""
    has_lock = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        has_lock = False  # O_APPEND alone keeps rows whole
    try:
        yield has_lock
    finally:
        if has_lock:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _unlink_from_cache(path: str, *, keep: bool) -> None:
    """Makes `path` a file of its own, where it is one with others or may not be written to."""
    try:
        here = os.lstat(path)
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        return
    is_read_only = not found.st_mode & stat.S_IWUSR
    is_shared = found.st_nlink > 1
    if not is_read_only and not is_shared:
        return
    if not keep and not stat.S_ISLNK(here.st_mode):
        os.unlink(path)
        return
    data = b""
    if keep:
        with open(path, "rb") as stream:
            data = stream.read()
    atomic.write_file(path, data, mode=stat.S_IMODE(found.st_mode) | stat.S_IWUSR)


def refused(path: str, error: OSError) -> LogWriteError:
    """Returns the error to raise where the system refused."""
    cause = (error.strerror or "input/output error").lower()
    return LogWriteError(
        f"cannot write '{path}': {cause}", hint="make space or mend the permissions, then log on"
    )

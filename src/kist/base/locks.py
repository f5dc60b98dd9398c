"""The lock that keeps two writers of one repository apart, and names its holder.

The kernel frees it when its holder dies. DVC takes the same lock in the same file, so the two wait for each other.
Reading commands never take it. Not here: which commands do. Implements docs/spec/locks.md.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from kist.errors import LockedError, StorageError

if TYPE_CHECKING:
    from kist.base.namelock import NameLock

WAIT_S = 20.0
_POLL_S = 0.05


class RepositoryLockedError(LockedError):
    """Another process changes the repository and did not finish in time. A retry helps once it has ended."""

    code = "repository-locked"


class LockUnavailableError(StorageError):
    """The lock file cannot be made: read-only or full file system, or no permission."""

    code = "lock-unavailable"


class LockLostError(LockedError):
    """Another machine took the lock over, for this one had slept or lost its file system. Running again helps."""

    code = "lock-lost"


class FileLock:
    """An exclusive lock on a file; a context manager.

    Where the file system knows no `flock` (some NFS mounts), or `by_link` asks for it, a name is the lock (NameLock).
    """

    def __init__(
        self,
        path: str,
        *,
        wait_s: float | None = WAIT_S,
        by_link: bool = False,
        when_taken: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        path: the lock file, made if needed.
        wait_s: how long to wait for another holder; None: for ever.
        when_taken: called each time the lock was entered, while it is held.
        """
        self._when_taken = when_taken
        self._path = path
        self._wait_s = wait_s
        self._by_link = by_link
        self._descriptor = -1
        self._named: NameLock | None = None

    def __enter__(self) -> FileLock:
        self._take()
        try:
            if self._when_taken is not None:
                self._when_taken()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _take(self) -> None:
        try:
            self._wait()
        except BaseException:
            if self._named is not None:
                self._named.release()
                self._named = None
            raise

    def _wait(self) -> None:
        deadline = None if self._wait_s is None else time.monotonic() + self._wait_s
        while not self._try():
            if deadline is not None and time.monotonic() > deadline:
                raise RepositoryLockedError(
                    f"cannot lock the repository: {self._holder()} holds '{self._path}'",
                    hint="wait until it has finished, or give `--wait-for-lock` before the command",
                )
            time.sleep(_POLL_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._named is not None:
            is_ours = self._named.release()
            self._named = None
            if not is_ours and kind is None:
                raise LockLostError(
                    f"cannot say that all is well: another process took the lock '{self._path}' over meanwhile",
                    hint="run the same command again",
                )
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def released(self) -> Iterator[None]:
        """Gives the lock back while entered, and then waits for it as long as it takes: work was done meanwhile."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            wait_s, self._wait_s = self._wait_s, None
            try:
                self._take()
            finally:
                self._wait_s = wait_s

    def _try(self) -> bool:
        if self._by_link:
            return self._try_name()
        import fcntl  # absent on some systems

        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS):
                raise self._unavailable(error) from error
            try:
                # Enough for a lock without a text.
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return True  # where nobody may make the file, nobody holds it
            except OSError:
                raise self._unavailable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                return False
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                self._by_link = True
                return self._try_name()
            raise self._unavailable(error) from error
        self._descriptor = descriptor
        self._sign(descriptor)
        return True

    def _unavailable(self, error: OSError) -> LockUnavailableError:
        return LockUnavailableError(
            f"cannot lock the repository: '{self._path}': {os.strerror(error.errno or 0)}"
        )

    def _sign(self, descriptor: int) -> None:
        # For messages alone: on a full disk the lock holds as well without a text.
        try:
            text = f" {os.getpid()}\n".encode()
            if os.fstat(descriptor).st_size > len(text):
                os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
        except OSError:
            pass

    def _try_name(self) -> bool:
        if self._named is None:
            from kist.base.namelock import NameLock  # most file systems know flock

            self._named = NameLock(self._path + ".d")
        try:
            return self._named.take()
        except OSError as error:
            raise self._unavailable(error) from error

    def _holder(self) -> str:
        if self._named is not None:
            return self._named.holder()
        try:
            with open(self._path, encoding="utf-8", errors="replace") as stream:
                words = stream.read(200).split()
        except OSError:
            words = []
        return f"process {words[0]}" if words and words[0].isdigit() else "another process"

"""The lock that keeps two writers of one repository apart, and names its holder.

The kernel frees it when its holder dies. DVC takes the same lock in the same file, so the two wait for each other.
Reading commands never take it. Not here: which commands do. Implements docs/spec/locks.md.
"""

from __future__ import annotations

import errno
import os
import time
from types import TracebackType

from kist.base import atomic
from kist.errors import LockedError, StorageError

WAIT_S = 20.0
HEARTBEAT_STALE_S = 900.0
_POLL_S = 0.05


class RepositoryLockedError(LockedError):
    """Another process changes the repository and did not finish in time. A retry helps once it has ended."""

    code = "repository-locked"


class LockUnavailableError(StorageError):
    """The lock file cannot be made: read-only or full file system, or no permission."""

    code = "lock-unavailable"


class FileLock:
    """An exclusive lock on a file; a context manager.

    Where the file system knows no `flock` (some NFS mounts), or `by_link` asks for it, a hard link is the lock.
    """

    def __init__(self, path: str, *, wait_s: float | None = WAIT_S, by_link: bool = False) -> None:
        """Args: path: the lock file, made if needed. wait_s: how long to wait for another holder; None: for ever."""
        self._path = path
        self._wait_s = wait_s
        self._by_link = by_link
        self._descriptor = -1
        self._link = ""

    def __enter__(self) -> FileLock:
        try:
            self._wait()
        except BaseException:
            if self._link:
                atomic.remove_quietly(self._link)
                self._link = ""
            raise
        return self

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
        if self._link:
            atomic.remove_quietly(self._path + ".link")
            atomic.remove_quietly(self._link)
            self._link = ""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self) -> bool:
        if self._by_link:
            return self._try_link()
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
                return self._try_link()
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
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f" {os.getpid()}\n".encode(), 0)
        except OSError:
            pass

    def _try_link(self) -> bool:
        if not self._link:
            self._link = os.path.join(os.path.dirname(self._path), atomic.temp_name())
            try:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                with open(self._link, "x", encoding="utf-8") as stream:
                    stream.write(f" {os.getpid()} {atomic.machine_name()}\n")
            except OSError as error:
                raise self._unavailable(error) from error
        target = self._path + ".link"
        try:
            os.link(self._link, target)
        except FileExistsError:
            self._remove_dead(target)
            return False
        except OSError as error:
            raise self._unavailable(error) from error
        return True

    def _remove_dead(self, target: str) -> None:
        """Frees a link lock whose holder is gone: ended on this machine, or silent on another for 15 minutes."""
        try:
            with open(target, encoding="utf-8", errors="replace") as stream:
                words = stream.read(200).split()
            age_s = time.time() - os.stat(target).st_mtime
        except OSError:
            return
        is_here = len(words) == 2 and words[1] == atomic.machine_name() and words[0].isdigit()
        if atomic.is_alive(int(words[0])) if is_here else age_s < HEARTBEAT_STALE_S:
            return
        # Renamed first: of several that see it dead, one wins, and nobody removes a new holder's lock.
        grave = os.path.join(os.path.dirname(target), atomic.temp_name())
        try:
            os.rename(target, grave)
        except OSError:
            return
        atomic.remove_quietly(grave)

    def _holder(self) -> str:
        path = self._path + ".link" if self._by_link else self._path
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                words = stream.read(200).split()
        except OSError:
            words = []
        return f"process {words[0]}" if words and words[0].isdigit() else "another process"

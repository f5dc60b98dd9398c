"""Writes that a kill or a power cut leaves either done or not begun; the only module that renames into place.

Not here: which file comes before which (the verbs decide that order). Implements docs/spec/durability.md.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Sequence

TEMP_PREFIX = ".kist-"
TEMP_SUFFIX = ".tmp"
STALE_AFTER_S = 86_400
SYNC_EACH_LIMIT = 24
"""Up to this many files are synced one by one; above, one `syncfs` costs less."""

# What a file system answers when it has no such call at all; anything else is a real failure.
_NOT_SUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)

_TEMP_NAME = re.compile(r"\.kist-[0-9a-f]{8}-\d+-\d+-[0-9a-f]{8}(-\d+)*\.tmp")
_tidied: set[str] = set()
_counter = 0
_host = ""


def host_tag() -> str:
    """Returns eight characters that tell this machine from others that share its file systems."""
    global _host
    if not _host:
        import zlib  # only when a temporary name is made

        _host = f"{zlib.crc32(machine_name().encode('utf-8', 'surrogateescape')):08x}"
    return _host


def machine_name() -> str:
    """Returns the machine's name, as locks and messages show it."""
    return os.uname().nodename


def temp_name() -> str:
    """Returns a fresh file name that says who made it: `.kist-HOST-PID-COUNT-RANDOM.tmp`."""
    global _counter
    _counter += 1
    return f"{TEMP_PREFIX}{host_tag()}-{os.getpid()}-{_counter}-{os.urandom(4).hex()}{TEMP_SUFFIX}"


def is_temp_name(name: str) -> bool:
    """Says whether `name` was made by `temp_name`."""
    return name.startswith(TEMP_PREFIX) and _TEMP_NAME.fullmatch(name) is not None


def is_stale_temp(name: str, mtime_s: float, now_s: float) -> bool:
    """Says whether nobody can still be writing the temporary file `name`.

    Its maker was on this machine and is gone, or it has not been touched for a day.
    """
    parts = name[len(TEMP_PREFIX) :].split("-")
    if len(parts) >= 2 and parts[0] == host_tag() and parts[1].isdigit():
        return not is_alive(int(parts[1]))
    return now_s - mtime_s > STALE_AFTER_S


def is_alive(pid: int) -> bool:
    """Says whether a process of this machine is running."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_file(path: str, data: bytes, *, durable: bool = True, mode: int | None = None) -> None:
    """Replaces or creates `path` with `data`; see `write_blocks`."""
    write_blocks(path, (data,), durable=durable, mode=mode)


def write_blocks(
    path: str, blocks: Iterable[bytes], *, durable: bool = True, mode: int | None = None
) -> None:
    """Replaces or creates `path` with bytes that come in blocks.

    Args:
        durable: sync the file and its directory, so that the new content survives a power cut.
        mode: permission bits; None keeps those of the file that is replaced, or 0666 less the umask.

    Raises:
        OSError: as the system says; the old file is untouched and the temporary one removed. And what `blocks` raises.

    Holds: at every moment `path` has its old bytes or all of the new ones.
    """
    # A symbolic link is replaced, not followed: a repository's files must not lead writes out of it (rule R14).
    directory, _ = os.path.split(path)
    tidy_folder(directory or ".")
    temp = os.path.join(directory, temp_name())
    if mode is None:
        mode = _mode_of(path)
    try:
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            for block in blocks:
                write_all(descriptor, block)
            if mode is not None:
                os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temp, path)
    except BaseException:
        remove_quietly(temp)
        raise
    if durable:
        sync_directory(directory or ".")


def write_many(
    files: Sequence[tuple[str, bytes]], *, root: str, mode: int | None = None, folders: Iterable[str] = ()
) -> None:
    """Makes many small files, all of them durable when it returns; costs few syncs however many they are.

    Args:
        files: paths in folders that are there, and contents.
        root: a folder on the file system that holds them.
        mode: permission bits; None: 0666 less the umask.
        folders: others whose names are to be durable before any of the files has its own.

    Raises: OSError; some of the files may be there then.

    Holds: at every moment a path has its old bytes or all of the new ones.
    """
    staged: list[tuple[str, str]] = []
    try:
        for path, data in files:
            tidy_folder(os.path.dirname(path))
            temp = os.path.join(os.path.dirname(path), temp_name())
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            staged.append((temp, path))
            try:
                write_all(descriptor, data)
                if mode is not None:
                    os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
        _sync_together([temp for temp, _ in staged], list(dict.fromkeys(folders)), root)
        while staged:
            os.replace(*staged[-1])
            staged.pop()
    except BaseException:
        for temp, _ in staged:
            remove_quietly(temp)
        raise
    _sync_together([], list(dict.fromkeys(os.path.dirname(path) for path, _ in files)), root)


def _sync_together(paths: Sequence[str], directories: Sequence[str], root: str) -> None:
    if len(paths) + len(directories) > SYNC_EACH_LIMIT and sync_file_system(root):
        return
    for path in paths:
        sync_file(path)
    for directory in directories:
        sync_directory(directory)


def _mode_of(path: str) -> int | None:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of `data`, however little each call takes."""
    written = os.write(descriptor, data)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(view):
        written += os.write(descriptor, view[written:])


def remove_quietly(path: str) -> None:
    """Removes a file if it is there and may be removed: for the way out of a failed operation."""
    try:
        os.unlink(path)
    except OSError:
        pass


def tidy_folder(path: str) -> None:
    """Removes what killed processes left of writes into a folder; looks once a process at each folder."""
    if path in _tidied:
        return
    _tidied.add(path)
    try:
        names = [name for name in os.listdir(path) if name.startswith(TEMP_PREFIX) and is_temp_name(name)]
    except OSError:
        return
    if names:
        remove_stale([os.path.join(path, name) for name in names], time.time())


def remove_stale(paths: Iterable[str], now_s: float) -> None:
    """Removes those of our temporary files that nobody can still be writing."""
    for path in paths:
        try:
            mtime_s = os.lstat(path).st_mtime
        except OSError:
            continue
        if is_stale_temp(os.path.basename(path), mtime_s, now_s) and not os.path.isdir(path):
            remove_quietly(path)


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable; a file system that cannot sync folders is accepted as it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Makes the content of one file durable.

    Raises: OSError, EIO above all: after a failed sync the content must be taken as lost, not synced again.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_many(paths: Sequence[str], directories: Iterable[str], *, root: str) -> None:
    """Makes many files, and the names in `directories`, durable at the cost of one call where the system has it.

    Args:
        paths: files whose content is to be durable.
        directories: folders whose entries are to be durable.
        root: a folder on the file system that holds all of them.
    """
    if len(paths) > SYNC_EACH_LIMIT and sync_file_system(root):
        return
    for path in paths:
        sync_file(path)
    for directory in directories:
        sync_directory(directory)


def sync_file_system(path: str) -> bool:
    """Writes out everything of the file system that holds `path`; returns False where there is no such call."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes  # only where many files were written; a Python may be built without it

        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if call(descriptor) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL):
            return False
        raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


class Beside:
    """A call that waits for the system, such as a flush, in a thread of its own; others must not touch what it does.

    Holds: after `wait` it has ended, and what it met was raised.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        import threading  # only where many files were written

        self._error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - the edge of this thread: `wait` raises it; lost, it would be a yes
            self._error = error

    def wait(self) -> None:
        """Waits for the end.

        Raises: as the call did.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

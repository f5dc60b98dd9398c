"""Finds what a store holds beyond what is needed, and removes objects: manifests first, files after them.

Not here: what is needed (repo.named), and why something may stay all the same (repo.gc). Implements docs/spec/gc.md.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Set
from typing import Any, NamedTuple

from kist.base import atomic, parallel
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.base.shell import shell_line
from kist.errors import StorageError
from kist.store.loose import LooseStore, is_oid

_DVC_TEMP = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")
"""Source: DVC 3.67.1, unfinished objects of its writes into folders."""

_FORK_OBJECTS = 20_000


class CannotRemoveError(StorageError):
    """An object cannot be removed: no permission in its folder, or a read-only file system."""

    code = "object-not-removed"


class Leftover(NamedTuple):
    """One object that is not needed.

    Attributes:
        changed_ns: when its file last changed, as the file system has it: since 1970.
    """

    oid: str
    size_bytes: int
    changed_ns: int


class Listing(NamedTuple):
    """What a store holds beyond what is needed.

    Attributes:
        leftovers: in the order of their ids.
        temps: absolute paths of unfinished files in the folders of the objects.
    """

    leftovers: list[Leftover]
    temps: list[str]


def beyond(store: LooseStore, needed: Set[str], *, workers: int) -> Listing:
    """Returns what a store holds besides `needed`: one listing a prefix folder, a stat for each leftover.

    Raises:
        OSError: a folder cannot be listed.
    """
    root = store.root
    temps = temps_in(root) + (temps_in(store.base) if root != store.base else [])
    prefixes = store.prefixes()
    is_large = bool(prefixes) and len(_names(f"{root}/{prefixes[0]}")) * len(prefixes) > _FORK_OBJECTS
    step = max(1, len(prefixes) // (4 * workers)) if is_large else max(1, len(prefixes))
    groups = [prefixes[at : at + step] for at in range(0, len(prefixes), step)]
    job = _Job(root, needed)
    leftovers: list[Leftover] = []
    for found, unfinished in parallel.run_requests(job.handle, groups, workers=workers):
        leftovers += [Leftover(*item) for item in found]
        temps += unfinished
    return Listing(leftovers, temps)


class _Job:
    """Lists prefix folders; made before the fork."""

    def __init__(self, root: str, needed: Set[str]) -> None:
        self._root = root
        self._needed = needed

    def handle(self, request: Any, emit: Emit) -> Any:
        """Returns (id, size, time of change) of each object that is not needed, and paths of unfinished files."""
        leftovers: list[tuple[str, int, int]] = []
        temps: list[str] = []
        for prefix in request:
            folder = f"{self._root}/{prefix}"
            # All names at once: a hundred thousand cost as little as that.
            for oid in sorted(set(map(prefix.__add__, _names(folder))) - self._needed):
                path = f"{folder}/{oid[2:]}"
                if is_oid(oid):
                    found = _stat(path)
                    if found is not None:
                        leftovers.append((oid, found.st_size, found.st_ctime_ns))
                elif _is_temp(oid[2:]):
                    temps.append(path)
        return leftovers, temps


def temps_in(folder: str) -> list[str]:
    """Returns the unfinished files and staging folders right in a folder, ours and DVC's."""
    return [f"{folder}/{name}" for name in _names(folder) if _is_temp(name)]


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stat(path: str) -> os.stat_result | None:
    """Returns the stat of what may be removed: no folder, and still there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else found


def _is_temp(name: str) -> bool:
    return atomic.is_temp_name(name) or _DVC_TEMP.fullmatch(name) is not None


def is_stale(path: str, now_s: float) -> bool:
    """Says whether nobody can still be writing the unfinished file at `path`: one of ours, or of DVC's."""
    try:
        mtime_s = os.lstat(path).st_mtime
    except OSError:
        return False
    name = os.path.basename(path)
    if atomic.is_temp_name(name):
        return atomic.is_stale_temp(name, mtime_s, now_s)
    return now_s - mtime_s > atomic.STALE_AFTER_S


def remove(store: LooseStore, oids: Iterable[str], *, progress: Progress, phase: str) -> None:
    """Removes objects; one that is gone already is as good.

    Raises:
        CannotRemoveError: some could not be removed; the others were, but no file if a manifest stayed.

    Holds: at every moment, after a power cut too, each manifest that was complete before is complete or gone.
    """
    manifests: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {}
    count = 0
    for oid in oids:
        (manifests if oid.endswith(".dir") else files).setdefault(oid[:2], []).append(oid[2:])
        count += 1
    with progress.phase(phase, count) as shown:
        folders = _remove_all(store, manifests, shown.advance)
        is_few = len(folders) <= atomic.SYNC_EACH_LIMIT
        if folders and files and (is_few or not atomic.sync_file_system(store.base)):
            for folder in folders:
                atomic.sync_directory(folder)
        _remove_all(store, files, shown.advance)


def _remove_all(store: LooseStore, by_prefix: dict[str, list[str]], advance: Emit) -> list[str]:
    """Removes objects; returns the folders that it worked in."""
    failed: list[OSError] = []
    folders: list[str] = []
    for prefix, names in by_prefix.items():
        folder = f"{store.root}/{prefix}"
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        folders.append(folder)
        try:
            for name in names:
                try:
                    os.unlink(name, dir_fd=descriptor)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    failed.append(OSError(error.errno, error.strerror, f"{folder}/{name}"))
        finally:
            os.close(descriptor)
        advance(len(names), 0)
    if failed:
        first = failed[0]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise CannotRemoveError(
            f"cannot remove '{first.filename}'{more}: {first.strerror}",
            hint=shell_line("ls", "-ld", os.path.dirname(first.filename)),
        ) from first
    return folders

"""What a disk may hold after a power cut, computed from the shim's log instead of a real device.

Two worlds, each the worst that a file system may do: names survive and the bytes that were not synced are gone (the
file is empty), or the names are gone too unless their folder was synced. Not here: the log itself (shim).
Implements docs/design/accepted/crash-testing.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .shim import WRITING, Record

_DIRTYING = WRITING | {"truncate", "fallocate", "empty"}
_NAMING = frozenset({"create", "mkdir", "link", "symlink", "rename", "unlink", "rmdir"})
_NEVER = 1 << 62

Inode = tuple[int, int]


def power_cut(root: str, log: Sequence[Record], *, keep: str, lose_names: bool = False) -> list[str]:
    """Turns the tree below `root` into what a power cut right after the log's last record may leave.

    Args:
        log: of a run with `keep` on, whether it was killed or ended.
        keep: the folder with the kept files.
        lose_names: also undo every creation, rename, link and removal in a folder that was not synced afterwards.

    Returns:
        the paths of the files that lost their bytes, sorted.
    """
    lost = _unsynced_inodes(log)
    if lose_names:
        _undo_names(log, keep)
    emptied = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if (info.st_dev, info.st_ino) in lost and not os.path.islink(path):
                _empty(path)
                emptied.append(path)
    return sorted(emptied)


def _empty(path: str) -> None:
    mode = os.stat(path).st_mode
    os.chmod(path, 0o600)
    os.truncate(path, 0)
    os.chmod(path, mode & 0o7777)


def _unsynced_inodes(log: Sequence[Record]) -> set[Inode]:
    """Returns the files whose last write was not followed by a whole, successful sync."""
    dirty: dict[Inode, int] = {}
    synced: dict[Inode, int] = {}
    everything = 0
    begun = {record.call: record for record in log if record.phase == "B"}
    ended = {record.call for record in log if record.phase == "E"}
    for record in log:
        if record.phase == "B":
            if record.name in _DIRTYING and record.call not in ended:
                dirty[record.inode] = _NEVER  # the kill came before its end was known
            continue
        if record.result < 0:
            continue
        if record.name in _DIRTYING:
            dirty[record.inode] = max(dirty.get(record.inode, 0), record.tick)
        elif record.name == "create":
            dirty.pop(record.inode, None)  # a number used anew
        elif record.name == "fsync":
            synced[record.inode] = max(synced.get(record.inode, 0), begun[record.call].tick)
        elif record.name == "syncfs":
            everything = max(everything, begun[record.call].tick)
    return {inode for inode, tick in dirty.items() if tick > max(synced.get(inode, 0), everything)}


def _undo_names(log: Sequence[Record], keep: str) -> None:
    begun = {record.call: record for record in log if record.phase == "B"}
    folders: dict[str, int] = {}
    everything = 0
    for record in log:
        if record.phase == "E" and record.result >= 0:
            if record.name == "fsync":
                folders[record.path] = max(folders.get(record.path, 0), begun[record.call].tick)
            elif record.name == "syncfs":
                everything = max(everything, begun[record.call].tick)
    for record in reversed(log):
        if record.phase != "E" or record.result < 0 or record.name not in _NAMING:
            continue
        changed = record.other if record.name == "rename" else record.path
        if record.tick > max(folders.get(os.path.dirname(changed), 0), everything):
            _undo(record, os.path.join(keep, str(record.call)))


def _undo(record: Record, spare: str) -> None:
    """Takes one change of names back; what a later, surviving change built upon stays, as on a journalled disk."""
    try:
        if record.name in ("create", "link", "symlink"):
            os.unlink(record.path)
        elif record.name == "mkdir":
            os.rmdir(record.path)
        elif record.name == "rmdir":
            os.mkdir(record.path)
        elif record.name == "rename":
            os.rename(record.other, record.path)
            if record.kept:
                os.link(spare, record.other)
        elif record.kept:
            os.link(spare, record.path)
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        return
    except OSError:
        if not os.path.isdir(record.path):
            raise

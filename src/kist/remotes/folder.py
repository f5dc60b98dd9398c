"""A folder as a storage: values under keys, on a local disk or a mounted share. Packed remotes in folders lie in one.

Not here: the loose layout in a folder (`remotes.local`, which copies without requests).
Implements docs/spec/storage.md, section 2.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from kist.base import atomic
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    StorageFailedError,
    StorageMissingError,
    StorageRefusedError,
    Upload,
)

BLOCK = 1 << 20
_MODE = 0o444
_ABILITIES = Abilities(deletes=100, streams=2, most_streams=4)


class FolderStorage:
    """Keeps each value in a read-only file; what a call has written is durable when it returns."""

    def __init__(
        self,
        name: str,
        url: str,
        path: str,
        *,
        shared_group: bool = False,
        durable: bool = True,
        abilities: Abilities = _ABILITIES,
    ) -> None:
        """Args: path: absolute. shared_group: new folders are the group's, too. durable: False in tests only."""
        self.name = name
        self.url = url
        self.path = path
        self.abilities = abilities
        self._shared_group = shared_group
        self._durable = durable

    def _at(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise StorageRefusedError(f"cannot use '{key}' as a key in a folder")
        return os.path.join(self.path, key)

    def head(self, key: str) -> Item | None:
        """Returns what is known of a key, or None where it is not there."""
        return self._item(key, self._at(key))

    def _item(self, key: str, path: str) -> Item | None:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Item(key, found.st_size, tag=str(found.st_mtime_ns), modified_s=found.st_mtime)

    def list(self, prefix: str) -> Iterator[Item]:
        """Yields everything below a prefix; unfinished files are left out."""
        pending = [prefix.rstrip("/")]
        while pending:
            folder = pending.pop()
            try:
                entries = os.scandir(os.path.join(self.path, folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if atomic.is_temp_name(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(key)
                    elif (item := self._item(key, entry.path)) is not None:
                        yield item

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yields blocks of a value; `size` bytes from `first` on, or all to the end."""
        try:
            with open(self._at(key), "rb", buffering=0) as stream:
                stream.seek(first)
                left = size if size is not None else os.fstat(stream.fileno()).st_size - first
                while left > 0:
                    block = stream.read(min(BLOCK, left))
                    if not block:
                        raise StorageFailedError(f"cannot read '{key}': it ends {left} bytes early")
                    left -= len(block)
                    yield block
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise StorageMissingError(f"cannot read '{key}': it is not there") from error

    def write(self, key: str, body: Body) -> Item:
        """Writes a value; it becomes visible whole or not at all."""
        path = self._at(key)
        self._make_folder(os.path.dirname(path))
        atomic.write_blocks(path, body.open(), durable=self._durable, mode=_MODE)
        item = self._item(key, path)
        if item is None:
            raise StorageFailedError(f"cannot write '{key}': it went while it was written")
        return item

    def _make_folder(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        if parent and parent != path:
            self._make_folder(parent)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return
        if self._shared_group:
            os.chmod(path, 0o2775)
        if self._durable:
            atomic.sync_directory(parent)

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes keys; what is not there counts as deleted."""
        for key in keys:
            path = self._at(key)
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError:
                if not os.path.isdir(path):  # a folder is no value
                    raise

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """Refuses: a file is written as a whole."""
        raise StorageRefusedError(f"cannot write '{key}' in parts: folders take whole values")

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """Refuses, as `begin`."""
        raise StorageRefusedError(f"cannot write '{upload.key}' in parts: folders take whole values")

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """Refuses, as `begin`."""
        raise StorageRefusedError(f"cannot write '{upload.key}' in parts: folders take whole values")

    def abort(self, upload: Upload) -> None:
        """Does nothing: nothing was begun."""

    def close(self) -> None:
        """Does nothing: a folder has no connections."""

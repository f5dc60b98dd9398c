"""A storage that is a folder, for tests of the engine: any ability can be taken away, any call can be made to fail.

Not here: a backend for users (that is `remotes.local`, which copies without requests).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from kist.base import atomic
from kist.remotes.storage import Abilities, Body, Item, StorageMissingError, Upload

BLOCK = 1 << 16


class FolderStorage:
    """Keeps each value in a file, and counts the calls.

    Attributes:
        calls: name of a call -> how often.
        fault: called with (name, key) before each call; may raise.
    """

    def __init__(self, path: str, abilities: Abilities | None = None) -> None:
        self.name = "store"
        self.url = f"test://{path}"
        self.path = path
        self.abilities = abilities or Abilities(parts=True, part_bytes=1 << 16, resumes=True, deletes=100)
        self.calls: Counter[str] = Counter()
        self.fault: Callable[[str, str], None] = lambda name, key: None

    def _begin(self, name: str, key: str) -> str:
        self.calls[name] += 1
        self.fault(name, key)
        return os.path.join(self.path, key)

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        return self._item(key, self._begin("head", key))

    def _item(self, key: str, path: str) -> Item | None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Item(key, found.st_size, tag=str(found.st_mtime_ns), modified_s=found.st_mtime)

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage."""
        top = self._begin("list", prefix)
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                item = self._item(os.path.relpath(path, self.path).replace(os.sep, "/"), path)
                if item is not None and not item.key.startswith("parts/"):
                    yield item

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        path = self._begin("read", key)
        try:
            with open(path, "rb") as stream:
                stream.seek(first)
                left = size if size is not None else os.fstat(stream.fileno()).st_size - first
                while left > 0 and (block := stream.read(min(BLOCK, left))):
                    left -= len(block)
                    yield block
        except FileNotFoundError as error:
            raise StorageMissingError(f"cannot read '{key}': it is not there") from error

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        path = self._begin("write", key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write_file(path, b"".join(body.open()), durable=False)
        item = self._item(key, path)
        assert item is not None
        return item

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        self._begin("begin", key)
        folder = os.path.join(self.path, "parts", hashlib.sha256(f"{key} {size}".encode()).hexdigest())
        os.makedirs(folder, exist_ok=True)
        parts = {
            int(name): (os.path.getsize(os.path.join(folder, name)), name) for name in os.listdir(folder)
        }
        return Upload(key, folder, parts if self.abilities.resumes else {})

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        self._begin("put_part", upload.key)
        atomic.write_file(os.path.join(upload.id, str(number)), data, durable=False)
        return str(number)

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        path = self._begin("finish", upload.key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        whole = b""
        for number in sorted(tags):
            with open(os.path.join(upload.id, tags[number]), "rb") as stream:
                whole += stream.read()
        atomic.write_file(path, whole, durable=False)
        self._throw_away(upload)
        item = self._item(upload.key, path)
        assert item is not None
        return item

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        self._begin("abort", upload.key)
        self._throw_away(upload)

    def _throw_away(self, upload: Upload) -> None:
        if os.path.isdir(upload.id):
            for name in os.listdir(upload.id):
                os.unlink(os.path.join(upload.id, name))
            os.rmdir(upload.id)

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        self._begin("delete", keys[0])
        for key in keys:
            atomic.remove_quietly(os.path.join(self.path, key))

    def close(self) -> None:
        """As of Storage."""
        self.calls["close"] += 1

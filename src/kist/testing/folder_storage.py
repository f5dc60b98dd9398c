"""A storage that is a folder, for tests of the engine: any ability can be taken away, any call can be made to fail.

Not here: the backend for users (`remotes.folder`), which this one counts, and teaches to write in parts.
"""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from kist.base import atomic
from kist.remotes import folder
from kist.remotes.storage import Abilities, Body, Item, StorageMissingError, Upload


class FolderStorage(folder.FolderStorage):
    """Keeps each value in a file, and counts the calls.

    Attributes:
        calls: name of a call -> how often.
        fault: called with (name, key) before each call; may raise.
    """

    def __init__(self, path: str, abilities: Abilities | None = None) -> None:
        able = abilities or Abilities(parts=True, part_bytes=1 << 16, resumes=True, deletes=100)
        super().__init__("store", f"test://{path}", path, durable=False, abilities=able)
        self.calls: Counter[str] = Counter()
        self.fault: Callable[[str, str], None] = lambda name, key: None

    def _begin(self, name: str, key: str) -> str:
        self.calls[name] += 1
        self.fault(name, key)
        return os.path.join(self.path, key)

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        self._begin("head", key)
        return super().head(key)

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage."""
        self._begin("list", prefix)
        return (item for item in super().list(prefix) if not item.key.startswith("parts/"))

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        self._begin("read", key)
        return super().read(key, first=first, size=size)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        self._begin("write", key)
        return super().write(key, body)

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
        super().delete(keys)

    def close(self) -> None:
        """As of Storage."""
        self.calls["close"] += 1


class VersionedFolderStorage(FolderStorage):
    """A folder that keeps versions, for tests of remotes with `version_aware`.

    Attributes:
        keeps: whether it is set up to keep them; None: who asks may not know.
    """

    versions_hint = "turn-on-versions"

    def __init__(self, path: str, abilities: Abilities | None = None) -> None:
        able = abilities or Abilities(parts=True, part_bytes=1 << 16, resumes=True, deletes=100)
        super().__init__(path, able._replace(versions=True))
        self.keeps: bool | None = True
        self._lock = threading.Lock()
        self._kept = path + ".versions"

    def _folder(self, key: str) -> str:
        return os.path.join(self._kept, urllib.parse.quote(key, safe=""))

    def _keep(self, item: Item) -> Item:
        """Keeps what was written as a version; with its tag as S3 makes them."""
        if self.keeps is False:
            return item
        with self._lock:
            folder = self._folder(item.key)
            os.makedirs(folder, exist_ok=True)
            version = f"v{_newest(folder) + 1}"
            with open(os.path.join(self.path, item.key), "rb") as stream:
                data = stream.read()
            atomic.write_file(os.path.join(folder, version), data, durable=False)
        return item._replace(version=version, tag=_tag(data))

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        return self._keep(super().write(key, body))

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        return self._keep(super().finish(upload, tags))

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        item = super().head(key)
        if item is None or not os.path.isdir(self._folder(key)):
            return item
        return self._version(key, f"v{_newest(self._folder(key))}")

    def keeps_versions(self) -> bool | None:
        """As of VersionedStorage."""
        self._begin("keeps_versions", "")
        return self.keeps

    def versions(self, prefix: str) -> Iterator[Item]:
        """As of VersionedStorage."""
        self._begin("versions", prefix)
        names = sorted(os.listdir(self._kept)) if os.path.isdir(self._kept) else []
        for name in names:
            key = urllib.parse.unquote(name)
            kept = os.listdir(os.path.join(self._kept, name)) if key.startswith(prefix) else []
            for version in kept:
                item = self._version(key, version)
                if item is not None:
                    yield item

    def _version(self, key: str, version: str) -> Item | None:
        folder = self._folder(key)
        try:
            with open(os.path.join(folder, version), "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            return None
        is_there = os.path.exists(os.path.join(self.path, key))
        is_latest = is_there and version == f"v{_newest(folder)}"
        return Item(key, len(data), tag=_tag(data), version=version, is_latest=is_latest)

    def head_version(self, key: str, version: str) -> Item | None:
        """As of VersionedStorage."""
        self._begin("head_version", key)
        return self._version(key, version)

    def read_version(
        self, key: str, version: str, *, first: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """As of VersionedStorage."""
        self._begin("read_version", key)
        try:
            with open(os.path.join(self._folder(key), version), "rb") as stream:
                stream.seek(first)
                yield stream.read() if size is None else stream.read(size)
        except FileNotFoundError as error:
            raise StorageMissingError(
                f"cannot read version '{version}' of '{key}': it is not there"
            ) from error


def _newest(folder: str) -> int:
    return max((int(name[1:]) for name in os.listdir(folder)), default=-1)


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'

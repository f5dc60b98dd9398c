"""What S3, Google Cloud Storage and Azure Blob have in common, through obstore: values, listings, and errors.

Not here: addresses, credentials and parts (the modules of the services). Implements docs/spec/storage.md.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import obstore

from kist.base.shell import shell_line
from kist.errors import KistError
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
    WithoutParts,
)
from kist.remotes.web import HttpClient, refuse_login

TIMEOUT_S = 30.0
_WHOLE_BYTES = 16 << 20
_BLOCK_BYTES = 8 << 20
_BUSY = re.compile(r"(?:status(?: code)?|response):? (?:429|503)\b|SlowDown|TooManyRequests|ServerBusy")
_UNREACHABLE = (
    "Connection refused",
    "dns error",
    "failed to lookup",
    "No route to host",
    "Network is unreachable",
)


class CloudStorage(WithoutParts):
    """A folder of a bucket or container. A subclass makes the store, and names permissions and missing buckets.

    Without parts: obstore knows none that could be continued.

    Attributes:
        bucket: its name.
        folder: within it, without "/" at the ends.
        options: of the remote.
    """

    kind = "bucket"
    """What the service calls that which holds values."""

    def __init__(self, place: Place, *, bucket: str, folder: str, abilities: Abilities) -> None:
        self.name = place.name
        refuse_login(place)
        self.url = place.url
        self.bucket = bucket
        self.folder = folder.strip("/")
        self.options: Mapping[str, str] = place.options
        self.place = place
        self.abilities = abilities
        self._wait_lock = threading.Lock()
        self._asked_s = self._wait_until_s = 0.0
        if not bucket:
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': its address names no {self.kind}",
                hint=shell_line(
                    "kist",
                    "remote",
                    "modify",
                    self.name,
                    "url",
                    f"{place.scheme}://{self.kind.upper()}/FOLDER",
                ),
            )

    @property
    def store(self) -> Any:
        """obstore's store, made when it is first needed."""
        raise NotImplementedError

    def permission(self, verb: str) -> str:
        """Returns what the service calls the permission to read, write, list or delete."""
        raise NotImplementedError

    def refusal(self, error: Exception, verb: str, key: str) -> Exception | None:
        """Returns our error for one that only this service has, or None."""
        return None

    def client_options(self) -> dict[str, Any]:
        """Returns timeouts and TLS, by the remote's options."""
        client: dict[str, Any] = {
            "timeout": datetime.timedelta(hours=1),
            "connect_timeout": self._seconds("connect_timeout", "connection_timeout"),
            "read_timeout": self._seconds("read_timeout", "timeout"),
            "user_agent": "kist",
            "allow_http": True,
        }
        verify = self.options.get("ssl_verify")
        if verify is not None and verify.lower() == "false":
            client["allow_invalid_certificates"] = True
        elif verify is not None and verify.lower() != "true":
            with open(verify, "rb") as stream:
                client["root_certificate"] = stream.read()
        return client

    def _seconds(self, *names: str) -> datetime.timedelta:
        text = next((self.options[name] for name in names if self.options.get(name)), None)
        return datetime.timedelta(seconds=float(text or TIMEOUT_S))

    @property
    def is_anonymous(self) -> bool:
        """Says whether requests go without credentials."""
        return self.place.flag("allow_anonymous_login")

    def path_of(self, key: str) -> str:
        """Returns a key's whole name in the bucket."""
        return f"{self.folder}/{key}" if self.folder else key

    def _key(self, path: str) -> str:
        return path[len(self.folder) + 1 :] if self.folder else path

    def translated(self, verb: str, key: str) -> Translated:
        """Returns a context in which the libraries' errors become ours."""
        return Translated(self, verb, key)

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        try:
            with self.translated("read", key):
                found = obstore.head(self.store, self.path_of(key))
        except StorageMissingError:
            return None
        return self._item(found)

    def _item(self, found: Any) -> Item:
        return Item(
            self._key(found["path"]),
            found["size"],
            tag=found["e_tag"],
            version=found.get("version"),
            modified_s=found["last_modified"].timestamp(),
        )

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage."""
        # obstore lists folders: what follows the last "/" is compared here.
        folder = self.path_of(prefix.rpartition("/")[0]).strip("/")
        try:
            with self.translated("list", prefix):
                for page in obstore.list(self.store, folder or None, chunk_size=1000):
                    for found in page:
                        item = self._item(found)
                        if item.key.startswith(prefix):
                            yield item
        except StorageMissingError as error:
            if "bucket" in error.message:
                raise

    def head_version(self, key: str, version: str) -> Item | None:
        """As of VersionedStorage."""
        options: Any = {"version": version, "head": True}
        try:
            with self.translated("read", key):
                found = obstore.get(self.store, self.path_of(key), options=options).meta
        except StorageMissingError:
            return None
        return self._item(found)._replace(version=version)

    def read_version(
        self, key: str, version: str, *, first: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """As of VersionedStorage."""
        if size == 0:
            return
        options: dict[str, Any] = {"version": version}
        if size is not None:
            options["range"] = (first, first + size)
        elif first:
            options["range"] = {"offset": first}
        with self.translated("read", key):
            found = obstore.get(self.store, self.path_of(key), options=options)  # type: ignore[arg-type]
            yield from self._blocks(key, found, found.meta["size"] - first if size is None else size)

    def _blocks(self, key: str, found: Any, expected: int) -> Iterator[bytes]:
        """Yields the body of an answer, which must have the promised length."""
        have = 0
        blocks = (found.bytes(),) if expected <= _WHOLE_BYTES else found.stream(min_chunk_size=_BLOCK_BYTES)
        for block in blocks:
            have += len(block)
            yield bytes(block)
        if have != expected:
            raise StorageFailedError(f"cannot read '{key}': {have} bytes came of {expected}")

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        with self.translated("read", key):
            if size is not None:
                data = (
                    bytes(obstore.get_range(self.store, self.path_of(key), start=first, length=size))
                    if size
                    else b""
                )
                if len(data) != size:
                    raise StorageFailedError(f"cannot read '{key}': {len(data)} bytes came of {size}")
                yield data
                return
            options: Any = {"range": {"offset": first}} if first else None
            found = obstore.get(self.store, self.path_of(key), options=options)
            yield from self._blocks(key, found, found.meta["size"] - first)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage."""
        with self.translated("write", key):
            if body.size <= _WHOLE_BYTES:
                data = b"".join(body.open())
                if len(data) != body.size:
                    raise StorageFailedError(f"cannot write '{key}': its bytes changed while they were read")
                done = obstore.put(self.store, self.path_of(key), data, use_multipart=False)
            else:
                done = obstore.put(
                    self.store,
                    self.path_of(key),
                    body.open(),
                    use_multipart=True,
                    chunk_size=_BLOCK_BYTES,
                    max_concurrency=8,
                )
        item = Item(key, body.size, tag=done["e_tag"], version=done["version"])
        self.compare(item, body)
        return item

    def compare(self, item: Item, body: Body) -> None:
        """Raises StorageFailedError if the service's tag is an md5, and another one than that of the bytes."""
        plain = (item.tag or "").strip('"')
        if body.md5 is not None and len(plain) == 32 and plain != body.md5.hex():
            raise StorageFailedError(
                f"cannot write '{item.key}': the service stored other bytes (its ETag is {plain})"
            )

    def wait_asked_for(self, key: str) -> float | None:
        """Returns how long a busy service asks to wait: by a question of our own, for obstore does not show it.

        One such question a second is enough for all threads.
        """
        with self._wait_lock:
            now = time.monotonic()
            if now - self._asked_s > 1.0:
                self._asked_s, self._wait_until_s = now, 0.0
                wait_s = self._asked_wait(key)
                if wait_s is not None:
                    self._wait_until_s = now + wait_s
            return max(0.0, self._wait_until_s - now) if self._wait_until_s else None

    def _asked_wait(self, key: str) -> float | None:
        try:
            address = obstore.sign(self.store, "HEAD", self.path_of(key), datetime.timedelta(minutes=5))
            client = HttpClient(self.place._replace(url=address, options={}), headers=dict)
            try:
                answer = client.ask("HEAD", address, accepted=(*range(400, 500), 503), follows=False)
                return answer.retry_after_s() if answer.status in (429, 503) else None
            finally:
                client.close()
        except (KistError, obstore.exceptions.BaseError, ValueError):
            return None  # the pauses that grow have to do

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        with self.translated("delete", keys[0] if keys else ""):
            try:
                obstore.delete(self.store, [self.path_of(key) for key in keys])
            except FileNotFoundError:
                pass

    def close(self) -> None:
        """Ends connections: obstore's end with it."""


class Translated:
    """Turns what the libraries raise into our errors."""

    def __init__(self, storage: CloudStorage, verb: str, key: str) -> None:
        self._storage = storage
        self._verb = verb
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (KistError, GeneratorExit)) or not isinstance(error, Exception):
            return
        found = self._storage.refusal(error, self._verb, self._key) or self._error(error)
        if found is not None:
            raise found from error

    def _error(self, error: Exception) -> Exception | None:
        storage, verb = self._storage, self._verb
        name, text = type(error).__name__, str(error)
        shown = f"cannot {verb} '{self._key}' of remote '{storage.name}'"
        if isinstance(error, FileNotFoundError):
            return StorageMissingError(f"{shown}: it is not there")
        if name == "UnauthenticatedError":
            return StorageAuthError(
                f"cannot use remote '{storage.name}': the service does not accept the credentials",
                hint="kist config --list --show-origin",
            )
        if name == "PermissionDeniedError":
            return StoragePermissionError(
                f"{shown}: we lack '{storage.permission(verb)}' on {storage.kind} '{storage.bucket}' (403)",
                hint=f"ask whoever owns the {storage.kind} for it",
            )
        if any(word in text for word in _UNREACHABLE):
            return StorageUnreachableError(
                f"cannot reach remote '{storage.name}' at '{storage.url}'",
                hint="is the address right, and the network there?",
            )
        if name in ("InvalidPathError", "NotSupportedError"):
            return StorageRefusedError(f"{shown}: {short(text)}")
        if type(error).__module__.startswith("obstore"):
            wait_s = storage.wait_asked_for(self._key) if _BUSY.search(text) else None
            return StorageFailedError(f"{shown}: {short(text)}", retry_after_s=wait_s)
        return None


def short(text: str) -> str:
    """Returns the first sentence or so of a library's message, on one line."""
    line = " ".join(text.split("\n\nDebug source:", maxsplit=1)[0].split())
    return line if len(line) <= 200 else line[:197] + "..."

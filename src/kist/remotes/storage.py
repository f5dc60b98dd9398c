"""What a service that keeps bytes under keys can do: the contract of every backend that is not a folder.

A backend knows one service and nothing of objects, manifests or retries: the transfer engine decides what is asked, how
much of it at once, and what is tried again. Not here: the services. Implements docs/spec/storage.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from kist.errors import AuthError, InputError, MissingError, NetworkError


class StorageAuthError(AuthError):
    """The service does not accept who we are (HTTP 401, a wrong password, an expired login)."""

    code = "storage-auth"


class StoragePermissionError(AuthError):
    """The service knows us, and we lack a permission; the message names it (HTTP 403)."""

    code = "storage-permission"
    http_status = 403


class StorageUnreachableError(NetworkError):
    """Nobody answers at the address: a wrong name, a refused connection, no network."""

    code = "storage-unreachable"


class StorageFailedError(NetworkError):
    """The service answered that it could not do it, or broke off; trying again can help.

    Attributes:
        retry_after_s: how long the service asks to wait, or None.
    """

    code = "storage-failed"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        """Args: as of KistError; retry_after_s: seconds."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SecretInAddressError(InputError):
    """The address of a bucket holds a key, which belongs into the local configuration."""

    code = "secret-in-address"


class StorageMissingError(MissingError):
    """A key, bucket or base folder is not there."""

    code = "storage-missing"


class StorageRefusedError(InputError):
    """The service does not do this: no listing over plain HTTP, a body too large, a read-only address."""

    code = "storage-refused"


class ExtraMissingError(InputError):
    """The library that speaks to this kind of remote is not installed; the hint installs it."""

    code = "extra-missing"


def extra_missing(remote: str, error: ModuleNotFoundError, extra: str) -> ExtraMissingError:
    """Returns the error for a library that could not be imported."""
    return ExtraMissingError(
        f"cannot use remote '{remote}': the library '{error.name}' is not installed",
        hint=f"pip install 'kist[{extra}]'",
    )


class Place(NamedTuple):
    """What a backend is opened with.

    Attributes:
        name: as the configuration calls the remote.
        url: its address as written; secrets in it are the backend's to hide.
        scheme: that of the address, such as `s3`, `https`.
        options: the remote's options, with DVC's names; paths are absolute.
        environ: the environment of the process; credential chains look here.
        ask: asks the person for a secret without showing it, given a question; None where nobody can be asked.
        browse: shows the person an address to open, where a service is logged in to in a browser; None as above.
    """

    name: str
    url: str
    scheme: str
    options: Mapping[str, str]
    environ: Mapping[str, str]
    ask: Callable[[str], str] | None = None
    browse: Callable[[str], None] | None = None

    def flag(self, option: str, default: bool = False) -> bool:
        """Returns the value of an option that is true or false."""
        text = self.options.get(option)
        return default if text is None else text.lower() == "true"


class Item(NamedTuple):
    """One stored value.

    Attributes:
        key: relative to the remote's address, "/" separates; no leading "/".
        size: in bytes; -1 where the service does not tell it.
        tag: what changes whenever the content does (an ETag), or None.
        version: the version's id where the service keeps versions.
        modified_s: seconds since 1970, or None.
        md5: of the whole, in hexadecimal, where the service tells it apart from the tag.
        is_latest: False for a version that another one, or a deletion, has replaced.
    """

    key: str
    size: int
    tag: str | None = None
    version: str | None = None
    modified_s: float | None = None
    md5: str | None = None
    is_latest: bool = True


class Abilities(NamedTuple):
    """What a service can do, and what it costs.

    Attributes:
        lists: it can list what is below a prefix, with sizes.
        page: how many items one listing request answers.
        flat: a listing crosses folders; otherwise each folder costs a request.
        ranges: it can read from the middle.
        parts: a large value can be written in parts that become visible at once with the last.
        part_bytes: smallest size of a part but the last.
        part_limit: most parts of one value.
        in_order: parts must come one after the other, in the order of their numbers.
        resumes: unfinished parts can be found and continued by a later process.
        by_id: only who knows an upload's id can continue it.
        deletes: how many keys one request deletes; 0 where nothing can be deleted.
        confirms: `write` and `finish` tell what the service said of the stored value, its md5 or size; otherwise only
            that it took the bytes.
        streams: how many requests to have in flight to begin with.
        most_streams: and at most.
        versions: it can keep what was replaced or deleted, to be read by its version: a `VersionedStorage`.
    """

    lists: bool = True
    page: int = 1000
    flat: bool = True
    ranges: bool = True
    parts: bool = False
    part_bytes: int = 8 << 20
    part_limit: int = 10_000
    in_order: bool = False
    resumes: bool = False
    by_id: bool = False
    deletes: int = 1
    confirms: bool = False
    streams: int = 16
    most_streams: int = 64
    versions: bool = False


class Upload(NamedTuple):
    """A value that is being written in parts.

    Attributes:
        key: where it will be.
        id: what the service calls it.
        parts: what is there already: number (from 0) -> (size in bytes, the service's tag of the part).
    """

    key: str
    id: str
    parts: Mapping[int, tuple[int, str]] = {}


class Body(NamedTuple):
    """Bytes to be written that can be read again for another try.

    Attributes:
        size: in bytes.
        open: gives the blocks from the start, each time it is called; it may raise at the end, when it finds that
            the bytes are not what they should be: then nothing may become visible under the key.
        md5: of the whole, 16 bytes, where it is known before.
    """

    size: int
    open: Callable[[], Iterator[bytes]]
    md5: bytes | None = None

    @classmethod
    def of(cls, data: bytes, *, md5: bytes | None = None) -> Body:
        """Returns the body of bytes in memory."""
        return cls(len(data), lambda: iter((data,)), md5)


class Storage(Protocol):
    """One place at a service. All calls block, may come from several threads at once, and do not retry by themselves.

    Every call raises StorageAuthError, StoragePermissionError, StorageUnreachableError or StorageFailedError where the
    service says so; `StorageMissingError` for a key that is not there, where it says nothing else below.

    Attributes:
        name: as the configuration calls the remote.
        url: as the configuration says it, without secrets.
        abilities: what the service can do.
    """

    name: str
    url: str
    abilities: Abilities

    def head(self, key: str) -> Item | None:
        """Returns what is known of a key, or None where it is not there."""

    def list(self, prefix: str) -> Iterator[Item]:
        """Yields everything below a prefix, such as `files/md5/0a/`, in any order; nothing where there is nothing."""

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yields blocks of a value; `size` bytes from `first` on, or all to the end.

        Raises: StorageFailedError: the connection ended before the promised length.
        """

    def write(self, key: str, body: Body) -> Item:
        """Writes a value; it becomes visible whole or not at all. What was there before is replaced."""

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """Begins to write in parts, or finds what an earlier process began for this key and size (`resumes`).

        Args: before: the id of that upload, where the service finds it by its id alone (`by_id`).
        """

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """Writes part `number`, whose bytes start at `first` of the whole; returns the service's tag of it."""

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """Makes the value visible; `tags` has every part."""

    def abort(self, upload: Upload) -> None:
        """Throws away what was written in parts; does nothing where that is gone."""

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes keys, at most `abilities.deletes` of them; what is not there counts as deleted."""

    def close(self) -> None:
        """Ends connections."""


class WithFolders(Protocol):
    """What a service with folders can do besides: its names can be in each other's way."""

    def take_place(self, folder: str, data: bytes) -> bool:
        """Puts a small file in the place of a folder; False, and nothing changed, where the folder holds a value.

        Empty folders in it are removed. A value that comes meanwhile is not lost.
        """


class VersionedStorage(Storage, Protocol):
    """A storage with `abilities.versions`: what `write` and `finish` return has the version of exactly those bytes.

    Attributes:
        versions_hint: a command that makes the bucket keep versions.
    """

    versions_hint: str

    def keeps_versions(self) -> bool | None:
        """Says whether the bucket keeps versions; None where we may not ask."""

    def versions(self, prefix: str) -> Iterator[Item]:
        """Yields every version of everything below a prefix, in any order; what marks a deletion is left out."""

    def head_version(self, key: str, version: str) -> Item | None:
        """Returns what is known of one version, or None where it is not there."""

    def read_version(
        self, key: str, version: str, *, first: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """Yields blocks of one version, as `read` does.

        Raises: StorageMissingError: there is no such version.
        """


class WithoutParts:
    """The calls about parts of a service that takes values whole; its `abilities` say so, and nobody asks."""

    name: str

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """Raises StorageRefusedError."""
        raise self._refused(key)

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """Raises StorageRefusedError."""
        raise self._refused(upload.key)

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """Raises StorageRefusedError."""
        raise self._refused(upload.key)

    def abort(self, upload: Upload) -> None:
        """Does nothing: there are no parts."""

    def _refused(self, key: str) -> StorageRefusedError:
        return StorageRefusedError(f"cannot write '{key}' in parts to remote '{self.name}'")

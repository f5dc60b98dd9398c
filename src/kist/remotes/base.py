"""What a remote can do: the contract of every backend, in batches of objects.

Not here: which objects are needed and in which order they go (transfer). Implements docs/spec/remotes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Protocol

from kist.base.progress import Progress
from kist.store.copying import CopyOutcome
from kist.store.garbage import Listing
from kist.store.loose import LooseStore

SizeOf = Callable[[str], int | None]
"""Returns the right size of an object in bytes, or None where it is not known."""


class Remote(Protocol):
    """A place elsewhere that holds objects in DVC's layout.

    Attributes:
        name: as the configuration calls it.
        url: as the configuration says it.
    """

    name: str
    url: str

    def missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that the remote does not have, by name alone."""

    def is_complete(self, manifest: str, algorithm: str) -> bool:
        """Says whether a manifest and all its members are known to be there, without asking for each."""

    def note_complete(self, manifest: str, algorithm: str, label: str) -> None:
        """Remembers that a manifest and all its members were just seen there, as the last version of `label`."""

    def last_complete(self, label: str, algorithm: str) -> str | None:
        """Returns the manifest last noted for `label`, if all of it is known to be there still."""

    def damaged(self, algorithm: str, *, size_of: SizeOf, workers: int) -> set[str]:
        """Returns objects of the remote that can be seen cheaply to be damaged.

        What was seen sound before is sound while its stat record stays; what changed since is read; of what was never
        seen, the size is compared. A large remote is looked at by shares, one a call.
        """

    def send(
        self, oids: set[str], source: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects to the remote, each hashed on the way; published only when whole and durable."""

    def receive(
        self, oids: set[str], target: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects from the remote, each hashed on the way; published only when whole and durable."""

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> Listing:
        """Returns what the remote holds besides `needed`; a remote that nothing was sent to yet holds nothing."""

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Removes objects: manifests first, and no file while a manifest could not be removed.

        Raises: CannotRemoveError: some stayed.
        """

    def address(self, oid: str, algorithm: str) -> str:
        """Returns where an object lies, as a person would look for it."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix that ends in "/", such as `runs/`: what lies beside the objects."""

    def read_key(self, key: str) -> bytes:
        """Returns a small value."""

    def write_key(self, key: str, data: bytes) -> None:
        """Writes a small value; it is there whole or not at all."""

    def close(self) -> None:
        """Ends connections."""

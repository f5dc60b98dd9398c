"""A remote whose files lie under their own names, each version kept by the service: to look at, and to read from.

Not here: which versions there are (metafiles say it: store.placements), sending (versions_send).
Implements docs/spec/cloud-versions.md, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from kist.base.limiter import Limiter
from kist.base.progress import Progress
from kist.formats.manifest import EMPTY_DIR
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.base import SizeOf
from kist.remotes.storage import (
    Body,
    Item,
    StorageMissingError,
    StorageRefusedError,
    VersionedStorage,
    WithoutParts,
)
from kist.store import garbage
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore
from kist.store.placements import Placement, Placements
from kist.store.statindex import StatIndex
from kist.transfer.stored import StorageRemote, oid_of

_EMPTY = b"[]"
"""Of a directory without files nothing can lie at a service."""


class PlacedStorage(WithoutParts):
    """A service as one that keeps objects under their ids, by what metafiles say of where they are; read only.

    Attributes:
        inner: the service.
    """

    def __init__(self, inner: VersionedStorage, placements: Placements) -> None:
        self.inner = inner
        self.name = inner.name
        self.url = inner.url
        self.abilities = inner.abilities._replace(lists=False, parts=False, deletes=0, versions=False)
        self._placements = placements

    def places(self, key: str) -> list[Placement]:
        """Returns where an object is, given its key in DVC's layout."""
        oid = oid_of(key, "files/md5/") if key.startswith("files/md5/") else oid_of(key, "")
        algorithm = MD5 if key.startswith("files/md5/") else LEGACY_MD5
        return self._placements.of(self.name, algorithm, oid) if oid is not None else []

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        for place in self.places(key):
            found = self.inner.head_version(place.path, place.version)
            if found is not None:
                return found._replace(key=key)
        return None

    def list(self, prefix: str) -> Iterator[Item]:
        """Raises StorageRefusedError: `abilities` say that nobody should ask."""
        raise self._no("list objects")

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage; of several places with the object the first that has it still."""
        for place in self.places(key):
            try:
                yield from self.inner.read_version(place.path, place.version, first=first, size=size)
                return
            except StorageMissingError:
                continue  # said before the first byte: a version is there whole, or not at all
        raise StorageMissingError(
            f"cannot read '{key}' of remote '{self.name}': no version of it is known there"
        )

    def write(self, key: str, body: Body) -> Item:
        """Raises StorageRefusedError: what is sent goes under its own name."""
        raise self._no("write objects")

    def delete(self, keys: Sequence[str]) -> None:
        """Raises StorageRefusedError: old versions belong to whoever owns the bucket."""
        raise self._no("delete objects")

    def close(self) -> None:
        """Ends connections."""
        self.inner.close()

    def _no(self, what: str) -> StorageRefusedError:
        return refused(self.name, what)


def refused(name: str, what: str) -> StorageRefusedError:
    """Returns the error for what a remote with versions cannot do."""
    return StorageRefusedError(
        f"cannot {what} in remote '{name}': it keeps files by their names, in versions"
    )


class VersionedRemote(StorageRemote):
    """A remote with `version_aware` or `worktree`.

    Attributes:
        service: the storage itself, whose keys are paths of the workspace.
        is_worktree: it mirrors the workspace: what is tracked no more is deleted, and updates come from there.
    """

    def __init__(
        self,
        service: VersionedStorage,
        placements: Placements,
        *,
        is_worktree: bool,
        index: StatIndex,
        jobs: int | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        """Args: placements: where objects are; it may grow. index, jobs, limiter: as of StorageRemote."""
        super().__init__(PlacedStorage(service, placements), index=index, jobs=jobs, limiter=limiter)
        self.service = service
        self.is_worktree = is_worktree
        self._placements = placements

    # What is there

    def _missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` of which no metafile names a version, or none that is there still."""
        manifests = {oid for oid in oids if oid.endswith(".dir")}
        lacking = {
            oid
            for oid in manifests - {EMPTY_DIR}
            if not self._placements.has_whole(self.name, algorithm, oid)
        }
        places = {oid: self._placements.of(self.name, algorithm, oid) for oid in oids - manifests}
        lacking |= {oid for oid, found in places.items() if not found}
        asked = {oid: found for oid, found in places.items() if found}
        there = self.present({place for found in asked.values() for place in found})
        for oid, found in asked.items():
            sizes = [there[place].size for place in found if place in there]
            if sizes:
                self._sizes[oid] = sizes[0]
            else:
                lacking.add(oid)
        return lacking

    def present(self, places: Set[Placement]) -> dict[Placement, Item]:
        """Returns those versions that are there, by the cheaper of single questions and listings of folders."""
        found: dict[Placement, Item] = {}
        engine = self.engine()
        prefixes = sorted({place.path.split("/")[0] for place in places})
        if len(places) <= self.service.abilities.streams or len(prefixes) * 2 > len(places):

            def ask(place: Placement) -> Item | None:
                engine.spend(0)
                return engine.attempt(lambda: self.service.head_version(place.path, place.version))

            def note(place: Placement, item: Item | None) -> None:
                if item is not None:
                    found[place] = item

            engine.run(ask, sorted(places), note)
            return found
        for items in self.listed(prefixes).values():
            for item in items:
                place = Placement(item.key, item.version or "")
                if place in places:
                    found[place] = item
        return found

    def listed(self, prefixes: Iterable[str]) -> dict[str, list[Item]]:
        """Returns the versions of everything below prefixes: prefix -> items."""
        found: dict[str, list[Item]] = {}
        engine = self.engine()

        def ask(prefix: str) -> list[Item]:
            engine.spend(0)
            return engine.attempt(lambda: list(self.service.versions(prefix)))

        engine.run(ask, prefixes, found.__setitem__)
        return found

    def is_complete(self, manifest: str, algorithm: str) -> bool:
        """Returns False: each file is looked for; a listing answers for a thousand."""
        return False

    def note_complete(self, manifest: str, algorithm: str, label: str) -> None:
        """Does nothing."""

    def last_complete(self, label: str, algorithm: str) -> str | None:
        """Returns None."""
        return None

    def forget_complete(self, algorithm: str) -> None:
        """Does nothing."""

    def damaged(self, algorithm: str, *, size_of: SizeOf, workers: int) -> set[str]:
        """Returns nothing: a version never changes."""
        return set()

    # Moving

    def send(
        self, oids: set[str], source: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Raises StorageRefusedError: an object alone does not tell where it belongs."""
        raise refused(self.name, "store objects")

    def receive(
        self, oids: set[str], target: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects from the service; a manifest is made of what metafiles say."""
        manifests = {oid for oid in oids if oid.endswith(".dir")}
        copied, missing = [], []
        for oid in sorted(manifests):
            data = _EMPTY if oid == EMPTY_DIR else self._placements.manifests.get(oid)
            if data is None:
                missing.append(oid)
            else:
                target.write_small(oid, data)
                copied.append(oid)
        outcome = super().receive(oids - manifests, target, workers=workers, progress=progress, phase=phase)
        outcome.copied.extend(copied)
        outcome.missing.extend(missing)
        return outcome

    # Clean-up: whoever owns the bucket decides how long it keeps what was replaced.

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> garbage.Listing:
        """Raises StorageRefusedError."""
        raise refused(self.name, "look for what nothing needs")

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Raises StorageRefusedError."""
        raise refused(self.name, "remove objects")

    def address(self, oid: str, algorithm: str) -> str:
        """Returns where an object lies, as a person would look for it."""
        for place in self._placements.of(self.name, algorithm, oid):
            return f"{self.url.rstrip('/')}/{place.path} (version {place.version})"
        return self.url

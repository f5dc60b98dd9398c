"""Puts intact copies in the place of objects that are damaged or missing: from the cache, the workspace, other remotes.

Not here: finding the damage (fsck). Implements docs/spec/fsck.md, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from kist.base import digests
from kist.errors import FormatError, KistError
from kist.formats.manifest import member_oids
from kist.formats.records import MD5
from kist.remotes.base import Remote
from kist.remotes.local import FolderRemote
from kist.repo.members import read_manifests, staging_path
from kist.repo.transfers import is_packed, open_remote
from kist.store.copying import CopyOutcome, copy_objects
from kist.store.loose import LooseStore, remove_staging
from kist.store.statindex import DIGEST_SIZE

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.transfer.packed import PackedRemote

CACHE, WORKSPACE = "cache", "workspace"


class Place(NamedTuple):
    """The cache, or a remote.

    Attributes:
        remote: None for the cache.
        gone: of a packed remote: object -> the pack that was set aside, and had it alone.
    """

    name: str
    remote: Remote | None
    gone: dict[str, str]

    def store(self, repository: Repository, algorithm: str) -> LooseStore | None:
        """Returns the objects of one kind where they lie in a folder; None for a service."""
        if self.remote is None:
            return repository.store_for(algorithm)
        return self.remote.store(algorithm) if isinstance(self.remote, FolderRemote) else None

    def missing(self, repository: Repository, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that are not there, by name."""
        if self.remote is not None:
            return self.remote.missing(oids, algorithm)
        return repository.store_for(algorithm).missing(oids)

    def move_aside(self, repository: Repository, oid: str, algorithm: str) -> str | None:
        """Moves a damaged object to `kist-bad/`, after reading it again.

        Returns: where it is now, relative to the place; "" where it cannot be moved; None where it is intact or gone.
        """
        store = self.store(repository, algorithm)
        if self.remote is not None and is_packed(self.remote):
            return self._set_pack_aside(repository, self.remote, oid, algorithm)
        if store is None:
            from kist.transfer.stored import StorageRemote  # folders need none of it
            from kist.transfer.verify import move_aside

            assert isinstance(self.remote, StorageRemote)
            self.remote.forget_complete(algorithm)
            return move_aside(self.remote, oid, algorithm, scratch=staging_path(repository))
        if not os.path.lexists(store.path(oid)) or _is_intact(store, oid):
            return None
        store.quarantine(oid)
        return "" if os.path.lexists(store.path(oid)) else f"kist-bad/{oid}"

    def _set_pack_aside(
        self, repository: Repository, remote: PackedRemote, oid: str, algorithm: str
    ) -> str | None:
        from kist.transfer.packed_verify import set_aside  # other remotes need none of it

        if oid not in self.gone:  # with a pack that was set aside for another object
            self.gone.update(set_aside(remote, oid, algorithm, progress=repository.progress))
        return self.gone.get(oid)

    def take(self, repository: Repository, oids: set[str], source: LooseStore) -> CopyOutcome:
        """Copies objects here; each is hashed on its way."""
        workers, progress = repository.workers, repository.progress
        phase = f"Mending {self.name}"
        if self.remote is not None:
            return self.remote.send(oids, source, workers=workers, progress=progress, phase=phase)
        target = repository.store_for(source.algorithm)
        outcome = copy_objects(oids, source, target, workers=workers, progress=progress, phase=phase)
        repository.trust(target).add(outcome.records)
        return outcome


class Mender:
    """Looks for intact copies.

    Attributes:
        notes: sources that could not be used, and what was held back, a line each.
    """

    def __init__(self, repository: Repository, places: list[Place]) -> None:
        self.notes: list[str] = []
        self._repository = repository
        self._remotes = {place.name: place.remote for place in places if place.remote is not None}
        self._are_all_open = False

    def readable(self, place: Place) -> list[Remote]:
        """Returns the remotes that were opened, the one of `place` first."""
        own = [place.remote] if place.remote is not None else []
        return own + [remote for remote in self._remotes.values() if remote is not place.remote]

    def mend(self, place: Place, algorithm: str, oids: set[str]) -> dict[str, str]:
        """Returns id -> source for those of `oids` of which `place` has an intact copy now."""
        files = {oid for oid in oids if not oid.endswith(".dir")}
        mended = self._mend(place, algorithm, files)
        for oid in sorted(oids - files):
            if place.remote is None or self._has_members(place, algorithm, oid):
                mended.update(self._mend(place, algorithm, {oid}))
        return mended

    def _has_members(self, place: Place, algorithm: str, manifest: str) -> bool:
        """Says whether a remote has the members of a manifest that it lacks; what it lacks of them is sent."""
        repository = self._repository
        remotes = [remote for _, remote in self._others(place)]
        staging = staging_path(repository)
        for oid, data in read_manifests(
            repository.store_for(algorithm),
            [manifest],
            remotes=remotes,
            staging=staging,
            on_failure=lambda *_: None,
        ):
            try:
                members = member_oids(data, name=oid)
            except FormatError:
                return False
            lacking = place.missing(repository, members, algorithm)
            lacking -= self._mend(place, algorithm, lacking).keys()
            if lacking:
                self.notes.append(
                    f"'{manifest}' is not put back into '{place.name}': {len(lacking)} of its files are nowhere else"
                )
            return not lacking
        return True  # only the workspace could have it, which has no manifests

    def _mend(self, place: Place, algorithm: str, oids: set[str]) -> dict[str, str]:
        left = set(oids)
        mended: dict[str, str] = {}
        staging = staging_path(self._repository)
        copies = LooseStore(staging, algorithm)
        for name, gather in self._sources(place, copies) if left else ():
            if not left:
                break
            try:
                source = gather(left)
                there = left - source.missing(left)
                came = self._place(place, there, source) if there else []
            except (KistError, OSError) as error:
                cause = error.message if isinstance(error, KistError) else error.strerror
                self.notes.append(f"'{name}' gave nothing to mend '{place.name}' with: {cause}")
                continue
            finally:
                remove_staging(staging)
            mended.update(dict.fromkeys(came, name))
            left.difference_update(came)
        return mended

    def _place(self, place: Place, oids: set[str], source: LooseStore) -> list[str]:
        return place.take(self._repository, oids, source).copied

    def _sources(
        self, place: Place, copies: LooseStore
    ) -> Iterator[tuple[str, Callable[[set[str]], LooseStore]]]:
        """Yields the names of sources, and what gives a store with those objects that they have."""
        repository = self._repository
        if place.remote is not None:
            yield CACHE, lambda oids: repository.store_for(copies.algorithm)
        yield WORKSPACE, lambda oids: self._from_workspace(oids, copies)
        for name, remote in self._others(place):
            yield name, lambda oids, remote=remote: self._from_remote(oids, remote, copies)  # type: ignore[misc]

    def _from_workspace(self, oids: set[str], copies: LooseStore) -> LooseStore:
        """Returns a store of symbolic links to files that have these ids by the stat index, and still."""
        wanted = {bytes.fromhex(oid) for oid in oids if not oid.endswith(".dir")}
        for path, digest in self._candidates(wanted, copies.algorithm):
            oid = digest.hex()
            if not copies.has(oid) and _has_id(path, digest, copies.algorithm):
                copies.make_prefixes([oid[:2]])
                os.symlink(path, copies.path(oid))
        return copies

    def _candidates(self, wanted: set[bytes], algorithm: str) -> Iterator[tuple[str, bytes]]:
        repository = self._repository
        for space, is_file in ((algorithm, False), (f"{algorithm}:file", True)):
            for path, row in repository.index.folders(space, "").items():
                names = row.names.split("\0")
                for at in range(len(row.digests) // DIGEST_SIZE):
                    digest = row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
                    if digest in wanted:
                        rel = path if is_file else "/".join(filter(None, (path, names[at])))
                        yield repository.abspath(rel), digest

    def _from_remote(self, oids: set[str], remote: Remote, copies: LooseStore) -> LooseStore:
        if isinstance(remote, FolderRemote):
            remote.check_readable()
            return remote.store(copies.algorithm)
        repository = self._repository
        remote.receive(
            oids, copies, workers=1, progress=repository.progress, phase=f"Reading from {remote.name}"
        )
        return copies

    def _others(self, place: Place) -> list[tuple[str, Remote]]:
        """Returns the remotes besides the place itself, the default one first."""
        if not self._are_all_open:
            self._are_all_open = True
            settings = self._repository.settings
            default = settings.default_remote()
            names = [default.name] if default is not None else []
            for name in dict.fromkeys([*names, *settings.remotes]):
                if name not in self._remotes:
                    try:
                        self._remotes[name] = open_remote(self._repository, name)[0]
                    except KistError as error:
                        self.notes.append(f"remote '{name}' was not asked: {error.message}")
        return [(name, remote) for name, remote in self._remotes.items() if remote is not place.remote]


def _is_intact(store: LooseStore, oid: str) -> bool:
    try:
        return store.is_intact(oid)
    except OSError:
        return False


def _has_id(path: str, digest: bytes, algorithm: str) -> bool:
    try:
        if algorithm == MD5:
            return digests.read_md5(path)[0] == digest
        return digest in digests.read_legacy_md5(path)
    except OSError:
        return False

"""`remote convert`: turns a remote into the packed layout, or back; the old layout stays until the new one is verified.

Not here: the layouts (transfer), words (cli). Implements docs/spec/packed.md, section 8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import FormatError, InputError
from kist.formats import pack
from kist.formats.manifest import member_oids
from kist.formats.pack import Marker
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.local import FolderRemote
from kist.remotes.storage import Storage
from kist.repo.members import read_manifests, staging_path
from kist.repo.naming import Id
from kist.repo.remote_packed import GUARD_KEY, WITH_FOLDERS, take_place_of_loose, write_guard
from kist.repo.transfers import open_loose, open_packed, open_storage_of, refuse_versions
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore, remove_staging
from kist.transfer.packed import MARKER_KEY, check_can_be_packed, read_marker, write_marker
from kist.transfer.stored import StorageRemote

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.repo.settings import RemoteSettings
    from kist.transfer.packed import PackedRemote

_ALGORITHMS = (MD5, LEGACY_MD5)
_PORTION_OBJECTS, _PORTION_BYTES = 5000, 512 << 20


class OtherConversionError(InputError):
    """A conversion in the other direction is not finished."""

    code = "packed-other-conversion"


class Converted(NamedTuple):
    """What a conversion did.

    Attributes:
        objects: how many were copied by this run.
        failed: what could not be copied: it stays where it was, and so does the old layout.
    """

    remote: str
    objects: int
    failed: dict[Id, str]


def convert(
    repository: Repository, name: str | None, *, to_packed: bool, jobs: int | None = None
) -> Converted:
    """Converts a remote; the next run goes on with what an interrupted one left.

    Raises: CannotBePackedError, OtherConversionError, CleanUpBesideError, and those of remotes.

    Holds: at every moment each object stands in one of the layouts, where Kist finds it.
    """
    remote, _ = repository.settings.choose_remote(name)
    refuse_versions(remote, "store packs")
    storage = open_storage_of(repository, remote)
    try:
        check_can_be_packed(storage)
        with repository.lock():
            work = _Conversion(repository, remote, storage, jobs)
            done = work.to_packed() if to_packed else work.to_loose()
        repository.index.save("layout", (), gone=[storage.url])
        return done
    finally:
        storage.close()


class _Conversion:
    def __init__(
        self, repository: Repository, remote: RemoteSettings, storage: Storage, jobs: int | None
    ) -> None:
        self._repository = repository
        self._remote = remote
        self._storage = storage
        self._jobs = jobs
        self._marker = read_marker(storage)
        self._objects = 0
        self._failed: dict[Id, str] = {}

    def _mark(self, loose: str) -> Marker:
        marker = self._marker or Marker(os.urandom(16).hex())
        pack.check_may_write(marker, name=self._remote.name)
        if marker.loose and loose and marker.loose != loose:
            name = self._remote.name
            raise OtherConversionError(
                f"cannot convert remote '{name}': a conversion in the other direction is not finished",
                hint=shell_line("kist", "remote", "convert", "--packed", name)
                if marker.loose == "from"
                else shell_line("kist", "remote", "convert", "--loose", name),
            )
        if self._marker != marker._replace(loose=loose):
            marker = marker._replace(loose=loose)
            write_marker(self._storage, marker)
        self._marker = marker
        return marker

    def _loose(self) -> FolderRemote | StorageRemote:
        return open_loose(self._repository, self._remote, self._storage, jobs=self._jobs)

    def _packed(self, marker: Marker) -> PackedRemote:
        return open_packed(self._repository, self._storage, marker, jobs=self._jobs)

    # To packs

    def to_packed(self) -> Converted:
        loose = self._loose()
        if self._marker is not None and not self._marker.loose and not any(self._listed(loose).values()):
            if self._remote.scheme in WITH_FOLDERS - {"local"}:
                take_place_of_loose(self._storage)  # an older version left the empty folders
            return self._result()
        marker = self._mark("from")
        packed = self._packed(marker)
        packed.tidy()
        for algorithm in _ALGORITHMS:
            sizes = self._listed(loose)[algorithm]
            lacking = packed.lacking(set(sizes), algorithm)
            for group in _by_order(lacking):
                self._copy_in(packed, loose, self._whole(group, algorithm, loose, packed), sizes, algorithm)
        packed.finish()
        # Another look, by somebody who knows nothing: what is not read back right keeps its loose object.
        fresh = self._packed(marker)
        for algorithm in _ALGORITHMS:
            sizes = self._listed(loose)[algorithm]
            right = self._read_back(fresh, sizes, algorithm)
            progress, phase = self._repository.progress, f"Cleaning up {self._remote.name}"
            loose.remove(right, algorithm, progress=progress, phase=phase)
        if not any(self._listed(loose).values()):
            if self._remote.scheme == "local":
                _remove_empty_folders(os.path.join(self._remote.location, "files"))
                _remove_empty_folders(self._remote.location, keep=True)
                write_guard(self._storage)
            elif self._remote.scheme in WITH_FOLDERS and not take_place_of_loose(self._storage):
                return self._result()  # somebody wrote there meanwhile: the next run takes that in
            self._mark("")
        return self._result()

    def _listed(self, loose: FolderRemote | StorageRemote) -> dict[str, dict[str, int]]:
        """Returns algorithm -> id -> size of the loose objects."""
        workers = self._repository.workers
        return {
            algorithm: {
                item.oid: item.size_bytes
                for item in loose.beyond(frozenset(), algorithm, workers=workers).leftovers
            }
            for algorithm in _ALGORITHMS
        }

    def _copy_in(
        self,
        packed: PackedRemote,
        loose: FolderRemote | StorageRemote,
        oids: set[str],
        sizes: dict[str, int],
        algorithm: str,
    ) -> None:
        workers, progress = self._repository.workers, self._repository.progress
        phase = f"Packing {self._remote.name}"
        if isinstance(loose, FolderRemote):
            self._note(
                packed.send(oids, loose.store(algorithm), workers=workers, progress=progress, phase=phase),
                algorithm,
            )
            return
        for portion, staged in self._portions(oids, sizes, algorithm):
            got = loose.receive(portion, staged, workers=workers, progress=progress, phase=phase)
            self._note(got._replace(copied=[]), algorithm)
            self._note(
                packed.send(set(got.copied), staged, workers=workers, progress=progress, phase=phase),
                algorithm,
            )

    def _read_back(self, packed: PackedRemote, sizes: dict[str, int], algorithm: str) -> set[str]:
        right: set[str] = set()
        for portion, staged in self._portions(set(sizes), sizes, algorithm):
            got = packed.receive_packed(
                portion, staged, progress=self._repository.progress, phase=f"Verifying {self._remote.name}"
            )
            right.update(got.copied)
        return right

    # Out of packs

    def to_loose(self) -> Converted:
        if self._marker is not None:
            marker = self._mark("to")
            packed = self._packed(marker)
            packed.wait_for_writers()
            self._storage.delete([GUARD_KEY])
            loose = self._loose()
            for algorithm in _ALGORITHMS:
                sizes = packed.has(algorithm)
                for group in _by_order(set(sizes)):
                    self._copy_out(
                        packed, loose, self._whole(group, algorithm, packed, loose), sizes, algorithm
                    )
            self._keep_unread(packed)
            if self._failed:
                return self._result()
            self._storage.delete([MARKER_KEY])
            self._marker = None
        self._delete_all("index/", "packs/", "gc/", "writers/")
        return self._result()

    def _copy_out(
        self,
        packed: PackedRemote,
        loose: FolderRemote | StorageRemote,
        oids: set[str],
        sizes: dict[str, int],
        algorithm: str,
    ) -> None:
        """Copies objects, and reads them back: a folder hashes what it has, from a service all come once more."""
        workers, progress = self._repository.workers, self._repository.progress
        phase = f"Unpacking {self._remote.name}"
        for portion, staged in self._portions(oids, sizes, algorithm):
            there = self._right(loose, portion - loose.missing(portion, algorithm), algorithm)
            got = packed.receive(portion - there, staged, workers=workers, progress=progress, phase=phase)
            self._note(got._replace(copied=[]), algorithm)
            sent = loose.send(set(got.copied), staged, workers=workers, progress=progress, phase=phase)
            remove_staging(staged.base)
            right = self._right(loose, set(sent.copied), algorithm)
            self._objects += len(right)
            self._failed.update({(algorithm, oid): "corrupt" for oid in set(got.copied) - right})

    def _right(self, loose: FolderRemote | StorageRemote, oids: set[str], algorithm: str) -> set[str]:
        """Returns those loose objects that are right, by reading them."""
        if isinstance(loose, FolderRemote):
            store = loose.store(algorithm)
            return {oid for oid in oids if store.is_intact(oid)}
        staged = LooseStore(staging_path(self._repository), algorithm)
        try:
            workers, progress = self._repository.workers, self._repository.progress
            phase = f"Verifying {self._remote.name}"
            return set(loose.receive(oids, staged, workers=workers, progress=progress, phase=phase).copied)
        finally:
            remove_staging(staged.base)

    def _keep_unread(self, packed: PackedRemote) -> None:
        """Takes care that nothing goes that an index names and nobody could read."""
        for error in packed.catalogue.damaged.values():
            self._failed[MD5, error.message] = "corrupt"

    def _delete_all(self, *prefixes: str) -> None:
        step = self._storage.abilities.deletes
        for prefix in prefixes:
            keys = [item.key for item in self._storage.list(prefix)]
            for at in range(0, len(keys), step):
                self._storage.delete(keys[at : at + step])
            if self._remote.scheme == "local":
                _remove_empty_folders(os.path.join(self._remote.location, prefix.rstrip("/")))

    # Both ways

    def _whole(
        self,
        oids: set[str],
        algorithm: str,
        source: PackedRemote | FolderRemote | StorageRemote,
        target: PackedRemote | FolderRemote | StorageRemote,
    ) -> set[str]:
        """Leaves out manifests of which the target lacks a file, that the source has: they must not stand there."""
        manifests = {oid for oid in oids if oid.endswith(".dir")}
        if not manifests or not self._failed:
            return oids
        whole = set(oids) - manifests
        for oid, data in read_manifests(
            self._repository.store_for(algorithm),
            manifests,
            remotes=[source],
            staging=staging_path(self._repository),
            on_failure=lambda oid, error: None,
        ):
            try:
                members = member_oids(data, name=oid)
            except FormatError:
                members = set()
            if any((algorithm, member) in self._failed for member in members):
                self._failed[algorithm, oid] = "incomplete"
            else:
                whole.add(oid)
        return whole

    def _portions(
        self, oids: Set[str], sizes: dict[str, int], algorithm: str
    ) -> Iterator[tuple[set[str], LooseStore]]:
        """Yields some of the objects at a time, and an empty store for them that is gone afterwards."""
        portion: set[str] = set()
        size = 0
        rest = sorted(oids)
        for number, oid in enumerate(rest):
            portion.add(oid)
            size += sizes.get(oid, 0)
            if len(portion) >= _PORTION_OBJECTS or size >= _PORTION_BYTES or number == len(rest) - 1:
                staged = LooseStore(staging_path(self._repository), algorithm)
                try:
                    yield portion, staged
                finally:
                    remove_staging(staged.base)
                portion, size = set(), 0

    def _note(self, outcome: CopyOutcome, algorithm: str) -> None:
        self._objects += len(outcome.copied)
        self._failed.update({(algorithm, oid): "missing" for oid in outcome.missing})
        self._failed.update({(algorithm, oid): "corrupt" for oid in outcome.corrupt})

    def _result(self) -> Converted:
        return Converted(self._remote.name, self._objects, self._failed)


def _by_order(oids: set[str]) -> Iterator[set[str]]:
    """Yields files, then manifests."""
    yield {oid for oid in oids if not oid.endswith(".dir")}
    yield {oid for oid in oids if oid.endswith(".dir")}


def _remove_empty_folders(path: str, *, keep: bool = False) -> None:
    """Removes folders in which nothing is left."""
    for folder, _, _ in os.walk(path, topdown=False):
        if keep and folder == path:
            continue
        try:
            os.rmdir(folder)
        except OSError:
            continue  # something is in it

"""`remote copy`: brings a project's data from one remote to another one of any kind.

Not here: how bytes travel (remotes, transfer). Implements docs/spec/remotes.md, section 6.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, InputError
from kist.formats.manifest import member_oids
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.base import Remote
from kist.remotes.local import FolderRemote
from kist.repo.members import read_manifests, staging_path
from kist.repo.naming import Id, Names, named_objects, names_of
from kist.repo.runcache import RUN_KEY
from kist.repo.transfers import can_list, is_versioned, open_remote
from kist.store.loose import LooseStore, remove_staging

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_PORTION_OBJECTS = 1000
_PORTION_BYTES = 1 << 30
_UNKNOWN_BYTES = 16 << 20
"""What an object is taken for where the service tells no sizes."""
_RUNS = "runs/"


class SameRemoteError(InputError):
    """A remote is to be copied to itself."""

    code = "remote-copy-same"


class Copied(NamedTuple):
    """What a copy did.

    Attributes:
        needed: how many objects of the project the source has.
        moved: how many the target lacked and has now; `size_bytes` is their size.
        failed: id -> "corrupt", "missing" or "incomplete" (a list of files that lacks some of them), and its names.
        runs: entries of the history of runs that went along.
    """

    source: str
    target: str
    needed: int
    moved: int
    size_bytes: int
    failed: dict[Id, tuple[str, Names | None]]
    runs: int


def copy_remote(repository: Repository, source: str, target: str, *, jobs: int | None = None) -> Copied:
    """Copies what the workspace and all commits name, the source has and the target lacks.

    Raises: SameRemoteError, and those of remotes.

    Holds: each object is hashed on its way; on the target a manifest stands only when its files do. A kill leaves
        objects that are right; the next run goes on with what lacks.
    """
    first, _ = open_remote(repository, source, jobs=jobs)
    second, _ = open_remote(repository, target, jobs=jobs, writes=True)
    try:
        if first.url == second.url:
            raise SameRemoteError(
                f"cannot copy '{source}' to '{target}': both are '{first.url}'", hint="kist remote list"
            )
        if isinstance(first, FolderRemote):
            first.check_readable()
        if is_versioned(second):
            from kist.transfer.versions import refused  # few remotes are of this kind

            raise refused(second.name, "store copies of objects")
        with repository.lock():
            return _Copy(repository, first, second, jobs or repository.workers).run()
    finally:
        first.close()
        second.close()


class _Copy:
    def __init__(self, repository: Repository, source: Remote, target: Remote, workers: int) -> None:
        self._repository = repository
        self._source = source
        self._target = target
        self._workers = workers
        self._failed: dict[Id, str] = {}
        self._moved = self._needed = self._size = 0
        self._sizes: dict[str, int] = {}

    def run(self) -> Copied:
        needed = named_objects(self._repository, remotes=[self._source])
        for algorithm in (MD5, LEGACY_MD5):
            wanted = needed[algorithm] - self._source.missing(needed[algorithm], algorithm)
            self._needed += len(wanted)
            lacking = self._target.missing(wanted, algorithm)
            manifests = {oid for oid in lacking if oid.endswith(".dir")}
            self._note_sizes(lacking - manifests, algorithm)
            self._move(lacking - manifests, algorithm)
            self._move(self._whole(manifests, algorithm), algorithm)
        runs = self._copy_runs()
        names = names_of(self._repository, self._failed.keys(), remotes=[self._source])
        failed = {key: (why, names.get(key)) for key, why in sorted(self._failed.items())}
        return Copied(
            self._source.name, self._target.name, self._needed, self._moved, self._size, failed, runs
        )

    def _note_sizes(self, oids: set[str], algorithm: str) -> None:
        """Learns sizes from the source, where that takes a listing at most: portions must fit on the disk."""
        if oids and not isinstance(self._source, FolderRemote) and can_list(self._source):
            listing = self._source.beyond(set(), algorithm, workers=self._workers)
            self._sizes = {item.oid: item.size_bytes for item in listing.leftovers if item.oid in oids}

    def _move(self, oids: set[str], algorithm: str) -> None:
        cache = self._repository.store_for(algorithm)
        here = oids - cache.missing(oids)
        # What the cache holds damaged is taken from the source.
        left = oids - self._send(here, cache, is_last=False)
        if isinstance(self._source, FolderRemote):
            self._send(left, self._source.store(algorithm), is_last=True)
            return
        # Always the same place: a large file that was interrupted goes on.
        base = os.path.join(os.path.dirname(staging_path(self._repository)), "copy")
        for portion in self._portions(left):
            staged = LooseStore(base, algorithm)
            progress = self._repository.progress
            phase = f"Reading from {self._source.name}"
            held = portion - staged.missing(portion)  # by an interrupted run
            got = self._source.receive(
                portion - held, staged, workers=self._workers, progress=progress, phase=phase
            )
            self._failed.update({(algorithm, oid): "corrupt" for oid in got.corrupt})
            self._failed.update({(algorithm, oid): "missing" for oid in got.missing})
            self._send(held.union(got.copied), staged, is_last=True)
            remove_staging(base)

    def _send(self, oids: set[str], store: LooseStore, *, is_last: bool) -> set[str]:
        """Returns what was sent; what is damaged in the last place that could have it has failed."""
        if not oids:
            return set()
        outcome = self._target.send(
            oids,
            store,
            workers=self._workers,
            progress=self._repository.progress,
            phase=f"Copying to {self._target.name}",
        )
        self._moved += len(outcome.copied)
        self._size += outcome.size_bytes
        if is_last:
            self._failed.update({(store.algorithm, oid): "corrupt" for oid in outcome.corrupt})
            self._failed.update({(store.algorithm, oid): "missing" for oid in outcome.missing})
        return set(outcome.copied)

    def _portions(self, oids: set[str]) -> Iterator[set[str]]:
        portion: set[str] = set()
        size = 0
        for oid in sorted(oids):
            portion.add(oid)
            size += self._sizes.get(oid, _UNKNOWN_BYTES)
            if len(portion) >= _PORTION_OBJECTS or size >= _PORTION_BYTES:
                yield portion
                portion, size = set(), 0
        if portion:
            yield portion

    def _whole(self, manifests: set[str], algorithm: str) -> set[str]:
        """Returns those manifests whose members the target has all."""
        members: dict[str, set[str]] = {}
        store, staging = self._repository.store_for(algorithm), staging_path(self._repository)
        for oid, data in read_manifests(
            store, manifests, remotes=[self._source], staging=staging, on_failure=lambda *_: None
        ):
            try:
                members[oid] = member_oids(data, name=oid)
            except FormatError:
                continue
        lacking = self._target.missing(set().union(*members.values()), algorithm) if members else set()
        whole = {oid for oid, own in members.items() if not own & lacking}
        for oid in manifests - whole:
            self._failed[algorithm, oid] = "incomplete" if oid in members else "corrupt"
        return whole

    def _copy_runs(self) -> int:
        """Copies the history of runs where both sides can be listed."""
        if not (can_list(self._source) and can_list(self._target)):
            return 0
        present = set(self._target.keys(_RUNS))
        lacking = [key for key in self._source.keys(_RUNS) if key not in present and RUN_KEY.fullmatch(key)]
        for key in lacking:
            self._target.write_key(key, self._source.read_key(key))
        return len(lacking)

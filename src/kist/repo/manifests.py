"""Manifests of directories for commands that only compare: of the cache, of those seen before, of remotes.

What was seen once stays known when the cache loses it, as in DVC. Not here: manifests of data that is about to be
checked out or sent (data, transfer.plan), which must be in the cache. Implements docs/spec/stat-index.md, section 6.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.errors import FormatError, KistError
from kist.formats.manifest import Tree, parse_manifest
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.store.loose import (
    OBJECT_MODE,
    LooseStore,
    ObjectCorruptError,
    ObjectMissingError,
    sweep_staging,
)

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository
    from kist.repo.targets import Selected

LIMIT_BYTES = 64 << 20
"""How much room manifests may take that the cache has lost."""


def is_object(digest: Digest) -> bool:
    """Says whether a digest names an object of the cache, and not something at a service."""
    return digest.algorithm in (MD5, LEGACY_MD5)


class Manifests:
    """The manifests that one command looks at."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._trees: dict[Digest, Tree | None] = {}
        self._is_swept = False

    def tree(self, digest: Digest) -> Tree | None:
        """Returns the files of a directory, or None where its manifest cannot be had; a file has none."""
        if not digest.is_dir:
            return Tree({})
        if digest not in self._trees:
            data = self.read(digest)
            try:
                self._trees[digest] = None if data is None else parse_manifest(data, name=digest.value)
            except FormatError:
                self._trees[digest] = None
        return self._trees[digest]

    def read(self, digest: Digest) -> bytes | None:
        """Returns a manifest's bytes, checked against its id; None where neither cache nor memory has it."""
        store = self._repository.store_for(digest.algorithm)
        try:
            data = store.read(digest.value)
        except (ObjectMissingError, ObjectCorruptError):
            return self.recall(digest)
        self._remember(store, digest, data)
        return data

    def fetch(self, items: Iterable[Selected], *, of_revision: bool = False) -> None:
        """Gets manifests that are nowhere here from the remotes of their outputs, into memory alone.

        What no remote gives stays unknown: a comparison must not fail because a remote cannot be reached.

        Args: of_revision: the outputs are those of a commit; a remote with a relative address is not asked for them,
            as in DVC, where such an address leads nowhere from inside of a commit.
        """
        lacking = [item for item in items if (digest := item.out.output.digest) and not self.is_here(digest)]
        if not lacking:
            return
        from kist.repo.transfers import needs_by_remote, open_remote  # most repositories lack no manifest

        repository = self._repository
        chosen = repository.settings.default_remote()
        default = chosen.name if chosen is not None else None
        for name, by_algorithm in needs_by_remote(
            lacking, default=default, named=None, is_push=False
        ).items():
            try:
                remote, _ = open_remote(repository, name)
                if of_revision and _is_relative(remote.url):
                    continue
                for algorithm, needs in by_algorithm.items():
                    self.fetch_from(remote, algorithm, {need.digest.value for need in needs})
            except (KistError, OSError):
                continue

    def fetch_from(self, remote: Remote, algorithm: str, oids: set[str]) -> None:
        """Gets manifests from a remote, into memory alone; those that it lacks, or has damaged, stay unknown.

        Raises: KistError, OSError: the remote cannot be read, or nothing written here.
        """
        self._sweep()
        remote.receive(
            oids,
            self._memory(algorithm),
            workers=1,
            progress=self._repository.progress,
            phase=f"Looking into directories on {remote.name}",
        )

    def is_here(self, digest: Digest) -> bool:
        """Says whether cache or memory has a file under the manifest's name."""
        return (
            not (digest.is_dir and is_object(digest))
            or self._repository.store_for(digest.algorithm).has(digest.value)
            or self._memory(digest.algorithm).has(digest.value)
        )

    def _memory(self, algorithm: str) -> LooseStore:
        return LooseStore(os.path.join(self._repository.dvc_dir, "tmp", "kist", "manifests"), algorithm)

    def recall(self, digest: Digest) -> bytes | None:
        """Returns a manifest's bytes as `read` does, from memory alone."""
        memory = self._memory(digest.algorithm)
        try:
            return memory.read(digest.value)
        except ObjectMissingError:
            return None
        except ObjectCorruptError:
            atomic.remove_quietly(memory.path(digest.value))
            return None

    def _remember(self, store: LooseStore, digest: Digest, data: bytes) -> None:
        """Keeps a manifest by one more link to the cache's file, which takes no room while the cache has it."""
        memory = self._memory(digest.algorithm)
        if memory.has(digest.value):
            return
        self._sweep()
        path = memory.path(digest.value)
        try:
            memory.make_folder(os.path.dirname(path))
            try:
                os.link(store.path(digest.value), path)
            except OSError:  # another file system, or another owner
                atomic.write_file(path, data, durable=False, mode=OBJECT_MODE)
        except OSError:
            pass  # nowhere to write: it is asked for again next time

    def _sweep(self) -> None:
        """Forgets the oldest manifests beyond the limit, of those that only memory has."""
        if self._is_swept:
            return
        self._is_swept = True
        base = self._memory("").base
        sweep_staging(base, time.time())
        alone: list[tuple[float, int, str]] = []
        for folder, _, names in os.walk(base):
            for name in names:
                try:
                    found = os.lstat(os.path.join(folder, name))
                except OSError:
                    continue
                if found.st_nlink == 1:
                    alone.append((found.st_mtime, found.st_size, os.path.join(folder, name)))
        room = LIMIT_BYTES - sum(size for _, size, _ in alone)
        for _, size, path in sorted(alone):
            if room >= 0:
                break
            atomic.remove_quietly(path)
            room += size


def _is_relative(url: str) -> bool:
    return "://" not in url and not os.path.isabs(url)

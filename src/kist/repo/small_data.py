"""Tracked data that a command only wants to read, such as a file of metrics: from the cache, else from a remote.

What comes from a remote stays in the cache. Not here: data in bulk (transfers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.errors import KistError
from kist.formats.manifest import Tree
from kist.formats.records import Digest, Output
from kist.repo.manifests import Manifests, is_object
from kist.store.loose import ObjectCorruptError, ObjectMissingError

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository


class SmallData:
    """Reads objects; a remote that once could not be used is not asked again."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._manifests = Manifests(repository)
        self._remotes: dict[str | None, Remote | None] = {}
        self._absent: set[Digest] = set()

    def members(self, output: Output) -> Tree | None:
        """Returns the files of a tracked directory; None for a file, and where nothing has the list."""
        digest = output.digest
        if digest is None or not digest.is_dir:
            return None
        if not self._manifests.is_here(digest):
            self._fetch(output, digest)
        return self._manifests.tree(digest)

    def read(self, output: Output, member: str) -> bytes | None:
        """Returns the bytes of a tracked file, or of a member of a tracked directory; None where nothing has them."""
        digest = output.digest
        if digest is None or not is_object(digest):
            return None
        if member:
            tree = self.members(output)
            oid = tree.get(member) if tree is not None else None
            if oid is None:
                return None
            digest = Digest(digest.algorithm, oid)
        if digest.is_dir:
            return None
        found = self._cached(digest)
        if found is None and self._fetch(output, digest):
            found = self._cached(digest)
        return found

    def _cached(self, digest: Digest) -> bytes | None:
        try:
            return self._repository.store_for(digest.algorithm).read(digest.value)
        except (ObjectMissingError, ObjectCorruptError):
            return None

    def _fetch(self, output: Output, digest: Digest) -> bool:
        """Gets an object into the cache; says whether it came. What no remote gives stays unknown."""
        if digest in self._absent:
            return False
        self._absent.add(digest)
        remote = self._remote(output.remote)
        if remote is None:
            return False
        repository = self._repository
        try:
            got = remote.receive(
                {digest.value},
                repository.store_for(digest.algorithm),
                workers=1,
                progress=repository.progress,
                phase=f"Reading from {remote.name}",
            )
        except (KistError, OSError):
            self._remotes[output.remote] = None
            return False
        return bool(got.copied)

    def _remote(self, name: str | None) -> Remote | None:
        if name not in self._remotes:
            from kist.repo.transfers import open_remote  # most metrics are files of Git

            try:
                self._remotes[name] = open_remote(self._repository, name)[0]
            except (KistError, OSError):
                self._remotes[name] = None
        return self._remotes[name]

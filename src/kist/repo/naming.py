"""From objects to the names that people know: the tracked paths that versions of data have them under.

Not here: which versions there are (named). Used by fsck and `remote ls`; docs/spec/fsck.md, section 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, KistError
from kist.formats.manifest import member_oids, parse_manifest
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo.members import read_manifests, staging_path
from kist.repo.named import Named, Scope, named

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository

ALL_VERSIONS = Scope(commits=True, experiments=True, stash=True, past=True)
_PATHS_EACH = 20
"""Paths that are told of one object: an empty file may have thousands."""
_AT_ONCE = 64

Id = tuple[str, str]
"""Algorithm and object id."""


class Names(NamedTuple):
    """Where an object belongs.

    Attributes:
        paths: tracked paths, those of directories with the file in them; the newest first, not more than some.
        commit: the newest commit that names it; "" for the workspace.
    """

    paths: tuple[str, ...]
    commit: str


def names_of(repository: Repository, wanted: Set[Id], *, remotes: Sequence[Remote] = ()) -> dict[Id, Names]:
    """Returns the names of those objects that the workspace or a commit names.

    Args: remotes: asked for manifests that the cache lacks. What cannot be read names nothing.
    """
    found: dict[Id, list[str]] = {}
    commits: dict[Id, str] = {}
    if not wanted:
        return {}

    def note(key: Id, path: str, commit: str) -> None:
        paths = found.setdefault(key, [])
        commits.setdefault(key, commit)
        if path not in paths and len(paths) < _PATHS_EACH:
            paths.append(path)

    for batch in _batches(repository):
        for item in batch:
            key = (item.digest.algorithm, item.digest.value)
            if key in wanted:
                note(key, item.path, item.commit)
        for item, data in _manifests(repository, batch, remotes):
            algorithm, value = item.digest
            try:
                members = {oid for oid in member_oids(data, name=value) if (algorithm, oid) in wanted}
                if not members:
                    continue
                for relpath, oid in parse_manifest(data, name=value).files():
                    if oid in members:
                        note((algorithm, oid), f"{item.path}/{relpath}", item.commit)
            except FormatError:
                continue
    return {key: Names(tuple(paths), commits[key]) for key, paths in found.items()}


def named_objects(repository: Repository, *, remotes: Sequence[Remote] = ()) -> dict[str, set[str]]:
    """Returns all ids that the workspace or a commit names: algorithm -> ids; what cannot be read names nothing."""
    found: dict[str, set[str]] = {MD5: set(), LEGACY_MD5: set()}
    for batch in _batches(repository):
        for item in batch:
            found[item.digest.algorithm].add(item.digest.value)
        for item, data in _manifests(repository, batch, remotes):
            try:
                found[item.digest.algorithm] |= member_oids(data, name=item.digest.value)
            except FormatError:
                continue
    return found


def _batches(repository: Repository) -> Iterator[list[Named]]:
    items = iter(named(repository, ALL_VERSIONS, on_damage=_ignore))
    while batch := list(itertools.islice(items, _AT_ONCE)):
        yield batch


def _manifests(
    repository: Repository, batch: Iterable[Named], remotes: Sequence[Remote]
) -> Iterator[tuple[Named, bytes]]:
    by_digest: dict[Digest, list[Named]] = {}
    for item in batch:
        if item.digest.is_dir:
            by_digest.setdefault(item.digest, []).append(item)
    for algorithm in (MD5, LEGACY_MD5):
        wanted = [digest.value for digest in by_digest if digest.algorithm == algorithm]
        if not wanted:
            continue
        store = repository.store_for(algorithm)
        staging = staging_path(repository)
        for oid, data in read_manifests(store, wanted, remotes=remotes, staging=staging, on_failure=_ignore):
            for item in by_digest[Digest(algorithm, oid)]:
                yield item, data


def _ignore(name: str, error: KistError) -> None:
    """Takes no notice: what cannot be read names nothing here."""

"""`diff`: how tracked data differs between two revisions, or a revision and the workspace.

Reads only. Not here: layout on the screen (cli), the comparison (compare.entries).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.compare.entries import Differences, compare_entries
from kist.errors import FormatError, InputError
from kist.formats.manifest import compare_manifests, parse_manifest, render_manifest
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo.collect import CommitSource, Stage, WorkspaceSource, collect
from kist.repo.data import Look, algorithm_of, digest_of, look_at
from kist.store.loose import ObjectCorruptError, ObjectMissingError

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NothingToCompareError(InputError):
    """There is no Git repository, so there are no revisions."""

    code = "no-revisions"


class DiffTargetMissingError(InputError):
    """A target of `diff` is tracked in neither version."""

    code = "diff-target-missing"


class DiffResult(NamedTuple):
    """The differences, and for a comparison with the workspace what of the old version the cache does not have."""

    differences: Differences
    not_in_cache: list[tuple[str, str]]
    is_with_workspace: bool


class _Entry(NamedTuple):
    """One output of a version: its id, and where it is a directory its manifest if that can be read."""

    digest: Digest
    manifest: bytes | None


def diff(
    repository: Repository,
    old: str,
    new: str | None,
    targets: Sequence[str] = (),
    *,
    hide_missing: bool = False,
) -> DiffResult:
    """Returns how tracked data differs.

    Args:
        old, new: revisions; None is the workspace.
        targets: only these paths.
        hide_missing: leave out what the cache does not have.

    Raises: NothingToCompareError, RevisionMissingError, DiffTargetMissingError, OSError.
    """
    if repository.git is None:
        raise NothingToCompareError(
            "cannot compare revisions: there is no Git repository",
            hint="kist status",
        )
    before = _of_commit(repository, old) if repository.git.has_commits() or old != "HEAD" else {}
    after = _of_workspace(repository) if new is None else _of_commit(repository, new)
    wanted = [repository.rel(target) for target in targets]
    first, second = _differing(before, after)
    if wanted:
        _refuse_unknown(repository, wanted, before, after)
        first = {path: oid for path, oid in first.items() if _is_wanted(path, wanted)}
        second = {path: oid for path, oid in second.items() if _is_wanted(path, wanted)}
    missing = []
    if new is None and not hide_missing:
        missing = [item for item in _missing(repository, before) if not wanted or _is_wanted(item[0], wanted)]
    return DiffResult(compare_entries(first, second), missing, new is None)


def _of_commit(repository: Repository, rev: str) -> dict[str, _Entry]:
    stages = collect(CommitSource(repository, rev), on_damage=lambda path, error: None)
    return {path: _entry(repository, digest) for path, digest in recorded(stages).items()}


def recorded(stages: Sequence[Stage], *, only_cached: bool = False) -> dict[str, Digest]:
    """Returns the id of each output that metafiles recorded, by path; `only_cached` leaves `cache: false` out."""
    return {
        out.path: out.output.digest
        for stage in stages
        for out in stage.outs
        if out.is_inside
        and (out.output.use_cache or not only_cached)
        and out.output.digest is not None
        and out.output.digest.algorithm in (MD5, LEGACY_MD5)
    }


def _entry(repository: Repository, digest: Digest) -> _Entry:
    if not digest.is_dir:
        return _Entry(digest, None)
    try:
        return _Entry(digest, repository.store_for(digest.algorithm).read(digest.value))
    except (ObjectMissingError, ObjectCorruptError):
        return _Entry(digest, None)


def _of_workspace(repository: Repository) -> dict[str, _Entry]:
    outs = [out for stage in collect(WorkspaceSource(repository)) for out in stage.outs if out.is_inside]
    looks = look_at(repository, [(out.path, algorithm_of(out.output.digest)) for out in outs])
    found = {}
    for out, look in zip(outs, looks, strict=True):
        digest = digest_of(repository, look, algorithm=algorithm_of(out.output.digest))
        if digest is not None and look.snapshot is not None:
            found[out.path] = _Entry(digest, _present_manifest(repository, look, digest))
    return found


def _present_manifest(repository: Repository, look: Look, digest: Digest) -> bytes | None:
    if not digest.is_dir or look.snapshot is None:
        return None
    entry = _entry(repository, digest)
    return entry.manifest if entry.manifest is not None else render_manifest(look.snapshot.tree())


def _differing(before: dict[str, _Entry], after: dict[str, _Entry]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns path -> id of everything that is not the same on both sides; directories' own paths end in "/"."""
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and old.digest == new.digest:
            continue
        if old is not None:
            first[path + "/" if old.digest.is_dir else path] = old.digest.value
        if new is not None:
            second[path + "/" if new.digest.is_dir else path] = new.digest.value
        gone, came = _differing_members(old, new, path)
        first.update({f"{path}/{relpath}": oid for relpath, oid in gone.items()})
        second.update({f"{path}/{relpath}": oid for relpath, oid in came.items()})
    return first, second


def _differing_members(
    old: _Entry | None, new: _Entry | None, path: str
) -> tuple[dict[str, str], dict[str, str]]:
    before = old.manifest if old is not None else None
    after = new.manifest if new is not None else None
    is_unknown = any(side is not None and side.digest.is_dir and side.manifest is None for side in (old, new))
    if is_unknown and old is not None and new is not None:
        return {}, {}  # without its manifest nobody knows what was in a directory
    try:
        return compare_manifests(before or b"[]", after or b"[]", name=path)
    except FormatError:
        return {}, {}


def _is_wanted(path: str, wanted: Sequence[str]) -> bool:
    return any(path == one or path == one + "/" or path.startswith(one + "/") for one in wanted)


def _refuse_unknown(
    repository: Repository, wanted: Sequence[str], before: dict[str, _Entry], after: dict[str, _Entry]
) -> None:
    known = before.keys() | after.keys()
    for one in wanted:
        is_known = any(
            path == one or path.startswith(one + "/") or one.startswith(path + "/") for path in known
        )
        if not is_known and not os.path.lexists(repository.abspath(one)):
            raise DiffTargetMissingError(
                f"cannot compare '{repository.shown(one)}': it is tracked in neither version",
                hint="kist list . -R",
            )


def _missing(repository: Repository, before: dict[str, _Entry]) -> list[tuple[str, str]]:
    """Returns (path, id) of everything in a version that the cache does not have."""
    by_algorithm: dict[str, dict[str, set[str]]] = {}
    pairs: list[tuple[str, str, str]] = []
    for path, entry in before.items():
        kind = entry.digest.algorithm
        pairs.append((path + "/" if entry.digest.is_dir else path, entry.digest.value, kind))
        store = repository.store_for(kind)
        if entry.manifest is not None and not repository.presence(store).has_all(
            entry.digest.value,
            lambda data=entry.manifest: _members(data),  # type: ignore[misc]
        ):
            tree = parse_manifest(entry.manifest, name=path)
            pairs += [(f"{path}/{relpath}", oid, kind) for relpath, oid in tree.files()]
    for path, oid, kind in pairs:
        by_algorithm.setdefault(kind, {}).setdefault(oid, set()).add(path)
    lacking: list[tuple[str, str]] = []
    for kind, paths in by_algorithm.items():
        for oid in repository.store_for(kind).missing(set(paths)):
            lacking += [(path, oid) for path in paths[oid]]
    return sorted(lacking)


def _members(manifest: bytes) -> set[str]:
    return parse_manifest(manifest, name="manifest").oids()

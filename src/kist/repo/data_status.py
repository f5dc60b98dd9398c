"""`data status`: commit, metafiles and data compared three ways, as `git status` does for code.

Reads only. Not here: layout on the screen (cli), the comparison (compare.entries). Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.compare.entries import compare_entries
from kist.formats.manifest import Tree
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo.collect import CommitSource, Out, WorkspaceSource, collect
from kist.repo.data import Look, algorithm_of, digest_of, is_as_recorded, look_at, readable_tree
from kist.repo.diff import recorded
from kist.repo.targets import Selected
from kist.repo.transfers import needs_by_remote, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

Group = dict[str, list[Any]]


class DataStatus(NamedTuple):
    """What `data status` found; paths relative to the root, directories' own paths end in "/".

    Attributes:
        committed, uncommitted: "added", "modified", "deleted", "unknown" -> paths; "renamed" -> (old, new) pairs.
        has_other_changes: Git sees changes that are no data.
        is_empty: the Git repository has no commit yet.
    """

    not_in_remote: list[str]
    not_in_cache: list[str]
    committed: Group
    uncommitted: Group
    untracked: list[str]
    unchanged: list[str]
    has_other_changes: bool
    is_empty: bool


def data_status(
    repository: Repository,
    targets: Sequence[str] = (),
    *,
    granular: bool = False,
    with_unchanged: bool = False,
    with_untracked: bool = False,
    not_in_remote: bool = False,
    remote: str | None = None,
) -> DataStatus:
    """Returns the three-way state.

    Args:
        granular: compare inside of directories.
        not_in_remote: also ask the remote; `remote` names it.

    Raises: KistError, OSError.
    """
    stages = collect(WorkspaceSource(repository))
    outs = [out for stage in stages for out in stage.outs if _is_data(out)]
    wanted = [repository.rel(target) for target in targets]
    git = repository.git
    is_empty = git is not None and not git.has_commits()
    head = {}
    if git is not None and not is_empty:
        stages_then = collect(CommitSource(repository, "HEAD"), on_damage=lambda path, error: None)
        head = recorded(stages_then, only_cached=True)
    if wanted:
        outs = [out for out in outs if _meets(out.path, wanted)]
        head = {path: digest for path, digest in head.items() if _meets(path, wanted)}
    now = {out.path: digest for out in outs if (digest := out.output.digest) is not None}
    looks = look_at(repository, [(out.path, algorithm_of(out.output.digest)) for out in outs])
    committed = _compare(repository, head, now, granular=granular) if git is not None else {}
    uncommitted = _uncommitted(repository, outs, looks, granular=granular)
    unchanged = _unchanged(repository, outs, looks, head, granular=granular) if with_unchanged else []
    other = git.status(untracked=True) if git is not None else []
    untracked = []
    if with_untracked:
        tops = sorted(_inside(repository, item.path) for item in other if item.staged == "?")
        untracked = [path for path in tops if path and (not wanted or _meets(path, wanted))]
    items = [Selected(stage, out) for stage in stages for out in stage.outs if out in outs]
    return DataStatus(
        _not_in_remote(repository, items, remote, granular=granular) if not_in_remote else [],
        _not_in_cache(repository, outs, granular=granular),
        committed,
        uncommitted,
        untracked,
        unchanged,
        bool(other),
        is_empty,
    )


def _is_data(out: Out) -> bool:
    digest = out.output.digest
    return (
        out.is_inside and out.output.use_cache and (digest is None or digest.algorithm in (MD5, LEGACY_MD5))
    )


def _meets(path: str, wanted: Sequence[str]) -> bool:
    return any(
        not one or path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in wanted
    )


def _inside(repository: Repository, path: str) -> str:
    assert repository.git is not None
    absolute = os.path.join(repository.git.top, path)
    found = os.path.relpath(absolute, repository.root).replace(os.sep, "/")
    return "" if found.startswith("..") else found + ("/" if path.endswith("/") else "")


def _own(path: str, digest: Digest) -> str:
    return path + "/" if digest.is_dir else path


def _tree(repository: Repository, path: str, digest: Digest) -> Tree | None:
    store = repository.store_for(digest.algorithm)
    return readable_tree(store, digest, os.path.basename(path)) if digest.is_dir else Tree({})


def _compare(
    repository: Repository, old: dict[str, Digest], new: dict[str, Digest], *, granular: bool
) -> Group:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    unknown: list[str] = []
    for path in old.keys() | new.keys():
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        trees: list[Tree | None] = []
        for digest, entries in ((before, first), (after, second)):
            if digest is None:
                trees.append(Tree({}))
                continue
            entries[_own(path, digest)] = digest.value
            trees.append(_tree(repository, path, digest) if granular else Tree({}))
        if trees[0] is None or trees[1] is None:
            unknown.append(path + "/")
            continue
        first.update({f"{path}/{relpath}": oid for relpath, oid in trees[0].files()})
        second.update({f"{path}/{relpath}": oid for relpath, oid in trees[1].files()})
    return _group(first, second, unknown if granular else [])


def _group(first: dict[str, str], second: dict[str, str], unknown: Iterable[str]) -> Group:
    found = compare_entries(first, second)
    group: Group = {
        "modified": [item.path for item in found.modified],
        "added": [item.path for item in found.added],
        "renamed": [(item.path, item.new_path) for item in found.renamed],
        "deleted": [item.path for item in found.deleted],
        "unknown": sorted(unknown),
    }
    return {word: items for word, items in group.items() if items}


def _uncommitted(
    repository: Repository, outs: Sequence[Out], looks: Sequence[Look], *, granular: bool
) -> Group:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    unknown: list[str] = []
    for out, look in zip(outs, looks, strict=True):
        digest = out.output.digest
        if digest is not None and is_as_recorded(repository, look, digest):
            continue
        present = digest_of(repository, look, algorithm=algorithm_of(digest))
        if digest is not None:
            first[_own(out.path, digest)] = digest.value
        if present is not None:
            second[_own(out.path, present)] = present.value
        if not granular:
            continue
        before = _tree(repository, out.path, digest) if digest is not None else Tree({})
        if before is None:
            if present is not None:
                unknown.append(out.path + "/")
            continue
        first.update({f"{out.path}/{relpath}": oid for relpath, oid in before.files()})
        if present is not None and look.is_dir and look.snapshot is not None:
            second.update({f"{out.path}/{relpath}": oid for relpath, oid in look.snapshot.tree().files()})
    return _group(first, second, unknown)


def _unchanged(
    repository: Repository,
    outs: Sequence[Out],
    looks: Sequence[Look],
    head: dict[str, Digest],
    *,
    granular: bool,
) -> list[str]:
    found: list[str] = []
    for out, look in zip(outs, looks, strict=True):
        digest = out.output.digest
        if digest is None:
            continue
        before = head.get(out.path)
        if before == digest and is_as_recorded(repository, look, digest):
            found.append(_own(out.path, digest))
            if granular and digest.is_dir and look.snapshot is not None:
                found += [f"{out.path}/{relpath}" for relpath, _ in look.snapshot.tree().files()]
        elif granular and digest.is_dir and look.snapshot is not None and look.is_dir:
            recorded_tree = _tree(repository, out.path, digest)
            old_tree = _tree(repository, out.path, before) if before is not None and before.is_dir else None
            if recorded_tree is None or old_tree is None:
                continue
            old, present = dict(old_tree.files()), dict(look.snapshot.tree().files())
            same = [rel for rel, oid in recorded_tree.files() if old.get(rel) == oid == present.get(rel)]
            found += [f"{out.path}/{relpath}" for relpath in same]
    return sorted(found)


def _not_in_cache(repository: Repository, outs: Sequence[Out], *, granular: bool) -> list[str]:
    found = []
    for out in outs:
        digest = out.output.digest
        if digest is None or not out.output.use_cache:
            continue
        store = repository.store_for(digest.algorithm)
        if not store.has(digest.value):
            found.append(_own(out.path, digest))
        elif granular and digest.is_dir:
            tree = _tree(repository, out.path, digest)
            lacking = store.missing(tree.oids()) if tree is not None else set()
            if lacking and tree is not None:
                found += [f"{out.path}/{relpath}" for relpath, oid in tree.files() if oid in lacking]
    return sorted(found)


def _not_in_remote(
    repository: Repository, items: Sequence[Selected], name: str | None, *, granular: bool
) -> list[str]:
    chosen = repository.settings.default_remote()
    default = chosen.name if chosen is not None else None
    found: list[str] = []
    if not repository.settings.remotes:
        return sorted(
            _own(item.out.path, digest) for item in items if (digest := item.out.output.digest) is not None
        )
    for key, by_algorithm in needs_by_remote(items, default=default, named=name, is_push=True).items():
        remote, _ = open_remote(repository, key)
        for algorithm, needs in by_algorithm.items():
            trees = {
                need.label: _tree(repository, need.label, need.digest)
                for need in needs
                if granular and need.digest.is_dir
            }
            oids = {need.digest.value for need in needs}
            for tree in trees.values():
                oids |= tree.oids() if tree is not None else set()
            lacking = remote.missing(oids, algorithm)
            for need in needs:
                if need.digest.value in lacking:
                    found.append(_own(need.label, need.digest))
                members = trees.get(need.label)
                if members is not None:
                    found += [f"{need.label}/{rel}" for rel, oid in members.files() if oid in lacking]
    return sorted(found)

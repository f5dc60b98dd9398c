"""Which files came, went, changed or moved between two versions. Pure; paths and ids only.

Not here: where the versions come from (repo). Source: DVC 3.67.1 for what counts as renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kist.formats.manifest import Tree


class Changed(NamedTuple):
    """One difference. `old` and `new` are ids; `path` and `new_path` differ only for a renamed file."""

    path: str
    old: str | None
    new: str | None
    new_path: str | None = None


class Differences(NamedTuple):
    """All differences, each list sorted by path."""

    added: list[Changed]
    deleted: list[Changed]
    modified: list[Changed]
    renamed: list[Changed]


def compare_entries(
    old: Mapping[str, str], new: Mapping[str, str], *, find_renamed: bool = True
) -> Differences:
    """Returns how `new` differs from `old`.

    Args:
        old, new: path -> id; what is the same on both sides may be left out of both. "" is an id that is not known.
        find_renamed: a deleted and an added file, or directory, of the same content are one renamed.
    """
    added = {path: oid for path, oid in new.items() if path not in old}
    deleted = {path: oid for path, oid in old.items() if path not in new}
    modified = [
        Changed(path, old[path], oid) for path, oid in sorted(new.items()) if path in old and old[path] != oid
    ]
    renamed: list[Changed] = []
    if find_renamed and added and deleted:
        by_oid: dict[str, list[str]] = {}
        for path in sorted(added, reverse=True):
            by_oid.setdefault(added[path], []).append(path)
        for path in sorted(deleted):
            targets = by_oid.get(deleted[path])
            if targets and deleted[path]:
                target = targets.pop()
                renamed.append(Changed(path, deleted[path], added[target], target))
        for item in renamed:
            del deleted[item.path]
            del added[item.new_path or ""]
    return Differences(
        [Changed(path, None, added[path]) for path in sorted(added)],
        [Changed(path, deleted[path], None) for path in sorted(deleted)],
        modified,
        renamed,
    )


def compare_trees(old: Tree, new: Tree) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what only the old and what only the new tree has: relative path -> id.

    A folder that is the same in both costs one comparison of its columns.
    """
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    for path in old.folders.keys() | new.folders.keys():
        before, after = old.folders.get(path), new.folders.get(path)
        if before == after:
            continue
        gone = dict(Tree({path: before}).files()) if before is not None else {}
        came = dict(Tree({path: after}).files()) if after is not None else {}
        first.update({relpath: oid for relpath, oid in gone.items() if came.get(relpath) != oid})
        second.update({relpath: oid for relpath, oid in came.items() if gone.get(relpath) != oid})
    return first, second


def folders_above(paths: Mapping[str, str]) -> set[str]:
    """Returns each folder that a path lies in, at any depth."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found

"""Which files came, went, changed or moved between two versions. Pure; paths and ids only.

Not here: where the versions come from (repo). Source: DVC 3.67.1 for what counts as renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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
        old, new: path -> id; what is the same on both sides may be left out of both.
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
            if targets:
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

"""Manifests that `gc` removed from a cache on purpose, so that nobody takes them for lost.

A list of ids in one file of the cache. Disposable: without it `gc` is only more careful.
Implements docs/spec/gc.md, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from kist.base import atomic
from kist.store.loose import LooseStore, is_oid

_NAME = "kist-gone"


def removed_on_purpose(cache: LooseStore) -> set[str]:
    """Returns the ids on the list; of one that was stored again since, and then found damaged, it means nothing."""
    damaged = os.path.join(cache.base, "kist-bad")
    return {oid for oid in _read(cache) if not os.path.lexists(os.path.join(damaged, oid))}


def note_removal(cache: LooseStore, manifests: Iterable[str], *, present: Iterable[str]) -> None:
    """Puts ids on the list, durable when the call returns; comes before the removal.

    Args: present: ids that are in the cache, or were seen, and go off the list.
    """
    before = _read(cache)
    after = before.difference(present).union(manifests)
    if after != before:
        text = "".join(f"{oid}\n" for oid in sorted(after))
        atomic.write_file(os.path.join(cache.base, _NAME), text.encode("ascii"), mode=0o644)


def _read(cache: LooseStore) -> set[str]:
    try:
        with open(os.path.join(cache.base, _NAME), "rb") as stream:
            lines = stream.read().decode("ascii", "replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {line for line in lines if is_oid(line) and line.endswith(".dir")}

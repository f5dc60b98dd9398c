"""What `gc` decided to remove from a cache: nobody takes it for lost, or for somebody else's.

A list of ids in one file of the cache: manifests that were removed though history names them, and, during a removal,
all that goes. Disposable: without it `gc` is only more careful. Implements docs/spec/gc.md, sections 3 to 5.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from kist.base import atomic
from kist.store.loose import LooseStore, is_oid


def decided(path: str) -> set[str]:
    """Returns the ids on the list at `path`."""
    try:
        with open(path, "rb") as stream:
            lines = stream.read().decode("ascii", "replace").split("\n")
    except OSError:
        return set()
    return {line for line in lines if is_oid(line)}


def is_damaged(cache: LooseStore, oid: str) -> bool:
    """Says whether an object was moved aside as damaged: then it was stored again after its removal."""
    return os.path.lexists(os.path.join(cache.base, "kist-bad", oid))


def write(path: str, oids: Iterable[str], *, durable: bool) -> None:
    """Makes the list these ids, if it is not so already."""
    wanted = set(oids)
    if wanted != decided(path):
        text = "".join(f"{oid}\n" for oid in sorted(wanted))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write_file(path, text.encode("ascii"), mode=0o644, durable=durable)

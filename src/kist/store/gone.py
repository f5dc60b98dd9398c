"""What `gc` decided to remove: nobody takes it for lost, or for somebody else's.

A list in one file, a line each: ids of manifests that were removed though history names them; and, during a removal,
`PLACE/ID` for all that goes from a place. Disposable: without it `gc` is only more careful. Implements docs/spec/gc.md,
sections 3 to 5.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from kist.base import atomic
from kist.store.loose import LooseStore, is_oid


def decided(path: str) -> set[str]:
    """Returns the ids of manifests on the list at `path`."""
    return {line for line in _lines(path) if is_oid(line)}


def going(path: str, place: str) -> set[str]:
    """Returns the ids that an interrupted removal was to take from a place."""
    found = (line.rpartition("/") for line in _lines(path))
    return {oid for name, _, oid in found if name == place and is_oid(oid)}


def _lines(path: str) -> set[str]:
    try:
        with open(path, "rb") as stream:
            return set(stream.read().decode("utf-8", "replace").split("\n"))
    except OSError:
        return set()


def is_damaged(cache: LooseStore, oid: str) -> bool:
    """Says whether an object was moved aside as damaged: then it was stored again after its removal."""
    return os.path.lexists(os.path.join(cache.base, "kist-bad", oid))


def write(
    path: str, manifests: Iterable[str], *, durable: bool, places: Mapping[str, Iterable[str]] | None = None
) -> None:
    """Makes the list these manifests, and what goes from each place, if it is not so already."""
    wanted = set(manifests)
    for place, oids in (places or {}).items():
        wanted |= {f"{place}/{oid}" for oid in oids}
    if wanted != _lines(path) - {""}:
        text = "".join(f"{line}\n" for line in sorted(wanted))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write_file(path, text.encode(), mode=0o644, durable=durable)

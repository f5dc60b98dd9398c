"""Where new entries go in a `dvc.lock` when stages do not finish in the order of one at a time.

A note, kept while `repro -j` works and after a kill, says which entries were there before; it is disposable.
Implements docs/spec/repro.md, section 7.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kist.base import atomic

_FILE = "stage-order.json"
_MAX_BYTES = 1 << 26


class Placing(NamedTuple):
    """How the entries of one lock file are ordered.

    Attributes:
        before: those that were there before, which keep their places.
        order: stage -> its place among those that are run one at a time.
    """

    before: frozenset[str]
    order: Mapping[str, int]

    def later(self, name: str) -> set[str]:
        """Returns the stages before whose entries a new one goes."""
        own = self.order.get(name)
        if own is None:
            return set()
        return {other for other, at in self.order.items() if at > own and other not in self.before}


def read(folder: str) -> dict[str, Placing]:
    """Returns lock file -> how its entries are ordered; nothing where there is no note, or garbage.

    Args: folder: `.dvc/tmp/kist`.
    """
    try:
        with open(os.path.join(folder, _FILE), "rb") as stream:
            data = stream.read(_MAX_BYTES)
    except OSError:
        return {}
    import json  # only after `repro -j` was stopped

    try:
        found = json.loads(data)
        return {
            path: Placing(
                frozenset(_texts(item["before"])), {name: at for at, name in enumerate(_texts(item["order"]))}
            )
            for path, item in found.items()
        }
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(value)
    return value


def begin(
    folder: str, names: Mapping[str, Sequence[str]], orders: Mapping[str, Sequence[str]], *, is_kept: bool
) -> dict[str, Placing]:
    """Returns how new entries are ordered, as an unfinished `repro -j` left it where there was one.

    Args:
        names: lock file -> the entries that it has.
        orders: lock file -> the stages to come, in the order of one at a time.
        is_kept: the note is written: stages may finish in another order.
    """
    known = read(folder)
    if not known and not is_kept:
        return {}
    placings = {}
    for path, order in orders.items():
        there = names.get(path, ())
        left = known.get(path)
        fresh = set() if left is None else left.order.keys() - left.before
        placings[path] = Placing(
            frozenset(name for name in there if name not in fresh),
            {name: at for at, name in enumerate(order)},
        )
    placings = {**known, **placings}
    _write(folder, placings)
    return placings


def end(folder: str) -> None:
    """Forgets the note: all that was to run has its entry."""
    atomic.remove_quietly(os.path.join(folder, _FILE))


def _write(folder: str, placings: Mapping[str, Placing]) -> None:
    import json

    value = {
        path: {"before": sorted(item.before), "order": list(item.order)} for path, item in placings.items()
    }
    try:
        os.makedirs(folder, exist_ok=True)
        atomic.write_file(os.path.join(folder, _FILE), json.dumps(value).encode("ascii"), durable=False)
    except OSError:
        pass  # the entries come in another order then, which means the same

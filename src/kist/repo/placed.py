"""Remembers which outputs were put into the workspace, so that a later checkout can take away what no metafile names.

Disposable, as all of the stat index. Not here: deciding what goes.
"""

from __future__ import annotations

from collections.abc import Iterable

from kist.store.statindex import FolderRow, StatIndex

_SPACE = "placed"


def note(index: StatIndex, paths: Iterable[str]) -> None:
    """Records that these paths hold data that was checked out or added."""
    known = index.folders(_SPACE, "")
    index.save(_SPACE, [(path, FolderRow("", b"", b"")) for path in paths if path not in known])


def forget(index: StatIndex, path: str) -> None:
    """Drops the record of `path`."""
    index.save(_SPACE, (), gone=[path])


def recorded(index: StatIndex) -> list[str]:
    """Returns all recorded paths, sorted."""
    return sorted(index.folders(_SPACE, ""))

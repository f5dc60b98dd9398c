"""What the workspace looks like to stages: data, parameter files and the cache, each looked at once.

Valid until something changes; then `forget`. Not here: what a difference means (pipeline.changes, status).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kist.repo.data import Look, algorithm_of, look_at

if TYPE_CHECKING:
    from kist.repo.collect import Stage
    from kist.repo.repository import Repository
    from kist.store.presence import Presence

Key = tuple[str, str]
"""A path relative to the root, and the algorithm of its digests."""


class _Looks(dict[Key, Look]):
    """Looks when it is asked for a path for the first time."""

    def __init__(self, repository: Repository) -> None:
        super().__init__()
        self._repository = repository

    def __missing__(self, key: Key) -> Look:
        look = self[key] = look_at(self._repository, [key])[0]
        return look


class Sight:
    """Looks, parameters, and what is known of directories in the cache.

    Attributes:
        looks: how paths look.
        presences: what is known of whole directories, by algorithm.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.looks = _Looks(repository)
        self.presences: dict[str, Presence] = {}
        self._params: dict[str, dict[Any, Any] | None] = {}

    def prime(self, stages: Iterable[Stage]) -> None:
        """Looks at all outputs, and what pipelines depend on, at once."""
        wanted: dict[Key, None] = {}
        for stage in stages:
            for out in stage.outs:
                if out.is_inside:
                    wanted[out.path, algorithm_of(out.output.digest)] = None
            if stage.resolved is not None:
                wanted.update(dict.fromkeys(_dependency_paths(stage)))
        keys = [key for key in wanted if key not in self.looks]
        self.looks.update(zip(keys, look_at(self._repository, keys), strict=True))

    def params(self, path: str) -> dict[Any, Any] | None:
        """Returns the values of a parameter file, by its path relative to the root; None when it is missing."""
        if path not in self._params:
            from kist.formats.params import parse_params  # many repositories have no pipeline
            from kist.repo.metafiles import read_bytes

            data = read_bytes(os.path.join(self._repository.root, path))
            self._params[path] = None if data is None else parse_params(data, name=path)
        return self._params[path]

    def forget(self) -> None:
        """Drops everything: commands ran, or data was stored or checked out."""
        self.looks.clear()
        self.presences.clear()
        self._params.clear()


def _dependency_paths(stage: Stage) -> list[Key]:
    assert stage.resolved is not None
    locked = {dep.path: dep for dep in (stage.locked.deps if stage.locked is not None else ())}
    if stage.locked is None and stage.metafile is not None:
        locked = {dep.path: dep for dep in stage.metafile.deps}
    found = []
    for written in stage.resolved.deps:
        if "://" in written or written.startswith("/"):
            continue
        path = posixpath.normpath(posixpath.join(stage.wdir, written))
        if path.startswith("../"):
            continue
        known = locked.get(written)
        found.append((path, algorithm_of(known.digest if known is not None else None)))
    return found

"""Where objects lie as versions of files at a service, and the manifests that metafiles spell out: read from metafiles.

Not here: the services (remotes), reading metafiles (repo.collect). Implements docs/spec/cloud-versions.md, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

ANY_REMOTE = ""
"""Stands for a remote whose name a metafile does not tell."""


class Placement(NamedTuple):
    """One version of one file at a service.

    Attributes:
        path: relative to the remote's address.
        version: what the service calls it.
    """

    path: str
    version: str


class Placements:
    """What the metafiles that this process has read say; it only grows.

    Attributes:
        manifests: id -> bytes of directories that a metafile lists file by file.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self._places: dict[tuple[str, str, str], dict[Placement, None]] = {}
        self._whole: dict[tuple[str, str, str], None] = {}

    def __reduce__(self) -> tuple[type[Placements], tuple[()]]:
        """Returns how another process makes one: empty, for workers look at objects alone."""
        return Placements, ()

    @property
    def is_empty(self) -> bool:
        """Says whether no metafile that was read names a version."""
        return not self._places

    def note(self, remote: str, algorithm: str, oid: str, place: Placement) -> None:
        """Notes that a remote has an object as a version of a file."""
        self._places.setdefault((remote, algorithm, oid), {})[place] = None

    def note_whole(self, remote: str, algorithm: str, manifest: str) -> None:
        """Notes that a remote has every file of a directory."""
        self._whole[remote, algorithm, manifest] = None

    def of(self, remote: str, algorithm: str, oid: str) -> list[Placement]:
        """Returns where a remote has an object, the place that was met first before others."""
        found = dict(self._places.get((remote, algorithm, oid), {}))
        return list(found | self._places.get((ANY_REMOTE, algorithm, oid), {}))

    def has_whole(self, remote: str, algorithm: str, manifest: str) -> bool:
        """Says whether some metafile names versions of all files of a directory."""
        return any((name, algorithm, manifest) in self._whole for name in (remote, ANY_REMOTE))


NO_PLACEMENTS = Placements()
"""For stores that no metafile says anything about; nothing is ever noted in it."""

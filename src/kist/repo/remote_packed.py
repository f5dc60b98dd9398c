"""`remote init --packed`: makes an empty place a packed remote.

Not here: the layout (transfer.packed), words (cli). Implements docs/spec/packed.md, sections 1 and 8.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.pack import Marker
from kist.remotes.storage import Body, Storage, WithFolders
from kist.repo.introduction import KEY as README_KEY
from kist.repo.transfers import open_storage_of, refuse_versions
from kist.transfer.packed import MARKER_KEY, check_can_be_packed, read_marker, write_marker

if TYPE_CHECKING:
    from kist.repo.repository import Repository

GUARD_KEY = "files"
_GUARD = b"""\
This remote has Kist's packed layout, of which DVC knows nothing: use `kist push`, `kist pull`.
This file keeps DVC from writing here in its own layout. Please leave it.
"""
WITH_FOLDERS = frozenset({"local", "ssh", "webdav", "webdavs"})
"""Where no folder can be made beneath a file."""
_BESIDE = frozenset({README_KEY, GUARD_KEY, MARKER_KEY})


class PlaceNotEmptyError(InputError):
    """A place that is to become a packed remote holds something already."""

    code = "packed-place-not-empty"


def init_packed(repository: Repository, name: str | None) -> tuple[str, bool]:
    """Makes an empty place a packed remote; returns the remote's name, and False where it was one before.

    Raises: CannotBePackedError, PlaceNotEmptyError, NewerLayoutError, and those of remotes.

    Holds: killed at any write, it can be done again.
    """
    remote, _ = repository.settings.choose_remote(name)
    refuse_versions(remote, "store packs")
    storage = open_storage_of(repository, remote)
    try:
        check_can_be_packed(storage)
        if read_marker(storage) is not None:
            return remote.name, False
        for item in storage.list(""):
            if item.key not in _BESIDE and not item.key.startswith("runs/"):
                raise PlaceNotEmptyError(
                    f"cannot make remote '{remote.name}' packed: it holds something already, such as '{item.key}'",
                    hint=shell_line("kist", "remote", "convert", "--packed", remote.name),
                )
        if remote.scheme in WITH_FOLDERS:
            write_guard(storage)
        write_marker(storage, Marker(os.urandom(16).hex()))
        repository.index.save("layout", (), gone=[storage.url])
        return remote.name, True
    finally:
        storage.close()


def write_guard(storage: Storage) -> None:
    """Puts a file where DVC's layout has a folder, so that DVC stops at once."""
    storage.write(GUARD_KEY, Body.of(_GUARD))


def take_place_of_loose(storage: Storage) -> bool:
    """Puts that file in the place of the folders that a conversion left empty; False where somebody wrote there."""
    take: WithFolders = storage  # type: ignore[assignment]
    return take.take_place(GUARD_KEY, _GUARD)

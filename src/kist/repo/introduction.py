"""A short text for whoever finds a storage and wonders about the names in it; written by the first push into it.

Implements docs/spec/remotes.md, section 7.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.errors import KistError
from kist.formats.records import MD5
from kist.remotes.local import FolderRemote

if TYPE_CHECKING:
    from kist.remotes.base import Remote

KEY = "README-kist.md"
_TEXT = """\
# Data kept by Kist, in the layout of DVC

The files here have no names of their own: each is called by the md5 of its bytes, the first two digits as a folder,
below `files/md5/`. So the same content is stored once, and a copy that is damaged can be told. A file that ends in
`.dir` is the list of files of a directory, as JSON. `runs/` remembers what stages of pipelines made; `kist-bad/` has
what was found damaged.

Which file is which stands in the Git repository of the project: in its `.dvc` files and in `dvc.lock`. There

    kist remote ls      shows what is here by the names of the data, and who needs it
    kist pull           brings it
    kist fsck -c        verifies it
    kist gc -c          removes what nothing needs

`dvc pull` reads it, too. Please don't rename, edit or delete files here by hand.
This text is written once, into an empty place; it may be deleted.
"""


def introduce(remote: Remote) -> None:
    """Writes the text into a storage that is empty; nothing is ever overwritten.

    What only this text is refused for is let pass; a disk that fails would fail the push as well, and is told.
    """
    try:
        if not _is_empty(remote):
            return
        if isinstance(remote, FolderRemote):
            remote.store(MD5).make_folder(remote.path)
            # For everybody to read, as objects are.
            atomic.write_file(os.path.join(remote.path, KEY), _TEXT.encode(), mode=0o644)
        else:
            remote.write_key(KEY, _TEXT.encode())
    except (PermissionError, KistError):
        pass  # what the push itself cannot do it tells in its own words


def _is_empty(remote: Remote) -> bool:
    if isinstance(remote, FolderRemote):
        if not os.path.exists(remote.path):
            return True
        with os.scandir(remote.path) as entries:
            return all(atomic.is_temp_name(entry.name) for entry in entries)
    from kist.transfer.stored import StorageRemote  # a folder needs none of it

    # One question more, and that only while nothing was ever sent there from here.
    return (
        isinstance(remote, StorageRemote)
        and remote.storage.abilities.lists
        and not remote.was_used()
        and next(iter(remote.storage.list("")), None) is None
    )

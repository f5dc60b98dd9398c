"""How a workspace file shares its bytes with an object: reflink, hardlink, symlink or copy (`cache.type`).

Not here: which files are linked (workspace.checkout) and verified (`copying`). Implements docs/spec/links.md.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from kist.base import atomic
from kist.errors import StorageError

REFLINK = "reflink"
HARDLINK = "hardlink"
SYMLINK = "symlink"
COPY = "copy"
DEFAULT_TYPES = (REFLINK, COPY)
PROTECTED = frozenset({HARDLINK, SYMLINK})
"""Link types by which the workspace file is the read-only object itself."""

_FICLONE = 0x40049409
_CANNOT = frozenset(
    {
        errno.EXDEV,
        errno.ENOTSUP,
        errno.EINVAL,
        errno.ENOSYS,
        errno.ENOTTY,
        errno.EPERM,
        errno.EMLINK,
        errno.EACCES,
        errno.EBADF,
    }
)


class NoLinkTypeError(StorageError):
    """None of the configured link types works between the cache and the workspace."""

    code = "no-link-type"


def clone(source: int, target: int) -> bool:
    """Makes the open file `target` share the blocks of `source`; returns False where that is not possible."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl  # absent on some systems

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def choose_type(types: Sequence[str], *, store: str, workspace: str) -> str:
    """Returns the first of `types` that works, tried with a real pair of temporary files.

    Args:
        store, workspace: existing folders; the probe leaves nothing in them.

    Raises:
        NoLinkTypeError: none works.
    """
    source = os.path.join(store, atomic.temp_name())
    for kind in types:
        if kind == COPY or _works(kind, source, os.path.join(workspace, atomic.temp_name())):
            return kind
    names = ",".join(types)
    raise NoLinkTypeError(
        f"cannot link files from '{store}': none of cache.type '{names}' works there",
        hint="kist config cache.type reflink,hardlink,copy",
    )


def is_refused(error: OSError) -> bool:
    """Says whether an error of a link means that there can be none, as between file systems, or to a file of others."""
    return error.errno in _CANNOT


def after_hardlink(types: Sequence[str]) -> str:
    """Returns what single files become that cannot be hard links: SYMLINK where that comes next in `types`, or COPY."""
    later = types[types.index(HARDLINK) + 1 :] if HARDLINK in types else ()
    return SYMLINK if later and later[0] == SYMLINK else COPY


def _works(kind: str, source: str, target: str) -> bool:
    try:
        try:
            with open(source, "xb") as stream:
                stream.write(b"kist link probe")
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            return _works_read_only(kind, os.path.dirname(source), os.path.dirname(target))
        if kind == REFLINK:
            with open(source, "rb") as reader, open(target, "xb") as writer:
                return clone(reader.fileno(), writer.fileno())
        make_link(kind, source, target)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    finally:
        atomic.remove_quietly(target)
        atomic.remove_quietly(source)
    return True


def _works_read_only(kind: str, store: str, workspace: str) -> bool:
    """Says what links are to be expected from a store that nothing can be written to, so that none can be tried."""
    if kind == HARDLINK:
        return os.stat(store).st_dev == os.stat(workspace).st_dev
    return kind == SYMLINK


def make_link(kind: str, source: str, name: str, *, folder: int | None = None) -> None:
    """Makes `name` a hard or symbolic link to the object at `source`.

    Args:
        name: the new path, or a name in the open directory `folder`.

    Raises:
        FileExistsError: `name` is there already.
    """
    if kind == HARDLINK:
        os.link(source, name, dst_dir_fd=folder)
    else:
        os.symlink(source, name, dir_fd=folder)

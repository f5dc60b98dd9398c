"""Puts what a store holds under a path that no repository tracks: whole or not at all, and nothing is written over.

Used by `get` and `get-url`. Not here: the workspace of a repository (checkout). Implements docs/spec/imports.md,
section 6.
"""

from __future__ import annotations

import errno
import os

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.manifest import Tree
from kist.store.loose import LooseStore, remove_staging


class TakenError(InputError):
    """There is something at the path already. Exit 1. `--force` writes over it."""

    code = "path-taken"


def refuse_taken(path: str, shown: str, *, force: bool) -> None:
    """Does nothing where a path is free, or may be written over.

    Raises: TakenError.
    """
    if os.path.lexists(path) and not force:
        raise TakenError(
            f"cannot write '{shown}': it exists", hint="name another path with `--out`, or give `--force`"
        )


def place_file(store: LooseStore, oid: str, path: str, *, force: bool) -> None:
    """Makes an object a file of the person's own; the object is used up.

    Raises: TakenError: something came there meanwhile; OSError.
    """
    staged = store.path(oid)
    _own(staged)
    atomic.sync_file(staged)
    if force:
        if os.path.isdir(path) and not os.path.islink(path):
            raise TakenError(f"cannot write '{path}': it is a folder", hint=shell_line("ls", path))
        os.replace(staged, path)
    else:
        try:
            os.link(staged, path)
        except FileExistsError as error:
            raise TakenError(
                f"cannot write '{path}': it exists", hint="give `--force` to write over it"
            ) from error
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
                raise
            os.rename(staged, path)  # a file system without hard links
    atomic.sync_directory(os.path.dirname(path))


def _own(path: str) -> None:
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def place_tree(store: LooseStore, tree: Tree, path: str, *, force: bool) -> None:
    """Makes objects the files of a folder; the objects are used up.

    Args: force: a folder that is there is filled, file by file, each old or new.

    Raises: TakenError, OSError.
    """
    parent = os.path.dirname(path)
    temp = os.path.join(parent, atomic.temp_name())
    os.mkdir(temp)
    try:
        _fill(store, tree, temp)
        if force and os.path.lexists(path):
            _merge(tree, temp, path)
        else:
            try:
                os.rename(temp, path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                raise TakenError(
                    f"cannot write '{path}': it exists", hint="give `--force` to write over it"
                ) from error
        atomic.sync_directory(parent)
    finally:
        remove_staging(temp)


def _fill(store: LooseStore, tree: Tree, temp: str) -> None:
    import shutil  # only for content that comes twice

    left: dict[str, int] = {}
    for _, oid in tree.files():
        left[oid] = left.get(oid, 0) + 1
    made: list[str] = []
    for folder, row in tree.folders.items():
        here = os.path.join(temp, folder) if folder else temp
        os.makedirs(here, exist_ok=True)
        digits = row.digests.hex()
        for at, name in enumerate(row.names.split("\0")):
            oid = digits[at * 32 : at * 32 + 32]
            target = os.path.join(here, name)
            left[oid] -= 1
            if left[oid]:
                shutil.copyfile(store.path(oid), target)
            else:
                os.rename(store.path(oid), target)
            _own(target)
            made.append(target)
    atomic.sync_many(made, (), root=temp)


def _merge(tree: Tree, temp: str, path: str) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        raise TakenError(f"cannot write '{path}': it is no folder", hint=shell_line("ls", "-ld", path))
    for rel, _ in tree.files():
        target = os.path.join(path, rel)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(os.path.join(temp, rel), target)

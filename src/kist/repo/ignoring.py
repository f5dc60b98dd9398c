"""Adds lines to `.gitignore` files, each file written once.

Not here: whether a line is needed (metafiles), which lines (formats.gitignore).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

from kist.base import atomic
from kist.formats.gitignore import add_entry

GITIGNORE = ".gitignore"


def add_lines(root: str, paths: Iterable[str]) -> bool:
    """Makes Git ignore outputs, by the file beside each; durable when this returns. Says whether a file changed.

    Args: root: of the repository, absolute. paths: relative to it.

    Raises: OSError.
    """
    names: dict[str, dict[str, None]] = {}
    for path in paths:
        folder, name = posixpath.split(path)
        names.setdefault(folder, {})[name] = None
    is_changed = False
    for folder, below in names.items():
        absolute = os.path.join(root, folder, GITIGNORE)
        if not os.path.isdir(os.path.dirname(absolute)):
            continue  # gone with the output
        previous = _read(absolute)
        data = previous
        for name in below:
            data = add_entry(data, name)
        if data != previous:
            atomic.write_file(absolute, data)
            is_changed = True
    return is_changed


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""

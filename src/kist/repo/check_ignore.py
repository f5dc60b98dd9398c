"""Which of some paths `.dvcignore` leaves out, and by which line.

Not here: what a line means (kist.formats.ignore). Implements docs/spec/ignore.md, section 6.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kist.workspace.ignores import IgnoreMatch, IgnoreTree


class CheckedPath(NamedTuple):
    """One answer.

    Attributes:
        path: as it was asked for.
        match: what decides about it; None when nothing matches, or the path is outside of the repository.
    """

    path: str
    match: IgnoreMatch | None

    @property
    def is_ignored(self) -> bool:
        """Says whether the path is left out."""
        return self.match is not None and self.match.is_ignored


def check_ignore(ignores: IgnoreTree, paths: Iterable[str], *, cwd: str) -> Iterator[CheckedPath]:
    """Yields one answer a path, in their order, each as soon as it is asked for.

    Args:
        ignores: of the whole repository.
        paths: absolute, or relative to `cwd`; they need not exist.
        cwd: absolute path.
    """
    prefix = ignores.root.rstrip(os.sep) + os.sep
    for path in paths:
        absolute = os.path.normpath(os.path.join(cwd, path))
        match = None
        if absolute.startswith(prefix):
            inside = absolute.removeprefix(prefix).replace(os.sep, "/")
            match = ignores.explain(inside, os.path.isdir(absolute))
        yield CheckedPath(path, match)

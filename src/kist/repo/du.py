"""`du`: how much space files and tracked data take, in the workspace or at a revision.

A file counts by its size on disk, or else by that of its object; a folder by all that is in it. Metafiles and
`.dvcignore` do not count (as DVC). Not here: rendering.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kist.formats.manifest import DIGEST_SIZE
from kist.repo.collect import OLD_FILE, PIPELINE_FILE
from kist.repo.listing import CommitFiles, Group, ManifestMissingError

if TYPE_CHECKING:
    from kist.repo.listing import View

_NOT_COUNTED = (PIPELINE_FILE, OLD_FILE, ".dvcignore")


class Usage(NamedTuple):
    """The size of one file or folder, in bytes; `name` is "" for what was asked about itself."""

    name: str
    size_bytes: int


def usage(view: View, path: str, *, is_dir: bool) -> list[Usage]:
    """Returns the sizes of what is right in a folder, by name, and last the sum; for a file only its own.

    Raises: ManifestMissingError, ManifestError, ObjectCorruptError.
    """
    if not is_dir:
        folder, _, name = path.rpartition("/")
        return [Usage("", _size(view, folder, name, False))]
    children = _counted(view, path)
    if isinstance(view.files, CommitFiles):
        view.files.prepare(list(_groups(view, path)))
    rows = [Usage(name, _size(view, path, name, children[name])) for name in sorted(children)]
    return [*rows, Usage("", sum(row.size_bytes for row in rows))]


def _counted(view: View, folder: str) -> dict[str, bool]:
    return {
        name: is_dir
        for name, is_dir in view.children(folder).items()
        if is_dir or not (name.endswith(".dvc") or name in _NOT_COUNTED)
    }


def _groups(view: View, folder: str) -> Iterator[Group]:
    """Yields the files that Git has below a folder, so that their sizes are asked for at once."""
    assert view.files is not None
    children = view.files.children(folder)
    yield Group(folder, [name for name, is_dir in children.items() if not is_dir], frozenset())
    for name, is_dir in children.items():
        if is_dir:
            yield from _groups(view, f"{folder}/{name}" if folder else name)


def _size(view: View, folder: str, name: str, is_dir: bool) -> int:
    path = f"{folder}/{name}" if folder else name
    figures = view.files.figures(path) if view.files is not None else None
    if not is_dir:
        if figures is not None:
            return figures[0]
        entry = view.entry(folder, name, False)
        if entry.size is not None or entry.md5 is None:
            return entry.size or 0
        return view.size_of_object(path, entry.md5)
    if figures is None or isinstance(view.files, CommitFiles):
        within = view.out_of(path)
        if within is not None and not within[1] and within[0].output.size is not None:
            return within[0].output.size
        if within is not None:
            return _tracked_size(view, path)
    try:
        children = _counted(view, path)
    except ManifestMissingError:
        assert view.files is not None
        children = view.files.children(path)
    return sum(_size(view, path, below, children[below]) for below in children)


def _tracked_size(view: View, path: str) -> int:
    """Returns the size of a folder of tracked data that is not on disk, as far as the cache has it."""
    within = view.out_of(path)
    assert within is not None
    tree, _ = view.tree(within[0])
    return sum(
        view.size_of_object(path, row.digests[at : at + DIGEST_SIZE].hex())
        for row in tree.below(within[1]).folders.values()
        for at in range(0, len(row.digests), DIGEST_SIZE)
    )

"""`destroy`: takes everything of the repository away but the data: metafiles, `.dvcignore`, `.dvc` with its cache.

`.gitignore` files stay as they are, so that Git does not take up the data by surprise (as DVC 3.67.1).
Order: data made independent of the cache, metafiles, `.dvc`; the same command finishes what a kill left.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.formats.records import MD5
from kist.repo.collect import LOCK_FILE, PIPELINE_FILE, Stage, WorkspaceSource, collect
from kist.repo.projects import is_outside, unregister
from kist.repo.unprotect import Unit, units_of, unprotect_paths

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class Loss(NamedTuple):
    """What would go for good: number and size of the objects below `.dvc`, and of the metafiles."""

    objects: int
    size_bytes: int
    metafiles: int


def loss(repository: Repository) -> Loss:
    """Returns what `destroy` would delete."""
    objects = size = 0
    if _holds_cache(repository):
        for store in (repository.cache, repository.legacy_cache):
            for prefix in store.prefixes():
                records = store.objects(prefix).values()
                objects += len(records)
                size += sum(int.from_bytes(record[8:16], "little") for record in records)
    return Loss(objects, size, len(_metafiles(collect(WorkspaceSource(repository)))))


def _holds_cache(repository: Repository) -> bool:
    return (os.path.realpath(repository.cache_dir) + os.sep).startswith(
        os.path.realpath(repository.dvc_dir) + os.sep
    )


def destroy(repository: Repository) -> None:
    """Removes the repository's own files and keeps the data; a cache outside of `.dvc` stays too.

    Raises:
        FormatError: a metafile cannot be read, so that it is not known which data must be saved from the cache.
        FileChangedError, OSError.
    """
    with repository.lock():
        stages = collect(WorkspaceSource(repository))
        outs = [out for stage in stages for out in stage.outs if out.is_inside]
        unprotect_paths(repository, units_of(outs))
        # Data of other versions, which no metafile names now, may link into the cache as well.
        unprotect_paths(repository, [Unit("", MD5, is_data=False)], only_symlinks=True)
        for path in [*_metafiles(stages), ".dvcignore"]:
            try:
                os.unlink(repository.abspath(path))
            except FileNotFoundError:
                continue
            atomic.sync_directory(os.path.dirname(repository.abspath(path)))
        cache_dir = repository.cache_dir
        repository.index.close()  # else it would be written again, with its folder, at the end
        _remove_tree(repository.dvc_dir)
        if is_outside(cache_dir, repository.root):
            unregister(cache_dir, repository.root)


def _metafiles(stages: list[Stage]) -> list[str]:
    """Returns the files of the stages; a `dvc.yaml` goes after its `dvc.lock`."""
    files: dict[str, None] = {}
    for stage in stages:
        if posixpath.basename(stage.file) == PIPELINE_FILE:
            files[posixpath.join(posixpath.dirname(stage.file), LOCK_FILE)] = None
        files[stage.file] = None
    return list(files)


def _remove_tree(path: str) -> None:
    import shutil  # 4 ms, for this command alone

    if os.path.islink(path):
        os.unlink(path)
    else:
        shutil.rmtree(path)
    atomic.sync_directory(os.path.dirname(path))

"""`add --out` and `add --to-remote`: tracks a copy of data from elsewhere, here or straight in a remote.

Not here: tracking what is in the workspace (add).
"""

from __future__ import annotations

import os
import posixpath
import shutil
import time
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.base.shell import shell_line
from kist.formats.manifest import render_manifest
from kist.formats.records import MD5, Digest, Metafile, Output
from kist.remotes.local import FolderRemote
from kist.repo.add import AddOptions, AddResult, CannotAddError, add
from kist.repo.metafiles import Changes
from kist.repo.repository import OutsideRepositoryError
from kist.repo.transfers import open_remote
from kist.store import links
from kist.store.ingest import FileChangedError, store_batches
from kist.store.loose import sweep_staging
from kist.store.statindex import StatIndex
from kist.workspace.scan import refuse_specials, scan_directory, scan_file, unread_batches, with_stored

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def add_from(
    repository: Repository,
    source: str,
    *,
    out: str | None,
    remote: str | None,
    to_remote: bool,
    force: bool = False,
    jobs: int | None = None,
) -> AddResult:
    """Tracks a copy of `source`, a local path that may lie anywhere.

    Args:
        out: where the copy goes; None: the name of the source, here.
        to_remote: store it in a remote alone; the workspace and the cache get nothing but the `.dvc` file.

    Raises:
        CannotAddError, OutsideRepositoryError, OSError.
    """
    origin = os.path.normpath(os.path.join(repository.cwd, source.removeprefix("file://")))
    if "://" in source and not source.startswith("file://"):
        raise CannotAddError(
            f"cannot add '{source}': this version reads local paths only",
            hint="download it, then name the file",
        )
    if not os.path.lexists(origin):
        raise CannotAddError(
            f"cannot add '{source}': it does not exist", hint=shell_line("ls", os.path.dirname(origin))
        )
    path = repository.rel(out if out is not None else os.path.basename(origin))
    if not path:
        raise OutsideRepositoryError(
            f"cannot write '{out}': it is the repository itself", hint="name a path that is in it"
        )
    if to_remote:
        return _to_remote(repository, origin, path, remote=remote, jobs=jobs)
    target = repository.abspath(path)
    if os.path.lexists(target):
        if not force:
            raise CannotAddError(
                f"cannot add '{source}' as '{out}': that path exists", hint="give `--force` to write over it"
            )
        _remove(target)
    _copy(origin, target)
    return add(repository, [target], AddOptions())


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _copy(source: str, target: str) -> None:
    """Copies under a temporary name first, so that a kill leaves no half copy under the right one."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temp = os.path.join(os.path.dirname(target), atomic.temp_name())
    try:
        if os.path.isdir(source):
            shutil.copytree(source, temp)
        else:
            shutil.copyfile(source, temp)
        os.rename(temp, target)
    except BaseException:
        if os.path.lexists(temp):
            _remove(temp)
        raise


def _to_remote(
    repository: Repository, origin: str, path: str, *, remote: str | None, jobs: int | None
) -> AddResult:
    target, _ = open_remote(repository, remote)
    assert isinstance(target, FolderRemote)
    store = target.store(MD5)
    sweep_staging(store.base, time.time())
    # Files from elsewhere are nothing to remember: an index that was never written.
    index = StatIndex(os.devnull + "/none")
    is_dir = os.path.isdir(origin)
    found = (
        scan_directory(origin, "", index=index, ignores=None)
        if is_dir
        else scan_file(origin, "", index=index)
    )
    assert found is not None
    refuse_specials(found)
    batches, places = unread_batches(found)
    stored = store_batches(
        batches, store, link=links.COPY, workers=jobs or repository.workers, progress=repository.progress
    )
    if changed := [name for item in stored for name in item.changed]:
        raise FileChangedError(
            f"cannot store '{changed[0]}': it changes while it is read",
            hint="wait until nothing writes to it, then try again",
        )
    snapshot = with_stored(found, places, stored)
    with repository.lock():
        output = Output(posixpath.basename(path), size=snapshot.size_bytes())
        if is_dir:
            data = render_manifest(snapshot.tree())
            import hashlib  # for this one id

            oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
            store.write_small(oid, data)
            output = output._replace(digest=Digest(MD5, oid), nfiles=snapshot.file_count())
        else:
            is_executable = bool(os.stat(origin).st_mode & 0o100)
            digest = Digest(MD5, snapshot.folders[""].digests.hex())
            output = output._replace(digest=digest, isexec=is_executable)
        changes = Changes(repository)
        changes.write_metafile(path + ".dvc", Metafile(outs=(output,)))
        return AddResult([path + ".dvc"], changes.finish())

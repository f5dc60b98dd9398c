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
from kist.remotes.base import Remote
from kist.remotes.local import FolderRemote
from kist.repo.add import AddOptions, AddResult, CannotAddError, add
from kist.repo.at_address import Opener, locate, look_there
from kist.repo.get import Download, get_url
from kist.repo.import_data import carrier_of
from kist.repo.importing import with_data
from kist.repo.members import staging_path
from kist.repo.metafiles import Changes
from kist.repo.repository import OutsideRepositoryError
from kist.repo.to_remote import send_to_remote
from kist.repo.transfers import open_remote
from kist.store import links
from kist.store.ingest import FileChangedError, hash_batches, store_batches
from kist.store.loose import LooseStore, remove_staging, sweep_staging
from kist.store.statindex import DIGEST_SIZE, StatIndex
from kist.transfer import plan
from kist.workspace.scan import (
    Snapshot,
    refuse_specials,
    scan_directory,
    scan_file,
    unread_batches,
    with_columns,
    with_stored,
)

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
    """Tracks a copy of `source`, which may lie anywhere.

    Args:
        source: a path of this machine, or an address of a storage.
        out: where the copy goes; None: the name of the source, here.
        to_remote: store it in a remote alone; the workspace and the cache get nothing but the `.dvc` file.

    Raises:
        CannotAddError, OutsideRepositoryError, OSError.
    """
    origin = os.path.normpath(os.path.join(repository.cwd, source.removeprefix("file://")))
    if "://" in source and not source.startswith("file://"):
        return _from_address(
            repository, source, out=out, remote=remote, to_remote=to_remote, force=force, jobs=jobs
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


def _from_address(
    repository: Repository,
    url: str,
    *,
    out: str | None,
    remote: str | None,
    to_remote: bool,
    force: bool,
    jobs: int | None,
) -> AddResult:
    """Tracks a copy of what is at an address of a storage; nothing notes where it was from."""
    opener = Opener(repository.environ, repository.ask, repository)
    located = locate(url, {}, opener, folder=repository.cwd)
    path = repository.rel(out if out is not None else located.name)
    carrier = carrier_of(repository, jobs=jobs)
    if not to_remote:
        located.close()
        download = Download(
            repository.cwd, out, force, repository.progress, carrier.workers, jobs, carrier.limiter
        )
        get_url(url, {}, opener, download)
        return add(repository, [repository.abspath(path)], AddOptions())
    try:
        there = look_there(located, carrier)
        brought = send_to_remote(repository, there, carrier, remote=remote, label=path)
    finally:
        located.close()
    with repository.lock():
        changes = Changes(repository)
        fresh = with_data(Output(posixpath.basename(path)), brought)
        changes.write_metafile(path + ".dvc", Metafile(outs=(fresh,)))
        return AddResult([path + ".dvc"], changes.finish())


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
    target, note = open_remote(repository, remote, jobs=jobs)
    repository.notes += [note] if note else []
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
    workers = jobs or repository.workers
    try:
        if isinstance(target, FolderRemote):
            snapshot, digest = _into_folder(repository, found, target, is_dir=is_dir, workers=workers)
        else:
            snapshot, digest = _into_service(repository, found, target, is_dir=is_dir, workers=workers)
    finally:
        target.close()
    with repository.lock():
        output = Output(posixpath.basename(path), digest, size=snapshot.size_bytes())
        if is_dir:
            output = output._replace(nfiles=snapshot.file_count())
        else:
            output = output._replace(isexec=bool(os.stat(origin).st_mode & 0o100))
        changes = Changes(repository)
        changes.write_metafile(path + ".dvc", Metafile(outs=(output,)))
        return AddResult([path + ".dvc"], changes.finish())


def _into_folder(
    repository: Repository, found: Snapshot, target: FolderRemote, *, is_dir: bool, workers: int
) -> tuple[Snapshot, Digest]:
    """Stores files in a folder, read once; returns them with their ids, and the id of the whole."""
    store = target.store(MD5)
    sweep_staging(store.base, time.time())
    batches, places = unread_batches(found)
    stored = store_batches(batches, store, link=links.COPY, workers=workers, progress=repository.progress)
    if changed := [name for item in stored for name in item.changed]:
        raise _changed(changed[0])
    snapshot = with_stored(found, places, stored)
    digest, manifest = _whole(snapshot, is_dir=is_dir)
    if is_dir:
        store.write_small(digest.value, manifest)
    return snapshot, digest


def _into_service(
    repository: Repository, found: Snapshot, target: Remote, *, is_dir: bool, workers: int
) -> tuple[Snapshot, Digest]:
    """Sends files to a service: hashed first, for the name of an object is its hash, and again on the way."""
    batches, places = unread_batches(found)
    columns = hash_batches(batches, workers=workers, progress=repository.progress) if batches else []
    snapshot = with_columns(found, places, [(column, None) for column in columns])
    digest, manifest = _whole(snapshot, is_dir=is_dir)
    copies = LooseStore(staging_path(repository))
    try:
        files = _link_all(snapshot, copies)
        if is_dir:
            copies.write_small(digest.value, manifest)
        need = plan.Need(snapshot.root, digest)
        done = plan.push([need], copies, target, workers=workers, progress=repository.progress)
    finally:
        remove_staging(copies.base)
    for _, oid, _ in done.failed:
        raise _changed(files.get(oid, snapshot.root))
    return snapshot, digest


def _link_all(snapshot: Snapshot, copies: LooseStore) -> dict[str, str]:
    """Makes a store of symbolic links to files, and returns id -> path; nothing is copied."""
    files: dict[str, str] = {}
    for folder, row in snapshot.folders.items():
        names = row.names.split("\0") if row.names else []
        for at, name in enumerate(names):
            oid = row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE].hex()
            files.setdefault(oid, "/".join(filter(None, (snapshot.root, folder, name))))
    copies.make_prefixes({oid[:2] for oid in files})
    for oid, path in files.items():
        os.symlink(path, copies.path(oid))
    return files


def _whole(snapshot: Snapshot, *, is_dir: bool) -> tuple[Digest, bytes]:
    """Returns the id of what was read, and a directory's manifest."""
    if not is_dir:
        return Digest(MD5, snapshot.folders[""].digests.hex()), b""
    import hashlib  # for this one id

    manifest = render_manifest(snapshot.tree())
    oid = hashlib.md5(manifest, usedforsecurity=False).hexdigest() + ".dir"
    return Digest(MD5, oid), manifest


def _changed(name: str) -> FileChangedError:
    return FileChangedError(
        f"cannot store '{name}': it changes while it is read",
        hint="wait until nothing writes to it, then try again",
    )

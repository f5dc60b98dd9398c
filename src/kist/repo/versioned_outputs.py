"""Outputs whose metafile names versions at a service: what it says is noted, and a `files:` list becomes a directory.

Not here: sending and fetching versions (versions_push, transfer.versions). Implements docs/spec/cloud-versions.md,
section 2.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from kist.formats.filelists import entries_of, spelled
from kist.formats.manifest import EMPTY_DIR
from kist.formats.records import LEGACY_MD5, MD5, Digest, FileEntry, Output
from kist.repo.data import readable_tree
from kist.store.placements import ANY_REMOTE, Placement, Placements

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def noted(file: str, path: str, output: Output, placements: Placements) -> Output:
    """Returns an output with the digest and figures that its `files:` list stands for; notes where versions are.

    Args:
        file: its metafile, for messages.
        path: relative to the root.

    Raises: ManifestError: the list names a path that must not be written (rule R14).
    """
    if output.digest is not None:
        _note(placements, output.digest, path, output)
        return output
    found = spelled(output, name=file)
    if found is None:
        return output
    placements.manifests[found.digest.value] = found.manifest
    everywhere: set[str] | None = None
    for entry in output.files or ():
        if entry.digest is None:
            continue
        remotes = _note(placements, entry.digest, f"{path}/{entry.relpath}", entry)
        everywhere = remotes if everywhere is None else everywhere & remotes
    for remote in everywhere or ():
        placements.note_whole(remote, found.digest.algorithm, found.digest.value)
    return output._replace(digest=found.digest, size=found.size_bytes, nfiles=found.nfiles)


def _note(placements: Placements, digest: Digest, path: str, item: Output | FileEntry) -> set[str]:
    """Notes the versions of one file; returns the remotes that have one."""
    found = set()
    for remote in item.cloud or (ANY_REMOTE,):
        version = version_of(item, remote)
        if version is not None and digest.algorithm in (MD5, LEGACY_MD5) and not digest.is_dir:
            placements.note(remote, digest.algorithm, digest.value, Placement(path, version))
            found.add(remote)
    return found


def version_of(item: Output | FileEntry, remote: str) -> str | None:
    """Returns the version that an entry names at a remote.

    `dvc update` (3.67.1) of a directory writes versions without the remote's name: they are of whichever is used.
    """
    return version_in(item.cloud, remote) if item.cloud else item.version_id


def version_in(cloud: dict[str, Any] | None, remote: str) -> str | None:
    """Returns the version that a `cloud:` entry names at a remote."""
    figures = (cloud or {}).get(remote)
    version = figures.get("version_id") if isinstance(figures, dict) else None
    return str(version) if version else None


def relisted(repository: Repository, output: Output, digest: Digest, top: str) -> Output | None:
    """Returns an entry that lists a directory's files with new content; None where its manifest is not in the cache.

    Args: top: where the directory is, relative to the root, to see which new files are executable; "" where it is not.
    """
    store = repository.store_for(digest.algorithm)
    tree = readable_tree(store, digest, "")
    if tree is None or digest.value == EMPTY_DIR:
        return None

    def size_of(oid: str) -> int | None:
        record = store.stat(oid)
        return None if record is None else int.from_bytes(record[8:16], "little")

    known = {(entry.relpath, entry.digest) for entry in output.files or ()}
    files = tuple(
        entry
        if (entry.relpath, entry.digest) in known
        or not (top and _is_executable(repository, f"{top}/{entry.relpath}"))
        else entry._replace(isexec=True)
        for entry in entries_of(tree, digest.algorithm, output.files or (), size_of)
    )
    sizes = [entry.size for entry in files]
    return output._replace(
        files=files,
        digest=digest,
        size=None if None in sizes else sum(size or 0 for size in sizes),
        nfiles=len(files),
        cloud=None,
        version_id=None,
    )


def _is_executable(repository: Repository, path: str) -> bool:
    try:
        found = os.lstat(repository.abspath(path))
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & stat.S_IXUSR)

"""`get` and `get-url`: downloads data that nothing here tracks, from another repository or from an address.

Everything is brought into a store of its own beside the target first, hashed, and then takes its name at once.
Not here: opening what is named (elsewhere, at_address). Implements docs/spec/imports.md, section 6.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.formats.manifest import parse_manifest
from kist.formats.records import LEGACY_MD5
from kist.repo.at_address import Opener, bring_there, locate, look_there
from kist.repo.import_data import bring_import
from kist.repo.listing import PathMissingError
from kist.repo.placing import place_file, place_tree, refuse_taken
from kist.repo.sources import Brought, Carrier, Source, bring, find_source
from kist.repo.transfers import open_remote
from kist.store.loose import LooseStore, remove_staging, sweep_staging

if TYPE_CHECKING:
    from kist.base.limiter import Limiter
    from kist.base.progress import Progress
    from kist.repo.elsewhere import OtherRepository


class Got(NamedTuple):
    """What was written: the path as it is shown, the number of files, and their bytes."""

    path: str
    files: int
    size_bytes: int


class Download(NamedTuple):
    """Where data is to go, and how it is brought.

    Attributes:
        cwd: what a relative path starts from.
        out: a path, or an existing folder to put it into; None for the name that it has.
        force: write over what is there.
    """

    cwd: str
    out: str | None
    force: bool
    progress: Progress
    workers: int
    jobs: int | None = None
    limiter: Limiter | None = None


def get(repository: OtherRepository, path: str, commit: str | None, download: Download) -> Got:
    """Downloads a path of another repository.

    Args: commit: None for a working tree.

    Raises: PathMissingError, TakenError, SourceDataMissingError, OSError.
    """
    source = find_source(repository, path, commit)
    name = posixpath.basename(path) or posixpath.basename(repository.title.rstrip("/")).removesuffix(".git")
    return _written(download, name, lambda carrier: bring(source, carrier))


def get_url(url: str, options: Mapping[str, str], opener: Opener, download: Download) -> Got:
    """Downloads what is at an address.

    Raises: NothingThereError, TakenError, OSError, and what a service says.
    """
    located = locate(url, options, opener, folder=download.cwd)
    try:
        return _written(
            download, located.name, lambda carrier: bring_there(look_there(located, carrier), carrier)
        )
    finally:
        located.close()


def _written(download: Download, name: str, work: Callable[[Carrier], Brought]) -> Got:
    shown = download.out if download.out is not None else name
    target = os.path.join(download.cwd, shown)
    if download.out is not None and os.path.isdir(target):
        shown = os.path.join(shown, name)
        target = os.path.join(target, name)
    target = os.path.normpath(target)
    refuse_taken(target, shown, force=download.force)
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    sweep_staging(parent, time.time())
    base = os.path.join(parent, atomic.temp_name())
    store = LooseStore(base)
    carrier = Carrier(
        store, download.workers, download.progress, [], bring_import, download.jobs, download.limiter
    )
    try:
        brought = work(carrier)
        digest = brought.digest
        if digest.algorithm == LEGACY_MD5:
            store = LooseStore(base, LEGACY_MD5)
        if digest.is_dir:
            tree = parse_manifest(store.read(digest.value), name=digest.value)
            place_tree(store, tree, target, force=download.force)
            return Got(shown, tree.file_count(), brought.size)
        place_file(store, digest.value, target, force=download.force)
        return Got(shown, 1, brought.size)
    finally:
        remove_staging(base)


def object_address(repository: OtherRepository, path: str, commit: str | None) -> str:
    """Returns where the object of tracked data lies in the repository's remote (`get --show-url`).

    Raises: PathMissingError: it is no single piece of tracked data; NoRemoteError.
    """
    source = find_source(repository, path, commit)
    oid, algorithm, remote_name = _single(source, path)
    remote, _ = open_remote(repository, remote_name)
    try:
        return remote.address(oid, algorithm)
    finally:
        remote.close()


def _single(source: Source, path: str) -> tuple[str, str, str | None]:
    if len(source.pieces) != 1 or source.pieces[0].rel:
        raise PathMissingError(
            f"cannot tell the address of '{path}': it is no tracked data of '{source.repository.title}'",
            hint=shell_line("kist", "list", "--dvc-only", "-R", source.repository.title),
        )
    piece = source.pieces[0]
    remote = source.repository.default_remote or piece.out.output.remote
    if not piece.inner:
        return piece.digest.value, piece.digest.algorithm, remote
    from kist.repo.listing import read_tree

    oid = read_tree(source.repository, piece.out).get(piece.inner)
    if oid is None:
        raise PathMissingError(
            f"cannot tell the address of '{path}': it is a folder inside of '{piece.out.path}'",
            hint=shell_line("kist", "list", source.repository.title, path),
        )
    return oid, piece.digest.algorithm, remote

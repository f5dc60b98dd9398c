"""`unprotect`: makes workspace files that are links to objects into private, writable copies.

Also the first step of `remove` and `destroy`, which keep the data when the cache may go. Not here: making links
(workspace.checkout). Order: copy, check, make durable, rename over the link (rule R5).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.listing import STAT_SIZE, UNTRUSTED, pack_stat, settle
from kist.base.parallel import Emit
from kist.base.shell import shell_line
from kist.errors import MissingError
from kist.formats.records import MD5
from kist.repo.collect import Out, Stage, WorkspaceSource, collect
from kist.repo.data import algorithm_of, look_at
from kist.store import links
from kist.store.ingest import FileChangedError
from kist.store.loose import sweep_staging
from kist.store.statindex import DIGEST_SIZE, UNKNOWN
from kist.workspace.scan import Folder, Snapshot, remember

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_ATTEMPTS = 4
_FORK_FILES = 600
_REQUEST_FILES = 256
_PUBLISH_EVERY = 20_000
"""Files that are made durable and renamed together: bounds the space for temporary copies that a failure leaves."""
_NO_STAT = b""


class UnprotectMissingError(MissingError):
    """There is nothing to unprotect: no such path, or links to objects that the cache has lost."""

    code = "unprotect-missing"


class Unit(NamedTuple):
    """A file or directory to unprotect.

    Attributes:
        path: relative to the repository's root.
        algorithm: of the digests that are known of it.
        is_data: it is tracked, or was until now; of such files the x bits go (as DVC 3.67.1), of all others they stay.
    """

    path: str
    algorithm: str
    is_data: bool = True


class Unprotected(NamedTuple):
    """What was done.

    Attributes:
        copied: number of links that became copies.
        broken: links into the cache that lead to no object, relative to the repository's root; left as they are.
    """

    copied: int
    broken: list[str]


class _Copy(NamedTuple):
    """A finished copy: (inode, size, mtime) as packed, empty when the source changed; md5, empty for a clone."""

    stat: bytes
    digest: bytes


class _Link(NamedTuple):
    """One file to copy: absolute folder, name, mode (0: as new files get it), stat record of its bytes before."""

    folder: str
    name: str
    mode: int
    before: bytes

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


def unprotect(repository: Repository, targets: Sequence[str]) -> Unprotected:
    """Unprotects files and directories, tracked or not.

    Raises:
        UnprotectMissingError: after everything else is done.
        FileChangedError, OSError.

    Holds: at every moment each file has its content; a kill leaves it a link or a copy, and at most temporary files
        that `add` and `checkout` clear away.
    """
    with repository.lock():
        paths = [repository.rel(target) for target in targets]
        for target, path in zip(targets, paths, strict=True):
            if not os.path.lexists(repository.abspath(path)):
                raise UnprotectMissingError(
                    f"cannot unprotect '{target}': it does not exist",
                    hint=shell_line("ls", os.path.dirname(target) or "."),
                )
        stages = collect(WorkspaceSource(repository), on_damage=lambda path, error: None)
        done = unprotect_paths(repository, _units(stages, paths))
    if done.broken:
        listed = ", ".join(f"'{repository.shown(path)}'" for path in done.broken[:5])
        more = f" and {len(done.broken) - 5} more" if len(done.broken) > 5 else ""
        raise UnprotectMissingError(
            f"cannot unprotect {listed}{more}: the cache does not hold what it links to", hint="kist pull"
        )
    return done


def units_of(outs: Iterable[Out]) -> list[Unit]:
    """Returns what stands for outputs."""
    return [Unit(out.path, algorithm_of(out.output.digest)) for out in outs]


def _units(stages: Iterable[Stage], paths: Sequence[str]) -> list[Unit]:
    """Returns the outputs below the targets, and then the targets themselves."""
    outs = units_of(out for stage in stages for out in stage.outs if out.is_inside)
    units: dict[str, Unit] = {}
    for path in paths:
        prefix = path + "/" if path else ""
        own = Unit(path, MD5, is_data=False)
        for out in outs:
            if out.path == path or path.startswith(out.path + "/"):
                own = out._replace(path=path)
            elif out.path.startswith(prefix):
                units.setdefault(out.path, out)
        units.setdefault(path, own)
    return list(units.values())


def unprotect_paths(
    repository: Repository, units: Iterable[Unit], *, only_symlinks: bool = False
) -> Unprotected:
    """Unprotects files and directories; the caller holds the lock.

    Args: only_symlinks: leave hard links and modes as they are: such files outlive the cache.

    Raises:
        FileChangedError, OSError.
    """
    copied = 0
    broken: list[str] = []
    for unit in units:
        look = look_at(repository, [(unit.path, unit.algorithm)], read=False)[0]
        if look.snapshot is None:
            continue
        atomic.remove_stale(look.snapshot.temps, time.time())
        if not look.is_dir:
            sweep_staging(os.path.dirname(repository.abspath(unit.path)), time.time())
        search = _find_links(repository, look.snapshot, unit.is_data, only_symlinks=only_symlinks)
        broken += [os.path.relpath(name, repository.root).replace(os.sep, "/") for name in search.broken]
        if search.found or search.loosened:
            copies = _copy_all(repository, search.found)
            settle()
            _remember(repository, look.snapshot, search, copies, unit.algorithm)
            copied += len(search.found)
    return Unprotected(copied, list(dict.fromkeys(broken)))


class _Search(NamedTuple):
    """What a look at the files found.

    Attributes:
        loosened: path -> (inode, size, mtime) of files with no other link whose mode was changed.
        broken: absolute paths of links into the cache that lead to nothing.
    """

    found: list[_Link]
    loosened: dict[str, bytes]
    broken: list[str]


def _find_links(repository: Repository, snapshot: Snapshot, is_data: bool, *, only_symlinks: bool) -> _Search:
    """Returns the files that share their bytes with the cache; gives other files their mode on the way."""
    cache = (repository.cache_dir + os.sep, os.path.realpath(repository.cache_dir) + os.sep)
    symlinks = set(snapshot.links)
    search = _Search([], {}, [])
    for folder, row in snapshot.folders.items():
        here = f"{snapshot.root}/{folder}" if folder else snapshot.root
        prefix = folder + "/" if folder else ""
        for name in row.split():
            path = f"{here}/{name}"
            if prefix + name in symlinks:
                # Other links are somebody's own: they are data that happens to be elsewhere.
                if _leads_into(path, cache):
                    search.found.append(_Link(here, name, 0, pack_stat(os.stat(path))))
                continue
            if only_symlinks:
                continue
            status = os.lstat(path)
            if status.st_nlink > 1:
                search.found.append(_Link(here, name, 0 if is_data else status.st_mode, pack_stat(status)))
            elif (mode := _mode(status.st_mode, is_data)) != stat.S_IMODE(status.st_mode):
                os.chmod(path, mode)
                search.loosened[path] = pack_stat(status)[:24]
    for relpath, _ in snapshot.specials:
        path = f"{snapshot.root}/{relpath}"
        if os.path.islink(path) and _leads_into(path, cache):
            search.broken.append(path)
    return search


def _mode(mode: int, is_data: bool) -> int:
    """Returns the mode of a file that is no link: its owner's to write, and no more readable than before."""
    kept = stat.S_IMODE(mode) | stat.S_IWUSR
    return kept & ~(stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH) if is_data else kept


def _leads_into(path: str, cache: tuple[str, str]) -> bool:
    target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return target.startswith(cache) or os.path.realpath(path).startswith(cache)


def _copy_all(repository: Repository, found: list[_Link]) -> dict[str, _Copy]:
    """Puts a copy in the place of each link; returns path -> copy.

    Raises:
        FileChangedError, OSError.
    """
    pending = found
    done: dict[str, _Copy] = {}
    with repository.progress.phase("Copying", len(found)) as shown:
        for _ in range(_ATTEMPTS):
            again: list[_Link] = []
            for start in range(0, len(pending), _PUBLISH_EVERY):
                part = pending[start : start + _PUBLISH_EVERY]
                for link, copy in zip(part, _copy_part(repository, part, shown.advance), strict=True):
                    if copy.stat:
                        done[link.path] = copy
                    else:
                        again.append(link)
            if not again:
                return done
            pending = [link._replace(before=pack_stat(os.stat(link.path))) for link in again]
    raise FileChangedError(
        f"cannot unprotect '{pending[0].path}': it changes while it is copied",
        hint="wait until nothing writes to it, then try again",
    )


def _copy_part(repository: Repository, part: list[_Link], advance: Emit) -> list[_Copy]:
    """Copies a part of the links; what was copied is in place and durable when this returns."""
    job = _Job(part)
    units = [(at, min(at + _REQUEST_FILES, len(part))) for at in range(0, len(part), _REQUEST_FILES)]
    workers = repository.workers if len(part) >= _FORK_FILES else 1
    try:
        answers = parallel.run_requests(job.handle, units, workers=workers, on_progress=advance)
        copies = [_Copy(*copy) for answer in answers for copy in answer]
        copied = [at for at, copy in enumerate(copies) if copy.stat]
        atomic.sync_many([job.temp(at) for at in copied], (), root=repository.root)
        for at in copied:
            if _is_as_before(part[at]):
                os.rename(job.temp(at), part[at].path)
            else:
                os.unlink(job.temp(at))
                copies[at] = _Copy(_NO_STAT, b"")
    except BaseException:
        for at in range(len(part)):
            atomic.remove_quietly(job.temp(at))
        raise
    folders = sorted({link.folder for link in part})
    if len(folders) <= atomic.SYNC_EACH_LIMIT or not atomic.sync_file_system(repository.root):
        for folder in folders:
            atomic.sync_directory(folder)
    return copies


def _is_as_before(link: _Link) -> bool:
    # Renaming over one link of an object changes the ctime of all others: it does not count here.
    try:
        return pack_stat(os.stat(link.path))[:24] == link.before[:24]
    except FileNotFoundError:
        return False


class _Job:
    """The work of one process; made before the fork."""

    def __init__(self, found: list[_Link]) -> None:
        self.found = found
        self._token = atomic.temp_name()[: -len(atomic.TEMP_SUFFIX)]

    def temp(self, at: int) -> str:
        """Returns the temporary path for the link at a position."""
        return f"{self.found[at].folder}/{self._token}-{at}{atomic.TEMP_SUFFIX}"

    def handle(self, request: Any, emit: Emit) -> list[tuple[bytes, bytes]]:
        """Copies the links [first, last); the answers are `_Copy` as plain tuples, which may cross a pipe."""
        first, last = request
        copies = [self._copy(at) for at in range(first, last)]
        emit(last - first, 0)
        return copies

    def _copy(self, at: int) -> tuple[bytes, bytes]:
        link = self.found[at]
        temp = self.temp(at)
        reader = digests.open_regular(link.path)
        try:
            writer = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                if link.mode & stat.S_IXUSR:
                    os.fchmod(writer, stat.S_IMODE(os.fstat(writer).st_mode) | stat.S_IXUSR)
                found = b"" if links.clone(reader, writer) else _pour(reader, writer)
                made = pack_stat(os.fstat(writer))[:24]
                is_same = pack_stat(os.fstat(reader))[:24] == link.before[:24]
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        if not is_same:
            os.unlink(temp)
            return _NO_STAT, b""
        return made, found


def _pour(reader: int, writer: int) -> bytes:
    """Copies a file and returns the md5 of the bytes that were written."""
    found = hashlib.md5(usedforsecurity=False)
    while block := os.read(reader, digests.BLOCK_SIZE):
        found.update(block)
        atomic.write_all(writer, block)
    return found.digest()


def _remember(
    repository: Repository,
    snapshot: Snapshot,
    search: _Search,
    copies: dict[str, _Copy],
    algorithm: str,
) -> None:
    """Records the new files, so that a status reads none of them, and that their objects are as they were."""
    store = repository.store_for(algorithm)
    before = {link.path: link.before for link in search.found}
    folders: dict[str, Folder] = {}
    trust: dict[bytes, bytes] = {}
    for folder, row in snapshot.folders.items():
        here = f"{snapshot.root}/{folder}" if folder else snapshot.root
        stats: list[bytes] = []
        column: list[bytes] = []
        for at, name in enumerate(row.split()):
            path = f"{here}/{name}"
            digest = row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
            record = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
            copy = copies.get(path)
            expected = copy.stat if copy is not None else search.loosened.get(path)
            if expected is not None:
                now = pack_stat(os.stat(path))
                record = now if now[:24] == expected else UNTRUSTED
            if copy is not None:
                if copy.digest and algorithm == MD5:
                    digest = copy.digest
                held = store.stat(digest.hex()) if digest != UNKNOWN else None
                if held is not None and held[:24] == before[path][:24]:
                    trust[digest] = held
            stats.append(record if digest != UNKNOWN else UNTRUSTED)
            column.append(digest)
        folders[folder] = Folder(row.names, b"".join(stats), b"".join(column))
    now_ns = time.time_ns()
    changed = {path for path, row in folders.items() if row.stats != snapshot.folders[path].stats}
    done = snapshot._replace(folders=folders, changed=changed, times=(now_ns, now_ns))
    remember(done, index=repository.index)
    repository.trust(store).add([digest + record for digest, record in trust.items()])

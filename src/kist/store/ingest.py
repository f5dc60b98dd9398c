"""Takes workspace files into a store: hash, make durable, publish, look again; many files at a time, by processes.

An object never holds other bytes than its name says, even when files change while they are read: what is linked is
compared with what was hashed after everything is in place, and taken back if it differs (rules R1, R2, R5).
Not here: which files, and what is written about them. Implements docs/spec/store.md.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.listing import RACY_NS, STAT_SIZE, UNTRUSTED, pack_stat, settle, unpack_stat
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.errors import KistError
from kist.formats.records import MD5
from kist.store import links
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging

DIGEST_SIZE = 16
EMPTY_DIGEST = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
_REQUEST_FILES = 512
_REQUEST_BYTES = 32 << 20
_FORK_FILES = 600
_FORK_BYTES = 24 << 20


class FileChangedError(KistError):
    """A file changed while it was read, each time it was tried. Nothing was stored under a wrong name; try again."""

    code = "file-changed"
    http_status = 409


class FileBatch(NamedTuple):
    """Some files of one folder.

    Attributes:
        folder: absolute path.
        names: file names joined by NUL; not empty.
        stats: one packed stat record a name, taken before reading.
        digests: what is known already (16 bytes a name), or empty.
    """

    folder: str
    names: str
    stats: bytes
    digests: bytes = b""


class Stored(NamedTuple):
    """What became of a batch: columns in the order of its names.

    Attributes:
        digests: 16 bytes a file.
        stats: stat records after everything; UNTRUSTED for a file that changed meanwhile.
        objects: stat records of the files' objects, which hold what their names say; equal to `stats` where the file is
            the object itself.
        changed: names of files whose content changed while they were stored; not stored.
    """

    digests: bytes
    stats: bytes
    objects: bytes
    changed: tuple[str, ...] = ()


_COPIED, _MADE, _WAS = 0, 1, 2
"""What a file is to its object: apart from it; the object itself, by this command; the object itself, before."""


class _Unit(NamedTuple):
    """One worker's request: batches [first, last)."""

    first: int
    last: int


def hash_batches(
    batches: Sequence[FileBatch],
    *,
    algorithm: str = MD5,
    workers: int,
    progress: Progress,
    phase: str = "Hashing",
) -> list[bytes]:
    """Returns a column of digests a batch, 16 bytes a file.

    Raises:
        OSError: a file cannot be read; `filename` names it.
    """
    job = _Job(batches, None, links.COPY, "", algorithm)
    units, files, size = _units(batches)
    count = _worker_count(workers, files, size)
    with progress.phase(phase, files, size) as shown:
        requests = [("hash", *unit) for unit in units]
        answers = parallel.run_requests(job.handle, requests, workers=count, on_progress=shown.advance)
    return [column for answer in answers for column in answer]


def store_batches(
    batches: Sequence[FileBatch],
    store: LooseStore,
    *,
    link: str,
    workers: int,
    progress: Progress,
    put_off: bool = False,
) -> list[Stored]:
    """Stores files and returns what they became; objects are durable under their names when it returns.

    Args:
        put_off: of a few copies their content alone is durable; the caller makes the names durable before it writes
            them anywhere (`sync_folders`). And there is no wait for the clock: stat records that are taken now may
            hide a change that comes within its grain.
        link: HARDLINK or SYMLINK: the user's file itself becomes the object (or a link to it), read-only;
            REFLINK or COPY: the object is a copy, and the file stays as it is.

    Raises:
        OSError: a file cannot be read, or the store cannot be written; nothing half-made stays.

    Holds: before and after, each user file has its content; a kill leaves at most a staging folder and unneeded,
        intact objects.
    """
    if not batches:
        return []
    staging = store.new_staging()
    try:
        job = _Job(batches, store, link, staging, MD5)
        units, files, size = _units(batches)
        count = _worker_count(workers, files, size)
        requests = [("hash", *unit) for unit in units]
        if count <= 1 or not parallel.can_fork():
            return _run(job, units, requests, None, files, size, progress, put_off=put_off)
        with parallel.Workers(job.handle, count) as pool:
            return _run(job, units, requests, pool, files, size, progress, put_off=put_off)
    finally:
        remove_staging(staging)


def _run(
    job: _Job,
    units: list[_Unit],
    requests: list[tuple[Any, ...]],
    pool: parallel.Workers | None,
    files: int,
    size: int,
    progress: Progress,
    *,
    put_off: bool,
) -> list[Stored]:
    store = job.store
    assert store is not None

    def work(name: str, asked: list[tuple[Any, ...]], total: int) -> list[Any]:
        with progress.phase(name, files, total) as shown:
            if pool is not None:
                return pool.map(asked, on_progress=shown.advance)
            return [job.handle(request, shown.advance) for request in asked]

    hashed = work("Hashing", requests, size)
    columns = [column for answer in hashed for column in answer]
    # What is linked under a final name must not be lost by a power cut: content first, names after.
    is_small = files <= atomic.SYNC_EACH_LIMIT
    put_off = put_off and is_small and job.link in (links.COPY, links.REFLINK)
    content = job.content_paths(columns) if is_small else []
    if not (is_small or atomic.sync_file_system(store.base)):
        content = job.content_paths(columns)
    for path in content:
        atomic.sync_file(path)
    store.make_prefixes(
        {column[at : at + 1].hex() for column in columns for at in range(0, len(column), DIGEST_SIZE)}
    )
    publish = [("publish", *unit, columns[unit.first : unit.last]) for unit in units]
    published = [ties for answer in work("Storing", publish, 0) for ties in answer]
    if not put_off:
        settle()
    asked = [
        ("check", *unit, columns[unit.first : unit.last], published[unit.first : unit.last]) for unit in units
    ]
    prefixes = {column[at : at + 1].hex() for column in columns for at in range(0, len(column), DIGEST_SIZE)}

    def flush() -> None:
        if not put_off and (is_small or not atomic.sync_file_system(store.base)):
            store.sync_folders(prefixes)

    # The check usually finds nothing to take back, so the system need not wait for it.
    flushing = None if is_small else atomic.Beside(flush)
    try:
        checked = [item for answer in work("Checking", asked, 0) for item in answer]
    finally:
        if flushing is not None:
            flushing.wait()
    if not put_off and (flushing is None or any(changed for _, _, changed in checked)):
        flush()
    return [
        Stored(column, stats, objects, tuple(changed))
        for column, (stats, objects, changed) in zip(columns, checked, strict=True)
    ]


def _units(batches: Sequence[FileBatch]) -> tuple[list[_Unit], int, int]:
    """Returns requests of a fair size, the number of files, and their size in bytes."""
    units: list[_Unit] = []
    first = unit_files = unit_size = files = size = 0
    for at, batch in enumerate(batches):
        unit_files += len(batch.stats) // STAT_SIZE
        unit_size += sum(
            unpack_stat(batch.stats[i : i + STAT_SIZE])[1] for i in range(0, len(batch.stats), STAT_SIZE)
        )
        if unit_files >= _REQUEST_FILES or unit_size >= _REQUEST_BYTES or at == len(batches) - 1:
            units.append(_Unit(first, at + 1))
            files += unit_files
            size += unit_size
            first, unit_files, unit_size = at + 1, 0, 0
    return units, files, size


def split_batches(folder: str, names: Sequence[str], stats: Sequence[bytes]) -> list[FileBatch]:
    """Returns batches for files of one folder, small enough that workers share them evenly."""
    batches: list[FileBatch] = []
    first = size = 0
    for at in range(len(names)):
        size += unpack_stat(stats[at])[1]
        if at + 1 - first >= _REQUEST_FILES or size >= _REQUEST_BYTES or at == len(names) - 1:
            batches.append(
                FileBatch(folder, "\0".join(names[first : at + 1]), b"".join(stats[first : at + 1]))
            )
            first, size = at + 1, 0
    return batches


def _worker_count(workers: int, files: int, size_bytes: int) -> int:
    return workers if files >= _FORK_FILES or size_bytes >= _FORK_BYTES else 1


class _Job:
    """The work of one process; made before the fork, so that requests are only numbers and digests."""

    def __init__(
        self, batches: Sequence[FileBatch], store: LooseStore | None, link: str, staging: str, algorithm: str
    ) -> None:
        self.batches = batches
        self.store = store
        self.link = link
        self.staging = staging
        self.algorithm = algorithm
        # A file written just before may be written again without a visible trace: it is read twice.
        self.started_ns = time.time_ns()

    def handle(self, request: Any, emit: Emit) -> Any:
        """Does ("hash" | "publish" | "check", first, last, ...)."""
        kind, first, last = request[:3]
        if kind == "hash":
            return [self._hash(at, emit) for at in range(first, last)]
        if kind == "publish":
            return [self._publish(at, request[3][at - first], emit) for at in range(first, last)]
        return [
            self._check(at, request[3][at - first], request[4][at - first], emit) for at in range(first, last)
        ]

    def content_paths(self, columns: Sequence[bytes]) -> list[str]:
        """Returns the files whose content must be durable before objects get their names."""
        paths = []
        for at, batch in enumerate(self.batches):
            for k, name in enumerate(batch.names.split("\0")):
                staged = self._staged(at, k)
                paths.append(staged if os.path.exists(staged) else os.path.join(batch.folder, name))
        return paths

    def _staged(self, at: int, k: int) -> str:
        return f"{self.staging}/{at}-{k}"

    def _hash(self, at: int, emit: Emit) -> bytes:
        batch = self.batches[at]
        column = bytearray()
        copies = self.store is not None and self.link in (links.COPY, links.REFLINK)
        done = size = 0

        def report(part: int) -> None:
            nonlocal size
            emit(0, part)
            size -= part  # of the file's size, which is added once it is read

        with digests.QuickFolder(batch.folder) as folder:
            for k, name in enumerate(batch.names.split("\0")):
                path = f"{batch.folder}/{name}"
                expected = unpack_stat(batch.stats[k * STAT_SIZE : (k + 1) * STAT_SIZE])[1]
                if copies:
                    column += self._hash_and_copy(path, self._staged(at, k), report)
                elif self.algorithm == MD5:
                    column += folder.md5(name, expected) or digests.read_md5(path, expected, report=report)[0]
                else:
                    column += digests.read_legacy_md5(path)[0]
                done += 1
                size += expected
                if size >= 4 << 20:
                    emit(done, size)
                    done = size = 0
        emit(done, size)
        return bytes(column)

    def _hash_and_copy(self, path: str, staged: str, report: Callable[[int], None]) -> bytes:
        """Returns the digest of a copy that is made in the same pass, so that it fits the bytes that are stored."""
        import hashlib  # the reading commands hash in `digests`

        reader = digests.open_regular(path)
        try:
            writer = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                source = reader
                is_clone = self.link == links.REFLINK and links.clone(reader, writer)
                if is_clone:
                    source = writer
                digest = hashlib.md5(usedforsecurity=False)
                untold = 0
                while block := digests.read_block(source, path):
                    digest.update(block)
                    if not is_clone:
                        atomic.write_all(writer, block)
                    untold += len(block)
                    if untold >= digests.REPORT_SIZE:
                        report(untold)
                        untold = 0
                os.fchmod(writer, OBJECT_MODE)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        result = digest.digest()
        assert self.store is not None
        if _same_object(self.store.path(result.hex()), staged, result):
            os.unlink(staged)
        return result

    def _publish(self, at: int, column: bytes, emit: Emit) -> tuple[bytes, bytes]:
        """Puts objects under their names.

        Returns: what each file is to its object (a byte a file), and its stat record as it is to be found by the check.
        """
        batch = self.batches[at]
        assert self.store is not None
        root = self.store.root
        ties, looks = bytearray(), bytearray()
        digits = column.hex()
        for k, name in enumerate(batch.names.split("\0")):
            target = f"{root}/{digits[k * 32 : k * 32 + 2]}/{digits[k * 32 + 2 : k * 32 + 32]}"
            path = f"{batch.folder}/{name}"
            look = batch.stats[k * STAT_SIZE : (k + 1) * STAT_SIZE]
            tie = _COPIED
            if self.link in (links.COPY, links.REFLINK):
                _rename_if_there(self._staged(at, k), target)
            else:
                digest = column[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE]
                if digest == EMPTY_DIGEST:  # nothing to share, as DVC has it
                    self._publish_copy(path, target, digest, self._staged(at, k))
                else:
                    tie = self._publish_link(path, target, digest, self._staged(at, k), look)
                    look = pack_stat(os.stat(target)) if tie != _COPIED else look
            ties.append(tie)
            looks += look
        emit(len(ties), 0)
        return bytes(ties), bytes(looks)

    def _publish_link(self, path: str, target: str, digest: bytes, staged: str, before: bytes) -> int:
        """Args: before: how the file looked when it was hashed; a link would hide in its ctime that it was written."""
        status = os.lstat(path)
        if pack_stat(status) != before:  # a symbolic link too: its record is that of what it leads to
            return self._publish_copy(path, target, digest, staged)
        try:
            os.link(path, target, follow_symlinks=False)
        except FileExistsError:
            return self._meet_existing(path, target, digest, staged)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP):
                raise
            return self._publish_copy(path, target, digest, staged)
        try:
            os.chmod(target, OBJECT_MODE)
        except PermissionError:  # somebody else's file: the cache needs an object of its own
            os.unlink(target)
            return self._publish_copy(path, target, digest, staged)
        return _MADE

    def _publish_copy(self, path: str, target: str, digest: bytes, staged: str) -> int:
        if self._hash_and_copy(path, staged, lambda part: None) != digest:
            return _COPIED  # changed meanwhile: the check finds it
        if os.path.exists(staged):
            atomic.sync_file(staged)
            os.replace(staged, target)
        return _COPIED

    def _meet_existing(self, path: str, target: str, digest: bytes, staged: str) -> int:
        """Keeps an intact object that is there already; a damaged one is moved aside for the file (R2, R9)."""
        if os.path.samefile(path, target):
            if stat.S_IMODE(os.stat(target).st_mode) != OBJECT_MODE:
                os.chmod(target, OBJECT_MODE)  # a kill may have come between the link and this
            return _WAS
        if _same_object(target, path, digest):
            return _COPIED
        assert self.store is not None
        self.store.quarantine(digest.hex())  # through another link it may be what somebody wrote
        os.link(path, staged, follow_symlinks=False)
        os.chmod(staged, OBJECT_MODE)
        os.replace(staged, target)
        return _MADE

    def _check(
        self, at: int, column: bytes, published: tuple[bytes, bytes], emit: Emit
    ) -> tuple[bytes, bytes, list[str]]:
        """Compares each file with what was hashed; takes back objects that were linked to changed files."""
        batch = self.batches[at]
        assert self.store is not None
        root = self.store.root
        ties, looks = published
        stats, objects = bytearray(), bytearray()
        changed: list[str] = []
        digits = column.hex()
        for k, name in enumerate(batch.names.split("\0")):
            target = f"{root}/{digits[k * 32 : k * 32 + 2]}/{digits[k * 32 + 2 : k * 32 + 32]}"
            now = _look(f"{batch.folder}/{name}")
            before = batch.stats[k * STAT_SIZE : (k + 1) * STAT_SIZE]
            is_hot = unpack_stat(before)[3] > self.started_ns - RACY_NS
            if now[:24] == before[:24] and (
                (now == looks[k * STAT_SIZE : (k + 1) * STAT_SIZE] and not is_hot)
                or digests.read_md5(f"{batch.folder}/{name}", unpack_stat(now)[1])[0]
                == column[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE]
            ):
                stats += now
                objects += now if ties[k] != _COPIED else _look(target)
                continue
            changed.append(name)
            stats += UNTRUSTED
            objects += UNTRUSTED
            if ties[k] == _MADE:
                atomic.remove_quietly(target)
        emit(len(ties), 0)
        return bytes(stats), bytes(objects), changed


def _look(path: str) -> bytes:
    try:
        return pack_stat(os.stat(path))
    except FileNotFoundError:
        return UNTRUSTED


def _rename_if_there(staged: str, target: str) -> None:
    try:
        os.replace(staged, target)
    except FileNotFoundError:
        pass  # the store had it


def _same_object(target: str, other: str, digest: bytes) -> bool:
    """Says whether an intact object with this digest stands at `target`; a look at the size spares most reading."""
    try:
        if os.stat(target).st_size != os.stat(other).st_size:
            return False
        return digests.read_md5(target)[0] == digest
    except FileNotFoundError:
        return False

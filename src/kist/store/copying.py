"""Moves objects between two stores on mounted file systems: read, hash, write, make durable, publish, look again.

Every byte is hashed on the way; what does not fit its name is not published. Used for pushing to and fetching from
folders. Not here: which objects are wanted, and the order of manifests (transfer). Implements docs/spec/store.md.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.listing import pack_stat, settle, unpack_stat
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.formats.records import MD5
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging

if TYPE_CHECKING:
    from kist.base.limiter import Limiter

_REQUEST_FILES = 256
_FORK_FILES = 400
_PUBLISH_EVERY = 20_000
"""Objects that are made durable and published together: bounds what an interruption costs."""


class CopyOutcome(NamedTuple):
    """What became of the objects that were asked for.

    Attributes:
        copied: ids, in no order.
        missing: ids that the source lacks.
        corrupt: ids whose bytes in the source do not match.
        records: digest and stat record (48 bytes) of each copied plain object, for the target's trust.
        size_bytes: bytes copied.
    """

    copied: list[str]
    missing: list[str]
    corrupt: list[str]
    records: list[bytes]
    size_bytes: int


def copy_objects(
    oids: Iterable[str],
    source: LooseStore,
    target: LooseStore,
    *,
    workers: int,
    progress: Progress,
    phase: str,
    size_bytes: int | None = None,
    limiter: Limiter | None = None,
) -> CopyOutcome:
    """Copies objects; those that the target has already are replaced, so ask only for missing or damaged ones.

    Args: limiter: how fast bytes may travel; then all is done in this process, which knows what it has spent.

    Raises:
        OSError: the source cannot be read or the target not written (no space, no permission); what was published
            before stays, and is right.

    Holds: an object under its name in the target is complete and durable; a kill leaves at most a staging folder.
    """
    asked = list(oids)
    outcome = CopyOutcome([], [], [], [], 0)
    if not asked:
        return outcome
    asked.sort()
    if size_bytes is None and len(asked) < _FORK_FILES:  # many take all workers anyway
        size_bytes = sum(unpack_stat(record)[1] for oid in asked if (record := source.stat(oid)) is not None)
    staging = target.new_staging()
    try:
        target.make_prefixes({oid[:2] for oid in asked})
        job = _Job(source, target, staging, limiter)
        count = (
            workers
            if limiter is None and (len(asked) >= _FORK_FILES or (size_bytes or 0) > (24 << 20))
            else 1
        )
        with progress.phase(phase, len(asked), size_bytes) as shown:
            if count <= 1 or not parallel.can_fork():
                _run(job, asked, None, shown.advance, outcome, 1)
            else:
                with parallel.Workers(job.handle, count) as pool:
                    _run(job, asked, pool, shown.advance, outcome, count)
    finally:
        remove_staging(staging)
    return outcome._replace(size_bytes=job.total)


def _run(
    job: _Job,
    asked: list[str],
    pool: parallel.Workers | None,
    advance: Emit,
    outcome: CopyOutcome,
    count: int,
) -> None:
    def work(requests: Sequence[Any]) -> list[Any]:
        if pool is not None:
            return pool.map(requests, on_progress=advance)
        return [job.handle(request, advance) for request in requests]

    for start in range(0, len(asked), _PUBLISH_EVERY):
        part = asked[start : start + _PUBLISH_EVERY]
        # Few large objects are shared out one by one, many small ones in groups.
        step = max(1, min(_REQUEST_FILES, len(part) // (4 * count)))
        groups = [part[at : at + step] for at in range(0, len(part), step)]
        copied: list[list[str]] = []
        for group, (states, size) in zip(groups, work([("copy", *group) for group in groups]), strict=True):
            copied.append([oid for oid, state in zip(group, states, strict=True) if state == _COPIED])
            outcome.missing.extend(oid for oid, state in zip(group, states, strict=True) if state == _MISSING)
            outcome.corrupt.extend(oid for oid, state in zip(group, states, strict=True) if state == _CORRUPT)
            job.total += size
        done = [oid for group in copied for oid in group]
        atomic.sync_many([f"{job.staging}/{oid}" for oid in done], (), root=job.target.base)
        work([("publish", *group) for group in copied if group])
        settle()
        for records in work([("check", *group) for group in copied if group]):
            outcome.records.extend(records)
        if len(done) <= atomic.SYNC_EACH_LIMIT or not atomic.sync_file_system(job.target.base):
            job.target.sync_folders({oid[:2] for oid in done})
        outcome.copied.extend(done)


_COPIED, _MISSING, _CORRUPT = 0, 1, 2


class _Job:
    """The work of one process."""

    def __init__(self, source: LooseStore, target: LooseStore, staging: str, limiter: Limiter | None) -> None:
        self.source = source
        self.target = target
        self.staging = staging
        self.limiter = limiter
        self.total = 0

    def handle(self, request: Any, emit: Emit) -> Any:
        """Does ("copy" | "publish" | "check", oid, ...)."""
        kind, *oids = request
        if kind == "copy":
            return self._copy_group(oids, emit)
        if kind == "publish":
            for oid in oids:
                os.replace(f"{self.staging}/{oid}", self.target.path(oid))
            return None
        return [
            bytes.fromhex(oid[:32]) + pack_stat(os.stat(self.target.path(oid)))
            for oid in oids
            if not oid.endswith(".dir")
        ]

    def _copy_group(self, oids: list[str], emit: Emit) -> tuple[bytes, int]:
        states = bytearray()
        total = done = size = 0

        def report(part: int) -> None:
            nonlocal size
            emit(0, part)
            size -= part  # of the object's size, which is added once it is copied

        for oid in oids:
            state, copied = self._copy(oid, report)
            states.append(state)
            total += copied
            done += 1
            size += copied
            if size >= 4 << 20:
                emit(done, size)
                done = size = 0
        emit(done, size)
        return bytes(states), total

    def _copy(self, oid: str, report: Callable[[int], None]) -> tuple[int, int]:
        path = self.source.path(oid)
        try:
            reader = digests.open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING, 0
        except OSError as error:
            if error.errno == errno.EINVAL:
                return _CORRUPT, 0
            raise
        staged = f"{self.staging}/{oid}"
        try:
            writer = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OBJECT_MODE)
            try:
                is_right, size = self._pour(reader, writer, oid, report)
                os.fchmod(writer, OBJECT_MODE)  # whatever the umask: a shared cache is for others too
            except OSError as error:
                raise OSError(error.errno, error.strerror, error.filename or staged) from error
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        if not is_right:
            os.unlink(staged)
            return _CORRUPT, 0
        return _COPIED, size

    def _pour(self, reader: int, writer: int, oid: str, report: Callable[[int], None]) -> tuple[bool, int]:
        digest = hashlib.md5(usedforsecurity=False)
        total = told = 0
        while block := digests.read_block(reader, self.source.path(oid)):
            if self.limiter is not None:
                self.limiter.spend(len(block))
            digest.update(block)
            atomic.write_all(writer, block)
            total += len(block)
            if total - told >= digests.REPORT_SIZE:
                report(total - told)
                told = total
        if self.source.algorithm == MD5 or oid.endswith(".dir"):
            return digest.hexdigest() == oid[:32], total
        once, each = digests.read_legacy_md5(self.source.path(oid))
        return bytes.fromhex(oid[:32]) in (once, each), total

"""Moves objects between two stores on mounted file systems: read, hash, write, make durable, publish, look again.

Every byte is hashed on the way; what does not fit its name is not published. Used for pushing to and fetching from
folders. Not here: which objects are wanted, and the order of manifests (transfer). Implements docs/spec/store.md.
"""

from __future__ import annotations

import collections
import errno
import functools
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.listing import pack_stat, settle, unpack_stat
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.errors import KistError
from kist.formats.records import MD5
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging

if TYPE_CHECKING:
    from kist.base.limiter import Limiter

_REQUEST_FILES = 256
_FORK_FILES = 400
_PART_FILES = 10_000
"""Objects that are made durable and published together: an interruption costs three such parts at most."""


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
        target.make_folder(target.root)
        job = _Job(source, target, staging, limiter)
        count = (
            workers
            if limiter is None and (len(asked) >= _FORK_FILES or (size_bytes or 0) > (24 << 20))
            else 1
        )
        with progress.phase(phase, len(asked), size_bytes) as shown:
            if count <= 1 or not parallel.can_fork():
                _Line(job, None, 1, shown.advance, outcome).run(asked)
            else:
                with parallel.Workers(job.handle, count) as pool:
                    _Line(job, pool, count, shown.advance, outcome).run(asked)
    finally:
        remove_staging(staging)
    return outcome._replace(size_bytes=job.total)


_Request = tuple[str | int, ...]
"""("copy" | "publish" | "check", number of the part, object id, ...)."""


class _Part:
    """Some objects on their way: copied, made durable, published, looked at while their names are made durable."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.oids: list[str] = []

    def requests(self, kind: str, oids: Sequence[str], step: int) -> list[_Request]:
        """Returns requests about so many objects each; in one about publishing are all those of a prefix."""
        if kind != "publish":
            return [(kind, self.number, *oids[at : at + step]) for at in range(0, len(oids), step)]
        by_prefix = itertools.groupby(oids, key=lambda oid: oid[:2])
        return [(kind, self.number, *group) for _, group in by_prefix]


class _Line:
    """Takes parts through their stages, all at once: while the system makes one durable, others are worked on."""

    def __init__(
        self, job: _Job, pool: parallel.Workers | None, count: int, advance: Emit, outcome: CopyOutcome
    ) -> None:
        self._job = job
        self._pool = pool
        self._count = count
        self._advance = advance
        self._outcome = outcome

    def run(self, asked: list[str]) -> None:
        """Takes all objects, in order of their ids, from the source to the target.

        Raises: OSError, KistError: then what was copied before was taken to its end.
        """
        starts = range(0, len(asked), _PART_FILES)
        waiting = collections.deque(
            (number, asked[start : start + _PART_FILES]) for number, start in enumerate(starts)
        )
        failure: Exception | None = None
        staged = durable = published = _Part(-1)
        while waiting or staged.oids or durable.oids or published.oids:
            os.utime(self._job.staging)  # still in use, for whoever looks for what was left behind
            number, wanted = waiting.popleft() if waiting else (-1, [])
            copied = _Part(number)
            flush = self._flush(staged, published, is_alone=not (wanted or durable.oids))
            try:
                self._work(copied, wanted, durable, published)
            except (OSError, KistError) as error:
                if failure is not None:
                    raise
                failure = error
                self._stop()
                waiting.clear()
                copied = _Part(-1)
                self._work(copied, [], durable, published)
            finally:
                flush()
            self._outcome.copied.extend(published.oids)
            staged, durable, published = copied, staged, durable
        if failure is not None:
            raise failure

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.kill()
            self._pool = None

    def _flush(self, staged: _Part, published: _Part, *, is_alone: bool) -> Callable[[], None]:
        """Makes the content of staged objects durable, and the names of published ones; returns what waits for it."""
        make_durable = functools.partial(self._job.make_durable, staged.number, staged.oids, published.oids)
        if len(staged.oids) + len(published.oids) > atomic.SYNC_EACH_LIMIT and not is_alone:
            return atomic.Beside(make_durable).wait
        make_durable()
        return _nothing

    def _work(self, copied: _Part, wanted: list[str], durable: _Part, published: _Part) -> None:
        """Copies what is wanted, publishes what is durable, looks at what is published."""
        # Few large objects are shared out one by one, many small ones in groups.
        step = max(1, min(_REQUEST_FILES, len(wanted) // (4 * self._count)))
        # In turn, for two processes that publish at once wait for each other.
        mixed = itertools.zip_longest(
            copied.requests("copy", wanted, step), durable.requests("publish", durable.oids, 0)
        )
        requests = [request for both in mixed for request in both if request is not None]
        if published.oids and len(wanted) < _PART_FILES:
            settle()  # not needed where much is copied before the look at what was published just now
        requests += published.requests("check", published.oids, _REQUEST_FILES)
        for (kind, _, *oids), answer in zip(requests, self._answers(requests), strict=True):
            if kind == "check":
                self._outcome.records.extend(answer)
            elif kind == "copy":
                states, size = answer
                self._job.total += size
                for found, state in (
                    (copied.oids, _COPIED),
                    (self._outcome.missing, _MISSING),
                    (self._outcome.corrupt, _CORRUPT),
                ):
                    found.extend(str(oid) for oid, its in zip(oids, states, strict=True) if its == state)

    def _answers(self, requests: Sequence[_Request]) -> list[Any]:
        if self._pool is not None:
            return self._pool.map(requests, on_progress=self._advance)
        return [self._job.handle(request, self._advance) for request in requests]


def _nothing() -> None:
    """Waits for nothing."""


_COPIED, _MISSING, _CORRUPT = 0, 1, 2


class _Job:
    """The work of one process."""

    def __init__(self, source: LooseStore, target: LooseStore, staging: str, limiter: Limiter | None) -> None:
        self.source = source
        self.target = target
        self.staging = staging
        self.limiter = limiter
        self.total = 0
        self._needs_mode: bool | None = None
        self._has_group: bool | None = None

    def make_durable(self, part: int, staged: Sequence[str], published: Sequence[str]) -> None:
        """Makes the content of the staged objects of a part durable, and the names of published ones."""
        if len(staged) + len(published) > atomic.SYNC_EACH_LIMIT and atomic.sync_file_system(
            self.target.base
        ):
            return
        for oid in staged:
            atomic.sync_file(f"{self._folder(part, oid)}/{oid[2:]}")
        if published:
            self.target.sync_folders({oid[:2] for oid in published})

    def _folder(self, part: int, oid: str) -> str:
        """Returns the folder of an unfinished object; where the target lacks the prefix, it goes there as a whole."""
        return f"{self.staging}/{part}-{oid[:2]}"

    def handle(self, request: Any, emit: Emit) -> Any:
        """Does a `_Request`."""
        kind, part, *oids = request
        if kind == "copy":
            return self._copy_group(part, oids, emit)
        if kind == "publish":
            return self._publish(part, oids)
        return [
            bytes.fromhex(oid[:32]) + pack_stat(os.stat(self.target.path(oid)))
            for oid in oids
            if not oid.endswith(".dir")
        ]

    def _publish(self, part: int, oids: Sequence[str]) -> None:
        """Gives durable objects of one prefix their names."""
        folder, target = self._folder(part, oids[0]), f"{self.target.root}/{oids[0][:2]}"
        if not os.path.isdir(target):
            if self._may_move(folder):
                try:
                    os.rename(folder, target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                else:
                    return
            self.target.make_folder(target)
        for oid in oids:
            try:
                os.replace(f"{folder}/{oid[2:]}", f"{target}/{oid[2:]}")
            except FileNotFoundError:
                # A process that was stopped may have done it; or what is there is the damaged one to be replaced.
                if not self.target.is_intact(oid):
                    raise

    def _may_move(self, folder: str) -> bool:
        """Says whether a folder has the group that one made in the root would have, and hands it down in turn."""
        if self._has_group is None:
            above, made = os.stat(self.target.root), os.stat(folder)  # the same for all prefixes
            self._has_group = not above.st_mode & stat.S_ISGID or (
                made.st_gid == above.st_gid and bool(made.st_mode & stat.S_ISGID)
            )
        return self._has_group

    def _copy_group(self, part: int, oids: list[str], emit: Emit) -> tuple[bytes, int]:
        for folder in dict.fromkeys(self._folder(part, oid) for oid in oids):
            self.target.make_folder(folder)
        states = bytearray()
        total = done = size = 0

        def report(part: int) -> None:
            nonlocal size
            emit(0, part)
            size -= part  # of the object's size, which is added once it is copied

        for oid in oids:
            state, copied = self._copy(oid, f"{self._folder(part, oid)}/{oid[2:]}", report)
            states.append(state)
            total += copied
            done += 1
            size += copied
            if size >= 4 << 20:
                emit(done, size)
                done = size = 0
        emit(done, size)
        return bytes(states), total

    def _copy(self, oid: str, staged: str, report: Callable[[int], None]) -> tuple[int, int]:
        path = self.source.path(oid)
        try:
            reader, size = digests.open_sized(path)
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING, 0
        except OSError as error:
            if error.errno == errno.EINVAL:
                return _CORRUPT, 0
            raise
        try:
            writer = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OBJECT_MODE)
            try:
                is_right, size = self._pour(reader, writer, oid, size, report)
                self._protect(writer)
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

    def _protect(self, writer: int) -> None:
        """Gives a new object its mode, whatever the umask: a shared cache is for others too."""
        if self._needs_mode is None:
            self._needs_mode = (
                os.fstat(writer).st_mode & 0o777 != OBJECT_MODE
            )  # the same for all in one folder
        if self._needs_mode:
            os.fchmod(writer, OBJECT_MODE)

    def _pour(
        self, reader: int, writer: int, oid: str, size: int, report: Callable[[int], None]
    ) -> tuple[bool, int]:
        """Copies an open object; `size` is what it is expected to have. Returns whether it is right, and its size."""
        digest = hashlib.md5(usedforsecurity=False)
        path = self.source.path(oid)
        total = told = 0
        # One byte more than there should be: a short answer is the end, and spares a call for each small file.
        wanted = min(digests.BLOCK_SIZE, size + 1)
        while block := digests.read_block(reader, path, wanted):
            if self.limiter is not None:
                self.limiter.spend(len(block))
            digest.update(block)
            atomic.write_all(writer, block)
            total += len(block)
            if total - told >= digests.REPORT_SIZE:
                report(total - told)
                told = total
            if total == size and len(block) < wanted:
                break
            wanted = digests.BLOCK_SIZE
        if self.source.algorithm == MD5 or oid.endswith(".dir"):
            return digest.hexdigest() == oid[:32], total
        once, each = digests.read_legacy_md5(self.source.path(oid))
        return bytes.fromhex(oid[:32]) in (once, each), total

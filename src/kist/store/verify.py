"""Reads the objects of a store and says which are not what their names say; goes on where an earlier run stopped.

Not here: what is done about damage (repo.fsck), objects at a service (transfer.verify). Implements docs/spec/fsck.md.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import digests, parallel
from kist.base.listing import STAT_SIZE, list_directory, unpack_stat, without_racy
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.formats.records import MD5
from kist.store.loose import LooseStore, is_oid
from kist.store.statindex import DIGEST_SIZE, FolderRow, StatIndex
from kist.store.trust import Trust

if TYPE_CHECKING:
    from kist.base.limiter import Limiter

CORRUPT, MISSING, UNREADABLE = "corrupt", "missing", "unreadable"
GO_ON_S = 24 * 3600
"""How long after its start an interrupted run may be continued."""
_LARGE_BYTES = 64 << 20
"""Larger objects are shared out one by one."""
_ROUND = 16
"""Prefix folders after which is noted what was read."""
_FORK_OBJECTS = 600


class Sample(NamedTuple):
    """Which part is read: `share` of the objects, chosen by `seed`."""

    share: float
    seed: int = 0


class Verdict(NamedTuple):
    """What reading a place found.

    Attributes:
        objects, size_bytes: what was looked at, and how large that is.
        known: of `objects`, those that an earlier run had read.
        bad: id -> CORRUPT or UNREADABLE.
        manifests: ids of the sound manifests among them.
    """

    objects: int
    size_bytes: int
    known: int
    bad: dict[str, str]
    manifests: list[str]


def is_failure_of_disk(error: OSError) -> bool:
    """Says whether an error is one of the bytes themselves, and no want of permission or memory."""
    return error.errno in (errno.EIO, errno.EINVAL, errno.EISDIR, errno.ELOOP, getattr(errno, "EBADMSG", -1))


def run_start(index: StatIndex, space: str, *, restart: bool) -> str:
    """Returns what a run calls itself: the start of an interrupted one that it goes on with, or now."""
    row = index.folder(space, "run")
    now = time.time()
    if not restart and row is not None and row.names.isdigit() and now - GO_ON_S < int(row.names) <= now:
        return row.names
    forget_run(index, space)
    begun = str(int(now))
    index.save(space, [("run", FolderRow(begun, b"", b""))])
    index.flush()
    return begun


def forget_run(index: StatIndex, space: str) -> None:
    """Removes the notes of a run that is over."""
    index.save(space, (), gone=list(index.folders(space, "")))
    index.flush()


def verify_store(
    store: LooseStore,
    index: StatIndex,
    *,
    workers: int,
    progress: Progress,
    phase: str,
    sample: Sample | None = None,
    restart: bool = False,
    limiter: Limiter | None = None,
) -> Verdict:
    """Reads objects of a store; what was sound is trusted afterwards.

    Args: limiter: how fast they may be read; then all is done in this process, which knows what it has spent.

    Raises:
        OSError: a folder cannot be listed.
    """
    prefixes = store.prefixes()
    space = f"fsck:{store.root}"
    trust = Trust(index, store)
    begun = run_start(index, space, restart=restart) if sample is None and prefixes else ""
    noted = {path for path, row in index.folders(space, "").items() if row.names == begun} if begun else set()
    known = {prefix: row for prefix in noted if (row := trust.row(prefix)) is not None}
    job = _Job(store, known, sample)
    first = len(os.listdir(f"{store.root}/{prefixes[0]}")) if prefixes else 0
    estimate = first * len(prefixes)
    count = workers if estimate >= _FORK_OBJECTS and limiter is None else 1
    found = _Findings(store, trust, index, space, begun)
    with progress.phase(phase, None, None) as shown:
        if count <= 1 or not parallel.can_fork():

            def advance(files: int, size_bytes: int) -> None:
                if limiter is not None:
                    limiter.spend(size_bytes)
                shown.advance(files, size_bytes)

            for each in (found.ask_folders(prefixes), found.ask_large()):
                for request in each:
                    found.note(request, job.handle(request, advance))
        else:
            with parallel.Workers(job.handle, count) as pool:
                for each in (found.ask_folders(prefixes), found.ask_large()):
                    asked = list(each)
                    note = functools.partial(_note, found, asked)
                    pool.map(asked, on_progress=shown.advance, on_answer=note)
        found.flush()
    return Verdict(found.objects, found.size_bytes, found.known, found.bad, sorted(found.manifests))


def end_run(store: LooseStore, index: StatIndex) -> None:
    """Notes that a store was read to its end, and what came of it was told."""
    forget_run(index, f"fsck:{store.root}")


def _note(found: _Findings, asked: list[Any], at: int, answer: Any) -> None:
    found.note(asked[at], answer)


class _Findings:
    """What is asked, and what was found so far."""

    def __init__(self, store: LooseStore, trust: Trust, index: StatIndex, space: str, begun: str) -> None:
        self.objects = self.size_bytes = self.known = 0
        self.bad: dict[str, str] = {}
        self.manifests: list[str] = []
        self._store = store
        self._trust = trust
        self._index = index
        self._space = space
        self._begun = begun
        self._done: list[tuple[str, FolderRow]] = []
        self._unfinished: dict[str, tuple[Any, list[Any]]] = {}

    def ask_folders(self, prefixes: Iterable[str]) -> Iterator[Any]:
        """Yields a request for each prefix folder."""
        return (("folder", prefix) for prefix in prefixes)

    def ask_large(self) -> Iterator[Any]:
        """Yields a request for each large object: they come after all folders, each by itself."""
        for prefix, (answer, _) in list(self._unfinished.items()):
            yield from (("object", prefix, name) for name in answer[5])

    def note(self, request: Any, answer: Any) -> None:
        """Notes an answer; of a folder with large objects, when the last of them is there."""
        prefix = request[1]
        if request[0] == "folder":
            if not answer[5]:
                self._take(prefix, answer, [])
            else:
                self._unfinished[prefix] = (answer, [])
            return
        folder, singles = self._unfinished[prefix]
        singles.append(answer)
        if len(singles) == len(folder[5]):
            self._take(prefix, folder, singles)

    def _take(self, prefix: str, answer: Any, singles: Iterable[Any]) -> None:
        column, stats, bad, manifests, (objects, size, known), _ = answer
        for _, name, digest, record, why in singles:
            size += unpack_stat(record)[1]
            if why:
                bad = [*bad, (name, why)]
            else:
                column += digest
                stats += record
        self.objects += objects
        self.size_bytes += size
        self.known += known
        self.bad.update((prefix + name, why) for name, why in bad)
        self.manifests += [prefix + name for name in manifests]
        gone = [bytes.fromhex(prefix + name) for name, _ in bad if not name.endswith(".dir")]
        if self._begun:
            self._trust.put_row(prefix, FolderRow("", stats, column))
            if not bad:  # damage is looked at again by whoever goes on
                self._done.append((prefix, FolderRow(self._begun, b"", b"")))
        else:
            pieces = [
                column[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
                + stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
                for at in range(len(column) // DIGEST_SIZE)
            ]
            self._trust.add(pieces, gone=gone)
        if len(self._done) >= _ROUND:
            self.flush()

    def flush(self) -> None:
        """Makes what was read known to the next run."""
        self._index.save(self._space, self._done)
        self._done = []
        self._index.flush()


class _Job:
    """Reads prefix folders; made before the fork."""

    def __init__(self, store: LooseStore, known: dict[str, FolderRow], sample: Sample | None) -> None:
        self._store = store
        self._known = known
        self._sample = sample

    def handle(self, request: Any, emit: Emit) -> Any:
        """Does ("folder", prefix) or ("object", prefix, name)."""
        if request[0] != "folder":
            return self._single(request[1], request[2], emit)
        try:
            opened = os.open(f"{self._store.root}/{request[1]}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return b"", b"", [], [], (0, 0, 0), []
        try:
            return self._folder(request[1], opened, emit)
        finally:
            os.close(opened)

    def _folder(self, prefix: str, opened: int, emit: Emit) -> Any:
        """Returns digests and stats of sound files, bad (name, why), sound manifests, sums, and large files.

        Args: opened: the prefix folder's descriptor.
        """
        folder = f"{self._store.root}/{prefix}"
        started = time.time_ns()
        listing = list_directory(folder, follow_links=False)
        names = listing.names.split("\0") if listing.names else []
        records = listing.stats
        chosen = [at for at, name in enumerate(names) if is_oid(prefix + name)]
        odd = [name for name, _ in listing.specials if is_oid(prefix + name)]
        odd += [name for name in listing.folders if is_oid(prefix + name)]
        if self._sample is not None:
            draw = random.Random(f"{self._sample.seed}{prefix}").random
            chosen = [at for at in chosen if draw() < self._sample.share]
        row = self._known.get(prefix)
        before = _records(row) if row is not None else {}
        column, stats = bytearray(), bytearray()
        bad = [(name, CORRUPT) for name in odd]
        manifests: list[str] = []
        large: list[str] = []
        total = known = done = pending = 0
        is_plain = self._store.algorithm == MD5
        for at in chosen:
            name = names[at]
            record = records[at * STAT_SIZE : (at + 1) * STAT_SIZE]
            size = int.from_bytes(record[8:16], "little")
            is_manifest = len(name) > 30
            expected = bytes.fromhex(prefix + name[:30])
            if before.get(expected) == record and not is_manifest:
                known += 1
                total += size
            elif size > _LARGE_BYTES:
                large.append(name)
                continue
            else:
                try:
                    if is_plain or is_manifest:
                        found = digests.quick_md5(opened, name, size)
                        is_right = (found or digests.read_md5(f"{folder}/{name}", size)[0]) == expected
                    else:
                        is_right = expected in digests.read_legacy_md5(f"{folder}/{name}")
                except OSError as error:
                    bad += _why(name, error)
                    continue
                total += size
                done += 1
                pending += size
                if pending >= 4 << 20:
                    emit(done, pending)
                    done = pending = 0
                if not is_right:
                    bad.append((name, CORRUPT))
                    continue
            if is_manifest:
                manifests.append(name)
            else:
                column += expected
                stats += record
        emit(done, pending)
        settled = without_racy(bytes(stats), started, time.time_ns())
        return bytes(column), settled, bad, manifests, (len(chosen) + len(odd), total, known), large

    def _single(self, prefix: str, name: str, emit: Emit) -> Any:
        """Returns prefix, name, digest, stat record, and what is wrong ("" for nothing)."""
        oid = prefix + name
        expected = bytes.fromhex(oid[:32])
        started = time.time_ns()
        record = self._store.stat(oid) or b"\0" * STAT_SIZE
        size = unpack_stat(record)[1]
        try:
            why = "" if self._store.is_intact(oid) else CORRUPT
        except OSError as error:
            why = dict(_why(name, error)).get(name, "")
        emit(1, size)
        return prefix, name, expected, without_racy(record, started, time.time_ns()), why


def _why(name: str, error: OSError) -> list[tuple[str, str]]:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        is_dead_link = os.path.lexists(error.filename or "")
        return [(name, CORRUPT)] if is_dead_link else []  # removed meanwhile
    if is_failure_of_disk(error):
        return [(name, CORRUPT)]
    if error.errno in (errno.EACCES, errno.EPERM):
        return [(name, UNREADABLE)]
    raise error


def _records(row: FolderRow) -> dict[bytes, bytes]:
    return {
        row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]: row.stats[
            at * STAT_SIZE : (at + 1) * STAT_SIZE
        ]
        for at in range(len(row.digests) // DIGEST_SIZE)
    }

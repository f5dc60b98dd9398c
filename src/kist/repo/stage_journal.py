"""What finished stages are to be recorded as: noted at once, and written to `dvc.lock` and elsewhere many at a time.

A kill loses none: whoever takes the repository's lock next writes what was noted, and whoever reads `dvc.lock` reads
it as if it were written. Not here: what is in an entry (stage_entry). Implements docs/spec/repro.md, section 7.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kist.base import atomic
from kist.errors import FormatError
from kist.formats.lockfile import parse_lockfile, stage_text, stage_value
from kist.formats.locktext import LockText
from kist.formats.records import LockedStage
from kist.pipeline.runcache import RunCache
from kist.repo import stage_order
from kist.repo.ignoring import add_lines
from kist.repo.lockfiles import LockFiles, Written
from kist.repo.stage_times import StageTime, keep_times
from kist.store.loose import LooseStore, is_oid

EVERY_S = 0.3
"""So long may what is noted stay unwritten, and longer where writing is slow: up to `_SLOW_S`."""
_SLOW_S = 3.0
_SHARE = 10
"""Writing may take one part in so many of the time."""
FILE = "stages.journal"
_MAX_BYTES = 1 << 28


class Place(NamedTuple):
    """Where things are recorded.

    Attributes:
        root: of the repository, absolute.
        dvc_dir: its `.dvc` folder.
        cache: where objects are.
        runs: the run cache beside them.
    """

    root: str
    dvc_dir: str
    cache: LooseStore
    runs: RunCache

    @property
    def folder(self) -> str:
        """Where notes are kept."""
        return os.path.join(self.dvc_dir, "tmp", "kist")


class Finished(NamedTuple):
    """A stage that is over, as it is noted: one line of the journal.

    Attributes:
        lock: the lock file, relative to the root.
        on: MD5 of its bytes when this was noted; None where there was none.
        name: of the stage in it.
        text: the stage's entry as it is to stand there.
        objects: what has to be in the cache for the entry to be true.
        remembered: the run belongs into the run cache.
        ignored: outputs that need a line of `.gitignore`, relative to the root.
        address: of the stage, relative to the root.
        took: a `StageTime`; None where nothing ran.
    """

    lock: str
    on: str | None
    name: str
    text: str
    objects: tuple[str, ...] = ()
    remembered: bool = False
    ignored: tuple[str, ...] = ()
    address: str = ""
    took: tuple[float, float, float, int] | None = None

    def entry(self) -> LockedStage:
        """Returns the stage's entry.

        Raises: LockfileError, YamlError.
        """
        data = f"schema: '2.0'\nstages:\n{self.text}".encode()
        return parse_lockfile(data, name=self.lock).stages[self.name]


class StageJournal:
    """Notes finished stages of one `repro`, and writes them. The caller holds the repository's lock."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._locks = LockFiles(place.root)
        self._placings: dict[str, stage_order.Placing] = {}
        self._noted: dict[bytes, tuple[Finished, LockedStage]] = {}
        self._was: dict[bytes, LockedStage | None] = {}
        """The entries that stood there when those were noted."""
        self._due_s: float | None = None
        self._every_s = EVERY_S

    def begin(self, orders: Mapping[str, Sequence[str]], *, is_mixed: bool) -> None:
        """Says which stages are to come.

        Args:
            orders: lock file -> its stages, in the order of one at a time.
            is_mixed: they may finish in another order.

        Raises: LockfileError, YamlError, OSError.
        """
        folder = self._place.folder
        if is_mixed or stage_order.read(folder):
            names = {path: self._locks.names(path) for path in orders}
            self._placings = stage_order.begin(folder, names, orders, is_kept=is_mixed)

    def add(
        self,
        lock: str,
        name: str,
        entry: LockedStage,
        *,
        objects: Iterable[str],
        is_remembered: bool,
        ignored: Iterable[str],
        address: str,
        took: StageTime | None,
    ) -> Written:
        """Notes a finished stage, so that no kill loses it; the parameters are as in `Finished`.

        Returns: what becomes of the lock file.

        Raises: LockfileError, YamlError, OSError.
        """
        was = self._locks.entry(lock, name)
        finished = Finished(
            lock,
            _digest(self._locks.on_disk(lock)),
            name,
            stage_text(name, stage_value(entry)),
            tuple(dict.fromkeys(objects)),
            is_remembered,
            tuple(ignored),
            address,
            took,
        )
        line = json.dumps(finished).encode("ascii") + b"\n"
        _append(self._place.folder, line)
        placing = self._placings.get(lock)
        later = placing.later(name) if placing is not None else ()
        written = self._locks.put(lock, name, entry, later=later)
        self._noted[line] = (finished, entry)
        self._was[line] = was
        if self._due_s is None:
            self._due_s = time.monotonic() + self._every_s
        return written

    def due_in(self) -> float | None:
        """Returns in how many seconds `write` is to be called; None where nothing is noted."""
        return None if self._due_s is None else max(0.0, self._due_s - time.monotonic())

    def write(self) -> None:
        """Writes all that is noted, durable when this returns. An entry that somebody else changed since stays.

        Raises: LockfileError, YamlError, OSError.
        """
        if self._noted:
            began_s = time.monotonic()
            _settle(self._place, self._locks, self._placings, self._noted, self._superseded())
            self._every_s = min(max(EVERY_S, _SHARE * (time.monotonic() - began_s)), _SLOW_S)
        self._noted = {}
        self._was = {}
        self._due_s = None

    def _superseded(self) -> set[tuple[str, str]]:
        """Returns lock files and stages of which somebody else, such as a stage's command, recorded more since."""
        return {
            (finished.lock, finished.name)
            for line, (finished, entry) in self._noted.items()
            if self._locks.entry(finished.lock, finished.name) not in (None, entry, self._was[line])
        }

    def end(self) -> None:
        """Writes the rest; all stages that were to come are over, none failed.

        Raises: as `write`.
        """
        self.write()
        if self._placings:
            stage_order.end(self._place.folder)


def settle(place: Place) -> None:
    """Writes what a `repro` noted that was killed, or that waits for commands. The caller holds the repository's lock.

    What cannot be written stays noted.
    """
    try:
        _settle(place, LockFiles(place.root), stage_order.read(place.folder), {})
    except OSError:
        pass  # a full disk, say: `gc` has to work all the same


def _settle(
    place: Place,
    locks: LockFiles,
    placings: Mapping[str, stage_order.Placing],
    own: Mapping[bytes, tuple[Finished, LockedStage]],
    superseded: Container[tuple[str, str]] = (),
) -> None:
    """Args:
    own: what this process noted, which needs no second look.
    superseded: lock files and stages whose entries are newer than ours.
    """
    found: list[tuple[Finished, LockedStage]] = []
    for line in dict.fromkeys([*_lines(place.folder), *own]):
        known = own.get(line)
        if known is not None:
            found.append(known)
            continue
        finished = _parse(line)
        if finished is not None and _is_true(place, finished):
            found.append((finished, finished.entry()))
    _write_all(place, locks, placings, found, superseded)
    atomic.remove_quietly(os.path.join(place.folder, FILE))


def _write_all(
    place: Place,
    locks: LockFiles,
    placings: Mapping[str, stage_order.Placing],
    found: Sequence[tuple[Finished, LockedStage]],
    superseded: Container[tuple[str, str]],
) -> None:
    """Objects' names first, then the run cache, `.gitignore`, and `dvc.lock` last, which names them."""
    oids = {oid for finished, _ in found for oid in finished.objects}
    root = place.cache.root
    folders = [f"{root}/{prefix}" for prefix in sorted({oid[:2] for oid in oids})]
    above = [root, os.path.dirname(root), place.cache.base, os.path.dirname(place.cache.base)]
    runs = [entry for finished, entry in found if finished.remembered]
    place.runs.save_all(runs, folders=[*folders, *above] if oids else ())
    add_lines(place.root, [path for finished, _ in found for path in finished.ignored])
    for finished, entry in found:
        if (finished.lock, finished.name) in superseded:
            continue
        placing = placings.get(finished.lock)
        later = placing.later(finished.name) if placing is not None else ()
        locks.put(finished.lock, finished.name, entry, later=later)
    locks.write()
    keep_times(
        place.dvc_dir,
        {finished.address: StageTime(*finished.took) for finished, _ in found if finished.took is not None},
    )


def _is_true(place: Place, finished: Finished) -> bool:
    """Says whether what another process noted still holds: nobody changed the lock file since, and no power cut took
    the names of objects."""
    if _digest(_read(os.path.join(place.root, finished.lock))) != finished.on:
        return False
    return not place.cache.missing(set(finished.objects))


def noted(folder: str) -> list[Finished]:
    """Returns what is noted and not written yet. To be asked before a lock file is read, for what reads holds no lock.

    Args: folder: `.dvc/tmp/kist`.
    """
    return [finished for line in _lines(folder) if (finished := _parse(line)) is not None]


def as_noted(data: bytes | None, path: str, finished: Iterable[Finished]) -> bytes | None:
    """Returns a lock file's bytes as they are to be.

    Raises: LockfileError, YamlError.
    """
    digest = _digest(data)
    own = [one for one in finished if one.lock == path and one.on == digest]
    if not own:
        return data
    text = LockText(data, name=path)
    for one in own:
        text.put(one.name, one.entry())
    return text.data


def _append(folder: str, line: bytes) -> None:
    path = os.path.join(folder, FILE)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        is_new = size == 0
        if not is_new and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # the disk was full in the middle of the line before
        atomic.write_all(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        atomic.sync_directory(folder)


def _lines(folder: str) -> list[bytes]:
    """Returns the whole lines of the journal: a kill may have come in the middle of the last one."""
    data = _read(os.path.join(folder, FILE), _MAX_BYTES) or b""
    return [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]


def _parse(line: bytes) -> Finished | None:
    """Returns what a line says; None where it is garbage."""
    try:
        value = json.loads(line)
        found = Finished(*value)
        fits = (
            _is_path(found.lock)
            and (found.on is None or isinstance(found.on, str))
            and isinstance(found.name, str)
            and isinstance(found.text, str)
            and all(isinstance(oid, str) and is_oid(oid) for oid in found.objects)
            and isinstance(found.remembered, bool)
            and all(_is_path(path) for path in found.ignored)
            and isinstance(found.address, str)
            and (found.took is None or [type(part) for part in found.took] == [float, float, float, int])
        )
        if not fits:
            return None
        found.entry()
    except (ValueError, RecursionError, TypeError, KeyError, FormatError):
        return None
    took = found.took
    return found._replace(
        objects=tuple(found.objects),
        ignored=tuple(found.ignored),
        took=(took[0], took[1], took[2], took[3]) if took is not None else None,
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value[0] != "/" and ".." not in value.split("/")


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()


def _read(path: str, limit: int = -1) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except (FileNotFoundError, NotADirectoryError):
        return None

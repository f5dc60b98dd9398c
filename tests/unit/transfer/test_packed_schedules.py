"""Two pushes, clean-ups and kills in random orders lose nothing; and each step of the protocol is there for a reason.

The variants at the end leave one step out each: then some order loses something.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.objects import put

from kist.base.progress import SilentProgress
from kist.errors import LockedError, NetworkError
from kist.formats.pack import Bounds, Marker
from kist.formats.records import MD5
from kist.remotes.storage import Item
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.transfer import engine, packed_clean, packed_write
from kist.transfer.packed import PackedRemote
from kist.transfer.packed_clean import _CleanUp
from kist.transfer.packed_index import Catalogue
from kist.transfer.packed_write import Lease, OpenPack, Session, Tools

from .schedules import ActorClock, ActorStorage, Killed, Memory, Schedule, readable

SILENT = SilentProgress()
MARKER = Marker("0" * 32, Bounds(64, 256, 1024))
SEEDS = 24
"""Schedules of the whole protocol; a tenth of a second each."""
TRIES = 100
"""Schedules after which a broken protocol must have lost something."""


class LostError(AssertionError):
    """Something that was acknowledged cannot be read."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_write, "PACK_BYTES", 3000)
    monkeypatch.setattr(packed_clean, "SMALL_PACK", 1500)
    monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.0001)


class Play:
    """One random schedule: what is there at first, who does what, and what must stay."""

    def __init__(self, root: Path, seed: int) -> None:
        self.choice = random.Random(seed)
        self.memory = Memory()
        self.root = root
        self.source = LooseStore(str(root / "source"))
        blocks = [self.choice.randbytes(900) for _ in range(8)]
        self.oids = [
            put(self.source, b"".join(self.choice.sample(blocks, 3)) + b"%d" % number) for number in range(9)
        ]
        self.schedule = Schedule(self.memory, seed)
        self.needed: set[str] = set()
        self.drops: dict[str, set[str]] = {}
        self.acknowledged: dict[str, int] = {}

    def client(self, actor: str, *, scheduled: bool = True) -> PackedRemote:
        schedule = self.schedule if scheduled else None
        storage = ActorStorage(schedule, self.memory, actor)
        clock = ActorClock(schedule, self.memory, actor)
        folder = self.root / actor
        index = StatIndex(str(folder / "index"))
        return PackedRemote(storage, MARKER, index=index, folder=str(folder), jobs=1, clock=clock)

    def begin(self) -> None:
        """Some objects are there, pushed in two or three goes, some chunks twice; some of them are needed."""
        there = self.choice.sample(self.oids, 6)
        aside: dict[str, tuple[bytes, float]] = {}
        for at in range(0, 6, self.choice.choice([2, 3])):
            first = self.client("before", scheduled=False)
            first.send(set(there[at : at + 3]), self.source, workers=1, progress=SILENT, phase="")
            first.close()
            if self.choice.random() < 0.5:  # the next one does not see it, as when both push at once
                aside.update(self.memory.values)
                self.memory.values.clear()
        self.memory.values.update(aside)
        self.needed = set(self.choice.sample(there, 3))
        self.memory.time += 10_000

    def push(self, actor: str, oids: Iterable[str]) -> None:
        """Pushes; tries again when it is told to."""
        for _ in range(3):
            remote = self.client(actor)
            try:
                wanted = set(oids)
                sent = remote.send(
                    remote.missing(wanted, MD5), self.source, workers=1, progress=SILENT, phase=""
                )
                assert not sent.missing and not sent.corrupt
                self.acknowledge(actor, wanted)
                remote.close()
                return
            except (LockedError, NetworkError):
                continue

    def acknowledge(self, actor: str, oids: set[str]) -> None:
        """Notes up to which call the actor had seen what clean-ups are about to do."""
        looks = [
            at
            for at, call in enumerate(self.schedule.log)
            if call[:2] == (actor, "list") and call.key == "gc/"
        ]
        for oid in oids:
            self.acknowledged[oid] = max(looks[-1], self.acknowledged.get(oid, -1))

    def clean(self, actor: str, *, repack: bool) -> None:
        """Removes what was there at first and is not needed."""
        remote = self.client(actor)
        found = remote.beyond(self.needed, MD5, workers=1)
        young = self.memory.time - 3600
        self.drops[actor] = {item.oid for item in found.leftovers if item.changed_ns / 1e9 < young}
        try:
            remote.clean({MD5: self.drops[actor]}, repack=repack, progress=SILENT, phase="")
        except (LockedError, NetworkError):
            pass
        remote.close()

    def must_stay(self) -> set[str]:
        """Returns what is needed, and what was acknowledged by who knew, or could know, of each clean-up that drops it."""
        kept = set(self.needed)
        for oid, seen in self.acknowledged.items():
            # A clean-up that began after it was acknowledged goes by its own list of what is needed.
            if not any(oid in drop and self._told(actor) > seen for actor, drop in self.drops.items()):
                kept.add(oid)
        return kept

    def _told(self, actor: str) -> int:
        """Returns when a clean-up told what it is about to do: by its second writing; the first asks for the time."""
        marks = [
            at
            for at, call in enumerate(self.schedule.log)
            if call[:2] == (actor, "write") and call.key.startswith("gc/")
        ]
        return marks[1] if len(marks) > 1 else -1

    def check(self) -> None:
        there = readable(self.memory)
        lost = {oid for oid in self.must_stay() if bytes.fromhex(oid) not in there}
        if lost:
            raise LostError(f"{sorted(lost)} after {self.schedule.log[-1]}")

    def run(self) -> None:
        self.begin()
        one, two = (set(self.choice.sample(self.oids, 4)) for _ in range(2))
        repack = self.choice.random() < 0.5
        self.schedule.start("one", lambda: self.push("one", one))
        self.schedule.start("two", lambda: self.push("two", two))
        self.schedule.start("gc", lambda: self.clean("gc", repack=repack))
        if self.choice.random() < 0.5:
            self.schedule.start("gc2", lambda: self.clean("gc2", repack=not repack))
        steps = 0

        def after_each() -> None:
            nonlocal steps
            steps += 1
            if self.schedule.log and self.schedule.log[-1].name in ("write", "delete"):
                self.check()

        self.schedule.run(after_each)
        self.check()
        for actor, error in self.schedule.errors.items():
            if not isinstance(error, Killed):
                raise AssertionError(f"{actor} failed") from error
        self.end()

    def end(self) -> None:
        """Later everything can be pushed, cleaned and read, whatever died."""
        self.memory.time += 100_000
        last = self.client("last", scheduled=False)
        last.clean({MD5: set()}, repack=True, progress=SILENT, phase="")
        assert not [key for key in self.memory.values if key.startswith("gc/")]
        self.check()
        target = LooseStore(str(self.root / "target"))
        kept = self.must_stay()
        got = last.receive(kept, target, workers=1, progress=SILENT, phase="")
        assert set(got.copied) == kept


@pytest.mark.parametrize("group", range(4))
def test_nothing_acknowledged_is_lost_in_any_order(tmp_path: Path, group: int) -> None:
    for seed in range(group * SEEDS // 4, (group + 1) * SEEDS // 4):
        Play(tmp_path / str(seed), seed).run()


# One step left out


def _marks_are_not_obeyed(patch: pytest.MonkeyPatch) -> None:
    """5.1: what a mark names does not count as there."""
    patch.setattr(Catalogue, "_look_at_marks", lambda self, engine: None)


def _cleanup_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """6.3: writers that may not have seen the mark end first."""
    patch.setattr(packed_clean, "wait_for_writers", lambda tools, lease: None)


def _cleanup_does_not_look_again(patch: pytest.MonkeyPatch) -> None:
    """6.4: objects of indexes that came since live."""
    patch.setattr(_CleanUp, "_spare", lambda self, seen: None)


def _writers_do_not_state_again(patch: pytest.MonkeyPatch) -> None:
    """5.6: what a mark names that came meanwhile is stated again."""
    patch.setattr(Session, "_settle", lambda self: self._tools.catalogue.new_marks())


def _writers_do_not_look_again(patch: pytest.MonkeyPatch) -> None:
    """5.2: after it is known as a writer, it looks again."""
    original = Catalogue.look

    def look(self: Catalogue) -> None:
        if not self.has_looked:
            original(self)

    patch.setattr(Catalogue, "look", look)


def _leases_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """5.5: a machine that slept does not count what it did."""
    patch.setattr(Lease, "check", lambda self: None)


def _packs_are_listed_first(patch: pytest.MonkeyPatch) -> None:
    """5.1: marks are listed before packs."""
    original = Catalogue._list
    early: dict[int, list[Item]] = {}

    def listed(self: Catalogue, engine: Any, prefix: str) -> list[Item]:
        if prefix == "gc/":
            early[id(self)] = original(self, engine, "packs/")
        return early[id(self)] if prefix == "packs/" else original(self, engine, prefix)

    patch.setattr(Catalogue, "_list", listed)


def _indexes_come_before_packs(patch: pytest.MonkeyPatch) -> None:
    """5.4, I1: an index is written after all packs that it names."""
    held: dict[str, list[tuple[str, bytes]]] = {}
    state = Session.state

    def send_packs(tools: Tools, packs: Iterable[OpenPack], *, meanwhile: Callable[[], None]) -> None:
        for one in packs:
            data = one.close()
            assert one.name is not None
            held.setdefault(tools.name, []).append((one.name.key, bytes(data)))
            tools.catalogue.packs[one.name.digest.hex()] = Item(one.name.key, len(data))

    def late(self: Session, rows: Any, locate: Any) -> None:
        state(self, rows, locate)
        for key, data in held.pop(self._tools.name, []):
            packed_write.put(self._tools, key, data)

    patch.setattr(packed_write, "send_packs", send_packs)
    patch.setattr(Session, "state", late)


def _packs_go_before_the_new_index(patch: pytest.MonkeyPatch) -> None:
    """6.5: new indexes are written before anything is deleted."""
    replace = _CleanUp._replace

    def early(self: _CleanUp, *arguments: Any) -> tuple[int, int]:
        self._delete_packs()
        return replace(self, *arguments)

    patch.setattr(_CleanUp, "_replace", early)


def _living_chunks_are_not_copied(patch: pytest.MonkeyPatch) -> None:
    """6.4: chunks that live only in packs that go are written into new ones."""
    rewrite = _CleanUp._rewrite

    def lazy(self: _CleanUp) -> Any:
        mark = self._catalogue.marks.pop(self._id, None)
        try:
            filler, rows, replaced = rewrite(self)
        finally:
            if mark is not None:
                self._catalogue.marks[self._id] = mark
        return filler, [row for row in rows if not self._is_in_condemned(row)], replaced

    patch.setattr(_CleanUp, "_rewrite", lazy)
    patch.setattr(
        _CleanUp,
        "_is_in_condemned",
        lambda self, row: any(self._catalogue.locate_reliable(chunk) is None for chunk in row.chunks),
        raising=False,
    )


FIRST_SEED = {"_packs_are_listed_first": 1838, "_indexes_come_before_packs": 82}
"""Where the orders begin that are tried: few orders show what these steps are for."""
BROKEN = [
    _marks_are_not_obeyed,
    _cleanup_does_not_wait,
    _cleanup_does_not_look_again,
    _writers_do_not_state_again,
    _writers_do_not_look_again,
    _leases_are_not_looked_at,
    _packs_are_listed_first,
    _indexes_come_before_packs,
    _packs_go_before_the_new_index,
    _living_chunks_are_not_copied,
]


@pytest.mark.parametrize("leave_out", BROKEN, ids=lambda act: act.__name__.strip("_"))
def test_each_step_is_there_for_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    leave_out(monkeypatch)
    first = FIRST_SEED.get(leave_out.__name__, 0)
    assert any(_loses(tmp_path, seed) for seed in range(first, first + TRIES))


def _loses(folder: Path, seed: int) -> bool:
    try:
        Play(folder / str(seed), seed).run()
    except LostError:
        return True
    except AssertionError:
        pass  # without that step somebody may fail
    return False

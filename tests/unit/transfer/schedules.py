"""Runs pushes and clean-ups of one packed place side by side, one call of the storage at a time, in a random order.

Each call waits for its turn; between two turns a process can be killed, before or after the call had its effect, and time
can jump, as it does for a machine that slept.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kist.formats import pack
from kist.formats.pack import Index
from kist.remotes.storage import Abilities, Body, Item, StorageMissingError, Upload

WAIT_S = 20.0


class Killed(BaseException):
    """The process is gone."""


class Stuck(AssertionError):
    """Nobody comes to a call: the test is wrong."""


class Memory:
    """The service: values, and its clock."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, float]] = {}
        self.time = 1_000_000.0


class Call(NamedTuple):
    """One call that had its effect."""

    actor: str
    name: str
    key: str


class Schedule:
    """Gives turns to actors."""

    def __init__(self, memory: Memory, seed: int, *, kills: float = 0.01, jumps: float = 0.02) -> None:
        self.memory = memory
        self.log: list[Call] = []
        self.errors: dict[str, BaseException] = {}
        self.random = random.Random(seed)
        self._kills = kills
        self._jumps = jumps
        self._changed = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._live: dict[str, threading.Thread] = {}
        self._dead: set[str] = set()
        self._running = 0

    def start(self, actor: str, act: Callable[[], None]) -> None:
        """Adds an actor; it works when the schedule runs."""

        def work() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.errors[actor] = error
            finally:
                with self._changed:
                    del self._live[actor]
                    self._changed.notify_all()

        self._live[actor] = threading.Thread(target=work, daemon=True)

    def run(self, after_each: Callable[[], None]) -> None:
        """Gives turns until all have ended."""
        for thread in list(self._live.values()):
            thread.start()
        while True:
            with self._changed:
                if not self._changed.wait_for(self._is_quiet, WAIT_S):
                    raise Stuck(f"{sorted(self._live)} run, {self._waiting} wait")
                if not self._live:
                    return
                self._waiting.sort(key=lambda ticket: (ticket.actor, ticket.name, ticket.key))
                ticket = self._waiting.pop(self.random.randrange(len(self._waiting)))
                if self.random.random() < self._jumps:
                    self.memory.time += self.random.choice([400.0, 2000.0, 5000.0, 100_000.0])
                self.memory.time += 0.01
                fate = self.random.random()
                if fate < self._kills:
                    self._dead.add(ticket.actor)
                    ticket.has_effect = fate < self._kills / 2
                    ticket.is_last = True
                ticket.has_turn = True
                self._changed.notify_all()
                if not self._changed.wait_for(lambda ticket=ticket: ticket.is_done, WAIT_S):
                    raise Stuck(f"{ticket.actor} does not end its call")
            after_each()

    def _is_quiet(self) -> bool:
        waiting = {ticket.actor for ticket in self._waiting}
        return all(actor in waiting for actor in self._live)

    def turn(self, actor: str, name: str, key: str, effect: Callable[[], object]) -> object:
        """Waits for the actor's turn, has the effect, and returns what it gives."""
        with self._changed:
            if actor in self._dead:
                raise Killed
            ticket = _Ticket(actor, name, key)
            self._waiting.append(ticket)
            self._changed.notify_all()
            while not ticket.has_turn:
                if not self._changed.wait(WAIT_S):
                    raise Stuck(f"{actor} has no turn")
            try:
                if ticket.has_effect:
                    self.log.append(Call(actor, name, key))
                    return effect() if not ticket.is_last else _kill(effect)
                raise Killed
            finally:
                ticket.is_done = True
                self._changed.notify_all()


def _kill(effect: Callable[[], object]) -> object:
    effect()
    raise Killed


class _Ticket:
    def __init__(self, actor: str, name: str, key: str) -> None:
        self.actor = actor
        self.name = name
        self.key = key
        self.has_turn = self.is_done = self.is_last = False
        self.has_effect = True

    def __repr__(self) -> str:
        return f"{self.actor} {self.name} {self.key}"


class ActorStorage:
    """The service as one actor sees it."""

    def __init__(self, schedule: Schedule | None, memory: Memory, actor: str) -> None:
        self.name = actor
        self.url = "memory://place"
        self.abilities = Abilities(deletes=2, streams=1, most_streams=1)
        self._schedule = schedule
        self._memory = memory

    def _turn(self, name: str, key: str, effect: Callable[[], object]) -> object:
        if self._schedule is None:
            return effect()
        return self._schedule.turn(self.name, name, key, effect)

    def head(self, key: str) -> Item | None:
        return self._turn("head", key, lambda: self._item(key))  # type: ignore[return-value]

    def _item(self, key: str) -> Item | None:
        found = self._memory.values.get(key)
        return None if found is None else Item(key, len(found[0]), modified_s=found[1])

    def list(self, prefix: str) -> Iterator[Item]:
        def effect() -> list[Item | None]:
            return [self._item(key) for key in sorted(self._memory.values) if key.startswith(prefix)]

        return iter(self._turn("list", prefix, effect))  # type: ignore[call-overload, no-any-return]

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        def effect() -> bytes | None:
            found = self._memory.values.get(key)
            return None if found is None else found[0][first : None if size is None else first + size]

        data = self._turn("read", key, effect)
        if data is None:
            raise StorageMissingError(f"no '{key}'")
        return iter([data])  # type: ignore[list-item]

    def write(self, key: str, body: Body) -> Item:
        data = b"".join(body.open())

        def effect() -> Item | None:
            self._memory.values[key] = (data, self._memory.time)
            return self._item(key)

        return self._turn("write", key, effect)  # type: ignore[return-value]

    def delete(self, keys: Sequence[str]) -> None:
        def effect() -> None:
            for key in keys:
                self._memory.values.pop(key, None)

        self._turn("delete", " ".join(keys), effect)

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        raise AssertionError

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        raise AssertionError

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        raise AssertionError

    def abort(self, upload: Upload) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class ActorClock:
    """Time is everybody's; who sleeps waits for a turn."""

    def __init__(self, schedule: Schedule | None, memory: Memory, actor: str) -> None:
        self._schedule = schedule
        self._memory = memory
        self._actor = actor

    def now(self) -> float:
        return self._memory.time

    def sleep(self, seconds: float) -> None:
        if self._schedule is not None:

            def effect() -> None:
                self._memory.time += seconds

            self._schedule.turn(self._actor, "sleep", "", effect)


def readable(memory: Memory) -> set[bytes]:
    """Returns the md5 of files that can be read and are right: by the specification alone, without the product's reader."""
    values = {key: data for key, (data, _) in memory.values.items()}
    places: dict[bytes, list[tuple[str, pack.Place]]] = {}
    indexes = []
    for key, data in values.items():
        name = pack.index_of_key(key)
        if name is not None:
            index = Index(pack.unwrap_index(data, name=name), name=name)
            indexes.append(index)
            for row in range(index.chunk_count):
                place = index.place(row)
                places.setdefault(index.chunk(row), []).append((index.packs[place.pack].key, place))
    contents: dict[bytes, bytes | None] = {}

    def content(chunk: bytes) -> bytes | None:
        if chunk not in contents:
            contents[chunk] = None
            for key, place in places[chunk]:
                if key in values:
                    stored = values[key][place.first : place.first + place.stored]
                    contents[chunk] = contents[chunk] or pack.unpack_chunk(stored, chunk, place)
        return contents[chunk]

    found = set()
    for index in indexes:
        for row, kind, md5 in index.objects():
            parts = [content(index.chunk(number)) for number in index.chunks_of(row)]
            if kind == 0 and None not in parts:
                data = b"".join(part for part in parts if part is not None)
                if hashlib.md5(data, usedforsecurity=False).digest() == md5:
                    found.add(md5)
    return found

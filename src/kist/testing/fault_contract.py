"""The suite of faults: objects move by rules R7, R8 and R10 while the service misbehaves.

A transport's test module inherits `FaultContract` and gives it a fixture `world`. Faults F15 to F18 and F63 to F66.
Not here: redirects (F67), which only what speaks HTTP has. Implements docs/spec/storage.md, section 6.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from kist.base.progress import SilentProgress
from kist.errors import AuthError
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.records import MD5, Digest
from kist.remotes.storage import Body, Storage, StorageFailedError
from kist.store.copying import CopyOutcome
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.transfer import engine, plan, stored
from kist.transfer.stored import StorageRemote, key_of

LARGE_BYTES = 1 << 20
"""What is larger than this travels in parts and ranges in these tests."""


class FaultWorld:
    """Two caches and a service between them that misbehaves on demand.

    Attributes:
        here: holds `oids`, one of them large, and `manifest`, a directory of two of them.
        there: is empty.
        remote: reaches the service through the faults.
    """

    def __init__(self, root: Path, opened: Callable[[float], Storage], clean: Storage) -> None:
        """Args: opened: opens a storage that bears silence for so many seconds. clean: reaches the service as it is.

        A short patience is only for the faults that take it: a busy machine is silent for half a second by itself.
        """
        self._patient, self._impatient = opened(30.0), opened(1.5)
        self.here = LooseStore(str(root / "here"))
        self.there = LooseStore(str(root / "there"))
        self.remote = StorageRemote(self._patient, index=StatIndex(str(root / "index")))
        self.clean = clean
        data = [b"one", b"two" * 1000, b"x" * 200_000, random.Random(3).randbytes(6 * LARGE_BYTES + 7)]
        self.oids = [self._put(each) for each in data]
        tree = tree_of({"a": self.oids[0], "deep/b": self.oids[1]})
        self.manifest = self._put(render_manifest(tree), ".dir")

    def _put(self, data: bytes, suffix: str = "") -> str:
        oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + suffix
        self.here.make_prefixes([oid[:2]])
        with open(self.here.path(oid), "wb") as stream:
            stream.write(data)
        return oid

    def arrange(self, kind: str, count: int) -> None:
        """Lets a fault happen to the next `count` requests that it can happen to."""
        self.remote.storage = self._impatient if kind == "stalled" else self._patient
        self.begin(kind, count)

    def begin(self, kind: str, count: int) -> None:
        """Lets the service misbehave."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends connections."""
        for storage in (self._patient, self._impatient, self.clean):
            storage.close()

    def is_over(self) -> bool:
        """Says whether all that was arranged has happened."""
        raise NotImplementedError

    def take_back(self) -> None:
        """Lets the service behave."""
        raise NotImplementedError

    def remove(self, oid: str) -> None:
        """Removes an object from the service."""
        self.clean.delete([key_of(oid, MD5)])

    def write(self, oid: str, data: bytes) -> None:
        """Puts bytes under an object's name."""
        self.clean.write(key_of(oid, MD5), Body.of(data))

    def stored(self, oid: str) -> bytes:
        """Returns what the service has under an object's name."""
        return b"".join(self.clean.read(key_of(oid, MD5)))

    def right(self, oid: str) -> bytes:
        """Returns the bytes of an object."""
        with open(self.here.path(oid), "rb") as stream:
            return stream.read()

    def send(self) -> CopyOutcome:
        """Sends all objects."""
        return self.remote.send(set(self.oids), self.here, workers=1, progress=SilentProgress(), phase="p")

    def receive(self) -> CopyOutcome:
        """Receives all objects into the other cache, which is emptied before."""
        for oid in list(self.there.oids()):
            os.unlink(self.there.path(oid))
        return self.remote.receive(
            set(self.oids), self.there, workers=1, progress=SilentProgress(), phase="p"
        )

    def push(self) -> plan.Outcome:
        """Pushes the directory and the other objects."""
        return plan.push(self._needs(), self.here, self.remote, workers=1, progress=SilentProgress())

    def fetch(self) -> plan.Outcome:
        """Fetches the directory and the other objects into the other cache."""
        return plan.fetch(self._needs(), self.there, self.remote, workers=1, progress=SilentProgress())

    def _needs(self) -> list[plan.Need]:
        single = [plan.Need(f"file{at}", Digest(MD5, oid)) for at, oid in enumerate(self.oids[2:])]
        return [plan.Need("data", Digest(MD5, self.manifest)), *single]

    def assert_whole(self, outcome: CopyOutcome) -> None:
        """Everything arrived, and is right."""
        assert sorted(outcome.copied) == sorted(self.oids)
        for oid in self.oids:
            with open(self.there.path(oid), "rb") as stream:
                assert stream.read() == self.right(oid)


class FaultContract:
    """What must hold over each transport. Needs: `world`, a new one for each test.

    Attributes:
        passing: faults that pass, and are overcome by trying again.
        lasting: a fault that is overcome the same way, and here never ends.
        refusing: faults that say who is not let in.
        falsifying: faults that give other bytes than the stored ones, in a way that only the hash can see.
        halving: faults by which the service stores a part, and says that it stored the whole.
    """

    passing: ClassVar[list[str]]
    lasting: ClassVar[str]
    refusing: ClassVar[list[str]]
    falsifying: ClassVar[list[str]]
    halving: ClassVar[list[str]]

    @pytest.fixture(autouse=True)
    def _small_and_quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_FIRST_PAUSE_S", 0.001)
        monkeypatch.setattr(stored, "SMALL_BYTES", LARGE_BYTES)
        monkeypatch.setattr(stored, "_PART_BYTES", LARGE_BYTES)

    def test_what_passes_is_overcome_both_ways(self, world: FaultWorld) -> None:
        """F63, F64: broken off, busy, silent, throttled; for small objects, parts and ranges."""
        for kind in self.passing:
            world.arrange(kind, 2)
            assert sorted(world.send().copied) == sorted(world.oids), kind
            world.take_back()
            world.arrange(kind, 2)
            world.assert_whole(world.receive())
            assert world.is_over(), kind
            world.take_back()
        assert all(world.stored(oid) == world.right(oid) for oid in world.oids)

    def test_what_does_not_pass_ends_and_is_said(self, world: FaultWorld) -> None:
        """F65: no answer that could be taken for success, or for a missing object."""
        world.arrange(self.lasting, 10_000)
        for call in self._calls(world):
            with pytest.raises(StorageFailedError):
                call()
        assert list(world.there.oids()) == []

    def test_who_is_not_let_in_is_told_so(self, world: FaultWorld) -> None:
        """F65: never "missing"."""
        for kind in self.refusing:
            world.arrange(kind, 10_000)
            for call in self._calls(world):
                with pytest.raises(AuthError):
                    call()
            world.take_back()
        assert list(world.there.oids()) == []

    def _calls(self, world: FaultWorld) -> list[Callable[[], object]]:
        return [world.send, world.receive, lambda: world.remote.missing(set(world.oids), MD5), world.fetch]

    def test_other_bytes_are_refused_and_the_next_pull_heals(self, world: FaultWorld) -> None:
        """F15, F63: damaged at rest, one after the other."""
        world.send()
        for oid in (world.oids[1], world.oids[3]):
            right = world.right(oid)
            flipped = right[:-1] + bytes([right[-1] ^ 1])
            for wrong in (flipped, right[: len(right) // 2], right + b"x", b"", b"<html>sorry</html>"):
                world.write(oid, wrong)
                got = world.receive()
                assert got.corrupt == [oid] and len(got.copied) == 3, wrong[:20]
                assert not world.there.has(oid)
            world.write(oid, right)
            world.assert_whole(world.receive())

    def test_two_objects_in_each_others_place_are_refused(self, world: FaultWorld) -> None:
        """F16."""
        world.send()
        first, second = world.oids[:2]
        world.write(first, world.right(second))
        world.write(second, world.right(first))
        got = world.receive()
        assert sorted(got.corrupt) == sorted([first, second])
        assert not world.there.has(first) and not world.there.has(second)

    def test_a_byte_that_changes_on_its_way_is_refused_and_the_next_pull_heals(
        self, world: FaultWorld
    ) -> None:
        """F63."""
        world.send()
        for kind in self.falsifying:
            world.arrange(kind, 1)
            got = world.receive()
            assert world.is_over(), kind
            world.take_back()
            assert len(got.corrupt) <= 1 and len(got.copied) == 4 - len(got.corrupt), kind
            assert all(not world.there.has(oid) for oid in got.corrupt)
            world.assert_whole(world.receive())

    @pytest.mark.parametrize("what", ["half", "garbage", "another"])
    def test_a_manifest_that_is_not_itself_is_refused(self, world: FaultWorld, what: str) -> None:
        """F17: by its hash, and the other outputs arrive."""
        world.push()
        right = world.right(world.manifest)
        other = render_manifest(tree_of({"c": world.oids[2]}))
        world.write(world.manifest, {"half": right[:40], "garbage": b"\0[", "another": other}[what])
        got = world.fetch()
        assert got.failed == [("data", world.manifest, "corrupt")]
        assert sorted(got.moved) == sorted(world.oids[2:])
        assert not world.there.has(world.manifest)

    def test_what_is_missing_is_named_and_the_next_push_restores_it(self, world: FaultWorld) -> None:
        """F18: the others arrive."""
        world.push()
        world.remove(world.oids[3])
        got = world.fetch()
        assert got.failed == [("file1", world.oids[3], "missing")]
        assert world.there.has(world.oids[1])
        assert world.push().moved == [world.oids[3]]
        assert world.fetch().failed == []

    def test_what_was_stored_by_half_is_noticed_by_the_next_push(self, world: FaultWorld) -> None:
        """F66: a small one, inside of a directory too."""
        for kind in self.halving:
            for _ in range(2):
                world.arrange(kind, 1)
                world.push()
                assert world.is_over(), kind
                world.take_back()
                world.push()
                for oid in [*world.oids, world.manifest]:
                    assert world.stored(oid) == world.right(oid), kind
                for oid in [world.oids[1], world.manifest]:
                    world.remove(oid)
                world.remote.forget_complete(MD5)

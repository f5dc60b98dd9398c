"""Finished stages are noted at once and written later; no kill loses one, and nothing that changed since is undone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.records import MD5, Digest, LockedStage, Lockfile, Output
from kist.pipeline.runcache import RunCache
from kist.repo.lockfiles import LockFiles
from kist.repo.stage_journal import FILE, Place, StageJournal, as_noted, noted, settle
from kist.repo.stage_times import StageTime, keep_times, read_times
from kist.store.loose import LooseStore

TOOK = StageTime(5.0, 1.5, 1.0, 1000)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    cache = str(tmp_path / ".dvc" / "cache")
    found = Place(str(tmp_path), str(tmp_path / ".dvc"), LooseStore(cache), RunCache(cache))
    os.makedirs(found.cache.root)
    return found


def stored(place: Place, data: bytes) -> str:
    import hashlib

    oid = hashlib.md5(data).hexdigest()
    place.cache.write_small(oid, data)
    return oid


def entry(oid: str) -> LockedStage:
    return LockedStage(
        "make", params={"params.yaml": {"lr": 1e-05}}, outs=(Output("out", Digest(MD5, oid), size=3),)
    )


def add(
    journal: StageJournal, name: str, oid: str, *, lock: str = "dvc.lock", ignored: Iterable[str] = ()
) -> None:
    journal.add(
        lock,
        name,
        entry(oid),
        objects=[oid],
        is_remembered=True,
        ignored=ignored,
        address=f"dvc.yaml:{name}",
        took=TOOK,
    )


def lock_of(place: Place, path: str = "dvc.lock") -> bytes:
    return Path(place.root, path).read_bytes()


def test_what_is_noted_is_read_as_if_it_were_written(place: Place) -> None:
    oid = stored(place, b"one")
    add(StageJournal(place), "a", oid)
    assert not os.path.exists(os.path.join(place.root, "dvc.lock"))
    data = as_noted(None, "dvc.lock", noted(place.folder))
    assert data == render_lockfile(Lockfile({"a": entry(oid)}))


def test_after_a_kill_the_next_one_writes_all_of_it(place: Place) -> None:
    os.makedirs(os.path.join(place.root, "sub"))
    one, two = stored(place, b"one"), stored(place, b"two")
    journal = StageJournal(place)
    add(journal, "a", one, ignored=["x"])
    add(journal, "b", two, ignored=["sub/y", "gone/z"])
    add(journal, "c", two, lock="sub/dvc.lock")
    settle(place)
    assert lock_of(place) == render_lockfile(Lockfile({"a": entry(one), "b": entry(two)}))
    assert lock_of(place, "sub/dvc.lock") == render_lockfile(Lockfile({"c": entry(two)}))
    assert Path(place.root, ".gitignore").read_text() == "/x\n"
    assert Path(place.root, "sub", ".gitignore").read_text() == "/y\n"
    assert len(place.runs.ids()) == 2
    assert read_times(place.dvc_dir) == {f"dvc.yaml:{name}": TOOK for name in "abc"}
    assert not os.path.exists(os.path.join(place.folder, FILE))


def test_writing_it_twice_changes_nothing(place: Place) -> None:
    journal = StageJournal(place)
    add(journal, "a", stored(place, b"one"), ignored=["x"])
    settle(place)  # another command, while this one waits for its commands
    before = lock_of(place)
    add(journal, "b", stored(place, b"two"))
    journal.write()
    assert lock_of(place).startswith(before)
    assert list(parse_lockfile(lock_of(place), name="x").stages) == ["a", "b"]
    assert Path(place.root, ".gitignore").read_text() == "/x\n"


def test_a_lock_that_somebody_changed_since_is_left_alone(place: Place) -> None:
    add(StageJournal(place), "a", stored(place, b"one"))
    other = render_lockfile(Lockfile({"z": entry("0" * 32)}))
    Path(place.root, "dvc.lock").write_bytes(other)
    assert as_noted(other, "dvc.lock", noted(place.folder)) == other
    settle(place)
    assert lock_of(place) == other
    assert noted(place.folder) == []


def test_who_reads_goes_by_the_same_lines_as_who_writes(place: Place) -> None:
    one = stored(place, b"one")
    other = render_lockfile(Lockfile({"z": entry("0" * 32)}))
    add(StageJournal(place), "a", one)
    Path(place.root, "dvc.lock").write_bytes(other)
    add(StageJournal(place), "b", one)
    read = as_noted(other, "dvc.lock", noted(place.folder))
    before = as_noted(None, "dvc.lock", noted(place.folder))
    settle(place)
    assert read == lock_of(place) == render_lockfile(Lockfile({"z": entry("0" * 32), "b": entry(one)}))
    assert before == render_lockfile(Lockfile({"a": entry(one)}))


def test_the_living_keep_what_others_wrote_beside_them(place: Place) -> None:
    journal = StageJournal(place)
    one = stored(place, b"one")
    add(journal, "a", one)
    Path(place.root, "dvc.lock").write_bytes(render_lockfile(Lockfile({"z": entry("0" * 32)})))
    journal.write()
    assert parse_lockfile(lock_of(place), name="x").stages == {"z": entry("0" * 32), "a": entry(one)}


def test_what_somebody_recorded_of_the_same_stage_since_stays(place: Place) -> None:
    journal = StageJournal(place)
    old, newer = stored(place, b"one"), stored(place, b"two")
    add(journal, "a", old)
    settle(place)  # another command, say `commit`
    there = LockFiles(place.root)
    there.put("dvc.lock", "a", entry(newer))
    there.write()
    add(journal, "b", old)
    journal.write()
    assert parse_lockfile(lock_of(place), name="x").stages == {"a": entry(newer), "b": entry(old)}


def test_a_line_after_a_torn_one_is_read(place: Place) -> None:
    oid = stored(place, b"one")
    journal = StageJournal(place)
    add(journal, "a", oid)
    with open(os.path.join(place.folder, FILE), "ab") as stream:
        stream.write(b'["dvc.lock", "half')  # the disk was full
    add(journal, "b", oid)
    assert [finished.name for finished in noted(place.folder)] == ["a", "b"]


def test_a_stage_that_could_not_be_noted_is_not_recorded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = stored(place, b"one")
    journal = StageJournal(place)
    with monkeypatch.context() as full:
        full.setattr("kist.base.atomic.write_all", _no_space)
        with pytest.raises(OSError, match="No space"):
            add(journal, "a", oid)
    add(journal, "b", oid)
    journal.write()
    assert list(parse_lockfile(lock_of(place), name="x").stages) == ["b"]


def _no_space(descriptor: int, data: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stage_whose_object_a_power_cut_took_counts_as_not_run(place: Place) -> None:
    journal = StageJournal(place)
    lost, kept = stored(place, b"lost"), stored(place, b"kept")
    add(journal, "a", lost)
    add(journal, "b", kept)
    os.unlink(place.cache.path(lost))
    settle(place)
    assert list(parse_lockfile(lock_of(place), name="x").stages) == ["b"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n",
        b"garbage\n",
        b"\0" * 100 + b"\n",
        b"[]\n",
        b"[1,2]\n",
        b'{"a": 1}\n',
        b'["../x", null, "a", "", [], false, [], "", null]\n',
        b'["dvc.lock", null, "a", "text", [], false, [], "", null]\n',
        b'["dvc.lock", null, "a", "  a:\\n    cmd: x\\n", ["../../etc"], false, [], "", null]\n',
        b'["dvc.lock", null, "a", "  a:\\n    cmd: x\\n", [], false, ["/etc/x"], "", null]\n',
    ],
)
def test_garbage_and_a_torn_line_are_passed_over(place: Place, garbage: bytes) -> None:
    oid = stored(place, b"one")
    add(StageJournal(place), "a", oid)
    path = Path(place.folder, FILE)
    whole = path.read_bytes()
    path.write_bytes(garbage + whole + whole[: len(whole) // 2])
    settle(place)
    assert lock_of(place) == render_lockfile(Lockfile({"a": entry(oid)}))


def test_entries_lie_in_the_order_of_one_at_a_time_even_after_a_kill(place: Place) -> None:
    oid = stored(place, b"one")
    Path(place.root, "dvc.lock").write_bytes(render_lockfile(Lockfile({"c": entry(oid)})))
    order = {"dvc.lock": ["a", "b", "c", "d", "e"]}
    journal = StageJournal(place)
    journal.begin(order, is_mixed=True)
    for name in "da":
        add(journal, name, oid)
    settle(place)
    again = StageJournal(place)
    again.begin(order, is_mixed=False)
    for name in "eb":
        add(again, name, oid)
    again.end()
    assert list(parse_lockfile(lock_of(place), name="x").stages) == ["c", "a", "b", "d", "e"]
    assert noted(place.folder) == []
    assert os.listdir(place.folder) == []


def test_one_at_a_time_new_entries_come_last(place: Place) -> None:
    oid = stored(place, b"one")
    Path(place.root, "dvc.lock").write_bytes(render_lockfile(Lockfile({"b": entry(oid)})))
    journal = StageJournal(place)
    journal.begin({"dvc.lock": ["a", "b"]}, is_mixed=False)
    add(journal, "a", oid)
    journal.end()
    assert list(parse_lockfile(lock_of(place), name="x").stages) == ["b", "a"]


def test_nothing_is_due_until_something_is_noted(place: Place) -> None:
    journal = StageJournal(place)
    assert journal.due_in() is None
    add(journal, "a", stored(place, b"one"))
    due = journal.due_in()
    assert due is not None
    assert 0 <= due <= 1
    journal.write()
    assert journal.due_in() is None


def test_times_that_are_garbage_count_as_none_and_git_sees_nothing_of_them(tmp_path: Path) -> None:
    keep_times(str(tmp_path), {"a": TOOK})
    keep_times(str(tmp_path), {"b": TOOK})
    assert read_times(str(tmp_path)) == {"a": TOOK, "b": TOOK}
    assert (tmp_path / "kist" / ".gitignore").read_text() == "*\n"
    for garbage in (b"", b"[]", b'{"version": 1, "stages": {"a": [1]}}', b'{"version": 9}', b"\xff"):
        (tmp_path / "kist" / "times.json").write_bytes(garbage)
        assert read_times(str(tmp_path)) == {}

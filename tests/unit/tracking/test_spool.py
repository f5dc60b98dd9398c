"""The spool of what MLflow is still to get, and how it is cut into batches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.tracking import spool as module
from kist.tracking.sender import _batches
from kist.tracking.spool import HEAD_BYTES, Spool, SpoolHead, SpoolLine, orphans


def make(folder: Path) -> Spool:
    return Spool.make(str(folder), SpoolHead("", True, 0))


def test_what_is_put_is_read_until_it_is_sent(tmp_path: Path) -> None:
    spool = make(tmp_path)
    assert spool.put({"m": {"x": 1.5}, "t": 5, "s": 1})
    assert spool.put({"p": {"a": "b"}})
    lines = spool.waiting()
    assert [line.values for line in lines] == [{"m": {"x": 1.5}, "t": 5, "s": 1}, {"p": {"a": "b"}}]
    spool.change(run="abc", sent=lines[0].end)
    assert [line.values for line in spool.waiting()] == [{"p": {"a": "b"}}]
    assert spool.head == SpoolHead("abc", True, lines[0].end)
    spool.remove()
    assert os.listdir(tmp_path) == [".gitignore"]


def test_a_spool_is_an_orphan_only_once_nobody_holds_it(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.put({"p": {"a": 1}})
    assert list(orphans(str(tmp_path))) == []
    spool.close()
    [found] = orphans(str(tmp_path))
    assert [line.values for line in found.waiting()] == [{"p": {"a": 1}}]
    assert list(orphans(str(tmp_path))) == []
    found.close()


def test_a_torn_last_line_waits_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.put({"p": {"a": 1}})
    with open(spool.path, "ab") as stream:
        stream.write(b'nonsense\n{"p": {"b"')
    lines = spool.waiting()
    assert [line.values for line in lines] == [{"p": {"a": 1}}, {}]
    spool.change(sent=lines[-1].end)
    assert spool.waiting() == []
    spool.close()


def test_a_call_longer_than_a_read_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 64)
    spool = make(tmp_path)
    spool.put({"p": {"a": "x" * 500}})
    assert [line.values for line in spool.waiting()] == [{"p": {"a": "x" * 500}}]
    spool.close()


def test_a_full_spool_takes_no_more_but_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    spool = make(tmp_path)
    taken = [spool.put({"p": {"a": "x" * 40}}) for _ in range(5)]
    assert taken == [True, True, True, False, False] or taken[0] and not taken[-1]
    assert spool.put({"end": "FINISHED"})
    spool.change(sent=os.path.getsize(spool.path))
    assert spool.put({"p": {"a": 1}})
    spool.close()


def test_space_comes_back_once_all_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECLAIM_BYTES", 200)
    spool = make(tmp_path)
    for _ in range(10):
        spool.put({"p": {"a": "x" * 40}})
    spool.reclaim()
    assert len(spool.waiting()) == 10
    spool.change(sent=spool.waiting()[-1].end)
    spool.reclaim()
    assert os.path.getsize(spool.path) == HEAD_BYTES
    spool.put({"p": {"b": 1}})
    assert [line.values for line in spool.waiting()] == [{"p": {"b": 1}}]
    spool.close()


def test_batches_keep_the_order_and_the_limits_and_never_call_a_half_sent_line_sent() -> None:
    metrics = {f"m{number}": float(number) for number in range(1500)}
    lines = [
        SpoolLine(200, {"p": {f"p{number}": {"q": number} for number in range(150)}}),
        SpoolLine(300, {"m": metrics, "t": 5, "s": 2}),
        SpoolLine(400, {"m": {"text": None, "last": 1}, "t": 6, "s": 3}),
        SpoolLine(500, {"end": "FINISHED"}),
    ]
    batches = list(_batches(lines))
    assert all(len(batch.metrics) <= 1000 and len(batch.params) <= 100 for batch in batches)
    assert [item for batch in batches for item in batch.params] == [(f"p{n}.q", str(n)) for n in range(150)]
    sent = [item for batch in batches for item in batch.metrics]
    assert sent == [*((name, value, 5, 2) for name, value in metrics.items()), ("last", 1.0, 6, 3)]
    assert [batch.end for batch in batches] == [0, 200, 500]
    assert [batch.status for batch in batches] == [None, None, "FINISHED"]


def test_a_fork_puts_nothing_into_the_spool_of_its_parent(tmp_path: Path) -> None:
    spool = make(tmp_path)
    child = os.fork()
    if child == 0:
        os._exit(0 if not spool.put({"p": {"a": 1}}) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert spool.waiting() == []
    spool.close()

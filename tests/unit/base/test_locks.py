"""The lock: one holder at a time, free when its holder dies, with and without flock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.objects import make_poor

from kist.base import atomic
from kist.base.locks import HEARTBEAT_STALE_S, FileLock, LockUnavailableError, RepositoryLockedError

_HOLD = """
import sys
from kist.base.locks import FileLock
with FileLock(sys.argv[1], by_link=sys.argv[2] == "True"):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: str, *, by_link: bool) -> subprocess.Popen[bytes]:
    """Returns a process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, path, str(by_link)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Waits for the end of a holder and closes its pipes."""
    process.communicate()


@pytest.mark.parametrize("by_link", [False, True])
def test_a_held_lock_is_refused_with_the_holders_id_and_free_after_its_death(
    tmp_path: Path, by_link: bool
) -> None:
    path = str(tmp_path / "tmp" / "lock")
    process = start_holder(path, by_link=by_link)
    try:
        with pytest.raises(RepositoryLockedError, match=f"process {process.pid} holds"):
            FileLock(path, wait_s=0, by_link=by_link).__enter__()
    finally:
        process.kill()
        end(process)
    with FileLock(path, by_link=by_link) as lock:
        assert lock is not None


@pytest.mark.parametrize("by_link", [False, True])
def test_a_lock_excludes_a_second_taker_and_is_free_after_the_block(tmp_path: Path, by_link: bool) -> None:
    path = str(tmp_path / "lock")
    for _ in range(2):
        with FileLock(path, by_link=by_link), pytest.raises(RepositoryLockedError):
            FileLock(path, wait_s=0, by_link=by_link).__enter__()
    with pytest.raises(ValueError, match="inside"), FileLock(path, by_link=by_link):
        raise ValueError("inside")
    with FileLock(path, wait_s=0, by_link=by_link):
        pass
    assert not [name for name in os.listdir(tmp_path) if name != "lock"]


def test_a_waiting_taker_gets_the_lock_when_the_holder_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    process = start_holder(path, by_link=False)
    assert process.stdin is not None
    process.stdin.close()  # the holder goes on its way while we wait
    process.stdin = None
    with FileLock(path, wait_s=None):
        end(process)
    assert process.returncode == 0


def test_where_flock_is_refused_a_link_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make_poor(monkeypatch)
    path = str(tmp_path / "lock")
    with FileLock(path), pytest.raises(RepositoryLockedError):
        FileLock(path, wait_s=0).__enter__()
    assert "flock" in asked
    with FileLock(path, wait_s=0):
        assert os.path.exists(path + ".link")
    assert not os.path.exists(path + ".link")


def test_a_link_lock_of_another_machine_counts_until_it_is_silent_for_long(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    link = path + ".link"
    Path(link).write_text(" 1 some-other-machine\n")
    with pytest.raises(RepositoryLockedError):
        FileLock(path, wait_s=0, by_link=True).__enter__()
    old = os.stat(link).st_mtime - HEARTBEAT_STALE_S - 60
    os.utime(link, (old, old))
    with FileLock(path, wait_s=5, by_link=True):
        assert Path(link).read_text() == f" {os.getpid()} {atomic.machine_name()}\n"


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LockUnavailableError, match="cannot lock the repository"):
        FileLock(str(tmp_path / "file" / "lock"), wait_s=0).__enter__()

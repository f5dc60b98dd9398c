"""The lock: one holder at a time, free when its holder dies, with and without flock."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.objects import make_poor

from kist.base import namelock
from kist.base.locks import FileLock, LockLostError, LockUnavailableError, RepositoryLockedError
from kist.base.namelock import STALE_S

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
    assert not [name for name in os.listdir(tmp_path) if name not in ("lock", "lock.d")]


def test_a_waiting_taker_gets_the_lock_when_the_holder_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    process = start_holder(path, by_link=False)
    assert process.stdin is not None
    process.stdin.close()  # the holder goes on its way while we wait
    process.stdin = None
    with FileLock(path, wait_s=None):
        end(process)
    assert process.returncode == 0


def turn_of(path: str) -> str:
    """Returns the name of the one file by which a lock is free or held."""
    (name,) = os.listdir(path + ".d/turn")
    return name


def hold_as(path: str, *fields: str, silent_s: float) -> None:
    """Leaves the lock held by somebody who was seen alive some time ago."""
    with FileLock(path, by_link=True):
        pass
    name = ",".join(["held", *fields])
    os.rename(path + ".d/turn/free", f"{path}.d/turn/{name}")
    beat = Path(path + ".d/beats", name)
    beat.touch()
    seen = beat.stat().st_mtime - silent_s
    os.utime(beat, (seen, seen))


def test_where_flock_is_refused_a_name_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make_poor(monkeypatch)
    path = str(tmp_path / "lock")
    with FileLock(path), pytest.raises(RepositoryLockedError):
        FileLock(path, wait_s=0).__enter__()
    assert "flock" in asked
    with FileLock(path, wait_s=0):
        assert turn_of(path).startswith(f"held,{os.getpid()},")
    assert turn_of(path) == "free"
    assert os.listdir(path + ".d/beats") == []


def test_a_lock_of_another_machine_counts_until_it_is_silent_for_long(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    hold_as(path, "1", "7", "boot.1", "elsewhere", "00", silent_s=STALE_S - 60)
    with pytest.raises(RepositoryLockedError, match="process 1 on 'elsewhere' holds"):
        FileLock(path, wait_s=0, by_link=True).__enter__()
    os.rename(f"{path}.d/turn/{turn_of(path)}", f"{path}.d/turn/free")
    hold_as(path, "1", "7", "boot.1", "elsewhere", "01", silent_s=STALE_S + 60)
    with FileLock(path, wait_s=0, by_link=True):
        assert turn_of(path).startswith(f"held,{os.getpid()},")


def test_the_clock_of_this_machine_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "lock")
    hold_as(path, "1", "7", "boot.1", "elsewhere", "00", silent_s=0)
    monkeypatch.setattr("time.time", lambda: 1e12)
    with pytest.raises(RepositoryLockedError, match="elsewhere"):
        FileLock(path, wait_s=0, by_link=True).__enter__()


@pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="the system does not tell when a process began"
)
def test_another_process_with_the_id_of_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with FileLock(path, by_link=True):
        _, pid, started, space, machine, _ = turn_of(path).split(",")
    hold_as(path, pid, started, space, machine, "00", silent_s=0)
    with pytest.raises(RepositoryLockedError):
        FileLock(path, wait_s=0, by_link=True).__enter__()
    os.rename(f"{path}.d/turn/{turn_of(path)}", f"{path}.d/turn/free")
    hold_as(path, pid, str(int(started) - 1), space, machine, "00", silent_s=0)
    with FileLock(path, wait_s=0, by_link=True):
        pass


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namelock, "BEAT_S", 0.01)
    path = str(tmp_path / "lock")
    with FileLock(path, by_link=True):
        beat = f"{path}.d/beats/{turn_of(path)}"
        os.utime(beat, (1, 1))
        deadline = time.monotonic() + 60
        while os.stat(beat).st_mtime == 1:
            assert time.monotonic() < deadline
        with pytest.raises(RepositoryLockedError):
            FileLock(path, wait_s=0, by_link=True).__enter__()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_shows_that_a_holder_lives_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "lock"), "True"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[writer],
    )
    os.close(writer)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    process.send_signal(number)
    end(process)
    assert os.read(reader, 1) == b""  # the last process that has the pipe open is gone
    os.close(reader)


def test_a_holder_that_lost_its_lock_says_so_at_the_end_and_takes_nobody_elses(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = FileLock(path, by_link=True)
    first.__enter__()
    # The machine slept for long, and another one took the lock.
    mine = turn_of(path)
    other = "held,1,7,boot.1,elsewhere,00"
    os.rename(f"{path}.d/turn/{mine}", f"{path}.d/turn/{other}")
    os.rename(f"{path}.d/beats/{mine}", f"{path}.d/beats/{other}")
    with pytest.raises(LockLostError, match="took the lock"):
        first.__exit__(None, None, None)
    assert turn_of(path) == other


def test_a_lock_whose_file_was_deleted_can_be_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with FileLock(path, by_link=True):
        pass
    os.unlink(path + ".d/turn/free")
    os.rmdir(path + ".d/turn")
    with FileLock(path, wait_s=0, by_link=True):
        pass


_WORK = """
import os, signal, sys
from kist.base.locks import FileLock
path, dies_at, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(rounds):
    with FileLock(path, wait_s=None, by_link=True):
        os.close(os.open(path + ".inside", os.O_CREAT | os.O_EXCL))  # fails if somebody else is inside
        os.unlink(path + ".inside")
        if number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_many_processes_that_take_it_and_die_with_it_are_never_two_inside(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    plans = [(dies_at, 12) for dies_at in (0, 3, 5, 99, 1, 99)]
    running: list[subprocess.Popen[bytes]] = []
    codes = []
    while plans or running:
        while plans and len(running) < 3:
            words = [sys.executable, "-c", _WORK, path, *map(str, plans.pop())]
            running.append(subprocess.Popen(words))
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].wait(0.01)
        # Those that end are waited for at once, or they would count as running where only ids tell.
        ended = [process for process in running if process.poll() is not None]
        codes += [process.returncode for process in ended]
        running = [process for process in running if process.returncode is None]
    assert sorted(codes) == [-9, -9, -9, -9, 0, 0]
    with FileLock(path, wait_s=0, by_link=True):
        pass
    assert os.listdir(path + ".d/beats") == []


def test_of_two_that_find_a_dead_holder_one_gets_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "lock")
    process = start_holder(path, by_link=True)
    process.kill()
    end(process)
    first = FileLock(path, wait_s=5, by_link=True)
    met: list[str] = []
    rename = os.rename

    def rename_late(source: str, target: str) -> None:
        # The second has seen that the holder is dead; before it acts on that, the first does so, and holds the lock.
        if os.path.exists(source) and not met:
            met.append(source)
            first.__enter__()
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_late)
    with pytest.raises(RepositoryLockedError, match=f"process {os.getpid()}"):
        FileLock(path, wait_s=0.2, by_link=True).__enter__()
    assert met
    first.__exit__(None, None, None)
    with FileLock(path, wait_s=0, by_link=True):
        pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LockUnavailableError, match="cannot lock the repository"):
        FileLock(str(tmp_path / "file" / "lock"), wait_s=0).__enter__()


@pytest.mark.parametrize("by_link", [False, True])
def test_a_lock_that_is_released_for_a_while_is_free_and_taken_again(tmp_path: Path, by_link: bool) -> None:
    path = str(tmp_path / "lock")
    with FileLock(path, wait_s=0, by_link=by_link) as lock:
        with lock.released(), FileLock(path, wait_s=0, by_link=by_link):
            pass
        with pytest.raises(RepositoryLockedError):
            FileLock(path, wait_s=0, by_link=by_link).__enter__()
    with FileLock(path, wait_s=0, by_link=by_link):
        pass


@pytest.mark.parametrize("by_link", [False, True])
def test_who_takes_the_lock_is_called_once_while_it_is_held_and_not_on_taking_it_back(
    tmp_path: Path, by_link: bool
) -> None:
    path = str(tmp_path / "lock")
    called = []

    def look() -> None:
        with pytest.raises(RepositoryLockedError), FileLock(path, wait_s=0, by_link=by_link):
            pass
        called.append(True)

    with FileLock(path, by_link=by_link, when_taken=look) as lock:
        assert called == [True]
        with lock.released():
            pass
        assert called == [True]

    def fail() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"), FileLock(path, by_link=by_link, when_taken=fail):
        pass
    with FileLock(path, wait_s=0, by_link=by_link):
        pass

"""Runs one command and says what it cost: wall time, CPU of all its processes, peak memory.

Linux only: memory comes from /proc, where shared pages are divided among those who share them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

SHORTEST_INTERVAL_S = 0.005
LONGEST_INTERVAL_S = 0.1
INTERVAL_SHARE = 20
"""Memory is looked at whenever such a part of the time so far has passed: a long command is not held up by it."""


class Measurement(NamedTuple):
    """What one run of a command cost.

    Args:
        wall_s: seconds from start to exit.
        cpu_s: user and system seconds of the process and of all children that it waited for.
        memory_bytes: highest sum seen of the proportional set sizes of the process tree.
        exit_code: as the shell would show it.
        output: standard output, and what was printed on the terminal (standard error).
    """

    wall_s: float
    cpu_s: float
    memory_bytes: int
    exit_code: int
    output: str


class CommandFailed(Exception):
    """A measured command ended with an exit code that was not expected."""


class ProcessTree:
    """The living processes of one command: its session, and whatever they start in other sessions."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._is_member = {leader: True}

    def _belongs(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat", "rb") as stream:
                # The program's name, in parentheses, may hold anything.
                fields = stream.read().rpartition(b")")[2].split()
        except OSError:
            return False
        return int(fields[3]) == self._leader or self._is_member.get(int(fields[1]), False)

    def members(self) -> list[int]:
        """Returns the process ids; each process of the machine is looked at once, when it is new."""
        living = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
        self._is_member = {
            pid: self._is_member[pid] if pid in self._is_member else self._belongs(pid) for pid in living
        }
        return [pid for pid, is_member in self._is_member.items() if is_member]

    def memory(self) -> int:
        """Returns the sum of the proportional set sizes in bytes."""
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
                for line in stream:
                    if line.startswith(b"Pss:"):
                        total += int(line.split()[1]) * 1024
                        break
        return total


def _drain(descriptor: int, into: list[bytes]) -> None:
    """Reads a terminal until its other side is closed, so that the command never waits for a reader."""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # Linux reports a closed terminal as EIO
            return
        if not block:
            return
        into.append(block)


def measure(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    terminal: bool = True,
    sample_memory: bool = True,
    expected: Sequence[int] = (0,),
) -> Measurement:
    """Returns the cost of one run of a command.

    Args:
        argv: program and arguments.
        terminal: connect standard error to a terminal, so that progress is shown and its cost counted.
        sample_memory: False for commands so short that looking at them would disturb them.
        expected: exit codes that count as success.

    Raises:
        CommandFailed: the exit code is another one.
    """
    printed: list[bytes] = []
    reader = None
    if terminal:
        ours, theirs = os.openpty()
        reader = threading.Thread(target=_drain, args=(ours, printed))
    else:
        theirs = os.open(os.devnull, os.O_WRONLY)
    read_end, write_end = os.pipe()
    output: list[bytes] = []
    output_reader = threading.Thread(target=_drain, args=(read_end, output))
    started = time.perf_counter()
    process = subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.close(write_end)
    output_reader.start()
    if reader is not None:
        reader.start()
    peak = 0
    if sample_memory:
        tree = ProcessTree(process.pid)
        while True:
            finished, status, usage = os.wait4(process.pid, os.WNOHANG)
            if finished:
                break
            peak = max(peak, tree.memory())
            pause = (time.perf_counter() - started) / INTERVAL_SHARE
            time.sleep(min(LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, pause)))
    else:
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    output_reader.join()
    os.close(read_end)
    if reader is not None:
        reader.join()
        os.close(ours)
    text = b"".join(output + printed).decode("utf-8", "replace")
    if process.returncode not in expected:
        raise CommandFailed(f"{' '.join(argv)} in {cwd}: exit code {process.returncode}\n{text[-4000:]}")
    return Measurement(wall, usage.ru_utime + usage.ru_stime, peak, process.returncode, text)

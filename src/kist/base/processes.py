"""What the system tells of other processes. Not here: whether one runs at all (atomic.is_alive)."""

from __future__ import annotations

import os


def state_of(pid: int) -> tuple[str, str]:
    """Returns a process's state and start time, "" and "0" where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError, UnicodeDecodeError):
        return "", "0"


def pid_space() -> str:
    """Returns in what numbers of processes are unique: this boot and, after a dot, container; "0" where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read()[:8]
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "0"


def is_elsewhere(space: str) -> bool:
    """Says whether a `pid_space` is another container's of this boot: whether its processes live cannot be told."""
    own = pid_space()
    return space != own and space.partition(".")[0] == own.partition(".")[0]

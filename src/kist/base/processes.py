"""What the system tells of other processes. Not here: whether one runs at all (atomic.is_alive)."""

from __future__ import annotations


def state_of(pid: int) -> tuple[str, str]:
    """Returns a process's state and start time, "" and "0" where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError, UnicodeDecodeError):
        return "", "0"

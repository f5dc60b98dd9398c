"""What `repro` tells while it works. Not here: the words (cli)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

RUNNING = "running"
COMMAND = "command"
CACHED = "cached"
NEW_LOCK = "new lock"
LOCK = "lock"
CHANGED_MEANWHILE = "changed meanwhile"
GAP = "gap"
UNCHANGED = "unchanged"
FROZEN = "frozen"
VERIFYING = "verifying"
VERIFYING_FROZEN = "verifying frozen"
PULLING = "pulling"
FAILED = "failed"
FAILURE_IGNORED = "failure ignored"
LEFT_OUT = "left out"
ITEMS = "items"
OUTPUT = "output"
ERROR_OUTPUT = "error output"


class Event(NamedTuple):
    """Something to tell the person.

    Attributes:
        kind: one of the names in capitals of this module.
        stage: as the person types it.
        text: a command line, a path, a cause; of OUTPUT and ERROR_OUTPUT a line that a command printed, which is told
            where several stages run at once.
    """

    kind: str
    stage: str
    text: str = ""


Tell = Callable[[Event], None]

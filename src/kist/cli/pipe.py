"""What to do when a standard stream is closed: its reader went away, as `head` does, or it was never there."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast

EXIT_BROKEN_PIPE = 141


def leave_broken_pipe() -> int:
    """Returns the exit status after the reader of stdout went away."""
    discard(sys.stdout)
    return EXIT_BROKEN_PIPE


def discard(stream: TextIO) -> None:
    """Sends what is still buffered nowhere, so that the interpreter's own flush at the exit cannot fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # closed, or without a descriptor: nothing is left to redirect
        pass


def open_closed_streams() -> None:
    """Puts the null device where the caller closed a standard stream (`>&-`).

    Otherwise the next file that is opened gets the number 1 or 2, and output meant for a person lands in it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = _text_stream(0, "r")
    if sys.stdout is None:
        sys.stdout = _text_stream(1, "w")
    if sys.stderr is None:
        sys.stderr = _text_stream(2, "w")


def _text_stream(descriptor: int, mode: str) -> TextIO:
    return cast("TextIO", os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))

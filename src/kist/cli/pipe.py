"""What to do when the reader of stdout went away, as `head` does."""

from __future__ import annotations

import os
import sys

EXIT_BROKEN_PIPE = 141


def leave_broken_pipe() -> int:
    """Returns the exit status; what is still buffered goes nowhere, so that the interpreter's own flush cannot fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is closed or has no descriptor: nothing is left to redirect
        pass
    return EXIT_BROKEN_PIPE

"""Lines that a person can paste into a shell.

Not here: running anything.
"""

from __future__ import annotations


def shell_line(*words: str) -> str:
    """Returns a line that a shell takes apart into these words again."""
    import shlex  # only for the hint of an error

    return shlex.join(words)

"""Hints that several commands give after their work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kist.cli.context import Context


def print_tracking_hint(context: Context, paths: Sequence[str]) -> None:
    """Says how changed files go into the next commit; silent when there are none, and with `--quiet`.

    Args:
        paths: as the person would type them here; those that were staged already are left out by the caller.

    Source: DVC 3.67.1, whose block programs look for.
    """
    if not paths or context.quiet:
        return
    import shlex  # only after a change

    names = " ".join([shlex.quote(path) for path in paths])
    context.console.info(
        f"\nTo track the changes with git, run:\n\n\tgit add {names}\n\n"
        "To enable auto staging, run:\n\n\tkist config core.autostage true"
    )

"""`kist root`: the way from here to the top of the repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help='Print {"root": ...}.')


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after printing the relative path."""
    relative = os.path.relpath(context.root(), context.cwd)
    if context.as_json:
        context.console.data_json({"root": relative})
    else:
        context.console.out(relative)
    return 0

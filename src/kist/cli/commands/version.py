"""`kist version`: what runs here, and what this system can do for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist import __version__

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after printing version, platform and configuration directories."""
    context.console.out(f"Kist version: {__version__}")
    return 0

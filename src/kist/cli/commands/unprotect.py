"""`kist unprotect`: makes linked data writable without touching the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the targets."""
    parser.add_argument("targets", nargs="+", help="Files or directories.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when no target shares its bytes with the cache any more."""
    from kist.repo.unprotect import unprotect

    unprotect(context.repository(), args.targets)
    return 0

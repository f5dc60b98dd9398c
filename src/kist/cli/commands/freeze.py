"""`kist freeze`: keeps stages from being run again when what they depend on changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the targets."""
    parser.add_argument("targets", nargs="+", help="Stages or .dvc files.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.freezing import freeze

    freeze(context, args.targets, frozen=True)
    return 0

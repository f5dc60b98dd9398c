"""`kist remove`: stops tracking data, or takes a stage out of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `remove`."""
    parser.add_argument("targets", nargs="+", help="`.dvc` files, or stages of `dvc.yaml`.")
    parser.add_argument("--outs", action="store_true", help="Delete the data as well.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all targets are gone. Says nothing, as DVC."""
    from kist.repo.remove import remove

    remove(context.repository(), args.targets, outs=args.outs)
    return 0

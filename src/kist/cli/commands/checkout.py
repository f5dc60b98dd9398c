"""`kist checkout`: makes the workspace's data what the metafiles say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `checkout`."""
    from kist.cli.transfer_options import add_target_options

    add_target_options(parser)
    parser.add_argument("--summary", action="store_true", help="Print only numbers.")
    parser.add_argument("-f", "--force", action="store_true", help="Drop changes that are stored nowhere.")
    parser.add_argument("--relink", action="store_true", help="Make all links or copies anew.")
    parser.add_argument("--allow-missing", action="store_true", help="Missing data is no failure.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when everything is as the metafiles say."""
    from kist.cli.changes import print_changes
    from kist.repo.checkout import CheckoutOptions, checkout

    repository = context.repository()
    options = CheckoutOptions(args.force, args.relink, args.allow_missing, args.with_deps, args.recursive)
    result = checkout(repository, args.targets, options)
    print_changes(context, repository, result, summary=args.summary)
    if args.relink and not context.as_json:
        context.console.info("Relinked successfully")
    error = result.error(repository, allow_missing=args.allow_missing)
    if error is not None:
        raise error
    return 0

"""`kist params`: how parameters differ between two revisions, or a revision and the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `diff` with DVC's options."""
    from kist.cli.differences import add_difference_arguments

    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    diff = below.add_parser(
        "diff", help="Show how parameters differ.", description="Show how parameters differ."
    )
    add_difference_arguments(diff, "parameters")
    diff.add_argument("--deps", action="store_true", help="Only parameters that stages depend on.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.differences import print_difference
    from kist.cli.unmarked import repository_or_folder
    from kist.repo.params import diff_params

    repository = repository_or_folder(context)
    found = diff_params(
        repository,
        args.a_rev,
        args.b_rev,
        targets=args.targets,
        everything=args.all,
        only_of_stages=args.deps,
    )
    print_difference(context, repository, found, args, title="Param", precision=None, shows_change=False)
    return 0

"""What `params diff` and `metrics diff` print alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kist.cli.context import Context
    from kist.repo.metrics import Difference
    from kist.repo.repository import Repository

PRECISION = 5
"""Digits after the point in tables of metrics."""


def add_difference_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds the options that both have."""
    parser.add_argument("a_rev", nargs="?", default="HEAD", help="The old revision; default: HEAD.")
    parser.add_argument(
        "b_rev", nargs="?", default="workspace", help="The new revision; default: the workspace."
    )
    parser.add_argument(
        "--targets",
        nargs="*",
        metavar="PATH",
        default=[],
        help=f"Only these files of {what}, declared or not.",
    )
    parser.add_argument("--all", action="store_true", help="Also what is equal.")
    parser.add_argument("--json", "--show-json", action="store_true", help="Print JSON, in DVC's shape.")
    parser.add_argument("--md", "--show-md", action="store_true", help="Print a Markdown table.")
    parser.add_argument("--no-path", action="store_true", help="Leave out the column of paths.")


def print_difference(
    context: Context,
    repository: Repository,
    found: Difference,
    args: argparse.Namespace,
    *,
    title: str,
    precision: int | None,
    shows_change: bool,
) -> None:
    """Prints differences as JSON, Markdown or columns; what could not be read is named on stderr."""
    from kist.cli.tables import table_lines
    from kist.compare.values import difference_table

    warn_of_failures(context, found.failed, title.lower() + "s")
    changes = {repository.shown(path): names for path, names in found.changes.items()}
    if context.as_json:
        context.console.out(json_text(changes))
        return
    table = difference_table(
        changes,
        title=title,
        names=(args.a_rev, args.b_rev),
        precision=precision,
        shows_path=not args.no_path,
        shows_change=shows_change,
    )
    for line in table_lines(table, markdown=args.md):
        context.console.out(line)


def warn_of_failures(context: Context, versions: Sequence[str], what: str) -> None:
    """Says on stderr of which versions something could not be read."""
    if versions:
        named = ", ".join(f"'{version or 'workspace'}'" for version in versions)
        context.console.warn(f"could not read all {what} of {named}; `--json` of `show` says why")


def json_text(value: object) -> str:
    """Returns JSON with texts in place of what JSON does not know, such as dates of YAML."""
    import json  # only commands asked for JSON pay for it

    return json.dumps(value, default=str)

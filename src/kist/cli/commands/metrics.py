"""`kist metrics`: the metrics of the workspace and of revisions, and how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.metrics import Failure, VersionValues
    from kist.repo.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `show` and `diff` with DVC's options."""
    from kist.cli.differences import PRECISION, add_difference_arguments

    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = below.add_parser("show", help="Show metrics.", description="Show metrics.")
    show.add_argument("targets", nargs="*", help="Only these files or folders, declared or not.")
    show.add_argument("-a", "--all-branches", action="store_true", help="Of all branches.")
    show.add_argument("-T", "--all-tags", action="store_true", help="Of all tags.")
    show.add_argument("-A", "--all-commits", action="store_true", help="Of all commits.")
    show.add_argument("--json", "--show-json", action="store_true", help="Print JSON, in DVC's shape.")
    show.add_argument("--md", "--show-md", action="store_true", help="Print a Markdown table.")
    diff = below.add_parser("diff", help="Show how metrics differ.", description="Show how metrics differ.")
    add_difference_arguments(diff, "metrics")
    for one in (show, diff):
        one.add_argument(
            "-R", "--recursive", action="store_true", help="Accepted for scripts; folders are always entered."
        )
        one.add_argument(
            "--precision",
            type=int,
            metavar="N",
            help=f"Digits after the point in tables; default: {PRECISION}. JSON has all.",
        )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0."""
    from kist.cli.unmarked import repository_or_folder

    repository = repository_or_folder(context)
    return (_show if args.action == "show" else _diff)(args, context, repository)


def _show(args: argparse.Namespace, context: Context, repository: Repository) -> int:
    from kist.cli.differences import PRECISION, json_text, warn_of_failures
    from kist.cli.tables import table_lines
    from kist.compare.values import values_table
    from kist.repo.metrics import show_metrics

    found = show_metrics(
        repository,
        args.targets,
        branches=args.all_branches,
        tags=args.all_tags,
        commits=args.all_commits,
    )
    warn_of_failures(context, [name for name, version in found.items() if version.has_failed], "metrics")
    if context.as_json:
        document = {name: _document(repository, version) for name, version in found.items()}
        context.console.out(json_text(document))
        return 0
    table = values_table(
        {
            name: {
                repository.shown(path): {} if file.failure else file.values
                for path, file in version.files.items()
            }
            for name, version in found.items()
        },
        shows_version=args.all_branches or args.all_tags or args.all_commits,
        precision=args.precision or PRECISION,
    )
    for line in table_lines(table, markdown=args.md):
        context.console.out(line)
    return 0


def _document(repository: Repository, version: VersionValues) -> dict[str, Any]:
    if version.failure is not None:
        return {"error": _error(version.failure)}
    return {
        "data": {
            repository.shown(path): {"data": file.values}
            if file.failure is None
            else {"error": _error(file.failure)}
            for path, file in version.files.items()
        }
    }


def _error(failure: Failure) -> dict[str, str]:
    return {"type": failure.kind, "msg": failure.message}


def _diff(args: argparse.Namespace, context: Context, repository: Repository) -> int:
    from kist.cli.differences import PRECISION, print_difference
    from kist.repo.metrics import diff_metrics

    found = diff_metrics(repository, args.a_rev, args.b_rev, targets=args.targets, everything=args.all)
    print_difference(
        context,
        repository,
        found,
        args,
        title="Metric",
        precision=args.precision or PRECISION,
        shows_change=True,
    )
    return 0

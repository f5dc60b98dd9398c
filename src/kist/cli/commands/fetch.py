"""`kist fetch`: brings data from a remote into the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `fetch`."""
    from kist.cli.parser import add_limit, number
    from kist.cli.transfer_options import add_json, add_remote_options, add_run_cache, add_target_options

    add_target_options(parser)
    add_remote_options(parser)
    add_limit(parser)
    add_json(parser)
    add_run_cache(parser, verb="bring")
    parser.add_argument("--max-size", type=number, metavar="BYTES", help="Leave larger outputs out.")
    parser.add_argument(
        "--type", action="append", choices=("metrics", "plots"), help="Only outputs of this kind."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the cache has everything."""
    from kist.cli.transfer_options import report_transfer, scope_of
    from kist.repo.fetch import fetch

    repository = context.repository()
    result, notes = fetch(
        repository,
        args.targets,
        remote=args.remote,
        jobs=args.jobs,
        scope=scope_of(args),
        with_deps=args.with_deps,
        recursive=args.recursive,
        max_size=args.max_size,
        kinds=frozenset(args.type or ()),
        with_runs=args.run_cache,
        is_detailed=context.as_json,
    )
    report_transfer(context, repository, result, notes, "fetch")
    return 0

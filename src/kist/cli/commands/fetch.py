"""`kist fetch`: brings data from a remote into the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `fetch`."""
    from kist.cli.transfer_options import add_scope, add_target_options

    add_target_options(parser)
    add_scope(parser)
    parser.add_argument("--run-cache", action="store_true", help="Also bring the history of stage runs.")
    parser.add_argument(
        "--no-run-cache", dest="run_cache", action="store_false", help="Do not (the default)."
    )
    parser.add_argument("--max-size", type=int, metavar="BYTES", help="Leave larger outputs out.")
    parser.add_argument(
        "--type", action="append", choices=("metrics", "plots"), help="Only outputs of this kind."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the cache has everything."""
    from kist.cli.changes import counted
    from kist.cli.transfer_options import report_failures, scope_of
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
    )
    for note in notes:
        context.console.note(note)
    if context.as_json:
        context.console.data_json(
            {"fetched": result.moved, "bytes": result.size_bytes, "failed": [list(f) for f in result.failed]}
        )
    elif result.moved or not result.failed:
        context.console.info(
            f"{counted(result.moved)} fetched" if result.moved else "Everything is up to date."
        )
    report_failures(repository, result, "fetch")
    return 0

"""`kist push`: sends data to a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `push`."""
    from kist.cli.transfer_options import add_scope, add_target_options

    add_target_options(parser)
    add_scope(parser)
    parser.add_argument("--run-cache", action="store_true", help="Also send the history of stage runs.")
    parser.add_argument(
        "--no-run-cache", dest="run_cache", action="store_false", help="Do not (the default)."
    )
    parser.add_argument("--glob", action="store_true", help="Targets are patterns.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the remote has everything."""
    from kist.cli.transfer_options import report_failures, scope_of
    from kist.repo.push import push

    repository = context.repository()
    result, notes = push(
        repository,
        args.targets,
        remote=args.remote,
        jobs=args.jobs,
        scope=scope_of(args),
        with_deps=args.with_deps,
        recursive=args.recursive,
        use_glob=args.glob,
        with_runs=args.run_cache,
    )
    for note in notes:
        context.console.note(note)
    if context.as_json:
        context.console.data_json(
            {"pushed": result.moved, "bytes": result.size_bytes, "failed": [list(f) for f in result.failed]}
        )
    elif result.moved or not result.failed:
        from kist.cli.changes import counted

        context.console.info(
            f"{counted(result.moved)} pushed" if result.moved else "Everything is up to date."
        )
    report_failures(repository, result, "push")
    return 0

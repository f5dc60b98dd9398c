"""`kist push`: sends data to a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `push`."""
    from kist.cli.parser import add_limit
    from kist.cli.transfer_options import add_json, add_remote_options, add_run_cache, add_target_options

    add_target_options(parser)
    add_remote_options(parser)
    add_limit(parser)
    add_json(parser)
    add_run_cache(parser, verb="send")
    parser.add_argument("--glob", action="store_true", help="Targets are patterns.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the remote has everything."""
    from kist.cli.transfer_options import report_transfer, scope_of
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
        is_detailed=context.as_json,
    )
    report_transfer(context, repository, result, notes, "push")
    return 0

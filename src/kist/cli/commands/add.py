"""`kist add`: tracks files or directories and stores them in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.parser import add_limit, number

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `add`, and `--file`, which DVC had until 2.x."""
    parser.add_argument("targets", nargs="+", help="Files or directories.")
    parser.add_argument("--no-commit", action="store_true", help="Only hash; do not store in the cache.")
    parser.add_argument("--glob", action="store_true", help="Targets are patterns.")
    parser.add_argument("--file", metavar="FILE", help="Write this metafile; one target.")
    parser.add_argument(
        "-o", "--out", metavar="PATH", help="Copy the target, from anywhere, to this path and track it."
    )
    parser.add_argument("--to-remote", action="store_true", help="Store straight in the remote, not here.")
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote for --to-remote.")
    parser.add_argument("--remote-jobs", type=number, metavar="N", help="Parallel jobs for --to-remote.")
    add_limit(parser)
    parser.add_argument("-f", "--force", action="store_true", help="Overwrite the path given with --out.")
    parser.add_argument("--no-relink", action="store_true", help="Leave workspace files as they are.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all targets are tracked."""
    from kist.cli.hints import print_tracking_hint
    from kist.repo.add import AddOptions, CannotAddError, add
    from kist.repo.add_from import add_from

    for option, value in (("--file", args.file), ("--out", args.out), ("--to-remote", args.to_remote)):
        if value and len(args.targets) != 1:
            raise CannotAddError(
                f"cannot add: {option} takes one target", hint="run the command once for each target"
            )
    if args.glob and (args.out or args.to_remote):
        raise CannotAddError(
            "cannot add: --glob does not go with --out or --to-remote", hint="leave one of them out"
        )
    if args.no_commit and args.to_remote:
        raise CannotAddError(
            "cannot add: --no-commit does not go with --to-remote", hint="leave one of them out"
        )
    for option, value in (("--remote", args.remote), ("--remote-jobs", args.remote_jobs)):
        if value and not args.to_remote:
            raise CannotAddError(
                f"cannot add: {option} goes with --to-remote", hint="add `--to-remote`, or leave it out"
            )
    repository = context.repository()
    if args.out or args.to_remote:
        result = add_from(
            repository,
            args.targets[0],
            out=args.out,
            remote=args.remote,
            to_remote=args.to_remote,
            force=args.force,
            jobs=args.remote_jobs,
        )
    else:
        options = AddOptions(args.file, not args.no_commit, args.glob, not args.no_relink)
        result = add(repository, args.targets, options)
    for note in repository.take_notes():
        context.console.warn(note)
    if context.as_json:
        shown = [repository.shown(path) for path in result.metafiles]
        context.console.data_json(
            {"metafiles": shown, "to_stage": [repository.shown(p) for p in result.to_stage]}
        )
    else:
        print_tracking_hint(context, [repository.shown(path) for path in result.to_stage])
    return 0

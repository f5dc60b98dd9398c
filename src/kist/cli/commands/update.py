"""`kist update`: takes what the sources of imported data have now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.parser import add_limit, number_above_0
from kist.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.collect import Stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `update`."""
    parser.add_argument("targets", nargs="+", help="Metafiles of imports.")
    parser.add_argument(
        "--rev", nargs="?", metavar="REV", help="Take this branch, tag or commit, and follow it."
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="Folders mean all imports below them.")
    parser.add_argument("--to-remote", action="store_true", help="Store it in a remote alone, not here.")
    parser.add_argument(
        "--no-download", action="store_true", help="Note the version, and bring the data with a later pull."
    )
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote for --to-remote.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many requests may go at once."
    )
    add_limit(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when all targets are up to date."""
    from kist.cli.hints import print_tracking_hint
    from kist.registry.addresses import shown
    from kist.repo.update import UpdateOptions, update

    if args.remote and not args.to_remote:
        raise UsageError("`kist update`: --remote goes with --to-remote", hint="add `--to-remote`")
    if args.to_remote and args.no_download:
        raise UsageError("`kist update`: --to-remote does not go with --no-download", hint="leave one out")
    repository = context.repository()

    def started(stage: Stage, is_newer: bool) -> None:
        assert stage.metafile is not None
        if not is_newer:
            context.console.info(f"'{repository.shown(stage.file)}' didn't change, skipping")
            return
        dep = stage.metafile.deps[0]
        where = f"{dep.path} ({shown(str(dep.repo['url']))})" if dep.repo else shown(dep.path)
        context.console.info(f"Importing '{where}' -> '{repository.shown(stage.outs[0].path)}'")

    options = UpdateOptions(
        args.rev, args.recursive, not args.no_download, args.to_remote, args.remote, args.jobs
    )
    done = update(repository, args.targets, options, started=started)
    for note in repository.take_notes():
        context.console.note(note)
    to_stage = [repository.shown(path) for path in done.to_stage]
    if context.as_json:
        context.console.data_json(
            {
                "metafiles": [repository.shown(path) for path in done.metafiles],
                "changed": [repository.shown(path) for path in done.changed],
                "to_stage": to_stage,
            }
        )
    else:
        print_tracking_hint(context, to_stage)
    return 0

"""What the commands that import share: their options, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.parser import number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.at_address import Opener
    from kist.repo.get import Download, Got
    from kist.repo.importing import Imported, ImportOptions


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--no-exec`, `--no-download`, `-f`, `-j`."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--no-exec", action="store_true", help="Only write the metafile; ask nobody and bring nothing."
    )
    group.add_argument(
        "--no-download", action="store_true", help="Note the version, and bring the data with a later pull."
    )
    parser.add_argument("-f", "--force", action="store_true", help="Write over what is there.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many requests may go at once."
    )


def import_options(args: argparse.Namespace) -> ImportOptions:
    """Returns what the options say."""
    from kist.repo.importing import ImportOptions

    return ImportOptions(
        args.out,
        args.force,
        not args.no_exec,
        not args.no_download,
        getattr(args, "to_remote", False),
        args.remote if getattr(args, "to_remote", False) else None,
        args.jobs,
    )


def report(context: Context, done: Imported) -> int:
    """Says what was imported; returns 0."""
    from kist.cli.hints import print_tracking_hint

    repository = context.repository()
    for note in repository.take_notes():
        context.console.note(note)
    to_stage = [repository.shown(path) for path in done.to_stage]
    if context.as_json:
        context.console.data_json(
            {
                "path": repository.shown(done.path),
                "metafile": repository.shown(done.metafile),
                "to_stage": to_stage,
            }
        )
    else:
        print_tracking_hint(context, to_stage)
    return 0


def opener_of(context: Context) -> Opener:
    """Returns what opens addresses, inside of a repository or not."""
    from kist.repo.at_address import Opener
    from kist.repo.repository import find_root

    repository = context.repository() if find_root(context.cwd) is not None else None
    ask = context.console.ask_secret if context.console.is_answered else None
    return Opener(context.environ, ask, repository)


def download_of(args: argparse.Namespace, context: Context) -> Download:
    """Returns where a download is to go."""
    from kist.base.limiter import Limiter
    from kist.base.parallel import default_workers
    from kist.repo.get import Download

    limiter = Limiter(context.bytes_per_s) if context.bytes_per_s is not None else None
    return Download(
        context.cwd,
        args.out,
        args.force,
        context.progress,
        args.jobs or default_workers(),
        args.jobs,
        limiter,
    )


def report_download(context: Context, done: Got) -> int:
    """Says what was downloaded where asked for as JSON; returns 0."""
    if context.as_json:
        context.console.data_json({"path": done.path, "files": done.files, "bytes": done.size_bytes})
    return 0

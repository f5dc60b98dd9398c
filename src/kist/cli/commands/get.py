"""`kist get`: downloads data of another repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.elsewhere import add_repository_arguments, open_from
from kist.cli.importing import download_of, report_download
from kist.cli.parser import add_limit, number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `get`."""
    add_repository_arguments(parser, is_path_needed=True)
    parser.add_argument("-o", "--out", nargs="?", metavar="PATH", help="Where to put it; default: its name.")
    parser.add_argument("--show-url", action="store_true", help="Only print where its object is stored.")
    parser.add_argument("-f", "--force", action="store_true", help="Write over what is there.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many requests may go at once."
    )
    add_limit(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when it was downloaded."""
    from kist.repo.get import get, object_address

    repository, path, rev = open_from(args, context)
    repository.leave_alone()
    commit = None
    if rev is not None:
        assert repository.git is not None
        commit = repository.git.resolve(rev)
        repository.commit = commit
    if args.show_url:
        context.console.out(object_address(repository, path, commit))
        return 0
    done = get(repository, path, commit, download_of(args, context))
    return report_download(context, done)

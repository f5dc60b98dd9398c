"""`kist import`: brings data of another repository here, and notes which version it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.importing import add_import_arguments, import_options, report
from kist.cli.parser import add_limit

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `import`."""
    parser.add_argument("url", help="A repository: a path on this machine, or an address of Git.")
    parser.add_argument("path", help="A file or folder in it.")
    parser.add_argument("-o", "--out", nargs="?", metavar="PATH", help="Where to put it; default: its name.")
    parser.add_argument("--rev", nargs="?", metavar="REV", help="A branch, tag or commit.")
    parser.add_argument("--config", metavar="FILE", help="Settings on top of the repository's own.")
    parser.add_argument("--remote", metavar="NAME", help="The repository's remote to ask.")
    parser.add_argument(
        "--remote-config", nargs="*", metavar="NAME=VALUE", help="Options of its default remote."
    )
    add_import_arguments(parser)
    add_limit(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when it was imported."""
    from kist.registry.addresses import shown
    from kist.repo.elsewhere import parse_remote_config
    from kist.repo.import_data import Named
    from kist.repo.importing import import_path

    options = parse_remote_config(args.remote_config or [])
    named = Named(args.url, args.path, args.rev, None, args.config, options or args.remote)
    if options and args.remote:
        named = named.with_remote(args.remote, options)
    repository = context.repository()

    def started(path: str) -> None:
        context.console.info(f"Importing '{args.path} ({shown(args.url)})' -> '{repository.shown(path)}'")

    return report(context, import_path(repository, named, import_options(args), started=started))

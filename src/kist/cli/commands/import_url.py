"""`kist import-url`: brings data from a storage or a path of this machine, and notes where it is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.importing import add_import_arguments, import_options, report
from kist.cli.parser import add_limit
from kist.errors import InputError, UsageError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


class VersionAwareError(InputError):
    """`--version-aware` is not known yet. Leave it out: what is at the address now is imported."""

    code = "version-aware-import"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `import-url`."""
    parser.add_argument(
        "url", help="A path, an address such as s3://BUCKET/PATH or https://..., or remote://NAME/PATH."
    )
    parser.add_argument("out", nargs="?", help="Where to put it; default: its name.")
    add_import_arguments(parser)
    parser.add_argument("--to-remote", action="store_true", help="Store it in a remote alone, not here.")
    parser.add_argument("-r", "--remote", metavar="NAME", help="The remote for --to-remote.")
    parser.add_argument("--version-aware", action="store_true", help="Not known yet.")
    parser.add_argument(
        "--fs-config", action="append", default=[], metavar="NAME=VALUE", help="An option of the storage."
    )
    add_limit(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when it was imported."""
    from kist.repo.at_address import parse_options
    from kist.repo.importing import import_url

    if args.version_aware:
        raise VersionAwareError(
            f"cannot import '{args.url}' by versions: `--version-aware` is not known yet",
            hint="leave `--version-aware` out: what is there now is imported",
        )
    if args.to_remote and (args.no_exec or args.no_download):
        raise UsageError(
            "`kist import-url`: --to-remote does not go with --no-exec or --no-download",
            hint="leave one of them out",
        )
    if args.remote and not args.to_remote:
        raise UsageError("`kist import-url`: --remote goes with --to-remote", hint="add `--to-remote`")
    repository = context.repository()

    def started(path: str) -> None:
        from kist.registry.addresses import shown

        context.console.info(f"Importing '{shown(args.url)}' -> '{repository.shown(path)}'")

    options = parse_options(args.fs_config, keeps=True)
    return report(context, import_url(repository, args.url, options, import_options(args), started=started))

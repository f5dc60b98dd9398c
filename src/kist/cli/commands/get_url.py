"""`kist get-url`: downloads what is at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.cli.importing import download_of, opener_of, report_download
from kist.cli.parser import add_limit, number_above_0

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `get-url`."""
    parser.add_argument(
        "url", help="A path, an address such as s3://BUCKET/PATH or https://..., or remote://NAME/PATH."
    )
    parser.add_argument("out", nargs="?", help="Where to put it; default: its name.")
    parser.add_argument("-f", "--force", action="store_true", help="Write over what is there.")
    parser.add_argument(
        "-j", "--jobs", type=number_above_0, metavar="N", help="How many requests may go at once."
    )
    parser.add_argument(
        "--fs-config", action="append", default=[], metavar="NAME=VALUE", help="An option of the storage."
    )
    add_limit(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when it was downloaded."""
    from kist.repo.at_address import parse_options
    from kist.repo.get import get_url

    options = parse_options(args.fs_config, keeps=False)
    return report_download(
        context, get_url(args.url, options, opener_of(context), download_of(args, context))
    )

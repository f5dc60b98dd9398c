"""`kist move`: renames tracked data with its metafile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds source and destination."""
    parser.add_argument("src", help="Data that a `.dvc` file tracks.")
    parser.add_argument("dst", help="Its new path, or a folder to move it into.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the data and its metafile are at the new place."""
    from kist.cli.hints import print_tracking_hint
    from kist.repo.move import move

    repository = context.repository()
    result = move(repository, args.src, args.dst)
    if result.was_missing:
        context.console.warn(f"'{args.src}' is not in the workspace; its metafile alone was moved")
    print_tracking_hint(context, [repository.shown(path) for path in result.to_stage])
    return 0

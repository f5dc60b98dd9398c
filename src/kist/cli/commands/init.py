"""`kist init`: makes a repository for data here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's options of `init`."""
    parser.add_argument("directory", nargs="?", default=".", help="Where; default: here.")
    parser.add_argument("--no-scm", action="store_true", help="Do without Git.")
    parser.add_argument(
        "-f", "--force", action="store_true", help="Replace an existing .dvc, its cache included."
    )
    parser.add_argument(
        "--subdir", action="store_true", help="Allow a folder below the top of the Git repository."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the repository is there."""
    from kist.repo.init import init  # imports Git's part

    path = os.path.normpath(os.path.join(context.cwd, args.directory))
    staged = init(path, environ=context.environ, no_scm=args.no_scm, force=args.force, subdir=args.subdir)
    if context.as_json:
        context.console.data_json({"root": path, "staged": [os.path.relpath(name, path) for name in staged]})
        return 0
    context.console.info("Initialized a repository for data; real DVC works in it too.")
    if staged:
        context.console.info()
        context.console.info("You can now commit the changes to git.")
        context.console.hint("git commit -m 'Initialize kist'")
    return 0

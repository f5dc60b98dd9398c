"""`kist cache dir`: show and change where the cache is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.cli.levels import add_level_options, make_editor, say_warnings, shown_value

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `kist cache`."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    summary = "Show or change where the cache is."
    directory = commands.add_parser("dir", help=summary, description=summary)
    directory.add_argument(
        "value",
        nargs="?",
        help="The new place; a relative path is meant from here. Left out, the present one is shown.",
    )
    add_level_options(directory)
    directory.add_argument("-u", "--unset", action="store_true", help="Go back to the default, .dvc/cache.")
    directory.add_argument("--json", action="store_true", help='Print {"dir": ...}.')


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after showing or changing the place of the cache."""
    from kist.repo.config_edit import CACHE

    editor = make_editor(context)
    if args.unset:
        editor.unset_option(args.level or "project", CACHE, "dir")
        say_warnings(context, editor)
        return 0
    if args.value is not None:
        editor.set_option(args.level or "project", CACHE, "dir", args.value)
        say_warnings(context, editor)
        return 0
    setting = editor.get(args.level, CACHE, "dir")
    if setting is not None:
        place = shown_value(setting.value)
    else:
        place = os.path.join(os.path.dirname(editor.path_of("project")), "cache")
    if context.as_json:
        context.console.data_json({"dir": place})
    else:
        context.console.out(place)
    return 0

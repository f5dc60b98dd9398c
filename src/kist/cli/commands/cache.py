"""`kist cache`: show and change where the cache is; bring an old one to the layout of DVC 3."""

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

    summary = "Store data of DVC 2 and older in the layout of DVC 3, too."
    migrate = commands.add_parser("migrate", help=summary, description=summary)
    migrate.add_argument(
        "--dvc-files", action="store_true", help="Also write metafiles anew, from the data in the workspace."
    )
    migrate.add_argument("--dry", action="store_true", help="Only say what would be done.")
    migrate.add_argument("--json", action="store_true", help="Print what was done as JSON.")


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns the exit status of the subcommand."""
    return _migrate(args, context) if args.subcommand == "migrate" else _directory(args, context)


def _migrate(args: argparse.Namespace, context: Context) -> int:
    """Returns 0, or 1 when damaged objects were left."""
    from kist.cli.hints import print_tracking_hint
    from kist.repo.cache_migrate import migrate_cache, shown_file

    repository = context.repository()
    console = context.console
    done = migrate_cache(repository, with_metafiles=args.dvc_files, dry=args.dry)
    to_stage = [repository.shown(path) for path in done.to_stage]
    if context.as_json:
        console.data_json({"dry": args.dry, **done._asdict(), "to_stage": to_stage})
        return 1 if done.damaged else 0
    if args.dry:
        console.info(f"{done.objects} files will be re-hashed and migrated to the DVC 3.0 cache location.")
    else:
        console.info(f"Migrated {done.objects} files to DVC 3.0 cache location.")
    for oid in done.damaged:
        console.error(f"cannot migrate object '{oid}': its bytes are not what its name says")
    if done.damaged:
        console.hint("kist fsck")
    if done.files == []:
        console.info("No DVC files in the repo to migrate to the 3.0 format.")
    elif done.files and args.dry:
        console.info("Entries in following DVC files will be migrated to the 3.0 format:")
        for file in done.files:
            console.info(f"\t{shown_file(repository, file)}")
    if to_stage:
        print_tracking_hint(context, to_stage)
    return 1 if done.damaged else 0


def _directory(args: argparse.Namespace, context: Context) -> int:
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

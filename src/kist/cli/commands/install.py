"""`kist install`: Git's hooks and the merge driver for this clone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds DVC's option of `install`, and `--remove`."""
    parser.add_argument(
        "--use-pre-commit-tool",
        action="store_true",
        help="Put the hooks into .pre-commit-config.yaml for the pre-commit tool.",
    )
    parser.add_argument(
        "--remove", action="store_true", help="Undo: take hooks, merge driver and attributes away."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0; a second run changes nothing."""
    from kist.cli.hints import print_tracking_hint
    from kist.repo.hooks import install, remove

    repository = context.repository()
    console = context.console
    if args.remove:
        result = remove(repository)
    else:
        result = install(repository, use_pre_commit_tool=args.use_pre_commit_tool)
    verb = "Removed" if args.remove else "Installed"
    for what in result.changed:
        console.info(f"{verb} {what}.")
    if not result.changed and repository.git is not None:
        console.info("Nothing to remove." if args.remove else "Everything is installed.")
    for note in result.notes:
        console.note(note)
    print_tracking_hint(context, [repository.shown(path) for path in result.unstaged])
    return 0

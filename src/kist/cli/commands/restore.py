"""`kist restore`: brings one tracked path back as a commit has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.restore import RestoreResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `restore`."""
    from kist.cli.worlds import add_common

    parser.add_argument("path", help="A tracked file or directory, or a path inside of one.")
    parser.add_argument("--rev", metavar="REV", default="HEAD", help="From this version; default: HEAD.")
    parser.add_argument("-f", "--force", action="store_true", help="Drop what is saved nowhere.")
    add_common(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when the path is as that version has it."""
    from kist.cli.worlds import done_or_dry, words_of
    from kist.repo.restore import RestoreOptions, error_of, restore, restore_commands

    repository = context.repository()
    words = words_of(["kist", "restore", args.path, "--rev", args.rev])
    options = RestoreOptions(args.rev, args.force, words)
    result = done_or_dry(
        args,
        context,
        lambda: restore_commands(repository, args.path, options),
        lambda: restore(repository, args.path, options),
    )
    if result is None:
        return 0
    _print(context, repository, result)
    error = error_of(result, repository)
    if error is not None:
        raise error
    return 0


def _print(context: Context, repository: Repository, result: RestoreResult) -> None:
    from kist.cli.changes import shown, summary_line
    from kist.cli.worlds import print_fetched, print_notes

    print_notes(context, result.notes, result.said)
    if context.as_json:
        context.console.data_json(_as_json(repository, result))
        return
    say = context.console.info
    print_fetched(context, result.fetched)
    for change in result.data.changes:
        say(f"data: {shown(repository, change.path)} {change.kind}, as in {result.commit[:7]}")
    line = summary_line(result.data)
    say(f"data: {line}" if line else "data: everything is in place")
    metafile = repository.shown(result.metafile)
    say(f"git: {metafile} {'changed, not committed' if result.is_changed else 'says so already'}")
    if result.is_changed:
        context.console.hint("kist save")


def _as_json(repository: Repository, result: RestoreResult) -> dict[str, Any]:
    from kist.cli.changes import changes_json

    return {
        "path": repository.shown(result.path),
        "commit": result.commit,
        "metafile": repository.shown(result.metafile),
        "changed": result.is_changed,
        "fetched": result.fetched.moved,
        "data": changes_json(repository, result.data),
        "to_stage": [repository.shown(path) for path in result.to_stage],
    }

"""`kist switch`: moves Git and data to another branch, tag or commit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.switch import SwitchResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `switch`."""
    from kist.cli.worlds import add_common

    parser.add_argument(
        "rev", nargs="?", metavar="REV", help="Branch, tag or commit; `-` is the branch before."
    )
    parser.add_argument("-c", "--create", metavar="BRANCH", help="Make this branch, at REV or here.")
    parser.add_argument("-f", "--force", action="store_true", help="Drop what is saved nowhere.")
    add_common(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when Git and data are there."""
    from kist.cli.worlds import done_or_dry, words_of
    from kist.errors import UsageError
    from kist.repo.switch import SwitchOptions, error_of, switch, switch_commands

    if args.rev is None and args.create is None:
        raise UsageError(
            "`kist switch` needs a branch, tag or commit",
            hint="name one with `kist switch REV`, or make one with `kist switch -c BRANCH`",
        )
    creates = args.create is not None
    name = args.create if creates else args.rev
    words = ["kist", "switch", *(["-c", args.create] if creates else []), *([args.rev] if args.rev else [])]
    options = SwitchOptions(creates, args.rev if creates else None, args.force, words_of(words))
    repository = context.repository()
    result = done_or_dry(
        args,
        context,
        lambda: switch_commands(repository, name, options),
        lambda: switch(repository, name, options),
    )
    if result is None:
        return 0
    _print(context, repository, result)
    error = error_of(result, repository)
    if error is not None:
        raise error
    return 0


def _print(context: Context, repository: Repository, result: SwitchResult) -> None:
    from kist.cli.worlds import print_data, print_fetched, print_left_alone, print_notes, where

    print_notes(context, result.notes, result.said)
    if context.as_json:
        context.console.data_json(_as_json(repository, result))
        return
    say = context.console.info
    moved = "" if result.place != result.before else ", as before"
    say(f"git: {where(result.place)}{moved}")
    print_fetched(context, result.fetched)
    if result.data is not None:
        print_data(context, repository, result.data)
    print_left_alone(context, repository, result.left_alone)


def _as_json(repository: Repository, result: SwitchResult) -> dict[str, Any]:
    from kist.cli.changes import changes_json

    return {
        "branch": result.place.branch,
        "commit": result.place.head,
        "fetched": result.fetched.moved + (result.data.transfer.moved if result.data is not None else 0),
        "data": None if result.data is None else changes_json(repository, result.data.checkout),
        "left_alone": [repository.shown(path) for path in result.left_alone],
    }

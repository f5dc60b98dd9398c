"""`kist sync`: brings the branch up to its upstream, and the data of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context
    from kist.repo.repository import Repository
    from kist.repo.sync import SyncResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `sync`."""
    from kist.cli.worlds import add_common

    add_common(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 when Git and data are as the upstream has them, joined with what is here."""
    from kist.cli.worlds import done_or_dry
    from kist.repo.sync import sync, sync_commands

    repository = context.repository()
    result = done_or_dry(args, context, lambda: sync_commands(repository), lambda: sync(repository))
    if result is None:
        return 0
    _print(context, repository, result)
    error = result.data.checkout.error(repository)
    if error is not None:
        raise error
    return 0


def _print(context: Context, repository: Repository, result: SyncResult) -> None:
    from kist.cli.worlds import print_data, print_fetched, print_left_alone, print_notes, where

    print_notes(context, result.notes, result.said)
    if context.as_json:
        context.console.data_json(_as_json(repository, result))
        return
    say = context.console.info
    how = {
        "up to date": f"up to date with {result.upstream}",
        "fast-forward": f"fast-forward to {result.upstream}",
        "merge": f"merged {result.upstream}",
        "rebase": f"rebased onto {result.upstream}",
    }[result.how]
    say(f"git: {how}; {where(result.place)}")
    print_fetched(context, result.fetched)
    print_data(context, repository, result.data)
    print_left_alone(context, repository, result.left_alone)


def _as_json(repository: Repository, result: SyncResult) -> dict[str, Any]:
    from kist.cli.changes import changes_json

    return {
        "how": result.how,
        "upstream": result.upstream,
        "branch": result.place.branch,
        "before": result.before.head,
        "commit": result.place.head,
        "fetched": result.fetched.moved + result.data.transfer.moved,
        "data": changes_json(repository, result.data.checkout),
        "left_alone": [repository.shown(path) for path in result.left_alone],
    }

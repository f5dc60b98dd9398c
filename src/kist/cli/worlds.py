"""How save, switch, sync and restore tell what they do in both worlds, data and Git, and print it with `--dry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kist.cli.context import Context
    from kist.git.porcelain import Place
    from kist.repo.counting import Tally
    from kist.repo.pull import PullResult
    from kist.repo.repository import Repository
    from kist.repo.transfers import TransferResult

Result = TypeVar("Result")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds `--dry`, `--limit` and `--json`."""
    from kist.cli.parser import add_limit  # argparse

    parser.add_argument(
        "--dry",
        action="store_true",
        help="Change nothing; print the commands of git and kist that do the same.",
    )
    add_limit(parser)
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def print_commands(context: Context, repository: Repository, commands: Sequence[Sequence[str]]) -> None:
    """Prints commands that can be pasted, one a line; as JSON a list of lists of words. Notes go to stderr."""
    from kist.repo.journal import may_be_interrupted

    if may_be_interrupted(repository):
        context.console.note("without `--dry` an interrupted command is settled first")
    leave_notes(context, repository)
    if context.as_json:
        context.console.data_json({"commands": [list(words) for words in commands]})
        return
    import shlex  # only with --dry

    for words in commands:
        context.console.out(shlex.join(words))


def done_or_dry(
    args: argparse.Namespace,
    context: Context,
    commands: Callable[[], Sequence[Sequence[str]]],
    act: Callable[[], Result],
) -> Result | None:
    """Returns what `act` came to; with `--dry` prints the commands that do the same, and returns None.

    What fails leaves its lines for the person first.
    """
    repository = context.repository()
    try:
        if args.dry:
            print_commands(context, repository, commands())
            return None
        return act()
    except BaseException:
        leave_notes(context, repository)
        raise


def words_of(args: Sequence[str]) -> str:
    """Returns a command as a person would type it, for the journal."""
    import shlex

    return shlex.join(args)


def print_notes(context: Context, notes: Sequence[str], said: Sequence[str] = ()) -> None:
    """Writes what git said, and lines for the person, to stderr."""
    for line in [*said, *notes]:
        context.console.note(line)


def leave_notes(context: Context, repository: Repository) -> None:
    """Writes the lines that a command which failed had for the person."""
    print_notes(context, repository.take_notes())


def counted_changes(tally: Tally | None) -> str:
    """Returns "12 files added, 3 changed", or "changed" where the numbers are not known."""
    if tally is None:
        return "changed"
    parts = [
        f"{number} {word}"
        for number, word in ((tally.added, "added"), (tally.changed, "changed"), (tally.removed, "removed"))
        if number
    ]
    if not parts:
        return "unchanged"
    number, _, word = parts[0].partition(" ")
    return ", ".join([f"{number} file{'' if number == '1' else 's'} {word}", *parts[1:]])


def human(size_bytes: int | None) -> str:
    """Returns a size as people read it; "?" where it is not known."""
    if size_bytes is None:
        return "?"
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def where(place: Place) -> str:
    """Returns where HEAD is: `branch main at 3f2a1bc`."""
    at = f" at {place.head[:7]}" if place.head is not None else ""
    return f"branch {place.branch}{at}" if place.branch is not None else f"no branch (HEAD is detached){at}"


def print_fetched(context: Context, fetched: TransferResult) -> None:
    """Says how much came from a remote, where something did."""
    if fetched.moved:
        from kist.cli.changes import counted

        context.console.info(f"data: {counted(fetched.moved)} fetched from {fetched.remotes[0]}")


def print_left_alone(context: Context, repository: Repository, paths: Sequence[str]) -> None:
    """Names the files that were edited and are not touched."""
    for path in paths:
        context.console.info(f"data: {repository.shown(path)} was edited and stays as it is")


def print_data(context: Context, repository: Repository, data: PullResult) -> None:
    """Prints what happened to the workspace's data, an output a line."""
    from kist.cli.changes import counted, shown, summary_line

    say = context.console.info
    if data.transfer.moved:
        say(f"data: {counted(data.transfer.moved)} fetched")
    for change in sorted(data.checkout.changes, key=lambda item: item.path):
        say(f"data: {shown(repository, change.path)} {change.kind}")
    line = summary_line(data.checkout)
    say(f"data: {line}" if line else "data: everything is in place")

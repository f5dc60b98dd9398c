"""`kist help`: the overview, or the help of one command or subcommand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.cli.overview import overview
from kist.cli.run import command_parser
from kist.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the name of the command."""
    parser.add_argument(
        "words", nargs="*", metavar="command", help="The command, and its subcommand if it has some."
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Returns 0 after printing the help.

    Raises: UnknownCommandError, UsageError.
    """
    if not args.words:
        context.console.out(overview(), end="")
        return 0
    parser = command_parser(args.words[0])
    for word in args.words[1:]:
        children = parser.children()
        if word not in children:
            near = closest(word, children)
            hint = (
                f"choose from: {', '.join(children)}"
                if children
                else shell_line("kist", "help", args.words[0])
            )
            if near is not None:
                hint = f"did you mean `{shell_line('kist', 'help', args.words[0], near)}`?"
            raise UsageError(f"`{parser.prog}` has no command '{word}'", hint=hint)
        parser = children[word]
    context.console.out(parser.format_help(), end="")
    return 0

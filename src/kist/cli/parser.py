"""The argument parser of a command: DVC's general options everywhere, and usage errors as exceptions with a suggestion.

Not here: the options before the command (main reads them by itself, so that `--help` needs no argparse).
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, NoReturn

from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.cli.errors import UnknownOptionError
from kist.cli.options import IGNORED_FLAGS, IGNORED_VALUES, PROGRESS_MODES
from kist.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


_REQUIRED = "the following arguments are required: "
"""How argparse begins to say that something is missing."""


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one command or subcommand; errors are raised, not printed.

    A command's own option of the same spelling replaces a general one.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _HelpFormatter)
        settings.setdefault("conflict_handler", "resolve")
        settings["add_help"] = False
        super().__init__(**settings)
        self.set_defaults(_parser=self)
        self.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help="Show this help.")
        self.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="Say only errors and data."
        )
        self.add_argument(
            "-v", "--verbose", action="count", default=argparse.SUPPRESS, help="Say more; twice: even more."
        )
        self.add_argument(
            "--no-color", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        self.add_argument(
            "--progress", choices=PROGRESS_MODES, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        self.add_argument(
            "--show-stack", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        for flag in IGNORED_FLAGS:
            self.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        for option in IGNORED_VALUES:
            self.add_argument(option, default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def parse_args(  # type: ignore[override]  # the overloads of the base class add nothing here
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Returns the parsed arguments.

        Raises: UsageError, UnknownOptionError.
        """
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            parser: CommandParser = parsed._parser
            parser.refuse(rest)
        return parsed

    def refuse(self, rest: Sequence[str]) -> NoReturn:
        """Raises the error for arguments that nobody wants."""
        option = next((word for word in rest if word.startswith("-") and word != "--"), None)
        if option is None:
            words = " ".join(f"'{word}'" for word in rest)
            raise UsageError(f"`{self.prog}` does not take {words}", hint=self._help_hint())
        option = option.partition("=")[0]
        guess = closest(option, self.visible_options()) if option.startswith("--") else None
        raise UnknownOptionError(
            f"`{self.prog}` has no option '{option}'",
            hint=f"did you mean `{guess}`?" if guess else self._help_hint(),
        )

    def visible_options(self) -> list[str]:
        """Returns the spellings of all options that the help shows."""
        return [spelling for action in self.visible_actions() for spelling in action.option_strings]

    def children(self) -> dict[str, CommandParser]:
        """Returns the subcommands by name, aliases included."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def children_help(self) -> dict[str, str]:
        """Returns the one-line helps of the subcommands, by name without aliases."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return {choice.dest: choice.help or "" for choice in action._choices_actions}
        return {}

    def visible_actions(self) -> list[argparse.Action]:
        """Returns the options and arguments that the help shows, without the choice of a subcommand."""
        return [
            action
            for action in self._actions
            if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)
        ]

    def error(self, message: str) -> NoReturn:
        """Raises UsageError for a mistake that argparse found."""
        children = list(self.children_help())
        if message.startswith(_REQUIRED) and children:
            raise UsageError(f"`{self.prog}` needs a command", hint=f"choose from: {', '.join(children)}")
        if message.startswith(_REQUIRED):
            names = [f"'{name}'" for name in message.removeprefix(_REQUIRED).split(", ")]
            raise UsageError(f"`{self.prog}` needs {' and '.join(names)}", hint=self._help_hint())
        raise UsageError(f"`{self.prog}`: {message.removeprefix('argument ')}", hint=self._help_hint())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        guess = closest(str(value), choices)
        if isinstance(action, argparse._SubParsersAction):
            message = f"`{self.prog}` has no command '{value}'"
            hint = (
                f"did you mean `{shell_line(*self.prog.split(), guess)}`?"
                if guess
                else f"choose from: {', '.join(choices)}"
            )
        else:
            name = "/".join(action.option_strings) or action.dest
            message = f"`{self.prog}`: '{value}' is not a value of {name}"
            hint = f"did you mean `{guess}`?" if guess else f"choose from: {', '.join(choices)}"
        raise UsageError(message, hint=hint)

    def _help_hint(self) -> str:
        return shell_line(*self.prog.split(), "--help")


def mistake(message: str) -> Exception:
    """Returns what the type of an argument raises when the text is no value of it."""
    return argparse.ArgumentTypeError(message)


def number(text: str) -> int:
    """Returns the whole number that an argument is."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from error


def number_above_0(text: str) -> int:
    """Returns the whole number above 0 that an argument is."""
    found = number(text)
    if found < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0")
    return found


def rate(text: str) -> int:
    """Returns how many bytes a second an argument means: `10M` is 10 MiB/s; K, M, G, T count by 1024, as curl's do."""
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "")
    try:
        found = float(digits) * 1024.0 ** ("", "K", "M", "G", "T").index(unit)
    except ValueError:
        found = 0.0
    if not 1024.0 <= found < 2.0**60:
        raise argparse.ArgumentTypeError(f"'{text}' is no rate of at least 1K, such as 500K or 10M")
    return int(found)


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Adds `--limit`."""
    parser.add_argument(
        "--limit",
        type=rate,
        metavar="RATE",
        help="Bytes a second to and from remotes, such as 500K or 10M (10 MiB/s).",
    )


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Knows the width itself: the base class imports shutil to find it, also where no help is written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return max(int(columns) - 2, 40)
    try:
        return min(max(os.get_terminal_size().columns - 2, 40), 110)
    except OSError:  # stdout is no terminal
        return 98

"""The options before the command, read without argparse, so that `kist --help` and `kist --version` start at once."""

from __future__ import annotations

from kist.base.suggest import closest
from kist.cli.errors import UnknownOptionError
from kist.errors import UsageError

PROGRESS_MODES = ("auto", "none", "json")
IGNORED_FLAGS = (
    "--cprofile",
    "--yappi",
    "--yappi-separate-threads",
    "--viztracer",
    "--viztracer-async",
    "--pdb",
    "--instrument",
    "--instrument-open",
)
"""Hidden profiling options of DVC: accepted so that scripts run, and ignored."""
IGNORED_VALUES = ("--cprofile-dump", "--viztracer-depth")
_SHORT = {"-q": "--quiet", "-v": "--verbose", "-h": "--help", "-V": "--version"}
_FLAGS = (
    "--quiet",
    "--verbose",
    "--help",
    "--version",
    "--wait-for-lock",
    "--no-color",
    "--json",
    "--show-stack",
)
_VALUES = ("--cd", "--progress")


class GlobalOptions:
    """What was said before the command, and the words from the command on.

    Attributes:
        help, version: asked for instead of a command.
        directory: of `--cd`, or None.
        progress: one of PROGRESS_MODES.
        rest: the command and its arguments; empty when there is none.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = 0
        self.help = False
        self.version = False
        self.wait_for_lock = False
        self.no_color = False
        self.json = False
        self.show_stack = False
        self.directory: str | None = None
        self.progress = "auto"
        self.rest: list[str] = []


def read_global_options(words: list[str]) -> GlobalOptions:
    """Returns the options in front of the first word that is none.

    Raises: UnknownOptionError, UsageError.
    """
    options = GlobalOptions()
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--" or not word.startswith("-") or word == "-":
            break
        position += 1
        if not word.startswith("--"):
            for letter in word[1:]:
                _set_flag(options, _full_name(f"-{letter}"))
        else:
            name, equals, value = word.partition("=")
            name = _full_name(name)
            if name not in _VALUES + IGNORED_VALUES:
                if equals:
                    raise UsageError(f"option '{name}' takes no value", hint=_HELP_HINT)
                _set_flag(options, name)
            else:
                if not equals:
                    if position == len(words):
                        raise UsageError(f"option '{name}' needs a value", hint=_HELP_HINT)
                    value = words[position]
                    position += 1
                _set_value(options, name, value)
        if options.help or options.version:
            break
    if options.quiet and options.verbose:
        raise UsageError("options '--quiet' and '--verbose' exclude each other", hint="leave one of them out")
    options.rest = words[position:]
    return options


_HELP_HINT = "kist --help"


def _full_name(spelling: str) -> str:
    known = _FLAGS + _VALUES + IGNORED_FLAGS + IGNORED_VALUES
    if spelling in known:
        return spelling
    if spelling in _SHORT:
        return _SHORT[spelling]
    matches = [name for name in known if name.startswith(spelling)] if spelling.startswith("--") else []
    if len(matches) == 1:
        return matches[0]
    guess = closest(spelling, _FLAGS + _VALUES) if spelling.startswith("--") else None
    raise UnknownOptionError(
        f"`kist` has no option '{spelling}'", hint=f"did you mean `{guess}`?" if guess else _HELP_HINT
    )


def _set_flag(options: GlobalOptions, name: str) -> None:
    if name == "--verbose":
        options.verbose += 1
    elif name not in IGNORED_FLAGS:
        setattr(options, name[2:].replace("-", "_"), True)


def _set_value(options: GlobalOptions, name: str, value: str) -> None:
    if name == "--cd":
        options.directory = value
    elif name == "--progress":
        if value not in PROGRESS_MODES:
            raise UsageError(
                f"'{value}' is not a way of progress", hint=f"choose from: {', '.join(PROGRESS_MODES)}"
            )
        options.progress = value

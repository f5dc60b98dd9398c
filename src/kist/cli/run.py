"""Runs one command: options, signals, the command's parser and module, and the rendering of its errors."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.cli import errors
from kist.cli.console import Console, wants_colour
from kist.cli.context import Context
from kist.cli.options import GlobalOptions, read_global_options
from kist.cli.table import Command, all_commands, find_command
from kist.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from types import FrameType
    from typing import Protocol

    from kist.cli.parser import CommandParser

    class CommandModule(Protocol):
        """What a module below kist.cli.commands offers."""

        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            """Adds the command's own arguments to its parser."""

        def run(self, args: argparse.Namespace, context: Context) -> int:
            """Returns the exit status."""


def run(words: list[str]) -> int:
    """Returns the exit status of `kist` with these arguments, after saying on stderr what went wrong."""
    state = _State()
    try:
        with _Signals():
            code = _run(words, state)
            state.console.flush()
            return code
    except SystemExit as ending:  # argparse ends this way after `--help`
        return int(ending.code or 0)
    except BrokenPipeError:
        from kist.cli.pipe import leave_broken_pipe

        return leave_broken_pipe()
    except BaseException as error:  # noqa: BLE001  # the edge: nothing may leave as a traceback
        return errors.report(
            error,
            console=state.console,
            command=state.command.name if state.command else "",
            domain_exit_code=state.command.domain_exit_code if state.command else errors.EXIT_UNEXPECTED,
            traceback=state.traceback,
        )


class _State:
    """What is known so far, for the rendering of an error that comes at any moment."""

    def __init__(self) -> None:
        self.console = Console(err_colour=wants_colour(sys.stderr, os.environ))
        self.command: Command | None = None
        self.traceback = False


def _run(words: list[str], state: _State) -> int:
    options = read_global_options(words)
    state.console = _make_console(options)
    state.traceback = options.verbose > 0 or options.show_stack
    if options.version or options.help or not options.rest:
        return _answer(options, state)
    if options.directory is not None:
        _change_directory(options.directory)
    state.command = _find(options.rest[0])
    module = load_module(state.command)
    parser = make_parser(state.command, module)
    args = parser.parse_args(options.rest[1:])
    _merge(args, options)
    state.traceback = options.verbose > 0 or options.show_stack
    state.console = _make_console(options)
    context = _make_context(options, state.console)
    context.bytes_per_s = getattr(args, "limit", None)
    try:
        return module.run(args, context)
    finally:
        context.warn_of_old_spellings()
        context.close()


def load_module(command: Command) -> CommandModule:
    """Returns the imported module of a command."""
    return cast("CommandModule", import_module(f"kist.cli.commands.{command.module}"))


def make_parser(command: Command, module: CommandModule) -> CommandParser:
    """Returns the complete parser of a command."""
    from kist.cli.parser import CommandParser  # argparse

    parser = CommandParser(prog=f"kist {command.name}", description=command.help)
    module.add_arguments(parser)
    return parser


def command_parser(name: str) -> CommandParser:
    """Returns the complete parser of the command with this name or alias.

    Raises: UnknownCommandError.
    """
    command = _find(name)
    return make_parser(command, load_module(command))


def _answer(options: GlobalOptions, state: _State) -> int:
    if options.version:
        from kist import __version__

        state.console.out(__version__)
        return 0
    from kist.cli.overview import overview

    if options.help:
        state.console.out(overview(), end="")
        return 0
    raise UsageError("`kist` needs a command", hint="kist --help")


def _find(name: str) -> Command:
    command = find_command(name)
    if command is not None:
        return command
    known = [word for one in all_commands() for word in (one.name, *one.aliases)]
    guess = closest(name, known)
    raise errors.UnknownCommandError(
        f"`kist` has no command '{name}'",
        hint=f"did you mean `{shell_line('kist', guess)}`?" if guess else "kist --help",
    )


def _merge(args: argparse.Namespace, options: GlobalOptions) -> None:
    """Joins the general options before and after the command into both."""
    options.quiet = options.quiet or getattr(args, "quiet", False)
    options.verbose += getattr(args, "verbose", 0)
    if options.quiet and options.verbose:
        raise UsageError("options '--quiet' and '--verbose' exclude each other", hint="leave one of them out")
    args.quiet, args.verbose = options.quiet, options.verbose
    options.no_color = options.no_color or getattr(args, "no_color", False)
    options.show_stack = options.show_stack or getattr(args, "show_stack", False)
    options.progress = getattr(args, "progress", options.progress)
    if not hasattr(args, "json"):
        if options.json:
            raise UsageError(f"`{args._parser.prog}` has no output as JSON", hint="leave `--json` out")
    else:
        options.json = args.json = options.json or bool(args.json)


def _make_console(options: GlobalOptions) -> Console:
    return Console(
        quiet=options.quiet,
        out_colour=wants_colour(sys.stdout, os.environ, allowed=not options.no_color),
        err_colour=wants_colour(sys.stderr, os.environ, allowed=not options.no_color),
    )


def _make_context(options: GlobalOptions, console: Console) -> Context:
    from kist.cli.render_progress import make_progress

    return Context(
        cwd=os.getcwd(),
        environ=os.environ,
        console=console,
        progress=make_progress(options.progress, quiet=options.quiet, console=console),
        quiet=options.quiet,
        verbose=options.verbose,
        as_json=options.json,
        wait_for_lock=options.wait_for_lock,
    )


def _change_directory(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        cause = (error.strerror or "input/output error").lower()
        above = os.path.dirname(directory.rstrip("/")) or "."
        raise errors.DirectoryChangeError(
            f"cannot change to '{directory}': {cause}", hint=shell_line("ls", above)
        ) from error


class _Signals:
    """While entered, SIGTERM and SIGHUP raise in the main thread, as SIGINT does, so that cleaning up happens.

    Only the first one: a second signal ends the process at once, which is safe at any moment.
    """

    def __enter__(self) -> None:
        self._before = [
            (number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        ]
        for number, handler in self._before:
            if handler is not signal.SIG_IGN:  # `nohup` stays in force
                signal.signal(number, _raise)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise errors.SignalReceived(number)

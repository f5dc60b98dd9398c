"""Writes docs/reference/commands.md and docs/reference/errors.md from the code; `--check` says whether they are true.

The text is made from the parsers' parts, not from argparse's own help, whose form differs between Python versions.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import os
import pkgutil
import sys

import kist
from kist.cli.parser import CommandParser
from kist.cli.run import command_parser
from kist.cli.table import GROUPS
from kist.errors import KistError

NOTE = "<!-- Written by `make docs` from the code; changes by hand are lost. -->\n"
GENERAL = {"help", "quiet", "verbose"}


def commands_page() -> str:
    """Returns the page of all commands."""
    parts = [
        "# Commands\n",
        NOTE,
        "All commands take `-h`, `-q` and `-v`, before or after their name. `kist --help` lists what else may stand",
        "before the command. Exit codes are in [errors.md](errors.md).\n",
    ]
    for title, commands in GROUPS:
        parts.append(f"## {title}\n")
        for command in commands:
            parts += command_part(command_parser(command.name), command.help, command.aliases)
    return "\n".join(parts)


def command_part(parser: CommandParser, summary: str, aliases: tuple[str, ...] = ()) -> list[str]:
    """Returns the lines about a command or subcommand and what is below it."""
    lines = [f"### {parser.prog}\n", _cell(summary) + "\n"]
    if aliases:
        lines.append("Also: " + ", ".join(f"`kist {alias}`" for alias in aliases) + ".\n")
    actions = [action for action in parser.visible_actions() if action.dest not in GENERAL]
    helps = parser.children_help()
    if helps:
        lines.append(f"Takes one of: {', '.join(f'`{name}`' for name in helps)}.\n")
    if actions:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| {_spelling(action)} | {_cell(_help(action))} |" for action in actions]
        lines.append("")
    for name, text in helps.items():
        lines += command_part(parser.children()[name], text)
    return lines


def _spelling(action: argparse.Action) -> str:
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {_metavar(action)}"
        return ", ".join(f"`{name}{value}`" for name in action.option_strings)
    name = _metavar(action)
    return {"*": f"`[{name} ...]`", "+": f"`{name} [{name} ...]`", "?": f"`[{name}]`"}.get(
        str(action.nargs), f"`{name}`"
    )


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    return text % {**vars(action), "prog": "kist"} if "%" in text else text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def errors_page() -> str:
    """Returns the page of exit codes and error codes."""
    lines = [
        "# Exit codes and errors\n",
        NOTE,
        "Errors are text on stderr, also with `--json`: a line `error: ...`, and most often a line `hint: ...` that",
        "says what to do. stdout holds data only, and with an error it may be empty.\n",
        "| exit code | when |",
        "|---|---|",
        "| 0 | done; also when there was nothing to do |",
        "| 1, 255 | an error, 1 or 255 as the same command of DVC gives it |",
        "| 130, 143, 129 | ended by Ctrl-C, SIGTERM, SIGHUP; temporary files are removed |",
        "| 141 | the reader of stdout went away |",
        "| 251 | a configuration file or option is wrong |",
        "| 253 | not inside a repository |",
        "| 254 | the command line cannot be understood |",
        "",
        "Each error has a permanent code.\n",
        "| code | exit code | meaning |",
        "|---|---|---|",
    ]
    for code, kind in sorted(error_classes().items()):
        exit_code = "1 or 255" if kind.exit_code is None else str(kind.exit_code)
        lines.append(
            f"| `{code}` | {exit_code} | {_cell(inspect.getdoc(kind) or '').split(' Class attributes:')[0]} |"
        )
    return "\n".join(lines) + "\n"


def error_classes() -> dict[str, type[KistError]]:
    """Returns every error class of the package by its code.

    Raises: ValueError when two classes share a code.
    """
    for module in pkgutil.walk_packages(kist.__path__, "kist."):
        importlib.import_module(module.name)
    found: dict[str, type[KistError]] = {}
    waiting = [KistError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind) and found.setdefault(kind.code, kind) is not kind:
            raise ValueError(f"the code '{kind.code}' belongs to two classes: {kind} and {found[kind.code]}")
    return found


def main() -> int:
    """Returns the exit status."""
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    is_check = sys.argv[1:] == ["--check"]
    stale = 0
    for path, text in (
        ("docs/reference/commands.md", commands_page()),
        ("docs/reference/errors.md", errors_page()),
    ):
        old = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                old = stream.read()
        if is_check and old != text:
            stale = 1
            print(f"{path} is not what the code says; run `make docs`")
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), text.splitlines(True), path, "code", n=0)
            )
        elif old != text:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
    return stale


if __name__ == "__main__":
    sys.exit(main())

"""Writes the generated pages; `--check` says whether they are true.

docs/reference/commands.md and docs/reference/errors.md are made here from the code, docs/man/*.1 by make_man.py, and
llms.txt from the other pages by make_llms.py.

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
from check_docs import pages, read
from kist.cli.parser import CommandParser
from kist.cli.run import command_parser
from kist.cli.table import GROUPS
from kist.errors import KistError
from make_llms import llms_page
from make_man import EXIT_CODES, GENERAL, help_text, man_pages, metavar

NOTE = "<!-- Written by `make docs` from the code; changes by hand are lost. -->\n"
MAN = "docs/man"


def commands_page() -> str:
    """Returns the page of all commands."""
    parts = [
        "# Commands\n",
        NOTE,
        "Every command with all of its options. All of them take `-h`, `-q` and `-v`, before or after their name.",
        "`kist --help` lists what else may stand before the command. Exit codes are in [errors.md](errors.md).\n",
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
        lines += [f"| {_spelling(action)} | {_cell(help_text(action))} |" for action in actions]
        lines.append("")
    for name, text in helps.items():
        lines += command_part(parser.children()[name], text)
    return lines


def _spelling(action: argparse.Action) -> str:
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {metavar(action)}"
        return ", ".join(f"`{name}{value}`" for name in action.option_strings)
    name = metavar(action)
    return {"*": f"`[{name} ...]`", "+": f"`{name} [{name} ...]`", "?": f"`[{name}]`"}.get(
        str(action.nargs), f"`{name}`"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def errors_page() -> str:
    """Returns the page of exit codes and error codes."""
    lines = [
        "# Exit codes and errors\n",
        NOTE,
        "What each exit code and each error code means. Errors are text on stderr, also with `--json`: a line",
        "`error: ...`, and most often a line `hint: ...` that says what to do. stdout holds data only, and with an",
        "error it may be empty.\n",
        "| exit code | when |",
        "|---|---|",
        *(f"| {codes} | {text} |" for codes, text in EXIT_CODES),
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
        if not module.name.startswith(
            "kist.integrations."
        ):  # each needs its framework, and has no errors of its own
            importlib.import_module(module.name)
    found: dict[str, type[KistError]] = {}
    waiting = [KistError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind) and found.setdefault(kind.code, kind) is not kind:
            raise ValueError(f"the code '{kind.code}' belongs to two classes: {kind} and {found[kind.code]}")
    return found


def generated() -> dict[str, str]:
    """Returns the text of each generated file by its path. llms.txt comes last: it reads the others."""
    made = {"docs/reference/commands.md": commands_page(), "docs/reference/errors.md": errors_page()}
    for name, text in man_pages(read("CHANGELOG.md")).items():
        made[f"{MAN}/{name}"] = text
    made["llms.txt"] = llms_page(
        sorted({*pages(), *(path for path in made if path.endswith(".md"))}),
        lambda path: made[path] if path in made else read(path),
    )
    return made


def main() -> int:
    """Returns the exit status."""
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    is_check = sys.argv[1:] == ["--check"]
    made = generated()
    os.makedirs(MAN, exist_ok=True)
    gone = [path for name in sorted(os.listdir(MAN)) if (path := f"{MAN}/{name}") not in made]
    stale = [path for path, text in made.items() if not os.path.exists(path) or read(path) != text]
    for path in gone + stale:
        if is_check:
            print(f"{path} is not what the code and the pages say; run `make docs`")
            old = read(path).splitlines(True) if os.path.exists(path) else []
            sys.stdout.writelines(
                difflib.unified_diff(old, made.get(path, "").splitlines(True), path, "made", n=0)
            )
        elif path in made:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(made[path])
        else:
            os.remove(path)
    return 1 if is_check and (gone or stale) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes the manual pages (roff, man(7) macros) from the parsers: kist(1), and kist-COMMAND(1) for each command.

Only makes them: `make docs` writes and `make check` compares them, through make_reference.py.
"""

from __future__ import annotations

import argparse
import re

from kist import __version__
from kist.cli.overview import OPTIONS_BEFORE
from kist.cli.parser import CommandParser
from kist.cli.run import command_parser
from kist.cli.table import GROUPS, Command

FIRST_DAY = "2026-11-21"
"""The date in the pages of a version that is not released yet: deterministic, and man(7) wants one."""
GENERAL = {"help", "quiet", "verbose"}
EXIT_CODES = (
    ("0", "done; also when there was nothing to do"),
    ("1, 255", "an error, 1 or 255 as the same command of DVC gives it"),
    ("130, 143, 129", "ended by Ctrl-C, SIGTERM, SIGHUP; temporary files are removed"),
    ("141", "the reader of stdout went away"),
    ("251", "a configuration file or option is wrong"),
    ("253", "not inside a repository"),
    ("254", "the command line cannot be understood"),
)
_ENVIRONMENT = (
    ("NO_COLOR, FORCE_COLOR", "No colours; colours also off a terminal."),
    ("DVC_GLOBAL_CONFIG_DIR, DVC_SYSTEM_CONFIG_DIR", "Where your own and the machine's configuration are."),
    ("KIST_ALLOW_MISSING", "Let `git push` pass though data is not on the remote."),
)
_FILES = (
    (
        ".dvc/config, .dvc/config.local",
        "Settings of the project, shared through Git, and those of this clone alone.",
    ),
    ("~/.config/dvc/config, /etc/xdg/dvc/config", "Your own settings, and the machine's."),
    (".dvc/cache", "The data, named by its content, unless cache.dir says another place."),
    ("*.dvc, dvc.yaml, dvc.lock", "Which data belongs to a commit; for Git to keep."),
    (".dvcignore", "What is left out inside of tracked directories."),
)
_EXAMPLES = (
    ("Track a directory, in a Git repository:", ("kist init", "kist add photos")),
    (
        "Send it to a folder that others can reach:",
        ("kist remote add -d storage /mnt/team/birds", "kist push"),
    ),
    ("Get it in a clone:", ("kist pull",)),
    ("Store what changed, commit, tag and push in one step:", ("kist save -m 'An owl' --tag v2 --push",)),
    ("Go back to a version, code and data:", ("kist switch v1",)),
)


def man_pages(changes: str) -> dict[str, str]:
    """Returns the pages by their file names.

    Args:
        changes: the text of CHANGELOG.md, which has the day of a release.
    """
    released = re.search(rf"^## {re.escape(__version__)}, (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE)
    day = released[1] if released else FIRST_DAY
    pages = {"kist.1": _first_page(day)}
    for _, commands in GROUPS:
        for command in commands:
            page = _command_page(command, commands, day)
            # Whole copies: a page that only includes another one is found where both are installed, and nowhere else.
            pages.update({f"kist-{name}.1": page for name in (command.name, *command.aliases)})
    return pages


def _first_page(day: str) -> str:
    lines = [
        *_head("kist", "data version control beside Git", day),
        ".SH SYNOPSIS",
        "\\fBkist\\fR [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        _text(
            "Kist keeps large data under version control beside Git: datasets, images, models. Git holds small text "
            "files that say which data belongs to a commit; the data itself lies in a cache, and in a storage that "
            "is shared."
        ),
        ".PP",
        _text(
            "It is a drop-in replacement for DVC: the same files in the repository, the same commands, options and "
            "exit codes. stdout is data, stderr is everything else."
        ),
        ".PP",
        _text("Each command has a page of its own: `man kist-add`, or `kist add --help`."),
        ".SH OPTIONS",
        _text("These stand before the command; `-q`, `-v`, `-h` and `--json` may also follow it."),
        *[line for spelling, text in OPTIONS_BEFORE for line in _item(_options_text(spelling), text)],
        ".SH COMMANDS",
    ]
    for title, commands in GROUPS:
        lines.append(f".SS {_text(title)}")
        for command in commands:
            lines += _item(f"\\fBkist\\-{_text(command.name)}\\fR(1)", command.help)
    lines.append(".SH EXIT STATUS")
    for codes, text in EXIT_CODES:
        lines += _item(f"\\fB{codes}\\fR", _sentence(text))
    for heading, rows in (("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        lines.append(f".SH {heading}")
        for names, text in rows:
            lines += _item(f"\\fB{_text(names)}\\fR", text)
    lines.append(".SH EXAMPLES")
    for at, (text, commands_to_type) in enumerate(_EXAMPLES):
        lines += [*([".PP"] if at else []), _text(text), ".PP", ".RS 4", ".nf"]
        lines += [_text(line) for line in commands_to_type]
        lines += [".fi", ".RE"]
    lines += [".SH SEE ALSO", "\\fBgit\\fR(1)"]
    return "\n".join(lines) + "\n"


def _command_page(command: Command, group: tuple[Command, ...], day: str) -> str:
    parser = command_parser(command.name)
    children = parser.children_help()
    names = ", ".join(f"kist-{name}" for name in (command.name, *command.aliases))
    lines = [*_head(names, _phrase(command.help), day), ".SH SYNOPSIS"]
    synopses = [_synopsis(parser.children()[name]) for name in children] or [_synopsis(parser)]
    lines += [line for at, one in enumerate(synopses) for line in ([".br"] if at else []) + [one]]
    lines += [".SH DESCRIPTION", _text(command.help)]
    if command.aliases:
        also = ", ".join(f"\\fBkist {_text(alias)}\\fR" for alias in command.aliases)
        lines += [".PP", f"The same as {also}."]
    if children:
        lines.append(".SH COMMANDS")
        for name, text in children.items():
            child = parser.children()[name]
            lines += [f".SS {_text(child.prog)}", _text(text), *_items(child)]
    elif items := _items(parser):
        lines += [".SH OPTIONS", *items]
    lines += [
        ".SH EXIT STATUS",
        f"0 when it was done, {command.domain_exit_code} after an error; the others are in \\fBkist\\fR(1).",
        ".SH SEE ALSO",
    ]
    others = ["kist", *(f"kist-{other.name}" for other in group if other is not command)]
    lines.append(",\n".join(f"\\fB{_text(name)}\\fR(1)" for name in others))
    return "\n".join(lines) + "\n"


def _head(names: str, summary: str, day: str) -> list[str]:
    first = names.partition(",")[0]
    return [
        '.\\" Written by `make docs` from the code; changes by hand are lost.',
        f'.TH {_text(first.upper())} 1 {day} "Kist {__version__}" "Kist manual"',
        ".SH NAME",
        f"{_text(names)} \\- {_text(summary)}",
    ]


def _synopsis(parser: CommandParser) -> str:
    actions = [action for action in parser.visible_actions() if action.dest not in GENERAL]
    words = [f"\\fB{_text(parser.prog)}\\fR"]
    if any(action.option_strings for action in actions):
        words.append("[\\fIOPTION\\fR]...")
    words += [_argument(action) for action in actions if not action.option_strings]
    return " ".join(words)


def _items(parser: CommandParser) -> list[str]:
    lines: list[str] = []
    for action in parser.visible_actions():
        if action.dest not in GENERAL:
            spelling = _spelling(action) if action.option_strings else _argument(action)
            lines += _item(spelling, help_text(action))
    return lines


def _item(term: str, text: str) -> list[str]:
    return [".TP", term, _text(text)]


def _spelling(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" \\fI{_text(metavar(action))}\\fR"
    return ", ".join(f"\\fB{_text(name)}\\fR{value}" for name in action.option_strings)


def _argument(action: argparse.Action) -> str:
    name = f"\\fI{_text(metavar(action).upper())}\\fR"
    return {"*": f"[{name}]...", "+": f"{name}...", "?": f"[{name}]"}.get(str(action.nargs), name)


def _options_text(spelling: str) -> str:
    """Returns `-q, --quiet` or `--cd PATH` with its options bold and its value in italics."""
    words = (f"\\fB{_text(w)}\\fR" if w[0] == "-" else f"\\fI{_text(w)}\\fR" for w in spelling.split())
    return " ".join(word.replace(",\\fR", "\\fR,") for word in words)


def metavar(action: argparse.Action) -> str:
    """Returns what stands for the value of an option or argument."""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def help_text(action: argparse.Action) -> str:
    """Returns the help of an option or argument, with its placeholders filled in."""
    text = action.help or ""
    return text % {**vars(action), "prog": "kist"} if "%" in text else text


def _phrase(text: str) -> str:
    text = text.rstrip(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _text(text: str) -> str:
    """Returns plain text for roff: nothing in it is an escape or a request; what is in backticks is bold."""
    text = (
        " ".join(text.split())
        .replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text).replace("'", "\\(aq")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text

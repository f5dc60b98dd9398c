"""The text of `kist --help`, made from the table alone."""

from __future__ import annotations

from kist.cli.table import GROUPS

_HEAD = """\
usage: kist [options] command ...

Data version control beside Git; works in every DVC repository.
"""

OPTIONS_BEFORE = (
    ("-q, --quiet", "Say only errors and data."),
    ("-v, --verbose", "Say more; twice: even more."),
    ("-h, --help", "Show this help."),
    ("-V, --version", "Show the version."),
    ("--cd PATH", "Change to a directory first."),
    ("--wait-for-lock", "Wait for the repository's lock as long as it takes."),
    ("--no-color", "No colours (or set NO_COLOR)."),
    ("--json", "Data as JSON, for commands that have it."),
    ("--progress MODE", "auto (a line on the terminal), none, or json (lines on stderr)."),
)
"""Options that may stand before the command, and what they do."""


def overview() -> str:
    """Returns the overview of all commands and of the options before them."""
    lines = [_HEAD]
    for title, commands in GROUPS:
        lines.append(f"{title}:")
        for command in commands:
            name = f"{command.name} ({', '.join(command.aliases)})" if command.aliases else command.name
            lines.append(f"  {name:<18}  {command.help}")
        lines.append("")
    lines.append("Options before the command:")
    lines += [f"  {spelling:<18}  {text}" for spelling, text in OPTIONS_BEFORE]
    lines += ["", "Run `kist help COMMAND` for the help of a command."]
    return "\n".join(lines) + "\n"

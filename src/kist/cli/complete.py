"""What may come next on a command line: the one engine behind the completion scripts of all shells.

A script calls `kist __complete WORD...` with the words after `kist`, the last being the one under the cursor. The
answer is lines of `value<TAB>description`; a first line `:files` asks the shell to offer file names as well.
It never fails: a person who presses a key wants no message.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kist.cli.table import all_commands, find_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from kist.cli.context import Context
    from kist.cli.parser import CommandParser

Candidates = list[tuple[str, str]]
"""Value and description."""

_GLOBAL = (
    ("--quiet", "Say only errors and data"),
    ("--verbose", "Say more"),
    ("--help", "Show the help"),
    ("--version", "Show the version"),
    ("--cd", "Change to a directory first"),
    ("--wait-for-lock", "Wait for the repository's lock"),
    ("--no-color", "No colours"),
    ("--json", "Data as JSON"),
    ("--progress", "auto, none or json"),
)
_FILES = ":files"
_TARGETS = {"targets", "target", "src"}
_REVISIONS = {"a_rev", "b_rev", "rev"}
_NEW_FILES = {"add", "check-ignore", "init", "list", "du"}
"""Commands whose targets need not be tracked: files alone are offered."""
_MANY = ("*", "+")


def answer(words: list[str]) -> str:
    """Returns the lines for the shell; empty when there is nothing to offer, or when anything goes wrong."""
    try:
        found, wants_files = candidates(_joined(words))
    except BaseException:  # noqa: BLE001  # also argparse's exits: a completion says nothing rather than fail
        return ""
    lines = [f"{value}\t{_flat(description)}" for value, description in found if "\n" not in value]
    return "".join(f"{line}\n" for line in ([_FILES] if wants_files else []) + lines)


def candidates(words: list[str]) -> tuple[Candidates, bool]:
    """Returns what may stand in place of the last word, and whether file names may too."""
    before, current = words[:-1], words[-1] if words else ""
    place = _skip_global(before)
    if place is None:
        return [], True  # the value of `--cd`
    if place == len(before):
        if before and before[-1] == "--progress":
            return _matching(((mode, "") for mode in ("auto", "none", "json")), current), False
        if current.startswith("-"):
            return _matching(_GLOBAL, current), False
        return _matching(((command.name, command.help) for command in all_commands()), current), False
    command = find_command(before[place])
    if command is None:
        return [], False
    if command.name == "help":
        return _matching(((one.name, one.help) for one in all_commands()), current), False
    from kist.cli.run import load_module, make_parser  # argparse and the command

    parser = make_parser(command, load_module(command))
    return _in_command(parser, before[place + 1 :], current)


def _in_command(parser: CommandParser, before: list[str], current: str) -> tuple[Candidates, bool]:
    """Returns the candidates once the command is known; `before` are the words after it."""
    positionals = 0
    pending: argparse.Action | None = None
    only_positionals = False
    for word in before:
        if pending is not None:
            pending = None
        elif word == "--":
            only_positionals = True
        elif word.startswith("-") and not only_positionals:
            action = _option(parser, word)
            pending = action if action is not None and action.nargs != 0 and "=" not in word else None
        elif word in parser.children():
            parser, positionals = parser.children()[word], 0
        else:
            positionals += 1
    if pending is not None:
        return _values(parser, pending, current)
    if current.startswith("-") and not only_positionals:
        name, equals, value = current.partition("=")
        if equals:
            action = _option(parser, name)
            found, wants_files = _values(parser, action, value) if action is not None else ([], False)
            return [(f"{name}={text}", description) for text, description in found], wants_files
        return _matching(_options(parser), current), False
    if parser.children():
        return _matching(parser.children_help().items(), current), False
    arguments = [action for action in parser.visible_actions() if not action.option_strings]
    if not arguments:
        return [], False
    if positionals >= len(arguments) and arguments[-1].nargs not in _MANY:
        return [], False
    return _values(parser, arguments[min(positionals, len(arguments) - 1)], current)


def _values(parser: CommandParser, action: argparse.Action, current: str) -> tuple[Candidates, bool]:
    """Returns the candidates for the value of an option or argument."""
    command, *rest = parser.prog.split(" ")[1:]
    if action.choices is not None:
        return _matching(((str(choice), "") for choice in action.choices), current), False
    if action.dest == "remote" or (
        command == "remote" and action.dest in ("name", "old") and rest != ["add"]
    ):
        return _matching(_remotes(), current), False
    if action.dest in _REVISIONS:
        return _matching(_revisions(), current), False
    if command == "config" and action.dest == "name":
        return _matching(_setting_names(), current), False
    if command == "remote" and rest == ["modify"] and action.dest == "option":
        return _matching(_remote_options(), current), False
    if action.dest in _TARGETS:
        return ([] if command in _NEW_FILES else _matching(_targets(), current)), True
    return [], action.dest not in ("jobs", "name", "level", "desc")


def _context() -> Context:
    from kist.base.progress import SilentProgress
    from kist.cli.console import Console
    from kist.cli.context import Context

    return Context(
        cwd=os.getcwd(), environ=os.environ, console=Console(quiet=True), progress=SilentProgress()
    )


def _targets() -> Candidates:
    """Returns outputs and metafiles, as typed from here; those that cannot be read are left out."""
    from kist.repo.collect import WorkspaceSource, collect

    repository = _context().repository()
    found: dict[str, str] = {}
    for stage in collect(WorkspaceSource(repository), on_damage=_ignore):
        if stage.name is None:
            found[repository.shown(stage.file)] = "metafile"
        elif os.path.dirname(stage.file) == "" and repository.cwd == repository.root:
            found[stage.name] = "stage"
        for out in stage.outs:
            if out.is_inside:
                found[repository.shown(out.path)] = "data"
    return sorted(found.items())


def _ignore(_path: str, _error: Exception) -> None:
    """A damaged metafile has no targets to offer."""


def _remotes() -> Candidates:
    settings = _context().repository().settings
    return [(remote.name, remote.url) for remote in settings.remotes.values()]


def _revisions() -> Candidates:
    git = _context().repository().git
    if git is None:
        return []
    return [(name, "branch") for name in git.branches()] + [(name, "tag") for name in git.tags()]


def _setting_names() -> Candidates:
    from kist.formats import _config_schema as schema

    return [(f"{section}.{option}", "") for section, options in schema.PLAIN.items() for option in options]


def _remote_options() -> Candidates:
    """Returns the options of remotes of every kind."""
    from kist.formats import _config_schema as schema
    from kist.formats.config import SectionKey

    found: dict[str, str] = {}
    for scheme in schema.SCHEMES:
        for option in schema.known_options(SectionKey("remote", ""), f"{scheme}://") or ():
            found.setdefault(option, "")
    return list(found.items())


def _options(parser: CommandParser) -> Candidates:
    return [
        (spelling, action.help or "")
        for action in parser.visible_actions()
        for spelling in action.option_strings
        if spelling.startswith("--") or len(action.option_strings) == 1
    ]


def _option(parser: CommandParser, word: str) -> argparse.Action | None:
    name = word.partition("=")[0]
    for action in parser._actions:
        if name in action.option_strings:
            return action
    return None


def _skip_global(before: list[str]) -> int | None:
    """Returns the place of the command in `before`, its length when there is none yet, None inside `--cd`."""
    place = 0
    while place < len(before) and before[place].startswith("-"):
        word = before[place]
        place += 1
        if word == "--cd":
            if place == len(before):
                return None
            os.chdir(before[place])
            place += 1
        elif word.startswith("--cd="):
            os.chdir(word[5:])
        elif word == "--progress" and place < len(before):
            place += 1
    return place


def _joined(words: list[str]) -> list[str]:
    """Returns the words with `--option`, `=`, `value` joined, which bash takes apart."""
    joined: list[str] = []
    for word in words:
        after_equals = joined and joined[-1].startswith("--") and joined[-1].endswith("=")
        if joined and joined[-1].startswith("--") and (word == "=" or after_equals):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _matching(found: Iterable[tuple[str, str]], current: str) -> Candidates:
    return [(value, description) for value, description in found if value.startswith(current)]


def _flat(text: str) -> str:
    return " ".join(text.split())

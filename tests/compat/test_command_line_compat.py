"""The command line beside the real DVC: every option it shows is known here, and mistakes end with the same codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kist.cli.parser import CommandParser
from kist.cli.run import command_parser
from kist.cli.table import all_commands

from .helpers import RealDvc

pytestmark = pytest.mark.compat

_NOT_OF_DVC = {
    "help",
    "completion",
    "expire",
    "fsck",
    "log",
    "report",
    "reproduce",
    "resolve",
    "restore",
    "save",
    "switch",
    "sync",
}  # the first is ours, as the last ones are; the second knows more shells, and is compared by hand
_LATER = {("cache", "migrate")}

COMMANDS = [command.name for command in all_commands() if command.name not in _NOT_OF_DVC]

MISTAKES = (
    "",
    "nothing",
    "--nothing",
    "root extra",
    "root --nothing",
    "status --nothing",
    "add",
    "remote",
    "remote nothing",
    "remote modify",
    "cache",
    "data",
    "move one",
    "remove",
    "unprotect",
    "list",
    "du",
    "push -j",
    "push -j many",
    "status --cd .",
    "version extra",
    "completion -s tcsh",
    "root",
    "--cd nowhere root",
    "status",
    "push",
    "config core.remote x",
    "destroy -f",
)


def environment(tmp_path: Path) -> dict[str, str]:
    """Returns an environment for both programs."""
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "COLUMNS": "500",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
    }


def options_in(text: str) -> set[str]:
    """Returns the spellings of the options that a help text of argparse explains."""
    _, _, explained = text.partition("\n\n")
    found: set[str] = set()
    for line in explained.splitlines():
        head = re.match(r"^  (-\S.*?)(?:  +|$)", line)
        if head:
            found.update(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", head.group(1)))
    return found


def known(parser: CommandParser) -> set[str]:
    """Returns all spellings that a parser takes, hidden ones included."""
    return {spelling for action in parser._actions for spelling in action.option_strings}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_subcommand_of_dvc_is_known(name: str, real_dvc: RealDvc, tmp_path: Path) -> None:
    parser = command_parser(name)
    text = real_dvc.run([name, "--help"], str(tmp_path), environment(tmp_path)).stdout
    assert "--quiet" in options_in(text)
    assert options_in(text) <= known(parser)
    choice = re.search(r"^usage: dvc \S+ .*\{([\w,-]+)\} \.\.\.$", text, re.MULTILINE)
    for child in choice.group(1).split(",") if choice else ():
        if (name, child) in _LATER:
            continue
        assert child in parser.children()
        text = real_dvc.run([name, child, "--help"], str(tmp_path), environment(tmp_path)).stdout
        assert options_in(text) <= known(parser.children()[child])


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_the_same_code(line: str, real_dvc: RealDvc, tmp_path: Path) -> None:
    expected = real_dvc.run(line.split(), str(tmp_path), environment(tmp_path)).code
    result = subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *line.split()],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == expected
    assert expected != 0
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")

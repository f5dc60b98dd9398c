"""The manual pages say what the parsers say, and no word of theirs is an order to the formatter."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from tools.make_man import GENERAL, _text, man_pages

from kist.cli.parser import CommandParser
from kist.cli.run import command_parser
from kist.cli.table import all_commands

TOP = Path(__file__).parents[3]


def plain(page: str) -> str:
    """Returns the words of a page as a reader sees them."""
    text = re.sub(r"\\f[BIR]|\\&", "", page)
    for escape, letter in (("\\-", "-"), ("\\(aq", "'"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\e", "\\")):
        text = text.replace(escape, letter)
    return text


def family(parser: CommandParser) -> list[CommandParser]:
    """Returns a parser and those of its subcommands."""
    return [parser, *(one for name in parser.children_help() for one in family(parser.children()[name]))]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return man_pages((TOP / "CHANGELOG.md").read_text())


@pytest.mark.parametrize("command", [command.name for command in all_commands()])
def test_a_page_has_every_option_and_argument_of_its_command(pages: dict[str, str], command: str) -> None:
    page = plain(pages[f"kist-{command}.1"])
    for parser in family(command_parser(command)):
        assert f"\n{parser.prog}" in page or f".SS {parser.prog}\n" in page
        for action in parser.visible_actions():
            if action.dest not in GENERAL:
                for spelling in action.option_strings:
                    assert re.search(
                        rf"^{re.escape(spelling)}\b|, {re.escape(spelling)}\b", page, re.MULTILINE
                    )
                assert action.help is not None and action.help != argparse.SUPPRESS
                assert " ".join(action.help.replace("`", "").split()) in page


def test_the_first_page_names_every_command_and_aliases_have_their_pages(pages: dict[str, str]) -> None:
    first = plain(pages["kist.1"])
    for command in all_commands():
        assert f"kist-{command.name}(1)\n" in first
        for alias in command.aliases:
            assert pages[f"kist-{alias}.1"] == pages[f"kist-{command.name}.1"]
            assert f"kist-{alias}" in pages[f"kist-{alias}.1"].replace("\\-", "-")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (".dvc files", "\\&.dvc files"),
        ("'data' it is", "\\&\\(aqdata\\(aq it is"),
        ("a\\b", "a\\eb"),
        ("`kist add`\n  -v", "\\fBkist add\\fR \\-v"),
    ],
)
def test_no_text_is_a_request_or_an_escape(text: str, made: str) -> None:
    assert _text(text) == made


def test_pages_of_a_release_bear_its_day() -> None:
    assert " 2027-01-31 " in man_pages("## 0.1.0, 2027-01-31\n")["kist.1"]
    assert " 2027-01-31 " not in man_pages("## 0.1.1, 2027-01-31\n")["kist.1"]

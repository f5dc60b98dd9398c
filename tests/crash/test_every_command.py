"""No command is left out: it is killed at each of its changing calls, or it changes nothing that lasts."""

from __future__ import annotations

import os
import re

import pytest

from kist.cli.table import all_commands

from . import worlds
from .harness import Arena, lasting_differences
from .invariants import is_lasting

LOOKS: list[tuple[str, ...]] = [
    ("check-ignore", "data"),
    ("completion", "-s", "bash"),
    ("dag",),
    ("data", "status", "--granular", "--not-in-remote"),
    ("diff", "HEAD"),
    ("du", "."),
    ("help",),
    ("list", ".", "-R"),
    ("list", ".", "data", "--remote", "store"),
    ("list-url", "."),
    ("log", "data"),
    ("report",),
    ("metrics", "show", "-A"),
    ("params", "diff"),
    ("root",),
    ("status",),
    ("status", "-c"),
    ("status", "--explain"),
    ("version",),
    ("config", "--list"),
    ("remote", "list"),
    ("cache", "dir"),
    ("repro", "-P", "--dry"),
]
"""Ways of looking. Of the last four commands other uses change something."""
ONLY_LOOK = {words[0] for words in LOOKS[:-4]}
RUN_BY_GIT = {"git-hook"}
"""Killed as part of a merge: test_merging.py."""


def killed() -> str:
    """Returns the text of all tests that kill commands at each call."""
    here = os.path.dirname(os.path.abspath(__file__))
    texts = []
    for name in sorted(os.listdir(here)):
        if name.startswith("test_"):
            with open(os.path.join(here, name), encoding="utf-8") as stream:
                texts.append(stream.read())
    return "\n".join(text for text in texts if "for_each_kill(" in text)


def test_every_command_that_changes_something_is_killed_at_each_of_its_calls() -> None:
    text = killed()
    names = {command.name for command in all_commands()}
    assert names >= ONLY_LOOK
    missing = [
        name for name in sorted(names - ONLY_LOOK - RUN_BY_GIT) if not re.search(rf'\("{name}"[,)]', text)
    ]
    assert missing == []


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
@pytest.mark.parametrize("world", [worlds.clone, worlds.edited, worlds.behind])
def test_looking_changes_nothing_that_lasts(
    arena: Arena, world: worlds.Prepare, words: tuple[str, ...]
) -> None:
    world(arena)
    arena.git("add", "-A")
    arena.git("commit", "-q", "-m", "one")
    before = arena.snapshot()
    result = arena.kist(*words)
    assert not result.crashed()
    assert result.status in (0, 1), result
    assert lasting_differences(before, arena.snapshot(), is_lasting) == []


def test_the_table_of_faults_names_tests_that_are_there() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    top = os.path.join(here, "..", "..")
    with open(os.path.join(top, "docs", "spec", "durability.md"), encoding="utf-8") as stream:
        rows = [line for line in stream if re.match(r"\| [FR]\d", line)]
    numbers: dict[str, list[int]] = {"F": [], "R": []}
    for row in rows:
        for kind, first, last in re.findall(r"([FR])(\d+)(?:-[FR](\d+))?", row.split("|")[1]):
            numbers[kind] += range(int(first), int(last or first) + 1)
        named = re.findall(r"`((?:tests|src)/[\w/]+/)?(\w+\.py)::(\w+)`", row)
        assert named or row.startswith("| R16 |"), row
        for folder, file, function in named:
            with open(os.path.join(top, folder or "tests/crash", file), encoding="utf-8") as stream:
                assert re.search(rf"^ *def {function}\(", stream.read(), re.MULTILINE), (file, function)
    assert sorted(numbers["F"]) == list(range(1, 74))
    assert sorted(numbers["R"]) == list(range(1, 21))

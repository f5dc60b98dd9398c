"""Hints: every one in the code is a command that can be pasted, or a short sentence (CONTRIBUTING, "Messages").

Hints are found in the syntax trees: the keyword `hint=`, what `.hint()` is called with, what is assigned to names with
"hint" in them, and what functions with "hint" in their name return. What is filled in at run time is a hole.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator
from itertools import product

import pytest

import kist
from kist.base.shell import shell_line
from kist.cli.run import command_parser
from kist.errors import UsageError

SOURCE = os.path.dirname(kist.__file__)
PROGRAMS = {"kist", "git", "aws", "gcloud", "ls", "mkdir", "mv", "cp", "rm", "cd", "chmod", "wc", "ulimit"}
HOLE, BEGIN, END = "\0", "\1", "\2"
"""Something unknown; the two ends of what `shell_line` makes, in which nothing needs quoting any more."""
UNSEEN = "\3"
"""A hint that is made where it cannot be seen: write it down there, or give what makes it a name with "hint" in it."""


Lines = dict[str, ast.expr]
"""Names that stand for what `shell_line` made, and its calls."""


def texts(node: ast.expr, lines: Lines) -> list[str]:
    """Returns what a hint may say; nothing for another hint, which is checked where it is made."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and node.value else []
    if isinstance(node, ast.JoinedStr):
        parts = [
            texts(part.value, lines) or [HOLE] if isinstance(part, ast.FormattedValue) else texts(part, lines)
            for part in node.values
        ]
        return ["".join(chosen) for chosen in product(*parts)]
    if isinstance(node, ast.IfExp):
        return texts(node.body, lines) + texts(node.orelse, lines)
    if isinstance(node, ast.BoolOp | ast.Dict):
        return [text for value in node.values for text in texts(value, lines)]
    if isinstance(node, ast.BinOp):
        return [one + two for one, two in product(texts(node.left, lines), texts(node.right, lines))]
    if isinstance(node, ast.Name) and node.id in lines:
        return texts(lines[node.id], {})
    if isinstance(node, ast.Call) and name_of(node.func) == "shell_line":
        return [BEGIN + " ".join(word for argument in node.args for word in words(argument)) + END]
    return []


def lines_in(tree: ast.Module) -> Lines:
    """Returns the names that a module gives to what `shell_line` made."""
    return {
        name_of(node.targets[0]): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and name_of(node.value.func) == "shell_line"
    }


def words(node: ast.expr) -> list[str]:
    """Returns the words that an argument of `shell_line` stands for, with something harmless in the holes."""
    if isinstance(node, ast.Constant):
        return [shlex.quote(str(node.value))]
    if isinstance(node, ast.JoinedStr):
        # An option that is made up is that of a level of the configuration.
        return [
            "".join(
                "local" if isinstance(part, ast.FormattedValue) else str(ast.literal_eval(part))
                for part in node.values
            )
        ]
    return ["1", "1"] if isinstance(node, ast.Starred) else ["1"]


def name_of(node: ast.expr) -> str:
    """Returns the last part of a name; "" for other expressions."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def hints_in(tree: ast.Module) -> Iterator[tuple[int, ast.expr]]:
    """Yields line and expression of every hint."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, item.value) for item in node.keywords if item.arg == "hint")
            if name_of(node.func) == "hint" and node.args:
                yield node.lineno, node.args[0]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                yield from ((node.lineno, value) for name, value in pairs if "hint" in name_of(name).lower())
        elif isinstance(node, ast.FunctionDef) and "hint" in node.name:
            yield from (
                (below.lineno, below.value)
                for below in ast.walk(node)
                if isinstance(below, ast.Return) and below.value is not None
            )


def is_seen(node: ast.expr) -> bool:
    """Says whether a hint without a text of its own is checked elsewhere."""
    if isinstance(node, ast.IfExp):
        return is_seen(node.body) and is_seen(node.orelse)
    if isinstance(node, ast.BoolOp):
        return all(map(is_seen, node.values))
    if isinstance(node, ast.Constant) or texts(node, {}):
        return True
    maker = node.func if isinstance(node, ast.Call) else node
    return "hint" in ast.unparse(maker).lower()


def all_hints() -> Iterator[tuple[str, str]]:
    """Yields (place, what a hint may say)."""
    for folder, _, names in os.walk(SOURCE):
        for name in sorted(name for name in names if name.endswith(".py")):
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as stream:
                tree = ast.parse(stream.read())
            lines = lines_in(tree)
            for line, node in hints_in(tree):
                place = f"{os.path.relpath(path, SOURCE)}:{line}"
                found = texts(node, lines)
                if not found and not is_seen(node):
                    found = [UNSEEN]
                yield from ((place, text) for text in found)


def fault_of(text: str) -> str | None:
    """Returns what is wrong with a hint, or None."""
    if text == UNSEEN:
        return "cannot be seen through"
    if text.startswith(BEGIN) or text.split(maxsplit=1)[0] in PROGRAMS:
        return fault_of_command(text)
    return fault_of_sentence(text)


def fault_of_command(text: str) -> str | None:
    """Returns why a line cannot be pasted, or None."""
    for part in text.split(" && "):
        whole = re.fullmatch(f"{BEGIN}([^{BEGIN}]*){END}", part)
        line = whole[1] if whole else part
        if whole is None and (HOLE in part or BEGIN in part):
            return "what is filled into a command goes through shell_line"
        if "`" in line or "    " in line:
            return "a command stands alone"
        if line.startswith("1 "):
            continue  # which command it is, is known at run time only
        if line.split()[0] not in PROGRAMS:
            return f"'{line.split()[0]}' is no program that hints may name"
        if line.startswith("kist ") and (fault := fault_of_kist(shlex.split(line)[1:])):
            return fault
    return None


def fault_of_kist(arguments: list[str]) -> str | None:
    """Returns why kist would not take these arguments, or None."""
    if arguments in (["--help"], ["1"]):
        return None
    try:
        parser = command_parser(arguments[0])
        if arguments[-1] == "--help":
            return None
        example = "core.remote" if arguments[0] == "config" else "1"
        parser.parse_args([example if word == "1" else word for word in arguments[1:]])
    except UsageError as error:
        return error.message
    return None


def fault_of_sentence(text: str) -> str | None:
    """Returns what is wrong with a hint that is no command, or None."""
    if text[0].isupper() or text.endswith("."):
        return "a sentence begins with a small letter and has no full stop"
    if text.count("`") % 2:
        return "a backtick is missing"
    if re.fullmatch("(run|try|use) `[^`]*`", text):
        return "a hint that is just a command is the command itself"
    for quoted in text.split("`")[1::2]:
        if quoted.startswith(BEGIN) or quoted.split()[0] in PROGRAMS:
            if fault := fault_of_command(quoted):
                return fault
        elif " " in quoted and not quoted.startswith("-"):
            return f"`{quoted}` is neither a command nor a word"
    rest = " ".join(re.sub("'[^']*'", "''", part) for part in text.split("`")[::2])
    if BEGIN in rest or re.search(r"(?<![\w./])(kist|git) [a-z]", rest):
        return "commands in a sentence stand in backticks"
    if re.search(r"(?<!\S)--?[a-z]", rest):
        return "options in a sentence stand in backticks"
    return None


def test_every_hint_is_a_command_to_paste_or_a_short_sentence() -> None:
    found = list(all_hints())
    assert len(found) > 100
    faults = [f"{place}: {fault}: {text!r}" for place, text in found if (fault := fault_of(text))]
    assert not faults, "\n".join(faults)


def in_code(code: str) -> list[str]:
    """Returns the hints of a piece of code."""
    tree = ast.parse(code)
    return [text for _, node in hints_in(tree) for text in texts(node, lines_in(tree))]


@pytest.mark.parametrize(
    "code",
    [
        "hint='kist init'",
        "hint='git init && kist init'",
        "hint=shell_line('kist', 'commit', path)",
        "hint=f\"{shell_line('cd', top)} && kist init\"",
        "hint='kist remote add -d NAME ADDRESS'",
        "hint=f\"keep it with `{shell_line('kist', 'commit', path)}`, or give `--force`\"",
        "hint=f\"did you mean '{near}'?\"",
        "hint='free some space, then run the same command again'",
        "hint='look at `git tag`' if git else 'kist --help'",
    ],
)
def test_what_keeps_the_rule_passes(code: str) -> None:
    found = in_code(f"Error({code})")
    assert found
    assert [fault_of(text) for text in found] == [None] * len(found)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("hint='run `kist init`'", "is just a command"),
        ("hint='kist add x, then push --all'", "has no option"),
        ("hint='kist init    (makes one)'", "stands alone"),
        ("hint='kist statsu'", "no command 'statsu'"),
        ("hint='kist push --al-branches'", "no option"),
        ("hint=f'kist commit {path}'", "through shell_line"),
        ("hint=f'keep it with `kist commit {path}`'", "through shell_line"),
        ("hint='mount it, or kist remote list'", "in backticks"),
        ("hint='leave --json out'", "options in a sentence"),
        ("hint='Try again'", "small letter"),
        ("hint='try again.'", "full stop"),
        ("hint='see `git tag'", "backtick is missing"),
        ("hint='see `the tags`'", "neither a command nor a word"),
        ("hint=shell_line('kist', 'statsu', path)", "no command 'statsu'"),
    ],
)
def test_what_breaks_the_rule_is_found(code: str, fault: str) -> None:
    (text,) = in_code(f"Error({code})")
    assert fault in (fault_of(text) or "")


def test_a_line_may_have_a_name_of_its_own() -> None:
    (text,) = in_code("end = shell_line('kist', 'comit', path)\nError(hint=f'end it with `{end}`')")
    assert "no command 'comit'" in (fault_of(text) or "")


def test_hints_are_found_wherever_they_are_made() -> None:
    code = (
        "x_hint = 'one'\n_HINTS = {1: 'two'}\ncause, hint = 'no', 'three'\nconsole.hint('four')\n"
        "def some_hint():\n    return 'five' if x else 'six'\n"
    )
    assert sorted(in_code(code)) == sorted(["one", "two", "three", "four", "five", "six"])


def test_a_hint_that_cannot_be_seen_through_is_told_from_one_that_is_checked_elsewhere() -> None:
    for code, seen in (
        ("hint", True),
        ("_HINTS.get(x)", True),
        ("error.hint", True),
        ("a_hint(x)", True),
        ("words", False),
        ("make(x)", False),
    ):
        assert is_seen(ast.parse(code, mode="eval").body) is seen


@pytest.mark.parametrize(
    "words", [("kist", "add", "a b"), ("kist", "add", "it's"), ("kist", "add", "$(x)", "*", "")]
)
def test_a_shell_line_is_taken_apart_into_its_words_again(words: tuple[str, ...]) -> None:
    assert tuple(shlex.split(shell_line(*words))) == words

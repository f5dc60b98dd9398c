"""Ignore rules: the lines of one `.gitignore` or `.dvcignore` compiled so that a walk asks once per name.

Not here: reading files, and which file's rules win (kist.workspace.ignores). Implements docs/spec/ignore.md.

A pattern is a sequence of parts, one for each path component. A walk carries, for each rule file, the set of
(pattern, next part) pairs that are still alive in a directory; the last parts alive there make one joined regular
expression, and directories with equal sets share it. So a name is asked about once, whatever its depth, and a path is
never put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

GIT = "git"
"""`.gitignore`: bytes as git compares them; only unescaped spaces are cut from the end of a line."""
DVC = "dvc"
"""`.dvcignore`: characters; white space is cut from both ends of a line."""

State = tuple[tuple[int, int], ...]
"""The (pattern index, next part) pairs alive in one directory, floating patterns left out."""


class Part(NamedTuple):
    """What one path component must look like: a literal name, a regular expression, or (neither) any number of them."""

    literal: str | None = None
    regex: str | None = None


ANY_DEPTH = Part()


class IgnorePattern(NamedTuple):
    """One line of an ignore file.

    Attributes:
        line: its number, from 1.
        text: the pattern as written, white space at the end cut.
        is_negated: it starts with `!` and takes names back in.
        is_dir_only: it ends in `/`.
        parts: what is left, component by component, from the directory of the file down; a pattern without a
            separator starts with ANY_DEPTH.
    """

    line: int
    text: str
    is_negated: bool
    is_dir_only: bool
    parts: tuple[Part, ...]

    @property
    def is_floating(self) -> bool:
        """Says whether the pattern is alive in every directory, with its last part only."""
        return len(self.parts) == 2 and self.parts[0] == ANY_DEPTH


class NameRules:
    """The last parts that are alive in one directory: answers for the names directly in it."""

    __slots__ = ("_dirs", "_files", "patterns")

    def __init__(self, patterns: Sequence[IgnorePattern]) -> None:
        self.patterns = tuple(patterns)
        self._dirs = _Alternatives(self.patterns)
        self._files = _Alternatives([pattern for pattern in self.patterns if not pattern.is_dir_only])

    def verdict(self, name: str, is_dir: bool) -> bool | None:
        """Returns True (ignored), False (taken back in) or None when no pattern matches; the last match decides."""
        return (self._dirs if is_dir else self._files).verdict(name)

    def matching(self, name: str, is_dir: bool) -> list[IgnorePattern]:
        """Returns every pattern that matches, in file order. Slow: for explanations only."""
        return [
            pattern
            for pattern in self.patterns
            if (is_dir or not pattern.is_dir_only) and _matches(pattern.parts[-1], name)
        ]


class _Alternatives:
    """Patterns joined into one regular expression, the last pattern first, so that the first hit decides."""

    __slots__ = ("_literals", "_regex", "_signs")

    def __init__(self, patterns: Sequence[IgnorePattern]) -> None:
        self._literals: frozenset[str] = frozenset()
        self._signs: tuple[bool, ...] = ()
        if not any(pattern.is_negated for pattern in patterns):
            # Without negation the order does not matter, and plain names need no regular expression.
            lasts = [pattern.parts[-1] for pattern in patterns]
            self._literals = frozenset(part.literal for part in lasts if part.literal is not None)
            sources = dict.fromkeys(_source(part) for part in lasts if part.literal is None)
            self._regex = re.compile("|".join(sources), re.DOTALL) if sources else None
            return
        groups: list[tuple[bool, list[str]]] = []
        for pattern in reversed(patterns):
            if not groups or groups[-1][0] == pattern.is_negated:
                groups.append((not pattern.is_negated, []))
            groups[-1][1].append(_source(pattern.parts[-1]))
        self._signs = tuple(sign for sign, _ in groups)
        self._regex = re.compile("|".join(f"({'|'.join(sources)})" for _, sources in groups), re.DOTALL)

    def verdict(self, name: str) -> bool | None:
        if name in self._literals:
            return True
        if self._regex is None:
            return None
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        return self._signs[match.lastindex - 1] if match.lastindex else True


class IgnoreRules:
    """The patterns of one ignore file, in file order, and how they move down a tree."""

    __slots__ = ("_anchored", "_by_state", "flavour", "patterns", "start")

    def __init__(self, patterns: Sequence[IgnorePattern], flavour: str) -> None:
        self.patterns = tuple(patterns)
        self.flavour = flavour
        self._anchored = tuple(not pattern.is_floating for pattern in self.patterns)
        self._by_state: dict[State, NameRules | None] = {}
        self.start: State = self._closed({(i, 0) for i, anchored in enumerate(self._anchored) if anchored})
        """The state in the directory that holds the file."""

    def descend(self, state: State, name: str) -> State:
        """Returns the state in the child directory `name`."""
        if not state:
            return state
        alive: set[tuple[int, int]] = set()
        for index, position in state:
            parts = self.patterns[index].parts
            part = parts[position]
            if part == ANY_DEPTH:
                alive.add((index, position))
            elif position + 1 < len(parts) and _matches(part, name):
                alive.add((index, position + 1))
        return self._closed(alive)

    def names(self, state: State) -> NameRules | None:
        """Returns the rules for names directly in a directory with this state; None when nothing can match there."""
        if state not in self._by_state:
            lasts = {index for index, position in state if position == len(self.patterns[index].parts) - 1}
            active = [
                pattern
                for index, pattern in enumerate(self.patterns)
                if not self._anchored[index] or index in lasts
            ]
            self._by_state[state] = NameRules(active) if active else None
        return self._by_state[state]

    def verdict(self, path: str, is_dir: bool) -> bool | None:
        """Returns what the patterns say of `path` itself, relative to the file's directory; parents are not asked."""
        *parents, name = path.split("/")
        state = self.start
        for parent in parents:
            state = self.descend(state, self.text(parent))
        names = self.names(state)
        return None if names is None else names.verdict(self.text(name), is_dir)

    def text(self, name: str) -> str:
        """Returns `name` as the patterns compare it: git compares bytes, so each byte becomes one character."""
        if self.flavour == DVC or name.isascii():
            return name
        return name.encode("utf-8", "surrogateescape").decode("latin-1")

    def _closed(self, alive: set[tuple[int, int]]) -> State:
        # "Any number of components" includes none: where it is next, the part after it is next too.
        for index, position in list(alive):
            parts = self.patterns[index].parts
            while parts[position] == ANY_DEPTH and position + 1 < len(parts):
                position += 1
                alive.add((index, position))
        return tuple(sorted(alive))


def compile_patterns(lines: Iterable[str | bytes], *, flavour: str = GIT) -> IgnoreRules:
    """Returns the rules that `lines` make; comments and empty lines count for line numbers only.

    Args:
        lines: without their line ends; text holds undecodable bytes as surrogate escapes.
        flavour: GIT or DVC.
    """
    patterns = []
    for number, line in enumerate(lines, start=1):
        pattern = _parse_line(number, _decoded(line, flavour), flavour)
        if pattern is not None:
            patterns.append(pattern)
    return IgnoreRules(patterns, flavour)


def parse_ignore(data: bytes, *, flavour: str = GIT) -> IgnoreRules:
    """Returns the rules of an ignore file with the content `data`."""
    if flavour == GIT:
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        return compile_patterns([line.removesuffix(b"\r") for line in lines], flavour=GIT)
    return compile_patterns(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), flavour=DVC)


def _decoded(line: str | bytes, flavour: str) -> str:
    if flavour == GIT:
        raw = line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
        return raw.decode("latin-1")
    return line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")


def _parse_line(number: int, line: str, flavour: str) -> IgnorePattern | None:
    text = line.strip() if flavour == DVC else _without_trailing_spaces(line)
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    body = text[1:] if is_negated else text
    is_dir_only = body.endswith("/")
    if is_dir_only:
        body = body[:-1]
    if not body:
        return None
    parts = [_part(piece) for piece in _split(body.removeprefix("/"))]
    if "/" not in body:
        parts.insert(0, ANY_DEPTH)
    if any(part is None for part in parts):
        return None  # a malformed bracket expression matches nothing
    return IgnorePattern(
        number, text, is_negated, is_dir_only, tuple(part for part in parts if part is not None)
    )


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    if len(stripped) < len(line) and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        return stripped + " "  # a backslash keeps the space that follows it
    return stripped


def _split(body: str) -> list[str]:
    """Returns the components of a pattern; a separator within brackets does not count, an escaped one does."""
    pieces: list[str] = []
    start = position = 0
    while position < len(body):
        character = body[position]
        if character == "/":
            pieces.append(body[start:position])
            start = position + 1
        elif character == "\\" and body[position + 1 : position + 2] == "/":
            pieces.append(body[start:position])
            position += 1
            start = position + 1
        elif character == "\\":
            position += 1
        elif character == "[":
            end = _bracket(body, position)
            if end is not None:
                position = end[1] - 1
        position += 1
    return [*pieces, body[start:]]


def _part(piece: str) -> Part | None:
    """Returns what a component of a pattern matches; None when it is malformed and matches nothing."""
    if len(piece) > 1 and not piece.strip("*"):
        return ANY_DEPTH
    tokens: list[str] = []  # regular expression of each single character; "" stands for a star
    is_literal = True
    position = 0
    plain: list[str] = []
    while position < len(piece):
        character = piece[position]
        if character == "*":
            is_literal = False
            if not tokens or tokens[-1]:
                tokens.append("")
        elif character == "?":
            is_literal = False
            tokens.append(".")
        elif character == "[":
            is_literal = False
            bracket = _bracket(piece, position)
            if bracket is None:
                return None
            tokens.append(bracket[0])
            position = bracket[1] - 1
        else:
            if character == "\\":
                position += 1
                if position == len(piece):
                    return None
                character = piece[position]
            plain.append(character)
            tokens.append(re.escape(character))
        position += 1
    return Part(literal="".join(plain)) if is_literal else Part(regex=_joined(tokens))


def _joined(tokens: Sequence[str]) -> str:
    """Returns one regular expression; each star takes as little as it can and never tries again.

    Taking the first place where the text up to the next star fits is always right for a glob, and the atomic group
    keeps a pattern with many stars from costing exponential time.
    """
    runs: list[str] = [""]
    for token in tokens:
        if token:
            runs[-1] += token
        else:
            runs.append("")
    if len(runs) == 1:
        return runs[0]
    first, *middle, last = runs
    return first + "".join(f"(?>.*?{run})" for run in middle) + f".*{last}"


_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def _bracket(piece: str, start: int) -> tuple[str, int] | None:
    """Returns the regular expression of the bracket expression at `start` and the position behind it, or None."""
    position = start + 1
    is_negated = piece[position : position + 1] in ("!", "^")
    if is_negated:
        position += 1
    items: list[str] = []
    previous: str | None = None
    is_first = True
    while position < len(piece):
        character = piece[position]
        if character == "]" and not is_first:
            return _bracket_regex(items, is_negated), position + 1
        is_first = False
        if character == "[" and piece[position + 1 : position + 2] == ":":
            end = piece.find("]", position + 2)
            if end < 0:
                return None
            if piece[end - 1] == ":" and end - 1 > position + 1:
                name = piece[position + 2 : end - 1]
                if name not in _CLASSES:
                    return None
                items.append(_CLASSES[name])
                previous = None
                position = end + 1
                continue
        following = piece[position + 1 : position + 2]
        if character == "-" and previous is not None and following not in ("", "]"):
            position += 1
            high = following
            if high == "\\":
                position += 1
                high = piece[position : position + 1]
                if not high:
                    return None
            if previous <= high:
                items.append(f"{re.escape(previous)}-{re.escape(high)}")
            previous = None
            position += 1
            continue
        if character == "\\":
            position += 1
            character = piece[position : position + 1]
            if not character:
                return None
        items.append(re.escape(character))
        previous = character
        position += 1
    return None


def _bracket_regex(items: Sequence[str], is_negated: bool) -> str:
    if not items:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{''.join(items)}]"


def _source(part: Part) -> str:
    if part.literal is not None:
        return re.escape(part.literal)
    return ".*" if part.regex is None else part.regex


def _matches(part: Part, name: str) -> bool:
    if part.literal is not None:
        return part.literal == name
    return part.regex is None or re.fullmatch(part.regex, name, re.DOTALL) is not None

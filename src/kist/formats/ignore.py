"""Ignore rules: the lines of one `.gitignore` or `.dvcignore` compiled so that a walk asks once per name.

Not here: reading files, and which file's rules win (kist.workspace.ignores). Implements docs/spec/ignore.md.

A pattern is a sequence of parts, one for each path component. A walk carries, for each rule file, the
set of (pattern, next part) pairs that are still alive in a directory; the last parts alive there make one
joined regular expression, and directories with equal sets share it. So a name is asked about once, whatever
its depth, and a path is never put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

GIT = "git"
"""`.gitignore`: bytes as git compares them; only unescaped spaces are cut from the end of a line."""
DVC = "dvc"
"""`.dvcignore` at the root: characters; white space is cut off at both ends ; a match covers all below."""
DVC_NESTED = "dvc-nested"
"""`.dvcignore` in any other directory, where DVC reads a few patterns differently."""

State = tuple[tuple[int, int], ...]
"""The (pattern index, next part) pairs alive in one directory; floating patterns need none until they match.

A next part behind the last one says that a directory above matched, and that the pattern covers all below it.
"""


class Part(NamedTuple):
    """What one component must look like; exactly one attribute is set, none for any number of components.

    Attributes:
        literal: the whole name.
        suffix: its end (`*.tmp` is by far the most frequent pattern, and needs no regular expression).
        regex: for everything else.
    """

    literal: str | None = None
    suffix: str | None = None
    regex: str | None = None


ANY_DEPTH = Part()
_ANY_NAME = Part(suffix="")


class IgnorePattern(NamedTuple):
    """One line of an ignore file.

    Attributes:
        line: its number, from 1.
        text: the pattern as written, white space at the ends cut.
        is_negated: it starts with `!` and takes names back in.
        is_dir_only: what it names must be a directory.
        covers_files: it covers files below such a directory (DVC only, where it ends in `/**`).
        parts: what is left, component by component, from the directory of the file down; a pattern without a
            separator starts with ANY_DEPTH.
    """

    line: int
    text: str
    is_negated: bool
    is_dir_only: bool
    covers_files: bool
    parts: tuple[Part, ...]

    @property
    def is_floating(self) -> bool:
        """Says whether the pattern is alive in every directory, with its last part only."""
        return len(self.parts) == 2 and self.parts[0] == ANY_DEPTH


class _Alive(NamedTuple):
    """A pattern that may match names in one directory."""

    number: int
    pattern: IgnorePattern
    part: Part
    is_dir_only: bool


class NameRules:
    """The last parts that are alive in one directory: answers for the names directly in it."""

    __slots__ = ("_alive", "_dirs", "_files")

    def __init__(self, alive: Sequence[_Alive]) -> None:
        self._alive = alive
        self._dirs = _Alternatives(alive)
        self._files = _Alternatives([item for item in alive if not item.is_dir_only])

    def verdict(self, name: str, is_dir: bool) -> bool | None:
        """Returns True (ignored), False (taken back in) or None (no match); the last match decides."""
        return (self._dirs if is_dir else self._files).verdict(name)

    def matching(self, name: str, is_dir: bool) -> dict[int, bool]:
        """Returns all patterns that match: index -> whether only as a directory. Slow: not for every name of a walk."""
        return {
            item.number: item.is_dir_only
            for item in self._alive
            if (is_dir or not item.is_dir_only) and _matches(item.part, name)
        }


class _Alternatives:
    """Patterns joined into one regular expression, the last pattern first, so that the first hit decides."""

    __slots__ = ("_literals", "_regex", "_signs", "_suffixes")

    def __init__(self, alive: Sequence[_Alive]) -> None:
        self._literals: frozenset[str] = frozenset()
        self._suffixes: tuple[str, ...] = ()
        self._regex: re.Pattern[str] | None = None
        self._signs: tuple[bool, ...] = ()
        if any(item.pattern.is_negated for item in alive):
            self._join_signed(alive)
            return
        # Without negation the order does not matter, and most patterns need no regular expression.
        parts = [item.part for item in alive]
        self._literals = frozenset(part.literal for part in parts if part.literal is not None)
        self._suffixes = tuple({part.suffix for part in parts if part.suffix is not None})
        sources = {part.regex for part in parts if part.regex is not None}
        if sources:
            self._regex = re.compile("|".join(sources), re.DOTALL)

    def _join_signed(self, alive: Sequence[_Alive]) -> None:
        groups: list[tuple[bool, list[str]]] = []
        for item in reversed(alive):
            is_ignored = not item.pattern.is_negated
            if not groups or groups[-1][0] != is_ignored:
                groups.append((is_ignored, []))
            groups[-1][1].append(_source(item.part))
        self._signs = tuple(is_ignored for is_ignored, _ in groups)
        self._regex = re.compile("|".join(f"({'|'.join(sources)})" for _, sources in groups), re.DOTALL)

    def verdict(self, name: str) -> bool | None:
        if name in self._literals or name.endswith(self._suffixes):
            return True
        if self._regex is None:
            return None
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        return self._signs[match.lastindex - 1] if match.lastindex else True


class IgnoreRules:
    """The patterns of one ignore file, in file order, and how they move down a tree.

    Attributes:
        start: the state in the directory that holds the file.
        own_exclusion: the pattern by which the file says that its own directory is ignored (DVC only).
    """

    __slots__ = ("_by_state", "_floating", "flavour", "own_exclusion", "patterns", "start")

    def __init__(self, patterns: Sequence[IgnorePattern], flavour: str) -> None:
        self.patterns = tuple(patterns)
        self.flavour = flavour
        self._floating = tuple(index for index, pattern in enumerate(self.patterns) if pattern.is_floating)
        self._by_state: dict[State, NameRules | None] = {}
        anchored = {(index, 0) for index, pattern in enumerate(self.patterns) if not pattern.is_floating}
        self.start = self._closed(anchored)
        own = [pattern for pattern in self.patterns if not pattern.parts]
        excludes = flavour == DVC_NESTED and bool(own) and not own[-1].is_negated
        self.own_exclusion = own[-1] if excludes else None

    def descend(self, state: State, name: str) -> State:
        """Returns the state in the child directory `name`."""
        alive: set[tuple[int, int]] = set()
        for index, position in state:
            parts = self.patterns[index].parts
            if position == len(parts) or parts[position] == ANY_DEPTH:
                alive.add((index, position))
            elif position + 1 < len(parts) and _matches(parts[position], name):
                alive.add((index, position + 1))
        if self.flavour != GIT:
            names = self.names(state)
            if names is not None and names.verdict(name, is_dir=True) is not None:
                found = names.matching(name, is_dir=True)
                alive.update((index, len(self.patterns[index].parts)) for index in found)
        return self._closed(alive) if alive else ()

    def names(self, state: State) -> NameRules | None:
        """Returns the rules for names directly in such a directory; None when nothing can match there."""
        if state not in self._by_state:
            alive = [self._alive(index, len(self.patterns[index].parts) - 1) for index in self._floating]
            for index, position in state:
                if position >= len(self.patterns[index].parts) - 1:
                    alive.append(self._alive(index, position))
            alive.sort(key=lambda item: item.number)
            self._by_state[state] = NameRules(alive) if alive else None
        return self._by_state[state]

    def verdict(self, path: str, is_dir: bool) -> bool | None:
        """Returns what the patterns say of `path`, relative to the file's directory, whatever its parents."""
        *parents, name = path.split("/")
        state = self.start
        for parent in parents:
            state = self.descend(state, self.text(parent))
        names = self.names(state)
        return None if names is None else names.verdict(self.text(name), is_dir)

    def text(self, name: str) -> str:
        """Returns `name` as the patterns compare it: for git, which compares bytes, one character a byte."""
        if self.flavour != GIT or name.isascii():
            return name
        return name.encode("utf-8", "surrogateescape").decode("latin-1")

    def _alive(self, index: int, position: int) -> _Alive:
        pattern = self.patterns[index]
        if position == len(pattern.parts):
            return _Alive(index, pattern, _ANY_NAME, pattern.is_dir_only and not pattern.covers_files)
        part = pattern.parts[position]
        return _Alive(index, pattern, _ANY_NAME if part == ANY_DEPTH else part, pattern.is_dir_only)

    def _closed(self, alive: set[tuple[int, int]]) -> State:
        # "Any number of components" includes none: where it is next, the part after it is next too.
        for index, position in list(alive):
            parts = self.patterns[index].parts
            following = position
            while following + 1 < len(parts) and parts[following] == ANY_DEPTH:
                following += 1
                alive.add((index, following))
        return tuple(sorted(alive))


def compile_patterns(lines: Iterable[str | bytes], *, flavour: str = GIT) -> IgnoreRules:
    """Returns the rules that `lines` make; comments and empty lines count for line numbers only.

    Args:
        lines: without their line ends; text holds undecodable bytes as surrogate escapes.
        flavour: GIT, DVC or DVC_NESTED.
    """
    patterns = []
    for number, line in enumerate(lines, start=1):
        if flavour == GIT:
            raw = line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
            pattern = _parse_git_line(number, raw.decode("latin-1"))
        else:
            text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
            pattern = _parse_dvc_line(number, text, is_nested=flavour == DVC_NESTED)
        if pattern is not None:
            patterns.append(pattern)
    return IgnoreRules(patterns, flavour)


def parse_ignore(data: bytes, *, flavour: str = GIT) -> IgnoreRules:
    """Returns the rules of an ignore file with the content `data`."""
    if flavour == GIT:
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        return compile_patterns([line.removesuffix(b"\r") for line in lines], flavour=GIT)
    return compile_patterns(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), flavour=flavour)


def _parse_git_line(number: int, line: str) -> IgnorePattern | None:
    cut = _without_trailing_spaces(line)
    if not cut or cut.startswith("#"):
        return None
    is_negated = cut.startswith("!")
    body = cut[1:] if is_negated else cut
    is_dir_only = body.endswith("/")
    body = body.removesuffix("/")
    if not body:
        return None
    text = cut.encode("latin-1").decode("utf-8", "surrogateescape")
    parts = _parts(_split(body.removeprefix("/")), is_floating="/" not in body, flavour=GIT)
    if parts is None:
        return None
    return IgnorePattern(number, text, is_negated, is_dir_only, covers_files=False, parts=parts)


def _parse_dvc_line(number: int, line: str, *, is_nested: bool) -> IgnorePattern | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    body = text[1:] if is_negated else text
    ends_in_slash = body.endswith("/")
    body = body.removesuffix("/")
    if not body:
        return None
    if is_nested:
        # DVC puts the directory in front of the pattern, and loses a backslash that the pattern starts with.
        body = re.sub(r"^(\*\*/|/)?\\", r"\1", body)
    found = _parts(body.removeprefix("/").split("/"), is_floating="/" not in body, flavour=DVC)
    if found is None:
        return None
    parts = list(found)
    # To DVC, `a/**` is the directory and all below it; git leaves the directory itself alone.
    while parts and parts[-1] == ANY_DEPTH:
        parts.pop()
    ends_in_stars = len(parts) < len(found)
    is_dir_only = ends_in_slash or ends_in_stars
    if not is_nested and (
        (ends_in_slash and not parts)
        or (is_dir_only and parts == [ANY_DEPTH, _ANY_NAME] and "***" not in body)
    ):
        return None  # `**/`, `*/` at the root never match in DVC
    return IgnorePattern(
        number, text, is_negated, is_dir_only, covers_files=not ends_in_slash, parts=tuple(parts)
    )


def _parts(pieces: Sequence[str], *, is_floating: bool, flavour: str) -> tuple[Part, ...] | None:
    parts = [_part(piece, flavour) for piece in pieces]
    found = tuple(part for part in parts if part is not None)
    if len(found) < len(parts):
        return None  # a malformed part: the whole pattern matches nothing
    whole = (ANY_DEPTH, *found) if is_floating else found
    # Any depth twice is any depth once.
    return tuple(
        part for index, part in enumerate(whole) if part != ANY_DEPTH or whole[index - 1 : index] != (part,)
    )


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    if len(stripped) < len(line) and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        return stripped + " "  # a backslash keeps the space that follows it
    return stripped


def _split(body: str) -> list[str]:
    """Returns the components of a git pattern: a slash in brackets does not separate, an escaped one does."""
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
            end = _bracket(body, position, GIT)
            if end is not None:
                position = end[1] - 1
        position += 1
    return [*pieces, body[start:]]


def _part(piece: str, flavour: str) -> Part | None:
    """Returns what a component of a pattern matches; None when it is malformed and matches nothing."""
    if piece == "**" or (flavour == GIT and len(piece) > 2 and not piece.strip("*")):
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
            bracket = _bracket(piece, position, flavour)
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
    if is_literal:
        return Part(literal="".join(plain))
    if tokens[0] == "" and len(plain) == len(tokens) - 1:
        return Part(suffix="".join(plain))
    return Part(regex=_joined(tokens))


def _joined(tokens: Sequence[str]) -> str:
    """Returns one regular expression; each star takes as little as it can and never tries again.

    Taking the first place where the text up to the next star fits is always right for a glob, and the atomic
    group keeps a pattern with many stars from costing exponential time.
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


def _bracket(piece: str, start: int, flavour: str) -> tuple[str, int] | None:
    """Returns the regular expression of the bracket expression at `start` and the position behind it.

    None when it is malformed: never closed, an unknown class, a backslash at the end.
    """
    position = start + 1
    is_negated = piece[position : position + 1] in ("!", "^")
    first = position = position + is_negated
    items: list[str] = []
    previous: str | None = None  # what a range may start with
    while position < len(piece):
        character = piece[position]
        if character == "]" and position > first:
            return _bracket_regex(items, is_negated), position + 1
        if character == "[" and flavour == GIT and piece.startswith(":", position + 1):
            end = piece.find("]", position + 2)
            if end < 0:
                return None
            if end > position + 2 and piece[end - 1] == ":":
                name = piece[position + 2 : end - 1]
                if name not in _CLASSES:
                    return None
                items.append(_CLASSES[name])
                previous = None
                position = end + 1
                continue
        if character == "-" and previous is not None and piece[position + 1 : position + 2] not in ("", "]"):
            high, position = _bracket_character(piece, position + 1, flavour)
            if previous <= high:
                items.append(f"{re.escape(previous)}-{re.escape(high)}")
            previous = None
        else:
            previous, position = _bracket_character(piece, position, flavour)
            items.append(re.escape(previous))
    return None


def _bracket_character(piece: str, position: int, flavour: str) -> tuple[str, int]:
    """Returns the character at `position` and where the next one starts; in git a backslash escapes it."""
    if piece[position] == "\\" and flavour == GIT:
        position += 1
    return piece[position : position + 1], position + 1


def _bracket_regex(items: Sequence[str], is_negated: bool) -> str:
    if not items:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{''.join(items)}]"


def _source(part: Part) -> str:
    if part.literal is not None:
        return re.escape(part.literal)
    return part.regex if part.regex is not None else ".*" + re.escape(part.suffix or "")


def _matches(part: Part, name: str) -> bool:
    if part.literal is not None:
        return part.literal == name
    if part.suffix is not None:
        return name.endswith(part.suffix)
    return part.regex is not None and re.fullmatch(part.regex, name, re.DOTALL) is not None

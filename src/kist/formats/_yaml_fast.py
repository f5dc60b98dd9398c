"""A reader for the plain YAML that metafiles are made of; it answers exactly as ruamel does, or not at all.

Not here: anchors, tags, directives, several documents, tabs, collections in flow style over several lines, numbers
in unusual spelling, and every error message: for those `parse` raises `NotPlain`, and the caller asks ruamel.
Implements docs/spec/metafiles.md, section 2.
"""

from __future__ import annotations

import re
from typing import Any

MAX_DEPTH = 50

# indentation, dashes, key, value that is surely a string, whole number, any other value
_Token = tuple[str, str, str, str, str, str]


class NotPlain(Exception):
    """The text needs the full reader, to be read or to be refused with a good message."""


_WORDS: dict[str, Any] = {
    word: value
    for name, value in (("true", True), ("false", False), ("null", None))
    for word in (name, name.title(), name.upper())
} | {"~": None}

_LINE = re.compile(
    r"^( *)((?:-(?: +|$))*)"
    r"""(?:([^\s\-?:,\[\]{}#&*!|>'"%@`<=][^:#\n]*|'[^'\n]*'|"[^"\\\n]*"):(?: +|$))?"""
    r"(?:((?!(?:true|True|TRUE|false|False|FALSE|null|Null|NULL)$)[A-Za-z_/][^\s:#]*(?: [^\s:#]+)*"
    r"|(?=[0-9be]*[acdf])[0-9a-f]{32}(?:\.dir)?)$"
    r"|(0|[1-9][0-9]{0,17})$|(.*)$)",
    re.MULTILINE,
)
_PLAIN_ASCII = bytes(range(0x20, 0x7F)) + b"\n"
_NOT_PRINTABLE = re.compile(
    "[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NUMBER_START = frozenset("-+.0123456789")
_NOT_PLAIN_START = frozenset(",[]{}#&*!|>'\"%@`<=")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,999})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99}(?:[eE][-+]?[0-9]{1,9})?|[eE][-+]?[0-9]{1,9})")
# What YAML 1.2, as ruamel reads it, takes for a number, a date, a merge key or a default value.
_OTHER_TYPE = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"
)
_DOUBLE_BODY = re.compile(r'(?:[^"\\]|\\.)*')
_SINGLE_BODY = re.compile(r"(?:[^']|'')*")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_FLOW_SCALAR = re.compile(
    r"""'([^'\n]*)'|"([^"\\\n]*)"|([^\s\-?:,\[\]{}#&*!|>'"%@`<=][^\s:,\[\]{}#]*(?: [^\s:,\[\]{}#]+)*)"""
)
_SPACES = re.compile(" *")
_REST = re.compile(r" *(?: #.*)?$")


def parse(data: bytes) -> Any:
    """Returns the value of a plain YAML document.

    Raises:
        NotPlain: `data` is not UTF-8, not plain, or wrong.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NotPlain from error
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    if text.isascii():
        if data.translate(None, _PLAIN_ASCII + b"\r") or "\r" in text:
            raise NotPlain
    elif _NOT_PRINTABLE.search(text):
        raise NotPlain
    if text.startswith("---\n"):
        text = text[4:]
    if text.startswith(("---", "...")) or "\n---" in text or "\n..." in text:
        raise NotPlain
    return _Reader(text).document()


class _Reader:
    """Walks over the lines of one text. Each method takes the line it starts at and returns the one after it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[_Token] = _LINE.findall(text)
        self.keys: dict[str, Any] = {}
        self.depth = 0
        self._lines: list[str] | None = None

    def document(self) -> Any:
        start = self.skip(0)
        if start == len(self.tokens):
            return None
        spaces, dashes, key, _, _, _ = self.tokens[start]
        if spaces or not (dashes or key):
            raise NotPlain
        value, end = self.sequence(start, 0) if dashes else self.mapping(start, 0)
        if self.skip(end) != len(self.tokens):
            raise NotPlain
        return value

    def skip(self, at: int) -> int:
        """Returns the first line from `at` that is neither empty nor a comment."""
        tokens = self.tokens
        while at < len(tokens):
            _, dashes, key, sure, integer, other = tokens[at]
            if dashes or key or sure or integer or (other and other[0] != "#"):
                break
            at += 1
        return at

    def mapping(self, at: int, indent: int) -> tuple[dict[Any, Any], int]:
        """Returns the block mapping whose first key stands in line `at`, in column `indent`."""
        self.enter()
        tokens, keys, count = self.tokens, self.keys, len(self.tokens)
        result: dict[Any, Any] = {}
        _, _, key, sure, integer, other = tokens[at]
        while True:
            if key in keys:
                name = keys[key]
            else:
                name = keys[key] = self.key(key)
            if name in result:
                raise NotPlain
            at += 1
            if sure:
                result[name] = sure
            elif integer:
                result[name] = int(integer)
            elif other:
                result[name], at = self.value(other, at, indent)
            else:
                result[name], at = self.below(at, indent, True)
            if at == count:
                break
            spaces, dashes, key, following, integer, other = tokens[at]
            if key and not dashes and len(spaces) == indent:
                sure = following
                continue
            if sure and len(spaces) > indent:
                result[name], at = self.plain(sure, at, indent)
            at = self.skip(at)
            if at == count or len(tokens[at][0]) < indent:
                break
            spaces, dashes, key, sure, integer, other = tokens[at]
            if len(spaces) > indent or dashes or not key:
                if dashes and len(spaces) == indent:
                    break
                raise NotPlain
        self.depth -= 1
        return result, at

    def sequence(self, at: int, indent: int) -> tuple[list[Any], int]:
        """Returns the block sequence whose first dash stands in line `at`, in column `indent`."""
        self.enter()
        tokens, count = self.tokens, len(self.tokens)
        result: list[Any] = []
        while True:
            _, dashes, key, sure, integer, other = tokens[at]
            item: Any
            if dashes.count("-") > 1:
                cut = dashes.index("-", 1)
                tokens[at] = (" " * (indent + cut), dashes[cut:], key, sure, integer, other)
                item, at = self.sequence(at, indent + cut)
            elif key:
                item, at = self.mapping(at, indent + len(dashes))
            elif sure:
                item, at = self.plain(sure, at + 1, indent)
            elif integer:
                item, at = int(integer), at + 1
            elif other:
                item, at = self.value(other, at + 1, indent)
            else:
                item, at = self.below(at + 1, indent, False)
            result.append(item)
            at = self.skip(at)
            if at == count or len(tokens[at][0]) < indent or not tokens[at][1]:
                break
            if len(tokens[at][0]) > indent:
                raise NotPlain
        self.depth -= 1
        return result, at

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotPlain

    def key(self, text: str) -> Any:
        if len(text) > 500 or text[-1] == " ":
            raise NotPlain
        return text[1:-1] if text[0] in "'\"" else _resolve(text)

    def below(self, at: int, indent: int, is_mapping: bool) -> tuple[Any, int]:
        """Returns what stands in the lines below a key or a dash that has nothing beside it."""
        start = self.skip(at)
        if start == len(self.tokens):
            return None, start
        spaces, dashes, key, sure, integer, other = self.tokens[start]
        column = len(spaces)
        if column <= indent:
            if dashes and column == indent and is_mapping:
                return self.sequence(start, column)
            return None, start
        if dashes:
            return self.sequence(start, column)
        if key:
            return self.mapping(start, column)
        if sure or integer:
            return self.plain(sure or integer, start + 1, indent)
        return self.value(other, start + 1, indent)

    def value(self, text: str, at: int, indent: int) -> tuple[Any, int]:
        """Returns the value that starts with `text` in the line before `at`, in a collection in column `indent`."""
        first = text[0]
        if first == "#":
            return self.below(at, indent, self.tokens[at - 1][2] != "")
        if first == '"':
            return self.quoted(text, at, indent, _DOUBLE_BODY)
        if first == "'":
            return self.quoted(text, at, indent, _SINGLE_BODY)
        if first in "[{":
            return self.flow(text), at
        if first in "|>":
            return self.block_text(text, at, indent)
        if first in _NOT_PLAIN_START or (first in "-?:" and text[1:2] in ("", " ")):
            raise NotPlain
        comment = text.find(" #")
        if comment >= 0:
            return _resolve(_checked(text[:comment].rstrip(" "))), at
        return self.plain(text, at, indent)

    def lines(self) -> list[str]:
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines

    def plain(self, text: str, at: int, indent: int) -> tuple[Any, int]:
        """Returns a scalar without quotes; lines from `at` that stand right of `indent` belong to it."""
        parts = [text.rstrip(" ")]
        while at < len(self.tokens) and len(self.tokens[at][0]) > indent:
            line = self.lines()[at].strip(" ")
            if not line or line[0] == "#":
                break
            if " #" in line:
                raise NotPlain
            parts.append(line)
            at += 1
        # Empty lines inside of a text are newlines; after a comment, more of the text is an error.
        following = self.skip(at)
        if following > at and following < len(self.tokens) and len(self.tokens[following][0]) > indent:
            raise NotPlain
        return _resolve(_checked(" ".join(parts))), at

    def quoted(self, text: str, at: int, indent: int, body: re.Pattern[str]) -> tuple[str, int]:
        """Returns a scalar in quotes, which may go on over the lines from `at`."""
        quote = text[0]
        # Pieces between line breaks; an empty piece is an empty line.
        pieces = []
        rest = text[1:]
        while True:
            found = body.match(rest)
            end = found.end() if found is not None else 0
            if end < len(rest) and rest[end] == quote:
                break
            pieces.append(rest)
            if at == len(self.tokens):
                raise NotPlain
            rest = self.lines()[at]
            if rest and len(self.tokens[at][0]) <= indent:
                raise NotPlain
            rest = rest.lstrip(" ")
            at += 1
        if not _REST.match(rest, end + 1):
            raise NotPlain
        pieces.append(rest[:end])
        joined = _fold(pieces, quote)
        return (joined.replace("''", "'") if quote == "'" else _ESCAPE.sub(_unescape, joined)), at

    def block_text(self, header: str, at: int, indent: int) -> tuple[str, int]:
        """Returns a literal (`|`) or simply folded (`>`) text in the lines from `at`."""
        if header not in ("|", "|-", "|+", ">", ">-") or not self.text.endswith("\n"):
            raise NotPlain
        lines = self.lines()
        column = len(self.tokens[at][0]) if at < len(self.tokens) else 0
        if column <= indent or not lines[at].strip(" "):
            raise NotPlain
        start = at
        # The last of `lines` is what follows the final newline: nothing.
        while at < len(lines) - 1 and (not lines[at].strip(" ") or len(self.tokens[at][0]) >= column):
            at += 1
        content = [line[column:] for line in lines[start:at]]
        empty = 0
        while not content[-1 - empty]:
            empty += 1
        if empty:
            del content[-empty:]
        if header[0] == ">":
            if any(not line or line[0] == " " for line in content):
                raise NotPlain
            content = [" ".join(content)]
        elif any(line.isspace() for line in content):
            raise NotPlain
        ending = {"": "\n", "-": "", "+": "\n" * (1 + empty)}[header[1:]]
        return "\n".join(content) + ending, at

    def flow(self, text: str) -> Any:
        """Returns a collection in flow style that ends in its line."""
        value, end = self.flow_node(text, 0)
        if not _REST.match(text, end):
            raise NotPlain
        return value

    def flow_node(self, text: str, at: int) -> tuple[Any, int]:
        if at < len(text) and text[at] in "[{":
            self.enter()
            result = self.flow_sequence(text, at + 1) if text[at] == "[" else self.flow_mapping(text, at + 1)
            self.depth -= 1
            return result
        found = _FLOW_SCALAR.match(text, at)
        if found is None:
            raise NotPlain
        single, double, plain = found.groups()
        value = _resolve(plain) if plain is not None else single if single is not None else double
        return value, _after_spaces(text, found.end())

    def flow_sequence(self, text: str, at: int) -> tuple[list[Any], int]:
        result: list[Any] = []
        at = _after_spaces(text, at)
        while text[at : at + 1] != "]" or result:
            item, at = self.flow_node(text, at)
            result.append(item)
            at = _after_spaces(text, at)
            if text[at : at + 1] == "]":
                break
            if text[at : at + 1] != ",":
                raise NotPlain
            at = _after_spaces(text, at + 1)
        return result, at + 1

    def flow_mapping(self, text: str, at: int) -> tuple[dict[Any, Any], int]:
        result: dict[Any, Any] = {}
        at = _after_spaces(text, at)
        while text[at : at + 1] != "}" or result:
            if text[at : at + 1] in ("[", "{"):
                raise NotPlain
            name, at = self.flow_node(text, at)
            if text[at : at + 2] != ": " or name in result:
                raise NotPlain
            result[name], at = self.flow_node(text, _after_spaces(text, at + 2))
            at = _after_spaces(text, at)
            if text[at : at + 1] == "}":
                break
            if text[at : at + 1] != ",":
                raise NotPlain
            at = _after_spaces(text, at + 1)
        return result, at + 1


def _after_spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found is not None else at


def _checked(plain: str) -> str:
    if ": " in plain or plain[-1] == ":":
        raise NotPlain
    return plain


def looks_like_other_type(text: str) -> bool:
    """Says whether a text without quotes would be read as something else than a text."""
    if text[0] in _NUMBER_START:
        return _OTHER_TYPE.fullmatch(text) is not None
    return text in _WORDS or text in ("<<", "=")


def _resolve(plain: str) -> Any:
    """Returns the value of a scalar without quotes."""
    if plain in _WORDS:
        return _WORDS[plain]
    if plain[0] not in _NUMBER_START:
        return plain
    if _WHOLE.fullmatch(plain):
        return int(plain)
    if _FLOAT.fullmatch(plain):
        return float(plain)
    if _OTHER_TYPE.fullmatch(plain):
        raise NotPlain
    return plain


def _fold(pieces: list[str], quote: str) -> str:
    """Returns the pieces joined: a break is a space, n empty lines are n newlines; `\\` takes the break away."""
    if len(pieces) == 1:
        return pieces[0]
    result = ""
    breaks = 0
    is_joined = True
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        text = piece if is_last else piece.rstrip(" ")
        if not text and index > 0 and not is_last:
            breaks += 1
            continue
        if index and not is_joined:
            result += "\n" * breaks or " "
        elif breaks:
            raise NotPlain
        breaks = 0
        backslashes = len(text) - len(text.rstrip("\\"))
        is_joined = quote == '"' and not is_last and backslashes % 2 == 1
        if is_joined and text != piece:
            raise NotPlain
        result += text[:-1] if is_joined else text
    return result


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise NotPlain
        return chr(number)
    if code not in _ESCAPES:
        raise NotPlain
    return _ESCAPES[code]

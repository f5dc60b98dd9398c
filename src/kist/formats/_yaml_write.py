"""A writer for block-style YAML whose bytes are those of ruamel's default dump, which DVC uses.

Not here: root scalars, very long keys, and types that YAML does not read; for those `render` raises `NotPlain`, and
the caller asks ruamel. The folding at 80 columns is ruamel's with its oddities: a plain text is broken before the
word that would pass the margin, and the space before it stays. Keys are never folded: ruamel's would not be read back.
Implements docs/spec/metafiles.md, section 2.
"""

from __future__ import annotations

import re
from typing import Any

from kist.formats._yaml_fast import NotPlain, looks_like_other_type

WIDTH = 80
MAX_DEPTH = 50
MAX_KEY_LENGTH = 500

# A text that needs neither quotes nor a look at its words.
_USUAL = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.=+,()@-]*")
_SPECIAL = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NEEDS_QUOTES = re.compile(r"""(?:---|\.\.\.|[#,\[\]{}&*!|>'"%@`]|[-?:](?: |$)| )|.*(?:: |:$| #| $)""")
_WORDS_AND_SPACES = re.compile(r" +|[^ ]+")
_ESCAPES = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
    "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip


def render(value: Any) -> str:
    """Returns the text of `value`, with a newline at its end.

    Raises:
        NotPlain: `value` holds something that this writer leaves to ruamel.
    """
    lines: list[str] = []
    if type(value) is dict and value:
        _write_mapping(lines, value, 0, "")
    elif type(value) is list and value:
        _write_sequence(lines, value, 0, "")
    else:
        raise NotPlain
    lines.append("")
    return "\n".join(lines)


def _write_mapping(lines: list[str], mapping: dict[Any, Any], indent: int, lead: str) -> None:
    """Appends the lines of a mapping; `lead` stands before its first key, spaces before the others."""
    if indent > 2 * MAX_DEPTH:
        raise NotPlain
    pad = " " * indent
    for key, value in mapping.items():
        start = lead + (key if type(key) is str and _is_usual(key, indent) else _key(key))
        lead = pad
        kind = type(value)
        if kind is str:
            if _is_usual(value, len(start) + 2):
                lines.append(f"{start}: {value}")
            else:
                lines.append(f"{start}: {_text(value, len(start) + 2, indent + 2)}")
        elif kind is int and value < 1 << 60 and len(start) < 50:
            lines.append(f"{start}: {value}")
        elif kind is dict and value:
            lines.append(start + ":")
            _write_mapping(lines, value, indent + 2, pad + "  ")
        elif kind is list and value:
            lines.append(start + ":")
            _write_sequence(lines, value, indent, pad)
        else:
            rest = _rest(value)
            if rest and len(start) + 1 + len(rest) > WIDTH and (value or type(value) not in (dict, list)):
                rest = " " + _plain(rest[1:], len(start) + 2, indent + 2)
            lines.append(f"{start}:{rest}")


def _write_sequence(lines: list[str], items: list[Any], indent: int, lead: str) -> None:
    """Appends the lines of a sequence; `lead` stands before its first dash, spaces before the others."""
    if indent > 2 * MAX_DEPTH:
        raise NotPlain
    pad = " " * indent
    for item in items:
        start = lead + "- "
        lead = pad
        kind = type(item)
        if kind is dict and item:
            _write_mapping(lines, item, indent + 2, start)
        elif kind is list and item:
            _write_sequence(lines, item, indent + 2, start)
        elif kind is str:
            lines.append(start + _text(item, indent + 2, indent + 2))
        elif item is None:
            lines.append(start)
        else:
            lines.append(f"{start[:-1]}{_rest(item)}")


def _is_usual(text: str, column: int) -> bool:
    return (
        column + len(text) <= WIDTH
        and _USUAL.fullmatch(text) is not None
        and not (text[0] in "tTfFnN" and looks_like_other_type(text))
    )


def _key(key: Any) -> str:
    if type(key) is not str:
        return "null" if key is None else _rest(key)[1:]
    if len(key) > MAX_KEY_LENGTH:
        raise NotPlain
    # From a column far to the left no key reaches the margin.
    return _text(key, -20 * MAX_KEY_LENGTH, 0)


def _rest(value: Any) -> str:
    """Returns a value other than a text or a filled collection, with the space before it."""
    kind = type(value)
    if value is None:
        return ""
    if kind is bool:
        return " true" if value else " false"
    if kind is int:
        return f" {value}"
    if kind is float:
        if value != value:
            return " .nan"
        if value in (float("inf"), float("-inf")):
            return " .inf" if value > 0 else " -.inf"
        return f" {value!r}"
    if value in ({}, []) and kind in (dict, list):
        return " {}" if kind is dict else " []"
    # The types are compared by name, because importing them costs a millisecond at each start.
    if kind.__module__ == "datetime" and kind.__name__ in ("date", "datetime"):
        return f" {value}"
    raise NotPlain


def _text(text: str, column: int, indent: int) -> str:
    """Returns `text` plain or in quotes, folded.

    Args:
        column: where it starts.
        indent: where its further lines start.
    """
    if not text:
        return "''"
    if "\n" in text or _SPECIAL.search(text):
        return _double_quoted(text, column, indent)
    if not _NEEDS_QUOTES.match(text) and not looks_like_other_type(text):
        return text if column + len(text) <= WIDTH else _plain(text, column, indent)
    if "'" in text:
        return _double_quoted(text, column, indent)
    return f"'{text}'" if column + len(text) <= WIDTH else _single_quoted(text, column, indent)


def _plain(text: str, column: int, indent: int) -> str:
    line_break = "\n" + " " * indent
    parts: list[str] = []
    for part in _WORDS_AND_SPACES.findall(text):
        if part == " " and column >= WIDTH:
            parts.append(line_break)
            column = indent
            continue
        if part[0] != " " and column + len(part) > WIDTH and column > indent:
            parts.append(line_break)
            column = indent
        parts.append(part)
        column += len(part)
    return "".join(parts)


def _single_quoted(text: str, column: int, indent: int) -> str:
    line_break = "\n" + " " * indent
    parts = ["'"]
    column += 1
    rest = len(text)
    for part in _WORDS_AND_SPACES.findall(text):
        is_inner = rest - len(part) > 0 and rest < len(text)
        rest -= len(part)
        if part == " " and column > WIDTH and is_inner:
            parts.append(line_break)
            column = indent
        else:
            parts.append(part)
            column += len(part)
    return "".join(parts) + "'"


def _double_quoted(text: str, column: int, indent: int) -> str:
    parts = ['"']
    column += 1
    start, size = 0, len(text)
    for end in range(size + 1):
        char = text[end] if end < size else ""
        if not char or char in '"\\\n' or _SPECIAL.match(char):
            if start < end:
                parts.append(text[start:end])
                column += end - start
                start = end
            if char:
                escape = _ESCAPES.get(char) or _numbered(ord(char))
                parts.append(escape)
                column += len(escape)
                start = end + 1
        if 0 < end < size - 1 and (char == " " or start >= end) and column + end - start > WIDTH:
            # ruamel leaves the backslash out after an escape, too, where no space follows; reading adds one then.
            is_at_space = start != end and text[max(start, end)] == " " and _breaks_at_space(text, end)
            backslash = "" if is_at_space else "\\"
            parts.append(f"{text[start:end]}{backslash}\n{' ' * indent}")
            start = max(start, end)
            column = indent
            if text[start] == " ":
                parts.append(backslash)
                column += len(backslash)
                start += not backslash
    return "".join(parts) + '"'


def _numbered(code: int) -> str:
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _breaks_at_space(text: str, end: int) -> bool:
    """Says whether ruamel breaks a line in double quotes at `end` without a backslash."""
    space = text.find(" ", end)
    if space < 0:
        return False
    newline = text.find("\n", end, space)
    stop = space if newline < 0 else newline
    following = text[stop + 1 : stop + 2]
    if not following or (text[stop] == "\n" and following != " "):
        return False
    between = text[end:stop]
    return (
        '"' not in between
        and "'" not in between
        and following not in " \n"
        and text[end - 1 : end + 1] != "  "
    )

"""The experiment logger's files as bytes: rows of `metrics.csv`, the mapping of `params.yml`, where a torn row begins.

Both as the `dagshub` package writes them. Not here: files (kist.tracking).
Implements docs/spec/logger.md, sections 1 and 2.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

HEADER = b"Name,Value,Timestamp,Step\n"
_WIDTH = 80
"""Texts are folded at the first space behind this column."""

_BREAKS = re.compile("[\\r\\n\\x00\\x0b\\x0c\\x1c-\\x1e\\x85\u2028\u2029]")
# Texts that can stand without quotes; what else could stand so is quoted, which no reader minds.
_PLAIN = re.compile(r"[A-Za-z0-9_./\\()+$;^~<=-][A-Za-z0-9_./\\()+$;^~,=<>*&!|%@`'\"?{}\[\] :#-]*")
_NOT_PLAIN = re.compile(r": |:$| #|^[ ]| $|^-( |$)|^---|^\.\.\.")
# What a reader of YAML 1.1 or 1.2 takes for a boolean, nothing, a number, a date, a merge key or a default value.
_OTHER = re.compile(
    r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|=|<<"
    r"|[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)"
    r"|[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9].*"
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "\0": "\\0", "\x07": "\\a",
            "\x08": "\\b", "\x0b": "\\v", "\x0c": "\\f", "\x1b": "\\e", "\x85": "\\N", "\xa0": "\\_",
            "\u2028": "\\L", "\u2029": "\\P"}  # fmt: skip


def render_rows(metrics: Mapping[str, Any], timestamp_ms: int, step: int) -> bytes:
    """Returns the rows of one call."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerows(
        [
            (
                name if type(name) is str and name.isprintable() else _one_line(str(name)),
                value if type(value) in _EASY else _field(value),
                timestamp_ms,
                step,
            )
            for name, value in metrics.items()
        ]
    )
    return out.getvalue().encode("utf-8", "surrogateescape")


_EASY = frozenset({float, int, bool})


def _field(value: Any) -> Any:
    """Returns what stands in a row for a value that is neither number nor boolean of Python's own."""
    if value is None:
        return value
    if isinstance(value, str):
        return _one_line(value)
    text = str(value)
    if not hasattr(value, "__float__") or looks_like_number(text):
        return value if "\n" not in text else _one_line(text)
    item = getattr(value, "item", None)
    try:
        return item() if item is not None else float(value)
    except (TypeError, ValueError, RuntimeError):
        return _one_line(text)  # an array of several elements


def looks_like_number(text: str) -> bool:
    """Says whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)


class RowScan:
    """Finds where the last complete row ends, given a file's blocks in order.

    Attributes:
        end: offset behind the last line feed outside of quotes.
    """

    def __init__(self) -> None:
        self.end = 0
        self._at = 0
        self._is_quoted = False

    def feed(self, block: bytes) -> None:
        """Takes the next bytes."""
        total = block.count(b'"')
        stop = len(block)
        behind = 0
        while (place := block.rfind(b"\n", 0, stop)) >= 0:
            behind += block.count(b'"', place, stop)
            if not (total - behind + self._is_quoted) % 2:
                self.end = self._at + place + 1
                break
            stop = place
        self._at += len(block)
        self._is_quoted = bool((total + self._is_quoted) % 2)


def plain_values(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns the values of parameters as `params.yml` holds them: what is no number, boolean or mapping is a text."""
    return {
        key: plain_values(value)
        if isinstance(value, Mapping)
        else value
        if value is None or type(value) in (int, float, bool)
        else str(value)
        for key, value in values.items()
    }


def render_hparams(values: Mapping[Any, Any]) -> bytes:
    """Returns the bytes of `params.yml`."""
    if not values:
        return b"{}\n"
    lines: list[str] = []
    _mapping(values, 0, lines)
    return ("\n".join(lines) + "\n").encode()


def _mapping(values: Mapping[Any, Any], indent: int, lines: list[str]) -> None:
    try:
        items = sorted(values.items())
    except TypeError:
        items = list(values.items())  # keys of several types have no order
    for key, value in items:
        head = " " * indent + _scalar(key, 0, is_key=True)
        if isinstance(value, Mapping):
            if value:
                lines.append(head + ":")
                _mapping(value, indent + 2, lines)
            else:
                lines.append(head + ": {}")
        else:
            lines.append(f"{head}: " + _scalar(value, len(head) + 2, indent=indent + 2))


def _scalar(value: Any, column: int, *, indent: int = 0, is_key: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    text = str(value)
    if not text.isascii() or not text.isprintable():
        return '"' + "".join(map(_escaped, text)) + '"'
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.search(text) and not _OTHER.fullmatch(text):
        return text if is_key else _folded(text, column, indent)
    quoted = text.replace("'", "''")
    return "'" + (quoted if is_key else _folded(quoted, column + 1, indent)) + "'"


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value).lower()
    # YAML 1.1 knows no float without a point.
    return text.replace("e", ".0e", 1) if "." not in text and "e" in text else text


def _folded(text: str, column: int, indent: int) -> str:
    """Returns a text with line breaks in place of single spaces where lines have become too long."""
    parts = re.split("( +)", text)
    out: list[str] = []
    for at, part in enumerate(parts):
        if part == " " and column > _WIDTH and 0 < at < len(parts) - 1 and parts[at - 1] and parts[at + 1]:
            out.append("\n" + " " * indent)
            column = indent
        else:
            out.append(part)
            column += len(part)
    return "".join(out)


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"

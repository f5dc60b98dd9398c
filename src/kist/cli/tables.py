"""Tables as lines of text: columns side by side, or Markdown as GitHub reads it; as DVC lays them out."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from kist.cli.console import visible

if TYPE_CHECKING:
    from kist.compare.values import Table

_ROOM = 2
"""A column is wider than its header by so much at least."""


def table_lines(table: Table, *, markdown: bool = False) -> list[str]:
    """Returns a table's lines: none where it has no rows, but of a Markdown table its header, and an empty one last."""
    if not table.rows and not markdown:
        return []
    headers = [_clean(cell) for cell in table.headers]
    rows = [[_clean(cell) for cell in row] for row in table.rows]
    return _markdown(headers, rows) if markdown else _plain(headers, rows)


def _clean(cell: str) -> str:
    return visible(cell).strip()


def _plain(headers: list[str], rows: list[list[str]]) -> list[str]:
    split = [[cell.split("\n") for cell in row] for row in [headers, *rows]]
    widths = _widths([[part for row in split[1:] for part in row[at]] for at in range(len(headers))], headers)
    lines = []
    for row in split:
        for number in range(max(map(len, row), default=0)):
            parts = [cell[number] if number < len(cell) else "" for cell in row]
            lines.append("  ".join(map(_filled, parts, widths)).rstrip())
    return lines


def _markdown(headers: list[str], rows: list[list[str]]) -> list[str]:
    safe = [[cell.replace("\n", " ").replace("|", "\\|") for cell in row] for row in [headers, *rows]]
    widths = _widths([[row[at] for row in safe[1:]] for at in range(len(headers))], safe[0])
    lines = ["| " + " | ".join(map(_filled, row, widths)) + " |" for row in safe]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:], ""]


def _widths(columns: list[list[str]], headers: list[str]) -> list[int]:
    return [
        max([_width(header) + _ROOM, *map(_width, cells)])
        for header, cells in zip(headers, columns, strict=True)
    ]


def _width(text: str) -> int:
    """Returns the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _width(text))

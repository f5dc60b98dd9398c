"""The table of `kist exp show` for people: as wide as the terminal, what differs first, long ones in a pager."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kist.cli.console import visible
from kist.cli.exp_table import (
    PRECISION,
    SHORT,
    Column,
    Sheet,
    cells_of,
    created_of,
    differs,
    label_of,
    state_cells,
    state_columns,
)

if TYPE_CHECKING:
    import argparse

    from kist.cli.context import Context

_GAP = "  "
_WIDEST = 40
"""A value wider than this is cut on a terminal."""
_COLOURS = {"metrics": "yellow", "params": "blue", "deps": "dim"}


def print_screen(context: Context, sheet: Sheet, args: argparse.Namespace) -> None:
    """Prints the table; on a terminal only the columns that fit, and says which do not."""
    width = _terminal_width() if _is_terminal() else None
    lines, left_out = screen_lines(context, sheet, args, width)
    if left_out:
        names = ", ".join(column.title for column in left_out[:6])
        more = f" and {len(left_out) - 6} more" if len(left_out) > 6 else ""
        lines += [
            "",
            f"Left out for want of room: {names}{more}; `--csv` has all, `--only-changed` what differs",
        ]
    if width is not None and not args.no_pager and len(lines) >= _terminal_height():
        _page(context, lines)
        return
    for line in lines:
        context.console.out(line)


def screen_lines(
    context: Context, sheet: Sheet, args: argparse.Namespace, width: int | None
) -> tuple[list[str], list[Column]]:
    """Returns the table's lines, and the columns that do not fit into `width` (None: all fit)."""
    columns = _by_interest(sheet)
    precision = args.precision or PRECISION
    now_s = time.time()
    first = [label_of(line, only_sha=args.sha) for line in sheet.lines]
    created = [created_of(line, now_s) for line in sheet.lines]
    values = [_short(cells_of(line, columns, precision), columns) for line in sheet.lines]
    states = state_columns(sheet)
    table = [["Experiment", *first], ["Created", *created]]
    rows = [state_cells(line, states, "-") for line in sheet.lines]
    table += [[title, *(row[at] for row in rows)] for at, title in enumerate(states)]
    fixed = len(table)
    table += [[column.title, *(row[at] for row in values)] for at, column in enumerate(columns)]
    if width is not None:
        table = [[_cut(text) for text in column] for column in table]
    widths = [max(_width(_clean(text)) for text in column) for column in table]
    count = _fitting(widths, width, fixed)
    kinds = ["bold", *["dim"] * (fixed - 1), *(_COLOURS[column.kind] for column in columns)]
    lines = []
    for at in range(len(sheet.lines) + 1):
        parts = []
        for number in range(count):
            text = _clean(table[number][at])
            padding = " " * (widths[number] - _width(text)) if number < count - 1 else ""
            shown = context.console.paint(text, "bold", kinds[number]) if at == 0 else text
            parts.append(shown + padding)
        lines.append(_GAP.join(parts).rstrip())
    return lines, columns[count - fixed :]


def _short(cells: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Returns cells with the beginnings of hashes."""
    return [text[:SHORT] if one.kind == "deps" else text for text, one in zip(cells, columns, strict=True)]


def _by_interest(sheet: Sheet) -> list[Column]:
    """Returns metrics and parameters that differ, then the others, then dependencies; those that differ first."""
    changed = {column for column in sheet.columns if differs(column, sheet.lines)}

    def rank(column: Column) -> int:
        if column.kind == "deps":
            return 4 if column in changed else 5
        return (0 if column in changed else 2) + (column.kind == "params")

    return sorted(sheet.columns, key=rank)


def _fitting(widths: Sequence[int], width: int | None, least: int) -> int:
    """Returns how many columns fit, at least the first ones."""
    if width is None:
        return len(widths)
    used = sum(widths[:least]) + len(_GAP) * (least - 1)
    count = least
    while count < len(widths) and used + len(_GAP) + widths[count] <= width:
        used += len(_GAP) + widths[count]
        count += 1
    return count


def _width(text: str) -> int:
    """Returns the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _clean(text: str) -> str:
    return visible(text).replace("\n", " ")


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _terminal_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80


def _terminal_height() -> int:
    try:
        return os.get_terminal_size().lines
    except OSError:
        return 24


def _page(context: Context, lines: Sequence[str]) -> None:
    """Shows lines in the person's pager; without one they are printed."""
    import shlex  # few tables are long
    import subprocess

    pager = context.environ.get("DVC_PAGER") or context.environ.get("PAGER") or "less"
    words = shlex.split(pager)
    environ = {"LESS": "FRSX", **context.environ}
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, env=environ, text=True, errors="surrogateescape"
        )
    except (OSError, IndexError):
        for line in lines:
            context.console.out(line)
        return
    context.console.flush()
    try:
        process.communicate("\n".join(lines) + "\n")
    except BrokenPipeError:
        process.wait()

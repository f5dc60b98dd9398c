"""A drawing in lines of text, for the terminal. Pure.

Lines and points go into a grid of Braille dots, one series a colour, or of letters where there are no colours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kist.compare.plot_points import FIELD, FILE, VERSION
from kist.compare.plot_spec import Drawing

COLOURS = ("green", "cyan", "yellow", "red", "blue")
_LETTERS = "*+xo#@"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_HEIGHT = 12
_LEAST_WIDTH = 20

Paint = Callable[[str, str], str]
"""Returns a text in a colour."""


class _Series(NamedTuple):
    name: str
    points: list[tuple[float, float]]


class _Frame(NamedTuple):
    """The ranges of x and y."""

    left: float
    right: float
    low: float
    high: float


def text_chart(drawing: Drawing, *, width: int, paint: Paint | None, joins: bool = True) -> list[str]:
    """Returns the lines of a chart; a sentence where there are no numbers to draw.

    Args:
        width: columns of the terminal.
        paint: None where there are no colours.
        joins: points of a series are joined by lines.
    """
    series = list(_series(drawing))
    if not any(one.points for one in series):
        return [drawing.title, "  (no numbers to draw as text)"]
    frame = _frame(series)
    labels = [_number(frame.high), _number((frame.low + frame.high) / 2), _number(frame.low)]
    margin = max(map(len, labels))
    columns = max(_LEAST_WIDTH, width - margin - 3)
    use_letters = paint is None and len(series) > 1
    if use_letters:
        grid = _letters(series, frame, columns, joins)
    else:
        grid = _dots(series, frame, columns, joins, paint)
    lines = [drawing.title]
    for at, row in enumerate(grid):
        label = {0: labels[0], _HEIGHT // 2: labels[1], _HEIGHT - 1: labels[2]}.get(at, "")
        lines.append(f"{label:>{margin}} ┤{row}" if label else f"{'':>{margin}} │{row}")
    left, right = _number(frame.left), _number(frame.right)
    name = drawing.x_label or drawing.x
    middle = name[: max(0, columns - len(left) - len(right) - 2)].center(columns - len(left) - len(right))
    lines.append(f"{'':>{margin}} └" + "─" * columns)
    lines.append(f"{'':>{margin}}  {left}{middle}{right}")
    if len(series) > 1 or series[0].name:
        legend = [_legend(at, one.name, use_letters, paint) for at, one in enumerate(series)]
        lines.append(f"{'':>{margin}}  " + "   ".join(legend))
    return lines


def _legend(at: int, name: str, use_letters: bool, paint: Paint | None) -> str:
    mark = _LETTERS[at % len(_LETTERS)] if use_letters else "━"
    return f"{paint(mark, COLOURS[at % len(COLOURS)]) if paint is not None else mark} {name}"


def _series(drawing: Drawing) -> Iterator[_Series]:
    """Yields what is drawn of each version, file and field."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    files, fields = ({source[at] for source in drawing.sources} for at in (0, 1))
    for row in drawing.rows:
        key = (str(row.get(VERSION, "")), str(row.get(FILE, "")), str(row.get(FIELD, "")))
        x, y = _float(row.get(drawing.x)), _float(row.get(drawing.y or ""))
        points = groups.setdefault(key, [])
        if x is not None and y is not None:
            points.append((x, y))
    for (version, file, field), points in groups.items():
        parts = [version if len(drawing.versions) > 1 else ""]
        parts += [file if len(files) > 1 else "", field if len(fields) > 1 else ""]
        yield _Series(" ".join(filter(None, parts)), points)


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _frame(series: list[_Series]) -> _Frame:
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    return _Frame(left, right, low, high)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _cells(
    points: list[tuple[float, float]], frame: _Frame, width: int, height: int, joins: bool
) -> set[tuple[int, int]]:
    """Returns the (column, row) of a grid that points fall into; row 0 is on top."""
    span_x, span_y = frame.right - frame.left, frame.high - frame.low
    placed = [
        (
            round((x - frame.left) / span_x * (width - 1)) if span_x else width // 2,
            round((frame.high - y) / span_y * (height - 1)),
        )
        for x, y in points
    ]
    found = set(placed)
    if joins:
        for (x1, y1), (x2, y2) in zip(placed, placed[1:], strict=False):
            steps = max(abs(x2 - x1), abs(y2 - y1))
            found.update(
                (x1 + round((x2 - x1) * step / steps), y1 + round((y2 - y1) * step / steps))
                for step in range(1, steps)
            )
    return found


def _dots(series: list[_Series], frame: _Frame, columns: int, joins: bool, paint: Paint | None) -> list[str]:
    bits: dict[tuple[int, int], int] = {}
    owner: dict[tuple[int, int], int] = {}
    for at, one in enumerate(series):
        for x, y in _cells(one.points, frame, columns * 2, _HEIGHT * 4, joins):
            cell = (x // 2, y // 4)
            bits[cell] = bits.get(cell, 0) | _DOTS[y % 4][x % 2]
            owner[cell] = at
    lines = []
    for row in range(_HEIGHT):
        cells = [(owner.get((column, row)), bits.get((column, row), 0)) for column in range(columns)]
        line = ""
        for who, run in itertools.groupby(cells, lambda cell: cell[0]):
            marks = "".join(chr(0x2800 + dots) if dots else " " for _, dots in run)
            line += marks if who is None or paint is None else paint(marks, COLOURS[who % len(COLOURS)])
        lines.append(line.rstrip())
    return lines


def _letters(series: list[_Series], frame: _Frame, columns: int, joins: bool) -> list[str]:
    marks: dict[tuple[int, int], str] = {}
    for at, one in enumerate(series):
        for cell in _cells(one.points, frame, columns, _HEIGHT, joins):
            marks[cell] = _LETTERS[at % len(_LETTERS)]
    return [
        "".join(marks.get((column, row), " ") for column in range(columns)).rstrip() for row in range(_HEIGHT)
    ]

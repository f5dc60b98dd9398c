"""Draws a graph of stages for a terminal: a line for each stage, a rail for each output that is still to be used. Pure.

Each stage stands below all that it depends on. `○` depends on nothing. A `●` without a line stands at the end of the
rail above it. A line comes from several rails, or from one that goes on: `├` and `┼` where a rail goes on, `└` and `┴`
where it ends; a `│` in the line is only crossed. Not here: DOT and Mermaid (repo.dag).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Marks(NamedTuple):
    """The characters of a drawing."""

    root: str
    node: str
    rail: str
    line: str
    start: str
    start_end: str
    middle: str
    end: str
    cross: str


UNICODE = Marks("○", "●", "│", "─", "├", "└", "┼", "┴", "│")
ASCII = Marks("o", "*", "|", "-", "+", "`", "+", "'", "|")


def draw(order: Sequence[str], makers: Mapping[str, Sequence[str]], marks: Marks = UNICODE) -> list[str]:
    """Returns the lines of a drawing.

    Args:
        order: names, each after all that it depends on; what comes later than its user is not drawn.
        makers: name -> names that it depends on.
    """
    place = {name: at for at, name in enumerate(order)}
    makers = {name: [one for one in makers[name] if place[one] < place[name]] for name in order}
    left = dict.fromkeys(order, 0)
    for name in order:
        for maker in makers[name]:
            left[maker] += 1
    columns: list[str | None] = []
    rows: list[tuple[list[str], str]] = []
    for name in order:
        cells = [" " if owner is None else marks.rail for owner in columns]
        own = sorted(columns.index(maker) for maker in makers[name])
        for maker in makers[name]:
            left[maker] -= 1
        is_straight = len(own) == 1 and not left[columns[own[0]] or name]
        if is_straight:
            at = own[0]
        else:
            at = _free_column(columns, own[-1] + 1 if own else 0)
        cells += [" "] * (at + 1 - len(cells))
        columns += [None] * (at + 1 - len(columns))
        lines = _connect(cells, columns, own, at, left, marks)
        cells[at] = marks.node if own else marks.root
        for column in own:
            owner = columns[column]
            if owner is not None and left[owner] == 0:
                columns[column] = None
        columns[at] = name if left[name] else None
        while columns and columns[-1] is None:
            columns.pop()
        rows.append((_joined(cells, lines, marks), name))
    width = max((len(row) for row, _ in rows), default=0)
    return ["".join(row).ljust(width) + " " + name for row, name in rows]


def _free_column(columns: Sequence[str | None], first: int) -> int:
    return next((at for at in range(first, len(columns)) if columns[at] is None), max(first, len(columns)))


def _connect(
    cells: list[str],
    columns: Sequence[str | None],
    own: Sequence[int],
    at: int,
    left: Mapping[str, int],
    marks: Marks,
) -> range:
    """Draws the line from the rails of makers to the node; returns the columns after which it goes on."""
    if not own:
        return range(0)
    for column in range(own[0], at):
        owner = columns[column]
        if column in own:
            is_over = owner is not None and left[owner] == 0
            first = column == own[0]
            cells[column] = (
                (marks.start_end if first else marks.end)
                if is_over
                else (marks.start if first else marks.middle)
            )
        elif owner is None:
            cells[column] = marks.line
        else:
            cells[column] = marks.cross
    return range(own[0], at)


def _joined(cells: Sequence[str], lines: range, marks: Marks) -> list[str]:
    found = []
    for column, cell in enumerate(cells):
        found.append(cell)
        found.append(marks.line if column in lines else " ")
    while found and found[-1] == " ":
        found.pop()
    return found

"""The table of `kist exp show`: its lines and columns, and what stands in the cells.

Not here: collecting (repo.exp_show), the forms in which it is printed (exp_show, exp_screen).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.compare.values import cell, flattened
from kist.errors import InputError

if TYPE_CHECKING:
    import argparse

    from kist.repo.exp_show import Data, Group, Row
    from kist.repo.repository import Repository

PRECISION = 5
SHORT = 7
"""Digits of a commit that are shown."""


class NoColumnError(InputError):
    """There is no metric or parameter of this name to sort by."""

    code = "no-such-column"
    exit_code = 255


class Column(NamedTuple):
    """One column of values: `kind` is "metrics", "params" or "deps"; `title` its header."""

    kind: str
    file: str
    name: str
    title: str


class Line(NamedTuple):
    """One version in the table; `typ` as DVC calls it; `values` by column; `failed`: unreadable (kind, file)."""

    row: Row
    typ: str
    values: dict[tuple[str, str, str], Any]
    failed: set[tuple[str, str]]


class Sheet(NamedTuple):
    """All versions, and the columns that are shown."""

    lines: list[Line]
    columns: list[Column]


def make_sheet(repository: Repository, groups: Sequence[Group], args: argparse.Namespace) -> Sheet:
    """Returns the table that options ask for, experiments sorted, columns chosen."""
    known: dict[tuple[str, str, str], None] = {}
    lines = []
    for group in groups:
        lines.append(_line(repository, group.base, "baseline", known))
        own = [_line(repository, row, "branch_commit", known) for row in group.experiments]
        lines += _last_is_base(_sorted(own, args) if args.sort_by else own)
    keys = _in_order(known)
    counts: dict[str, int] = {}
    for _, _, name in keys:
        counts[name] = counts.get(name, 0) + 1
    columns = [
        Column(kind, file, name, f"{file}:{name}" if counts[name] > 1 and kind != "deps" else name)
        for kind, file, name in keys
    ]
    if args.sort_by and groups and not any(_is_named(column, args.sort_by) for column in columns):
        raise NoColumnError(
            f"cannot sort by '{args.sort_by}': no experiment has such a metric or parameter",
            hint="see the names with `kist exp show --csv`",
        )
    return Sheet(lines, _chosen(columns, lines, args))


def _in_order(known: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Returns columns by kind, file and name, as they came; dependencies by name."""
    keys = list(known)
    files = {file: number for number, file in enumerate(dict.fromkeys(file for _, file, _ in keys))}

    def rank(key: tuple[str, str, str]) -> tuple[int, int, str]:
        kind, file, name = key
        is_data = kind == "deps"
        return (
            ("metrics", "params", "deps").index(kind),
            0 if is_data else files[file],
            name if is_data else "",
        )

    return sorted(keys, key=rank)


def _line(repository: Repository, row: Row, typ: str, known: dict[tuple[str, str, str], None]) -> Line:
    values = _values(repository, row.data)
    known.update(dict.fromkeys(values))
    return Line(row, typ, values, _failed(repository, row.data))


def _values(repository: Repository, data: Data) -> dict[tuple[str, str, str], Any]:
    found: dict[tuple[str, str, str], Any] = {}
    for kind, files in (("metrics", data.metrics), ("params", data.params)):
        for path, file in files.items():
            if file.failure is None:
                shown = repository.shown(path)
                found.update(((kind, shown, name), value) for name, value in flattened(file.values).items())
    for path, dep in data.deps.items():
        shown = repository.shown(path)
        found["deps", shown, shown] = dep.digest.value if dep.digest is not None else None
    return found


def _failed(repository: Repository, data: Data) -> set[tuple[str, str]]:
    """Returns (kind, file) of what could not be read."""
    files = [("metrics", data.metrics), ("params", data.params)]
    return {
        (kind, repository.shown(path))
        for kind, own in files
        for path, file in own.items()
        if file.failure is not None
    }


def _last_is_base(lines: list[Line]) -> list[Line]:
    return [*lines[:-1], lines[-1]._replace(typ="branch_base")] if lines else []


def _is_named(column: Column, text: str) -> bool:
    return text in (column.name, f"{column.file}:{column.name}") and column.kind != "deps"


def _sorted(lines: list[Line], args: argparse.Namespace) -> list[Line]:
    """Returns experiments by a value; those without come as if they had more than all others."""

    def value(line: Line) -> Any:
        for (kind, file, name), found in line.values.items():
            if _is_named(Column(kind, file, name, ""), args.sort_by):
                return found
        return None

    have = [line for line in lines if value(line) is not None]
    numbers = all(isinstance(value(line), int | float) for line in have)
    have.sort(
        key=lambda line: value(line) if numbers else str(value(line)), reverse=args.sort_order == "desc"
    )
    lacking = [line for line in lines if value(line) is None]
    return lacking + have if args.sort_order == "desc" else have + lacking


def _chosen(columns: Iterable[Column], lines: Sequence[Line], args: argparse.Namespace) -> list[Column]:
    found = []
    for column in columns:
        is_kept = args.keep is not None and _matches(args.keep, column.title)
        is_dropped = args.drop is not None and _matches(args.drop, column.title)
        if not is_kept and (is_dropped or (args.only_changed and not differs(column, lines))):
            continue
        found.append(column)
    return found


class BadPatternError(InputError):
    """`--keep` or `--drop` is no regular expression."""

    code = "bad-pattern"
    exit_code = 255


def _matches(pattern: str, title: str) -> bool:
    try:
        return re.match(pattern, title) is not None
    except re.error as error:
        raise BadPatternError(
            f"cannot understand the pattern '{pattern}': {error}", hint="kist exp show --drop 'loss.*'"
        ) from error


def differs(column: Column, lines: Sequence[Line]) -> bool:
    """Says whether a column's values are not all the same."""
    key = (column.kind, column.file, column.name)
    values = [line.values.get(key) for line in lines]
    return any(value != values[0] for value in values)


def cells_of(line: Line, columns: Iterable[Column], precision: int | None) -> list[str]:
    """Returns a version's values as they are shown; "!" where a file cannot be read."""
    if line.row.data.failure is not None:
        return ["!" for _ in columns]
    return [
        "!"
        if (one.kind, one.file) in line.failed
        else short_cell(line.values.get((one.kind, one.file, one.name)), precision)
        for one in columns
    ]


def short_cell(value: Any, precision: int | None) -> str:
    """Returns a value as tables of experiments show it: so many digits that count."""
    return f"{value:.{precision}g}" if isinstance(value, float) and precision else cell(value, None)


def label_of(line: Line, *, only_sha: bool) -> str:
    """Returns how a version is called in the first column."""
    row = line.row
    rev = row.rev if line.typ == "baseline" and row.committed_s is None else row.rev[:SHORT]
    if line.typ == "baseline":
        return rev if only_sha or not row.name else row.name
    text = f"{rev} [{row.name}]" if row.name else rev
    return ("└── " if line.typ == "branch_base" else "├── ") + text


def created_of(line: Line, now_s: float) -> str:
    """Returns when a version was committed: the time of a day that is today's, else the day."""
    if line.row.committed_s is None:
        return "-"
    then, now = time.localtime(line.row.committed_s), time.localtime(now_s)
    return time.strftime("%I:%M %p" if then[:3] == now[:3] else "%b %d, %Y", then)


def state_columns(sheet: Sheet) -> list[str]:
    """Returns which of "State" and "Executor" have anything to say."""
    rows = [line.row for line in sheet.lines]
    return ["State"] * any(row.state for row in rows) + ["Executor"] * any(row.executor for row in rows)


def state_cells(line: Line, columns: Sequence[str], fill: str) -> list[str]:
    """Returns what stands in these columns."""
    known = {"State": line.row.state, "Executor": line.row.executor}
    return [
        ((known[column] or fill).capitalize() if column == "State" else known[column] or fill)
        for column in columns
    ]

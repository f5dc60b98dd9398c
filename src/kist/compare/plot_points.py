"""From the files of a plot and what `dvc.yaml` says of it to the rows that are drawn. Pure.

Not here: what a row looks like on the page (plot_spec). Implements docs/spec/plots.md, section 3.
Source: DVC 3.67.1, whose JSON has the same rows.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kist.errors import FormatError

INDEX = "step"
VERSION = "rev"
FILE = "filename"
FIELD = "field"
_JOINED_X = "dvc_inferred_x_value"
_JOINED_Y = "dvc_inferred_y_value"

Column = tuple[str, str]
"""A file and one of its fields."""


class PlotFieldError(FormatError):
    """A field that is to be drawn is not in the data; the user names another one."""

    code = "plot-field"


class PlotJoinError(FormatError):
    """Columns of x and y do not belong together; the user mends the plot's definition."""

    code = "plot-join"


class Points(NamedTuple):
    """The rows of one version, and which fields are drawn.

    Attributes:
        x, y: names of the fields in the rows; y is None where there is nothing to draw.
        sources: (short file name, field) of each series.
    """

    rows: list[dict[str, Any]]
    x: str
    y: str | None
    x_label: str | None
    y_label: str | None
    sources: list[Column]


def points_of(plot: str, options: Mapping[str, Any], contents: Mapping[str, Any], version: str) -> Points:
    """Returns what is drawn of one version.

    Args:
        plot: the plot's id, which is a file where the options name none.
        options: `x`, `y`, `x_label`, `y_label` as in `dvc.yaml`.
        contents: file -> what it says; files that could not be read, or say nothing, are left out.

    Raises: PlotFieldError, PlotJoinError.
    """
    rows = {file: rows_of(content) for file, content in contents.items()}
    ys = _y_columns(plot, options.get("y"), contents)
    is_by_file = isinstance(options.get("y"), dict)
    xs = _x_columns(options.get("x"), [file for file, _ in ys] if is_by_file else [plot])
    for file, field in [*xs, *ys]:
        _check_field(rows, file, field)
    if len(xs) > 1 and len(xs) != len(ys):
        raise PlotJoinError(f"cannot draw '{plot}': {len(xs)} columns for x and {len(ys)} for y")
    x_fields, y_fields = {field for _, field in xs}, {field for _, field in ys}
    x = INDEX if not xs else xs[0][1] if len(x_fields) == 1 else _JOINED_X
    y = None if not ys else ys[0][1] if len(y_fields) == 1 else _JOINED_Y
    files = {file for file, _ in ys}
    prefix = len(posixpath.commonpath(list(files))) if len(files) > 1 else 0
    found: list[dict[str, Any]] = []
    for at, (file, field) in enumerate(ys):
        column = xs[at if len(xs) > 1 else 0] if xs else None
        found += _series(
            rows, (file, field), column, x, y, {VERSION: version, FILE: file[prefix:].strip("/\\")}
        )
    return Points(
        found,
        x,
        y,
        _label(options.get("x_label"), x_fields, INDEX, "x"),
        _label(options.get("y_label"), y_fields, None, "y"),
        [(file[prefix:].strip("/\\"), field) for file, field in ys],
    )


def rows_of(content: Any) -> list[dict[str, Any]]:
    """Returns the rows of a file: its lists of mappings of equal keys, side by side."""
    found: list[dict[str, Any]] = []
    for items in _lists(content):
        if not _is_table(items):
            continue
        for at, row in enumerate(items):
            if at == len(found):
                found.append({})
            found[at].update(row)
    return found


def _lists(content: Any) -> Iterator[list[Any]]:
    if isinstance(content, list):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            if isinstance(value, list | dict):
                yield from _lists(value)


def _is_table(items: list[Any]) -> bool:
    if not items or not all(isinstance(item, dict) for item in items):
        return False
    keys = items[0].keys()
    return all(item.keys() <= keys for item in items)


def _columns(value: Mapping[str, Any]) -> list[Column]:
    found = []
    for file, fields in value.items():
        if isinstance(fields, str):
            found.append((file, fields))
        elif isinstance(fields, list):
            found += [(file, str(field)) for field in fields]
    return found


def _y_columns(plot: str, y: Any, contents: Mapping[str, Any]) -> list[Column]:
    if isinstance(y, dict):
        return _columns(y)
    if y is not None:
        return _columns({plot: y})
    for items in _lists(contents.get(plot)):
        if items and all(isinstance(item, dict) and item for item in items):
            return [(plot, list(items[0])[-1])]
    return []


def _x_columns(x: Any, files: list[str]) -> list[Column]:
    if isinstance(x, dict):
        return _columns(x)
    return [(file, x) for file in files] if isinstance(x, str) else []


def _check_field(rows: Mapping[str, list[dict[str, Any]]], file: str, field: str) -> None:
    if file not in rows:
        return
    known = list(rows[file][0]) if rows[file] else []
    if field not in known:
        listed = ", ".join(f"'{name}'" for name in known) or "none"
        raise PlotFieldError(
            f"cannot draw '{file}': it has no field '{field}'; its fields are {listed}",
            hint="choose fields with `-x` and `-y`, or in dvc.yaml",
        )


def _label(given: Any, fields: set[str], without: str | None, several: str) -> str | None:
    if given is not None:
        return str(given)
    if not fields:
        return without
    return next(iter(fields)) if len(fields) == 1 else several


def _series(
    rows: Mapping[str, list[dict[str, Any]]],
    source: Column,
    column: Column | None,
    x: str,
    y: str | None,
    names: dict[str, str],
) -> list[dict[str, Any]]:
    """Returns the rows of one series; `names` are put into each of them."""
    file, field = source
    found = [dict(row) for row in rows.get(file, [])]
    if y == _JOINED_Y:
        for row in found:
            if field in row:
                row[y] = row[field]
    if column is None:
        for at, row in enumerate(found):
            row[INDEX] = at
    else:
        others = rows.get(column[0], [])
        if len(others) != len(found):
            raise PlotJoinError(
                f"cannot draw '{field}' of '{file}' over '{column[1]}' of '{column[0]}':"
                f" {len(found)} rows and {len(others)}"
            )
        for row, other in zip(found, others, strict=True):
            if column[1] in other:
                row[x] = other[column[1]]
    for row in found:
        row.update(names)
        row[FIELD] = field
    return found

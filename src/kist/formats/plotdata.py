"""Files that plots are drawn from, between bytes and rows: CSV, TSV, JSON, YAML, TOML, Python. Pure.

Not here: which columns are drawn (compare.plot_points). Implements docs/spec/plots.md, section 2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from kist.errors import FormatError

IMAGE_ENDS = (".jpg", ".jpeg", ".gif", ".png", ".svg")
_VALUE_ENDS = (".json", ".yaml", ".yml", ".toml", ".py")


class PlotDataError(FormatError):
    """A file holds nothing that can be drawn; the user mends the file, or names another one."""

    code = "plot-data"


class PlotKindError(FormatError):
    """The end of a file's name is not one of those that can be drawn."""

    code = "plot-kind"


def is_image(path: str) -> bool:
    """Says whether a file is shown as it is."""
    return posixpath.splitext(path)[1] in IMAGE_ENDS


def parse_plot(data: bytes, *, name: str, has_header: bool = True) -> Any:
    """Returns a table as a list of rows (mappings of texts), and any other file as the values it says.

    Args:
        has_header: whether the first line of a table names its columns; else they are called 0, 1, and so on.

    Raises:
        PlotKindError, PlotDataError, ParamsError, YamlError.
    """
    end = posixpath.splitext(name)[1]
    if end in (".csv", ".tsv"):
        return _parse_table(data, name, "\t" if end == ".tsv" else ",", has_header)
    if end in _VALUE_ENDS:
        from kist.formats.params import parse_values

        return parse_values(data, name=name)
    raise PlotKindError(
        f"cannot draw '{name}': expected .csv, .tsv, .json, .yaml, .toml, .py, or an image",
        hint="kist plots show --help",
    )


def _parse_table(data: bytes, name: str, delimiter: str, has_header: bool) -> list[dict[str, Any]]:
    import csv  # only where tables are drawn
    import io

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlotDataError(f"cannot draw '{name}': not UTF-8 text") from error
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return list(_rows(lines, has_header))
    except csv.Error as error:
        raise PlotDataError(f"cannot draw '{name}': line {lines.line_num}: {error}") from error


def _rows(lines: Iterator[list[str]], has_header: bool) -> Iterator[dict[str, Any]]:
    names: list[str] | None = None
    for cells in lines:
        if not cells:
            continue
        if names is None:
            names = cells if has_header else [str(at) for at in range(len(cells))]
            if has_header:
                continue
        lacking = [None] * (len(names) - len(cells))
        yield dict(zip(names, [*cells, *lacking], strict=False))

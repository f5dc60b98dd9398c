"""Compares and tabulates nested values: metrics and parameters of files, in several versions. Pure.

Not here: reading files (repo.metrics, repo.params), layout on the screen (cli).
Implements docs/spec/metrics.md, sections 3 and 4. Source: DVC 3.67.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

FILL = "-"
"""What a table shows where there is nothing."""
_NOTHING: Mapping[str, Any] = {}


class Table(NamedTuple):
    """Headers, and rows of as many cells."""

    headers: list[str]
    rows: list[list[str]]


def measured(values: Any) -> Any:
    """Returns what of a file's values are metrics: numbers, texts, and mappings of such; {} where there are none."""
    return _measured(values) or {}


def _measured(values: Any) -> Any:
    if isinstance(values, (int, float, str)):
        return values
    if not isinstance(values, dict):
        return None
    kept = {}
    for key, value in values.items():
        part = _measured(value)
        if part is not None and part != {}:
            kept[key] = part
    return kept


def flattened(values: Any) -> dict[str, Any]:
    """Returns single values by dotted name: lists as text, empty mappings left out.

    What is no mapping at its top is one value whose name is empty.
    """
    if not isinstance(values, dict):
        return {"": values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in flattened(value).items()})
        else:
            flat[str(key)] = str(value) if isinstance(value, list) else value
    return flat


def compare_values(old: Any, new: Any, *, everything: bool = False) -> dict[str, dict[str, Any]]:
    """Returns dotted name -> {"old", "new", "diff"}, sorted by name; "diff" only between numbers.

    Args:
        old, new: values of one file; {} where it is not there.
        everything: also what is equal.
    """
    if isinstance(old, dict) or isinstance(new, dict):
        before = flattened(old) if isinstance(old, dict) else _NOTHING
        after = flattened(new) if isinstance(new, dict) else _NOTHING
    else:
        before, after = {"": old}, {"": new}
    found = {}
    for name in sorted({*before, *after}):
        change = _change(before.get(name), after.get(name), everything=everything)
        if change:
            found[name] = change
    return found


def _change(old: Any, new: Any, *, everything: bool) -> dict[str, Any]:
    if not everything and old == new:
        return {}
    change = {"old": old, "new": new}
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        try:
            change["diff"] = new - old
        except OverflowError:  # a whole number that no float holds
            pass
    return change


def compare_files(
    old: Mapping[str, Any], new: Mapping[str, Any], *, everything: bool = False
) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns path -> what `compare_values` says of the file; files without a difference are left out."""
    found = {}
    for path in sorted({*old, *new}):
        changes = compare_values(old.get(path, {}), new.get(path, {}), everything=everything)
        if changes:
            found[path] = changes
    return found


def difference_table(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    title: str,
    names: tuple[str, str],
    precision: int | None,
    shows_path: bool,
    shows_change: bool,
) -> Table:
    """Returns the differences of files as a table: path, name, old, new, change.

    Args:
        title: header of the names.
        names: headers of the versions.
        precision: digits after the point of floats; None for all.
    """
    headers = ["Path", title, *names, "Change"]
    rows = []
    for path, changes in found.items():
        for name, change in sorted(changes.items()):
            cells = [cell(change.get(key), precision) for key in ("old", "new", "diff")]
            rows.append([path, name, *cells])
    first = 0 if shows_path else 1
    last = 5 if shows_change else 4
    return Table(headers[first:last], [row[first:last] for row in rows])


def values_table(versions: Mapping[str, Mapping[str, Any]], *, shows_version: bool, precision: int) -> Table:
    """Returns metrics as a table: version, path, and a column for each metric, sorted by name.

    Args:
        versions: version -> path -> values.
    """
    flat = [
        (version, path, flattened(values))
        for version, files in versions.items()
        for path, values in files.items()
    ]
    names = sorted({name for _, _, values in flat for name in values})
    rows = [
        [version, path, *(cell(values.get(name), precision) for name in names)]
        for version, path, values in flat
    ]
    first = 0 if shows_version else 1
    return Table(["Revision", "Path", *names][first:], [row[first:] for row in rows])


def cell(value: Any, precision: int | None) -> str:
    """Returns a value as a table shows it."""
    if value is None:
        return FILL
    if precision and isinstance(value, float):
        value = round(value, precision)
    return str(value)

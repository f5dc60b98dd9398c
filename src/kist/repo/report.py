"""`report`: what a change did to metrics, parameters and data, as values and as Markdown.

Not here: posting it (forges), plots as images (plots). Implements docs/spec/report.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.repo.diff import diff
from kist.repo.metrics import diff_metrics
from kist.repo.params import diff_params

if TYPE_CHECKING:
    from kist.compare.entries import Changed
    from kist.repo.repository import Repository

MOST_ROWS = 50
"""Rows of one table; what is beyond is counted."""
_TICKS = re.compile("`+")

Changes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Path -> dotted name -> {"old", "new", "diff"}."""


class DataChange(NamedTuple):
    """One path of tracked data: what happened ("added", "modified", "deleted", "renamed"), and its new name."""

    kind: str
    path: str
    new_path: str | None = None


class Image(NamedTuple):
    """A plot. Attributes: link: an address, or a path relative to the report."""

    title: str
    link: str


class StageTime(NamedTuple):
    """How long a stage's commands took, and the most memory that they had."""

    stage: str
    wall_s: float
    memory_bytes: int | None = None


class Report(NamedTuple):
    """What is reported.

    Attributes:
        old, new: how the versions are called.
        failed: versions of which something could not be read.
    """

    old: str
    new: str
    metrics: Changes
    params: Changes
    data: Sequence[DataChange]
    failed: Sequence[str] = ()
    images: Sequence[Image] = ()
    times: Sequence[StageTime] = ()


def make_report(repository: Repository, old: str, new: str) -> Report:
    """Returns how two versions differ.

    Args: old: a revision. new: a revision, or "workspace".

    Raises: NoGitError, RevisionMissingError, FormatError.
    """
    metrics = diff_metrics(repository, old, new)
    params = diff_params(repository, old, new)
    found = diff(repository, old, None if new == "workspace" else new, ()).differences
    data = [
        *_changes("added", found.added),
        *_changes("modified", found.modified),
        *_changes("deleted", found.deleted),
        *_changes("renamed", found.renamed),
    ]
    failed = list(dict.fromkeys([*metrics.failed, *params.failed]))
    return Report(old, new, metrics.changes, params.changes, data, failed)


def _changes(kind: str, items: Iterable[Changed]) -> list[DataChange]:
    return [DataChange(kind, item.path, item.new_path) for item in items]


def render_report(report: Report, *, title: str = "") -> str:
    """Returns a report as Markdown, for a comment or a file; equal reports are equal texts."""
    parts = [f"## {title}" if title else f"## {_code(report.new)} against {_code(report.old)}"]
    parts += _values("Metrics", "Metric", report, report.metrics)
    parts += _values("Parameters", "Parameter", report, report.params)
    parts += _data(report.data)
    if report.images:
        parts += ["### Plots", *(f"![{_plain(image.title)}]({image.link})" for image in report.images)]
    parts += _times(report.times)
    if len(parts) == 1:
        parts.append("Neither metrics, nor parameters, nor data differ.")
    if report.failed:
        listed = ", ".join(map(_code, report.failed))
        parts.append(f"Not all metrics and parameters could be read of {listed}.")
    return "\n\n".join(parts) + "\n"


def _values(heading: str, column: str, report: Report, changes: Changes) -> list[str]:
    rows = [
        [
            _code(path),
            _code(name),
            _value(change.get("old")),
            _value(change.get("new")),
            _step(change.get("diff")),
        ]
        for path, names in changes.items()
        for name, change in names.items()
    ]
    if not rows:
        return []
    headers = ["File", column, _code(report.old), _code(report.new), "Change"]
    if len(changes) == 1:  # one file: say it once
        headers, rows = headers[1:], [row[1:] for row in rows]
        heading += f" ({_code(next(iter(changes)))})"
    return [f"### {heading}", _table(headers, rows)]


def _data(changes: Sequence[DataChange]) -> list[str]:
    if not changes:
        return []
    files = [change for change in changes if not change.path.endswith("/")]
    kinds = dict.fromkeys(change.kind for change in changes)
    counts = [f"{sum(one.kind == kind for one in files)} {kind}" for kind in kinds]
    rows = [
        [change.kind, _code(change.path) + (f" → {_code(change.new_path)}" if change.new_path else "")]
        for change in changes
    ]
    return ["### Data", f"Files: {', '.join(counts)}.", _table(["Change", "Path"], rows)]


def _times(times: Sequence[StageTime]) -> list[str]:
    if not times:
        return []
    rows = [
        [
            _code(one.stage),
            duration(one.wall_s),
            "" if one.memory_bytes is None else f"{one.memory_bytes / 1e6:,.0f} MB",
        ]
        for one in times
    ]
    return ["### Stages", _table(["Stage", "Time", "Peak memory"], rows)]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(row) + " |" for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        lines.append(f"\n… and {len(rows) - MOST_ROWS:,} more.")
    return "\n".join(lines)


def _code(text: str) -> str:
    """Returns a text as code, which no name can break out of, in tables neither."""
    plain = " ".join(text.split()) if not text.isprintable() else text
    fence = "`" * (1 + max((len(found) for found in _TICKS.findall(plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    plain = plain.replace("\\|", "\\ |")  # a backslash before that of the escape would undo it
    return fence + pad + plain.replace("|", "\\|") + pad + fence


def _plain(text: str) -> str:
    return re.sub(r"([\\\[\]()<>*_`|@!])", r"\\\1", " ".join(text.split()))


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool | int):
        return str(value)
    return _code(str(value))


def _step(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    return f"{value:+.6g}" if isinstance(value, float) else f"{value:+d}"


def duration(seconds: float) -> str:
    """Returns a time as a person says it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"

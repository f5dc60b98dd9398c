"""What was measured, as JSON and as Markdown tables, with the targets and whether they are met."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.measure import Measurement
from benchmarks.rows import MEMORY_LIMIT_BYTES, ROWS, Row
from benchmarks.sandbox import BARE, DVC, KIST

Sample = dict[str, float]
Samples = dict[str, dict[str, list[Sample]]]


class Line(NamedTuple):
    """One line of the main table, medians over the rounds.

    Args:
        ratio_wall: median of DVC's wall time over Kist's, pair by pair; None when one is missing.
        ratio_cpu: the same of CPU time.
        is_met: whether the floor of time and the limit of memory are kept; None when unknown.
    """

    row: Row
    seconds: Mapping[str, tuple[float, float]]
    megabytes: Mapping[str, float]
    ratio_wall: float | None
    ratio_cpu: float | None
    is_met: bool | None


class Check(NamedTuple):
    """One target outside the main table.

    Args:
        title: what was measured.
        value: the figure.
        limit: what it is held against.
        is_least: the limit is the least allowed value; otherwise the highest.
        unit: unit of both.
        detail: the figures behind it.
    """

    title: str
    value: float
    limit: float
    is_least: bool
    unit: str
    detail: str

    @property
    def is_met(self) -> bool:
        """Returns whether the target is met."""
        return self.value >= self.limit if self.is_least else self.value <= self.limit


def sample_of(measurement: Measurement) -> Sample:
    """Returns the numbers of a measurement as they stand in the JSON."""
    return {
        "wall_s": round(measurement.wall_s, 4),
        "cpu_s": round(measurement.cpu_s, 4),
        "memory_bytes": measurement.memory_bytes,
    }


def _ratios(dvc: Sequence[Sample], kist: Sequence[Sample], key: str, *, paired: bool) -> float | None:
    if not dvc or not kist:
        return None
    if paired:
        return statistics.median(a[key] / b[key] for a, b in zip(dvc, kist, strict=True))
    return statistics.median(a[key] for a in dvc) / statistics.median(b[key] for b in kist)


def table_lines(samples: Samples, *, paired: bool = True) -> list[Line]:
    """Returns the lines of the main table for the rows that were measured.

    Args:
        samples: row name -> kind of tool -> one sample a round.
        paired: DVC and Kist ran in turn; False when DVC's figures are those of an earlier run.
    """
    lines = []
    for row in ROWS:
        by_kind = samples.get(row.name, {})
        if not any(by_kind.values()):
            continue
        seconds = {
            kind: (
                statistics.median(sample["wall_s"] for sample in found),
                statistics.median(sample["cpu_s"] for sample in found),
            )
            for kind, found in by_kind.items()
            if found
        }
        megabytes = {
            kind: max(sample["memory_bytes"] for sample in found) / 1e6
            for kind, found in by_kind.items()
            if found
        }
        dvc, kist = by_kind.get(DVC, []), by_kind.get(KIST, [])
        wall = _ratios(dvc, kist, "wall_s", paired=paired)
        cpu = _ratios(dvc, kist, "cpu_s", paired=paired)
        is_met = None
        if wall is not None:
            is_met = wall >= row.floor and megabytes[KIST] * 1e6 <= MEMORY_LIMIT_BYTES
        lines.append(Line(row, seconds, megabytes, wall, cpu, is_met))
    return lines


def _pair(seconds: Mapping[str, tuple[float, float]], kind: str) -> str:
    if kind not in seconds:
        return "-"
    return f"{seconds[kind][0]:.3g} / {seconds[kind][1]:.3g}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _verdict(is_met: bool | None) -> str:
    return {True: "met", False: "**not met**", None: "-"}[is_met]


def render_table(lines: Sequence[Line]) -> str:
    """Returns the main table in Markdown."""
    text = [
        "| operation | bare: wall / CPU s | DVC: wall / CPU s | Kist: wall / CPU s "
        "| DVC / Kist: wall | CPU | floor | DVC MB | Kist MB | target |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        text.append(
            f"| {line.row.title} | {_pair(line.seconds, BARE)} | {_pair(line.seconds, DVC)} "
            f"| {_pair(line.seconds, KIST)} | {_number(line.ratio_wall)} | {_number(line.ratio_cpu)} "
            f"| {line.row.floor:g} | {_number(line.megabytes.get(DVC), 0)} "
            f"| {_number(line.megabytes.get(KIST), 0)} | {_verdict(line.is_met)} |"
        )
    return "\n".join(text) + "\n"


def render_checks(checks: Sequence[Check]) -> str:
    """Returns the targets outside the main table in Markdown."""
    text = ["| what | measured | limit | from | target |", "|---|---|---|---|---|"]
    for check in checks:
        bound = "at least" if check.is_least else "at most"
        text.append(
            f"| {check.title} | {check.value:.3g} {check.unit} | {bound} {check.limit:g} {check.unit} "
            f"| {check.detail} | {_verdict(check.is_met)} |"
        )
    return "\n".join(text) + "\n"


def to_json(
    *, facts: Mapping[str, Any], samples: Samples, lines: Sequence[Line], checks: Sequence[Check]
) -> str:
    """Returns everything as JSON; `samples` can be the baseline of a later run."""
    value = {
        "facts": dict(facts),
        "samples": samples,
        "rows": {
            line.row.name: {
                "ratio_wall": line.ratio_wall,
                "ratio_cpu": line.ratio_cpu,
                "floor": line.row.floor,
                "kist_memory_mb": line.megabytes.get(KIST),
                "is_met": line.is_met,
            }
            for line in lines
        },
        "checks": [{**check._asdict(), "is_met": check.is_met} for check in checks],
    }
    return json.dumps(value, indent=1) + "\n"

"""The one room where spellings of DVC 0.x, 1.x and 2.x are known that DVC 3 refuses or does not heed.

What they say is kept, so that a rewrite loses nothing; where Kist does not do what the old version did, there is a
notice for the person. Implements docs/spec/metafiles.md, section 6.
"""

from __future__ import annotations

from typing import Any

STAGE_KEYS = frozenset({"cmd", "locked"})
"""Keys at the top of single-stage files (`dvc run` before 1.0)."""
OUTPUT_KEYS = frozenset({"metric", "plot", "plots", "tags", "checkpoint", "live"})
"""Keys of an `outs:` entry."""
DEPENDENCY_KEYS = frozenset({"params", "cache", "metric", "persist"})
"""Keys of a `deps:` entry."""

_EXTRA_OUTPUT_KEYS = ("plots", "tags", "checkpoint", "live")
_EXTRA_DEPENDENCY_KEYS = ("cache", "metric", "persist")


def command(value: Any) -> str | None:
    """Returns the command of a single-stage file; None for the empty ones that `Dvcfile`s of 0.9 carry."""
    return value or None


def output_extra(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the keys of an output that have no field of their own in `Output`, or None."""
    return {key: entry[key] for key in _EXTRA_OUTPUT_KEYS if key in entry} or None


def dependency_extra(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the keys of a dependency that have no field of their own in `Dependency`, or None."""
    return {key: entry[key] for key in _EXTRA_DEPENDENCY_KEYS if key in entry} or None


def output_notices(name: str, entry: dict[str, Any]) -> list[str]:
    """Returns one line for each old key of an output whose effect is gone; its data is not touched by that.

    Args:
        name: the metafile.
        entry: the item of `outs:` as read.
    """
    place = f"'{name}': output '{entry['path']}'"
    notices = []
    if isinstance(entry.get("metric"), dict):
        notices.append(f"{place}: the options of 'metric' have no effect, the whole file is the metric")
    if entry.get("tags"):
        notices.append(f"{place}: 'tags' have no effect, Git tags took their place")
    if entry.get("checkpoint"):
        notices.append(f"{place}: 'checkpoint' has no effect, the output is removed before each run")
    if entry.get("live"):
        notices.append(
            f"{place}: 'live' has no effect, list its files under 'metrics' and 'plots' in dvc.yaml"
        )
    return notices

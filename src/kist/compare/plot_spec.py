"""Fills the anchors of a plot's template, such as `<DVC_METRIC_DATA>`. Pure.

Not here: the templates of our own (plot_templates), the page around (plot_page).
Implements docs/spec/plots.md, section 4. Source: DVC 3.67.1, whose templates and readers take ours and the other way.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from kist.compare.plot_points import FIELD, FILE, VERSION, Column
from kist.errors import FormatError

_BETWEEN = "::"
_COLOURS = ("#945dd6", "#13adc7", "#f46837", "#48bb78", "#4299e1", "#ed8936", "#f56565")
_DASHES = ([1, 0], [8, 8], [8, 4], [4, 4], [4, 2], [2, 1], [1, 1])
_SHAPES = ("circle", "square", "triangle", "diamond")
_HOLLOW = {"symbolFillColor": "transparent", "symbolStrokeColor": "grey"}
_SIZE = 300
_ALWAYS = ("title", "x_label", "y_label", "data")
"""Anchors that are split off whether a template has them or not."""
_SPLIT = (
    *_ALWAYS,
    *("color", "plot_height", "plot_width", "shape", "stroke_dash", "tooltip", "zoom_and_pan"),
)


class TemplateError(FormatError):
    """A template cannot be filled; the user mends it or takes another one. Exit 255, as DVC."""

    code = "plot-template"
    exit_code = 255


class Drawing(NamedTuple):
    """Everything that a template is filled with.

    Attributes:
        rows: of all versions.
        versions: those that have rows, in order.
        x, y, x_label, y_label, sources: as of Points.
    """

    title: str
    rows: list[dict[str, Any]]
    versions: list[str]
    x: str
    y: str | None
    x_label: str | None
    y_label: str | None
    sources: list[Column]


class Filled(NamedTuple):
    """A template's content, and the values of the anchors that were left in it: anchor -> value."""

    content: Any
    split: dict[str, Any]


def anchor(name: str) -> str:
    """Returns the text that stands for a value in a template."""
    return f"<DVC_METRIC_{name.upper()}>"


def fill_template(template: Mapping[str, Any], drawing: Drawing, *, name: str, split: bool = False) -> Filled:
    """Returns a template filled for a drawing.

    Args:
        name: of the template, for messages.
        split: leave the anchors for data and looks, and return their values beside the content.

    Raises: TemplateError: the template has no place for data.
    """
    present = _anchors(template)
    if not split and anchor("data") not in present:
        raise TemplateError(
            f"cannot use template '{name}': '{anchor('data')}' stands nowhere in it",
            hint="kist plots templates simple",
        )
    varied = _varied(drawing.sources)
    looks = _looks(drawing, varied)
    is_plain = not any(anchor(one) in present for one in looks)
    rows = drawing.rows if is_plain else _named_rows(drawing.rows, varied)
    values: dict[str, Any] = {"title": drawing.title, "data": rows}
    values |= {key: _escaped(value) for key, value in (("x", drawing.x), ("y", drawing.y)) if value}
    values |= {
        key: value
        for key, value in (("x_label", drawing.x_label), ("y_label", drawing.y_label))
        if value is not None
    }
    values |= {key: value for key, value in looks.items() if anchor(key) in present}
    apart: dict[str, Any] = {}
    if split:
        for key in _SPLIT:
            if key in values and values[key] != {}:
                apart[anchor(key)] = values.pop(key)
    filling = {anchor(key): value for key, value in values.items()}
    return Filled(_filled(template, filling), apart)


def drawable(content: Any) -> Any:
    """Returns a filled template as today's Vega-Lite takes it, which stumbles over channels without a field."""
    if isinstance(content, list):
        return [drawable(item) for item in content if item != {}]
    if not isinstance(content, dict):
        return content
    kept = {key: value for key, value in content.items() if key == "data" or value != {}}
    schema = kept.get("$schema")
    if isinstance(schema, str):
        kept["$schema"] = schema.replace("/vega-lite/v5", "/vega-lite/v6")
    return {key: value if key == "data" else drawable(value) for key, value in kept.items()}


def _varied(sources: list[Column]) -> list[str]:
    """Returns what tells series of one version apart: the file, the field, both, or nothing."""
    names = zip(*sources, strict=True) if sources else ()
    return [key for key, values in zip((FILE, FIELD), names, strict=False) if len(set(values)) > 1]


def _looks(drawing: Drawing, varied: list[str]) -> dict[str, Any]:
    """Returns the values of all anchors that a template may do without."""
    joined = _BETWEEN.join(varied)
    more = [joined] if varied else []
    group = [VERSION, *more]
    pivot = f" + '{_BETWEEN}' + ".join(f"datum.{key}" for key in [VERSION, *varied])
    looks: dict[str, Any] = {
        "color": _scale(VERSION, drawing.versions, _COLOURS),
        "zoom_and_pan": {"name": "grid", "select": "interval", "bind": "scales"},
        "plot_height": _SIZE,
        "plot_width": _SIZE,
        "group_by": group,
        "group_by_x": [*group, drawing.x],
        "group_by_y": [*group, drawing.y],
        "pivot_field": pivot,
        "tooltip": [{"field": field} for field in [VERSION, drawing.x, drawing.y, *more]],
    }
    if not varied:
        return looks | {key: {} for key in ("row", "column", "shape", "stroke_dash")}
    domain = sorted({_BETWEEN.join(_parts(source, varied)) for source in drawing.sources})
    facet = {"field": joined, "sort": []}
    hollow = {"legend": dict(_HOLLOW)}
    return looks | {
        "row": facet,
        "column": dict(facet),
        "stroke_dash": _scale(joined, domain, _DASHES) | hollow,
        "shape": _scale(joined, domain, _SHAPES) | hollow,
    }


def _parts(source: Column, varied: list[str]) -> list[str]:
    return [part for key, part in zip((FILE, FIELD), source, strict=True) if key in varied]


def _scale(field: str, domain: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    values_in_turn = itertools.islice(itertools.cycle(values), len(domain))
    return {"field": field, "scale": {"domain": domain, "range": list(values_in_turn)}}


def _named_rows(rows: list[dict[str, Any]], varied: list[str]) -> list[dict[str, Any]]:
    """Returns rows with one field for what tells series apart, in place of file and field."""
    named = []
    for row in rows:
        kept = {key: value for key, value in row.items() if key not in (FILE, FIELD)}
        if varied:
            kept[_BETWEEN.join(varied)] = _BETWEEN.join(row[key] for key in varied)
        named.append(kept)
    return named


def _escaped(field: str) -> str:
    """Returns a field's name as Vega-Lite takes it, which reads dots and brackets as paths."""
    for char in ".[]":
        field = field.replace(char, "\\" + char)
    return field


def _anchors(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    found: set[str] = set()
    for item in items:
        found |= _anchors(item)
    return found


def _filled(value: Any, filling: Mapping[str, Any]) -> Any:
    """Returns a template with its anchors replaced, once: what is filled in is not looked at again."""
    if isinstance(value, Mapping):
        return {key: _filled(item, filling) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, filling) for item in value]
    if not isinstance(value, str):
        return value
    if value in filling:
        return filling[value]
    if "<DVC_METRIC_" in value:
        for text, replacement in filling.items():
            if isinstance(replacement, str):
                value = value.replace(text, replacement)
    return value

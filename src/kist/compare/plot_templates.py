"""The templates that plots are drawn with unless `.dvc/plots` has others: Vega-Lite with anchors. Pure.

They have the names and the anchors of DVC's, so that what fills those fills these; the drawings are our own.
Implements docs/spec/plots.md, section 4.
"""

from __future__ import annotations

from typing import Any

from kist.compare.plot_spec import anchor

DEFAULT = "linear"
NAMES = (
    "simple",
    "linear",
    "confusion",
    "confusion_normalized",
    "scatter",
    "scatter_jitter",
    "smooth",
    "bar_horizontal_sorted",
    "bar_horizontal",
)

Spec = dict[str, Any]


def built_in(name: str) -> Spec | None:
    """Returns the template of a name, None where there is none."""
    if name in ("linear", "smooth"):
        return _smooth()
    if name in ("confusion", "confusion_normalized"):
        return _confusion(is_normalized=name.endswith("normalized"))
    if name in ("bar_horizontal", "bar_horizontal_sorted"):
        return _bars(is_sorted=name.endswith("sorted"))
    return {"simple": _simple, "scatter": _scatter, "scatter_jitter": _jitter}.get(name, _none)()


def _none() -> Spec | None:
    return None


def _head() -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": anchor("data")},
        "title": {"text": anchor("title"), "anchor": "middle"},
    }


def _size() -> Spec:
    return {"width": anchor("plot_width"), "height": anchor("plot_height")}


def _axis(name: str, **more: Any) -> Spec:
    return {"field": anchor(name), "title": anchor(f"{name}_label"), **more}


def _quantity(name: str, **more: Any) -> Spec:
    return _axis(name, type="quantitative", scale={"zero": False, **more})


def _simple() -> Spec:
    return {
        **_head(),
        **_size(),
        "params": [anchor("zoom_and_pan")],
        "mark": {"type": "line", "tooltip": True},
        "encoding": {
            "x": _axis("x", type="quantitative"),
            "y": _quantity("y"),
            "color": anchor("color"),
            "strokeDash": anchor("stroke_dash"),
            "tooltip": anchor("tooltip"),
        },
    }


def _smooth() -> Spec:
    """Returns lines that a slider smooths; the measured ones shine through, and a rule tells all values at its x."""
    slider = {
        "name": "smooth",
        "value": 0.001,
        "bind": {"input": "range", "name": "Smoothing ", "min": 0.001, "max": 1, "step": 0.001},
    }
    loess = {
        "loess": anchor("y"),
        "on": anchor("x"),
        "groupby": anchor("group_by"),
        "bandwidth": {"signal": "smooth"},
    }
    hover = {
        "name": "hover",
        "select": {
            "type": "point",
            "fields": [anchor("x")],
            "nearest": True,
            "on": "mouseover",
            "clear": "mouseout",
        },
    }
    return {
        **_head(),
        **_size(),
        "params": [slider],
        "encoding": {
            "x": _axis("x", type="quantitative"),
            "color": anchor("color"),
            "strokeDash": anchor("stroke_dash"),
        },
        "layer": [
            {"transform": [loess], "mark": "line", "encoding": {"y": _quantity("y")}},
            {
                "params": [anchor("zoom_and_pan")],
                "mark": "line",
                "encoding": {
                    "y": _quantity("y"),
                    "opacity": {"condition": {"test": "smooth < 0.002", "value": 1}, "value": 0.2},
                },
            },
            {
                "transform": [
                    {"calculate": anchor("pivot_field"), "as": "pivot_field"},
                    {"pivot": "pivot_field", "value": anchor("y"), "groupby": [anchor("x")]},
                ],
                "params": [hover],
                "mark": {"type": "rule", "tooltip": {"content": "data"}, "stroke": "grey"},
                "encoding": {
                    "color": None,
                    "strokeDash": None,
                    "opacity": {"condition": {"param": "hover", "empty": False, "value": 0.4}, "value": 0},
                },
            },
        ],
    }


def _scatter() -> Spec:
    return {
        **_head(),
        **_size(),
        "params": [anchor("zoom_and_pan")],
        "mark": {"type": "point", "filled": True, "opacity": 0.7},
        "encoding": {
            "x": _quantity("x", padding=8),
            "y": _quantity("y", padding=8),
            "color": anchor("color"),
            "shape": anchor("shape"),
            "tooltip": anchor("tooltip"),
        },
    }


def _jitter() -> Spec:
    return {
        **_head(),
        **_size(),
        "transform": [
            {"calculate": "random()", "as": "kist_aside_x"},
            {"calculate": "random()", "as": "kist_aside_y"},
        ],
        "mark": {"type": "point", "filled": True, "opacity": 0.5, "size": 20},
        "encoding": {
            "x": _axis("x", type="nominal"),
            "y": _axis("y", type="nominal"),
            "xOffset": {"field": "kist_aside_x", "type": "quantitative"},
            "yOffset": {"field": "kist_aside_y", "type": "quantitative"},
            "color": anchor("color"),
            "shape": anchor("shape"),
            "tooltip": anchor("tooltip"),
        },
    }


def _bars(*, is_sorted: bool) -> Spec:
    return {
        **_head(),
        **_size(),
        "params": [anchor("zoom_and_pan")],
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": _axis("x", type="quantitative"),
            "y": _axis("y", type="nominal", sort="-x" if is_sorted else None),
            "yOffset": {"field": "rev", "sort": None},
            "color": anchor("color"),
            "column": anchor("column"),
        },
    }


def _confusion(*, is_normalized: bool) -> Spec:
    """Returns a matrix of how often each value of y met each value of x, a matrix a version."""
    by_row = {"field": anchor("y"), "type": "nominal", "sort": "descending", "title": anchor("y_label")}
    by_column = {"field": anchor("x"), "type": "nominal", "sort": "ascending", "title": anchor("x_label")}
    count = {"aggregate": [{"op": "count", "as": "count"}], "groupby": [anchor("y"), anchor("x")]}
    fill_rows = {
        "impute": "count",
        "groupby": ["rev", anchor("y")] if is_normalized else anchor("group_by_y"),
        "key": anchor("x"),
        "value": 0,
    }
    fill_columns = {"impute": "count", "groupby": anchor("group_by_x"), "key": anchor("y"), "value": 0}
    whole = {"op": "sum" if is_normalized else "max", "field": "count", "as": "whole"}
    share = {
        "joinaggregate": [whole],
        "groupby": [anchor("y")] if is_normalized else [],
    }
    colour: Spec = {"field": "share", "type": "quantitative", "title": "Share" if is_normalized else None}
    shown: Spec = {"field": "count", "type": "quantitative"}
    if is_normalized:
        shown = {"field": "share", "type": "quantitative", "format": ".2f"}
    else:
        colour["legend"] = None
    return {
        **_head(),
        "facet": {"row": anchor("row"), "column": {"field": "rev", "sort": None, "title": None}},
        "spec": {
            **_size(),
            "transform": [
                count,
                fill_rows,
                fill_columns,
                share,
                {"calculate": "datum.whole > 0 ? datum.count / datum.whole : 0", "as": "share"},
            ],
            "encoding": {"x": by_column, "y": by_row},
            "layer": [
                {
                    "mark": {"type": "rect", "tooltip": {"content": "data"}},
                    "encoding": {"color": colour | {"scale": {"scheme": "blues", "domain": [0, 1]}}},
                },
                {
                    "mark": "text",
                    "encoding": {
                        "text": shown,
                        "color": {
                            "condition": {"test": "datum.share > 0.5", "value": "white"},
                            "value": "black",
                        },
                    },
                },
            ],
        },
    }

"""Plots from rows to a page: series, anchors, templates, escapes, and lines of text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kist.compare.plot_page import Block, PageTemplateError, Picture, page, script_json
from kist.compare.plot_points import PlotFieldError, PlotJoinError, points_of, rows_of
from kist.compare.plot_spec import Drawing, TemplateError, anchor, drawable, fill_template
from kist.compare.plot_templates import NAMES, built_in
from kist.compare.plot_text import text_chart

_ROWS = [{"step": "0", "loss": "1.5"}, {"step": "1", "loss": "0.5"}]


def _drawing(**more: Any) -> Drawing:
    points = points_of("loss.csv", {"x": "step", "y": "loss"}, {"loss.csv": _ROWS}, "workspace")
    made = Drawing("Title", points.rows, ["workspace"], points.x, points.y, "step", "loss", points.sources)
    return made._replace(**more)


def _two_files() -> Drawing:
    files = {
        "run/a/loss.csv": _ROWS,
        "run/b/loss.csv": [{"step": "0", "err": "2"}, {"step": "1", "err": "3"}],
    }
    options = {"x": "step", "y": {"run/a/loss.csv": "loss", "run/b/loss.csv": "err"}}
    points = points_of("both", options, files, "v1")
    return Drawing(
        "Both", points.rows, ["v1"], points.x, points.y, points.x_label, points.y_label, points.sources
    )


def test_without_fields_the_last_one_is_drawn_over_the_number_of_the_row() -> None:
    points = points_of("loss.csv", {}, {"loss.csv": [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]}, "v1")
    assert (points.x, points.y, points.x_label, points.y_label) == ("step", "b", "step", "b")
    assert points.rows[1] == {
        "a": "3",
        "b": "4",
        "step": 1,
        "rev": "v1",
        "filename": "loss.csv",
        "field": "b",
    }


def test_lists_beside_each_other_are_one_table_and_ragged_ones_are_not() -> None:
    content = {"a": {"x": [{"k": 1}, {"k": 2}]}, "b": [{"l": 3}], "c": [1, 2], "d": [{"m": 1}, {"n": 2}]}
    assert rows_of(content) == [{"k": 1, "l": 3}, {"k": 2}]
    assert rows_of([]) == rows_of({"a": 1}) == rows_of(7) == []


def test_several_files_are_joined_under_names_of_their_own() -> None:
    drawing = _two_files()
    assert drawing.sources == [("a/loss.csv", "loss"), ("b/loss.csv", "err")]
    assert drawing.y == "dvc_inferred_y_value"
    assert drawing.rows[3]["dvc_inferred_y_value"] == "3"
    assert drawing.y_label == "y"


def test_a_field_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(PlotFieldError, match="no field 'acc'; its fields are 'step', 'loss'"):
        points_of("loss.csv", {"y": "acc"}, {"loss.csv": _ROWS}, "v1")


def test_columns_of_different_length_are_not_joined() -> None:
    options = {"x": {"a.csv": "n"}, "y": {"b.csv": "m"}}
    with pytest.raises(PlotJoinError, match="2 rows and 1"):
        points_of("p", options, {"a.csv": [{"n": 1}], "b.csv": [{"m": 1}, {"m": 2}]}, "v1")
    with pytest.raises(PlotJoinError, match="2 columns for x and 1 for y"):
        points_of("p", {"x": {"a.csv": ["n", "o"]}, "y": "m"}, {}, "v1")


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_template_leaves_no_anchor_unfilled(name: str) -> None:
    template = built_in(name)
    assert template is not None
    for drawing in (_drawing(), _two_files()):
        filled = fill_template(template, drawing, name=name)
        assert "<DVC_METRIC_" not in json.dumps(filled.content)
        assert filled.split == {}
        assert filled.content["data"]["values"][0]["rev"] == drawing.versions[0]


def test_split_leaves_looks_and_data_beside() -> None:
    template = built_in("linear") or {}
    content, apart = fill_template(template, _drawing(), name="linear", split=True)
    assert set(apart) == {
        anchor(one)
        for one in (
            "title",
            "data",
            "x_label",
            "y_label",
            "color",
            "zoom_and_pan",
            "plot_height",
            "plot_width",
        )
    }
    assert content["data"]["values"] == anchor("data")
    assert content["encoding"]["x"]["field"] == "step"


def test_dots_and_brackets_in_fields_are_escaped() -> None:
    rows = [{"a.b[0]": 1, "step": 0, "rev": "v1", "filename": "f", "field": "a.b[0]"}]
    drawing = _drawing(rows=rows, y="a.b[0]", sources=[("f", "a.b[0]")])
    content = fill_template(built_in("simple") or {}, drawing, name="simple").content
    assert content["encoding"]["y"]["field"] == "a\\.b\\[0\\]"


def test_channels_without_a_field_are_not_drawn_and_data_stays_whole() -> None:
    content = {"encoding": {"row": {}, "x": {"field": "a"}}, "params": [{}, 1], "data": {"values": [{}]}}
    assert drawable(content) == {"encoding": {"x": {"field": "a"}}, "params": [1], "data": {"values": [{}]}}


def test_data_that_looks_like_an_anchor_stays_data() -> None:
    drawing = _drawing(title=anchor("x"))
    assert fill_template(built_in("simple") or {}, drawing, name="simple").content["title"]["text"] == anchor(
        "x"
    )


def test_a_template_without_a_place_for_data_is_refused() -> None:
    with pytest.raises(TemplateError, match="DVC_METRIC_DATA"):
        fill_template({"mark": "line"}, _drawing(), name="own")


_ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028<!--"


def test_nothing_in_data_or_names_becomes_markup() -> None:
    spec = {"data": {"values": [{"loss": _ATTACK}]}, "title": _ATTACK}
    blocks = [Block(_ATTACK, spec), Block(_ATTACK, pictures=(Picture(_ATTACK, _ATTACK),))]
    text = page(blocks, ["var vega;"])
    assert text.count("<script>") == text.count("</script>") == 2
    assert len(re.findall("<img ", text)) == 1
    assert "onerror=alert(2)>" not in text
    assert "<!--" not in text
    assert json.loads(script_json(spec)) == spec


def test_a_page_of_ones_own_has_its_plots() -> None:
    assert page([], ["a()"], "<b>{scripts}</b>{plot_divs}{other}") == "<b><script>a()</script></b>{other}"
    with pytest.raises(PageTemplateError):
        page([], [], "<html></html>")


def test_our_own_page_may_load_nothing() -> None:
    text = page([], [])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_the_scripts_in_the_package_can_stand_in_a_page() -> None:
    from kist.repo.plot_files import vega_scripts

    texts = vega_scripts()
    assert len(texts) == 3
    for text in texts:
        assert "</script" not in text.lower()
        assert "<!--" not in text


def test_a_chart_of_lines_has_axes_and_a_legend() -> None:
    rows = [
        {"step": str(at), "loss": str(at * factor), "rev": rev}
        for rev, factor in (("v1", 1), ("v2", 2))
        for at in range(10)
    ]
    drawing = _drawing(rows=rows, versions=["v1", "v2"])
    lines = text_chart(drawing, width=60, paint=None)
    assert lines[0] == "Title"
    assert lines[1].startswith("18 ┤")
    assert lines[-1].split() == ["*", "v1", "+", "v2"]
    assert lines[-2].split() == ["0", "step", "9"]
    assert max(map(len, lines)) <= 60
    painted = text_chart(drawing, width=60, paint=lambda text, colour: f"<{colour}>{text}")
    assert any("<green>" in line for line in painted)


def test_a_chart_without_numbers_says_so() -> None:
    assert "no numbers" in text_chart(_drawing(rows=[]), width=60, paint=None)[1]
    flat = [{"step": 0, "loss": 5, "rev": "v1"}]
    assert len(text_chart(_drawing(rows=flat), width=60, paint=None)) == 15


def _browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("KIST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.mark.slow
@pytest.mark.skipif(_browser() is None, reason="no Chromium is installed")
def test_the_page_draws_in_a_browser_without_a_network(tmp_path: Path) -> None:
    from kist.repo.plot_files import vega_scripts

    blocks = [
        Block(name, drawable(fill_template(built_in(name) or {}, drawing, name=name).content))
        for name in NAMES
        for drawing in (_drawing(title=f"T {name}"), _two_files())
    ]
    path = tmp_path / "index.html"
    path.write_text(page(blocks, vega_scripts()), encoding="utf-8")
    command = [str(_browser()), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    done = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True)
    assert done.stdout.count('class="marks"') == len(blocks)
    assert done.stdout.count("vega-embed") >= len(blocks)

"""`plots` and `dataset` at the command line; what equals DVC's is held in tests/compat."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from kist.testing.project import Project

_ATTACK = "</script><script>alert(1)</script>"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A table and an image in two versions; the first one is called v1."""
    made = Project(str(tmp_path / "project"))
    made.write(
        {
            "dvc.yaml": "plots:\n- loss.csv:\n    x: step\n    y: loss\n- shot.png\n",
            "loss.csv": "step,loss,name\n0,1.0,a\n1,0.5,b\n",
            "shot.png": "one",
        }
    )
    made.commit()
    made.git("tag", "v1")
    made.write({"loss.csv": f"step,loss,name\n0,0.9,a\n1,0.4,{_ATTACK}\n", "shot.png": "two"})
    return made


def _page(out: str) -> str:
    with open(unquote(urlparse(out.strip().splitlines()[-1]).path), encoding="utf-8") as stream:
        return stream.read()


def test_the_page_has_all_versions_and_needs_nothing_else(project: Project) -> None:
    answer = project.kist("plots", "diff", "v1")
    text = _page(answer.out)
    assert "vegaEmbed('#plot-0'" in text
    assert '"rev": "v1"' in text
    assert '"rev": "workspace"' in text
    assert _ATTACK not in text
    assert 'src="http' not in text
    assert project.read("dvc_plots/static/v1_shot.png") == "one"
    assert project.read("dvc_plots/static/workspace_shot.png") == "two"
    assert 'src="static/v1_shot.png"' in text


def test_a_page_of_ones_own_is_filled(project: Project) -> None:
    project.write({"own.html": "<html>{scripts}<h1>Mine</h1>{plot_divs}</html>"})
    answer = project.kist("plots", "show", "--html-template", "own.html", "-o", "pages/here")
    assert answer.out.strip().endswith("/pages/here/index.html")
    assert "<h1>Mine</h1>" in _page(answer.out)
    project.write({"own.html": "<html></html>"})
    assert project.try_kist("plots", "show", "--html-template", "own.html").code == 255


def test_a_template_of_the_repository_comes_before_ours(project: Project) -> None:
    project.write({".dvc/plots/linear.json": '{"own": "<DVC_METRIC_DATA>", "x": "over <DVC_METRIC_X>"}'})
    content = json.loads(project.kist("plots", "show", "loss.csv", "--show-vega").out)
    assert content["x"] == "over step"
    assert len(content["own"]) == 2


def test_a_chart_in_the_terminal_tells_versions_apart(project: Project) -> None:
    out = project.kist("plots", "diff", "v1", "--show").out
    assert "workspace" in out
    assert "v1" in out
    assert "shot.png" in out
    assert not project.exists("dvc_plots")


def test_a_plot_that_cannot_be_read_leaves_the_others(project: Project) -> None:
    project.write({"dvc.yaml": "plots:\n- loss.csv\n- gone.csv\n- bad.json\n", "bad.json": "{"})
    answer = project.kist("plots", "show", "--json")
    found = json.loads(answer.out)
    assert {error["source"]: error["type"] for error in found["errors"]} == {
        "gone.csv": "FileNotFoundError",
        "bad.json": "JSONFileCorruptedError",
    }
    assert found["data"]["gone.csv"] == []
    assert len(found["data"]["loss.csv"]) == 1


def test_without_a_plot_nothing_is_written(project: Project) -> None:
    project.write({"dvc.yaml": ""})
    answer = project.kist("plots", "show")
    assert answer.out == ""
    assert "no plots" in answer.err
    assert not project.exists("dvc_plots")


def test_a_picture_without_its_package_says_how_to_get_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    answer = project.try_kist("plots", "show", "loss.csv", "--out", "x.svg")
    assert answer.code == 1
    assert "pip install 'kist[plots]'" in answer.err
    assert not project.exists("x.svg")


def test_a_picture_holds_one_plot(project: Project) -> None:
    project.write({"dvc.yaml": "plots:\n- loss.csv\n- other.csv\n", "other.csv": "a,b\n1,2\n"})
    answer = project.try_kist("plots", "show", "--out", "x.png")
    assert answer.code == 1
    assert "'loss.csv', 'other.csv'" in answer.err


def test_a_plot_of_a_generated_stage_is_not_changed(project: Project) -> None:
    text = "stages:\n  s:\n    foreach: [a]\n    do:\n      cmd: x\n      plots: ['${item}.csv']\n"
    project.write({"dvc.yaml": text})
    answer = project.try_kist("plots", "modify", "a.csv", "-x", "step")
    assert answer.code == 255
    assert project.read("dvc.yaml") == text


def test_a_modified_plot_keeps_comments(project: Project) -> None:
    project.write({"dvc.yaml": "stages:\n  s: # one\n    cmd: x\n    plots:\n    # two\n    - loss.csv\n"})
    project.kist("plots", "modify", "loss.csv", "-x", "step")
    text = project.read("dvc.yaml")
    assert "# one" in text
    assert "- loss.csv:\n        x: step\n" in text


def test_a_dataset_is_pinned_and_moves_when_asked(project: Project, tmp_path: Path) -> None:
    other = Project(str(tmp_path / "other"))
    other.commit()
    answer = project.kist("dataset", "add", "--dvc", "../other", "birds")
    assert answer.out.startswith("Adding birds (../other)\n")
    first = other.git("rev-parse", "HEAD").strip()
    assert f"rev_lock: {first}" in project.read("dvc.lock")
    assert project.kist("dataset", "update", "birds").out.startswith("Nothing to update")
    other.write({"new.txt": "new"})
    other.commit()
    second = other.git("rev-parse", "HEAD").strip()
    assert f"({first[:9]} -> {second[:9]})" in project.kist("ds", "update", "birds").out
    assert f"rev_lock: {second}" in project.read("dvc.lock")


def test_a_dataset_elsewhere_is_refused_before_anything_is_written(project: Project) -> None:
    before = project.read("dvc.yaml")
    for words in (("--url", "s3://bucket/x"), ("--dc", "x"), ("--dvc", "https://example.invalid/x")):
        assert project.try_kist("dataset", "add", *words, "name").code == 255
    assert project.read("dvc.yaml") == before
    assert not os.path.exists(project.path("dvc.lock"))


def test_a_picture_is_drawn_where_its_package_is_there(project: Project) -> None:
    pytest.importorskip("vl_convert", reason="the extra `plots` is not installed")
    project.kist("plots", "show", "loss.csv", "--out", "x.svg")
    assert project.read("x.svg").startswith("<svg")
    project.kist("plots", "diff", "v1", "--targets", "loss.csv", "--out", "x.png")
    with open(project.path("x.png"), "rb") as stream:
        assert stream.read(4) == b"\x89PNG"

"""`plots` and `dataset` beside the real DVC: what is drawn from which rows, and what is written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import DVC, KIST, Beside, Case, RealDvc, World, case, commit, tool, write

_STAGES = """\
stages:
  train:
    cmd: train
    plots:
    - loss.csv:
        cache: false
        x: step
        y: loss
        x_label: Step
        title: The loss
    - nohead.csv:
        cache: false
        header: false
    - logs
    outs:
    - plain.json:
        cache: false
plots:
- curves:
    x: step
    y:
      a/loss.csv: [train, val]
      b/loss.csv: train
    title: Both
- files:
    x: step
    y:
      a/loss.csv: train
      b/loss.csv: train
    template: scatter
- joined:
    x:
      a/loss.csv: step
      b/loss.csv: n
    y:
      a/loss.csv: train
      b/loss.csv: train
    template: simple
- a/loss.csv:
    y: [train, val]
    template: simple
- conf.csv:
    template: confusion
    x: predicted
    y: actual
- bars.json:
    template: bar_horizontal
    x: weight
    y: name
- deep.yaml
- pictures
- missing.csv
- wrong.csv:
    y: nope
- odd.json
"""
_FILES = {
    "dvc.yaml": _STAGES,
    "loss.csv": "step,loss\n0,1.0\n1,0.5\n2,</script><b>\n",
    "nohead.csv": "1,2\n3,4\n",
    "tabs.tsv": "c\td\n1\t2\n",
    "logs/one.csv": "a,b\n1,2\n",
    "logs/two/three.csv": "a,b\n3,4\n",
    "a/loss.csv": "step,train,val\n0,1,2\n1,3,4\n",
    "b/loss.csv": "step,n,train\n0,5,1\n1,6,2\n",
    "conf.csv": "actual,predicted\ncat,cat\ndog,cat\n",
    "bars.json": '[{"name": "x.y", "weight": 1}, {"name": "z", "weight": 2.5}]',
    "deep.yaml": "top:\n  list:\n  - {p: 1, q: 2}\n  - {p: 2, q: 3}\n  other:\n  - {r: 5}\n",
    "odd.json": '{"a": [1, 2], "b": [{"k.x": 1, "l[0]": 2}, {"k.x": 3, "l[0]": 4}]}',
    "wrong.csv": "a,b\n1,2\n",
    "pictures/one.png": "png one",
    "pictures/two.svg": "<svg/>",
    "free.csv": "u,v\n1,2\n",
    "empty.csv": "",
    "plain.json": "[]",
    "sub/dvc.yaml": "plots:\n- conf.csv\n- curves:\n    y: {x.csv: q}\n",
    "sub/conf.csv": "p,q\n1,2\n",
    "sub/x.csv": "p,q\n1,2\n",
}


def _write(world: World, files: dict[str, str]) -> None:
    for path, text in files.items():
        os.makedirs(os.path.dirname(world.path("repo", path)), exist_ok=True)
        with open(world.path("repo", path), "w", encoding="utf-8") as stream:
            stream.write(text)


@pytest.fixture(scope="module")
def world(
    real_dvc: RealDvc, templates: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> World:
    """A repository with plots of every kind in two versions."""
    root = str(tmp_path_factory.mktemp("plots") / "world")
    shutil.copytree(templates("empty"), root, symlinks=True)
    made = World(root, KIST, real_dvc)
    _write(made, _FILES)
    made.run_git("add -A")
    made.run_git("commit -q -m first")
    made.run_git("tag v1")
    _write(made, {"loss.csv": "step,loss\n0,0.9\n1,0.4\n", "pictures/one.png": "png two"})
    return made


def _neutral(item: dict[str, Any]) -> dict[str, Any]:
    """Returns one plot of the JSON without what is each tool's own: the template around the anchors."""
    return {key: value for key, value in item.items() if key != "content"}


def _sorted(errors: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps({key: value for key, value in one.items() if key != "msg"}) for one in errors)


def _compare(world: World, line: str, cwd: str = "repo", *, but: str = "") -> None:
    words = [*shlex.split(line), "-o", world.path("out"), "--json"]
    results = [world.run(words, cwd, by=name) for name in (DVC, KIST)]
    assert results[0].code == results[1].code, results
    expected, found = (json.loads(result.stdout) for result in results)
    assert found.get("data", {}).keys() == expected.get("data", {}).keys()
    for name, items in expected.get("data", {}).items():
        if name == but:
            continue
        ours = found["data"][name]
        assert [_neutral(item) for item in ours] == [_neutral(item) for item in items], name
        assert [set(item) for item in ours] == [set(item) for item in items], name
    assert _sorted(found.get("errors", [])) == _sorted(expected.get("errors", []))


_LINES = """\
plots show --split
plots diff v1 --split
plots diff v1 v1~1
plots diff
plots show loss.csv -x loss -y step --title T --x-label X --y-label Y -t scatter --split
plots show free.csv tabs.tsv empty.csv logs --split
plots show nope.csv
plots show curves --split
plots show nohead.csv free.csv --no-header --split
plots show readme.md
plots show dvc.yaml::conf
""".splitlines()


@pytest.mark.parametrize("line", _LINES)
def test_rows_and_anchors_are_dvcs(world: World, line: str) -> None:
    _compare(world, line)


def test_below_the_root_they_are_too(world: World) -> None:
    # There DVC takes the first line of `nohead.csv` for its header.
    _compare(world, "plots show --split", "repo/sub", but="../nohead.csv")


def test_a_template_of_dvcs_is_filled_as_dvc_fills_it(world: World) -> None:
    """A built-in template of DVC, saved as a custom one, becomes the same Vega-Lite in both."""
    names = world.run(["plots", "templates"], "repo", by=DVC).stdout.split()
    ours = world.run(["plots", "templates"], "repo", by=KIST).stdout.split()
    assert ours == names
    folder = world.path("repo", ".dvc", "plots")
    os.makedirs(folder, exist_ok=True)
    for name in ("linear", "simple", "confusion", "scatter", "scatter_jitter", "bar_horizontal"):
        text = world.run(["plots", "templates", name], "repo", by=DVC).stdout
        with open(os.path.join(folder, f"own_{name}.json"), "w") as stream:
            stream.write(text)
        options = ["-t", f"own_{name}", "-o", world.path("out"), "--json"]
        words = ["plots", "show", "curves", "odd.json", *options]
        expected, found = (world.run(words, "repo", by=tool_name).stdout for tool_name in (DVC, KIST))
        assert json.loads(found) == json.loads(expected), name
    words = ["plots", "show", "free.csv", "-t", "own_simple", "--show-vega"]
    expected, found = (world.run(words, "repo", by=tool_name).stdout for tool_name in (DVC, KIST))
    assert json.loads(found) == json.loads(expected)


def test_our_templates_are_filled_by_dvc(world: World) -> None:
    folder = world.path("repo", ".dvc", "plots")
    os.makedirs(folder, exist_ok=True)
    for name in ("smooth", "confusion", "scatter_jitter"):
        text = world.run(["plots", "templates", name], "repo", by=KIST).stdout
        with open(os.path.join(folder, f"kist_{name}.json"), "w") as stream:
            stream.write(text)
        words = [
            "plots",
            "show",
            "curves",
            "-t",
            f"kist_{name}",
            "-o",
            world.path("out"),
            "--json",
            "--split",
        ]
        expected, found = (world.run(words, "repo", by=tool_name).stdout for tool_name in (DVC, KIST))
        assert json.loads(found) == json.loads(expected)


def test_mistakes_end_as_in_dvc(world: World) -> None:
    for line in (
        "plots show loss.csv -t nope",
        "plots templates nope",
        "plots show --show-vega",
        "plots show loss.csv free.csv --show-vega",
        "plots diff nope",
        "plots modify nope.csv -x a",
        "plots modify plain.json --unset x",
        "plots modify loss.csv --unset nope",
        "plots modify loss.csv -t nope",
    ):
        codes = [world.run(shlex.split(line), "repo", by=name).code for name in (DVC, KIST)]
        assert codes[0] == codes[1], (line, codes)


def test_without_plots_nothing_is_written(real_dvc: RealDvc, tmp_path: Path) -> None:
    world = World(str(tmp_path / "world"), KIST, real_dvc)
    results = [world.run(["plots", "show"], "repo", by=name) for name in (DVC, KIST)]
    assert [(result.code, result.stdout) for result in results] == [(0, "")] * 2
    assert all(result.stderr for result in results)
    assert not os.path.exists(world.path("repo", "dvc_plots"))


_STAGE = """\
stages:
  train:
    cmd: train # here
    outs:
    - model:
        cache: false
    - other:
        cache: false
    plots:
    - loss.csv:
        cache: false
        x: step
    metrics:
    - m.json:
        cache: false
"""
MODIFIED = (
    case("options set and changed", "empty", write("dvc.yaml", _STAGE), commit("stage"),
         tool("plots modify loss.csv -x n -y loss --title 'A title' -t scatter --x-label X --y-label Y", stdout="as a run")),
    case("options taken away", "empty", write("dvc.yaml", _STAGE), tool("plots modify loss.csv --unset x")),
    case("an output becomes a plot", "empty", write("dvc.yaml", _STAGE), tool("plots modify other -y b --no-header")),
)  # fmt: skip


@pytest.mark.parametrize("checked", MODIFIED, ids=lambda checked: checked.name)
def test_a_modified_plot_stands_as_dvc_writes_it(checked: Case, beside: Beside) -> None:
    beside.check(checked)


def _other_repository(world: World) -> None:
    """Makes another repository beside, with a tag."""
    os.makedirs(world.path("other"))
    for line in (
        "init -q -b main",
        "commit -q --allow-empty -m one",
        "tag v1",
        "commit -q --allow-empty -m two",
    ):
        world.run_git(line, "other")


_DATASETS = "dataset add --dvc ../other first --rev v1 --path data"
DATASETS = (
    case("one of another repository", "empty", _other_repository, tool(_DATASETS, stdout="as a run"),
         tool("dataset add --dvc ../other second", stdout="as a run"),
         tool("dataset add --dvc ../other second", code=255),
         tool("dataset add -f --dvc ../other second --rev main"),
         tool("dataset update first", stdout="as a run"), tool("dataset update first --rev main", stdout="as a run"),
         tool("dataset update second"), tool("ds update nope", code=1),
         tool("dataset add --url x third --rev v1", code=255)),
    case("beside stages", "empty", _other_repository,
         write("dvc.yaml", "# kept\nstages:\n  a: {cmd: echo 1 > a, outs: [a]}\n"), tool("repro -q"), tool(_DATASETS)),
)  # fmt: skip


@pytest.mark.parametrize("checked", DATASETS, ids=lambda checked: checked.name)
def test_a_dataset_stands_as_dvc_writes_it(checked: Case, beside: Beside) -> None:
    beside.check(checked)

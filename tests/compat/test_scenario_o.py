"""Scenario O, "A pipeline", word for word, by DVC and by Kist; then another person clones, pulls, and has nothing to do."""

from __future__ import annotations

import json
import os
import sys

from .helpers import AS_A_RUN, DVC, KIST, Beside, World, append, case, commit, git, make_folder, tool, write

_PIPELINE = """\
stages:
  process_data:
    cmd: python src/process_data.py
    deps: [src/process_data.py, data/raw.csv]
    outs: [data/processed.csv]
  segment:
    cmd: python src/segment.py
    deps: [src/segment.py, data/processed.csv]
    outs: [data/segments]
  analyze:
    cmd: python src/run_notebook.py
    deps: [src/run_notebook.py, notebooks/analyze.ipynb, data/segments]
    metrics: [metrics.json: {cache: false}]
    outs: [report.txt]
"""
_PROCESS = """\
lines = open("data/raw.csv").read().split()
open("data/processed.csv", "w").write("\\n".join(line.upper() for line in lines) + "\\n")
"""
_SEGMENT = """\
import os
os.makedirs("data/segments")
for number, line in enumerate(open("data/processed.csv")):
    open(f"data/segments/{number}.csv", "w").write(line)
"""
# Runs the cells of a notebook, as `jupyter nbconvert --execute` does, without Jupyter.
_RUN_NOTEBOOK = """\
import json
names = {}
for cell in json.load(open("notebooks/analyze.ipynb"))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), names)
"""
_CELLS = (
    "import json, os\n",
    "count = len(os.listdir('data/segments'))\n",
    "json.dump({'segments': count}, open('metrics.json', 'w'))\nopen('report.txt', 'w').write(f'{count} segments\\n')\n",
)
_NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "source": [cell], "metadata": {}, "outputs": [], "execution_count": None}
        for cell in _CELLS
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
_SAID = """\
Running stage 'process_data':
> python src/process_data.py
Updating lock file 'dvc.lock'

Running stage 'segment':
> python src/segment.py
Updating lock file 'dvc.lock'

Running stage 'analyze':
> python src/run_notebook.py
Updating lock file 'dvc.lock'
"""


def _own_python(world: World) -> None:
    """Makes `python` the one that runs the tests."""
    world.env["PATH"] = os.path.dirname(sys.executable) + os.pathsep + world.env["PATH"]


def _says_the_lines_of_the_story(world: World) -> None:
    world.run_git("checkout -q -- dvc.lock")
    for name in ("data/processed.csv", "data/segments/0.csv", "report.txt"):
        os.unlink(world.path("repo", name))
    append("data/raw.csv", "c,3\n")(world)
    result = world.run(["repro"], "repo")
    assert result.stdout.startswith(_SAID), result


def _has_nothing_to_do(world: World) -> None:
    for tool_name in (world.tool, KIST if world.tool == DVC else DVC):
        result = world.run(["repro"], "clone", by=tool_name)
        assert result.code == 0, (tool_name, result)
        assert "Running" not in result.stdout and "cached" not in result.stdout, (tool_name, result)
        assert "Data and pipelines are up to date." in result.stdout, (tool_name, result)
    assert world.run_git("status --porcelain", "clone") == ""


def test_the_story_of_a_pipeline_holds_word_for_word(beside: Beside) -> None:
    beside.check(
        case(
            "scenario O",
            "storage",
            _own_python,
            make_folder("data"),
            write("data/raw.csv", "a,1\nb,2\n"),
            write("src/process_data.py", _PROCESS),
            write("src/segment.py", _SEGMENT),
            write("src/run_notebook.py", _RUN_NOTEBOOK),
            write("notebooks/analyze.ipynb", json.dumps(_NOTEBOOK)),
            write("dvc.yaml", _PIPELINE),
            tool("repro", stdout=AS_A_RUN),
            commit("first run"),
            _says_the_lines_of_the_story,
            tool("push"),
            commit("the pipeline"),
            git("clone -q repo clone", cwd="."),
            tool("pull", cwd="clone"),
            _has_nothing_to_do,
        )
    )

"""kist.api beside dvc.api, both in one process of DVC's own environment, on one repository."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kist.testing.project import Project

SOURCES = str(Path(__file__).parents[2] / "src")

SCRIPT = r'''
import json, os, sys
import dvc.api
import kist.api

def answer(module, name, *arguments, **named):
    """Returns what a call came to: its value, or the kinds of error that programs catch."""
    try:
        value = getattr(module, name)(*arguments, **named)
        if name == "open":
            with value as stream:
                value = [stream.read(3), stream.read(), list(stream)]
    except Exception as error:
        kinds = [kind.__name__ for kind in (FileNotFoundError, IsADirectoryError, ValueError) if isinstance(error, kind)]
        return "error", kinds, repr(error)
    return "value", repr(value), ""

rows = []
for line in json.load(open(sys.argv[1])):
    os.chdir(line["cwd"])
    theirs, ours = [answer(module, line["name"], *line["arguments"], **line["named"]) for module in (dvc.api, kist.api)]
    rows.append([line, theirs, ours])
print("RESULT" + json.dumps(rows))
'''


def beside(
    project: Project, calls: list[tuple[str, str, list[object], dict[str, object]]], home: Path
) -> list[str]:
    """Returns a line for each call on which the two differ. Calls: folder, function, arguments, named arguments."""
    python = os.path.join(os.path.dirname(os.environ["KIST_DVC"]), "python")
    lines = [
        {"cwd": project.path(folder), "name": name, "arguments": arguments, "named": named}
        for folder, name, arguments, named in calls
    ]
    (home / "calls.json").write_text(json.dumps(lines))
    done = subprocess.run(
        [python, "-c", SCRIPT, str(home / "calls.json")],
        env={
            **os.environ,
            "PYTHONPATH": SOURCES,
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "site"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.partition("RESULT")[2])
    assert len(rows) == len(calls)
    return [
        f"{line['name']} {line['arguments']} {line['named']} in {line['cwd']}: theirs {theirs}, ours {ours}"
        for line, theirs, ours in rows
        if not is_same(line["name"], theirs, ours)
    ]


def is_same(name: str, theirs: list[Any], ours: list[Any]) -> bool:
    """Says whether two answers are one for a program; ours may be of more kinds of errors."""
    if theirs[0] == ours[0] == "error":
        return set(theirs[1]) <= set(ours[1])
    if name.startswith("all_") and theirs[0] == ours[0]:  # in no order that is promised
        return sorted(ast.literal_eval(theirs[1])) == sorted(ast.literal_eval(ours[1]))
    return bool(theirs[:2] == ours[:2])


@pytest.fixture
def stored(project: Project, tmp_path: Path) -> Project:
    """The project with a second version and a remote that has both; the cache has nothing."""
    project.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    project.kist("remote", "add", "other", str(tmp_path / "other"))
    project.commit()
    project.git("tag", "v1")
    project.write({"data/one.txt": "another one\n", "data/more.txt": "more\n", "latin.txt": "x\n"})
    Path(project.path("latin.txt")).write_bytes("caf\u00e9\r\nend".encode("latin-1"))
    project.kist("add", "-q", "data", "latin.txt")
    project.commit()
    project.kist("push")
    project.kist("push", "-A")
    project.kist("push", "-r", "other")
    return project


def reading(project: Project) -> list[tuple[str, str, list[object], dict[str, object]]]:
    """Returns calls that read."""
    root = project.root
    calls: list[tuple[str, str, list[object], dict[str, object]]] = []
    for named in (
        {},
        {"rev": "v1"},
        {"rev": "HEAD"},
        {"repo": root},
        {"repo": root, "rev": "v1"},
        {"remote": "other"},
    ):
        for path in (
            "data/one.txt",
            "data/deep/three.txt",
            "model.bin",
            "code.py",
            "none",
            "data/none",
            "none/none",
        ):
            calls.append(("", "read", [path], dict(named)))
        for path in ("data", "data/deep", "sub"):
            calls.append(("", "read", [path], dict(named)))
    calls += [
        ("", "open", ["data/two.txt"], {}),
        ("", "open", ["data/two.txt"], {"mode": "rb"}),
        ("", "read", ["latin.txt"], {"encoding": "latin-1"}),
        ("", "read", ["latin.txt"], {"mode": "rb"}),
        ("", "read", ["data/one.txt"], {"mode": "w"}),
        ("", "read", ["data/one.txt"], {"remote": "unknown"}),
        ("", "read", ["data/one.txt"], {"rev": "unknown"}),
        ("", "read", ["data/one.txt"], {"config": {"core": {"remote": "other"}}}),
        ("", "get_url", ["data/one.txt"], {}),
        ("", "get_url", ["data"], {}),
        ("", "get_url", ["model.bin"], {"rev": "v1", "remote": "other"}),
        ("", "get_url", ["model.bin"], {"repo": root}),
        ("", "get_url", ["data/deep"], {}),
        ("", "get_url", ["code.py"], {}),
        ("", "get_url", ["none"], {}),
        ("", "all_branches", [], {}),
        ("", "all_tags", [], {}),
        ("", "all_commits", [], {}),
        ("sub", "read", ["sub/table.csv"], {}),
        ("sub", "read", ["table.csv"], {}),
        ("sub", "get_url", ["table.csv"], {}),
        ("sub", "get_url", ["sub/table.csv"], {}),
        ("sub", "read", ["table.csv"], {"repo": root}),
        ("sub", "read", ["sub/table.csv"], {"repo": root}),
        ("sub", "read", ["table.csv"], {"rev": "v1"}),
        ("sub", "read", ["sub/table.csv"], {"rev": "v1"}),
    ]
    return calls


def showing(project: Project) -> list[tuple[str, str, list[object], dict[str, object]]]:
    """Returns calls that show parameters and metrics."""
    calls: list[tuple[str, str, list[object], dict[str, object]]] = []
    for named in ({}, {"rev": "HEAD"}, {"rev": "first"}, {"repo": project.root}):
        for arguments in ([], ["params.yaml"], ["sub/params.yaml", "params.yaml"]):
            calls.append(("", "params_show", arguments, dict(named)))
        for more in (
            {"deps": True},
            {"stages": "one"},
            {"stages": ["one", "sub/dvc.yaml:two"]},
            {"stages": "none"},
        ):
            calls.append(("", "params_show", [], {**named, **more}))
        for arguments in ([], ["metrics.json"], ["sub/m.yaml", "metrics.json"], ["none.json"]):
            calls.append(("", "metrics_show", arguments, dict(named)))
    calls += [("sub", "params_show", [], {}), ("sub", "metrics_show", [], {})]
    return calls


def test_parameters_and_metrics(project: Project, tmp_path: Path) -> None:
    project.write(
        {
            "params.yaml": "lr: 1\nnet: {layers: 3, width: 2.5}\nunused: x\n",
            "sub/params.yaml": "lr: 2\nseed: 7\n",
            "metrics.json": '{"acc": 0.5, "deep": {"loss": 1}}',
            "sub/m.yaml": "acc: 0.25\nnote: text\n",
            "dvc.yaml": "stages:\n  one: {cmd: 'true', params: [lr, net.layers], metrics: [metrics.json: {cache: false}]}\n",
            "sub/dvc.yaml": "stages:\n  two: {cmd: 'true', params: [seed], metrics: [m.yaml: {cache: false}]}\n",
        }
    )
    project.commit()
    project.git("tag", "first")
    project.write({"params.yaml": "lr: 3\nnet: {layers: 4}\n", "metrics.json": '{"acc": 0.75}'})
    project.commit()
    project.write({"params.yaml": "lr: 5\nnet: {layers: 5}\n"})
    assert beside(project, showing(project), tmp_path) == []


def test_reading_with_data_at_hand(stored: Project, tmp_path: Path) -> None:
    assert beside(stored, reading(stored), tmp_path) == []


def test_reading_from_the_remote_alone(stored: Project, tmp_path: Path) -> None:
    subprocess.run(
        ["rm", "-rf", stored.path(".dvc/cache"), stored.path("data"), stored.path("model.bin")], check=True
    )
    assert beside(stored, reading(stored), tmp_path) == []

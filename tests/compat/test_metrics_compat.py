"""`metrics` and `params` beside the real DVC: both read one repository with a history that has everything."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import DVC, KIST, RealDvc, Result, World

_STAGES = """\
vars:
- conf.yaml
stages:
  train:
    cmd: train ${net.size} ${net.name}
    params:
    - lr
    - opt.n
    - other.json:
      - seed
      - deep.list.1
    - whole.toml:
    metrics:
    - m.json:
        cache: false
  below:
    cmd: below
    wdir: sub
    params:
    - p.py:
      - Net.width
      - rate
    metrics:
    - n.yaml
metrics:
- extra/eval.yaml
- reports
params:
- cfg/extra.yaml
"""
_FIRST = {
    "dvc.yaml": _STAGES,
    "conf.yaml": "net:\n  size: 3\n  name: small\nunused: 1\n",
    "params.yaml": "lr: 0.1\nopt:\n  n: 3\n  deep: {a: 1, b: [1, 2]}\nnothing:\nflag: true\n",
    "other.json": '{"seed": 7, "deep": {"list": [1, 2, 3]}, "not": 1}',
    "whole.toml": 'name = "x"\n[part]\nvalue = 1.5\n',
    "sub/p.py": "rate = 0.5\nclass Net:\n    width = 3\n    other = 1\n",
    "sub/n.yaml": "f1: 0.123456789\nnested: {a: 1, b: {c: 2}}\n",
    "cfg/extra.yaml": "batch: 32\n",
    "m.json": '{"acc": 0.5, "loss": 1, "name": "résumé", "none": null, "list": [1], "ok": true, "empty": {}}',
    "extra/eval.yaml": "auc: 0.25\n",
    "reports/a.json": '{"x": 1}',
    "reports/deep/b.toml": "y = 2.5\n",
}
_SECOND = {
    "params.yaml": "lr: 0.01\nopt:\n  n: 3\n  deep: {a: 2, b: [1, 3]}\nflag: false\nnew: text\n",
    "other.json": '{"seed": 8, "deep": {"list": [1, 5]}}',
    "whole.toml": 'name = "y"\n[part]\nvalue = 1.5\n',
    "sub/p.py": "rate = 0.25\nclass Net:\n    width = 4\n",
    "sub/n.yaml": "f1: 0.5\nnested: {a: 1, b: 3}\n",
    "conf.yaml": "net:\n  size: 4\n  name: small\n",
    "m.json": '{"acc": 0.75, "loss": 0.333333333, "name": "b", "ok": false, "more": 12345678.123456789}',
    "reports/a.json": '{"x": 2}',
}
_BROKEN = {
    "m.json": '{"acc": ',
    "extra/eval.yaml": "a: [1\n",
    "reports/deep/b.toml": "y = \n",
    "sub/n.yaml": "[1, 2]\n",
}
_UNREADABLE = {"dvc.yaml": "stages:\n  train:\n    nonsense: 1\n"}
_HERE = {**_SECOND, "m.json": '{"acc": 0.8, "loss": 0.25}', "params.yaml": "lr: 0.02\nflag: false\n"}


def _write(world: World, files: dict[str, str]) -> None:
    for path, text in files.items():
        os.makedirs(os.path.dirname(world.path("repo", path)), exist_ok=True)
        with open(world.path("repo", path), "w", encoding="utf-8") as stream:
            stream.write(text)


def _commit(world: World, files: dict[str, str], hour: int) -> None:
    _write(world, files)
    world.env["GIT_COMMITTER_DATE"] = f"2024-02-01T{hour:02d}:00:00 +0000"
    world.run_git("add -A")
    world.run_git("commit -q --allow-empty -m more")


@pytest.fixture(scope="module")
def world(
    real_dvc: RealDvc, templates: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> World:
    """A repository whose versions are complete, changed, half broken, and not to be understood."""
    root = str(tmp_path_factory.mktemp("metrics") / "world")
    shutil.copytree(templates("empty"), root, symlinks=True)
    made = World(root, KIST, real_dvc)
    _commit(made, _FIRST, 1)
    made.run_git("tag v1")
    made.run_git("branch old")
    _commit(made, _SECOND, 2)
    made.run_git("tag v2")
    made.run_git("branch same")
    _commit(made, _BROKEN, 3)
    made.run_git("tag broken")
    _commit(made, {**_SECOND, **_FIRST, **_UNREADABLE}, 4)
    made.run_git("tag unreadable")
    _commit(made, {**_FIRST, **_SECOND}, 5)
    _write(made, _HERE)
    return made


def _both(world: World, line: str, cwd: str) -> tuple[Result, Result]:
    words = shlex.split(line)
    return world.run(words, cwd, by=DVC), world.run(words, cwd, by=KIST)


def _without_sentences(value: Any) -> Any:
    """Returns JSON without the sentences of errors, which are each tool's own."""
    if isinstance(value, dict):
        return {
            key: None if key == "msg" and set(value) == {"type", "msg"} else _without_sentences(item)
            for key, item in value.items()
        }
    return value


_SAME = """\
metrics show
metrics show -aT
metrics show -A --md
metrics show -a --precision 2
metrics show m.json sub
metrics show reports/a.json -T --precision 0
metrics diff nope
metrics diff v1 v2 --targets m.json
metrics diff --targets m.json --md
metrics diff same main
metrics diff same main --md
metrics diff v1 --targets m.json --no-path
metrics diff --all --targets m.json --precision 2
params diff v1 --targets params.yaml --md --no-path
params diff v1 v2 --targets other.json --all
params diff same main --json
""".splitlines()


@pytest.mark.parametrize("line", _SAME)
def test_text_is_dvcs_byte_for_byte(world: World, line: str) -> None:
    dvc, kist = _both(world, line, "repo")
    assert kist[:2] == dvc[:2]


_AS_JSON = """\
metrics show --json
metrics show -aT --json
metrics show -A --json
metrics show nope.json --json
metrics diff v1 v2 --json
metrics diff v1 v2 --all --json
metrics diff v2 broken --json
metrics diff v1 unreadable --json
metrics diff workspace v1 --json
params diff v1 v2 --json
params diff v1 --all --json
params diff v1 --deps --json
params diff v1 --targets cfg/extra.yaml whole.toml --json
params diff v1 unreadable --json
""".splitlines()


@pytest.mark.parametrize("line", _AS_JSON)
def test_json_says_what_dvcs_says(world: World, line: str) -> None:
    dvc, kist = _both(world, line, "repo")
    assert kist.code == dvc.code
    expected, found = json.loads(dvc.stdout), json.loads(kist.stdout)
    assert _without_sentences(found) == _without_sentences(expected)
    if "show" in line:
        assert list(found) == list(expected)
    assert bool(kist.stderr) == bool(dvc.stderr)


@pytest.mark.parametrize("line", ["metrics show --json", "metrics diff v1 --json", "params diff v1 --json"])
def test_paths_are_those_of_the_persons_folder(world: World, line: str) -> None:
    dvc, kist = _both(world, line, "repo/sub")
    assert json.loads(kist.stdout) == json.loads(dvc.stdout)


def test_the_rows_of_many_files_are_dvcs_in_another_order(world: World) -> None:
    for line in ("metrics diff v1", "params diff v1 v2 --md", "params diff --all"):
        dvc, kist = _both(world, line, "repo")
        assert sorted(kist.stdout.splitlines()) == sorted(dvc.stdout.splitlines())


def test_metrics_that_git_does_not_have_come_from_the_cache(
    real_dvc: RealDvc, templates: Callable[[str], str], tmp_path: Path
) -> None:
    root = str(tmp_path / "world")
    shutil.copytree(templates("empty"), root, symlinks=True)
    world = World(root, KIST, real_dvc)
    stages = "stages:\n  s:\n    cmd: mkdir d && cp params.yaml d/m.yaml && echo 2 > m.json\n"
    _write(
        world,
        {
            "params.yaml": "a: 1\n",
            "dvc.yaml": stages + "    outs: [d]\n    metrics: [m.json]\nmetrics: [d/m.yaml]\n",
        },
    )
    assert world.run(["repro"], "repo", by=DVC).code == 0
    _commit(world, {}, 1)
    os.unlink(world.path("repo", "m.json"))
    shutil.rmtree(world.path("repo", "d"))
    for line in ("metrics show --json", "metrics show -a --json", "metrics show d --json"):
        dvc, kist = _both(world, line, "repo")
        assert json.loads(kist.stdout) == json.loads(dvc.stdout)


def test_without_commits_without_git_and_without_a_repository_it_ends_as_dvc_does(
    real_dvc: RealDvc, tmp_path: Path
) -> None:
    world = World(str(tmp_path / "world"), KIST, real_dvc)
    _write(world, {"m.json": '{"acc": 1}'})
    for line in ("metrics show m.json", "metrics show -a", "metrics diff"):
        dvc, kist = _both(world, line, "repo")
        assert kist[:2] == dvc[:2], line
    world.run_git("init -q -b main")
    for line in ("metrics diff", "metrics show m.json --json", "params diff --json", "metrics show"):
        dvc, kist = _both(world, line, "repo")
        assert kist[:2] == dvc[:2], line

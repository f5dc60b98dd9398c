"""`exp show` and `exp diff`: rows, columns, order, and a table that fits the terminal."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from kist.testing.project import Project

from .helpers import copy_of
from .test_exp import run

METRICS = '{"acc": %s, "same": 1, "long_metric_name": 0.123456789}'


def experiment(project: Project, name: str, lr: float) -> None:
    """Makes an experiment without running anything."""
    project.write({"params.yaml": f"lr: {lr}\nseed: 7\n", "metrics.json": METRICS % (1 - lr)})
    project.kist("exp", "save", "-q", "-n", name)
    project.git("checkout", "-q", ".")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(str(tmp_path_factory.mktemp("made") / "project"))
    project.write(
        {
            "dvc.yaml": "metrics: [metrics.json]\nparams: [params.yaml]\n",
            "params.yaml": "lr: 0.5\nseed: 7\n",
            "metrics.json": METRICS % 0.5,
        }
    )
    project.commit()
    for name, lr in (("low", 0.1), ("high", 0.9), ("middle", 0.3)):
        experiment(project, name, lr)
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    return copy_of(made, tmp_path)


def rows(project: Project, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run(project, "exp", "show", "--csv", *words).stdout)))


def names(project: Project, *words: str) -> list[str]:
    return [row["Experiment"] for row in rows(project, *words) if row["typ"] != "baseline"]


def test_each_experiment_is_a_row_below_its_baseline(project: Project) -> None:
    found = rows(project)
    assert [row["rev"] for row in found[:1]] == ["workspace"]
    assert sorted(names(project)) == ["high", "low", "middle"]
    assert {row["Experiment"]: row["lr"] for row in found}["high"] == "0.9"
    assert [row["typ"] for row in found] == [
        "baseline",
        "baseline",
        "branch_commit",
        "branch_commit",
        "branch_base",
    ]


def test_experiments_are_sorted_by_a_value(project: Project) -> None:
    assert names(project, "--sort-by", "lr") == ["low", "middle", "high"]
    assert names(project, "--sort-by", "metrics.json:acc") == ["high", "middle", "low"]
    assert names(project, "--sort-by", "lr", "--sort-order", "desc") == ["high", "middle", "low"]
    assert "no experiment has" in run(project, "exp", "show", "--sort-by", "nope", code=255).stderr


def test_columns_are_dropped_kept_and_only_shown_where_they_differ(project: Project) -> None:
    def columns(*words: str) -> set[str]:
        return set(rows(project, *words)[0]) & {"lr", "seed", "acc", "same", "long_metric_name"}

    assert columns() == {"lr", "seed", "acc", "same", "long_metric_name"}
    assert columns("--only-changed") == {"lr", "acc"}
    assert columns("--only-changed", "--keep", "sa") == {"lr", "acc", "same"}
    assert columns("--drop", "l|s") == {"acc"}
    assert "cannot understand the pattern" in run(project, "exp", "show", "--drop", "(", code=255).stderr


def test_the_workspace_may_be_hidden_and_names_too(project: Project) -> None:
    assert rows(project, "--hide-workspace")[0]["rev"] != "workspace"
    assert len(rows(project, "--sha")[1]["rev"]) == 7


def test_a_version_that_cannot_be_read_is_shown_as_such(project: Project) -> None:
    project.write({"dvc.yaml": "stages: 3\n"})
    project.git("commit", "-qam", "broken")
    found = json.loads(run(project, "exp", "show", "--json", "-n", "2").stdout)
    assert [base["data"] is None for base in found] == [True, True, False]
    assert found[1]["error"]["msg"]
    assert len(found[2]["experiments"]) == 3
    assert "!" in run(project, "exp", "show", "-n", "2").stdout


def test_differences_of_two_experiments_and_of_the_workspace(project: Project) -> None:
    found = json.loads(run(project, "exp", "diff", "low", "high", "--json").stdout)
    assert found["params"] == {"params.yaml": {"lr": {"old": 0.1, "new": 0.9, "diff": 0.8}}}
    assert set(found["metrics"]["metrics.json"]) == {"acc"}
    assert json.loads(run(project, "exp", "diff", "--json").stdout) == {"metrics": {}, "params": {}}
    assert "seed" in run(project, "exp", "diff", "low", "--all").stdout
    assert "cannot find revision" in run(project, "exp", "diff", "nope", code=255).stderr


def screen(project: Project, width: int, *words: str) -> list[str]:
    """Returns what the table looks like on a terminal of some width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "kist.cli.main", "exp", "show", *words],
        cwd=project.root,
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
    )
    os.close(theirs)
    data = b""
    try:
        while chunk := os.read(ours, 4096):
            data += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return data.decode().splitlines()


def test_the_table_fits_the_terminal_and_shows_what_differs_first(project: Project) -> None:
    wide = screen(project, 120)
    assert wide[0].split() == ["Experiment", "Created", "acc", "lr", "same", "long_metric_name", "seed"]
    narrow = screen(project, 54)
    assert all(len(line) <= 54 for line in narrow[:6])
    assert narrow[0].split() == ["Experiment", "Created", "acc", "lr", "same"]
    assert "long_metric_name" in narrow[-1]

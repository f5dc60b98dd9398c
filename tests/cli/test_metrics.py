"""`metrics` and `params` at the command line; what equals DVC's is held in tests/compat."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.testing.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two versions of metrics and parameters, the first one is called v1."""
    made = Project(str(tmp_path / "project"))
    made.write(
        {
            "dvc.yaml": "metrics:\n- m.json\n- reports\nparams:\n- sub/p.toml\n",
            "m.json": '{"acc": 0.5}',
            "reports/r.yaml": "f1: 0.25\n",
            "params.yaml": "lr: 0.1\n",
            "sub/p.toml": "n = 1\n",
        }
    )
    made.commit()
    made.git("tag", "v1")
    made.write({"m.json": '{"acc": 0.75}', "params.yaml": "lr: 0.2\n", "sub/p.toml": "n = 2\n"})
    made.commit()
    return made


def test_versions_stand_side_by_side(project: Project) -> None:
    lines = project.kist("metrics", "show", "-T").out.splitlines()
    assert lines == [
        "Revision    Path            acc    f1",
        "workspace   m.json          0.75   -",
        "workspace   reports/r.yaml  -      0.25",
        "v1          m.json          0.5    -",
        "v1          reports/r.yaml  -      0.25",
    ]


def test_every_commit_is_read_and_the_workspace_is_first(project: Project) -> None:
    found = json.loads(project.kist("metrics", "show", "-A", "--json").out)
    head, first = project.git("rev-list", "HEAD").split()
    assert list(found) == ["workspace", head, first]
    assert found[first]["data"]["m.json"] == {"data": {"acc": 0.5}}


def test_one_unreadable_file_does_not_hide_the_others(project: Project) -> None:
    project.write({"m.json": "{"})
    answer = project.kist("metrics", "show", "--json")
    data = json.loads(answer.out)[""]["data"]
    assert data["m.json"]["error"]["type"] == "JSONFileCorruptedError"
    assert data["reports/r.yaml"] == {"data": {"f1": 0.25}}
    assert "warning: could not read all metrics of 'workspace'" in answer.err


def test_paths_below_are_as_the_person_would_write_them(project: Project) -> None:
    assert "../params.yaml" in project.kist("params", "diff", "v1", cwd="sub").out
    assert "p.toml" in project.kist("params", "diff", "v1", "--targets", "p.toml", cwd="sub").out
    assert "n " in project.kist("params", "diff", "v1", "--targets", "sub/p.toml", cwd="reports").out


def test_an_unknown_revision_ends_with_255_and_a_hint(project: Project) -> None:
    answer = project.try_kist("metrics", "diff", "nope")
    assert answer.code == 255
    assert answer.out == ""
    assert "cannot find revision 'nope'" in answer.err
    assert "hint: " in answer.err


def test_old_spellings_of_options_are_known(project: Project) -> None:
    assert (
        project.kist("metrics", "diff", "v1", "--show-json").out
        == project.kist("metrics", "diff", "v1", "--json").out
    )
    assert project.kist("metrics", "show", "--show-md").out.startswith("| Path")


def test_a_tracked_metric_of_a_commit_comes_from_the_cache(project: Project) -> None:
    project.write({"big.json": '{"size": 1}', "many/a.json": '{"x": 5}'})
    project.kist("add", "-q", "big.json", "many")
    project.write({"dvc.yaml": "metrics:\n- big.json\n- many/a.json\n"})
    project.commit()
    os.unlink(project.path("big.json"))
    (version,) = [
        v
        for name, v in json.loads(project.kist("metrics", "show", "-A", "--json").out).items()
        if name != "workspace"
    ][:1]
    assert version["data"] == {"big.json": {"data": {"size": 1}}, "many/a.json": {"data": {"x": 5}}}


def test_a_metric_that_is_nowhere_is_an_error_of_its_own(project: Project) -> None:
    found = json.loads(project.kist("metrics", "show", "nope.json", "--json").out)
    assert found[""]["data"]["nope.json"]["error"]["type"] == "FileNotFoundError"


def test_values_cannot_drive_the_terminal(project: Project) -> None:
    project.write({"m.json": '{"acc": "\\u001b[2J"}'})
    assert "\x1b" not in project.kist("metrics", "show").out


def test_a_commit_without_our_folder_is_left_out(tmp_path: Path) -> None:
    outer = Project(str(tmp_path / "outer"))
    outer.commit()
    os.makedirs(outer.path("inner"))
    inner = Project.at(outer.path("inner"))
    inner.kist("init", "-q", "--subdir")
    inner.write({"dvc.yaml": "metrics: [m.json]\n", "m.json": '{"a": 1}'})
    outer.commit()
    found = json.loads(inner.kist("metrics", "show", "-A", "--json").out)
    assert len(found) == 2
    assert all(version == {"data": {"m.json": {"data": {"a": 1}}}} for version in found.values())

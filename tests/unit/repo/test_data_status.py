"""`data status` where DVC gives no measure: targets from elsewhere, and what is remembered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kist.testing.project import Project


def seen(project: Project, *words: str, cwd: str = "") -> Any:
    """Returns the JSON of `data status --granular`."""
    return json.loads(project.kist("data", "status", "--granular", "--json", *words, cwd=cwd).out)


@pytest.mark.parametrize(
    ("cwd", "target"),
    [
        ("", "."),
        ("", "./data"),
        ("data", "."),
        ("data", "one.txt"),
        ("sub", "../data"),
        ("sub", "data/one.txt"),
    ],
)
def test_a_target_that_means_nothing_from_the_root_is_taken_from_here(
    project: Project, cwd: str, target: str
) -> None:
    project.write({"data/one.txt": "changed\n"})
    assert "data/one.txt" in seen(project, target, cwd=cwd)["uncommitted"]["modified"]


def test_a_target_outside_means_nothing(project: Project, tmp_path: Path) -> None:
    project.write({"data/one.txt": "changed\n"})
    assert seen(project, str(tmp_path)) == {}
    assert seen(project, "..") == {}


def test_what_was_not_asked_of_a_remote_yet_counts_as_not_there(project: Project, tmp_path: Path) -> None:
    project.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    project.kist("push", "--quiet")
    not_asked = seen(project, "--not-in-remote", "--no-remote-refresh")
    assert "data/deep/three.txt" in not_asked["not_in_remote"]
    assert seen(project, "--not-in-remote") == {}
    shutil.rmtree(tmp_path / "remote")
    assert seen(project, "--not-in-remote", "--no-remote-refresh") == {}
    shutil.rmtree(project.path(".dvc/tmp"))
    assert seen(project, "--not-in-remote", "--no-remote-refresh") == not_asked


def test_a_look_without_changes_reads_no_manifest(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(project)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a manifest was parsed")

    monkeypatch.setattr("kist.repo.manifests.parse_manifest", refuse)
    assert seen(project) == {}


def test_status_of_the_remote_looks_into_directories_and_leaves_the_cache_alone(
    project: Project, tmp_path: Path
) -> None:
    project.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    project.kist("push", "--quiet")
    shutil.rmtree(project.path(".dvc/cache"))
    for _ in range(2):
        found = json.loads(project.kist("status", "-c", "--json", "data").out)
        assert found == {f"data/{name}": "deleted" for name in ("one.txt", "two.txt", "deep/three.txt")}
    assert project.objects() == {}
    shutil.rmtree(tmp_path / "remote")
    assert json.loads(project.kist("status", "-c", "--json", "data").out)["data"] == "missing"

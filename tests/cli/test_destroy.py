"""`kist destroy`: wording, exit status and effect."""

from __future__ import annotations

import os

import pytest

from kist.testing.project import Project


def test_without_force_and_without_a_terminal_nothing_happens(project: Project) -> None:
    answer = project.try_kist("destroy")
    assert answer.code == 1
    assert answer.out == ""
    assert "removes 3 metafiles" in answer.err
    assert "with 6 objects" in answer.err
    assert answer.err.endswith(
        "error: cannot destroy the repository: not confirmed\nhint: kist destroy --force\n"
    )
    assert project.exists(".dvc/config")
    assert project.exists("data.dvc")


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_the_data_stays_and_all_else_goes(project: Project, link: str) -> None:
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    project.write({"dvc.yaml": "stages:\n  make:\n    cmd: make\n", "dvc.lock": "schema: '2.0'\n"})
    answer = project.kist("destroy", "--force", cwd="sub")
    assert answer.out == answer.err == ""
    files = {name for name in os.listdir(project.root) if name != ".git"}
    assert files == {"data", "model.bin", "sub", "code.py", ".gitignore"}
    assert project.files("data") == {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}
    assert project.files("sub") == {"table.csv": "a,b\n", ".gitignore": "/table.csv\n"}
    project.write({"model.bin": "writable"})
    assert project.try_kist("status").code == 253


def test_a_cache_elsewhere_stays(project: Project, tmp_path: object) -> None:
    elsewhere = os.path.join(str(tmp_path), "shared")
    project.kist("cache", "dir", elsewhere)
    project.kist("add", "--quiet", "data")
    project.kist("config", "cache.type", "symlink")
    project.kist("checkout", "--relink", "data")
    project.kist("destroy", "-f")
    assert set(os.listdir(elsewhere)) == {"files", "kist-projects"}
    assert os.listdir(os.path.join(elsewhere, "kist-projects")) == []
    assert not os.path.islink(project.path("data/one.txt"))
    assert not project.exists(".dvc")


def test_data_of_other_versions_that_links_into_the_cache_is_kept(project: Project) -> None:
    project.kist("config", "cache.type", "symlink")
    project.kist("checkout", "--relink")
    os.unlink(project.path("model.bin.dvc"))
    project.kist("destroy", "-f")
    assert project.read("model.bin") == "model\n"
    assert not os.path.islink(project.path("model.bin"))


def test_a_metafile_that_cannot_be_read_stops_it(project: Project) -> None:
    project.write({"model.bin.dvc": "nonsense\n"})
    answer = project.try_kist("destroy", "-f")
    assert answer.code == 1
    assert "model.bin.dvc" in answer.err
    assert project.exists(".dvc/cache")
    assert project.exists("data.dvc")


def test_outside_of_a_repository_it_says_so(project: Project) -> None:
    project.kist("destroy", "-f")
    assert project.try_kist("destroy", "-f").code == 253

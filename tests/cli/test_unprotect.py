"""`kist unprotect`: wording, exit status and effect."""

from __future__ import annotations

import os

import pytest

from kist.testing.project import Project


def linked(project: Project, link: str) -> None:
    """Makes all data links into the cache."""
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    path = project.path("data/one.txt")
    assert os.path.islink(path) if link == "symlink" else os.stat(path).st_nlink > 1


def is_private(project: Project, rel: str) -> bool:
    """Says whether a file shares its bytes with no other, and can be written."""
    status = os.lstat(project.path(rel))
    return not os.path.islink(project.path(rel)) and status.st_nlink == 1 and bool(status.st_mode & 0o200)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_become_private_copies_and_nothing_is_printed(project: Project, link: str) -> None:
    linked(project, link)
    before = project.files("data")
    answer = project.kist("unprotect", "data", "model.bin")
    assert answer.out == answer.err == ""
    assert project.files("data") == before
    for rel in ("data/one.txt", "data/two.txt", "data/deep/three.txt", "model.bin"):
        assert is_private(project, rel)
    assert "up to date" in project.kist("status").out


def test_only_what_is_named_changes(project: Project) -> None:
    linked(project, "symlink")
    project.kist("unprotect", "deep", cwd="data")
    assert is_private(project, "data/deep/three.txt")
    assert os.path.islink(project.path("data/one.txt"))


def test_a_folder_above_outputs_means_all_of_them(project: Project) -> None:
    linked(project, "hardlink")
    project.kist("unprotect", ".")
    assert is_private(project, "sub/table.csv")
    assert is_private(project, "data/one.txt")


def test_links_that_lead_elsewhere_stay_links(project: Project) -> None:
    os.symlink(project.path("code.py"), project.path("data/mine"))
    project.kist("unprotect", "data")
    assert os.path.islink(project.path("data/mine"))


def test_a_missing_target_is_an_error(project: Project) -> None:
    answer = project.try_kist("unprotect", "nothing")
    assert answer.code == 255
    assert answer.err.startswith("error: cannot unprotect 'nothing': it does not exist\n")


def test_links_to_lost_objects_are_named_after_the_others_are_copied(project: Project) -> None:
    linked(project, "symlink")
    os.unlink(os.readlink(project.path("data/one.txt")))
    answer = project.try_kist("unprotect", "data")
    assert answer.code == 255
    assert "'data/one.txt': the cache does not hold what it links to" in answer.err
    assert is_private(project, "data/two.txt")
    assert os.path.islink(project.path("data/one.txt"))


def test_no_target_is_a_usage_error(project: Project) -> None:
    assert project.try_kist("unprotect").code == 254

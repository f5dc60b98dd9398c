"""Counting sizes without rendering."""

from __future__ import annotations

import os
import shutil

from kist.repo.du import Usage, usage
from kist.repo.listing import View
from kist.testing.project import Project


def test_metafiles_do_not_count(project: Project) -> None:
    project.write({"dvc.yaml": "stages:\n  s:\n    cmd: make\n", "sub/.dvcignore": "x\n"})
    names = [row.name for row in usage(View(project.repository()), "", is_dir=True)]
    assert names == [".gitignore", "code.py", "data", "model.bin", "sub", ""]
    assert usage(View(project.repository()), "sub", is_dir=True)[-1] == Usage("", 15)


def test_the_parts_make_the_sum(project: Project) -> None:
    rows = usage(View(project.repository()), "", is_dir=True)
    assert sum(row.size_bytes for row in rows[:-1]) == rows[-1].size_bytes > 0


def test_a_missing_part_of_a_directory_counts_by_its_object(project: Project) -> None:
    os.unlink(project.path("data/one.txt"))
    assert usage(View(project.repository()), "data", is_dir=True)[-1] == Usage("", 14)


def test_objects_that_nobody_has_count_nothing(project: Project) -> None:
    project.kist("status")
    shutil.rmtree(project.path("data/deep"))
    shutil.rmtree(project.path(".dvc/cache"))
    rows = usage(View(project.repository()), "data", is_dir=True)
    assert rows == [Usage("deep", 0), Usage("one.txt", 4), Usage("two.txt", 4), Usage("", 8)]


def test_without_its_manifest_a_directory_counts_by_what_is_there(project: Project) -> None:
    project.write({"data/new.txt": "12345"})
    shutil.rmtree(project.path(".dvc/cache"))
    shutil.rmtree(project.path(".dvc/tmp"))
    rows = usage(View(project.repository()), "", is_dir=True)
    assert Usage("data", 19) in rows

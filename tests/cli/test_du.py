"""`kist du`: output and exit status."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from kist.cli.elsewhere import short_size
from kist.testing.project import Project


def test_sizes_by_name_and_the_sum_last(project: Project) -> None:
    project.write({"large": "x" * 1500})
    assert project.kist("du", ".").out == (
        "17     .gitignore\n8      code.py\n14     data\n1.46k  large\n6      model.bin\n15     sub\n1.52k\n"
    )
    assert (
        project.kist("du", ".", "data").out == "6   data/deep\n4   data/one.txt\n4   data/two.txt\n14  data\n"
    )
    assert project.kist("du", ".", "./data/", "-s").out == "14  ./data/\n"
    assert project.kist("du", ".", "-s").out == "1.52k\n"
    assert project.kist("du", ".", "data/one.txt").out == "4  data/one.txt\n"


def test_data_that_is_only_in_the_cache_counts(project: Project) -> None:
    shutil.rmtree(project.path("data"))
    os.unlink(project.path("model.bin"))
    assert (
        project.kist("du", ".", "data").out == "6   data/deep\n4   data/one.txt\n4   data/two.txt\n14  data\n"
    )
    assert project.kist("du", ".", "model.bin").out == "6  model.bin\n"
    assert "14  data\n" in project.kist("du", ".").out


def test_files_that_are_not_tracked_count_where_they_are(project: Project) -> None:
    project.write({"data/new.txt": "12345"})
    assert project.kist("du", ".", "data", "-s").out == "19  data\n"


def test_a_revision(project: Project) -> None:
    project.kist("remove", "data.dvc", "--outs")
    project.write({"later": "1"})
    assert project.kist("du", ".", "--rev", "HEAD").out == (
        "17  .gitignore\n8   code.py\n14  data\n6   model.bin\n15  sub\n60\n"
    )
    assert (
        project.kist("du", ".", "data/deep", "--rev", "HEAD").out == "6  data/deep/three.txt\n6  data/deep\n"
    )
    assert project.try_kist("du", ".", "--rev", "nothing").code == 255


def test_json(project: Project) -> None:
    rows = json.loads(project.kist("du", ".", "data", "--json").out)
    assert rows[0] == {"path": "data/deep", "size": 6}
    assert rows[-1] == {"path": "data", "size": 14}


@pytest.mark.parametrize("words", [(".", "none"), ("none",), ("https://example.invalid/x",)])
def test_what_is_not_there_is_an_error(project: Project, words: tuple[str, ...]) -> None:
    answer = project.try_kist("du", *words)
    assert answer.code == 255
    assert answer.out == ""
    assert answer.err.startswith("error: cannot ")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, ""),
        (0, "0"),
        (1023, "1023"),
        (1024, "1.00k"),
        (10239, "10.0k"),
        (102399, "100k"),
        (1023000, "999k"),
        (1038000, "0.99M"),
        (1073741824000, "0.98T"),
        (3298534883328, "3.00T"),
    ],
)
def test_short_sizes_are_those_of_dvc(size: int | None, shown: str) -> None:
    assert short_size(size) == shown

"""`kist remove`: wording, exit status and effect."""

from __future__ import annotations

import os

import pytest

from kist.testing.project import Project

PIPELINE = """\
# about this pipeline
stages:
  first:
    cmd: make one   # how
    outs:
      - one.txt
  second:
    cmd: make two
    outs:
      - two.txt
"""


def test_the_metafile_and_its_ignore_line_go_and_the_data_stays(project: Project) -> None:
    answer = project.kist("remove", "model.bin.dvc")
    assert answer.out == answer.err == ""
    assert not project.exists("model.bin.dvc")
    assert project.read("model.bin") == "model\n"
    assert project.read(".gitignore") == "/data\n"


def test_an_ignore_file_that_would_be_empty_goes(project: Project) -> None:
    project.kist("remove", "table.csv.dvc", cwd="sub")
    assert project.files("sub") == {"table.csv": "a,b\n"}


def test_with_outs_the_data_goes_too(project: Project) -> None:
    project.write({"data/unsaved.txt": "never stored"})
    project.kist("remove", "data.dvc", "--outs")
    assert not project.exists("data")
    assert not project.exists("data.dvc")


def test_a_checkout_leaves_data_alone_that_is_not_tracked_any_more(project: Project) -> None:
    project.kist("remove", "data.dvc", "model.bin.dvc")
    project.kist("checkout")
    assert project.read("model.bin") == "model\n"
    assert project.read("data/deep/three.txt") == "three\n"


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_kept_data_is_no_longer_a_link_into_the_cache(project: Project, link: str) -> None:
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    project.kist("remove", "data.dvc", "model.bin.dvc")
    for rel in ("data/one.txt", "data/deep/three.txt", "model.bin"):
        path = project.path(rel)
        assert not os.path.islink(path)
        assert os.stat(path).st_nlink == 1
        with open(path, "a", encoding="utf-8") as stream:
            stream.write("more")
    assert project.read("model.bin") == "model\nmore"
    assert b"model\n" in project.objects().values()


def test_targets_before_a_wrong_one_are_removed_and_those_after_it_stay(project: Project) -> None:
    answer = project.try_kist("remove", "model.bin.dvc", "nothing.dvc", "data.dvc")
    assert answer.code == 1
    assert answer.err.startswith("error: cannot remove 'nothing.dvc': it does not exist\n")
    assert not project.exists("model.bin.dvc")
    assert project.read(".gitignore") == "/data\n"
    assert project.exists("data.dvc")


def test_an_output_as_target_is_refused_with_the_name_of_its_metafile(project: Project) -> None:
    answer = project.try_kist("remove", "data")
    assert answer.code == 1
    assert answer.err.endswith("hint: kist remove data.dvc\n")
    assert project.exists("data.dvc")


def test_no_target_is_a_usage_error(project: Project) -> None:
    assert project.try_kist("remove").code == 254


def test_nothing_is_staged_even_with_autostage(project: Project) -> None:
    project.kist("config", "core.autostage", "true")
    before = project.git("diff", "--cached", "--name-status")
    project.kist("remove", "model.bin.dvc")
    assert project.git("diff", "--cached", "--name-status") == before
    assert "D\tmodel.bin.dvc" in project.git("diff", "--name-status").splitlines()


def test_a_stage_goes_from_pipeline_and_lock_and_comments_stay(project: Project) -> None:
    lock = "schema: '2.0'\nstages:\n  first:\n    cmd: make one\n  second:\n    cmd: make two\n"
    project.write(
        {"dvc.yaml": PIPELINE, "dvc.lock": lock, "one.txt": "1", ".gitignore": "/one.txt\n/two.txt\n"}
    )
    project.kist("remove", "second")
    assert project.read("dvc.yaml") == PIPELINE[: PIPELINE.index("  second")].replace(
        "      - one", "    - one"
    )
    assert project.read("dvc.lock") == lock[: lock.index("  second")]
    assert project.read(".gitignore") == "/one.txt\n"
    project.kist("remove", "dvc.yaml:first")
    assert not project.exists("dvc.yaml")
    assert not project.exists("dvc.lock")
    assert project.read("one.txt") == "1"


def test_a_pipeline_file_with_more_than_stages_outlives_the_last_one(project: Project) -> None:
    project.write({"dvc.yaml": "stages:\n  only:\n    cmd: make\nartifacts:\n  best:\n    path: model.bin\n"})
    project.kist("remove", "dvc.yaml")
    assert project.read("dvc.yaml") == "artifacts:\n  best:\n    path: model.bin\n"


def test_a_stage_that_a_template_makes_is_refused(project: Project) -> None:
    text = "stages:\n  each:\n    foreach: [a, b]\n    do:\n      cmd: make ${item}\n"
    project.write({"dvc.yaml": text})
    for target in ("each@a", "each", "dvc.yaml"):
        answer = project.try_kist("remove", target)
        assert answer.code == 1
        assert "the template 'each' makes it" in answer.err
    assert project.read("dvc.yaml") == text


def test_data_behind_a_symbolic_link_is_not_touched(project: Project) -> None:
    project.write({"elsewhere/file": "mine", "way.dvc": "outs:\n- path: way/file\n  hash: md5\n"})
    os.symlink(project.path("elsewhere"), project.path("way"))
    answer = project.try_kist("remove", "way.dvc", "--outs")
    assert answer.code == 1
    assert "is a symbolic link" in answer.err
    assert project.read("elsewhere/file") == "mine"

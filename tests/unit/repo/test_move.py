"""Moving: what is left for later commands, and what a rerun does after each step of a killed run."""

from __future__ import annotations

import os

import pytest

from kist.formats.records import MD5
from kist.repo.data import look_at
from kist.repo.move import move
from kist.testing.project import Project


@pytest.mark.parametrize("path", ["data", "model.bin"])
def test_moved_data_need_not_be_read_again(project: Project, path: str) -> None:
    project.kist("checkout", "--relink")
    repository = project.repository()
    known = look_at(repository, [(path, MD5)], read=False)[0].snapshot
    assert known is not None
    move(repository, path, "moved")
    snapshot = look_at(repository, [("moved", MD5)], read=False)[0].snapshot
    assert snapshot is not None
    assert snapshot.unread == known.unread
    repository.close()


@pytest.mark.parametrize("path", ["data", "model.bin"])
@pytest.mark.parametrize("target", ["moved", "sub"])
@pytest.mark.parametrize("step", ["ignored", "renamed", "written"])
def test_the_same_command_finishes_what_a_kill_left(
    project: Project, path: str, target: str, step: str
) -> None:
    new = f"sub/{path}" if target == "sub" else target
    expected = project.files("data") if path == "data" else {"": "model\n"}
    old_metafile = project.read(f"{path}.dvc")
    folder = os.path.dirname(new)
    with open(project.path(os.path.join(folder, ".gitignore")), "a", encoding="utf-8") as stream:
        stream.write(f"/{os.path.basename(new)}\n")
    if step != "ignored":
        os.rename(project.path(path), project.path(new))
    if step == "written":
        name = os.path.basename(new)
        project.write({f"{new}.dvc": old_metafile.replace(f"path: {path}", f"path: {name}")})
    project.kist("move", path, target)
    found = project.files(new) if path == "data" else {"": project.read(new)}
    assert found == expected
    assert not project.exists(path)
    assert not project.exists(f"{path}.dvc")
    assert f"/{path}\n" not in project.read(".gitignore")
    assert "up to date" in project.kist("status").out


def test_edited_data_is_found_again_by_the_rerun(project: Project) -> None:
    project.write({"data/one.txt": "edited", ".gitignore": "/data\n/model.bin\n/moved\n"})
    os.rename(project.path("data"), project.path("moved"))
    project.kist("move", "data", "moved")
    assert project.read("moved/one.txt") == "edited"
    assert not project.exists("moved/data.dvc")


def test_another_metafile_at_the_new_place_is_not_written_over(project: Project) -> None:
    project.write(
        {"moved.dvc": "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: md5\n  path: moved\n"}
    )
    answer = project.try_kist("move", "data", "moved")
    assert answer.code == 1
    assert project.read("moved.dvc").startswith("outs:\n- md5: d41d8")
    assert project.exists("data/one.txt")


def test_a_local_source_of_an_import_is_named_from_the_new_place(project: Project) -> None:
    md5 = "b026324c6904b2a9cb4b88d6d61c81d1"
    project.write({"imported": "1\n"})
    entry = f"- md5: {md5}\n  size: 2\n  hash: md5\n  path:"
    project.write({"imported.dvc": f"deps:\n{entry} code.py\nouts:\n{entry} imported\n"})
    project.kist("move", "imported", "sub")
    assert "path: ../code.py\n" in project.read("sub/imported.dvc")
    assert project.read("sub/imported") == "1\n"


def test_a_later_checkout_does_not_take_away_what_comes_to_the_old_place(project: Project) -> None:
    project.kist("move", "model.bin", "best.bin")
    project.write({"model.bin": "model\n"})
    project.kist("checkout")
    assert project.read("model.bin") == "model\n"


@pytest.mark.parametrize("path", ["data", "model.bin"])
def test_changed_data_is_stored_though_the_metafile_names_what_it_named(project: Project, path: str) -> None:
    changed = "data/one.txt" if path == "data" else path
    before = project.read(f"{path}.dvc")
    project.write({changed: "changed\n"})
    project.kist("move", path, "moved")
    assert b"changed\n" in project.objects().values()
    assert project.read("moved.dvc") == before.replace(f"path: {path}", "path: moved")
    assert "modified" in project.kist("status").out


def test_unchanged_data_is_not_stored_again(project: Project) -> None:
    before = project.objects()
    project.kist("move", "data", "moved")
    assert project.objects() == before

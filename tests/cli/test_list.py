"""`kist list`: output, exit status, and the arguments that name a repository."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest

from kist.testing.project import Project

TOP = [".dvcignore", ".gitignore", "code.py", "data", "data.dvc", "model.bin", "model.bin.dvc", "sub"]
INNER = ["data/deep/three.txt", "data/one.txt", "data/two.txt"]


def listed(project: Project, *words: str, cwd: str = "") -> list[str]:
    """Returns the lines of a listing."""
    return project.kist("list", *words, cwd=cwd).out.splitlines()


def entries(project: Project, *words: str) -> dict[str, dict[str, object]]:
    """Returns path -> entry of a listing as JSON."""
    rows = json.loads(project.kist("list", *words, "--json").out)
    return {row["path"]: row for row in rows}


def test_files_and_tracked_data_are_listed_by_name(project: Project) -> None:
    assert listed(project, ".") == TOP
    assert listed(project, ".", "data") == ["deep", "one.txt", "two.txt"]
    assert listed(project, ".", "data/deep") == ["three.txt"]
    assert listed(project, ".", "data/one.txt") == ["one.txt"]


def test_recursive_lists_files_in_the_order_of_their_paths(project: Project) -> None:
    found = listed(project, ".", "-R")
    assert found == sorted(found)
    assert set(found) == {*TOP, *INNER, "sub/.gitignore", "sub/table.csv", "sub/table.csv.dvc"} - {
        "data",
        "sub",
    }


def test_levels_cut_the_recursion(project: Project) -> None:
    assert listed(project, ".", "-R", "-L", "1") == TOP
    assert "data/deep" in listed(project, ".", "-R", "-L", "2")
    assert listed(project, ".", "-R", "-L", "0") == ["."]
    assert listed(project, ".", "-L", "5") == TOP
    answer = project.try_kist("list", ".", "-R", "-L", "-1")
    assert answer.code == 255


def test_only_tracked_data(project: Project) -> None:
    assert listed(project, ".", "--dvc-only") == ["data", "model.bin", "sub"]
    assert listed(project, ".", "-R", "--dvc-only") == [*INNER, "model.bin", "sub/table.csv"]


def test_a_tree(project: Project) -> None:
    assert project.kist("list", ".", "--tree", "--dvc-only").out == (
        ".\n"
        "├── data\n"
        "│   ├── deep\n"
        "│   │   └── three.txt\n"
        "│   ├── one.txt\n"
        "│   └── two.txt\n"
        "├── model.bin\n"
        "└── sub\n"
        "    └── table.csv\n"
    )
    assert listed(project, ".", "./data/", "-T", "-L", "1") == [
        "./data/",
        "├── deep",
        "├── one.txt",
        "└── two.txt",
    ]
    assert listed(project, ".", "data/one.txt", "-T") == ["data/one.txt"]
    assert project.try_kist("list", ".", "-T", "--json").code == 255


def test_json_entries(project: Project) -> None:
    os.chmod(project.path("code.py"), 0o755)
    found = entries(project, ".")
    assert found["model.bin"] == {
        "isout": True,
        "isdir": False,
        "isexec": False,
        "size": 6,
        "md5": hashlib.md5(b"model\n", usedforsecurity=False).hexdigest(),
        "path": "model.bin",
    }
    assert found["code.py"] == {
        "isout": False,
        "isdir": False,
        "isexec": True,
        "size": 8,
        "md5": None,
        "path": "code.py",
    }
    assert found["data"]["isout"] is True
    assert found["data"]["isdir"] is True
    assert str(found["data"]["md5"]).endswith(".dir")
    assert found["sub"]["isout"] is False


def test_columns_of_sizes_and_content_ids(project: Project) -> None:
    oid = str(entries(project, ".", "model.bin")["model.bin"]["md5"])
    project.write({"large": "x" * 1500})
    rows = listed(project, ".", "--size", "--show-hash")
    assert f"    6  {oid}      model.bin" in rows
    assert f"1.46k  {'-':36}  large" in rows
    assert listed(project, ".", "model.bin", "--size") == ["6  model.bin"]


def test_the_workspace_adds_to_what_is_tracked_and_missing_data_is_still_listed(project: Project) -> None:
    project.write({"data/new.txt": "new", "loose": "1"})
    os.unlink(project.path("data/one.txt"))
    shutil.rmtree(project.path("sub"))
    assert listed(project, ".", "data") == ["deep", "new.txt", "one.txt", "two.txt"]
    assert "loose" in listed(project, ".")
    found = entries(project, ".", "data")
    assert found["new.txt"]["isout"] is False
    assert found["one.txt"]["isout"] is True
    assert found["one.txt"]["size"] is None
    assert found["one.txt"]["md5"] in project.objects()


def test_what_dvcignore_excludes_and_other_repositories_are_left_out(project: Project) -> None:
    project.write({".dvcignore": "*.log\n", "run.log": "", "other/.dvc/config": "", "other/file": ""})
    assert listed(project, ".") == TOP
    assert listed(project, ".", "other") == ["file"]


def test_a_revision_shows_what_was_committed(project: Project) -> None:
    project.kist("remove", "data.dvc", "--outs")
    project.write({"later": "1"})
    assert listed(project, ".", "--rev", "HEAD") == TOP
    assert listed(project, ".", "data", "-R", "--rev", "HEAD") == ["deep/three.txt", "one.txt", "two.txt"]
    found = entries(project, ".", "--rev", "HEAD")
    assert found["code.py"]["size"] == 8
    assert found["data"]["isdir"] is True
    answer = project.try_kist("list", ".", "--rev", "nothing")
    assert answer.code == 1
    assert "nothing" in answer.err


def test_from_a_folder_names_start_there_and_paths_too(project: Project) -> None:
    assert listed(project, ".", cwd="sub") == [f"../{name}" for name in TOP]
    assert "table.csv" in listed(project, ".", "-R", cwd="sub")
    assert listed(project, "..", "../data", cwd="sub") == ["deep", "one.txt", "two.txt"]
    assert project.try_kist("list", "..", "data", cwd="sub").code == 1


def test_any_repository_on_this_machine_can_be_named(project: Project, tmp_path: object) -> None:
    other = Project(os.path.join(str(tmp_path), "other"))
    assert listed(other, project.root) == TOP
    assert listed(other, "../project", "data") == ["deep", "one.txt", "two.txt"]
    assert listed(other, project.root, project.path("sub")) == [".gitignore", "table.csv", "table.csv.dvc"]


def test_an_address_that_cannot_be_reached_is_told_with_a_way_out(project: Project) -> None:
    answer = project.try_kist("list", "http://127.0.0.1:1/project.git")
    assert answer.code == 1
    assert "cannot read 'http://127.0.0.1:1/project.git'" in answer.err
    assert "hint: git ls-remote http://127.0.0.1:1/project.git" in answer.err


@pytest.mark.parametrize(("words", "cause"), [((".", "none"), "no file"), (("none",), "no such folder")])
def test_a_path_that_is_not_there_is_an_error(project: Project, words: tuple[str, ...], cause: str) -> None:
    answer = project.try_kist("list", *words)
    assert answer.code == 1
    assert cause in answer.err


def test_a_manifest_that_the_cache_lacks_comes_from_the_remote(project: Project, tmp_path: object) -> None:
    project.kist("remote", "add", "store", os.path.join(str(tmp_path), "store"))
    project.kist("push")
    project.git("clone", "--quiet", project.root, os.path.join(str(tmp_path), "clone"))
    clone = Project.__new__(Project)
    clone.root = os.path.join(str(tmp_path), "clone")
    answer = clone.try_kist("list", ".", "data")
    assert answer.code == 1
    assert "its manifest" in answer.err
    before = os.listdir(clone.path(".dvc"))
    settings = os.path.join(str(tmp_path), "settings")
    with open(settings, "w", encoding="utf-8") as stream:
        stream.write(f"['remote \"store\"']\n    url = {os.path.join(str(tmp_path), 'wrong')}\n")
    right = f"url={os.path.join(str(tmp_path), 'store')}"
    words = ("list", ".", "data", "--config", settings, "--remote", "store")
    assert clone.try_kist(*words).code == 1
    assert clone.kist(*words, "--remote-config", right).out.split() == ["deep", "one.txt", "two.txt"]
    assert os.listdir(clone.path(".dvc")) == before, "who only looks leaves nothing behind"

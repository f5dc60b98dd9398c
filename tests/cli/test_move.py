"""`kist move`: wording, exit status and effect."""

from __future__ import annotations

import os

import pytest

from kist.testing.project import Project


def test_data_metafile_and_ignore_line_move_together(project: Project) -> None:
    before = project.read("model.bin.dvc")
    answer = project.kist("move", "model.bin", "best.bin")
    assert answer.out == (
        "\nTo track the changes with git, run:\n\n\tgit add .gitignore model.bin.dvc best.bin.dvc\n\n"
        "To enable auto staging, run:\n\n\tkist config core.autostage true\n"
    )
    assert project.read("best.bin") == "model\n"
    assert project.read("best.bin.dvc") == before.replace("model.bin", "best.bin")
    assert project.read(".gitignore") == "/data\n/best.bin\n"
    assert not project.exists("model.bin")
    assert not project.exists("model.bin.dvc")
    assert "up to date" in project.kist("status").out


def test_an_existing_folder_takes_the_data_in(project: Project) -> None:
    project.kist("move", "data", "sub")
    assert project.files("sub/data") == {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}
    assert "path: data\n" in project.read("sub/data.dvc")
    assert project.read("sub/.gitignore") == "/table.csv\n/data\n"
    assert "up to date" in project.kist("status").out


def test_paths_start_from_the_current_folder(project: Project) -> None:
    project.kist("move", "table.csv", "../table.csv", cwd="sub")
    assert project.read("table.csv") == "a,b\n"
    assert project.files("sub") == {}


def test_files_that_git_never_knew_are_not_in_the_hint(project: Project) -> None:
    project.write({"new.bin": "new"})
    project.kist("add", "new.bin")
    answer = project.kist("move", "new.bin", "newer.bin")
    assert "\tgit add .gitignore newer.bin.dvc\n" in answer.out


def test_comments_notes_and_a_working_directory_of_its_own_are_kept_right(project: Project) -> None:
    os.makedirs(project.path("meta"))
    text = project.read("model.bin.dvc").replace("outs:", "# ours\nwdir: ..\nouts:") + "meta:\n  owner: me\n"
    project.write({"meta/model.bin.dvc": text})
    os.unlink(project.path("model.bin.dvc"))
    project.kist("move", "model.bin", "sub")
    assert "wdir" not in project.read("sub/model.bin.dvc")
    assert "# ours" in project.read("sub/model.bin.dvc")
    assert project.read("sub/model.bin.dvc").endswith("meta:\n  owner: me\n")
    assert project.files("meta") == {}


def test_a_metafile_of_another_name_stays_and_names_the_new_path(project: Project) -> None:
    os.rename(project.path("model.bin.dvc"), project.path("named.dvc"))
    project.kist("move", "model.bin", "sub/best.bin")
    assert "path: sub/best.bin\n" in project.read("named.dvc")
    assert not project.exists("sub/best.bin.dvc")
    assert "up to date" in project.kist("status").out


def test_other_outputs_of_the_same_metafile_stay(project: Project) -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    outs = "".join(f"- md5: {md5}\n  size: 0\n  hash: md5\n  path: {name}\n" for name in ("a", "b"))
    project.write({"pair.dvc": f"outs:\n{outs}", "a": "", "b": ""})
    project.kist("move", "a", "c")
    assert "path: c\n" in project.read("pair.dvc")
    assert "path: b\n" in project.read("pair.dvc")


def test_data_that_is_missing_leaves_the_metafile_to_move(project: Project) -> None:
    os.unlink(project.path("model.bin"))
    answer = project.kist("move", "model.bin", "best.bin")
    assert answer.err == "warning: 'model.bin' is not in the workspace; its metafile alone was moved\n"
    project.kist("checkout")
    assert project.read("best.bin") == "model\n"


def test_data_moved_by_hand_is_taken_as_it_is(project: Project) -> None:
    os.rename(project.path("data"), project.path("moved"))
    project.kist("move", "data", "moved")
    assert "up to date" in project.kist("status").out
    assert not project.exists("data.dvc")


def test_moved_links_stay_links(project: Project) -> None:
    project.kist("config", "cache.type", "symlink")
    project.kist("checkout", "--relink")
    project.kist("move", "data", "moved")
    assert os.path.islink(project.path("moved/one.txt"))


def test_autostage_stages_the_move(project: Project) -> None:
    project.kist("config", "core.autostage", "true")
    answer = project.kist("move", "model.bin", "best.bin")
    assert answer.out == ""
    staged = project.git("diff", "--cached", "--name-only", "--no-renames").split()
    assert staged == [".gitignore", "best.bin.dvc", "model.bin.dvc"]


@pytest.mark.parametrize(
    ("source", "target", "cause"),
    [
        ("nothing", "other", "no '.dvc' file has it"),
        ("code.py", "other.py", "no '.dvc' file has it"),
        ("data/one.txt", "one.txt", "it is inside of 'data'"),
        ("data", "data", "it is the same, or inside of it"),
        ("data", "data/inner", "it is the same, or inside of it"),
        ("model.bin", "data", "'data.dvc' tracks 'data'"),
        ("model.bin", "code.py", "that path exists"),
        ("model.bin", "gone.py", "Git tracks it"),
        ("model.bin", "sub/table.csv", "that path exists"),
        ("model.bin", "none/model.bin", "there is no folder 'none'"),
        ("model.bin", "../model.bin", "outside of the repository"),
        ("model.bin", ".dvc/model.bin", "belongs to the repository itself"),
        ("model.bin", ".git/model.bin", "belongs to the repository itself"),
        ("model.bin", "excluded", "'.dvcignore' excludes it"),
        ("model.bin", "untracked", "that path exists"),
    ],
)
def test_what_cannot_be_moved_is_left_alone(project: Project, source: str, target: str, cause: str) -> None:
    project.write({".dvcignore": "/excluded\n", "untracked": "precious", "gone.py": ""})
    project.commit()
    os.unlink(project.path("gone.py"))
    project.git("rm", "--quiet", "--cached", "untracked")
    answer = project.try_kist("move", source, target)
    assert answer.code == 1
    assert cause in answer.err
    assert project.read("untracked") == "precious"
    assert project.read("code.py") == "print()\n"
    assert "up to date" in project.kist("status").out


def test_an_output_of_a_stage_is_refused(project: Project) -> None:
    project.write({"dvc.yaml": "stages:\n  make:\n    cmd: make\n    outs:\n      - out\n", "out": "1"})
    answer = project.try_kist("move", "out", "other")
    assert answer.code == 1
    assert "it is an output of stage 'dvc.yaml:make'" in answer.err


def test_a_place_on_another_file_system_is_named_with_a_way_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def rename(source: str, target: str) -> None:
        if source == project.path("model.bin"):
            raise OSError(18, "Invalid cross-device link", source)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    answer = project.try_kist("move", "model.bin", "best.bin")
    assert answer.code == 1
    assert "hint: mv model.bin best.bin && kist move model.bin best.bin" in answer.err
    assert project.read("model.bin") == "model\n"

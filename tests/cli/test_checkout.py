"""`checkout` and the second half of `pull`: what is refused, what is told, what stays the person's own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kist.testing.project import Project


@pytest.fixture
def changed(project: Project) -> Project:
    """The project with a second version of all data, gone back to the first in Git but not yet in data."""
    project.git("tag", "first")
    project.write(
        {"data/one.txt": "1\n", "data/new.txt": "new\n", "model.bin": "2\n", "sub/table.csv": "c\n"}
    )
    project.kist("add", "--quiet", "data", "model.bin", "sub/table.csv")
    project.commit()
    project.git("checkout", "--quiet", "first")
    return project


@pytest.fixture
def shared(project: Project) -> Project:
    """The project with a remote that has everything."""
    os.mkdir(project.path("../remote"))
    project.kist("remote", "add", "--default", "storage", "../remote")
    project.kist("push", "--quiet")
    return project


def test_one_unsaved_file_leaves_everything_as_it_is(changed: Project) -> None:
    changed.write({"model.bin": "mine\n", "data/mine.txt": "mine\n"})
    before = [changed.files("data"), changed.files("sub"), changed.read("model.bin")]
    answer = changed.try_kist("checkout", cwd="sub")
    assert (answer.code, answer.out) == (255, "")
    assert answer.err == (
        "error: cannot check out '../data', '../model.bin': '../data/mine.txt', '../model.bin' would be lost, "
        "for the cache does not have that content\n"
        "hint: keep it with `kist commit ../data ../model.bin`, or "
        "drop it with `kist checkout --force ../data ../model.bin`\n"
    )
    assert [changed.files("data"), changed.files("sub"), changed.read("model.bin")] == before


def test_of_many_unsaved_files_the_first_are_named_and_the_others_counted(changed: Project) -> None:
    changed.write({f"data/mine {number}": "mine\n" for number in range(7)})
    answer = changed.try_kist("checkout", "data")
    assert answer.code == 255
    assert (
        "'data/mine 0', 'data/mine 1', 'data/mine 2', 'data/mine 3', 'data/mine 4' and 2 more would"
        in answer.err
    )


def test_force_drops_what_is_unsaved(changed: Project) -> None:
    changed.write({"model.bin": "mine\n", "data/mine.txt": "mine\n"})
    assert changed.kist("checkout", "--force").out == "M\tdata/\nM\tmodel.bin\nM\tsub/table.csv\n"
    assert changed.files("data") == {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}


def test_unsaved_work_beside_the_targets_does_not_matter(changed: Project) -> None:
    changed.write({"model.bin": "mine\n", "data/new.txt": "mine\n"})
    assert changed.kist("checkout", "sub/table.csv", "data/one.txt").out == "M\tdata/\nM\tsub/table.csv\n"
    assert (changed.read("data/one.txt"), changed.read("data/new.txt")) == ("one\n", "mine\n")


def test_several_paths_inside_one_directory_are_checked_out_together(project: Project) -> None:
    for path in ("data/one.txt", "data/two.txt", "data/deep/three.txt"):
        os.unlink(project.path(path))
    assert project.kist("checkout", "data/deep", "data/one.txt").out == "M\tdata/\n"
    assert project.files("data") == {"one.txt": "one\n", "deep/three.txt": "three\n"}
    assert project.kist("checkout", "data/one.txt", "data").out == "M\tdata/\n"
    assert project.files("data") == {"one.txt": "one\n", "two.txt": "two\n", "deep/three.txt": "three\n"}
    assert project.kist("status").out == "Data and pipelines are up to date.\n"


def test_a_link_to_a_folder_is_refused_and_nothing_behind_it_is_touched(project: Project) -> None:
    os.rename(project.path("data"), project.path("elsewhere"))
    os.mkdir(project.path("elsewhere/empty"))
    os.unlink(project.path("elsewhere/one.txt"))
    os.symlink("elsewhere", project.path("data"))
    answer = project.try_kist("checkout", "data")
    assert (answer.code, answer.out) == (255, "")
    assert f"cannot write below '{project.path('data')}': it is a symbolic link" in answer.err
    assert sorted(os.listdir(project.path("elsewhere"))) == ["deep", "empty", "two.txt"]


def test_what_is_in_the_way_stays_when_the_wanted_directory_cannot_be_had(project: Project) -> None:
    digest = next(line.split()[-1] for line in project.read("data.dvc").splitlines() if line.endswith(".dir"))
    os.unlink(project.path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"))
    os.rename(project.path("data"), project.path("other"))
    project.write({"data": "model\n"})
    answer = project.try_kist("checkout", "--force", "data")
    assert (answer.code, answer.out) == (255, "")
    assert "'data': missing from the cache" in answer.err
    assert project.read("data") == "model\n"


def test_nothing_is_told_twice_when_a_member_is_missing(project: Project) -> None:
    digest = "5bbf5a52328e7439ae6e719dfe712200"  # "one"
    os.unlink(project.path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"))
    os.unlink(project.path("data/one.txt"))
    os.unlink(project.path("data/two.txt"))
    assert project.try_kist("checkout").out == "M\tdata/\n"
    assert project.try_kist("checkout").out == ""


def test_data_that_no_metafile_names_stays_for_good_once_it_was_edited(project: Project) -> None:
    os.unlink(project.path("model.bin.dvc"))
    os.unlink(project.path("sub/table.csv.dvc"))
    project.write({"model.bin": "mine\n"})
    assert project.kist("checkout").out == "D\tsub/table.csv\n"
    project.write({"model.bin": "model\n"})
    assert project.kist("checkout").out == ""
    assert project.exists("model.bin") and not project.exists("sub/table.csv")


def test_nothing_that_no_metafile_names_goes_while_the_rest_is_refused(project: Project) -> None:
    os.unlink(project.path("model.bin.dvc"))
    project.write({"data/one.txt": "mine\n"})
    assert project.try_kist("checkout").code == 255
    assert project.exists("model.bin")
    assert project.kist("checkout", "--force").out == "M\tdata/\nD\tmodel.bin\n"


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_many_single_files_share_one_wait(tmp_path: Path, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(str(tmp_path / "many"))
    project.kist("config", "cache.type", link)
    paths = [
        f"{folder}{name}" for folder in ("", "a/", "a/b/") for name in ("one", "two", "run", "lost", "rotten")
    ]
    project.write({path: f"{path}\n" for path in paths})
    for path in paths:
        if path.endswith("run"):
            os.chmod(project.path(path), 0o755)
    project.kist("add", "--quiet", *paths)
    for path in paths:
        if not path.endswith("one"):
            os.unlink(project.path(path))
        digest = hashlib.md5(f"{path}\n".encode(), usedforsecurity=False).hexdigest()
        stored = project.path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")
        if path.endswith("lost"):
            os.unlink(stored)
        elif path.endswith("rotten"):
            os.unlink(stored)
            project.write({stored: "rot\n"})
    waits: list[None] = []
    monkeypatch.setattr("kist.workspace.checkout.settle", lambda: waits.append(None))
    answer = project.try_kist("checkout")
    assert answer.code == 255
    assert answer.out == "A\ta/b/run\nA\ta/b/two\nA\ta/run\nA\ta/two\nA\trun\nA\ttwo\n"
    assert "'lost', 'a/lost', 'a/b/lost', 'rotten', 'a/rotten' and 1 more" in answer.err
    assert len(waits) == 2  # one for the executable files, which are copies, one for the others
    for path in paths:
        if path.endswith(("one", "two", "run")):
            assert project.read(path) == f"{path}\n"
            assert os.access(project.path(path), os.X_OK) is path.endswith("run")
        else:
            assert not project.exists(path)
    waits.clear()
    assert project.kist("checkout", "one", "a/run", "a/b/two").out == ""
    assert not waits


def test_numbers_are_told_by_what_happened(changed: Project) -> None:
    os.unlink(changed.path("model.bin"))
    answer = changed.kist("checkout", "--summary")
    assert answer.out == "2 files modified, 1 file added and 1 file deleted\n"


def test_files_made_anew_are_not_counted_as_changed(project: Project) -> None:
    project.kist("config", "cache.type", "hardlink")
    assert project.kist("checkout", "--relink", "--summary").out == "No changes.\nRelinked successfully\n"
    assert project.kist("checkout", "--relink", "--summary").out == "No changes.\nRelinked successfully\n"
    assert sorted(os.listdir(project.path("data"))) == ["deep", "one.txt", "two.txt"]


def test_a_pull_that_is_refused_has_fetched_and_says_nothing_but_why(shared: Project) -> None:
    shared.commit()
    clone = shared.path("../clone")
    shared.git("clone", "--quiet", ".", clone)
    other = Project.at(clone)
    other.write({"model.bin": "mine\n"})
    answer = other.try_kist("pull")
    assert (answer.code, answer.out) == (1, "")
    assert "'model.bin' would be lost" in answer.err
    assert not other.exists("data") and other.objects() == shared.objects()
    assert other.kist("pull", "--force").out.splitlines()[-1] == "1 file modified and 4 files added"


def test_a_pull_tells_each_output_once_though_a_damaged_object_was_fetched_again(shared: Project) -> None:
    digest = "5bbf5a52328e7439ae6e719dfe712200"
    path = shared.path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")
    os.chmod(path, 0o644)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("rot\n")
    os.unlink(shared.path("data/one.txt"))
    os.unlink(shared.path("data/two.txt"))
    answer = shared.kist("pull")
    assert answer.out == "M\tdata/\n1 file fetched and 2 files added\n"
    assert shared.read("data/one.txt") == "one\n"

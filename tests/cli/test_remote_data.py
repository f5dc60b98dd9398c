"""`kist remote ls`, `check`, `copy`: what a remote holds by name, what it refuses, and moving to another one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kist.remotes import table
from kist.testing.folder_storage import FolderStorage
from kist.testing.project import Project
from kist.testing.web_server import WebServer

from .helpers import copy_of, made_project
from .test_fsck import damage, oid_in_cache, place, read


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1 is tagged, version 2 on the branch, where `model.bin` is another."""
    made = made_project(tmp_path_factory.mktemp("template"))
    made.git("branch", "-M", "main")
    made.git("tag", "v1")
    made.kist("remote", "add", "--quiet", "-d", "store", "../store")
    made.write({"model.bin": "the second model\n"})
    made.kist("add", "--quiet", "model.bin")
    made.commit()
    return made


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    found = copy_of(template, tmp_path)
    found.kist("push", "--quiet", "-A")
    return found


def listed(project: Project, *words: str) -> Any:
    return json.loads(project.kist("remote", "ls", "--json", *words).out)


def objects_at(folder: Path) -> dict[str, bytes]:
    top = str(folder / "files/md5")
    return {
        os.path.basename(folder) + name: read(os.path.join(folder, name))
        for folder, _, names in os.walk(top)
        for name in names
    }


# ls


def test_versions_are_named_with_size_state_and_who_needs_them(project: Project) -> None:
    lines = [line.split() for line in project.kist("remote", "ls").out.splitlines()]
    manifest = next(len(data) for oid, data in project.objects().items() if oid.endswith(".dir"))
    assert lines == [
        ["data/", f"{14 + manifest}B", "complete", "workspace,", "main,", "v1"],
        ["model.bin", "17B", "complete", "workspace,", "main"],
        ["model.bin", "6B", "complete", "v1"],
        ["sub/table.csv", "4B", "complete", "workspace,", "main,", "v1"],
    ]


def test_what_lacks_and_what_nothing_needs_is_told(project: Project, tmp_path: Path) -> None:
    os.unlink(place(project, oid_in_cache(project, "data/one.txt"), store="../store"))
    os.makedirs(tmp_path / "store/files/md5/00")
    with open(tmp_path / "store/files/md5/00" / ("0" * 30), "wb") as stream:
        stream.write(b"123")
    found = listed(project)
    rows = {(row["path"], tuple(row["refs"])): (row["complete"], row["missing"]) for row in found["rows"]}
    assert rows[("data", ("main", "v1"))] == (False, 1)
    assert rows[("model.bin", ("v1",))] == (True, 0)
    assert found["unneeded"] == {"objects": 1, "bytes": 3}
    text = project.kist("remote", "ls").out
    assert "lacks 1 of 4 objects" in text and "and 1 object, 3B, that nothing here needs" in text


def test_a_path_may_be_inside_of_a_directory(project: Project) -> None:
    assert [row["path"] for row in listed(project, "store", "data/deep")["rows"]] == ["data/deep/three.txt"]
    assert [row["bytes"] for row in listed(project, "model.bin")["rows"]] == [17, 6]
    assert [row["path"] for row in listed(project, "sub")["rows"]] == ["sub/table.csv"]
    answer = project.try_kist("remote", "ls", "store", "nothing")
    assert answer.code == 255 and "no version of the data has that path" in answer.err
    assert "no remote has this name" in project.try_kist("remote", "ls", "elsewhere", "data").err


def test_a_path_in_a_directory_whose_list_nobody_can_read_is_said(project: Project, tmp_path: Path) -> None:
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            if name.endswith(".dir"):
                os.chmod(os.path.join(folder, name), 0o644)
                with open(os.path.join(folder, name), "wb") as stream:
                    stream.write(b"[")
    answer = project.try_kist("remote", "ls", "store", "data/deep")
    assert answer.code == 255
    assert "the list of files of 'data' can be read neither there nor in the cache" in answer.err
    assert answer.err.count("error:") == 1 and "Traceback" not in answer.err


def test_versions_that_were_not_pushed_are_left_out_unless_asked_for(
    template: Project, tmp_path: Path
) -> None:
    project = copy_of(template, tmp_path)
    project.kist("push", "--quiet", "sub/table.csv.dvc")
    assert [row["path"] for row in listed(project)["rows"]] == ["sub/table.csv"]
    assert [(row["complete"], row["missing"]) for row in listed(project, "model.bin")["rows"]] == [
        (False, 1)
    ] * 2


def test_versions_keep_their_order_where_the_remote_alone_has_their_lists(
    project: Project, tmp_path: Path
) -> None:
    for number in range(5):
        project.write({"data/one.txt": f"version {number}\n"})
        project.kist("add", "--quiet", "data")
        project.commit()
    project.kist("push", "--quiet", "-A")
    here = project.kist("remote", "ls").out
    shutil.rmtree(project.path(".dvc/cache"))
    assert project.kist("remote", "ls").out == here


def test_a_service_that_cannot_list_is_asked_once_about_each_object(project: Project, tmp_path: Path) -> None:
    for number in range(3):
        project.write({"data/one.txt": f"version {number}\n"})
        project.kist("add", "--quiet", "data")
        project.commit()
    os.makedirs(tmp_path / "served")
    with WebServer(str(tmp_path / "served")) as server:
        project.kist("remote", "add", "--quiet", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        project.kist("push", "--quiet", "-A", "-r", "web")
        server.requests.clear()
        rows = listed(project, "web")
        assert [row["path"] for row in rows["rows"] if row["complete"]].count("data") == 4
        assert set(server.requests.values()) == {1}
        assert len(server.requests) == len(project.objects())


def test_an_empty_service_has_no_rows(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    storage = FolderStorage(str(tmp_path / "service"))
    storage.name = "service"
    monkeypatch.setattr(table, "open_storage", lambda place: storage)
    project.kist("remote", "add", "--quiet", "service", "s3://bucket")
    shutil.rmtree(project.path(".dvc/cache"))
    assert listed(project, "service") == {
        "remote": "service",
        "rows": [],
        "unneeded": {"objects": 0, "bytes": 0},
    }
    project.kist("remote", "copy", "store", "service")
    assert all(row["complete"] for row in listed(project, "service")["rows"])
    assert [row["path"] for row in listed(project, "service")["rows"]] == [
        row["path"] for row in listed(project)["rows"]
    ]


# check


def test_a_folder_that_allows_all_is_left_as_it_was(project: Project, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path / "store"))
    assert project.kist("remote", "check").out.splitlines() == [
        "store: list: ok",
        "store: write: ok",
        "store: read: ok",
        "store: delete: ok",
    ]
    assert sorted(os.listdir(tmp_path / "store")) == before


def test_a_folder_that_is_not_there_is_made_by_the_first_push(project: Project, tmp_path: Path) -> None:
    project.kist("remote", "add", "--quiet", "new", "../disk/deep/new")
    os.mkdir(tmp_path / "disk")
    answer = project.kist("remote", "check", "new")
    assert answer.out.splitlines() == [f"new: {what}: ok" for what in ("list", "write", "read", "delete")]
    assert (
        f"folder '{tmp_path}/disk/deep/new' is not there yet; the first push makes it, so '{tmp_path}/disk' is tried"
        in answer.err
    )
    assert not os.listdir(tmp_path / "disk")
    project.kist("push", "--quiet", "-r", "new")
    assert project.kist("remote", "check", "new").err == ""


def test_a_folder_that_cannot_be_made_is_said(project: Project) -> None:
    project.write({"../file": "not a folder\n"})
    project.kist("remote", "add", "--quiet", "gone", "../file/gone")
    answer = project.try_kist("remote", "check", "gone")
    assert answer.code == 1
    assert "gone: list: refused" in answer.out and "gone: write: refused" in answer.out
    assert "gone: read: not tried" in answer.out
    assert "Not a directory" in answer.err and "ls -ld" in answer.err


def test_a_service_says_what_it_does_not_offer_and_what_it_refuses(project: Project, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "served")
    with WebServer(str(tmp_path / "served"), user="me", password="secret") as server:
        project.kist("remote", "add", "--quiet", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        found = json.loads(project.try_kist("remote", "check", "web", "--json").out)
        states = {trial["what"]: trial["state"] for trial in found["trials"]}
        assert (
            states["list"] == "not offered" and states["write"] == "refused" and states["read"] == "not tried"
        )
        assert not found["ok"]
        assert [trial["hint"] for trial in found["trials"] if trial["state"] == "refused"] != [None]
        for option, value in (("auth", "basic"), ("user", "me"), ("password", "secret")):
            project.kist("remote", "modify", "--local", "web", option, value)
        answer = project.kist("remote", "check", "web")
        assert "web: write: ok" in answer.out and "web: read: ok" in answer.out


# copy


def test_a_copy_has_all_versions_and_a_second_one_moves_nothing(project: Project, tmp_path: Path) -> None:
    project.kist("remote", "add", "--quiet", "second", "../second")
    answer = project.kist("remote", "copy", "store", "second")
    assert answer.out == "7 objects copied from 'store' to 'second', 0 were there\n"
    assert objects_at(tmp_path / "second") == objects_at(tmp_path / "store")
    os.unlink(place(project, oid_in_cache(project, "model.bin"), store="../second"))
    found = json.loads(project.kist("remote", "copy", "store", "second", "--json").out)
    assert (found["moved"], found["needed"], found["failed"]) == (1, 7, [])


def test_what_another_project_has_there_stays_there(project: Project, tmp_path: Path) -> None:
    foreign = tmp_path / "store/files/md5/00" / ("0" * 30)
    os.makedirs(foreign.parent)
    foreign.write_bytes(b"foreign")
    project.kist("remote", "add", "--quiet", "second", "../second")
    project.kist("remote", "copy", "store", "second")
    assert len(objects_at(tmp_path / "second")) == 7


def test_a_damaged_object_is_named_and_its_manifest_stays_away(project: Project, tmp_path: Path) -> None:
    project.kist("remote", "add", "--quiet", "second", "../second")
    one = oid_in_cache(project, "data/one.txt")
    manifest = next(oid for oid in project.objects() if oid.endswith(".dir"))
    damage(place(project, one, store="../store"))
    os.unlink(place(project, one))
    answer = project.try_kist("remote", "copy", "store", "second")
    assert answer.code == 1
    assert f"cannot copy 'data/one.txt' ({one}): it is corrupt on remote 'store'" in answer.err
    assert f"cannot copy 'data' ({manifest}): it is incomplete on remote 'store'" in answer.err
    assert "kist fsck -r store" in answer.err
    there = objects_at(tmp_path / "second")
    assert len(there) == 5 and manifest not in there and one not in there
    project.kist("add", "--quiet", "data")
    project.kist("fsck", "-r", "store")
    project.kist("remote", "copy", "store", "second")
    assert len(objects_at(tmp_path / "second")) == 7


def test_what_the_cache_lost_goes_from_a_service_to_a_folder_and_back(
    project: Project, tmp_path: Path
) -> None:
    os.makedirs(tmp_path / "served")
    with WebServer(str(tmp_path / "served")) as server:
        project.kist("remote", "add", "--quiet", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        project.kist("remote", "add", "--quiet", "second", "../second")
        project.kist("remote", "copy", "store", "web")
        for oid in project.objects():
            os.unlink(place(project, oid))
        project.kist("remote", "copy", "web", "second")
    assert objects_at(tmp_path / "second") == objects_at(tmp_path / "store")
    assert not os.path.exists(project.path(".dvc/tmp/kist/copy")) and not project.objects()


def test_the_history_of_runs_goes_along(project: Project, tmp_path: Path) -> None:
    key = f"runs/ab/ab{'0' * 62}/{'1' * 64}"
    os.makedirs(tmp_path / "store" / os.path.dirname(key))
    (tmp_path / "store" / key).write_bytes(b"cmd: true\n")
    (tmp_path / "store/runs/ab/notes.txt").write_bytes(b"mine\n")
    project.kist("remote", "add", "--quiet", "second", "../second")
    project.kist("remote", "copy", "store", "second")
    assert (tmp_path / "second" / key).read_bytes() == b"cmd: true\n"
    assert not (tmp_path / "second/runs/ab/notes.txt").exists()


def test_a_remote_is_not_copied_to_itself(project: Project) -> None:
    answer = project.try_kist("remote", "copy", "store", "store")
    assert answer.code == 255 and "cannot copy 'store' to 'store'" in answer.err


# The text for people


def test_the_first_push_into_an_empty_folder_leaves_a_text_once(project: Project, tmp_path: Path) -> None:
    text = tmp_path / "store/README-kist.md"
    assert "called by the md5 of its bytes" in text.read_text()
    text.write_text("mine")
    project.write({"sub/table.csv": "changed\n"})
    project.kist("add", "--quiet", "sub/table.csv")
    project.kist("push", "--quiet")
    assert text.read_text() == "mine"
    text.unlink()
    project.kist("push", "--quiet", "-A")
    assert not text.exists()
    assert listed(project)["unneeded"] == {"objects": 0, "bytes": 0}
    assert project.kist("fsck", "-c").code == 0


def test_a_folder_that_holds_something_gets_no_text(template: Project, tmp_path: Path) -> None:
    project = copy_of(template, tmp_path)
    os.makedirs(tmp_path / "store")
    (tmp_path / "store/mine.txt").write_text("mine")
    project.kist("push", "--quiet")
    assert sorted(os.listdir(tmp_path / "store")) == ["files", "mine.txt"]


def test_a_service_without_listing_gets_no_text(project: Project, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "served")
    with WebServer(str(tmp_path / "served")) as server:
        project.kist("remote", "add", "--quiet", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        project.kist("push", "--quiet", "-r", "web")
    assert os.listdir(tmp_path / "served") == ["files"]


def test_a_push_that_fails_ends_its_connections(
    template: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kist.remotes.http import HttpStorage

    closed: list[str] = []
    monkeypatch.setattr(HttpStorage, "close", lambda self: closed.append(self.name))
    project = copy_of(template, tmp_path)
    with WebServer(str(tmp_path / "www"), user="ann", password="secret") as server:
        project.kist("remote", "add", "web", server.url)
        assert project.try_kist("push", "-r", "web").code != 0
    assert closed == ["web"]

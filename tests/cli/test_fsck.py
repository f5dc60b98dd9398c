"""`kist fsck`: damage is found, named by path and id, moved aside, and mended from wherever an intact copy is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kist.testing.project import Project
from kist.testing.web_server import WebServer

from .helpers import copy_of, made_project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = made_project(tmp_path_factory.mktemp("template"))
    made.kist("remote", "add", "--quiet", "-d", "store", "../store")
    made.commit()
    return made


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    found = copy_of(template, tmp_path)
    found.kist("push", "--quiet")
    return found


def oid_in_cache(project: Project, rel: str) -> str:
    return next(oid for oid, data in project.objects().items() if data == project.read(rel).encode())


def place(project: Project, oid: str, *, store: str = ".dvc/cache") -> str:
    return project.path(os.path.join(store, "files/md5", oid[:2], oid[2:]))


def damage(path: str, data: bytes = b"rotten") -> None:
    """Changes bytes with mode and modification time as they were."""
    before = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "wb") as stream:
        stream.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.chmod(path, before.st_mode)


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def report(project: Project, *words: str, code: int = 0) -> Any:
    answer = project.try_kist("fsck", "--json", *words)
    assert answer.code == code, answer
    return json.loads(answer.out)


def test_sound_data_is_counted_and_nothing_is_said(project: Project) -> None:
    answer = project.kist("fsck", "-c")
    size = sum(len(data) for data in project.objects().values())
    assert answer.out.splitlines() == [
        f"cache: 6 objects verified, {size}B",
        f"store: 6 objects verified, {size}B",
    ]
    assert not answer.err
    assert not project.exists(".dvc/cache/kist-bad")


def test_a_damaged_cache_object_is_mended_from_the_remote_and_named(project: Project) -> None:
    oid = oid_in_cache(project, "data/one.txt")
    project.write({"data/one.txt": "something else\n"})
    damage(place(project, oid))
    answer = project.kist("fsck")
    assert (
        f"cache: 'data/one.txt' ({oid}) is corrupt, moved to 'kist-bad/{oid}', mended from remote 'store'"
        in answer.out
    )
    assert read(place(project, oid)) == b"one\n"
    assert read(project.path(f".dvc/cache/kist-bad/{oid}")) == b"rotten"
    assert project.read("data/one.txt") == "something else\n"


def test_a_damaged_remote_object_is_mended_from_the_cache_and_named(project: Project) -> None:
    oid = oid_in_cache(project, "model.bin")
    damage(place(project, oid, store="../store"))
    assert report(project)["ok"]
    found = report(project, "-c")["places"][1]
    assert found["where"] == "store"
    assert [(item["oid"], item["paths"], item["why"], item["mended_from"]) for item in found["damaged"]] == [
        (oid, ["model.bin"], "corrupt", "cache")
    ]
    assert read(place(project, oid, store="../store")) == b"model\n"
    assert read(project.path(f"../store/kist-bad/{oid}")) == b"rotten"


def test_the_workspace_gives_what_no_store_has(project: Project) -> None:
    oid = oid_in_cache(project, "data/deep/three.txt")
    damage(place(project, oid))
    damage(place(project, oid, store="../store"))
    places = report(project, "-c")["places"]
    assert [item["mended_from"] for found in places for item in found["damaged"]] == ["workspace", "cache"]
    assert read(place(project, oid, store="../store")) == b"three\n"


def test_another_remote_mends_a_remote(project: Project) -> None:
    project.kist("remote", "add", "--quiet", "second", "../second")
    project.kist("push", "--quiet", "-r", "second")
    oid = oid_in_cache(project, "sub/table.csv")
    project.write({"sub/table.csv": "changed\n"})
    os.unlink(place(project, oid))
    damage(place(project, oid, store="../store"))
    found = report(project, "-r", "store")["places"]
    assert [item["mended_from"] for item in found[1]["damaged"]] == ["second"]
    assert not os.path.exists(place(project, oid))
    assert not [name for name in os.listdir(project.path(".dvc/tmp/kist")) if name.endswith(".tmp")]


def test_what_is_nowhere_else_stays_damaged_and_the_status_says_so_until_it_is_back(project: Project) -> None:
    oid = oid_in_cache(project, "model.bin")
    for store in (".dvc/cache", "../store"):
        damage(place(project, oid, store=store))
    project.write({"model.bin": "newer\n"})
    answer = project.try_kist("fsck", "-c")
    assert answer.code == 1
    assert (
        f"'model.bin' ({oid}) is corrupt, moved to 'kist-bad/{oid}'; no intact copy was found" in answer.err
    )
    again = report(project, code=1)["places"][0]["damaged"]
    assert [(item["oid"], item["why"], item["paths"]) for item in again] == [(oid, "missing", ["model.bin"])]
    project.write({"model.bin": "model\n"})
    project.kist("add", "--quiet", "model.bin")
    assert report(project)["ok"]
    project.kist("push", "--quiet")
    assert report(project, "-c")["ok"]


def test_a_damaged_manifest_comes_back_with_its_members(project: Project) -> None:
    manifest = next(oid for oid in project.objects() if oid.endswith(".dir"))
    one = oid_in_cache(project, "data/one.txt")
    for oid in (manifest, one):
        damage(place(project, oid, store="../store"), b"[]")
    found = report(project, "-c")["places"][1]["damaged"]
    assert {item["oid"]: item["paths"] for item in found} == {one: ["data/one.txt"], manifest: ["data"]}
    assert read(place(project, manifest, store="../store")) == project.objects()[manifest]


def test_a_manifest_stays_away_from_a_remote_while_a_member_is_lost(project: Project) -> None:
    manifest = next(oid for oid in project.objects() if oid.endswith(".dir"))
    one = oid_in_cache(project, "data/one.txt")
    project.write({"data/one.txt": "another\n"})
    os.unlink(place(project, one))
    os.unlink(place(project, one, store="../store"))
    damage(place(project, manifest, store="../store"))
    found = report(project, "-c", code=1)
    assert not os.path.exists(place(project, manifest, store="../store"))
    assert any(f"'{manifest}' is not put back" in note for note in found["notes"])


def test_members_that_a_remote_lacks_are_told_and_sent(project: Project) -> None:
    one = oid_in_cache(project, "data/one.txt")
    os.unlink(place(project, one, store="../store"))
    found = report(project, "-c", "--dry", code=1)["places"][1]
    assert [(item["paths"], item["missing"]) for item in found["incomplete"]] == [(["data"], 1)]
    found = report(project, "-c")["places"][1]
    assert [(item["oid"], item["why"], item["mended_from"]) for item in found["damaged"]] == [
        (one, "missing", "cache")
    ]
    assert not found["incomplete"]


def test_a_cache_without_some_members_is_no_damage(project: Project) -> None:
    os.unlink(place(project, oid_in_cache(project, "data/one.txt")))
    answer = project.kist("fsck")
    assert "cache: 'data' (" in answer.out and "lacks 1 file here" in answer.out


def test_a_dry_run_changes_nothing(project: Project) -> None:
    oid = oid_in_cache(project, "model.bin")
    damage(place(project, oid))
    answer = project.try_kist("fsck", "--dry")
    assert answer.code == 1 and f"'model.bin' ({oid}) is corrupt" in answer.err
    assert read(place(project, oid)) == b"rotten"


def test_a_damaged_object_that_nothing_names_is_moved_aside(project: Project) -> None:
    oid = "0" * 32
    os.makedirs(os.path.dirname(place(project, oid)))
    with open(place(project, oid), "wb") as stream:
        stream.write(b"?")
    answer = project.try_kist("fsck")
    assert answer.code == 1 and "an object that nothing names" in answer.err
    assert project.kist("fsck").code == 0  # and nobody misses it


def test_an_edit_through_a_hard_link_stays_in_the_workspace(template: Project, tmp_path: Path) -> None:
    project = copy_of(template, tmp_path)
    project.kist("config", "cache.type", "hardlink")
    project.kist("checkout", "--relink")
    project.kist("push", "--quiet")
    oid = oid_in_cache(project, "model.bin")
    os.chmod(project.path("model.bin"), 0o644)
    with open(project.path("model.bin"), "a", encoding="utf-8") as stream:
        stream.write("edited\n")
    project.kist("fsck")
    assert project.read("model.bin") == "model\nedited\n"
    assert read(place(project, oid)) == b"model\n"


def test_a_sample_reads_a_part(project: Project) -> None:
    assert report(project, "--sample", "100%")["places"][0]["objects"] == 6
    assert report(project, "--sample", "0.0001%")["places"][0]["objects"] == 0
    for wrong in ("5", "0%", "101%", "x%"):
        assert project.try_kist("fsck", "--sample", wrong).code == 254


def test_objects_of_dvc_2_are_read_by_their_own_rule(project: Project) -> None:
    # md5 of "a\nb\n", which a text file with CRLF has in the old layout
    oid = "dd8c6a395b5dd36c56d23275028f526c"
    old = project.path(f".dvc/cache/{oid[:2]}/{oid[2:]}")
    os.makedirs(os.path.dirname(old))
    with open(old, "wb") as stream:
        stream.write(b"a\r\nb\r\n")
    assert report(project)["ok"]
    damage(old)
    assert not report(project, code=1)["ok"]


def test_a_service_is_read_and_mended(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    os.makedirs(folder)
    with WebServer(str(folder)) as server:
        project.kist("remote", "add", "--quiet", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        project.kist("push", "--quiet", "-r", "web")
        oid = oid_in_cache(project, "data/one.txt")
        damage(place(project, oid, store=str(folder)))
        os.rename(project.path(".dvc/cache"), project.path(".dvc/aside"))
        assert (
            report(project, "-r", "web", "--dry", code=1)["places"][1]["objects"] == 6
        )  # lists of files from there
        os.rename(project.path(".dvc/aside"), project.path(".dvc/cache"))
        found = report(project, "-r", "web")["places"][1]
        assert [(item["oid"], item["paths"], item["mended_from"]) for item in found["damaged"]] == [
            (oid, ["data/one.txt"], "cache")
        ]
        assert read(place(project, oid, store=str(folder))) == b"one\n"
        assert read(str(folder / "kist-bad" / oid)) == b"rotten"
        manifest = manifest_of(project)
        os.unlink(place(project, manifest, store=str(folder)))
        found = report(project, "-r", "web")["places"][1]
        assert [(item["oid"], item["why"], item["mended_from"]) for item in found["damaged"]] == [
            (manifest, "missing", "cache")
        ]
        os.unlink(place(project, oid, store=".dvc/cache"))
        damage(place(project, oid_in_cache(project, "model.bin")))
        os.unlink(project.path("model.bin"))
        assert report(project)["places"][0]["damaged"][0]["mended_from"] in ("store", "web")


def manifest_of(project: Project) -> str:
    return next(oid for oid in project.objects() if oid.endswith(".dir"))


def test_a_manifest_and_a_file_that_a_remote_lacks_are_named_and_sent(project: Project) -> None:
    lost = {manifest_of(project): "data", oid_in_cache(project, "model.bin"): "model.bin"}
    for oid in lost:
        os.unlink(place(project, oid, store="../store"))
    answer = project.try_kist("fsck", "-r", "store", "--dry")
    assert answer.code == 1
    for oid, path in lost.items():
        assert f"store: '{path}' ({oid}) is missing\n" in answer.err
        assert not os.path.exists(place(project, oid, store="../store"))
    answer = project.kist("fsck", "-c")
    for oid, path in lost.items():
        assert f"store: '{path}' ({oid}) is missing, mended from the cache\n" in answer.out
        assert read(place(project, oid, store="../store")) == project.objects()[oid]


def test_what_a_remote_lacks_and_nobody_has_is_damage(project: Project, tmp_path: Path) -> None:
    manifest = manifest_of(project)
    os.unlink(place(project, manifest, store="../store"))
    clone = Project.at(str(tmp_path / "clone"))
    project.git("clone", "--quiet", project.root, clone.root)
    found = report(clone, "-c", code=1)["places"]
    assert not found[0]["damaged"]  # a clone without data is whole
    assert [
        (item["oid"], item["why"], item["paths"], item["mended_from"]) for item in found[1]["damaged"]
    ] == [(manifest, "missing", ["data"], None)]


def test_older_versions_may_be_gone_from_a_remote_where_that_is_said(project: Project) -> None:
    old = oid_in_cache(project, "model.bin")
    project.write({"model.bin": "newer\n"})
    project.kist("add", "--quiet", "model.bin")
    project.commit()
    project.kist("push", "--quiet")
    project.kist("gc", "--quiet", "-w", "-c", "-f", "--grace", "0")
    answer = project.kist("fsck", "-c")
    commit = project.git("rev-parse", "--short=7", "HEAD~1").strip()
    assert f"store: 'model.bin' of commit {commit} ({old}) is missing: never pushed, or removed" in answer.out
    assert "missing" not in project.kist("fsck", "-c", "-w").out


def test_a_remote_need_not_have_what_is_not_pushed_to_it(project: Project) -> None:
    project.kist("remote", "add", "--quiet", "own", "../own")
    with open(project.path("model.bin.dvc"), "a", encoding="utf-8") as stream:
        stream.write("  remote: own\n")
    project.write({"kept.txt": "kept\n"})
    project.kist("add", "--quiet", "kept.txt")
    with open(project.path("kept.txt.dvc"), "a", encoding="utf-8") as stream:
        stream.write("  push: false\n")
    project.kist("push", "--quiet")
    os.unlink(place(project, oid_in_cache(project, "model.bin"), store="../store"))
    assert not any(item["damaged"] for item in report(project, "-w", "-r", "store", "-r", "own")["places"])

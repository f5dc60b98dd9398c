"""Remotes that keep files by their names, in versions, against a folder that does so."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kist.remotes.storage import Storage, StorageFailedError
from kist.testing.folder_storage import VersionedFolderStorage
from kist.testing.project import Project

DATA = {"data/a": "first", "data/s/b": "second", "data/s/c": "second", "single": "lone"}


class World:
    """A project with a versioned remote `cloud`, and its clones.

    Attributes:
        service: what the remote is.
    """

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path
        self.services: dict[str, VersionedFolderStorage] = {}
        monkeypatch.setattr("kist.remotes.table.open_storage", lambda place, *_: self.open(place))
        self.project = Project(str(tmp_path / "one"))
        self.project.kist("remote", "add", "-d", "cloud", "s3://bucket/store")
        self.project.kist("remote", "modify", "cloud", "version_aware", "true")
        self.project.write(DATA)
        self.project.kist("add", "data", "single")
        self.project.commit()

    def open(self, remote: object) -> Storage:
        """Returns the stand-in for a remote."""
        name = remote.name  # type: ignore[attr-defined]
        if name not in self.services:
            self.services[name] = VersionedFolderStorage(str(self.folder / f"service-{name}"))
            self.services[name].name = name
        return self.services[name]

    @property
    def service(self) -> VersionedFolderStorage:
        """The stand-in for `cloud`."""
        return self.services["cloud"]

    def clone(self, name: str) -> Project:
        """Returns a clone without data."""
        self.project.git("clone", "--quiet", ".", str(self.folder / name))
        return Project.at(str(self.folder / name))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Returns a project whose data was never pushed."""
    return World(tmp_path, monkeypatch)


def contents(project: Project) -> dict[str, str]:
    """Returns the data in the workspace."""
    found = {f"data/{path}": text for path, text in project.files("data").items()}
    return found | ({"single": project.read("single")} if project.exists("single") else {})


def test_push_writes_versions_into_metafiles_and_a_clone_pulls_them(world: World) -> None:
    project = world.project
    answer = project.kist("push")
    assert "4 files pushed" in answer.out and "git add" in answer.out
    oid = hashlib.md5(b"lone").hexdigest()
    assert project.read("single.dvc") == (
        f"outs:\n- md5: {oid}\n  size: 4\n  hash: md5\n  path: single\n"
        f"  cloud:\n    cloud:\n      etag: {oid}\n      version_id: v0\n"
    )
    text = project.read("data.dvc")
    assert "  path: data\n  files:\n  - relpath: a\n    md5: " in text and "nfiles" not in text
    assert [line.strip() for line in text.splitlines() if "relpath" in line] == [
        "- relpath: a",
        "- relpath: s/b",
        "- relpath: s/c",
    ]
    assert sorted(item.key for item in world.service.list("")) == sorted(DATA)
    project.commit()
    clone = world.clone("two")
    clone.kist("pull")
    assert contents(clone) == DATA
    assert clone.kist("status").out == "Data and pipelines are up to date.\n"
    assert json.loads(clone.kist("data", "status", "--json").out) == {}


def test_a_second_push_sends_nothing_and_leaves_the_files_alone(world: World) -> None:
    project = world.project
    project.kist("push")
    before = project.read("data.dvc"), project.read("single.dvc")
    world.service.calls.clear()
    assert project.kist("push").out == "Everything is up to date.\n"
    assert (project.read("data.dvc"), project.read("single.dvc")) == before
    assert world.service.calls["write"] == 0 and world.service.calls["head_version"] <= 4


def test_many_files_are_looked_for_by_listing(world: World) -> None:
    project = world.project
    project.write({f"data/many/{number:03}": str(number) for number in range(200)})
    project.kist("add", "data")
    project.kist("push")
    world.service.calls.clear()
    assert project.kist("push").out == "Everything is up to date.\n"
    assert project.kist("status", "-c").out == "Cache and remote 'cloud' are in sync.\n"
    asked = world.service.calls
    assert asked["write"] == 0 and asked["versions"] <= 4 and asked["head_version"] + asked["head"] <= 4


def test_only_what_changed_gets_a_new_version(world: World) -> None:
    project = world.project
    project.kist("push")
    project.commit()
    project.write({"data/a": "changed"})
    project.kist("add", "data")
    world.service.calls.clear()
    assert "1 file pushed" in project.kist("push").out
    assert world.service.calls["write"] == 1
    text = project.read("data.dvc")
    assert text.count("version_id: v0") == 2 and text.count("version_id: v1") == 1
    project.commit()
    clone = world.clone("two")
    clone.kist("fetch", "-A")
    clone.kist("checkout")
    assert contents(clone)["data/a"] == "changed"
    clone.git("checkout", "--quiet", "HEAD~1")
    clone.kist("checkout")
    assert contents(clone) == DATA


def test_a_kill_before_the_metafile_costs_no_second_upload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kist.repo.versions_push.VersionWriter.write", dies)
        assert world.project.try_kist("push").code != 0
    assert "cloud" not in world.project.read("single.dvc")
    world.service.calls.clear()
    assert "git add" in world.project.kist("push").out
    assert world.service.calls["write"] == 0
    assert world.project.read("data.dvc").count("version_id: v0") == 3


@pytest.mark.parametrize("call", ["write", "head", "keeps_versions"])
def test_a_failure_at_any_call_leaves_metafiles_that_name_right_versions(world: World, call: str) -> None:
    project = world.project
    before = project.read("data.dvc"), project.read("single.dvc")
    for number in range(4):
        seen = 0

        def fault(name: str, key: str, number: int = number) -> None:
            nonlocal seen
            if name == call:
                seen += 1
                if seen > number:
                    raise StorageFailedError("no", retry_after_s=1000)

        project.repository()  # opens nothing, writes nothing
        if "cloud" in world.services:
            world.service.fault = fault
        else:
            world.services["cloud"] = VersionedFolderStorage(str(world.folder / "service-cloud"))
            world.service.name, world.service.fault = "cloud", fault
        if project.try_kist("push").code == 0:
            break
        assert (project.read("data.dvc"), project.read("single.dvc")) == before
    world.service.fault = lambda name, key: None
    project.kist("push")
    project.commit()
    clone = world.clone("two")
    clone.kist("pull")
    assert contents(clone) == DATA
    assert len(list(world.service.versions(""))) == len(DATA)


def test_a_bucket_without_versions_is_refused_before_anything_is_written(world: World) -> None:
    world.services["cloud"] = service = VersionedFolderStorage(str(world.folder / "service-cloud"))
    service.name, service.keeps = "cloud", False
    answer = world.project.try_kist("push")
    assert answer.code and "does not keep versions" in answer.err and "turn-on-versions" in answer.err
    assert service.calls["write"] == 0 and "cloud" not in world.project.read("data.dvc")


def test_other_bytes_at_the_service_are_refused(world: World) -> None:
    world.project.kist("push")
    world.project.commit()
    for folder, _, names in os.walk(world.folder / "service-cloud.versions"):
        for name in names:
            Path(folder, name).write_text("XXXXX")
    clone = world.clone("two")
    answer = clone.try_kist("pull")
    assert answer.code and "damaged" in answer.err
    assert clone.objects() == {} and not clone.exists("single")


def test_a_version_that_went_is_found_and_sent_again(world: World) -> None:
    project = world.project
    project.kist("push")
    shutil.rmtree(world.folder / "service-cloud.versions" / "single")
    os.unlink(world.folder / "service-cloud/single")
    assert "new:" in project.kist("status", "-c").out
    answer = project.try_kist("fsck", "-c")
    assert answer.code and "kist push -r cloud" in answer.out + answer.err
    assert "1 file pushed" in project.kist("push").out
    assert project.kist("status", "-c").out == "Cache and remote 'cloud' are in sync.\n"
    assert project.kist("fsck", "-c").code == 0


def test_a_second_remote_takes_over_and_nothing_is_lost(world: World) -> None:
    project = world.project
    project.kist("push")
    project.kist("remote", "add", "other", "s3://other/store")
    project.kist("remote", "modify", "other", "version_aware", "true")
    project.kist("push", "-r", "other")
    text = project.read("data.dvc")
    assert text.count("relpath") == 3 and text.count("other:") == 3 and "cloud:\n      cloud:" not in text
    project.commit()
    clone = world.clone("two")
    clone.kist("pull", "-r", "other")
    assert contents(clone) == DATA


def test_outputs_of_stages_are_listed_in_the_lock_and_stay_listed(world: World) -> None:
    project = world.project
    stage = "stages:\n  s:\n    cmd: mkdir o && cp single o/a && echo b > o/b\n    deps:\n    - single\n    outs:\n    - o\n"
    project.write({"dvc.yaml": stage})
    project.kist("repro")
    project.kist("push")
    text = project.read("dvc.lock")
    assert "    - path: o\n      hash: md5\n      files:\n      - relpath: a\n" in text
    assert text.count("version_id: v0") == 2
    assert project.kist("status").out == "Data and pipelines are up to date.\n"
    project.commit()
    project.write({"single": "another"})
    project.kist("add", "single")
    project.kist("repro")
    text = project.read("dvc.lock")
    assert text.count("relpath") == 2 and text.count("version_id: v0") == 1
    assert "3 files pushed" not in project.kist("push").out
    project.commit()
    clone = world.clone("two")
    clone.kist("pull")
    assert clone.files("o") == {"a": "another", "b": "b\n"}
    clone.git("checkout", "--quiet", "HEAD~1")
    clone.kist("pull")
    assert clone.files("o") == {"a": "lone", "b": "b\n"}


def test_versions_without_a_remotes_name_are_read(world: World) -> None:
    """As `dvc update` of a directory writes them."""
    project = world.project
    project.kist("push")
    text = re.sub(
        r"    cloud:\n      cloud:\n        etag: (.*)\n        version_id: (.*)\n",
        r"    version_id: \2\n    etag: \1\n",
        project.read("data.dvc"),
    )
    assert text.count("\n    version_id: v0\n") == 3 and "cloud" not in text
    project.write({"data.dvc": text})
    project.commit()
    clone = world.clone("two")
    clone.kist("pull")
    assert contents(clone) == DATA
    assert clone.kist("push").out.startswith("Everything is up to date.")
    assert clone.read("data.dvc").count("      cloud:") == 3


def test_a_part_of_a_directory_is_pushed_and_fetched(world: World) -> None:
    project = world.project
    assert "2 files pushed" in project.kist("push", "data/s").out
    assert project.read("data.dvc").count("version_id") == 2
    project.commit()
    clone = world.clone("two")
    clone.kist("pull", "data/s/b")
    assert contents(clone) == {"data/s/b": "second"}
    answer = clone.try_kist("pull", "data")
    assert answer.code and "missing" in answer.err


def test_json_tells_each_file_and_the_metafiles(world: World) -> None:
    words = ("push", "--json", "-j", "2", "--limit", "90M")
    lines = [json.loads(line) for line in world.project.kist(*words).out.splitlines()]
    assert lines[-1]["pushed"] == 4 and lines[-1]["metafiles"] == ["data.dvc", "single.dvc"]
    assert {row["outcome"] for row in lines[:-1]} == {"sent"}
    assert sorted(path for row in lines[:-1] for path in row["paths"]) == sorted(DATA)


def test_an_added_change_keeps_the_versions_of_what_stayed(world: World) -> None:
    project = world.project
    project.kist("push")
    project.kist("add", "data", "single")
    text = project.read("data.dvc")
    assert text.count("version_id") == 3 and "version_id" in project.read("single.dvc")
    project.write({"data/new": "new"})
    project.kist("add", "data")
    text = project.read("data.dvc")
    assert text.count("relpath") == 4 and text.count("version_id") == 3


def test_both_spellings_of_a_directory_are_one_to_every_command(world: World) -> None:
    project = world.project
    project.kist("push")
    project.commit()
    assert json.loads(project.kist("diff", "--json", "HEAD~1", "HEAD").out) == {}
    assert json.loads(project.kist("data", "status", "--json").out) == {}
    project.write({"data/a": "edited"})
    found = json.loads(project.kist("data", "status", "--json", "--granular").out)
    assert sorted(found["uncommitted"]["modified"]) == ["data/", "data/a"]
    project.kist("checkout", "-f")
    assert contents(project) == DATA
    shutil.rmtree(project.path(".dvc/cache"))
    shutil.rmtree(project.path("data"))
    project.kist("pull")
    assert contents(project) == DATA


def test_gc_of_the_cache_knows_the_files_and_gc_of_the_remote_is_refused(world: World) -> None:
    project = world.project
    project.kist("push")
    project.commit()
    project.kist("gc", "-w", "-f")
    assert project.kist("status").out == "Data and pipelines are up to date.\n"
    answer = project.try_kist("gc", "-w", "-c", "-f")
    assert answer.code == 251 and "keeps versions" in answer.err
    project.write({"data/a": "not pushed"})
    project.kist("add", "data")
    project.kist("gc", "-w", "--not-in-remote", "-f")
    kept = {hashlib.md5(text).hexdigest() for text in (b"not pushed",)}
    assert kept <= project.objects().keys()
    assert hashlib.md5(b"lone").hexdigest() not in project.objects()


@pytest.mark.parametrize(
    "words",
    [("remote", "init", "--packed", "cloud"), ("remote", "convert", "--packed", "cloud")],
)
def test_it_cannot_be_packed(world: World, words: tuple[str, ...]) -> None:
    answer = world.project.try_kist(*words)
    assert answer.code and "keeps files by their names" in answer.err
    assert "cloud" not in world.services or list(world.service.list("")) == []


def test_copies_of_objects_have_no_place_there(world: World) -> None:
    project = world.project
    project.kist("remote", "add", "folder", str(world.folder / "objects"))
    project.kist("push", "-r", "folder")
    assert project.try_kist("remote", "copy", "folder", "cloud").code
    assert project.try_kist("add", "--to-remote", "-o", "x", project.path("single")).code
    assert not project.exists("x.dvc") and list(world.service.list("")) == []
    project.kist("push")
    assert "6 objects copied" not in project.kist("remote", "copy", "cloud", "folder").out
    notes = project.kist("push", "--run-cache")
    assert "there is no place for runs" in notes.out + notes.err


def test_a_merge_of_what_was_pushed_on_one_side_and_changed_on_the_other(world: World) -> None:
    project = world.project
    project.kist("install")
    project.git("checkout", "--quiet", "-b", "other")
    project.write({"data/a": "theirs", "single": "theirs"})
    project.kist("add", "data", "single")
    project.commit()
    project.git("checkout", "--quiet", "-")
    project.kist("checkout")
    project.write({"data/s/b": "ours"})
    project.kist("add", "data")
    project.kist("push")
    project.commit()
    environ = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    words = ["git", "merge", "--no-edit", "other"]
    done = subprocess.run(words, cwd=project.root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    project.kist("checkout")
    assert contents(project) == {**DATA, "data/a": "theirs", "data/s/b": "ours", "single": "theirs"}
    assert project.read("data.dvc").count("version_id") == 2
    assert "cloud" not in project.read("single.dvc")


def test_a_worktree_remote_gives_what_others_put_there(world: World) -> None:
    from kist.remotes.storage import Body
    from kist.repo.worktree_update import update_from_worktree

    project = world.project
    project.kist("remote", "modify", "cloud", "worktree", "true")
    project.kist("push")
    project.commit()
    world.service.write("data/a", Body.of(b"from elsewhere"))
    world.service.write("data/new", Body.of(b"new"))
    world.service.delete(["data/s/c"])
    done = update_from_worktree(project.repository(), ["data", "single"])
    assert done.updated == ["data"] and done.moved == 2
    assert contents(project) == {
        "data/a": "from elsewhere",
        "data/new": "new",
        "data/s/b": "second",
        "single": "lone",
    }
    assert project.kist("status").out == "Data and pipelines are up to date.\n"
    assert update_from_worktree(project.repository(), []).updated == []

"""`kist gc`: what it says, when it refuses, and what it never removes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.base import atomic
from kist.cli.console import Console
from kist.repo import repository as repository_module
from kist.testing.project import Answer, Project

OUTSIDE_KEPT = "no known project ever named them"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three committed versions of `data/` and `file`; the last is in the workspace. A folder is the remote."""
    made = Project(str(tmp_path / "project"))
    made.kist("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    versions(made)
    return made


def versions(project: Project) -> None:
    for number in (1, 2, 3):
        project.write({"data/a": f"a {number}\n", "data/b": "b\n", "file": f"file {number}\n"})
        project.kist("add", "-q", "data", "file")
        project.git("add", "-A")
        project.git("commit", "-q", "-m", f"version {number}")


def remote_objects(project: Project) -> set[str]:
    top = os.path.join(os.path.dirname(project.root), "store", "files", "md5")
    return {prefix + name for prefix in os.listdir(top) for name in os.listdir(os.path.join(top, prefix))}


def texts(project: Project) -> set[str]:
    """Returns the content of the files in the cache."""
    return {data.decode() for oid, data in project.objects().items() if not oid.endswith(".dir")}


ALL = {"a 1\n", "a 2\n", "a 3\n", "b\n", "file 1\n", "file 2\n", "file 3\n"}
LAST = {"a 3\n", "b\n", "file 3\n"}


# What it says


def test_the_table_tells_how_much_goes_where_and_why(project: Project) -> None:
    answer = project.kist("gc", "-w", "-f")
    assert answer.out == "Removed 6 objects from repo cache.\nNo unused 'legacy' cache to remove.\n"
    lines = answer.err.splitlines()
    first, second = (project.git("rev-parse", "--short=7", f"HEAD~{back}").strip() for back in (2, 1))
    assert lines[0].startswith("cache: 6 objects, ")
    rows = {
        (*tuple(line.split("last named by")[0].split()[0::2]), line.split("by ")[1].split()[0])
        for line in lines[1:]
    }
    assert rows == {("2", "data", first), ("2", "data", second), ("1", "file", first), ("1", "file", second)}
    assert all(line.endswith(("version 1", "version 2")) for line in lines[1:])
    assert texts(project) == LAST


def test_what_nothing_ever_named_is_told_as_such(project: Project) -> None:
    project.write({"file": "never committed\n"})
    project.kist("add", "-q", "file")
    project.git("checkout", "-q", "file.dvc")
    project.kist("checkout", "-q", "--force")
    answer = project.kist("gc", "-A", "-f")
    assert "1  16B  -  nothing ever named them" in answer.err
    assert texts(project) == ALL


def test_json_has_the_same_with_ids(project: Project) -> None:
    project.kist("push", "-q", "-A")
    answer = project.kist("gc", "-w", "-c", "-f", "--json")
    found = json.loads(answer.out)
    assert found["dry"] is False and found["skipped"] == [] and found["temporaries"] == 0
    assert [(store["where"], store["objects"]) for store in found["stores"]] == [("cache", 6), ("store", 6)]
    commits = [project.git("rev-parse", f"HEAD~{back}").strip() for back in (1, 2)]
    for store in found["stores"]:
        assert store["bytes"] == sum(row["bytes"] for row in store["why"])
        assert {(row["project"], row["path"], row["commit"], row["objects"]) for row in store["why"]} == {
            (None, path, commit, count) for commit in commits for path, count in (("data", 2), ("file", 1))
        }
        assert store["kept"] == {"recent": 0, "unknown": 0, "linked": 0}


def test_quiet_says_nothing(project: Project) -> None:
    assert project.kist("gc", "-w", "-f", "-q") == Answer(0, "", "")


def test_many_rows_are_cut_unless_all_are_wanted(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "project"))
    for number in range(25):
        project.write({f"file-{number}": f"{number}\n"})
    project.kist("add", "-q", *[f"file-{number}" for number in range(25)])
    project.commit()
    project.kist("remove", *[f"file-{number}.dvc" for number in range(25)])
    project.commit()
    short, full = (project.kist("gc", "-w", "--dry", *more).err for more in ((), ("-v",)))
    assert (short.count("last named by"), full.count("last named by")) == (20, 25)
    assert "and 5 more rows (-v shows them): 5 objects, 10B" in short


def test_dry_shows_all_and_changes_nothing(project: Project) -> None:
    project.kist("push", "-q", "-A")
    before = project.objects(), remote_objects(project)
    answer = project.kist("gc", "-w", "-c", "--dry")
    assert answer.out.count("Removing ") == 12
    assert "would go" in answer.err
    for line in answer.out.splitlines():
        if line.startswith("Removing "):
            assert os.path.isfile(line.removeprefix("Removing "))
    assert (project.objects(), remote_objects(project)) == before


# The question


def answered(
    monkeypatch: pytest.MonkeyPatch, yes: bool, meanwhile: Callable[[], object] = lambda: None
) -> None:
    def confirm(self: Console, question: str) -> bool:
        meanwhile()
        return yes

    monkeypatch.setattr(Console, "confirm", confirm)


def test_without_a_terminal_nothing_goes(project: Project) -> None:
    answer = project.try_kist("gc", "-w")
    assert (answer.code, answer.out) == (1, "")
    assert "cache: 6 objects" in answer.err
    assert texts(project) == ALL


@pytest.mark.parametrize(("yes", "left"), [(True, LAST), (False, ALL)])
def test_the_person_is_asked_after_the_table(
    project: Project, monkeypatch: pytest.MonkeyPatch, yes: bool, left: set[str]
) -> None:
    answered(monkeypatch, yes)
    assert project.try_kist("gc", "-w").code == (0 if yes else 1)
    assert texts(project) == left


def test_while_the_person_thinks_others_may_work_and_what_they_named_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_the_first_version_back() -> None:
        project.git("checkout", "-q", "HEAD~2", "--", "file.dvc")
        project.kist("checkout", "-q", "file")  # takes the lock

    answered(monkeypatch, True, take_the_first_version_back)
    answer = project.kist("gc", "-w")
    assert "Removed 5 objects from repo cache." in answer.out
    assert texts(project) == LAST | {"file 1\n"}  # and what nobody was shown is not removed either


# Refusals (R13, F19, F55)


@pytest.mark.parametrize(
    "damage", ["", "outs:\n- md", "<<<<<<< HEAD\n", "a: [1\n", "outs:\n- path: file\n", "\0\1"]
)
@pytest.mark.parametrize("where", ["workspace", "commit"])
def test_a_damaged_metafile_in_the_scope_stops_everything(project: Project, damage: str, where: str) -> None:
    project.write({"file.dvc": damage})
    if where == "commit":
        project.git("commit", "-q", "-a", "-m", "broken")
        project.git("checkout", "-q", "-B", "good", "HEAD~1")
    scope = "-w" if where == "workspace" else "-a"
    answer = project.try_kist("gc", scope, "-f")
    assert answer.code == 255
    assert "file.dvc" in answer.err and "--skip-failed" in answer.err
    assert texts(project) == ALL
    answer = project.kist("gc", scope, "-f", "--skip-failed")
    assert "left out" in answer.err
    assert texts(project) == (LAST if where == "commit" else LAST - {"file 3\n"})


def test_a_damaged_metafile_outside_of_the_scope_does_not(project: Project) -> None:
    project.write({"file.dvc": "broken"})
    project.git("commit", "-q", "-a", "-m", "broken")
    project.git("checkout", "-q", "-B", "good", "HEAD~1")
    project.kist("gc", "-w", "-f")
    assert texts(project) == LAST


def manifests(project: Project) -> list[str]:
    return [oid for oid in project.objects() if oid.endswith(".dir")]


def test_a_manifest_that_can_be_read_nowhere_stops_everything(project: Project) -> None:
    first = project.git("show", "HEAD~2:data.dvc").split("md5: ")[1].split()[0]
    os.unlink(project.path(f".dvc/cache/files/md5/{first[:2]}/{first[2:]}"))
    before = texts(project)
    project.kist("gc", "-w", "-f", "--dry")  # not in the scope
    project.write({"other": "to be removed\n"})
    project.kist("add", "-q", "other")
    os.unlink(project.path("other.dvc"))
    answer = project.try_kist("gc", "-A", "-f")
    assert answer.code == 255
    assert first in answer.err and "'data'" in answer.err
    assert texts(project) == before | {"to be removed\n"}


def test_a_manifest_that_only_the_remote_has_keeps_its_members(project: Project) -> None:
    project.kist("push", "-q", "-A")
    for oid in manifests(project):
        os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    project.write({"other": "to be removed\n"})
    project.kist("add", "-q", "other")
    os.unlink(project.path("other.dvc"))
    project.kist("gc", "-A", "-f")
    assert texts(project) == ALL
    assert manifests(project) == []  # nothing was brought here


def test_where_nothing_would_go_nothing_is_read_elsewhere(project: Project, tmp_path: Path) -> None:
    for oid in manifests(project):
        os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    for text in ("a 1\n", "a 2\n", "a 3\n", "b\n"):
        oid = next(oid for oid, data in project.objects().items() if data == text.encode())
        os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    assert project.kist("gc", "-A", "-f").err == ""


def test_a_damaged_manifest_counts_as_missing(project: Project) -> None:
    oid = manifests(project)[0]
    path = project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}")
    os.chmod(path, 0o644)
    with open(path, "a") as stream:
        stream.write(" ")
    project.write({"other": "to be removed\n"})
    project.kist("add", "-q", "other")
    os.unlink(project.path("other.dvc"))
    assert project.try_kist("gc", "-A", "-f").code == 255
    assert texts(project) == ALL | {"to be removed\n"}


def test_manifests_that_were_removed_on_purpose_are_not_missed(project: Project) -> None:
    project.kist("gc", "-w", "-f")
    project.write({"other": "to be removed\n"})
    project.kist("add", "-q", "other")
    os.unlink(project.path("other.dvc"))
    answer = project.kist("gc", "-A", "-f")
    assert "Removed 1 objects" in answer.out
    assert texts(project) == LAST


def test_a_manifest_that_came_back_and_rotted_is_missed_again(project: Project) -> None:
    project.kist("gc", "-w", "-f")
    project.write({"data/a": "a 1\n"})
    project.kist("add", "-q", "data")
    oid = project.read("data.dvc").split("md5: ")[1].split()[0]
    path = project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}")
    os.makedirs(project.path(".dvc/cache/kist-bad"))
    os.rename(path, project.path(f".dvc/cache/kist-bad/{oid}"))
    project.git("checkout", "-q", "data.dvc")
    assert project.try_kist("gc", "-A", "-f").code == 255
    assert texts(project) == LAST | {"a 1\n"}


def test_a_manifest_that_came_back_is_taken_off_the_list(project: Project) -> None:
    project.kist("gc", "-w", "-f")
    project.write({"data/a": "a 1\n"})
    project.kist("add", "-q", "data")
    oid = project.read("data.dvc").split("md5: ")[1].split()[0]
    assert oid in project.read(".dvc/tmp/kist/gone")
    project.kist("gc", "-w", "-f")
    assert oid not in project.read(".dvc/tmp/kist/gone")


# Remotes


def test_what_a_committed_removal_frees_goes_at_once_and_everywhere(project: Project) -> None:
    project.kist("push", "-q", "-A")
    project.kist("remove", "file.dvc", "--outs")
    project.commit()
    project.kist("gc", "-a", "-c", "-f")
    assert texts(project) == LAST - {"file 3\n"}
    assert remote_objects(project) == set(project.objects())


def test_a_branch_keeps_what_another_removed(project: Project) -> None:
    project.kist("push", "-q", "-A")
    project.git("branch", "keeps")
    project.kist("remove", "file.dvc", "--outs")
    project.commit()
    project.kist("gc", "-a", "-c", "-f")
    assert texts(project) == LAST


def test_what_was_just_pushed_and_never_committed_stays_in_the_remote_for_now(project: Project) -> None:
    project.write({"data/c": "somebody pushes\n"})
    project.kist("add", "-q", "data")
    project.kist("push", "-q", "-A")
    project.git("checkout", "-q", "data.dvc")
    os.unlink(project.path("data/c"))
    answer = project.kist("gc", "-A", "-c", "-f")
    assert "store: 2 objects kept for now" in answer.err
    assert texts(project) == ALL  # of the cache the lock is enough
    left = remote_objects(project)
    assert len(left) == len(project.objects()) + 2
    project.kist("gc", "-A", "-c", "-f", "--grace", "0")
    assert remote_objects(project) == set(project.objects())


def test_members_of_a_manifest_that_stays_for_now_stay_too(project: Project) -> None:
    """Else a reader would find a manifest without its files: those here were committed, and then removed."""
    project.kist("push", "-q", "-A")
    project.kist("remove", "file.dvc", "--outs")
    project.write({"data/copy": "file 3\n"})
    project.kist("add", "-q", "data")
    project.kist("push", "-q")
    project.git("checkout", "-q", "data.dvc")
    os.unlink(project.path("data/copy"))
    project.git("commit", "-q", "-a", "-m", "file is gone")
    project.kist("gc", "-w", "-c", "-f")
    store = os.path.join(os.path.dirname(project.root), "store", "files", "md5")
    for oid in remote_objects(project):
        if oid.endswith(".dir"):
            with open(os.path.join(store, oid[:2], oid[2:])) as stream:
                assert {entry["md5"] for entry in json.load(stream)} <= remote_objects(project)
    assert len([oid for oid in remote_objects(project) if oid.endswith(".dir")]) == 2


def test_a_remote_that_is_a_file_is_an_error(project: Project, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    assert project.try_kist("gc", "-w", "-c", "-f").code == 255
    assert texts(project) == ALL


# Other hands on the cache


def test_files_that_links_of_the_workspace_lead_to_stay(tmp_path: Path) -> None:
    """An add that was killed between linking and writing the metafile: the object is the only copy."""
    project = Project(str(tmp_path / "project"))
    project.kist("config", "cache.type", "symlink")
    project.write({"data/a": "the only copy\n", "data/b": "edited since\n"})
    project.kist("add", "-q", "data")
    os.unlink(project.path("data.dvc"))
    os.unlink(project.path("data/b"))
    answer = project.kist("gc", "-w", "-f")
    assert "cache: 1 object kept: symbolic links of the workspace lead to them" in answer.err
    assert project.read("data/a") == "the only copy\n"
    assert texts(project) == {"the only copy\n"}


def test_a_command_of_this_project_is_waited_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """F42: an add that stands still between storing and writing the metafile."""
    monkeypatch.setattr(repository_module, "WAIT_S", 0.1)
    with open(project.path(".dvc/tmp/lock")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = project.try_kist("gc", "-w", "-f")
    assert answer.code == 255 and "cannot lock" in answer.err
    assert texts(project) == ALL


@pytest.fixture
def outside(project: Project, tmp_path: Path) -> Project:
    """The project with its cache moved to where others may use it."""
    shutil.move(project.path(".dvc/cache"), tmp_path / "cache")
    project.kist("cache", "dir", str(tmp_path / "cache"))
    project.git("commit", "-q", "-a", "-m", "one cache for all")
    return project


def shared_texts(project: Project) -> set[str]:
    top = os.path.join(os.path.dirname(project.root), "cache", "files", "md5")
    found = set()
    for prefix in os.listdir(top):
        for name in os.listdir(os.path.join(top, prefix)):
            if not name.endswith(".dir"):
                with open(os.path.join(top, prefix, name)) as stream:
                    found.add(stream.read())
    return found


def second(project: Project, name: str = "second") -> Project:
    other = Project(os.path.join(os.path.dirname(project.root), name))
    other.kist("cache", "dir", os.path.join(os.path.dirname(project.root), "cache"))
    return other


def test_another_project_keeps_all_of_its_history(outside: Project) -> None:
    other = second(outside)
    for text in ("file 1\n", "other 1\n", "other 2\n"):
        other.write({"thing": text})
        other.kist("add", "-q", "thing")
        other.commit()
    other.write({"thing": "other, not committed\n"})
    other.kist("add", "-q", "thing")
    outside.kist("gc", "-w", "-f", "-p")
    assert shared_texts(outside) == LAST | {"file 1\n", "other 1\n", "other 2\n", "other, not committed\n"}
    other.kist("gc", "-w", "-f", "-p")  # and the other way round: the first one's history goes with nobody
    assert shared_texts(outside) == LAST | {"file 1\n", "other, not committed\n"}


def test_what_another_project_names_is_told_by_its_path(outside: Project) -> None:
    other = second(outside)
    other.write({"thing": "other\n"})
    other.kist("add", "-q", "thing")
    other.commit()
    other.kist("remove", "thing.dvc", "--outs")
    other.commit()
    answer = outside.kist("gc", "-w", "--dry", "-p")
    assert f"{other.root}: thing" not in answer.err  # a commit still names it
    found = json.loads(other.kist("gc", "-w", "--dry", "-p", "--json").out)
    assert {(row["project"], row["path"]) for row in found["stores"][0]["why"]} == {(None, "thing")}


def test_in_a_cache_of_several_what_no_project_ever_named_stays(outside: Project) -> None:
    outside.write({"file": "of a project that never ran kist here\n"})
    outside.kist("add", "-q", "file")
    outside.git("checkout", "-q", "file.dvc")
    answer = outside.kist("gc", "-A", "-f", "--grace", "0")
    assert f"cache: 1 object kept: {OUTSIDE_KEPT}" in answer.err
    answer = outside.kist("gc", "-A", "-f", "-p")
    assert "cache: 1 object kept for now" in answer.err  # just written
    outside.kist("gc", "-A", "-f", "-p", "--grace", "0")
    assert shared_texts(outside) == ALL


def test_a_project_that_is_gone_must_be_forgotten_by_name(outside: Project) -> None:
    other = second(outside)
    other.write({"thing": "other\n"})
    other.kist("add", "-q", "thing")
    other.commit()
    os.rename(other.root, other.root + " away")
    answer = outside.try_kist("gc", "-w", "-f", "-p")
    assert answer.code == 255 and other.root in answer.err and "--forget-project" in answer.err
    assert shared_texts(outside) == ALL | {"other\n"}
    assert outside.try_kist("gc", "--forget-project", "/nowhere").code == 255
    assert outside.kist("gc", "--forget-project", other.root).out == f"Forgot project '{other.root}'.\n"
    outside.kist("gc", "-w", "-f", "-p", "--grace", "0")
    assert shared_texts(outside) == LAST


def test_a_damaged_metafile_of_another_project_stops_everything(outside: Project) -> None:
    other = second(outside)
    other.write({"thing": "other\n"})
    other.kist("add", "-q", "thing")
    other.write({"thing.dvc": ""})
    answer = outside.try_kist("gc", "-w", "-f")
    assert answer.code == 255 and f"{other.root}/thing.dvc" in answer.err
    assert shared_texts(outside) == ALL | {"other\n"}


def test_a_cache_inside_of_one_project_may_be_that_of_another(project: Project) -> None:
    other = Project(os.path.join(os.path.dirname(project.root), "second"))
    other.kist("cache", "dir", project.path(".dvc/cache"))
    other.write({"thing": "other\n"})
    other.kist("add", "-q", "thing")
    other.commit()
    project.kist("gc", "-w", "-f")
    assert texts(project) == LAST | {"other\n"}


# Leftovers


def test_stale_temporary_files_go_and_others_stay(project: Project, tmp_path: Path) -> None:
    project.kist("push", "-q", "-A")
    dead = atomic.temp_name().replace(f"-{os.getpid()}-", "-4000000-")
    alive = atomic.temp_name()
    store = tmp_path / "store"
    prefix = (
        project.path(".dvc/cache/files/md5/") + sorted(os.listdir(project.path(".dvc/cache/files/md5")))[0]
    )
    folders = [
        project.path(".dvc/cache"),
        project.path(".dvc"),
        project.root,
        prefix,
        str(store),
    ]
    for folder in folders:
        for name in (dead, alive):
            Path(folder, name).touch()
    staging = os.path.join(project.path(".dvc/cache"), dead + "x")[:-1].replace("-4000000-", "-4000001-")
    os.mkdir(staging)
    Path(staging, "0-0").touch()
    for kept in ("kist-bad/" + "0" * 32, "runs/ab/" + "ab" * 32):
        path = project.path(f".dvc/cache/{kept}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).touch()
    project.kist("gc", "-w", "--dry", "-c")
    assert all(os.path.exists(os.path.join(folder, dead)) for folder in folders)
    project.kist("gc", "-A", "-f", "-c")
    assert not any(os.path.exists(os.path.join(folder, dead)) for folder in folders)
    assert not os.path.exists(staging)
    for folder in folders:
        os.unlink(os.path.join(folder, alive))
    assert project.exists(".dvc/cache/kist-bad/" + "0" * 32) and project.exists(
        ".dvc/cache/runs/ab/" + "ab" * 32
    )
    assert texts(project) == ALL


def test_not_in_remote_leaves_what_is_damaged_there(project: Project, tmp_path: Path) -> None:
    project.kist("push", "-q", "-A")
    oid = next(oid for oid, data in project.objects().items() if data == b"file 3\n")
    path = tmp_path / "store" / "files" / "md5" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"rot\n")
    answer = project.kist("gc", "-A", "-f", "--not-in-remote")
    assert "in the remote" in answer.err or "last named by" in answer.err
    assert set(project.objects()) == {oid}

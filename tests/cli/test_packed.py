"""Packed remotes by commands: made, used by two projects, verified and mended, cleaned up, converted both ways."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kist.testing.project import Project

from .helpers import copy_of, made_project


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1 is tagged, version 2 on the branch; both are on the packed remote `store`."""
    made = made_project(tmp_path_factory.mktemp("template"))
    made.kist("remote", "add", "--quiet", "-d", "store", "../store")
    made.kist("remote", "init", "--packed")
    made.git("tag", "v1")
    made.write({"model.bin": "the second model\n" * 5000})
    made.kist("add", "--quiet", "model.bin")
    made.commit()
    made.kist("push", "--quiet", "-A")
    return made


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    found = copy_of(template, tmp_path)
    shutil.copytree(store_of(template), store_of(found))
    return found


def store_of(project: Project) -> Path:
    return Path(project.root).parent / "store"


def names(project: Project) -> set[str]:
    """Returns the first part of each key in the place."""
    store = store_of(project)
    return {path.relative_to(store).parts[0] for path in store.rglob("*") if path.is_file()}


def drop_cache(project: Project) -> None:
    shutil.rmtree(project.path(".dvc/cache"))
    shutil.rmtree(project.path("data"))
    os.unlink(project.path("model.bin"))


def test_a_packed_remote_is_made_once_and_only_in_an_empty_place(project: Project) -> None:
    assert "was packed already" in project.kist("remote", "init", "--packed").out
    project.kist("remote", "add", "--quiet", "plain", "../plain")
    project.kist("push", "--quiet", "-r", "plain")
    refused = project.try_kist("remote", "init", "--packed", "plain")
    assert refused.code != 0 and "holds something already" in refused.err
    assert "kist remote convert --packed plain" in refused.err


def test_the_place_holds_packs_and_a_guard_and_commands_say_what_they_say_elsewhere(project: Project) -> None:
    assert names(project) == {"kist-packed.json", "files", "packs", "index"}
    assert "up to date" in project.kist("push").out
    assert project.kist("status", "-c", "--json").out.strip() == "{}"
    rows = json.loads(project.kist("remote", "ls", "--json").out)["rows"]
    assert all(row["complete"] for row in rows) and len(rows) == 4
    assert project.kist("remote", "check").out.count("ok") == 4
    drop_cache(project)
    project.kist("pull")
    assert project.kist("status", "--json").out.strip() == "{}"


def test_a_marker_of_a_newer_layout_is_named_in_one_line(project: Project) -> None:
    marker = store_of(project) / "kist-packed.json"
    value = json.loads(marker.read_text())
    os.unlink(marker)
    marker.write_text(json.dumps(value | {"reader": 3}))
    before = sorted(store_of(project).rglob("*"))
    for words in (("push",), ("fetch", "-r", "store"), ("status", "-c")):
        refused = project.try_kist(*words)
        assert refused.code == 251
        assert "version 3 of the packed layout, and this Kist knows 1" in refused.err
    assert sorted(store_of(project).rglob("*")) == before


def test_a_clean_up_keeps_what_is_named_and_repacks(project: Project) -> None:
    wrong = project.try_kist("gc", "-w", "-f", "--repack")
    assert wrong.code == 255 and "--repack" in wrong.err
    done = project.kist("gc", "-w", "-c", "-f", "--grace", "0", "--repack")
    assert "packs" in done.err
    drop_cache(project)
    project.kist("pull")
    rows = json.loads(project.kist("remote", "ls", "--json").out)
    assert [row["path"] for row in rows["rows"]] == ["data", "model.bin", "sub/table.csv"]
    assert rows["unneeded"] == {"objects": 0, "bytes": 0}


def test_a_single_small_pack_is_not_rewritten_again_and_again(project: Project) -> None:
    project.kist("gc", "-w", "-c", "-f", "--grace", "0", "--repack")
    before = {path: path.stat().st_mtime_ns for path in store_of(project).rglob("*.pack")}
    assert len(before) == 1
    again = project.kist("gc", "-w", "-c", "-f", "--grace", "0", "--repack")
    assert "pack" not in again.err
    assert {path: path.stat().st_mtime_ns for path in store_of(project).rglob("*.pack")} == before


def test_a_verification_that_was_interrupted_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kist.transfer import packed_verify
    from kist.transfer.packed import PackedRemote

    monkeypatch.setattr(packed_verify, "_PORTION_OBJECTS", 2)
    asked: list[set[str]] = []
    real = PackedRemote.receive_packed

    def stops(self: PackedRemote, oids: set[str], *rest: Any, **more: Any) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(set(oids))
        return real(self, oids, *rest, **more)

    monkeypatch.setattr(PackedRemote, "receive_packed", stops)
    assert project.try_kist("fsck", "-c").code != 0
    read_before = set().union(*asked)
    asked.clear()

    def notes(self: PackedRemote, oids: set[str], *rest: Any, **more: Any) -> Any:
        asked.append(set(oids))
        return real(self, oids, *rest, **more)

    monkeypatch.setattr(PackedRemote, "receive_packed", notes)
    report = json.loads(project.kist("fsck", "-c", "--json").out)
    assert asked and read_before.isdisjoint(set().union(*asked))
    assert report["places"][1]["damaged"] == []
    asked.clear()
    project.kist("fsck", "-c")
    assert read_before <= set().union(*asked), "a run that ended leaves no notes"


def test_damage_in_a_pack_is_named_set_aside_and_mended(project: Project) -> None:
    packs = sorted((store_of(project) / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    data = packs[-1].read_bytes()
    os.chmod(packs[-1], 0o644)
    packs[-1].write_bytes(data[:40] + bytes(8) + data[48:])
    seen = project.try_kist("fsck", "-c", "--dry")
    assert seen.code == 1 and "corrupt" in seen.err
    report = json.loads(project.kist("fsck", "-c", "--json").out)
    damaged = report["places"][1]["damaged"]
    assert damaged and {item["mended_from"] for item in damaged} == {"cache"}
    assert {item["aside"] for item in damaged} == {f"kist-bad/{packs[-1].name}"}
    assert (store_of(project) / "kist-bad" / packs[-1].name).exists()
    assert json.loads(project.kist("fsck", "-c", "--json").out)["places"][1]["damaged"] == []
    drop_cache(project)
    project.kist("pull")


def test_a_conversion_goes_both_ways_and_leaves_what_was_there(project: Project) -> None:
    before = json.loads(project.kist("remote", "ls", "--json").out)
    done = json.loads(project.kist("remote", "convert", "--loose", "--json").out)
    assert done["failed"] == [] and done["objects"] > 3
    assert names(project) == {"files"}
    assert json.loads(project.kist("remote", "ls", "--json").out) == before
    assert "up to date" in project.kist("push", "-A").out
    again = json.loads(project.kist("remote", "convert", "--packed", "--json").out)
    assert again == done
    assert names(project) == {"kist-packed.json", "files", "packs", "index"}
    assert json.loads(project.kist("remote", "ls", "--json").out) == before
    drop_cache(project)
    project.kist("pull")


def test_a_loose_object_that_is_damaged_stays_and_the_conversion_says_so(project: Project) -> None:
    project.kist("remote", "convert", "--loose")
    victim = next(path for path in (store_of(project) / "files").rglob("*") if path.stat().st_size > 80_000)
    os.chmod(victim, 0o644)
    victim.write_bytes(b"rot")
    done = project.try_kist("remote", "convert", "--packed", "--json")
    assert done.code == 1
    assert [item["why"] for item in json.loads(done.out)["failed"]] == ["corrupt"]
    assert victim.read_bytes() == b"rot"
    refused = project.try_kist("gc", "-w", "-c", "-f")
    assert "conversion" in refused.err and refused.code != 0
    # A push sends what is damaged there, and the next run ends the conversion.
    victim.unlink()
    project.kist("push", "-A")
    assert json.loads(project.kist("remote", "convert", "--packed", "--json").out)["failed"] == []
    assert names(project) == {"kist-packed.json", "files", "packs", "index"}


def test_what_somebody_sent_loose_beside_the_packs_is_found(project: Project) -> None:
    project.kist("remote", "add", "--quiet", "plain", "../plain")
    project.kist("push", "--quiet", "-A", "-r", "plain")
    store = store_of(project)
    for path in [*store.rglob("*.pack"), *store.rglob("*.idx"), store / "files"]:
        path.unlink()
    os.rename(store.parent / "plain" / "files", store / "files")
    drop_cache(project)
    project.kist("pull")
    assert project.kist("status", "--json").out.strip() == "{}"


def test_a_disk_that_is_not_mounted_gets_no_loose_remote(project: Project) -> None:
    project.kist("status", "-c")
    shutil.move(store_of(project), store_of(project).parent / "away")
    for words in (("push",), ("status", "-c")):
        refused = project.try_kist(*words)
        assert refused.code != 0 and "it was packed" in refused.err and not store_of(project).exists()
    shutil.move(store_of(project).parent / "away", store_of(project))
    assert "up to date" in project.kist("push").out


def test_options_keep_dvc_away_and_kist_knows_what_they_mean(project: Project) -> None:
    from kist.repo.transfers import guarded, unguarded

    for real, shown in (("", "kist-packed"), ("lab", "kist-packed/lab")):
        assert guarded("profile", real or None) == shown == guarded("profile", shown)
        assert unguarded("profile", shown) == real
    for name in ("profile", "url"):
        assert unguarded(name, "kist-packed-of-mine") == "kist-packed-of-mine"
    real, shown = "gs://data/packed", "gs://kist-packed:data/packed"
    assert guarded("url", real) == shown == guarded("url", shown)
    assert unguarded("url", shown) == real == unguarded("url", real)

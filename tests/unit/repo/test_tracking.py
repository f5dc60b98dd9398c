"""Storing and linking of workspace files: what they become, what is remembered of them, and what is repaired."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest
from tests.unit.objects import md5, put, read, write

from kist.base import digests
from kist.base.listing import STAT_SIZE, pack_stat
from kist.repo import linking
from kist.store import ingest, links
from kist.store.loose import LooseStore
from kist.store.statindex import DIGEST_SIZE
from kist.store.trust import Trust
from kist.testing.project import Project

FILES = {"data/one.txt": b"one\n", "data/two.txt": b"two\n", "data/deep/three.txt": b"three\n"}
ONE = FILES["data/one.txt"]


def cache(project: Project) -> LooseStore:
    return LooseStore(project.path(".dvc/cache"))


def kind(project: Project, rel: str) -> str:
    """Returns how a file is tied to its object."""
    path = project.path(rel)
    target = cache(project).path(md5(read(path)))
    if os.path.islink(path):
        assert os.readlink(path) == target
        return links.SYMLINK
    if os.path.exists(target) and os.path.samefile(path, target):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o444
        return links.HARDLINK
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o200
    return links.COPY


def kinds(project: Project) -> set[str]:
    return {kind(project, rel) for rel in FILES}


def assert_what_is_remembered_is_true(project: Project) -> None:
    """Each record that would be believed now is of bytes that have the recorded digest."""
    repository = project.repository()
    store = repository.cache
    believed = 0
    for row in repository.index.folders(f"store:{store.root}", "").values():
        for at in range(len(row.digests) // DIGEST_SIZE):
            oid = row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE].hex()
            if store.stat(oid) == row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]:
                believed += 1
                assert md5(read(store.path(oid))) == oid
    for top, row in repository.index.folders("md5", "").items():
        for at, name in enumerate(row.names.split("\0") if row.names else ()):
            path = project.path(f"{top}/{name}")
            record = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
            if os.path.exists(path) and pack_stat(os.stat(path)) == record:
                believed += 1
                assert md5(read(path)) == row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE].hex()
    repository.close()
    assert believed


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that fills with the paths of files that are read to hash them."""
    found: list[str] = []
    real = digests.read_md5

    def read_md5(path: str, size_hint: int = 0) -> tuple[bytes, int]:
        found.append(path)
        return real(path, size_hint)

    monkeypatch.setattr(digests, "read_md5", read_md5)
    return found


@pytest.mark.parametrize("command", [("add", "data"), ("commit",)], ids=["add", "commit"])
@pytest.mark.parametrize("after", [links.COPY, links.HARDLINK, links.SYMLINK])
@pytest.mark.parametrize("before", [links.COPY, links.HARDLINK, links.SYMLINK])
def test_unchanged_files_become_what_the_configuration_wants(
    project: Project, before: str, after: str, command: tuple[str, ...]
) -> None:
    for wanted in (before, after):
        project.kist("config", "cache.type", wanted)
        project.kist(*command)
        assert kinds(project) == {wanted}
        assert {rel: read(project.path(rel)) for rel in FILES} == FILES
        assert_what_is_remembered_is_true(project)
    assert project.kist("status").out.strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize(
    ("types", "of_member", "of_file"),
    [
        ("reflink,hardlink,copy", links.COPY, links.HARDLINK),
        ("hardlink,copy", links.COPY, links.HARDLINK),
        ("symlink,copy", links.COPY, links.SYMLINK),
        ("symlink,hardlink", links.SYMLINK, links.SYMLINK),
    ],
)
def test_a_member_may_stay_what_the_list_names_and_a_single_file_becomes_the_first_that_works(
    project: Project, types: str, of_member: str, of_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "clone", lambda *_: False)
    project.kist("config", "cache.type", types)
    project.kist("add", "data", "model.bin")
    assert kinds(project) == {of_member}
    assert kind(project, "model.bin") == of_file


@pytest.mark.parametrize("has_looked", [False, True], ids=["at once", "after a status"])
@pytest.mark.parametrize("command", [("add", "data"), ("commit",), ("commit", "--force")], ids=" ".join)
@pytest.mark.parametrize("wanted", [links.HARDLINK, links.SYMLINK])
def test_an_object_that_a_kill_left_writable_is_made_read_only(
    project: Project, wanted: str, command: tuple[str, ...], has_looked: bool
) -> None:
    project.kist("config", "cache.type", wanted)
    target = cache(project).path(md5(ONE))
    write(target, ONE)
    os.unlink(project.path("data/one.txt"))
    os.link(target, project.path("data/one.txt"))
    if has_looked:
        project.kist("status")
    project.kist(*command)
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o444
    assert kinds(project) == {wanted}
    assert_what_is_remembered_is_true(project)


@pytest.mark.parametrize("wanted", [links.COPY, links.HARDLINK, links.SYMLINK])
def test_a_damaged_object_is_healed_from_the_file_that_is_no_link_yet(project: Project, wanted: str) -> None:
    project.kist("config", "cache.type", wanted)
    target = cache(project).path(md5(ONE))
    write(target, b"0ne\n")
    project.kist("add", "data")
    assert read(target) == read(project.path("data/one.txt")) == ONE
    assert kinds(project) == {wanted}
    assert_what_is_remembered_is_true(project)


@pytest.mark.parametrize("wanted", [links.HARDLINK, links.SYMLINK])
def test_a_file_that_is_written_before_it_gives_way_to_a_link_keeps_what_was_written(
    project: Project, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = linking._changed
    edits = [b"edited\n"]

    def changed(*arguments: Any) -> list[str]:
        if edits:
            write(project.path("data/one.txt"), edits.pop())
        return real(*arguments)

    monkeypatch.setattr(linking, "_changed", changed)
    project.kist("config", "cache.type", wanted)
    project.kist("add", "data")
    assert read(project.path("data/one.txt")) == b"edited\n"
    assert cache(project).has(md5(b"edited\n"))
    assert kinds(project) == {wanted}
    assert project.kist("status").out.strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("wanted", [links.COPY, links.HARDLINK, links.SYMLINK])
def test_equal_files_of_which_one_changes_while_it_is_stored_end_with_true_objects(
    project: Project, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.kist("config", "cache.type", wanted)
    for name in "abc":
        project.write({f"data/{name}": "same\n"})
    real = ingest.settle
    edits = ["data/a"]

    def settle() -> None:
        real()
        if edits:
            path = project.path(edits.pop())
            os.chmod(path, 0o644)
            with open(path, "r+b") as stream:
                stream.write(b"SAME")

    monkeypatch.setattr(ingest, "settle", settle)
    project.kist("add", "data")
    assert read(project.path("data/a")) == b"SAME\n"
    assert read(project.path("data/b")) == read(project.path("data/c")) == b"same\n"
    for data in (b"SAME\n", b"same\n"):
        assert read(cache(project).path(md5(data))) == data
    assert_what_is_remembered_is_true(project)
    assert project.kist("status").out.strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("wanted", [links.COPY, links.HARDLINK, links.SYMLINK])
def test_equal_files_are_not_read_again_after_they_were_stored(
    project: Project, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.kist("config", "cache.type", wanted)
    for name in "abc":
        project.write({f"data/{name}": "same\n"})
    put(cache(project), b"kept before\n")
    project.write({"data/d": "kept before\n"})
    project.kist("add", "data")
    reads = count_reads(monkeypatch)
    project.kist("status")
    project.kist("add", "data")
    assert [path for path in reads if not path.endswith(".dir")] == []


@pytest.mark.parametrize("wanted", [links.HARDLINK, links.SYMLINK])
def test_links_that_are_known_cost_no_look_at_any_object(
    project: Project, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.kist("config", "cache.type", wanted)
    project.kist("add", "data")
    project.kist("add", "data")  # finds that all are links, and remembers it

    def refuse(*_: object) -> None:
        raise AssertionError("an object was asked for")

    monkeypatch.setattr(LooseStore, "look", refuse)
    monkeypatch.setattr(LooseStore, "stat", refuse)
    monkeypatch.setattr(Trust, "records", refuse)
    project.kist("add", "data")
    monkeypatch.undo()
    os.unlink(project.path("data/two.txt"))
    write(project.path("data/two.txt"), FILES["data/two.txt"])
    project.kist("add", "data")
    assert kinds(project) == {wanted}


def test_an_empty_file_is_no_link(project: Project) -> None:
    project.kist("config", "cache.type", "symlink")
    project.write({"data/empty": ""})
    project.kist("add", "data")
    assert kind(project, "data/empty") == links.COPY
    os.unlink(project.path("data/empty"))
    os.symlink(cache(project).path(md5(b"")), project.path("data/empty"))
    project.kist("add", "data")
    assert kind(project, "data/empty") == links.COPY


def test_a_link_to_a_folder_in_data_is_named_and_left_out(project: Project) -> None:
    project.write({"elsewhere/x": "x\n"})
    os.symlink("../elsewhere", project.path("data/link"))
    answer = project.kist("add", "data")
    assert "left out 'data/link'" in answer.err
    assert not cache(project).has(md5(b"x\n"))
    assert project.kist("status").out.strip() == "Data and pipelines are up to date."

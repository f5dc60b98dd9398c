"""`fetch`: an object that was damaged in the cache is fetched again, where that costs no more than a look."""

from __future__ import annotations

import os

import pytest

from kist.base.listing import settle
from kist.store import trust
from kist.testing.project import Project

ONE = "5bbf5a52328e7439ae6e719dfe712200"
"""The id of "one" in `data/one.txt`."""


@pytest.fixture(params=["copy", "hardlink", "symlink"])
def pushed(project: Project, request: pytest.FixtureRequest) -> Project:
    """The project, linked in one way, with a remote that has everything."""
    project.kist("config", "cache.type", request.param)
    project.kist("checkout", "--relink", "--quiet")
    os.mkdir(project.path("../remote"))
    project.kist("remote", "add", "--default", "storage", "../remote")
    project.kist("push", "--quiet")
    settle()
    return project


def damage(project: Project, oid: str, text: str) -> str:
    """Writes into an object in place, and puts its mode and modification time back; returns its path."""
    path = project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}")
    before = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(path, 0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


def manifest_of(project: Project) -> str:
    """Returns the id of the manifest of `data`."""
    return next(line.split()[-1] for line in project.read("data.dvc").splitlines() if line.endswith(".dir"))


@pytest.mark.parametrize("words", [(), ("data",), ("data/one.txt",), ("-r", "storage")])
def test_a_damaged_object_is_fetched_again_and_kept_aside(pushed: Project, words: tuple[str, ...]) -> None:
    pushed.kist("fetch")
    path = damage(pushed, ONE, "rot\n")
    assert pushed.kist("fetch", *words).out == "1 file fetched\n"
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == "one\n"
    assert pushed.read(f".dvc/cache/kist-bad/{ONE}") == "rot\n"
    assert pushed.kist("fetch", *words).out == "Everything is up to date.\n"


def test_a_damaged_object_that_no_remote_has_is_named(pushed: Project) -> None:
    os.unlink(pushed.path(f"../remote/files/md5/{ONE[:2]}/{ONE[2:]}"))
    damage(pushed, ONE, "rot\n")
    answer = pushed.try_kist("fetch")
    assert (answer.code, answer.out) == (1, "")
    assert ONE in answer.err
    assert pushed.read(f".dvc/cache/kist-bad/{ONE}") == "rot\n"


def test_a_damaged_object_that_is_not_asked_for_stays(pushed: Project) -> None:
    path = damage(pushed, ONE, "rot\n")
    assert pushed.kist("fetch", "model.bin").out == "Everything is up to date.\n"
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == "rot\n"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_damaged_manifest_is_fetched_again(pushed: Project, is_known: bool) -> None:
    if is_known:
        pushed.kist("fetch")
        pushed.kist("fetch")
    path = damage(pushed, manifest_of(pushed), "[ ")
    assert pushed.kist("fetch").out == "1 file fetched\n"
    with open(path, encoding="utf-8") as stream:
        assert stream.read().startswith('[{"md5"')


def test_objects_that_were_only_touched_stay_and_are_read_once(
    pushed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damage(pushed, ONE, "one\n")
    settle()
    inode = os.stat(path).st_ino
    assert pushed.kist("fetch").out == "Everything is up to date.\n"
    assert os.stat(path).st_ino == inode
    monkeypatch.setattr("kist.store.loose.LooseStore.is_intact", None)
    assert pushed.kist("fetch").out == "Everything is up to date.\n"


def test_of_a_large_cache_each_fetch_looks_at_a_share(
    pushed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "SHARE", 1)
    damage(pushed, ONE, "rot\n")
    answers = [pushed.kist("fetch").out for _ in range(len(pushed.objects()))]
    assert answers.count("1 file fetched\n") == 1
    assert answers.count("Everything is up to date.\n") == len(answers) - 1

"""The registry of projects that use a cache."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.base import atomic
from kist.repo import projects
from kist.repo.projects import (
    NotRegisteredError,
    ProjectLostError,
    RegistryDamagedError,
    forget,
    reachable,
    register,
    registered,
    unregister,
)
from kist.store.loose import LooseStore
from kist.testing.project import Project


@pytest.fixture
def cache(tmp_path: Path) -> LooseStore:
    return LooseStore(str(tmp_path / "cache"), shared_group=True)


def make(tmp_path: Path, name: str) -> str:
    root = tmp_path / name
    (root / ".dvc").mkdir(parents=True)
    return str(root)


def roots(cache: LooseStore) -> list[str]:
    return [project.root for project in reachable(cache.base)]


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(atomic, "machine_name", lambda: machine)


def test_a_cache_that_nobody_registered_with_knows_no_project(cache: LooseStore) -> None:
    assert registered(cache.base) == []


def test_projects_are_known_by_path_machine_and_user(cache: LooseStore, tmp_path: Path) -> None:
    one, two = make(tmp_path, "one"), make(tmp_path, "two")
    for root in (two, one, one):
        register(cache, root)
    assert roots(cache) == [one, two]
    entry = registered(cache.base)[0]
    assert entry.machine == atomic.machine_name()
    assert entry.inode == os.stat(os.path.join(one, ".dvc")).st_ino
    with open(entry.entry) as stream:
        assert json.load(stream).keys() == {"root", "machine", "inode", "user"}
    assert os.stat(os.path.join(cache.base, projects.REGISTRY)).st_mode & 0o7777 == 0o2775


def test_a_project_that_is_not_there_is_never_dropped(cache: LooseStore, tmp_path: Path) -> None:
    root = make(tmp_path, "gone")
    register(cache, root)
    os.rename(root, root + " away")
    for _ in range(2):
        with pytest.raises(ProjectLostError, match=root) as caught:
            reachable(cache.base)
    assert caught.value.hint is not None and "--forget-project" in caught.value.hint
    os.rename(root + " away", root)
    assert roots(cache) == [root]


def test_a_project_that_was_moved_is_known_by_its_new_path(cache: LooseStore, tmp_path: Path) -> None:
    root = make(tmp_path, "old")
    register(cache, root)
    os.rename(root, tmp_path / "new")
    register(cache, str(tmp_path / "new"))
    assert roots(cache) == [str(tmp_path / "new")]
    assert len(registered(cache.base)) == 1


def test_a_project_that_was_made_anew_in_the_same_place_is_one(cache: LooseStore, tmp_path: Path) -> None:
    root = make(tmp_path, "again")
    register(cache, root)
    os.rename(os.path.join(root, ".dvc"), os.path.join(root, "kept"))  # so that the number is not given again
    os.mkdir(os.path.join(root, ".dvc"))
    register(cache, root)
    assert roots(cache) == [root]


def test_a_project_of_another_machine_is_seen_where_its_folder_is_the_same(
    cache: LooseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path, "mounted")
    with monkeypatch.context() as patch:
        pretend(patch, "elsewhere")
        register(cache, root)
    assert roots(cache) == [root]
    os.rename(os.path.join(root, ".dvc"), os.path.join(root, "kept"))
    os.mkdir(os.path.join(root, ".dvc"))  # a path of the same name, on this machine's own disk
    with pytest.raises(ProjectLostError, match="elsewhere"):
        reachable(cache.base)


def test_garbage_in_the_registry_is_no_empty_registry(cache: LooseStore, tmp_path: Path) -> None:
    register(cache, make(tmp_path, "one"))
    path = registered(cache.base)[0].entry
    for content in ("", "{", "[]", '{"root": "/x"}'):
        with open(path, "w") as stream:
            stream.write(content)
        with pytest.raises(RegistryDamagedError, match=os.path.basename(path)):
            reachable(cache.base)


def test_only_what_is_gone_can_be_forgotten(cache: LooseStore, tmp_path: Path) -> None:
    root = make(tmp_path, "one")
    register(cache, root)
    with pytest.raises(NotRegisteredError, match="it is there"):
        forget(cache.base, root)
    with pytest.raises(NotRegisteredError, match="not registered"):
        forget(cache.base, "/nowhere")
    os.rename(root, root + " away")
    forget(cache.base, root)
    assert registered(cache.base) == []


def test_a_cache_that_cannot_be_written_registers_nobody(
    cache: LooseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, data: bytes, *, mode: int) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(atomic, "write_file", refuse)  # root may write anywhere
    register(cache, make(tmp_path, "one"))
    assert registered(cache.base) == []


def test_unregistering_takes_one_project_off(cache: LooseStore, tmp_path: Path) -> None:
    one, two = make(tmp_path, "one"), make(tmp_path, "two")
    register(cache, one)
    register(cache, two)
    unregister(cache.base, one)
    assert roots(cache) == [two]


def test_changing_commands_register_where_the_cache_lies_outside(project: Project, tmp_path: Path) -> None:
    assert not os.path.exists(project.path(".dvc/cache/" + projects.REGISTRY))
    outside = str(tmp_path / "outside")
    project.kist("cache", "dir", outside)
    assert registered(outside) == []
    project.kist("status")
    assert registered(outside) == []
    project.write({"more": "more\n"})
    project.kist("add", "-q", "more")
    assert [entry.root for entry in registered(outside)] == [project.root]
    project.kist("destroy", "-f")
    assert registered(outside) == []


def test_git_is_told_to_read_repositories_of_others_and_to_fetch_nothing() -> None:
    found = projects.trusting({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"})
    assert found["GIT_CONFIG_COUNT"] == "3"
    pairs = {found[f"GIT_CONFIG_KEY_{at}"]: found[f"GIT_CONFIG_VALUE_{at}"] for at in range(3)}
    assert pairs == {"a.b": "c", "safe.directory": "*", "protocol.allow": "never"}

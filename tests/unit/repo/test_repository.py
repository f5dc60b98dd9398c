"""Finding the repository around a folder."""

from __future__ import annotations

import os

import pytest

from kist.repo.repository import NoRepositoryError, Repository, find_root
from kist.repo.settings import ConfigPaths
from kist.testing.project import Project

NO_CONFIG = ConfigPaths(None, None, None, None)


def mount(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Makes a folder look like a mount point; a real one needs root."""
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda asked: asked == path or is_mount(asked))


def test_the_nearest_repository_above_is_found(project: Project) -> None:
    assert find_root(project.path("data/deep")) == project.root
    assert find_root(project.path("")) == project.root
    assert find_root(os.path.dirname(project.root)) is None


def test_the_search_ends_at_a_mount_point(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(monkeypatch, project.path("data"))
    assert find_root(project.path("data/deep")) is None
    with pytest.raises(NoRepositoryError, match=f"up to the mount point '{project.path('data')}'"):
        Repository.find(project.path("data/deep"), config_paths=NO_CONFIG)


def test_a_repository_right_in_a_mount_point_is_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(monkeypatch, project.root)
    assert find_root(project.path("data")) == project.root


def test_the_top_of_the_file_system_is_not_called_a_mount_point(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda asked: asked == "/")
    with pytest.raises(NoRepositoryError) as caught:
        Repository.find(os.path.dirname(project.root), config_paths=NO_CONFIG)
    assert caught.value.message.endswith("or above it")

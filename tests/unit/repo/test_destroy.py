"""Destroying: what is counted, and what a rerun does."""

from __future__ import annotations

import os

from kist.repo.destroy import destroy, loss
from kist.testing.project import Project


def test_the_loss_is_what_the_cache_holds(project: Project) -> None:
    lost = loss(project.repository())
    assert lost.objects == len(project.objects()) == 6
    assert lost.size_bytes == sum(map(len, project.objects().values()))
    assert lost.metafiles == 3


def test_a_cache_elsewhere_is_no_loss(project: Project) -> None:
    project.kist("cache", "dir", os.path.join(os.path.dirname(project.root), "shared"))
    assert loss(project.repository()).objects == 0


def test_closing_the_repository_afterwards_brings_nothing_back(project: Project) -> None:
    repository = project.repository()
    destroy(repository)
    repository.close()
    assert not project.exists(".dvc")


def test_the_same_command_finishes_what_a_kill_left(project: Project) -> None:
    for name in ("data.dvc", "model.bin.dvc"):
        os.unlink(project.path(name))
    destroy(project.repository())
    assert not project.exists(".dvc")
    assert not project.exists("sub/table.csv.dvc")
    assert project.read("sub/table.csv") == "a,b\n"

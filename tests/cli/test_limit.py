"""`--limit`: one limit for all bytes that go to remotes and come from them, whatever kind of remote it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from kist.base.limiter import Limiter
from kist.testing.project import Project
from kist.testing.web_server import WebServer

OBJECTS = 6
"""Files and the manifest of the project."""


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Returns a list that gets (rate, bytes) whenever bytes are spent; nobody waits."""
    found: list[tuple[float, int]] = []
    monkeypatch.setattr(
        Limiter, "spend", lambda self, size, wait=None: found.append((self.bytes_per_s, size))
    )
    return found


@pytest.fixture(params=["folder", "http"])
def remote(request: pytest.FixtureRequest, project: Project) -> Iterator[Project]:
    """Yields the project with a default remote."""
    if request.param == "folder":
        project.kist("remote", "add", "--default", "store", "../remote")
        yield project
        return
    with WebServer(project.path("../www")) as server:
        project.kist("remote", "add", "--default", "store", server.url)
        project.kist("remote", "modify", "store", "method", "PUT")
        yield project


def total(spent: list[tuple[float, int]]) -> int:
    """Returns how much was spent since the last time."""
    size = sum(size for _, size in spent)
    spent.clear()
    return size


def test_every_byte_counts_both_ways(remote: Project, spent: list[tuple[float, int]]) -> None:
    size = sum(len(data) for data in remote.objects().values())
    assert len(remote.objects()) == OBJECTS
    remote.kist("push", "--limit", "10M")
    assert {rate for rate, _ in spent} == {10 << 20}
    assert total(spent) == size
    shutil.rmtree(remote.path(".dvc/cache"))
    remote.kist("fetch", "--limit", "1.5k")
    assert {rate for rate, _ in spent} == {1536}
    assert total(spent) == size
    remote.kist("fsck", "-c", "--limit", "1G")
    assert total(spent) == size
    remote.kist("remote", "add", "other", "../other")
    remote.kist("remote", "copy", "store", "other", "--limit", "2M")
    assert total(spent) >= size
    shutil.rmtree(remote.path(".dvc/cache"))
    remote.kist("pull", "--limit", "4096")
    assert {rate for rate, _ in spent} == {4096}
    assert total(spent) == size


def test_without_a_limit_nothing_is_spent(remote: Project, spent: list[tuple[float, int]]) -> None:
    remote.kist("push")
    assert spent == []


@pytest.mark.parametrize("text", ["", "M", "10", "0", "-5M", "1023", "nan", "infT", "10Q", "ten", "10MB"])
def test_what_is_no_rate_is_refused(project: Project, text: str) -> None:
    answer = project.try_kist("push", f"--limit={text}")
    assert answer.code == 254
    assert "no rate of at least 1K, such as 500K or 10M" in answer.err

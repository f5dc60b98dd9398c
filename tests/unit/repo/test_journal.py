"""The note about an interrupted command, and the list of checkouts under way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.base import atomic
from kist.repo import halfway
from kist.repo.journal import (
    Journal,
    journal_path,
    may_be_interrupted,
    read_journal,
    remove_journal,
    settle_journal,
    write_journal,
)
from kist.repo.repository import Repository
from kist.repo.settings import ConfigPaths
from kist.testing.project import Project


@pytest.fixture
def repository(project: Project) -> Repository:
    return Repository(
        project.root,
        cwd=project.root,
        config_paths=ConfigPaths(None, None, None, None),
        environ=dict(os.environ),
    )


def test_what_is_written_is_read_and_signed(repository: Repository) -> None:
    journal = Journal(
        "switch", "kist switch 'v 1'", "main", "a" * 40, None, "b" * 40, left_alone=("data", "ü")
    )
    assert not may_be_interrupted(repository)
    write_journal(repository, journal)
    assert may_be_interrupted(repository)
    found = read_journal(repository)
    assert found is not None
    assert (found.host, found.pid) == (atomic.machine_name(), os.getpid())
    assert found._replace(host="", pid=0, started_s=0.0) == journal
    remove_journal(repository)
    remove_journal(repository)
    assert read_journal(repository) is None


def valid() -> dict[str, object]:
    return {"version": 1, **Journal("save", "kist save", host="x", message="m")._asdict()}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"{}",
        json.dumps({**valid(), "version": 2}).encode(),
        json.dumps({**valid(), "more": 1}).encode(),
        json.dumps({**valid(), "command": None}).encode(),
        json.dumps({**valid(), "head": 5}).encode(),
        json.dumps({**valid(), "pid": "5"}).encode(),
        json.dumps({**valid(), "left_alone": [1]}).encode(),
    ],
)
def test_garbage_is_removed_and_noted(repository: Repository, data: bytes) -> None:
    path = Path(journal_path(repository))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert read_journal(repository) is None
    assert not path.exists()
    assert "an unreadable note" in repository.take_notes()[0]


def test_a_folder_in_its_place_is_moved_away(repository: Repository) -> None:
    os.makedirs(journal_path(repository))
    assert read_journal(repository) is None
    write_journal(repository, Journal("save", "kist save"))
    assert read_journal(repository) is not None


def test_a_whole_checkout_settles_only_what_a_checkout_finishes(
    project: Project, repository: Repository
) -> None:
    head = project.git("rev-parse", "HEAD").strip()
    cases = {
        Journal("save", "", head=head): True,
        Journal("restore", ""): False,
        Journal("switch", "", head="a" * 40, to_head=head): False,
        Journal("switch", "", head=head, to_head=head): False,
        Journal("switch", "", head=head, to_head="b" * 40): True,
        Journal("sync", "", head=head): True,
    }
    for journal, stays in cases.items():
        write_journal(repository, journal)
        settle_journal(repository)
        assert os.path.exists(journal_path(repository)) is stays, journal


def test_checkouts_under_way_are_listed_until_they_end(repository: Repository) -> None:
    with halfway.under_way(repository, ["data", "b"]):
        assert halfway.unfinished(repository) == ["b", "data"]
    assert not halfway.may_be_unfinished(repository)
    with pytest.raises(KeyError), halfway.under_way(repository, ["data/deep", "b"]):
        raise KeyError
    assert halfway.unfinished(repository) == ["b", "data/deep"]
    halfway.finished(repository, ["data"])
    assert halfway.unfinished(repository) == ["b"]
    halfway.finished(repository, ["b"])
    assert not halfway.may_be_unfinished(repository)


def test_adding_a_path_says_that_it_is_as_it_is_to_be(project: Project, repository: Repository) -> None:
    with pytest.raises(KeyError), halfway.under_way(repository, ["data"]):
        raise KeyError
    project.kist("add", "data")
    assert not halfway.may_be_unfinished(repository)

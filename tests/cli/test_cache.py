"""`kist cache dir`: showing and changing where the cache is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.testing.project import Project


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    return Project(str(tmp_path / "project"))


def test_the_place_is_shown_set_and_forgotten(empty: Project, tmp_path: Path) -> None:
    default = empty.path(".dvc/cache") + "\n"
    assert empty.kist("cache", "dir").out == default
    assert empty.kist("cache", "dir", "../../shared", cwd=".dvc") == (0, "", "")
    assert empty.read(".dvc/config") == "[cache]\n    dir = ../../shared\n"
    assert empty.kist("cache", "dir").out == f"{tmp_path}/shared\n"
    assert json.loads(empty.kist("cache", "dir", "--json").out) == {"dir": f"{tmp_path}/shared"}
    empty.kist("cache", "dir", "-u")
    assert empty.kist("cache", "dir").out == default


def test_data_goes_where_the_setting_says(empty: Project, tmp_path: Path) -> None:
    empty.kist("cache", "dir", "../shared")
    empty.write({"a.txt": "hello\n"})
    empty.kist("add", "a.txt")
    assert os.path.exists(tmp_path / "shared/files/md5/b1/946ac92492d2347c6235b4d2611184")


def test_levels_are_kept_apart(empty: Project, tmp_path: Path) -> None:
    empty.kist("cache", "dir", "--global", str(tmp_path / "g"))
    empty.kist("cache", "dir", "--local", "l")
    assert empty.kist("cache", "dir", "--global").out == f"{tmp_path}/g\n"
    assert empty.kist("cache", "dir").out == f"{empty.root}/l\n"
    assert empty.try_kist("cache", "dir", "--project").code == 251
    assert empty.try_kist("cache", "dir", "-u").code == 251


def test_mistakes_have_exit_codes(empty: Project, tmp_path: Path) -> None:
    assert empty.try_kist("cache").code == 254
    assert "did you mean `kist cache dir`?" in empty.try_kist("cache", "dri").err
    os.makedirs(tmp_path / "elsewhere")
    assert empty.try_kist("cache", "dir", cwd="../elsewhere").code == 251

"""Which paths stages use, as other processes see it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kist.base.pathlocks import PathBusyError, PathLocks

OWN = {"pid": os.getpid(), "cmd": "kist repro"}


def said(folder: Path) -> Any:
    return json.loads((folder / "rwlock").read_bytes())


def test_several_stages_of_one_process_are_told_apart(tmp_path: Path) -> None:
    locks = PathLocks(str(tmp_path), command="kist repro")
    locks.take("a", reads=["/r/in"], writes=["/r/a"])
    locks.take("b", reads=["/r/in"], writes=["/r/b"])
    assert said(tmp_path) == {"read": {"/r/in": [OWN]}, "write": {"/r/a": OWN, "/r/b": OWN}}
    locks.give_back("a")
    locks.flush()
    assert said(tmp_path) == {"read": {"/r/in": [OWN]}, "write": {"/r/b": OWN}}
    locks.give_back("b")
    locks.flush()
    assert said(tmp_path) == {"read": {}, "write": {}}


def test_what_another_process_says_stays_and_counts(tmp_path: Path) -> None:
    other = {"pid": os.getppid(), "cmd": "dvc repro"}
    (tmp_path / "rwlock").write_text(json.dumps({"read": {"/r/in": [other]}, "write": {"/r/data": other}}))
    locks = PathLocks(str(tmp_path), command="kist repro")
    locks.take("a", reads=["/r/in"], writes=["/r/a"])
    assert said(tmp_path) == {"read": {"/r/in": [other, OWN]}, "write": {"/r/data": other, "/r/a": OWN}}
    with pytest.raises(PathBusyError, match=r"writes it: dvc repro"):
        locks.take("b", reads=["/r/data/inside"], writes=[])
    with pytest.raises(PathBusyError, match=r"reads it: dvc repro"):
        locks.take("b", reads=[], writes=["/r/in"])
    locks.give_back("b")
    locks.give_back("a")
    locks.flush()
    assert said(tmp_path) == {"read": {"/r/in": [other]}, "write": {"/r/data": other}}


def test_one_write_takes_a_stage_back_and_the_next_one_on(tmp_path: Path) -> None:
    locks = PathLocks(str(tmp_path), command="kist repro")
    locks.take("a", reads=[], writes=["/r/a"])
    before = os.stat(tmp_path / "rwlock").st_ino
    locks.give_back("a")
    assert os.stat(tmp_path / "rwlock").st_ino == before
    locks.take("b", reads=[], writes=["/r/b"])
    assert said(tmp_path) == {"read": {}, "write": {"/r/b": OWN}}

"""Repositories written by DVC 1.11, 2.10 and 2.58 are read, pulled and switched; `repos/make_repos.py` made them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

_ARCHIVES = sorted((Path(__file__).parent / "repos").glob("*.tar.gz"))
_TRACKED = ("data", "exec.sh", "out", "table.csv")


class _Place:
    """An unpacked archive."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        (root / "home").mkdir()

    def _run(self, argv: list[str], cwd: str) -> str:
        done = subprocess.run(
            argv,
            cwd=self.root / cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done}"
        return done.stdout

    def kist(self, *arguments: str, cwd: str) -> str:
        return self._run([sys.executable, "-m", "kist.cli.main", *arguments], cwd)

    def git(self, *arguments: str, cwd: str) -> str:
        return self._run(["git", *arguments], cwd)

    def tracked(self, folder: str) -> dict[str, bytes]:
        """Returns the bytes of every tracked file below a folder of the place."""
        base = self.root / folder
        tops = [base / name for name in _TRACKED if (base / name).exists()]
        files = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
        return {str(path.relative_to(base)): path.read_bytes() for path in files}


@pytest.fixture(params=_ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> _Place:
    with tarfile.open(request.param) as archive:
        # The filter came with 3.11.4 and the archives are our own.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return _Place(tmp_path)


def test_there_is_an_archive_of_each_old_line_of_releases() -> None:
    assert [path.name for path in _ARCHIVES] == [
        "dvc-1.11.16.tar.gz",
        "dvc-2.10.2.tar.gz",
        "dvc-2.58.2.tar.gz",
    ]


def test_a_clone_pulls_every_version(place: _Place) -> None:
    place.git("clone", "-q", "repo", "clone", cwd=".")
    for version in ("v1", "v2", "v1"):
        place.git("checkout", "-q", version, cwd="clone")
        place.kist("pull", cwd="clone")
        assert place.tracked("clone") == place.tracked(f"expected/{version}")
        assert json.loads(place.kist("status", "--json", cwd="clone")) == {}


def test_the_old_cache_is_checked_out_and_switched_without_the_remote(place: _Place) -> None:
    (place.root / "remote").rename(place.root / "away")
    for version in ("v2", "v1", "v2"):
        place.git("checkout", "-q", version, cwd="repo")
        place.kist("checkout", cwd="repo")
        assert place.tracked("repo") == place.tracked(f"expected/{version}")
        assert json.loads(place.kist("status", "--json", cwd="repo")) == {}


def test_reading_changes_no_file_that_git_tracks(place: _Place) -> None:
    place.kist("checkout", cwd="repo")
    place.kist("status", cwd="repo")
    assert place.git("status", "--porcelain", cwd="repo") == ""


def test_an_executable_file_stays_one_where_the_format_can_say_so(place: _Place) -> None:
    place.kist("checkout", cwd="repo")
    said = "isexec: true" in (place.root / "repo" / "exec.sh.dvc").read_text()
    mode = (place.root / "repo" / "exec.sh").stat().st_mode
    assert bool(mode & stat.S_IXUSR) == said


def test_one_file_of_a_folder_is_pulled_alone(place: _Place) -> None:
    place.git("clone", "-q", "repo", "clone", cwd=".")
    place.kist("pull", "data/crlf.txt", cwd="clone")
    assert place.tracked("clone") == {"data/crlf.txt": b"one\r\ntwo\r\n"}


def test_the_remote_is_in_sync_and_a_push_sends_nothing(place: _Place) -> None:
    before = sorted(str(path) for path in (place.root / "remote").rglob("*"))
    assert json.loads(place.kist("status", "-c", "--json", cwd="repo")) == {}
    place.kist("push", cwd="repo")
    assert sorted(str(path) for path in (place.root / "remote").rglob("*")) == before


def test_a_changed_folder_is_added_as_a_new_entry_and_the_old_version_stays(place: _Place) -> None:
    place.kist("checkout", cwd="repo")
    (place.root / "repo" / "data" / "a.txt").write_bytes(b"third\n")
    place.kist("add", "data", cwd="repo")
    assert "hash: md5" in (place.root / "repo" / "data.dvc").read_text()
    place.git("checkout", "-q", "--", "data.dvc", cwd="repo")
    place.kist("checkout", "--force", "data.dvc", cwd="repo")
    expected = place.tracked("expected/v2")
    assert {name: data for name, data in place.tracked("repo").items() if name.startswith("data/")} == {
        name: data for name, data in expected.items() if name.startswith("data/")
    }

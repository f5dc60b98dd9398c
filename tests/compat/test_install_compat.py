"""`install` and the merge driver beside the real DVC: which hooks and settings there are, and what a merge comes to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kist.formats import yaml
from kist.formats.metafile import parse_metafile

from .helpers import RealDvc, environment

pytestmark = pytest.mark.compat

OURS_ALONE = {"post-merge", "post-rewrite"}
"""Hooks that DVC does not have: after a merge or rebase its data stays behind."""


class Place:
    """A repository made by the real DVC, in which one of the two programs is called."""

    def __init__(self, root: Path, dvc: RealDvc, tool: str) -> None:
        self.root = root / "repo"
        self.root.mkdir(parents=True)
        (root / "home").mkdir()
        programs = os.pathsep.join([os.path.dirname(os.environ["KIST_DVC"]), os.path.dirname(sys.executable)])
        self.env = {**environment(str(root)), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        self._dvc = dvc
        self._tool = tool
        self.git("init", "--quiet", "--initial-branch=main")
        self.dvc("init", "--quiet")
        self.git("commit", "--quiet", "--message", "init")

    def dvc(self, *words: str) -> None:
        done = self._dvc.run(words, str(self.root), self.env)
        assert done.code == 0, done

    def run(self, *words: str) -> int:
        """Runs the program of this place and returns its exit status."""
        if self._tool == "dvc":
            return self._dvc.run(words, str(self.root), self.env).code
        command = [sys.executable, "-m", "kist.cli.main", *words]
        return subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, check=False
        ).returncode

    def git(self, *words: str) -> str:
        done = self.try_git(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def try_git(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words], cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )

    def hooks(self) -> set[str]:
        """Returns the names of the hooks that Git would run."""
        folder = self.root / ".git" / "hooks"
        return {
            path.name for path in folder.iterdir() if path.suffix != ".sample" and os.access(path, os.X_OK)
        }

    def settings(self) -> set[str]:
        """Returns the names of the settings about merging."""
        return set(self.try_git("config", "--local", "--name-only", "--get-regexp", "^merge").stdout.split())

    def write(self, **files: str) -> None:
        (self.root / "data").mkdir(exist_ok=True)
        for name, text in files.items():
            (self.root / "data" / name).write_text(text)


@pytest.fixture
def places(real_dvc: RealDvc, tmp_path: Path) -> tuple[Place, Place]:
    """DVC's and ours."""
    return Place(tmp_path / "dvc", real_dvc, "dvc"), Place(tmp_path / "kist", real_dvc, "kist")


def test_hooks_and_settings_are_those_of_dvc_and_a_few_more(places: tuple[Place, Place]) -> None:
    theirs, ours = places
    assert theirs.run("install") == ours.run("install") == 0
    assert ours.hooks() - OURS_ALONE == theirs.hooks()
    assert ours.settings() - {"merge.kist.name", "merge.kist.driver"} == theirs.settings()
    for name in theirs.hooks():
        script = (theirs.root / ".git" / "hooks" / name).read_text()
        assert f"dvc git-hook {name} $@" in script  # the command lines that ours understands, too


def test_installing_over_dvc_replaces_its_hooks(places: tuple[Place, Place]) -> None:
    _, ours = places
    ours.dvc("install")
    assert ours.run("install") == 0
    assert ours.hooks() == {"post-checkout", "pre-commit", "pre-push"} | OURS_ALONE
    assert "kist" in ours.git("config", "merge.dvc.driver")


def test_the_pre_commit_tool_gets_the_same_hooks(places: tuple[Place, Place]) -> None:
    found = []
    for place in places:
        assert place.run("install", "--use-pre-commit-tool") == 0
        assert place.hooks() == set()
        value = yaml.load((place.root / ".pre-commit-config.yaml").read_bytes(), name="x")
        found.append({stage for hook in value["repos"][0]["hooks"] for stage in hook["stages"]})
    assert found[1] - OURS_ALONE == found[0]


def test_without_git_both_do_nothing(real_dvc: RealDvc, tmp_path: Path) -> None:
    for tool in ("dvc", "kist"):
        place = Place(tmp_path / tool, real_dvc, tool)
        place.run("config", "core.no_scm", "true")
        assert place.run("install") == 0
        assert place.hooks() == set()


def fork(place: Place, ours: dict[str, str], theirs: dict[str, str]) -> None:
    """Makes branches `main` and `other` whose directory differs from a common base; `main` is checked out."""
    (place.root / ".gitattributes").write_text("*.dvc merge=dvc\n")
    place.write(a="1", b="2")
    place.dvc("add", "--quiet", "data")
    place.git("add", "--all")
    place.git("commit", "--quiet", "--message", "base")
    for branch, files in (("other", theirs), ("main", ours)):
        place.git("checkout", "--quiet", "-B", branch, "main")
        place.dvc("checkout", "--quiet", "--force")
        place.write(**files)
        place.dvc("add", "--quiet", "data")
        place.git("commit", "--quiet", "--all", "--message", branch)


@pytest.mark.parametrize(
    ("ours", "theirs", "clashes"),
    [
        ({"c": "3"}, {"d": "4"}, False),
        ({"a": "changed"}, {"b": "changed"}, False),
        ({"a": "same"}, {"a": "same", "d": "4"}, False),
        ({"a": "one"}, {"a": "another"}, True),
    ],
)
def test_a_merge_ends_as_with_dvc(
    places: tuple[Place, Place], ours: dict[str, str], theirs: dict[str, str], clashes: bool
) -> None:
    metafiles = []
    for place in places:
        fork(place, ours, theirs)
        assert place.run("install") == 0
        place.git("config", "core.hooksPath", str(place.root / "none"))
        assert (place.try_git("merge", "other").returncode != 0) == clashes
        metafiles.append((place.root / "data.dvc").read_bytes())
    if clashes:
        parse_metafile(metafiles[1], name="data.dvc")
    else:
        assert metafiles[1] == metafiles[0]


def test_dvc_goes_on_with_what_we_merged(places: tuple[Place, Place]) -> None:
    _, ours = places
    fork(ours, {"a": "one"}, {"a": "another", "d": "4"})
    assert ours.run("install") == 0
    ours.git("config", "core.hooksPath", str(ours.root / "none"))
    assert ours.try_git("merge", "other").returncode == 1
    assert ours.run("resolve", "--theirs", "--no-checkout") == 0
    ours.git("commit", "--quiet", "--no-edit")
    ours.dvc("checkout", "--quiet", "--force")
    assert {path.name: path.read_text() for path in (ours.root / "data").iterdir()} == {
        "a": "another",
        "b": "2",
        "d": "4",
    }
    assert ours.dvc("status", "--quiet") is None

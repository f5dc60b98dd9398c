"""Experiments beside the real DVC: the same Git objects, and each reads, applies, sends and removes the other's."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .helpers import RealDvc, environment

PIPELINE = """\
stages:
  prepare:
    cmd: cat data.txt > prepared.txt
    deps: [data.txt]
    outs: [prepared.txt]
  train:
    cmd: sh train.sh
    deps: [train.sh, prepared.txt, extra.txt]
    params: [lr, opt, p.json: [seed]]
    outs: [model.bin]
    metrics: [metrics.json: {cache: false}]
params: [more.yaml]
"""
TRAIN = """\
lr=$(sed -n 's/^lr: //p' params.yaml)
echo "{\\"acc\\": $lr, \\"deep\\": {\\"loss\\": 0.123456789}}" > metrics.json
echo "model $lr $DVC_EXP_BASELINE_REV" | cut -c1-20 > model.bin
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "train.sh": TRAIN,
    "params.yaml": "# the rate\nlr: 0.1\nopt:\n  n: 3\n  name: adam\n",
    "p.json": '{"seed": 7}',
    "more.yaml": "lr: 9\n",
    "data.txt": "data\n",
}

Run = Callable[..., str]


class Pair:
    """Two equal repositories, one for each tool."""

    def __init__(self, real_dvc: RealDvc, folder: Path) -> None:
        self._real = real_dvc
        # DVC cannot make an experiment with dates in ISO 8601.
        self.env = environment(str(folder)) | {
            "GIT_AUTHOR_DATE": "1704067200 +0000",
            "GIT_COMMITTER_DATE": "1704067200 +0000",
            "SHELL": "/bin/sh",
        }
        os.makedirs(self.env["HOME"], exist_ok=True)
        self.folder = folder
        self.one = str(folder / "one")
        self.two = str(folder / "two")
        os.makedirs(self.one)
        self.git("init", "-q", "-b", "main", cwd=self.one)
        self.dvc("init", "-q", cwd=self.one)
        self.store = str(folder / "store")
        self.dvc("remote", "add", "-q", "-d", "store", self.store, cwd=self.one)
        for name, text in FILES.items():
            Path(self.one, name).write_text(text, encoding="utf-8")
        self.dvc("add", "-q", "data.txt", cwd=self.one)
        self.git("add", "-A", cwd=self.one)
        self.git("commit", "-qm", "one", cwd=self.one)
        Path(self.one, "extra.txt").write_text("nobody added this\n", encoding="utf-8")
        Path(self.one, "scrap.txt").write_text("nor this\n", encoding="utf-8")
        shutil.copytree(self.one, self.two, symlinks=True)

    def git(self, *words: str, cwd: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=cwd, env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout

    def dvc(self, *words: str, cwd: str, code: int = 0) -> str:
        result = self._real.run(words, cwd, self.env)
        assert result.code == code, (words, result)
        return result.stdout

    def kist(self, *words: str, cwd: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kist.cli.main", *words],
            cwd=cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (words, done)
        return done.stdout

    def refs(self, cwd: str) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=cwd).splitlines()
        pairs = dict(line.split(" ") for line in lines)
        return {
            name: sha for name, sha in pairs.items() if len(name.split("/")) == 5 and "refs/exps/" in name
        }

    def back(self, cwd: str) -> None:
        """Makes Git's files what HEAD has; extra files stay."""
        self.git("reset", "-q", "--hard", cwd=cwd)
        for name in ("extra.txt", "scrap.txt"):
            Path(cwd, name).write_text(FILES.get(name, "nobody added this\n"), encoding="utf-8")


@pytest.fixture
def pair(real_dvc: RealDvc, tmp_path: Path) -> Pair:
    return Pair(real_dvc, tmp_path)


RUNS = (
    ("-n", "e1", "-S", "lr=0.2"),
    ("-n", "e2", "-S", "opt.n=5", "-S", "+opt.extra=[1,a]", "-m", "my message"),
    ("-n", "e3", "-S", "p.json:seed=8", "-S", "~opt.name"),
)


def test_both_make_the_same_git_objects_and_show_them_alike(pair: Pair) -> None:
    for words in RUNS:
        pair.dvc("exp", "run", *words, cwd=pair.one)
        pair.kist("exp", "run", *words, cwd=pair.two)
        if words != RUNS[-1]:
            pair.back(pair.one)
            pair.back(pair.two)
    pair.dvc("exp", "save", "-n", "s1", cwd=pair.one)
    pair.kist("exp", "save", "-n", "s1", cwd=pair.two)
    theirs, ours = pair.refs(pair.one), pair.refs(pair.two)
    assert len(theirs) == 4
    assert theirs.keys() == ours.keys()
    for ref in theirs:
        form = "--format=%P%n%an %ae%n%cn %ce%n%B"
        files = [_files(pair.git("ls-tree", "-r", ref, cwd=cwd)) for cwd in (pair.one, pair.two)]
        words = [pair.git("log", "-1", form, ref, cwd=cwd) for cwd in (pair.one, pair.two)]
        assert (files[0], words[0]) == (files[1], words[1]), ref
    assert pair.git("status", "--porcelain", cwd=pair.one).splitlines() != []
    _shown_alike(pair)


def _files(listing: str) -> list[str]:
    """Returns a tree's lines without the pickle that DVC's `exp save` leaves in it (R15)."""
    return [line for line in listing.splitlines() if not line.endswith("\t.dvc/tmp/repro.dat")]


def _shown_alike(pair: Pair) -> None:
    """Both tools see the same, in a repository of either."""

    def both(*words: str, cwd: str = "") -> tuple[str, str]:
        place = cwd or pair.two
        return pair.dvc("exp", *words, cwd=place), pair.kist("exp", *words, cwd=place)

    for words in (("list",), ("list", "--name-only"), ("list", "--sha-only")):
        theirs, ours = both(*words)
        assert ours == theirs, words
    for cwd in (pair.one, pair.two):
        theirs, ours = both("show", "--json", cwd=cwd)
        assert _by_name(json.loads(ours)) == _by_name(json.loads(theirs))
    for words in (
        ("--csv",),
        ("--csv", "--only-changed"),
        ("--csv", "--drop", "opt.*|acc"),
        ("--csv", "--sha", "--hide-workspace"),
        ("--csv", "--sort-by", "acc", "--sort-order", "desc"),
        ("--csv", "--param-deps"),
    ):
        theirs, ours = both("show", *words)
        assert _rows(ours) == _rows(theirs), words
    theirs, ours = both("diff", "e1", "e2", "--json")
    assert json.loads(theirs) == json.loads(ours)
    for words in (("e1", "e2", "--md"), ("e1", "e3", "--all", "--no-path"), ("e1",), ()):
        theirs, ours = both("diff", *words)
        assert theirs.split() == ours.split(), words


def _by_name(shown: list[dict[str, Any]]) -> list[Any]:
    for base in shown:
        for row in (base, *(rev for one in base["experiments"] or [] for rev in one["revs"])):
            for file in (row["data"] or {}).get("metrics", {}).values():
                if "error" in file:
                    del file["error"]["msg"]  # in words of our own
        base["experiments"] = sorted(base["experiments"] or [], key=lambda one: one["name"])
    return shown


def _rows(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:  # experiments of one second come in any order, and the last is drawn otherwise
        row["typ"] = row["typ"].replace("branch_base", "branch_commit")
    return sorted(rows, key=lambda row: (row["rev"], row["Experiment"]))


def test_each_applies_branches_and_removes_what_the_other_made(pair: Pair) -> None:
    for words in RUNS[:2]:
        pair.kist("exp", "run", "-q", *words, cwd=pair.one)
        pair.dvc("exp", "run", "-q", *words, cwd=pair.two)
        pair.back(pair.one)
        pair.back(pair.two)
    for tool, cwd in ((pair.dvc, pair.one), (pair.kist, pair.two)):
        tool("exp", "apply", "e1", cwd=cwd)
        assert Path(cwd, "params.yaml").read_text(encoding="utf-8") == FILES["params.yaml"].replace(
            "0.1", "0.2"
        )
        assert Path(cwd, "model.bin").read_text(encoding="utf-8").startswith("model 0.2 ")
        assert "up to date" in tool("repro", cwd=cwd)
        tool("exp", "branch", "e2", "b2", cwd=cwd)
        tool("exp", "rename", "e2", "e5", cwd=cwd)
        tool("exp", "remove", "e1", cwd=cwd)
        assert [ref.rpartition("/")[2] for ref in pair.refs(cwd)] == ["e5"]
    assert pair.git("ls-tree", "-r", "b2", cwd=pair.one) == pair.git("ls-tree", "-r", "b2", cwd=pair.two)


def test_experiments_and_their_data_travel_between_the_two(pair: Pair) -> None:
    origin = str(pair.folder / "origin.git")
    pair.git("init", "-q", "--bare", "-b", "main", origin, cwd=pair.one)
    for cwd in (pair.one, pair.two):
        pair.git("remote", "add", "origin", origin, cwd=cwd)
    pair.git("push", "-q", "origin", "main", cwd=pair.one)
    pair.kist("exp", "run", "-q", *RUNS[0], cwd=pair.one)
    pair.dvc("exp", "run", "-q", *RUNS[1], cwd=pair.two)
    pair.kist("exp", "push", "-q", "origin", "e1", cwd=pair.one)
    pair.dvc("exp", "push", "-q", "origin", "e2", cwd=pair.two)
    assert sorted(pair.kist("exp", "list", "origin", "--name-only", cwd=pair.one).split()) == ["e1", "e2"]
    for name, tool in (("clone1", pair.dvc), ("clone2", pair.kist)):
        clone = str(pair.folder / name)
        pair.git("clone", "-q", origin, clone, cwd=pair.one)
        tool("exp", "pull", "-q", "origin", "e1", "e2", cwd=clone)
        assert len(pair.refs(clone)) == 2
        pair.git("checkout", "-q", ".", cwd=clone)
        tool("exp", "apply", "e1" if tool == pair.dvc else "e2", cwd=clone)
        wanted = "model 0.2 " if tool == pair.dvc else "model 0.1 "
        assert Path(clone, "model.bin").read_text(encoding="utf-8").startswith(wanted)
    pair.dvc("exp", "remove", "-q", "-g", "origin", "e1", cwd=pair.two)
    pair.kist("exp", "remove", "-q", "-g", "origin", "e2", cwd=pair.one)
    assert pair.refs(origin) == {}

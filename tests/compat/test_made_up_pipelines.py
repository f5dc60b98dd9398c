"""Made-up pipelines beside the real DVC: stages, graph, commands and lock files are the same.

All of them lie in one repository, a folder each, so that a few commands of DVC see all of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kist.formats.yaml import dump, load

from .helpers import RealDvc, environment
from .test_pipeline_resolve import CONFIG, Files, commands_by_dvc, commands_by_kist, make_repository, run_dvc

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]

PIPELINES = 200
PARAMS = {
    "lr": 1e-05,
    "name": "a b",
    "deep": {"er": [1, 2.5, None, True], "n": 3},
    "list": ["x", "y"],
    "on": True,
}
OTHER = {"seed": 7, "opt": {"kind": "adam", "betas": [0.9, 0.999]}}
KEYS = ["lr", "name", "deep.er", "deep.n", "list", "on", "deep"]


class Maker:
    """Makes the stages of one file, one after the other, each of what lies there already."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files = ["src.txt", "data"]
        self.stages: dict[str, Any] = {}

    def pipeline(self) -> dict[str, Any]:
        for number in range(self.chance.randint(1, 4)):
            kind = self.chance.choice(["plain", "plain", "list", "mapping", "matrix"])
            getattr(self, kind)(self.chance.choice(["s", "stage-", "x_", "é"]) + str(number))
        head: dict[str, Any] = {}
        if self.chance.random() < 0.4:
            head["vars"] = self.chance.choice([[{"extra": "v"}], ["other.yaml"], [{"extra": {"k": 1}}]])
        return {**head, "stages": self.stages}

    def plain(self, name: str) -> None:
        self.stages[name] = self.body(name, name, "${lr} ${deep.n}")
        self.files.append(f"{name}.out")

    def list(self, name: str) -> None:
        items = self.chance.sample(["a", "b c", "1", "1.5", "true"], self.chance.randint(1, 3))
        self.stages[name] = {"foreach": items, "do": self.body(name, name + "-${item}", "${item}")}
        self.files.append(f"{name}-{items[0]}.out")

    def mapping(self, name: str) -> None:
        items = {"k1": {"v": 1}, "k2": {"v": "two words"}}
        self.stages[name] = {"foreach": items, "do": self.body(name, name + "-${key}", "${item.v}")}
        self.files.append(f"{name}-k2.out")

    def matrix(self, name: str) -> None:
        axes = {"m": self.chance.choice([["u", "v"], "${list}"]), "n": [1, 2][: self.chance.randint(1, 2)]}
        body = self.body(name, name + "-${item.m}-${item.n}", "${item.m} ${key}")
        self.stages[name] = {"matrix": axes, **body}

    def body(self, name: str, out: str, words: str) -> dict[str, Any]:
        chance = self.chance
        deps = chance.sample(self.files, chance.randint(0, min(3, len(self.files))))
        is_below = chance.random() < 0.25
        up = "../" if is_below else ""
        made: dict[str, Any] = {f"{up}{out}.out": self.options()}
        lines = [
            f'cat {" ".join(chr(34) + up + dep + chr(34) for dep in deps if dep != "data")} /dev/null > "{up}{out}.out"'
        ]
        lines.append(f'echo "{words}" >> "{up}{out}.out"')
        body: dict[str, Any] = {"outs": written(made)}
        if chance.random() < 0.4:
            lines.append(
                f'mkdir "{up}{out}.d" && echo "{words}" > "{up}{out}.d/one" && echo 2 > "{up}{out}.d/b"'
            )
            body["outs"] += written({f"{up}{out}.d": self.options()})
        if chance.random() < 0.4:
            lines.append(f'echo \'{{"acc": 0.5}}\' > "{up}{out}.json"')
            kind = chance.choice(["metrics", "plots"])
            body[kind] = written({f"{up}{out}.json": chance.choice([{}, {"cache": False}])})
        body["cmd"] = chance.choice([" && ".join(lines), lines, "\n".join(lines) + "\n"])
        if deps:
            body["deps"] = [up + dep for dep in deps]
        if is_below:
            body["wdir"] = "below"
        if chance.random() < 0.6:
            body["params"] = self.params(up)
        if chance.random() < 0.2:
            body["desc"] = chance.choice(["some words", "of ${name}: 'x' #1"])
        if chance.random() < 0.1:
            body["meta"] = {"kist": {"needs": {"gpu": 1}}}
        items = list(body.items())
        chance.shuffle(items)
        return dict(items)

    def options(self) -> dict[str, Any]:
        return self.chance.choice(
            [{}, {}, {}, {"cache": False}, {"desc": "d"}, {"persist": True}, {"push": False}]
        )

    def params(self, up: str) -> list[Any]:
        chance = self.chance
        found: list[Any] = chance.sample(KEYS, chance.randint(1, 3)) if not up else []
        found = [key for key in found if not any(key.startswith(other + ".") for other in found)]
        if up or chance.random() < 0.3:
            found.append({f"{up}other.yaml": chance.choice([["seed"], ["opt.kind", "seed"], None])})
        return found


def written(outs: dict[str, dict[str, Any]]) -> list[Any]:
    return [{path: options} if options else path for path, options in outs.items()]


def made_up() -> Files:
    chance = random.Random(20)
    files: Files = {}
    for number in range(PIPELINES):
        folder = f"c{number}"
        files[f"{folder}/dvc.yaml"] = dump(Maker(chance).pipeline()).decode()
        files[f"{folder}/params.yaml"] = dump(PARAMS).decode()
        files[f"{folder}/other.yaml"] = dump(OTHER).decode()
        files[f"{folder}/src.txt"] = f"source {number}\n"
        files[f"{folder}/data/a"] = "a\n"
        files[f"{folder}/data/sub/b"] = "b\n"
        files[f"{folder}/below/keep"] = ""
    return files


def kist(root: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *words],
        cwd=root,
        env={**environment(os.path.dirname(root)), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def by_dvc(real_dvc: RealDvc, root: str, *words: str) -> str:
    code, output = run_dvc(real_dvc, root, *words)
    assert code == 0, output[-4000:]
    return output


def edges_of_mermaid(text: str) -> set[tuple[str, str]]:
    names = dict(re.findall(r'(node\d+)\["(.*)"\]', text))
    found = {(names[one], names[two]) for one, two in re.findall(r"(node\d+)-->(node\d+)", text)}
    return found | {(name, "") for name in names.values()}


def locks(root: str) -> dict[str, Any]:
    found = {}
    for number in range(PIPELINES):
        path = Path(root, f"c{number}", "dvc.lock")
        if path.exists():
            found[path.parent.name] = load(path.read_bytes(), name="dvc.lock")
    return found


def test_two_hundred_made_up_pipelines_are_what_they_are_to_dvc(real_dvc: RealDvc, tmp_path: Path) -> None:
    root = make_repository(str(tmp_path / "repo"), made_up(), CONFIG)
    theirs = commands_by_dvc(real_dvc, root, "--all-pipelines")
    assert len(theirs) > 2 * PIPELINES
    assert commands_by_kist(root) == theirs
    listed = [sorted(re.sub("  +", "  ", line) for line in text.splitlines()) for text in (
        by_dvc(real_dvc, root, "stage", "list", "--all"), kist(root, "stage", "list", "--all"))]  # fmt: skip
    assert listed[1] == listed[0]
    mermaid = [
        edges_of_mermaid(by_dvc(real_dvc, root, "dag", "--mermaid")),
        edges_of_mermaid(kist(root, "dag", "--mermaid")),
    ]
    assert mermaid[1] == mermaid[0]
    assert any(two for _, two in mermaid[0])
    assert sorted(kist(root, "dag", "--dot").splitlines()) == sorted(
        by_dvc(real_dvc, root, "dag", "--dot").splitlines()
    )

    kist(root, "repro", "-q", "-P", "-j", "2")
    ours = locks(root)
    assert "Data and pipelines are up to date." in by_dvc(real_dvc, root, "status")
    copy = str(tmp_path / "copy" / "repo")
    shutil.copytree(root, copy, symlinks=True)
    os.makedirs(os.path.join(os.path.dirname(copy), "home"))
    for number in range(PIPELINES):
        path = os.path.join(copy, f"c{number}", "dvc.lock")
        if os.path.exists(path):
            os.unlink(path)
    by_dvc(real_dvc, copy, "commit", "-f", "-q")
    assert locks(copy) == ours

"""`reproduce`: a clean folder, what it fetches and runs, and what it says of each output."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kist.testing.project import Project

STAGES = """\
stages:
  first:
    cmd: cat code.py model.bin > first.txt
    deps: [code.py, model.bin]
    outs: [first.txt]
  second:
    cmd: mkdir -p out && cp first.txt out/copy.txt && wc -c < first.txt > size.txt
    deps: [first.txt]
    outs: [out]
    metrics: [size.txt: {cache: false}]
"""


def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs kist as a process of its own, for stages write to the real standard output."""
    return subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *words],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def made(project: Project) -> Project:
    """The project with a pipeline that ran and is committed."""
    project.write({"dvc.yaml": STAGES})
    assert run(project, "repro").returncode == 0
    project.commit()
    return project


def drop_cache(project: Project) -> None:
    subprocess.run(["rm", "-rf", project.path(".dvc/cache")], check=True)


def test_a_revision_whose_data_is_all_there_is_the_same_without_a_run(made: Project) -> None:
    before = made.git("status", "--porcelain", "--ignored")
    made.write({"first.txt": "edited in the workspace", "code.py": "edited, too"})
    done = run(made, "reproduce", "HEAD")
    assert done.returncode == 0, done
    assert "Running" not in done.stdout
    assert done.stdout.splitlines()[-7:] == [
        "same  data",
        "same  first.txt",
        "same  model.bin",
        "same  out",
        "same  size.txt",
        "same  sub/table.csv",
        f"6 outputs of {made.git('rev-parse', 'HEAD')[:7]}: 6 same.",
    ]
    made.write({"code.py": "print()\n"})
    made.kist("checkout", "--force")
    assert made.git("status", "--porcelain", "--ignored") == before
    assert [name for name in os.listdir(made.path(".dvc/tmp")) if name.startswith(".kist-")] == []


def test_with_force_every_stage_runs_and_the_same_comes_out(made: Project) -> None:
    done = run(made, "reproduce", "HEAD", "--force")
    assert done.returncode == 0, done
    assert "Running stage 'first':" in done.stdout and "Running stage 'second':" in done.stdout
    assert "6 same." in done.stdout


def test_what_comes_out_otherwise_is_told_and_ends_with_1(project: Project, tmp_path: object) -> None:
    project.write({"dvc.yaml": STAGES.replace("cat code.py model.bin", "(cat code.py; date +%N)")})
    assert run(project, "repro").returncode == 0
    project.commit()
    done = run(project, "reproduce", "HEAD", "--force", "--json", "--keep", "../kept")
    assert done.returncode == 1, done
    document = json.loads(done.stdout)
    assert document["ran"] == ["model.bin.dvc", "first", "second"] and document["failed"] == []
    states = {out["path"]: out["state"] for out in document["outputs"]}
    assert states["first.txt"] == states["out"] == "different"
    assert states["data"] == states["model.bin"] == "same"
    kept = document["folder"]
    assert os.path.isfile(os.path.join(kept, "first.txt"))
    assert not os.path.lexists(os.path.join(kept, "no such"))
    again = run(project, "reproduce", "HEAD", "--keep", kept)
    assert again.returncode == 1 and "not empty" in again.stderr


def test_an_old_revision_is_fetched_and_run_where_nobody_has_its_outputs(made: Project) -> None:
    made.kist("remote", "add", "-d", "store", made.path("remote"))
    made.kist("push", "data.dvc", "model.bin.dvc", "sub/table.csv.dvc")
    made.git("tag", "v1")
    made.write({"model.bin": "another model\n"})
    made.kist("add", "model.bin")
    assert run(made, "repro").returncode == 0
    made.commit()
    drop_cache(made)
    done = run(made, "reproduce", "v1")
    assert done.returncode == 0, done
    assert "Running stage 'first':" in done.stdout
    assert "6 same." in done.stdout
    assert made.read("model.bin") == "another model\n"


def test_data_that_is_nowhere_is_missing(made: Project) -> None:
    drop_cache(made)
    done = run(made, "reproduce", "HEAD", "data.dvc")
    assert done.returncode == 1, done
    assert "missing  data" in done.stdout
    assert "warning: there is no remote" in done.stderr


def test_targets_choose_what_is_made_again(made: Project) -> None:
    done = run(made, "reproduce", "HEAD", "first", "--force")
    assert done.returncode == 0, done
    assert "second" not in done.stdout
    assert "same  first.txt\n1 output of" in done.stdout


def test_a_stage_that_fails_is_named(project: Project) -> None:
    project.write({"dvc.yaml": STAGES.replace("wc -c < first.txt > size.txt", "test ! -e stop")})
    project.write({"stop": ""})
    project.write({"size.txt": "1\n"})
    assert run(project, "repro").returncode == 255
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "broken")
    done = run(project, "reproduce", "HEAD")
    assert done.returncode == 1, done
    assert "stage 'second' failed" in done.stderr
    assert "not recorded" in done.stdout


def test_a_repository_below_the_top_of_git_is_made_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    top = tmp_path_factory.mktemp("top")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    project = Project.at(str(top / "below"))
    os.makedirs(project.root)
    project.kist("init", "--subdir", "-q")
    project.write({"a.txt": "a\n"})
    project.kist("add", "-q", "a.txt")
    project.commit()
    done = run(project, "reproduce", "HEAD")
    assert done.returncode == 0, done
    assert "same  a.txt" in done.stdout

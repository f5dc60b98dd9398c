"""`exp run --queue`, `--temp`, `--run-all` and `queue`: experiments beside the workspace, and pools that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kist.testing.project import Project

from .helpers import copy_of
from .test_exp import run

PIPELINE = """\
stages:
  train:
    cmd: sh train.sh
    deps: [train.sh, data.txt]
    params: [n]
    outs: [model.bin]
    metrics: [metrics.json: {cache: false}]
"""
# Says when it began and ended, and waits where the test holds the door.
TRAIN = """\
n=$(sed -n 's/^n: //p' params.yaml)
echo "begin $n" >> "$DIARY"
while [ -e "$DIARY.door" ]; do sleep 0.05; done
cat data.txt > model.bin
echo "{\\"score\\": $n}" > metrics.json
echo "end $n" >> "$DIARY"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(str(tmp_path_factory.mktemp("made") / "project"))
    project.write({"dvc.yaml": PIPELINE, "train.sh": TRAIN, "params.yaml": "n: 0\n", "data.txt": "data\n"})
    project.kist("add", "--quiet", "data.txt")
    project.commit()
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    return copy_of(made, tmp_path)


def diary(word: str) -> list[int]:
    try:
        with open(os.environ["DIARY"], encoding="utf-8") as stream:
            return [int(line.split()[1]) for line in stream if line.startswith(word + " ")]
    except FileNotFoundError:
        return []


def door(*, is_shut: bool) -> None:
    path = os.environ["DIARY"] + ".door"
    if is_shut:
        Path(path).touch()
    else:
        os.unlink(path)


def wait_until(what: object, *, seconds: float = 60) -> None:
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pool(project: Project, jobs: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "kist.cli.main", "exp", "run", "--run-all", "-j", str(jobs)]
    return subprocess.Popen(
        words,
        cwd=project.root,
        env={**os.environ, "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def names(project: Project) -> list[str]:
    return run(project, "exp", "list", "--name-only").stdout.split()


def states(project: Project) -> dict[str, str]:
    found = json.loads(run(project, "queue", "status", "--json").stdout)
    return {task["name"]: task["status"] for task in found["tasks"]}


def test_a_work_tree_of_the_person_whose_disk_is_away_stays_known(project: Project, tmp_path: Path) -> None:
    mine, away = tmp_path / "mine", tmp_path / "away"
    project.git("worktree", "add", "-q", "-b", "other", str(mine))
    (mine / "staged.txt").write_text("staged\n")
    subprocess.run(["git", "add", "staged.txt"], cwd=mine, check=True)
    mine.rename(away)
    run(project, "exp", "run", "--temp", "-n", "beside")
    away.rename(mine)
    done = subprocess.run(
        ["git", "diff", "--cached", "--name-only"], cwd=mine, check=True, capture_output=True, text=True
    )
    assert done.stdout == "staged.txt\n"
    assert len(project.git("worktree", "list").splitlines()) == 2


def test_a_sweep_is_queued_and_run_beside_the_workspace(project: Project) -> None:
    before = project.git("status", "--porcelain")
    project.write({"train.sh": TRAIN + "# not committed\n"})
    edited = project.git("status", "--porcelain")
    done = run(project, "exp", "run", "--queue", "-n", "s", "-S", "n=range(1,4)")
    assert done.stdout.count("Queued experiment") == 3
    assert states(project) == {"s-1": "Queued", "s-2": "Queued", "s-3": "Queued"}
    project.git("checkout", "-q", ".")
    assert (edited, project.git("status", "--porcelain")) == (" M train.sh\n", before)
    done = run(project, "exp", "run", "--run-all", "-j", "2")
    assert sorted(diary("end")) == [1, 2, 3]
    assert sorted(names(project)) == ["s-1", "s-2", "s-3"]
    assert project.git("status", "--porcelain") == before
    assert set(states(project).values()) == {"Success"}
    assert "> sh train.sh" in run(project, "queue", "logs", "s-2").stdout
    run(project, "exp", "apply", "s-3")
    assert project.read("metrics.json") == '{"score": 3}\n'
    assert project.read("train.sh").endswith("# not committed\n")
    assert "up to date" in run(project, "repro").stdout
    assert project.git("worktree", "list").count("\n") == 1
    assert project.git("for-each-ref", "refs/kist") == ""
    assert os.listdir(project.path(".dvc/cache/kist-projects")) == []


def test_a_task_whose_name_another_experiment_got_meanwhile_fails(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-n", "e", "-S", "n=5")
    run(project, "exp", "run", "-n", "e", "-S", "n=7")
    taken = project.git("for-each-ref", "refs/exps")
    run(project, "exp", "run", "--run-all", code=255)
    assert states(project) == {"e": "Failed"}
    assert project.git("for-each-ref", "refs/exps") == taken
    assert "one was made of this commit meanwhile" in run(project, "queue", "logs", "e").stdout


def test_temp_runs_at_once_and_leaves_the_workspace_and_the_queue(project: Project) -> None:
    project.write({"scrap.txt": "1\n"})
    before = project.git("status", "--porcelain")
    done = run(project, "exp", "run", "--temp", "-n", "t", "-S", "n=7", "-C", "scrap.txt")
    assert "Ran experiment(s): t" in done.stdout
    assert (names(project), states(project)) == (["t"], {})
    assert project.git("status", "--porcelain") == before
    run(project, "exp", "run", "--temp", "-C", "absent", code=255)


def test_what_fails_is_told_and_the_others_run(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-n", "good", "-S", "n=1")
    project.write({"train.sh": "exit 4\n"})
    run(project, "exp", "run", "--queue", "-n", "bad")
    done = run(project, "exp", "run", "--run-all", code=255)
    assert "cannot run experiment 'bad'" in done.stderr
    assert states(project) == {"good": "Success", "bad": "Failed"}
    assert names(project) == ["good"]
    assert "Removed tasks: bad" in run(project, "queue", "remove", "--failed").stdout
    assert "Removed tasks: good" in run(project, "queue", "remove", "good").stdout
    assert states(project) == {}


def test_a_pool_that_is_killed_and_started_again_loses_nothing_and_repeats_nothing(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-S", "n=range(1,7)")
    first = pool(project, 2)
    wait_until(lambda: len(diary("end")) >= 2)
    door(is_shut=True)
    wait_until(lambda: len(diary("begin")) >= len(diary("end")) + 2)
    ended = set(diary("end"))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    for name in os.listdir(project.path(".dvc/tmp/kist/queue")):
        if name.endswith(".lock") and name != "pool.lock":
            with open(project.path(f".dvc/tmp/kist/queue/{name}"), encoding="ascii") as stream:
                kill_group(int(stream.read()))
    door(is_shut=False)
    run(project, "exp", "run", "--run-all", "-j", "3")
    assert set(diary("end")) == {1, 2, 3, 4, 5, 6}
    assert all(diary("end").count(n) == 1 for n in ended)
    assert len(names(project)) == 6
    assert set(states(project).values()) == {"Success"}
    assert project.git("worktree", "list").count("\n") == 1


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def test_runners_outlive_their_pool_and_are_not_started_twice(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-S", "n=1,2")
    door(is_shut=True)
    first = pool(project, 2)
    wait_until(lambda: len(diary("begin")) == 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = pool(project, 2)
    assert set(states(project).values()) == {"Running"}
    door(is_shut=False)
    wait_until(lambda: set(states(project).values()) == {"Success"})
    second.wait()
    assert sorted(diary("begin")) == [1, 2]


def test_a_running_experiment_is_killed_and_does_not_come_back(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-n", "k", "-S", "n=1,2")
    door(is_shut=True)
    running = pool(project, 1)
    wait_until(lambda: diary("begin") == [1])
    assert "it runs" in run(project, "queue", "remove", "k-1", code=255).stderr
    assert "Killed tasks: k-1" in run(project, "queue", "kill", "k-1").stdout
    wait_until(lambda: states(project)["k-1"] == "Failed")
    door(is_shut=False)
    running.wait()
    assert states(project) == {"k-1": "Failed", "k-2": "Success"}
    assert names(project) == ["k-2"]


def test_a_pool_in_the_background_is_started_stopped_and_seen(project: Project) -> None:
    run(project, "exp", "run", "--queue", "-n", "b", "-S", "n=1,2")
    door(is_shut=True)
    run(project, "queue", "start")
    wait_until(lambda: diary("begin") == [1])
    assert "already" in run(project, "queue", "start", code=255).stderr
    assert "working, 1 running" in run(project, "queue", "status").stdout
    run(project, "queue", "stop")
    door(is_shut=False)
    wait_until(lambda: not json.loads(run(project, "queue", "status", "--json").stdout)["pool"])
    assert states(project) == {"b-1": "Success", "b-2": "Queued"}
    assert "Removed tasks: b-2" in run(project, "queue", "remove", "--queued").stdout

"""`repro -j`: what runs at once, what it says, how it fails and how it is interrupted; and what stages took."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from kist.testing.project import Answer, Project

WIDE = """\
stages:
  first: {cmd: cp code.py first.txt, deps: [code.py], outs: [first.txt]}
  each:
    matrix: {n: [1, 2, 3, 4]}
    cmd: echo ${item.n}; cp first.txt ${item.n}.txt; echo ${item.n} >> ${item.n}.txt
    deps: [first.txt]
    outs: ['${item.n}.txt']
  last: {cmd: cat 1.txt 2.txt 3.txt 4.txt > last.txt, deps: [1.txt, 2.txt, 3.txt, 4.txt], outs: [last.txt]}
"""
MEETING = """\
stages:
  a: {cmd: 'echo a > to-b; read x < to-a; echo met $x > a', outs: [a]}
  b: {cmd: 'read x < to-b; echo b > to-a; echo met $x > b', outs: [b]}
"""
FAILING = """\
stages:
  bad: {cmd: exit 3, deps: [code.py], outs: [bad.txt]}
  below: {cmd: cp bad.txt below.txt, deps: [bad.txt], outs: [below.txt]}
  beside: {cmd: cp code.py beside.txt, deps: [code.py], outs: [beside.txt]}
  under: {cmd: cp beside.txt under.txt, deps: [beside.txt], outs: [under.txt]}
"""
KIST = [sys.executable, "-m", "kist.cli.main"]


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")


def run(project: Project, *words: str) -> Answer:
    return project.try_kist(*words)


def begin_again(project: Project) -> None:
    """Takes back all that ran."""
    for path in ("dvc.lock", ".gitignore"):
        if project.exists(path):
            os.unlink(project.path(path))


def test_the_lock_and_the_rest_are_those_of_one_at_a_time(project: Project) -> None:
    project.write({"dvc.yaml": WIDE})
    assert run(project, "repro").code == 0
    serial = project.read("dvc.lock"), project.read("last.txt")
    begin_again(project)
    done = run(project, "repro", "-j", "4", "--force", "--json")
    assert done.code == 0, done
    assert (project.read("dvc.lock"), project.read("last.txt")) == serial
    assert json.loads(done.out)["ran"] == ["first", *(f"each@{n}" for n in range(1, 5)), "last"]
    assert run(project, "repro", "-j", "4").out.endswith("Data and pipelines are up to date.\n")


def test_stages_that_need_nothing_of_each_other_run_at_once(project: Project) -> None:
    project.write({"dvc.yaml": MEETING})
    for name in ("to-a", "to-b"):
        os.mkfifo(project.path(name))
    done = run(project, "repro", "-j", "2")
    assert done.code == 0, done
    assert project.read("a") == "met b\n"
    assert project.read("b") == "met a\n"


def test_each_line_that_a_command_prints_names_its_stage(project: Project) -> None:
    text = "stages:\n  a: {cmd: 'echo one; echo two >&2', outs: [{o: {cache: false}}]}\n"
    project.write({"dvc.yaml": text.replace("echo one", "echo one; touch o")})
    done = run(project, "repro", "-j", "2")
    assert done.code == 0, done
    assert done.out.splitlines()[:3] == [
        "Running stage 'a':",
        "a | > echo one; touch o; echo two >&2",
        "a | one",
    ]
    assert "a | two" in done.err.splitlines()
    quiet = run(project, "repro", "-j", "2", "--force", "-q")
    assert quiet.out == "a | one\n"


def test_a_stage_with_a_parameter_file_waits_for_the_one_that_writes_it(project: Project) -> None:
    text = (
        "stages:\n  make: {cmd: 'echo lr: 2 > made.yaml', outs: [made.yaml]}\n"
        "  use: {cmd: cp made.yaml used, params: [made.yaml: [lr]], outs: [used]}\n"
    )
    project.write({"dvc.yaml": text})
    done = run(project, "repro", "-j", "4")
    assert done.code == 0, done
    assert project.read("used") == "lr: 2\n"


def test_limits_by_name_keep_stages_apart(project: Project) -> None:
    stages = "".join(
        f"  s{number}:\n    cmd: mkdir busy && rmdir busy && touch s{number}\n"
        f"    meta: {{kist: {{needs: {{gpu: 1}}}}}}\n    outs: [s{number}]\n"
        for number in range(6)
    )
    project.write({"dvc.yaml": "stages:\n" + stages})
    done = run(project, "repro", "-j", "6")
    assert done.code == 0, done


def test_how_much_there_is_comes_from_git_and_the_command_line(project: Project) -> None:
    needs = "{meta: {kist: {needs: {gpu: 1}}}, "
    project.write({"dvc.yaml": MEETING.replace("{cmd", needs + "cmd")})
    for name in ("to-a", "to-b"):
        os.mkfifo(project.path(name))
    project.git("config", "kist.needs.gpu", "2")
    assert run(project, "repro", "-j", "2").code == 0
    project.git("config", "kist.needs.gpu", "many")
    done = run(project, "repro", "-j", "2", "-f")
    assert done.code == 255
    assert "hint: git config kist.needs.gpu 1" in done.err
    project.git("config", "kist.needs.gpu", "1")
    assert run(project, "repro", "-j", "2", "-f", "--capacity", "gpu=2").code == 0
    assert run(project, "repro", "-j", "2", "--capacity", "gpu").code == 254


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("1", "is no mapping"),
        ("{nedes: {gpu: 1}}", "no key 'nedes'"),
        ("{needs: 1}", "`needs` is no mapping"),
        ("{needs: {GPU: 1}}", "cannot be called 'GPU'"),
        ("{needs: {gpu: two}}", "needs 'two' of 'gpu'"),
        ("{needs: {gpu: -1}}", "needs -1 of 'gpu'"),
    ],
)
def test_a_mistake_in_what_a_stage_needs_is_named(project: Project, meta: str, message: str) -> None:
    project.write({"dvc.yaml": f"stages:\n  s: {{cmd: touch o, meta: {{kist: {meta}}}, outs: [o]}}\n"})
    done = run(project, "repro", "-j", "2")
    assert done.code == 255
    assert message in done.err
    assert "dvc.yaml:s" in done.err


def test_after_a_failure_nothing_more_begins_and_what_runs_is_recorded(project: Project) -> None:
    project.write({"dvc.yaml": FAILING})
    done = run(project, "repro", "-j", "2")
    assert done.code == 255
    assert done.err.startswith("error: cannot reproduce 'bad': failed to run: exit 3, exited with 3")
    assert "below" not in done.out
    assert "  beside:" in project.read("dvc.lock")


def test_keep_going_leaves_out_what_depends_on_a_failure(project: Project) -> None:
    project.write({"dvc.yaml": FAILING})
    done = run(project, "repro", "-j", "2", "-k")
    assert done.code == 255
    assert "warning: 'below' is left out, for 'bad' failed" in done.err
    assert done.err.endswith("error: cannot reproduce 'bad'\n")
    assert "  under:" in project.read("dvc.lock")
    project.write({"dvc.yaml": FAILING.replace("exit 3", "cp code.py bad.txt")})
    assert run(project, "repro", "-j", "2").code == 0
    names = [line.strip(": ") for line in project.read("dvc.lock").splitlines() if line[2:3] not in " :"]
    assert names[2:] == ["bad", "below", "beside", "under"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_that_runs(project: Project, number: signal.Signals, status: int) -> None:
    stages = "".join(
        f"  {name}: {{cmd: 'trap \"echo told >> {name}; exit 1\" INT TERM; echo > ready-{name}; sleep 600 & wait', "
        f"outs: [{name}]}}\n"
        for name in "ab"
    )
    project.write({"dvc.yaml": "stages:\n" + stages})
    for name in "ab":
        os.mkfifo(project.path(f"ready-{name}"))
    process = subprocess.Popen(
        [*KIST, "repro", "-q", "-j", "2"],
        cwd=project.root,
        env={**os.environ, "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for name in "ab":
        with open(project.path(f"ready-{name}")) as stream:
            assert stream.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert project.read("a") == project.read("b") == "told\n"
    assert not project.exists("dvc.lock")
    assert json.loads(project.read(".dvc/tmp/rwlock")) == {"read": {}, "write": {}}


def test_what_stages_took_is_shown_the_longest_first(project: Project) -> None:
    assert run(project, "stage", "times").out == "No stage ran here yet.\n"
    project.write({"dvc.yaml": WIDE})
    assert run(project, "repro", "-j", "2").code == 0
    rows = run(project, "stage", "times").out.splitlines()
    assert rows[0].split() == ["stage", "time", "CPU", "memory", "ended"]
    assert sorted(row.split()[0] for row in rows[1:]) == [
        "each@1",
        "each@2",
        "each@3",
        "each@4",
        "first",
        "last",
    ]
    told = json.loads(run(project, "stage", "times", "first", "last", "--json").out)
    assert sorted(told) == ["first", "last"]
    assert set(told["first"]) == {"ended_s", "wall_s", "cpu_s", "memory_bytes"}
    assert told["first"]["memory_bytes"] > 0
    project.git("check-ignore", ".dvc/kist/times.json")
    assert run(project, "status").out == "Data and pipelines are up to date.\n"

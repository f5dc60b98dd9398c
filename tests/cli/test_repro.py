"""`repro`: what it says, how it fails, what a signal and other processes do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from kist.testing.project import Project

CHAIN = """\
stages:
  first: {cmd: cp code.py first.txt, deps: [code.py], outs: [first.txt]}
  second: {cmd: cp first.txt second.txt, deps: [first.txt], outs: [second.txt]}
  third: {cmd: cp second.txt third.txt, deps: [second.txt], outs: [third.txt]}
"""
FAILING = """\
stages:
  good: {cmd: cp code.py good.txt, deps: [code.py], outs: [good.txt]}
  bad: {cmd: exit 3, deps: [good.txt], outs: [bad.txt]}
  below: {cmd: cp bad.txt below.txt, deps: [bad.txt], outs: [below.txt]}
  beside: {cmd: cp good.txt beside.txt, deps: [good.txt], outs: [beside.txt]}
"""


def run(project: Project, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs kist as a process of its own, for its commands write to the real standard output."""
    return subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *words],
        cwd=project.root,
        env={**os.environ, "SHELL": "/bin/sh", **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def with_stages(project: Project, text: str) -> None:
    project.write({"dvc.yaml": text})


def test_each_step_is_said_in_the_words_that_scripts_look_for(project: Project) -> None:
    with_stages(project, CHAIN)
    done = run(project, "repro", "second")
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[:8] == [
        "Running stage 'first':",
        "> cp code.py first.txt",
        "Generating lock file 'dvc.lock'",
        "Updating lock file 'dvc.lock'",
        "",
        "Running stage 'second':",
        "> cp first.txt second.txt",
        "Updating lock file 'dvc.lock'",
    ]
    again = run(project, "repro", "second")
    assert again.stdout.splitlines() == [
        "Stage 'first' didn't change, skipping",
        "Stage 'second' didn't change, skipping",
        "Data and pipelines are up to date.",
    ]


def test_a_failure_ends_it_and_what_was_finished_is_recorded(project: Project) -> None:
    with_stages(project, FAILING)
    done = run(project, "repro")
    assert done.returncode == 255
    assert done.stderr == "error: cannot reproduce 'bad': failed to run: exit 3, exited with 3\n"
    assert project.read("dvc.lock").count("cmd:") == 1
    assert "/good.txt" in project.read(".gitignore")


def test_keep_going_leaves_out_only_what_depends_on_the_failure(project: Project) -> None:
    with_stages(project, FAILING)
    done = run(project, "repro", "--keep-going")
    assert done.returncode == 255
    assert done.stderr.splitlines() == [
        "warning: cannot reproduce 'bad': failed to run: exit 3, exited with 3",
        "warning: 'below' is left out, for 'bad' failed",
        "error: cannot reproduce 'bad'",
    ]
    assert os.path.exists(project.path("beside.txt"))


def test_ignored_errors_end_well(project: Project) -> None:
    with_stages(project, FAILING)
    done = run(project, "repro", "--ignore-errors")
    assert done.returncode == 0
    assert os.path.exists(project.path("beside.txt"))
    assert "does not exist (ignored)" in done.stderr


def test_dry_shows_all_that_would_run_and_changes_nothing(project: Project) -> None:
    with_stages(project, CHAIN)
    done = run(project, "repro", "--dry")
    assert [line for line in done.stdout.splitlines() if line.startswith(">")] == [
        "> cp code.py first.txt",
        "> cp first.txt second.txt",
        "> cp second.txt third.txt",
    ]
    assert not os.path.exists(project.path("dvc.lock"))
    assert not os.path.exists(project.path("first.txt"))


def test_with_json_the_commands_speak_on_standard_error(project: Project) -> None:
    with_stages(project, CHAIN.replace("cp code.py", "echo loud; cp code.py"))
    done = run(project, "repro", "--json", "second")
    assert json.loads(done.stdout) == {
        "ran": ["first", "second"],
        "unchanged": [],
        "failed": [],
        "to_stage": [".gitignore", "dvc.lock"],
    }
    assert "loud" in done.stderr


def test_off_a_terminal_nobody_confirms(project: Project) -> None:
    with_stages(project, CHAIN)
    done = run(project, "repro", "-i")
    assert done.returncode == 255
    assert done.stderr == "error: cannot reproduce 'first': nobody confirmed\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CHAIN.replace("deps: [code.py]", "deps: [third.txt]"), "they depend on each other"),
        (CHAIN.replace("outs: [third.txt]", "outs: [second.txt]"), "'second.txt' is an output of"),
        (CHAIN.replace("outs: [third.txt]", "outs: [third.txt, second.txt/x]"), "lies in the output 'second.txt'"),
        (CHAIN.replace("outs: [third.txt]", "outs: [data/x]"), "lies in the output 'data' of 'data.dvc'"),
        (CHAIN.replace("deps: [code.py]", "deps: [nope.py]"), "the dependency 'nope.py' does not exist"),
        (CHAIN.replace("cmd: cp code.py first.txt", "cmd: 'true'"), "the output 'first.txt' does not exist"),
        (CHAIN.replace("cmd: cp code.py", "wdir: nope, cmd: cp code.py"), "nope"),
    ],
)  # fmt: skip
def test_a_pipeline_that_cannot_run_is_refused_by_name(project: Project, text: str, message: str) -> None:
    with_stages(project, text)
    done = run(project, "repro")
    assert done.returncode == 255
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_may_run_kist_itself(project: Project) -> None:
    with_stages(
        project,
        f"stages:\n  outer:\n    cmd: {sys.executable} -m kist.cli.main add -q inner.txt && touch o\n    outs: [o]\n",
    )
    project.write({"inner.txt": "inner\n"})
    done = run(project, "repro")
    assert done.returncode == 0, done
    assert os.path.exists(project.path("inner.txt.dvc"))


def test_a_command_that_writes_the_lock_is_not_overwritten(project: Project) -> None:
    kist = f"{sys.executable} -m kist.cli.main"
    with_stages(
        project,
        CHAIN + f"  outer: {{cmd: '{kist} repro -q -s alone && touch o', deps: [first.txt], outs: [o]}}\n"
        "  alone: {cmd: touch a, outs: [a]}\n",
    )
    done = run(project, "repro", "outer")
    assert done.returncode == 0, done
    assert run(project, "repro", "-s", "alone", "outer", "first").stdout.count("didn't change") == 3


def test_the_paths_of_a_running_stage_are_told_to_others(project: Project) -> None:
    with_stages(
        project, "stages:\n  s:\n    cmd: cp .dvc/tmp/rwlock seen\n    deps: [code.py]\n    outs: [seen]\n"
    )
    done = run(project, "repro")
    assert done.returncode == 0, done
    seen = json.loads(project.read("seen"))
    assert list(seen["read"]) == [project.path("code.py")]
    assert list(seen["write"]) == [project.path("seen")]
    assert json.loads(project.read(".dvc/tmp/rwlock")) == {"read": {}, "write": {}}


def test_a_stage_whose_paths_another_process_uses_is_refused(project: Project) -> None:
    with_stages(project, CHAIN)
    user = {"pid": os.getpid(), "cmd": "another"}
    project.write({"first.txt": "the other one writes it\n"})
    project.write({".dvc/tmp/rwlock": json.dumps({"read": {}, "write": {project.path("code.py"): user}})})
    done = run(project, "repro", "first")
    assert done.returncode == 255
    assert f"process {os.getpid()} writes it: another" in done.stderr
    assert project.exists("first.txt")
    gone = {"pid": 2**22 + 5, "cmd": "gone"}
    project.write({".dvc/tmp/rwlock": json.dumps({"read": {}, "write": {project.path("code.py"): gone}})})
    assert run(project, "repro", "first").returncode == 0
    project.write({".dvc/tmp/rwlock": "garbage", "code.py": "print(2)\n"})
    assert run(project, "repro", "first").returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_goes_to_the_command_which_is_waited_for(
    project: Project, number: signal.Signals, status: int
) -> None:
    script = (
        "import signal, sys\n"
        "def end(number, frame):\n"
        "    open('told', 'w').write(str(number))\n"
        "    sys.exit(1)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    project.write(
        {
            "wait.py": script,
            "dvc.yaml": f"stages:\n  w: {{cmd: exec {sys.executable} wait.py, outs: [told]}}\n",
        }
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "kist.cli.main", "repro", "-q"],
        cwd=project.root,
        env={**os.environ, "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert project.read("told") == str(int(number))
    assert not os.path.exists(project.path("dvc.lock"))


def test_an_old_stage_in_a_file_of_its_own_runs(project: Project) -> None:
    project.write({"old.dvc": "cmd: cp code.py old.txt\ndeps:\n- path: code.py\nouts:\n- path: old.txt\n"})
    done = run(project, "repro", "old.dvc")
    assert done.returncode == 0, done
    assert "Running stage 'old.dvc':" in done.stdout
    assert run(project, "repro", "old.dvc").stdout.startswith("'old.dvc' didn't change, skipping")
    project.write({"code.py": "print(3)\n"})
    assert "Running stage" in run(project, "repro", "old.dvc").stdout


EXPLAINED = """\
stages:
  first: {cmd: cp code.py first.txt, deps: [code.py], params: [lr, opt.n, new], outs: [first.txt]}
  second: {cmd: cp first.txt second.txt, deps: [first.txt, data], outs: [second.txt]}
  third: {cmd: cp code.py third.txt, deps: [code.py], outs: [third.txt]}
  cold: {cmd: cp code.py cold.txt, deps: [code.py], outs: [cold.txt], frozen: true}
  fresh: {cmd: cp code.py fresh.txt, outs: [fresh.txt], always_changed: true}
"""


def test_explain_names_what_changed_from_what_to_what(project: Project) -> None:
    before = EXPLAINED.replace(", new]", "]").replace("cp code.py third.txt", "cp  code.py third.txt")
    before = before.replace(", frozen: true", "")
    project.write({"params.yaml": "lr: 0.5\nopt: {n: 1}\n", "dvc.yaml": before})
    assert run(project, "repro", "-q").returncode == 0
    project.write({"params.yaml": "lr: 0.7\nopt: {m: 1}\nnew: yes\n", "dvc.yaml": EXPLAINED})
    project.write({"code.py": "print(1)\n", "data/one.txt": "1\n"})
    os.unlink(project.path("second.txt"))
    done = run(project, "repro", "--explain")
    assert done.stdout == (
        "data.dvc: changed\n"
        "  'data' changed: c78a0737.dir -> ea199e67.dir\n"
        "first: runs\n"
        "  the dependency 'code.py' changed: ac01e860 -> dee5c469\n"
        "  the parameter params.yaml: lr changed: 0.5 -> 0.7\n"
        "  the parameter params.yaml: opt.n is gone; it was 1\n"
        "  the parameter params.yaml: new is new: 'yes'\n"
        "second: runs\n"
        "  the dependency 'data' changed: c78a0737.dir -> ea199e67.dir\n"
        "  the output 'second.txt' is missing\n"
        "  it reads what 'first' makes, which runs before\n"
        "third: runs\n"
        "  the command changed: 'cp  code.py third.txt' -> 'cp code.py third.txt'\n"
        "  the dependency 'code.py' changed: ac01e860 -> dee5c469\n"
        "cold: skipped, it is frozen: what it depends on does not count, and its command does not run\n"
        "fresh: runs\n"
        "  it runs each time: `always_changed`\n"
    )
    assert not os.path.exists(project.path("second.txt"))
    told = json.loads(run(project, "status", "--explain", "--json", "third").stdout)
    assert [(item["stage"], item["runs"], len(item["reasons"])) for item in told] == [("third", True, 2)]

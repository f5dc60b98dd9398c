"""`kist check-ignore`: wiring, exit codes, output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(cwd: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd.parent), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "kist.cli.main", "check-ignore", *arguments],
        cwd=cwd,
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    (root / ".dvcignore").write_text("*.log\n!keep.log\n")
    (root / "sub").mkdir()
    (root / "sub" / ".dvcignore").write_text("b.*\n")
    return root


def test_paths_that_are_left_out_are_printed_as_given(repo: Path) -> None:
    assert run(repo, "a.log", "x", "./sub/b.txt", "keep.log") == (0, "a.log\n./sub/b.txt\n", "")
    assert run(repo / "sub", "../a.log", str(repo / "sub" / "b.x")) == (0, f"../a.log\n{repo}/sub/b.x\n", "")


def test_nothing_left_out_is_exit_status_one(repo: Path) -> None:
    assert run(repo, "x", "keep.log", "/elsewhere/a.log", ".") == (1, "", "")


def test_details_name_the_line(repo: Path) -> None:
    code, out, _ = run(repo, "-d", "-n", "a.log", "x", "keep.log", "sub/b.x")
    assert code == 0
    assert (
        out
        == ".dvcignore:1:*.log\ta.log\n::\tx\n.dvcignore:2:!keep.log\tkeep.log\nsub/.dvcignore:1:b.*\tsub/b.x\n"
    )
    assert run(repo, "-d", "-n", "x")[:2] == (1, "::\tx\n")
    assert run(repo, "-d", "keep.log")[0] == 0
    assert run(repo, "-d", "-a", "a.log")[:2] == (0, ".dvcignore:1:*.log\ta.log\n")


def test_standard_input_is_read_up_to_an_empty_line(repo: Path) -> None:
    assert run(repo, "--stdin", stdin="a.log\nx\n\nb.log\n") == (0, "a.log\n", "")
    assert run(repo, "--stdin", stdin="x") == (1, "", "")
    assert run(repo, "--stdin", stdin="") == (1, "", "")


def test_quiet_says_it_by_the_exit_status_alone(repo: Path) -> None:
    assert run(repo, "-q", "a.log") == (0, "", "")
    assert run(repo, "-q", "x") == (1, "", "")


def test_json_holds_every_path(repo: Path) -> None:
    code, out, _ = run(repo, "--json", "a.log", "x")
    assert code == 0
    assert json.loads(out) == [
        {"path": "a.log", "ignored": True, "source": ".dvcignore", "line": 1, "pattern": "*.log"},
        {"path": "x", "ignored": False, "source": None, "line": None, "pattern": None},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no path is named"),
        (["--stdin", "a"], "paths come from the command line or from --stdin, not from both"),
        (["-n", "a"], "--non-matching goes with --details"),
        (["-a", "a"], "--all goes with --details"),
        (["-q", "-d", "a"], "--details has something to say, and --quiet forbids it"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    repo: Path, arguments: list[str], message: str
) -> None:
    code, out, err = run(repo, *arguments)
    assert (code, out) == (255, "")
    assert err.startswith(f"error: cannot check: {message}\n")


def test_outside_of_a_repository_the_exit_status_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, "a")[0] == 253

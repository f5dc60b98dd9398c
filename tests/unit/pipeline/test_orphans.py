"""What a killed `repro` left running is ended, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kist.base.processes import pid_space
from kist.pipeline.orphans import VARIABLE, Mark

MARK = "0123456789abcdef" * 2
DEAD = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", ""])
child.wait()
print(child.pid)
"""

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="the system does not show environments"
)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """A note of a process that is gone."""
    pid = subprocess.run(
        [sys.executable, "-c", DEAD], check=True, capture_output=True, text=True
    ).stdout.strip()
    path = tmp_path / f"commands-{pid}"
    path.write_text(f"{MARK} {pid_space()}")
    return path


def ended(folder: Path, mark: str) -> tuple[int, int]:
    """Returns how many a process with a mark says that it ended, and how its marked parent ended."""
    inner = f"from kist.pipeline.orphans import end_orphans; print(end_orphans({str(folder)!r}))"
    outer = (
        "import os, subprocess, sys\n"
        f"environ = {{**os.environ, {VARIABLE!r}: {mark!r}}}\n"
        f"done = subprocess.run([sys.executable, '-c', {inner!r}], env=environ, capture_output=True, text=True)\n"
        "print(done.stdout, done.stderr, end='', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", outer],
        env={**os.environ, VARIABLE: MARK},
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stdout or -1), done.returncode


def test_a_process_with_the_mark_of_one_that_is_gone_is_ended(note: Path) -> None:
    assert ended(note.parent, "other") == (-1, -15)
    assert not note.exists()


def test_a_note_of_another_container_is_not_judged_by_its_number(note: Path) -> None:
    boot, _, number = pid_space().partition(".")
    note.write_text(f"{MARK} {boot}.{int(number) + 1}")
    assert ended(note.parent, "other") == (0, 0)
    assert note.exists()


def test_the_shell_that_a_command_left_and_a_person_works_in_is_left_alone(note: Path) -> None:
    assert ended(note.parent, MARK) == (0, 0)
    assert not note.exists()


def test_a_mark_is_noted_until_nothing_runs_any_more(tmp_path: Path) -> None:
    mark = Mark(str(tmp_path))
    path = tmp_path / f"commands-{os.getpid()}"
    assert path.read_text() == f"{mark.text} {pid_space()}"
    mark.close()
    assert not path.exists()

"""`make demo` plays to its end, in a place without home, identity or configuration, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with a path, a home that does not exist, a folder for temporary files, and nothing else."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return {
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        "HOME": str(tmp_path / "no-home"),
        "TMPDIR": str(scratch),
    }


def play(environ: dict[str, str], code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the demo, after `code` when given."""
    program = [sys.executable, "tools/demo.py"]
    if code:
        program = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'tools'); import demo\n{code}"]
    return subprocess.run(
        program,
        check=False,
        cwd=TOP,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_demo_ends_well_and_leaves_nothing_behind(bare: dict[str, str]) -> None:
    done = play(bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert "$ kist push\n" in done.stdout
    assert "did what they should" in done.stdout.splitlines()[-1]
    assert os.listdir(bare["TMPDIR"]) == []


def test_the_demo_fails_when_a_damaged_file_is_not_found(bare: dict[str, str]) -> None:
    done = play(bare, "demo.flip_bit = lambda path: None\nsys.exit(demo.main())")
    assert done.returncode == 1
    assert "the demo failed: `kist data status --granular`" in done.stderr
    assert os.listdir(bare["TMPDIR"]) == []


def test_the_data_of_the_demo_is_the_moon(tmp_path: Path) -> None:
    sys.path.insert(0, str(TOP / "tools"))
    try:
        import demo_data
    finally:
        sys.path.pop(0)
    demo_data.write_version(str(tmp_path), 1)
    rows = [line.split(",") for line in (tmp_path / "moon.csv").read_text().splitlines()[1:]]
    by_light = sorted(rows, key=lambda row: float(row[2]))
    # New on January 11, 11:57 UTC, and full on January 25, 17:54 UTC.
    assert (by_light[0][0], by_light[-1][0]) == ("2024-01-11", "2024-01-25")
    assert len(list((tmp_path / "images").iterdir())) == len(rows) == 31

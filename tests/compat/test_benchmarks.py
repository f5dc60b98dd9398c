"""The benchmark program at toy size: it runs, proves that the commands did their work, and has the rows that are promised.

Figures of so few files say nothing; none is looked at but that it is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
FLOORS = {  # what each row is held against at full size
    "save of 100 files, a new directory: over add and commit": 1.2,
    "save of 100 files, 1 % edited: over add and commit": 1.2,
    "gc -A, nothing to do, 10 commits, 2 touch data: DVC / Kist": 40,
    "log --all, 10 commits, 2 touch data, beside DVC's gc -A: DVC / Kist": 40,
    "gc -w of 2 of 200 objects: DVC / Kist": 25,
    "fsck of 200 objects: over md5sum on both cores": 1.2,
    "metrics show -A of 10 commits: DVC / Kist": 40,
    "exp show, 4 experiments: DVC / Kist": 8,
    "exp show again, 4 experiments: DVC / Kist": 6,
    "exp list, 4 experiments: DVC / Kist": 5,
    "exp show of 20 experiments": 1,
}
MAIN = {"add": 6, "push": 5, "status": 8}


def test_the_benchmarks_run_at_toy_size_and_have_their_rows(tmp_path: Path) -> None:
    words = ["--files", "200", "--commits", "10", "--rounds", "1", "--rows", ",".join(MAIN)]
    words += ["--workloads", "main,everyday,cleanup,metrics,experiments", "--workdir", str(tmp_path)]
    words += ["--dvc", os.environ["KIST_DVC"], "--json", str(tmp_path / "results.json")]
    done = subprocess.run(
        [sys.executable, "benchmarks/run.py", *words], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a floor is not met, as is right for so few files
    found = json.loads((tmp_path / "results.json").read_text())
    checks = {check["title"]: check for check in found["checks"]}
    memory = {title: check for title, check in checks.items() if title.endswith(": memory")}
    assert sorted(check["limit"] for check in memory.values()) == [120, 120, *[150] * 5]
    assert {title: check["limit"] for title, check in checks.items() if title not in memory} == FLOORS
    assert all(check["value"] > 0 for check in checks.values())
    assert {name: row["floor"] for name, row in found["rows"].items()} == MAIN
    assert all(row["ratio_wall"] > 0 for row in found["rows"].values())
    for title in (*FLOORS, *memory):
        assert f"| {title} |" in done.stdout

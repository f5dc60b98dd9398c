"""The workload of metrics: `metrics show -A` over a long history in which every commit brings other metrics."""

from __future__ import annotations

import os
import statistics
import subprocess

from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Sandbox

FLOOR = 40
MEMORY_LIMIT_BYTES = 120 * 10**6
FILES = 20
"""Files of code beside the metrics; one of them changes with each commit."""
_STAGES = (
    b"stages:\n  train:\n    cmd: python train.py\n    params:\n    - lr\n    - model.size\n"
    b"    metrics:\n    - metrics.json:\n        cache: false\nmetrics:\n- eval/summary.yaml\n"
)


def history(context: Context, *, commits: int) -> list[Check]:
    """Returns how `metrics show -A` of so many commits compares."""
    found: dict[str, list[Measurement]] = {DVC: [], KIST: []}
    for number in range(context.rounds):
        for kind in (DVC, KIST) if number % 2 else (KIST, DVC):
            program = context.program(kind)
            if program is None:
                continue
            box = Sandbox(program, os.path.join(context.workdir, f"metrics-{number}-{kind}"))
            make_history(box, commits)
            settle(box)
            argv = [*program.argv, "metrics", "show", "-A", "--md"]
            result = measure(argv, cwd=box.repo, env=box.env, terminal=context.terminal)
            if result.output.count("metrics.json") < commits:
                raise CommandFailed(f"metrics: {kind} did not name all versions: {result.output[-400:]}")
            found[kind].append(result)
    title = f"metrics show -A of {commits} commits"
    checks = []
    if found[DVC] and found[KIST]:
        pairs = list(zip(found[DVC], found[KIST], strict=True))
        detail = " · ".join(f"DVC {one.wall_s:.2f} s, Kist {two.wall_s:.3f} s" for one, two in pairs)
        ratio = statistics.median(one.wall_s / two.wall_s for one, two in pairs)
        checks.append(Check(f"{title}: DVC / Kist", ratio, FLOOR, True, "x", detail))
    if found[KIST]:
        peak = max(one.memory_bytes for one in found[KIST]) / 1e6
        checks.append(Check(f"{title}: memory", peak, MEMORY_LIMIT_BYTES / 1e6, False, "MB", ""))
    return checks


def make_history(box: Sandbox, commits: int) -> None:
    """Makes a repository whose commits each change metrics, parameters and a file of code."""
    box.make_repository(box.repo, with_remote=False)
    stream = b"".join(_commit(number) for number in range(commits))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=box.repo, env=box.env, input=stream, check=True)
    box.git("reset", "-q", "--hard", cwd=box.repo)


def _commit(number: int) -> bytes:
    files = {
        f"src/{number % FILES}.py": b"# %d\n" % number,
        "params.yaml": b"lr: 0.%04d\nmodel:\n  size: %d\n  depth: 3\n" % (number, number % 7),
        "metrics.json": b'{"accuracy": 0.%05d, "loss": 1.%05d, "f1": {"macro": 0.5, "micro": 0.%04d}}'
        % (number, number, number),
        "eval/summary.yaml": b"auc: 0.%05d\nseen: %d\n" % (number, number * 100),
    }
    if number == 0:
        files["dvc.yaml"] = _STAGES
    message = b"change %d" % number
    parts = [
        b"commit refs/heads/main\n",
        b"committer Ada <ada@example.invalid> %d +0000\n" % (1_700_000_000 + number * 3600),
        b"data %d\n%s\n" % (len(message), message),
        b"" if number else b"from refs/heads/main^0\n",
    ]
    parts += [
        b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
        for path, data in files.items()
    ]
    return b"".join(parts)

"""Data and Git in one step: what `save` costs over `add` and a commit by hand, and `log` over a long history."""

from __future__ import annotations

import os
import statistics
import time

from benchmarks import workload
from benchmarks.cleanup import make_history
from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Sandbox

FILES = 50_000
SAVE_LIMIT = 1.2
LOG_FLOOR = 40
LOG_SECONDS = 1.0


def save(context: Context, *, files: int = FILES) -> list[Check]:
    """Returns how `save` of a new directory, and of one with 1 % of its files edited, compares with the two steps.

    The two ways run in turn, each in a repository of its own; the two steps are `add`, `git add` and `git commit`.
    """
    kist = context.program(KIST)
    if kist is None:
        return []
    tree = workload.small_files(files)
    ratios: dict[str, list[float]] = {"a new directory": [], "1 % edited": []}
    details: dict[str, list[str]] = {name: [] for name in ratios}
    for number in range(context.rounds):
        boxes = {
            way: Sandbox(kist, os.path.join(context.workdir, f"save-{number}-{way}"))
            for way in ("one", "two")
        }
        for box in boxes.values():
            box.make_repository(box.repo, with_remote=False)
            workload.make_tree(os.path.join(box.repo, "data"), tree)
        for name, found in ratios.items():
            if name != "a new directory":
                time.sleep(2)  # a file that changed in the tick of its record would be read again
                for box in boxes.values():
                    workload.edit_tree(os.path.join(box.repo, "data"), tree, count=max(1, files // 100))
                time.sleep(2)
            seconds = {
                way: _save(context, boxes[way], way)
                for way in (("one", "two") if number % 2 else ("two", "one"))
            }
            found.append(seconds["one"] / seconds["two"])
            details[name].append(f"save {seconds['one']:.2f} s, add and commit {seconds['two']:.2f} s")
    return [
        Check(
            f"save of {files:,} files, {name}: over add and commit",
            statistics.median(found),
            SAVE_LIMIT,
            False,
            "x",
            " · ".join(details[name]),
        )
        for name, found in ratios.items()
    ]


def _save(context: Context, box: Sandbox, way: str) -> float:
    """Returns the seconds that it takes to have the directory committed."""
    steps = [[*box.program.argv, "save", "-m", "data", "data"]]
    if way == "two":
        steps = [
            [*box.program.argv, "add", "data"],
            ["git", "add", "data.dvc", ".gitignore"],
            ["git", "commit", "-m", "data"],
        ]
    settle()
    found = [measure(step, cwd=box.repo, env=box.env, terminal=context.terminal) for step in steps]
    return sum(one.wall_s for one in found)


def log(context: Context) -> list[Check]:
    """Returns how `log` over a history of 500 commits, 100 of which touch data, compares with DVC's `gc -A` there.

    DVC has no `log`; its `gc -A` reads the same metafiles and manifests.
    """
    dvc, kist = context.program(DVC), context.program(KIST)
    if kist is None:
        return []
    found: dict[str, list[Measurement]] = {DVC: [], KIST: []}
    for number in range(context.rounds):
        for program in (dvc, kist) if number % 2 else (kist, dvc):
            if program is None:
                continue
            box = Sandbox(program, os.path.join(context.workdir, f"log-{number}-{program.kind}"))
            says = make_history(box, 500, 100)
            words = ["gc", "-A", "-f"] if program.kind == DVC else ["log", "--all"]
            settle()
            result = measure([*program.argv, *words], cwd=box.repo, env=box.env, terminal=context.terminal)
            if (says if program.kind == DVC else "10 files changed") not in result.output:
                raise CommandFailed(f"log: {program.kind} said {result.output[:400]}")
            found[program.kind].append(result)
    seconds = [one.wall_s for one in found[KIST]]
    memory = max(one.memory_bytes for one in found[KIST])
    detail = f"Kist {statistics.median(seconds):.3f} s, {memory / 1e6:.0f} MB"
    checks = [
        Check(
            "log of 500 commits, 100 touch data", statistics.median(seconds), LOG_SECONDS, False, "s", detail
        )
    ]
    if found[DVC]:
        ratios = [one.wall_s / two.wall_s for one, two in zip(found[DVC], found[KIST], strict=True)]
        detail = " · ".join(
            f"DVC {one.wall_s:.2f} s, Kist {two.wall_s:.3f} s"
            for one, two in zip(found[DVC], found[KIST], strict=True)
        )
        title = "log of 500 commits, 100 touch data: DVC's gc -A / Kist"
        checks.append(Check(title, statistics.median(ratios), LOG_FLOOR, True, "x", detail))
    return checks

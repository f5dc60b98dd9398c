"""Data and Git in one step: what `save` costs over `add` and a commit by hand."""

from __future__ import annotations

import os
import statistics
import time

from benchmarks import workload
from benchmarks.cleanup import memory_check
from benchmarks.main_table import settle
from benchmarks.measure import Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import KIST, Sandbox

SAVE_LIMIT = 1.2


def save(context: Context, *, files: int) -> list[Check]:
    """Returns how `save` of a new directory, and of one with 1 % of its files edited, compares with the two steps.

    The two ways run in turn, each in a repository of its own; the two steps are `add`, `git add` and `git commit`.
    """
    kist = context.program(KIST)
    if kist is None:
        return []
    tree = workload.small_files(files)
    ratios: dict[str, list[float]] = {"a new directory": [], "1 % edited": []}
    details: dict[str, list[str]] = {name: [] for name in ratios}
    saves: list[Measurement] = []
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
            results = {
                way: _save(context, boxes[way], way)
                for way in (("one", "two") if number % 2 else ("two", "one"))
            }
            saves += results["one"]
            seconds = {way: sum(one.wall_s for one in steps) for way, steps in results.items()}
            found.append(seconds["one"] / seconds["two"])
            details[name].append(f"save {seconds['one']:.2f} s, add and commit {seconds['two']:.2f} s")
    title = f"save of {files:,} files"
    checks = []
    for name, found in ratios.items():
        detail = " · ".join(details[name])
        ratio = statistics.median(found)
        checks.append(Check(f"{title}, {name}: over add and commit", ratio, SAVE_LIMIT, False, "x", detail))
    return [*checks, memory_check(title, saves)]


def _save(context: Context, box: Sandbox, way: str) -> list[Measurement]:
    """Returns what the steps cost that it takes to have the directory committed."""
    steps = [[*box.program.argv, "save", "-m", "data", "data"]]
    if way == "two":
        steps = [
            [*box.program.argv, "add", "data"],
            ["git", "add", "data.dvc", ".gitignore"],
            ["git", "commit", "-m", "data"],
        ]
    settle(box)
    return [measure(step, cwd=box.repo, env=box.env, terminal=context.terminal) for step in steps]

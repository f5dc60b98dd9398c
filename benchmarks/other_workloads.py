"""The workloads beside the main table: big files, middling files, a million files, start-up."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import rows, workload
from benchmarks.main_table import run_rounds, settle
from benchmarks.measure import Measurement, measure
from benchmarks.results import Check, Samples
from benchmarks.sandbox import BARE, DVC, KIST, Program, Sandbox

BIG_FILES = 4
BIG_SIZE = 1 << 30
MEDIUM_FILES = 5_000
MEDIUM_SIZE = 200_000
SCALE_ROWS = frozenset(
    (
        "add",
        "add_again",
        "status",
        "status_cold",
        "push",
        "push_again",
        "checkout_empty",
        "checkout_noop",
        "edited_status",
        "edited_add",
        "edited_push",
        "diff",
        "switch",
    )
)
SCALE_RATIO = 11
SCALE_MEMORY_BYTES = 700 * 10**6
START_RUNS = 20


class Context(NamedTuple):
    """What every workload needs: the tools, where to work, how often, and whether stderr is a terminal."""

    programs: list[Program]
    workdir: str
    rounds: int
    terminal: bool

    def program(self, kind: str) -> Program | None:
        """Returns the tool of a kind, None when it does not take part."""
        return next((program for program in self.programs if program.kind == kind), None)


def _timed(context: Context, box: Sandbox, argv: Sequence[str], cwd: str) -> Measurement:
    settle(box)
    return measure(argv, cwd=cwd, env=box.env, terminal=context.terminal)


def big_files(context: Context) -> list[Check]:
    """Returns how `add` of 4 files of 1 GiB compares with md5sum on both cores, and `push` with cp.

    A little beyond what the four files take is written twice: the storage folder, and cp's copy.
    """
    kist = context.program(KIST)
    if kist is None:
        return []
    adds: list[float] = []
    pushes: list[float] = []
    details: list[str] = []
    for number in range(context.rounds):
        box = Sandbox(kist, os.path.join(context.workdir, f"big-{number}"))
        box.make_repository(box.repo)
        data = os.path.join(box.repo, "data")
        workload.make_big_files(data, count=BIG_FILES, size=BIG_SIZE)
        names = sorted(os.listdir(data))
        linked = os.path.join(box.root, "linked")
        os.mkdir(linked)
        script = f'printf "%s\\0" "$@" | xargs -0 -n 1 -P 2 md5sum && ln "$@" {linked}/'
        md5 = _timed(context, box, ["sh", "-c", script, "sh", *names], data)
        add = _timed(context, box, [*kist.argv, "add", "data"], box.repo)
        copy = _timed(context, box, ["cp", "-r", data, os.path.join(box.root, "copied")], box.repo)
        push = _timed(context, box, [*kist.argv, "push"], box.repo)
        adds.append(add.wall_s / md5.wall_s)
        pushes.append(push.wall_s / copy.wall_s)
        details.append(
            f"add {add.wall_s:.1f} s, md5sum and link {md5.wall_s:.1f} s; "
            f"push {push.wall_s:.1f} s, cp {copy.wall_s:.1f} s; "
            f"{max(add.memory_bytes, push.memory_bytes) / 1e6:.0f} MB"
        )
        # Four gigabytes a round: these few files are deleted without the cost that many have.
        box.destroy()
    detail = " · ".join(details)
    return [
        Check(
            "4 files of 1 GiB: add / (md5sum on both cores + ln)",
            statistics.median(adds),
            1.15,
            False,
            "x",
            detail,
        ),
        Check("4 files of 1 GiB: push / cp", statistics.median(pushes), 1.3, False, "x", detail),
    ]


def _ratio_checks(samples: Samples, title: str, floor: float) -> list[Check]:
    checks = []
    for name in ("add", "push", "pull", "checkout_empty"):
        by_kind = samples[name]
        if not by_kind.get(DVC) or not by_kind.get(KIST):
            continue
        pairs = list(zip(by_kind[DVC], by_kind[KIST], strict=True))
        checks.append(
            Check(
                f"{title}: {name}, DVC / Kist",
                statistics.median(dvc["wall_s"] / kist["wall_s"] for dvc, kist in pairs),
                floor,
                True,
                "x",
                " · ".join(f"{dvc['wall_s']:.2f} s and {kist['wall_s']:.2f} s" for dvc, kist in pairs),
            )
        )
    return checks


def medium_files(context: Context) -> list[Check]:
    """Returns how many times faster than DVC 5,000 files of 200 KB are added, pushed, pulled, restored."""
    programs = [program for program in context.programs if program.kind != BARE]
    tree = workload.Tree(MEDIUM_FILES, 50, MEDIUM_SIZE, MEDIUM_SIZE)
    samples = run_rounds(
        programs,
        os.path.join(context.workdir, "medium"),
        rows.Setting(tree, 0),
        rounds=context.rounds,
        wanted=frozenset(("add", "push", "pull", "checkout_empty")),
        terminal=context.terminal,
        say=lambda line: print("medium", line, file=sys.stderr, flush=True),
    )
    return _ratio_checks(samples, "5,000 files of 200 KB", 3)


def scale(context: Context, files: int) -> list[Check]:
    """Returns how Kist's time and memory grow from a tenth of the files to all of them.

    Args:
        files: how many files; the smaller tree has a tenth of them.
    """
    kist = context.program(KIST)
    if kist is None:
        return []
    measured: dict[int, Samples] = {}
    for count in (files // 10, files):
        measured[count] = run_rounds(
            [kist],
            os.path.join(context.workdir, f"scale-{count}"),
            rows.Setting(workload.small_files(count), 0),
            rounds=1,
            wanted=SCALE_ROWS,
            terminal=context.terminal,
            say=lambda line: print("scale", line, file=sys.stderr, flush=True),
        )
    checks = []
    for row in rows.ROWS:
        if row.name not in SCALE_ROWS:
            continue
        small, large = (measured[count][row.name][KIST][0] for count in (files // 10, files))
        detail = f"{small['wall_s']:.2f} s and {large['wall_s']:.2f} s"
        title = f"{files:,} files: {row.title}"
        checks.append(
            Check(
                f"{title}, time over a tenth",
                large["wall_s"] / small["wall_s"],
                SCALE_RATIO,
                False,
                "x",
                detail,
            )
        )
        checks.append(
            Check(
                f"{title}, memory", large["memory_bytes"] / 1e6, SCALE_MEMORY_BYTES / 1e6, False, "MB", detail
            )
        )
    return checks


def _least_cpu(box: Sandbox, argv: Sequence[str], cwd: str) -> float:
    return min(
        measure(argv, cwd=cwd, env=box.env, terminal=False, sample_memory=False).cpu_s
        for _ in range(START_RUNS)
    )


def startup(context: Context) -> list[Check]:
    """Returns the CPU time of commands that do almost nothing, the least of 20 runs."""
    kist = context.program(KIST)
    if kist is None:
        return []
    box = Sandbox(kist, os.path.join(context.workdir, "startup"))
    box.make_repository(box.repo)
    for name in ("one", "two", "three"):
        with open(os.path.join(box.repo, name), "w") as stream:
            stream.write(name)
    box.run("add", "-q", "one", "two", "three", cwd=box.repo)
    box.commit("three files", cwd=box.repo)
    python = sys.executable
    bare = _least_cpu(box, [python, "-c", "pass"], box.repo)
    told = f"bare Python {bare * 1000:.0f} ms"
    checks = []
    for title, argv, limit in (
        ("--version over bare Python", [*kist.argv, "--version"], 25),
        ("--help over bare Python", [*kist.argv, "--help"], 25),
        ("import kist over bare Python", [python, "-c", "import kist"], 10),
    ):
        milliseconds = (_least_cpu(box, argv, box.repo) - bare) * 1000
        checks.append(Check(f"start-up, CPU: {title}", milliseconds, limit, False, "ms", told))
    whole = _least_cpu(box, [*kist.argv, "status"], box.repo) * 1000
    dvc = context.program(DVC)
    beside = ""
    if dvc is not None:
        beside = f"; DVC {_least_cpu(box, [*dvc.argv, 'status'], box.repo) * 1000:.0f} ms"
    checks.append(Check("start-up, CPU: status of three files", whole, 120, False, "ms", told + beside))
    return checks

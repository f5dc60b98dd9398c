"""The workloads of pipelines: 500 and 50 small stages beside DVC, stages at once, what Kist costs a stage."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Program, Sandbox

FEW_SHARE = 10
FEWEST = 8
FLOOR_OF_FEW = 8
CHAIN = 5
"""So many stages depend on each other in a row."""
OWN_CPU_LIMIT_MS = 15
SCHEDULER_LIMIT_MS = 10
AT_ONCE = 8
AT_ONCE_FLOOR = 1.8
MEMORY_LIMIT_BYTES = 120 * 10**6
BUSY = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"


class Row(NamedTuple):
    """One measured command, in the state that the rows before it leave.

    Attributes:
        floor: the least allowed ratio with 500 stages.
        says: what both tools must print.
        prepare: changes the repository before it.
    """

    title: str
    words: tuple[str, ...]
    floor: float
    says: str
    prepare: Callable[[str, int], None] | None = None


def _change_a_param(repo: str, stages: int) -> None:
    with open(os.path.join(repo, "params.yaml"), "w") as stream:
        stream.write(params_text(stages).replace("p7: 7\n", "p7: -7\n"))


ROWS = (
    Row("first repro of trivial commands", ("repro",), 20, "Updating lock file"),
    Row("repro, nothing to do", ("repro",), 20, "Data and pipelines are up to date."),
    Row("status", ("status",), 20, "Data and pipelines are up to date."),
    Row("repro, one param changed", ("repro",), 20, "Running stage 's7'", _change_a_param),
    Row("stage list", ("stage", "list"), 8, "s7"),
    Row("dag", ("dag", "--dot"), 8, "s7"),
)


def stages_text(stages: int) -> str:
    """Returns a `dvc.yaml` of small stages, some of which depend on others."""
    parts = ["stages:\n"]
    for number in range(stages):
        dep = f"out/{number - 1}.txt" if number % CHAIN else "src.txt"
        parts.append(
            f"  s{number}:\n    cmd: echo {number} > out/{number}.txt\n    deps:\n    - {dep}\n"
            f"    params:\n    - p{number}\n    outs:\n    - out/{number}.txt\n"
        )
    return "".join(parts)


def params_text(stages: int) -> str:
    """Returns the parameters of these stages, one each."""
    return "".join(f"p{number}: {number}\n" for number in range(stages))


def _make(box: Sandbox, text: str, stages: int) -> None:
    box.make_repository(box.repo, with_remote=False)
    os.mkdir(os.path.join(box.repo, "out"))
    files = {"dvc.yaml": text, "params.yaml": params_text(stages), "src.txt": "source\n", "busy.py": BUSY}
    for name, content in files.items():
        with open(os.path.join(box.repo, name), "w") as stream:
            stream.write(content)
    box.commit("stages", cwd=box.repo)


def pipelines(context: Context, *, stages: int) -> list[Check]:
    """Returns how all of it compares: with many stages, and with a tenth of them; twice as many are scheduled."""
    few = max(FEWEST, stages // FEW_SHARE)
    return [
        *_beside_dvc(context, stages, {}),
        *_beside_dvc(context, few, {row.title: FLOOR_OF_FEW for row in ROWS}),
        *_at_once(context),
        *_scheduler(context, 2 * stages),
    ]


def _beside_dvc(context: Context, stages: int, floors: dict[str, float]) -> list[Check]:
    """Args: floors: title of a row -> its floor, where it is not the row's own."""
    found: dict[str, dict[str, list[Measurement]]] = {row.title: {DVC: [], KIST: []} for row in ROWS}
    own_ms: list[float] = []
    for number in range(context.rounds):
        for kind in (DVC, KIST) if number % 2 else (KIST, DVC):
            program = context.program(kind)
            if program is None:
                continue
            box = Sandbox(program, os.path.join(context.workdir, f"pipelines-{stages}-{number}-{kind}"))
            _make(box, stages_text(stages), stages)
            for row in ROWS:
                if row.prepare is not None:
                    row.prepare(box.repo, stages)
                settle(box)
                result = _measured(context, box, row.words, row.says)
                found[row.title][kind].append(result)
                if kind == KIST and row is ROWS[0]:
                    own_ms.append(_own_cpu_ms(box, result, stages))
    checks = []
    for row in ROWS:
        title = f"{row.title}, {stages} stages"
        checks += _ratios(title, floors.get(row.title, row.floor), found[row.title])
    if own_ms:
        title = f"first repro, {stages} stages: Kist's own CPU a stage"
        checks.append(_limit(title, own_ms, OWN_CPU_LIMIT_MS))
    return checks


def _measured(context: Context, box: Sandbox, words: tuple[str, ...], says: str) -> Measurement:
    argv = [*box.program.argv, *words]
    result = measure(argv, cwd=box.repo, env=box.env, terminal=context.terminal)
    if says not in result.output:
        raise CommandFailed(f"{' '.join(words)} did not say {says!r}: {result.output[-400:]}")
    return result


def _own_cpu_ms(box: Sandbox, result: Measurement, stages: int) -> float:
    """Returns what Kist itself took a stage: all that was measured, without what the commands took."""
    said = subprocess.run(
        [*box.program.argv, "stage", "times", "--json"],
        cwd=box.repo,
        env=box.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    commands_s = sum(item["cpu_s"] for item in json.loads(said.stdout).values())
    return (result.cpu_s - commands_s) / stages * 1000


def _ratios(title: str, floor: float, found: dict[str, list[Measurement]]) -> list[Check]:
    """Returns the smaller of the ratios of wall time and of CPU time, and Kist's memory."""
    dvc, kist = found[DVC], found[KIST]
    checks = []
    if dvc and kist:
        pairs = list(zip(dvc, kist, strict=True))
        wall = statistics.median(one.wall_s / two.wall_s for one, two in pairs)
        cpu = statistics.median(one.cpu_s / two.cpu_s for one, two in pairs)
        detail = f"wall {wall:.1f}, CPU {cpu:.1f} · " + " · ".join(
            f"DVC {one.wall_s:.2f} s, Kist {two.wall_s:.3f} s" for one, two in pairs
        )
        checks.append(Check(f"{title}: DVC / Kist", min(wall, cpu), floor, True, "x", detail))
    if kist:
        peak = max(one.memory_bytes for one in kist) / 1e6
        checks.append(Check(f"{title}: memory", peak, MEMORY_LIMIT_BYTES / 1e6, False, "MB", ""))
    return checks


def _limit(title: str, found: list[float], limit: float) -> Check:
    detail = " · ".join(f"{one:.2f} ms" for one in found)
    return Check(title, statistics.median(found), limit, False, "ms", detail)


def _at_once(context: Context) -> list[Check]:
    """Returns how much faster two jobs are than one where each stage keeps a core busy for half a second."""
    kist = context.program(KIST)
    if kist is None:
        return []
    text = "stages:\n" + "".join(
        f"  s{number}:\n    cmd: python3 busy.py && echo {number} > out/{number}.txt\n    outs:\n"
        f"    - out/{number}.txt\n"
        for number in range(AT_ONCE)
    )
    pairs = []
    for number in range(context.rounds):
        walls = [
            _wall(context, kist, f"at-once-{number}-{jobs}", text, AT_ONCE, ("repro", "-j", jobs))
            for jobs in ("1", "2")
        ]
        pairs.append(walls)
    ratio = statistics.median(one / two for one, two in pairs)
    detail = " · ".join(f"-j 1 {one:.2f} s, -j 2 {two:.2f} s" for one, two in pairs)
    title = f"repro -j 2 of {AT_ONCE} independent stages of 0.5 s: times faster than -j 1"
    return [Check(title, ratio, AT_ONCE_FLOOR, True, "x", detail)]


def _wall(
    context: Context, program: Program, folder: str, text: str, stages: int, words: tuple[str, ...]
) -> float:
    box = Sandbox(program, os.path.join(context.workdir, folder))
    _make(box, text, stages)
    settle(box)
    return _measured(context, box, words, "Updating lock file").wall_s


def _scheduler(context: Context, stages: int) -> list[Check]:
    """Returns what Kist itself takes a stage with eight jobs and many stages."""
    kist = context.program(KIST)
    if kist is None:
        return []
    found = []
    for number in range(context.rounds):
        box = Sandbox(kist, os.path.join(context.workdir, f"scheduler-{number}"))
        _make(box, stages_text(stages), stages)
        settle(box)
        result = _measured(context, box, ("repro", "-j", "8"), "Updating lock file")
        found.append(_own_cpu_ms(box, result, stages))
    return [_limit(f"repro -j 8, {stages:,} stages: own CPU a stage", found, SCHEDULER_LIMIT_MS)]

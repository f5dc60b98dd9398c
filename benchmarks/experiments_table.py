"""The workload of experiments: `exp show` and `exp list` of many, cold and warm, and a first screen of very many."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable

from benchmarks.main_table import settle
from benchmarks.measure import CommandFailed, Measurement, measure
from benchmarks.other_workloads import Context
from benchmarks.results import Check
from benchmarks.sandbox import DVC, KIST, Sandbox

MEMORY_LIMIT_BYTES = 120 * 10**6
SCREEN_LIMIT_S = 1.0
_PIPELINE = b"""\
stages:
  prepare:
    cmd: cp data.txt prepared.txt
    deps: [data.txt]
    outs: [prepared.txt]
  train:
    cmd: sh train.sh
    deps: [prepared.txt, train.sh]
    params: [lr, model]
    outs: [model.bin]
    metrics: [metrics.json: {cache: false}]
"""
_ROWS: tuple[tuple[str, tuple[str, ...], int, bool], ...] = (
    ("exp show", ("exp", "show", "--csv"), 8, True),
    ("exp show again", ("exp", "show", "--csv"), 6, False),
    ("exp list", ("exp", "list"), 5, False),
)


def table(context: Context, *, experiments: int) -> list[Check]:
    """Returns how the commands that look at so many experiments compare."""
    found: dict[tuple[str, str], list[Measurement]] = {}
    for number in range(context.rounds):
        for kind in (DVC, KIST) if number % 2 else (KIST, DVC):
            program = context.program(kind)
            if program is None:
                continue
            box = Sandbox(program, os.path.join(context.workdir, f"experiments-{number}-{kind}"))
            make_experiments(box, experiments)
            for title, words, _, is_cold in _ROWS:
                if is_cold:
                    shutil.rmtree(os.path.join(box.repo, ".dvc/tmp"), ignore_errors=True)
                settle()
                argv = [*program.argv, *words]
                result = measure(argv, cwd=box.repo, env=box.env, terminal=context.terminal)
                if f"exp-{experiments}" not in result.output:
                    raise CommandFailed(f"{title}: {kind} did not name all: {result.output[-400:]}")
                found.setdefault((title, kind), []).append(result)
    checks = []
    for title, _, floor, _ in _ROWS:
        theirs, ours = found.get((title, DVC)), found.get((title, KIST))
        if theirs and ours:
            detail = " · ".join(
                f"DVC {one.wall_s:.2f} s, Kist {two.wall_s:.3f} s"
                for one, two in zip(theirs, ours, strict=True)
            )
            name = f"{title}, {experiments} experiments: DVC / Kist"
            checks.append(Check(name, _ratio(theirs, ours, lambda one: one.wall_s), floor, True, "x", detail))
    return checks


def first_screen(context: Context, *, experiments: int) -> list[Check]:
    """Returns how long the table of very many experiments takes, and how much memory."""
    program = context.program(KIST)
    if program is None:
        return []
    box = Sandbox(program, os.path.join(context.workdir, "experiments-many"))
    make_experiments(box, experiments)
    settle()
    argv = [*program.argv, "exp", "show", "--no-pager"]
    result = measure(argv, cwd=box.repo, env=box.env, terminal=context.terminal)
    title = f"exp show of {experiments} experiments"
    return [
        Check(title, result.wall_s, SCREEN_LIMIT_S, False, "s", ""),
        Check(f"{title}: memory", result.memory_bytes / 1e6, MEMORY_LIMIT_BYTES / 1e6, False, "MB", ""),
    ]


def _ratio(theirs: list[Measurement], ours: list[Measurement], of: Callable[[Measurement], float]) -> float:
    return statistics.median(of(one) / of(two) for one, two in zip(theirs, ours, strict=True))


def make_experiments(box: Sandbox, count: int) -> None:
    """Makes a repository with a pipeline and so many experiments of one commit."""
    box.make_repository(box.repo, with_remote=False)
    base = _commit(
        b"refs/heads/main",
        0,
        b"from refs/heads/main^0\n",
        {"dvc.yaml": _PIPELINE, "train.sh": b"true\n", **_files(0)},
    )
    _import(box, base)
    box.git("reset", "-q", "--hard", cwd=box.repo)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=box.repo, env=box.env, stdout=subprocess.PIPE, check=True
    ).stdout.strip()
    own = b"refs/exps/%s/%s/exp-" % (head[:2], head[2:])
    stream = b"".join(
        _commit(own + b"%d" % number, number, b"from %s\n" % head, _files(number))
        for number in range(1, count + 1)
    )
    _import(box, stream)


def _import(box: Sandbox, stream: bytes) -> None:
    subprocess.run(["git", "fast-import", "--quiet"], cwd=box.repo, env=box.env, input=stream, check=True)


def _files(number: int) -> dict[str, bytes]:
    data = b"6137cde4893c59f76f005a8123d8e8e6"
    lock = b"schema: '2.0'\nstages:\n  prepare:\n    cmd: cp data.txt prepared.txt\n"
    lock += b"    deps:\n    - path: data.txt\n      hash: md5\n      md5: %s\n      size: 5\n" % data
    lock += b"    outs:\n    - path: prepared.txt\n      hash: md5\n      md5: %s\n      size: 5\n" % data
    lock += b"  train:\n    cmd: sh train.sh\n    deps:\n"
    for path in (b"prepared.txt", b"train.sh"):
        lock += b"    - path: %s\n      hash: md5\n      md5: %s\n      size: 5\n" % (path, data)
    lock += b"    params:\n      params.yaml:\n        lr: 0.%04d\n        model:\n          size: %d\n" % (
        number,
        number % 7,
    )
    lock += b"    outs:\n"
    for path in (b"metrics.json", b"model.bin"):
        lock += b"    - path: %s\n      hash: md5\n      md5: a%031x\n      size: 50\n" % (path, number)
    return {
        "dvc.lock": lock,
        "params.yaml": b"lr: 0.%04d\nseed: %d\nmodel:\n  size: %d\n" % (number, number, number % 7),
        "metrics.json": b'{"accuracy": 0.%05d, "deep": {"loss": 1.%05d, "f1": 0.5}}' % (number, number),
    }


def _commit(ref: bytes, number: int, parent: bytes, files: dict[str, bytes]) -> bytes:
    message = b"dvc: commit experiment %d" % number
    parts = [
        b"commit %s\n" % ref,
        b"committer Ada <ada@example.invalid> %d +0000\n" % (1_700_000_000 + number * 60),
        b"data %d\n%s\n" % (len(message), message),
        parent,
    ]
    parts += [
        b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
        for path, data in files.items()
    ]
    return b"".join(parts)

"""Measures Kist beside DVC and prints the tables, with targets: `python -m benchmarks.run`.

Exit code 0 when every target that was measured is met, 1 when one is not, 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

# So that `python benchmarks/run.py` works as `python -m benchmarks.run` does.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import (
    cleanup,
    everyday_save,
    experiments_table,
    logger,
    main_table,
    metrics_history,
    other_workloads,
    packed,
    pipelines,
    results,
    rows,
    workload,
)
from benchmarks.sandbox import DVC, KIST, Program, bare_program

WORKLOADS = (
    "main",
    "big",
    "medium",
    "scale",
    "startup",
    "everyday",
    "cleanup",
    "packed",
    "metrics",
    "pipelines",
    "logger",
    "experiments",
)
BYTES_PER_SMALL_FILE = 11_000
RESULTS_MARK = "<!-- results: written by the benchmark, everything below is replaced -->\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument(
        "--files",
        type=int,
        default=100_000,
        help="files of the main table; `save` has half of them, `gc` and `fsck` as many objects (%(default)s)",
    )
    parser.add_argument("--stages", type=int, default=500, help="stages of the larger pipeline (%(default)s)")
    parser.add_argument(
        "--commits", type=int, default=500, help="commits that `gc -A` and `log` read (%(default)s)"
    )
    parser.add_argument("--tracked-files", type=int, default=2_000, help="number of .dvc files (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; medians are printed (%(default)s)")
    parser.add_argument(
        "--rows", help="rows of the main table, with commas: " + ",".join(r.name for r in rows.ROWS)
    )
    parser.add_argument(
        "--workloads",
        default="main,big,medium,startup,everyday,cleanup,metrics,experiments",
        help=f"which of {','.join(WORKLOADS)} (%(default)s); scale is 1,000,000 files, Kist alone",
    )
    parser.add_argument("--scale-only", action="store_true", help="the same as --workloads scale")
    parser.add_argument("--scale-files", type=int, default=1_000_000, help="files of scale (%(default)s)")
    parser.add_argument("--kist-only", action="store_true", help="run Kist alone; see --baseline")
    parser.add_argument("--dvc-only", action="store_true", help="run DVC and the bare scripts alone")
    parser.add_argument(
        "--baseline", help="JSON of an earlier run, for the figures of the tools that don't run"
    )
    parser.add_argument(
        "--dvc", default=os.environ.get("KIST_DVC", "dvc"), help="the dvc program (%(default)s)"
    )
    parser.add_argument("--kist", help="the kist program (default: this interpreter with -m kist.cli.main)")
    parser.add_argument("--workdir", help="folder to work in, 10-20 GB (default: a temporary one)")
    parser.add_argument(
        "--no-terminal", action="store_true", help="no terminal for stderr, hence no progress"
    )
    parser.add_argument("--json", help="write everything measured to this file")
    parser.add_argument("--markdown", help="write the tables to this file too, below its results mark")
    return parser


def _programs(options: argparse.Namespace) -> list[Program]:
    kist = (options.kist,) if options.kist else (sys.executable, "-m", "kist.cli.main")
    dvc = shutil.which(options.dvc)
    if dvc is None and not options.kist_only:
        raise ValueError(f"no program {options.dvc!r}; give --dvc or set KIST_DVC")
    if options.kist_only:
        return [Program(KIST, kist)]
    both = [bare_program(), Program(DVC, (str(dvc),)), Program(KIST, kist)]
    return both[:2] if options.dvc_only else both


def _version(program: Program) -> str:
    if program.kind not in (DVC, KIST):
        return platform.python_version()
    done = subprocess.run([*program.argv, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _facts(options: argparse.Namespace, programs: list[Program], command: list[str]) -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.run " + " ".join(command),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "files": options.files,
        "rounds": options.rounds,
        "terminal": not options.no_terminal,
        "versions": {program.kind: _version(program) for program in programs},
    }


def _need_space(workdir: str, needed: int) -> None:
    free = shutil.disk_usage(workdir).free
    if free < needed:
        raise ValueError(
            f"{workdir} has {free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB are needed; give another --workdir"
        )


def _main_samples(options: argparse.Namespace, programs: list[Program], workdir: str) -> results.Samples:
    wanted = frozenset(options.rows.split(",")) if options.rows else None
    # One copy of the data for each of: repository, old workspace, remote, clone.
    _need_space(workdir, 4 * BYTES_PER_SMALL_FILE * options.files * len(programs) * options.rounds)
    setting = rows.Setting(workload.small_files(options.files), options.tracked_files)
    return main_table.run_rounds(
        programs,
        workdir,
        setting,
        rounds=options.rounds,
        wanted=wanted,
        terminal=not options.no_terminal,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _with_baseline(samples: results.Samples, path: str) -> results.Samples:
    with open(path) as stream:
        baseline = json.load(stream)["samples"]
    return {name: {**baseline.get(name, {}), **by_kind} for name, by_kind in samples.items()}


def _write_markdown(path: str, text: str) -> None:
    """Writes the tables to a file: after the line RESULTS_MARK where it has one, else as the whole file."""
    head = ""
    if os.path.exists(path):
        with open(path) as stream:
            before, mark, _ = stream.read().partition(RESULTS_MARK)
        head = before + mark + "\n" if mark else ""
    with open(path, "w") as stream:
        stream.write(head + text)


def _other_checks(
    options: argparse.Namespace, context: other_workloads.Context, chosen: Sequence[str]
) -> list[results.Check]:
    """Returns what the chosen workloads beside the main table found."""
    workdir = context.workdir
    checks: list[results.Check] = []
    if "big" in chosen:
        checks += other_workloads.big_files(context)
    if "medium" in chosen:
        checks += other_workloads.medium_files(context)
    if "scale" in chosen:
        _need_space(workdir, 4 * BYTES_PER_SMALL_FILE * options.scale_files)
        checks += other_workloads.scale(context, options.scale_files)
    if "startup" in chosen:
        checks += other_workloads.startup(context)
    if "everyday" in chosen:
        checks += everyday_save.save(context, files=max(100, options.files // 2))
    if "cleanup" in chosen:
        checks += cleanup.history(context, commits=options.commits)
        checks += cleanup.removal(context, objects=options.files)
        checks += cleanup.verification(context, objects=options.files)
    if "metrics" in chosen:
        checks += metrics_history.history(context, commits=options.commits)
    if "packed" in chosen:
        _need_space(
            workdir, 3 * BYTES_PER_SMALL_FILE * packed.FILES * (options.rounds + 1) + 6 * packed.LARGE_BYTES
        )
        checks += packed.packed(context)
    if "pipelines" in chosen:
        checks += pipelines.pipelines(context, stages=options.stages)
    if "logger" in chosen:
        checks += logger.logging(context)
    if "experiments" in chosen:
        checks += experiments_table.table(context, experiments=options.commits * 2 // 5)
        checks += experiments_table.first_screen(context, experiments=options.commits * 2)
    return checks


def run(options: argparse.Namespace, command: list[str], workdir: str) -> int:
    """Runs what was asked for, prints and writes the tables; returns the exit code."""
    programs = _programs(options)
    chosen = ["scale"] if options.scale_only else options.workloads.split(",")
    if unknown := set(chosen) - set(WORKLOADS):
        raise ValueError(f"no such workload: {', '.join(sorted(unknown))}")
    samples: results.Samples = {}
    checks: list[results.Check] = []
    if "main" in chosen:
        samples = _main_samples(options, programs, workdir)
        if options.baseline:
            samples = _with_baseline(samples, options.baseline)
    lines = results.table_lines(samples, paired=not options.baseline)
    context = other_workloads.Context(programs, workdir, options.rounds, not options.no_terminal)
    checks += _other_checks(options, context, chosen)
    text = ""
    if lines:
        text += results.render_table(lines)
    if checks:
        text += "\n" + results.render_checks(checks)
    facts = _facts(options, programs, command)
    text += (
        f"\nMade by `{facts['command']}`: "
        + json.dumps({k: v for k, v in facts.items() if k != "command"})
        + "\n"
    )
    print(text)
    if options.markdown:
        _write_markdown(options.markdown, text)
    if options.json:
        with open(options.json, "w") as stream:
            stream.write(results.to_json(facts=facts, samples=samples, lines=lines, checks=checks))
    verdicts = [line.is_met for line in lines] + [check.is_met for check in checks]
    return 1 if False in verdicts else 0


def main(command: list[str]) -> int:
    """Parses the command line, makes and at the end deletes the working folder."""
    options = _parser().parse_args(command)
    try:
        workdir = tempfile.mkdtemp(prefix="run-", dir=options.workdir)
        try:
            return run(options, command, workdir)
        finally:
            shutil.rmtree(workdir)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

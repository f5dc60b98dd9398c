"""Runs the main table: each row by each tool in turn, round after round."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from benchmarks import rows
from benchmarks.measure import CommandFailed, measure
from benchmarks.results import Samples, sample_of
from benchmarks.sandbox import BARE, Program, Sandbox

WARM_LIMIT_BYTES = 8 * 10**9
"""More is not read before a step: it would push out of memory what was read first."""


def settle(box: Sandbox, *folders: str) -> None:
    """Writes everything to disk, and reads the tool and its data, so that each step finds the page cache full.

    Args: folders: what to read besides the repository.

    Without it the first tool after a pause pays for the disk: some machines take pages back that rested for seconds.
    """
    os.sync()
    seen: set[int] = set()
    left = WARM_LIMIT_BYTES
    for folder in (*box.program.folders, *folders, box.repo):
        left -= _read_files(folder, seen, left)
    time.sleep(0.2)


def _read_files(folder: str, seen: set[int], limit: int) -> int:
    """Reads the files below a folder once for each inode; returns how many bytes that were."""
    room = memoryview(bytearray(1 << 20))
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY | os.O_NONBLOCK)
            try:
                inode = os.fstat(descriptor).st_ino
                if inode in seen:
                    continue
                seen.add(inode)
                while total < limit and (count := os.readv(descriptor, [room])):
                    total += count
            finally:
                os.close(descriptor)
    return total


def run_rounds(
    programs: Sequence[Program],
    workdir: str,
    setting: rows.Setting,
    *,
    rounds: int,
    wanted: frozenset[str] | None,
    terminal: bool,
    say: Callable[[str], None],
) -> Samples:
    """Returns row name -> kind of tool -> one sample a round.

    Args:
        programs: the tools; their order is turned around in every other round.
        workdir: where the sandboxes are made; they stay until the caller deletes the folder.
        wanted: names of rows; None is all.
        terminal: connect standard error to a terminal.
        say: called with a line for every measurement.
    """
    samples: Samples = {}
    for number in range(rounds):
        boxes = [
            Sandbox(program, os.path.join(workdir, f"round-{number}-{program.kind}")) for program in programs
        ]
        if number % 2:
            boxes.reverse()
        for row, is_measured in rows.needed_rows(wanted):
            for box in boxes:
                command = row.prepare(box, setting)
                settle(box, *([box.remote] if row.reads_remote else []))
                result = measure(
                    [*box.program.argv, *command.arguments],
                    cwd=command.cwd,
                    env=box.env,
                    terminal=terminal,
                    # The scripts are single processes of known size; looking at them costs what they cost.
                    sample_memory=is_measured and box.program.kind != BARE,
                )
                if box.program.kind != BARE and row.says not in result.output:
                    raise CommandFailed(
                        f"{row.name}: {box.program.kind} did not say {row.says!r}: {result.output}"
                    )
                if is_measured:
                    found = samples.setdefault(row.name, {}).setdefault(box.program.kind, [])
                    found.append(sample_of(result))
                    say(
                        f"round {number + 1} {row.name:16} {box.program.kind:5} "
                        f"wall {result.wall_s:8.3f} cpu {result.cpu_s:8.3f} MB {result.memory_bytes / 1e6:6.0f}"
                    )
                if row.finish is not None:
                    row.finish(box, setting)
    return samples

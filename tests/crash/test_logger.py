"""A training that is killed at a random moment has every row in its file that a call returned for."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from kist.logger import logger

KILLS = 50
TRAINING = """
import os, sys
from kist.logger import logger
with logger(resume=True, sync_s=None) as log:
    log.log_params({"start": sys.argv[1]})
    for step in range(1_000_000):
        log.log_metrics({"loss": 0.1 * step, "a longer name": step}, step=step)
        os.write(1, b"%d\\n" % step)
"""


def test_a_killed_training_loses_no_row_that_a_call_returned_for(tmp_path: Path) -> None:
    chance = random.Random(6)
    begun = 0
    for start in range(KILLS):
        training = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(start)], cwd=tmp_path, stdout=subprocess.PIPE
        )
        assert training.stdout is not None
        wanted = chance.randrange(1, 400)
        last = -1
        while last < wanted:
            last = int(training.stdout.readline())
        os.kill(training.pid, signal.SIGKILL)
        # What the call returned for before the kill and was told since.
        told = [last, *map(int, training.stdout.read().split())]
        training.wait()
        training.stdout.close()
        lines = (tmp_path / "metrics.csv").read_bytes().split(b"\r\n")
        lines.pop()  # nothing, or what a kill within a call left
        steps = [int(line.rsplit(b",", 1)[1]) for line in lines[begun:] if b"longer" in line]
        assert steps[: told[-1] + 1] == list(range(told[-1] + 1))
        begun = len(lines)
        assert (tmp_path / "params.yml").read_text() == f"start: '{start}'\n"
    with logger(str(tmp_path / "metrics.csv"), should_log_hparams=False, resume=True):
        pass
    data = (tmp_path / "metrics.csv").read_bytes()
    header, _, rows = data.partition(b"\n")
    assert header == b"Name,Value,Timestamp,Step" and b"Name" not in rows
    assert all(line.count(b",") == 3 for line in rows.removesuffix(b"\r\n").split(b"\r\n"))

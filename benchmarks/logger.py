"""The logger: what one call of `log_metrics` with 20 values costs, to a file, and with MLflow on and its server away.

Not here: how it is printed (results).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from benchmarks.other_workloads import Context
from benchmarks.results import Check

VALUES = 20
CALLS = 5_000
LIMIT_US = 100.0


def logging(context: Context) -> list[Check]:
    """Returns the cost of a call, the median of rounds of 5,000 calls, syncs included."""
    from kist.logger import logger

    metrics = {f"a metric of this name {number}": 0.1234567 * number for number in range(VALUES)}
    folder = os.path.join(context.workdir, "logger")
    os.makedirs(folder, exist_ok=True)

    def round_of(log: Callable[..., None]) -> tuple[float, float]:
        longest = 0.0
        began = before = time.perf_counter()
        for step in range(CALLS):
            log(metrics, step=step)
            now = time.perf_counter()
            longest = max(longest, now - before)
            before = now
        return (before - began) / CALLS * 1e6, longest * 1e3

    found = []
    for number in range(context.rounds):
        path = os.path.join(folder, f"{number}.csv")
        with logger(path, hparams_path=os.path.join(folder, f"{number}.yml"), sync_s=1.0) as log:
            found.append(round_of(log.log_metrics))
    typical = statistics.median([cost for cost, _ in found])
    longest = max(slowest for _, slowest in found)
    detail = f"longest {longest:.1f} ms, with a sync each second"
    return [Check(f"log_metrics of {VALUES} values", typical, LIMIT_US, False, "µs", detail)]

"""The callback for LightGBM: `lightgbm.train(..., callbacks=[kist_callback()])`, or that of an estimator.

LightGBM takes any function, so this module imports nothing of it.
"""

from __future__ import annotations

from typing import Any

from kist.logger import Logger


class _Callback:
    """Called after each round with what LightGBM knows."""

    before_iteration = False
    order = 20  # before early stopping (30), which ends the round's callbacks

    def __init__(self, log: Logger | None, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.logger = log if log is not None else Logger(*arguments, **options)
        self._is_own = log is None
        self._is_begun = False

    def __call__(self, env: Any) -> None:
        if not self._is_begun:
            self._is_begun = True
            self.logger.log_hyperparams(dict(env.params))
        values: dict[str, Any] = {}
        for data, metric, value, _, *deviation in env.evaluation_result_list or ():
            values[f"{data}-{metric}"] = value
            if deviation:  # of a cross-validation
                values[f"{data}-{metric}-std"] = deviation[0]
        self.logger.log_metrics(values, step=env.iteration)
        if self._is_own and env.iteration + 1 == env.end_iteration:
            self.logger.close()


def kist_callback(*arguments: Any, log: Logger | None = None, **options: Any) -> _Callback:
    """Returns a callback that logs the parameters, and each evaluation as `data-metric`; steps are rounds, from 0.

    Args: log: a logger to use, which stays open; without it one is made. arguments, options: those of Logger.
    """
    return _Callback(log, arguments, options)

"""The callback for XGBoost: `xgboost.train(..., callbacks=[KistCallback()])`, or that of an estimator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xgboost.callback import TrainingCallback

from kist.logger import Logger


class KistCallback(TrainingCallback):  # type: ignore[misc]
    """Logs the booster's parameters, and each evaluation as `data-metric`; steps are rounds, from 0."""

    def __init__(self, *arguments: Any, log: Logger | None = None, **options: Any) -> None:
        """Args: log: a logger to use, which stays open; without it one is made. arguments, options: those of Logger."""
        super().__init__()
        self.logger = log if log is not None else Logger(*arguments, **options)
        self._is_own = log is None

    def before_training(self, model: Any) -> Any:
        """Logs the parameters."""
        if hasattr(model, "save_config"):  # folds of a cross-validation have none together
            self.logger.log_hyperparams(_params_of(json.loads(model.save_config())))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Logs one round. Returns False: the training goes on."""
        values: dict[str, Any] = {}
        for data, metrics in evals_log.items():
            for metric, history in metrics.items():
                last = history[-1]
                if isinstance(last, tuple):  # of a cross-validation: mean and deviation
                    values[f"{data}-{metric}"], values[f"{data}-{metric}-std"] = last
                else:
                    values[f"{data}-{metric}"] = last
        self.logger.log_metrics(values, step=epoch)
        return False

    def after_training(self, model: Any) -> Any:
        """Closes the logger if it is our own."""
        if self._is_own:
            self.logger.close()
        return model


def _params_of(config: Any) -> dict[str, Any]:
    """Returns the parameters of all parts of a booster, as XGBoost calls them."""
    found: dict[str, Any] = {}
    if not isinstance(config, Mapping):
        return found
    for name, value in config.items():
        if name.endswith("_param") and isinstance(value, Mapping):
            found.update({key: item for key, item in value.items() if not isinstance(item, Mapping)})
        else:
            found.update(_params_of(value))
    return found

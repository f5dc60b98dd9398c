"""The callback for Keras: `model.fit(..., callbacks=[KistCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kist.logger import Logger

try:
    from keras.callbacks import Callback
except ImportError:  # before Keras 3 it came with TensorFlow alone
    from tensorflow.keras.callbacks import Callback


class KistCallback(Callback):  # type: ignore[misc]
    """Logs the settings of a fit, and what Keras reports of each batch and epoch; steps are batches.

    As with `dagshub.keras`, the parameter `success` is False until the fit has ended.
    """

    def __init__(self, *arguments: Any, log: Logger | None = None, **options: Any) -> None:
        """Args: log: a logger to use, which stays open; without it one is made. arguments, options: those of Logger."""
        super().__init__()
        self.logger = log if log is not None else Logger(*arguments, **options)
        self._is_own = log is None
        self._epoch = -1
        self._step = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Logs the settings."""
        values = dict(self.params or {})
        for name in ("optimizer", "loss"):
            part = getattr(self.model, name, None)
            settings = getattr(part, "get_config", None)
            if settings is not None:
                values[name] = settings()
            elif isinstance(part, str):
                values[name] = part
        self.logger.log_hyperparams(values, success=False)
        self._epoch = -1
        self._step = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs a batch."""
        self._step += 1
        self._log(logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs an epoch, with what was validated."""
        self._log(logs)

    def _log(self, logs: Mapping[str, Any] | None) -> None:
        self.logger.log_metrics({"epoch": self._epoch, **(logs or {})}, step=self._step)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Says that the fit has ended, and closes the logger if it is our own."""
        self.logger.log_hyperparams(success=True)
        self.logger.save()
        if self._is_own:
            self.logger.close()


DAGsHubLogger = KistCallback

"""The callback for the Trainer of Hugging Face: `Trainer(..., callbacks=[KistCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from kist.logger import Logger


class KistCallback(TrainerCallback):  # type: ignore[misc]
    """Logs the training arguments, the model's configuration, and each log of the trainer by its global step.

    Of several processes the world's first one alone logs.
    """

    def __init__(self, *arguments: Any, log: Logger | None = None, **options: Any) -> None:
        """Args: log: a logger to use, which stays open; without it one is made. arguments, options: those of Logger."""
        self._arguments = arguments
        self._options = options
        self._is_own = log is None
        self.logger = log

    def _begun(self) -> Logger:
        if self.logger is None:
            self.logger = Logger(*self._arguments, **self._options)
        return self.logger

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Logs the arguments."""
        if not state.is_world_process_zero:
            return
        values = dict(args.to_sanitized_dict())
        model = others.get("model")
        config = getattr(model, "config", None)
        if config is not None and hasattr(config, "to_dict"):
            values["model"] = config.to_dict()
        self._begun().log_hyperparams(values)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **others: Any
    ) -> None:
        """Logs what the trainer tells."""
        if state.is_world_process_zero and logs:
            self._begun().log_metrics(logs, step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Closes the logger if it is our own; an evaluation that follows goes on in the same files."""
        if self.logger is not None and self._is_own:
            self.logger.save()
            self.logger.close()
            self.logger = None
            self._options = {**self._options, "resume": True}

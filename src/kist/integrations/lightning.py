"""The logger for PyTorch Lightning: `Trainer(logger=KistLogger())`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kist.logger import Logger

try:
    from lightning.pytorch.loggers.logger import Logger as _Base
    from lightning.pytorch.utilities import rank_zero_only
except ImportError:  # installed under its old name
    from pytorch_lightning.loggers.logger import Logger as _Base
    from pytorch_lightning.utilities import rank_zero_only


class KistLogger(_Base):  # type: ignore[misc]
    """Logs hyperparameters and metrics of the process with rank 0; the files are made with the first of them."""

    def __init__(
        self,
        *arguments: Any,
        status_hyperparam_name: str | None = "status",
        name: str = "default",
        version: int | str | None = None,
        log: Logger | None = None,
        **options: Any,
    ) -> None:
        """Args: status_hyperparam_name: the parameter that tells in the end how it went; None for none.
        log: a logger to use, which stays open. arguments, options: those of Logger.
        """
        super().__init__()
        self._status_name = status_hyperparam_name
        self._name = name
        self._version = version
        self._arguments = arguments
        self._options = options
        self._is_own = log is None
        self._log = log

    @property
    def logger(self) -> Logger:
        """The logger, made when first asked for: other ranks than 0 make no files."""
        if self._log is None:
            self._log = Logger(*self._arguments, **self._options)
        return self._log

    @property
    def experiment(self) -> Logger:
        """The logger, as `self.logger.experiment` of a module."""
        return self.logger

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @property
    def version(self) -> int | str | None:
        """As given."""
        return self._version

    @rank_zero_only  # type: ignore[untyped-decorator, unused-ignore]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs values of one step."""
        self.logger.log_metrics(metrics, step=step)

    @rank_zero_only  # type: ignore[untyped-decorator, unused-ignore]
    def log_hyperparams(self, params: Any = None, *arguments: Any, **more: Any) -> None:
        """Logs parameters: a mapping or a namespace."""
        values = params if isinstance(params, Mapping) else vars(params) if params is not None else {}
        self.logger.log_hyperparams({**values, **more})

    @rank_zero_only  # type: ignore[untyped-decorator, unused-ignore]
    def save(self) -> None:
        """Writes what is in memory."""
        self.logger.save()

    @rank_zero_only  # type: ignore[untyped-decorator, unused-ignore]
    def finalize(self, status: str) -> None:
        """Logs how the training ended."""
        if self._status_name is not None and self._status_name not in self.logger.hparams:
            self.logger.log_hyperparams({self._status_name: status})
        self.logger.save()
        if self._is_own:
            self.logger.close("FINISHED" if status in ("success", "finished") else "FAILED")
            self._log = None
            self._options = {**self._options, "resume": True}  # a test behind a fit goes on in the same files


DAGsHubLogger = KistLogger

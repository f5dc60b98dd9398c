"""The experiment logger: `metrics.csv` and `params.yml`, safe from a kill when a call returns; MLflow at the same time.

    from kist.logger import logger

    with logger() as log:
        log.log_params({"lr": 0.1})
        for step in range(1000):
            log.log_metrics({"loss": 0.5}, step=step)

`DAGsHubLogger` and `dagshub_logger` are the same under the names of the `dagshub` package. Not here: the bytes
(formats.metriclog), the files (tracking). Implements docs/spec/logger.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kist.errors import InputError
from kist.formats.metriclog import plain_values, render_rows
from kist.tracking.hparams import HparamsFile
from kist.tracking.rowfile import LogWriteError, RowFile

if TYPE_CHECKING:
    from types import TracebackType

    from kist.tracking.sender import Sender
    from kist.tracking.spool import Spool

__all__ = ["DAGsHubLogger", "LogWriteError", "Logger", "dagshub_logger", "logger", "send_spooled"]


class TwoStepsError(InputError):
    """A call names its step both as `step` and as `step_num`. The caller leaves one out."""

    code = "two-steps"


class Logger:
    """Logs the metrics and parameters of one training; a context manager, or an object to be closed with `close`.

    Attributes:
        hparams: the parameters so far.
    """

    def __init__(
        self,
        metrics_path: str = "metrics.csv",
        should_log_metrics: bool = True,
        hparams_path: str = "params.yml",
        should_log_hparams: bool = True,
        should_make_dirs: bool = True,
        eager_logging: bool = True,
        *,
        resume: bool = False,
        mlflow: bool = False,
        sync_s: float | None = 10.0,
        flush_s: float = 10.0,
    ) -> None:
        """Begins both files.

        Args:
            metrics_path, hparams_path: where they are.
            should_log_metrics, should_log_hparams: whether they are written at all.
            should_make_dirs: make the folders on the way.
            eager_logging: write in each call; otherwise in `save`, and until then all is in memory.
            resume: continue existing files instead of beginning them anew.
            mlflow: send everything to MLflow as well.
            sync_s: seconds between syncs against power cuts; 0 for each call, None for the end only.
            flush_s: seconds that `close` waits for MLflow at most.

        Raises: NotAMetricsFileError, NotAParamsFileError, LogWriteError, MlflowMissingError.
        """
        self.metrics_path = metrics_path
        self.should_log_metrics = should_log_metrics
        self.hparams_path = hparams_path
        self.should_log_hparams = should_log_hparams
        self.should_make_dirs = should_make_dirs
        self.eager_logging = eager_logging
        self.hparams: dict[Any, Any] = {}
        self._resume = resume
        self._sync_s = sync_s
        self._flush_s = flush_s
        self._turn = threading.RLock()
        self._rows: RowFile | None = None
        self._unsaved_rows: list[bytes] = []
        self._unsaved_hparams: dict[Any, Any] = {}
        self._hparams_file: HparamsFile | None = None
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        if mlflow:
            self._begin_mlflow()
        if eager_logging:
            self.save()

    def log_metrics(
        self,
        metrics: Mapping[str, Any] | None = None,
        step: int | None = None,
        *,
        step_num: int | None = None,
        **more: Any,
    ) -> None:
        """Logs values of one step; they are on disk when this returns (with `eager_logging`).

        Args: step, step_num: the same, one of them; 1 where neither is named. more: further metrics.

        Raises: TwoStepsError, LogWriteError.
        """
        if not self.should_log_metrics:
            return
        if step is not None and step_num is not None:
            raise TwoStepsError(
                "cannot log 'metrics': the call has both `step` and `step_num`", hint="leave one of them out"
            )
        number = step if step is not None else step_num if step_num is not None else 1
        values = {**(metrics or {}), **more} if more else metrics or {}
        if not values:
            return
        now_ms = time.time_ns() // 1_000_000
        rows = render_rows(values, now_ms, number)
        with self._turn:
            if self.eager_logging:
                self._file().append(rows)
            else:
                self._unsaved_rows.append(rows)
            if self._spool is not None:
                numbers = {str(name): _number(value) for name, value in values.items()}
                self._put({"m": numbers, "t": now_ms, "s": int(number)})

    def log_hyperparams(self, params: Mapping[Any, Any] | None = None, **more: Any) -> None:
        """Adds parameters to those of the training; they are on disk when this returns (with `eager_logging`).

        Raises: LogWriteError, NotAParamsFileError.
        """
        if not self.should_log_hparams:
            return
        added = plain_values({**(params or {}), **more})
        with self._turn:
            self.hparams.update(added)
            self._unsaved_hparams.update(added)
            if self.eager_logging:
                self.save_hparams()
            if self._spool is not None and added:
                self._put({"p": added})

    log_params = log_hyperparams

    def save(self) -> None:
        """Writes what is in memory. Raises: LogWriteError."""
        self.save_metrics()
        self.save_hparams()

    def save_metrics(self) -> None:
        """Writes metrics that are in memory. Raises: LogWriteError, NotAMetricsFileError."""
        if not self.should_log_metrics:
            return
        with self._turn:
            file = self._file()
            if self._unsaved_rows:
                file.append(b"".join(self._unsaved_rows))
                self._unsaved_rows = []

    def save_hparams(self) -> None:
        """Writes parameters that are in memory. Raises: LogWriteError, NotAParamsFileError."""
        if not self.should_log_hparams:
            return
        with self._turn:
            if self._hparams_file is None:
                self._make_folder(self.hparams_path)
                self._hparams_file = HparamsFile(self.hparams_path, resume=self._resume)
                self.hparams = {**self._hparams_file.values, **self.hparams}
            if self._unsaved_hparams:
                self._hparams_file.merge(self._unsaved_hparams)
                self.hparams = dict(self._hparams_file.values)
                self._unsaved_hparams = {}

    def close(self, status: str = "FINISHED") -> None:
        """Syncs and closes the files, and waits for MLflow for `flush_s` at most; the second time it does nothing.

        Args: status: how MLflow's run ends, where it was begun here: FINISHED, FAILED or KILLED.

        Raises: LogWriteError.
        """
        with self._turn:
            try:
                if self._rows is not None:
                    self._rows.close()
            finally:
                self._end_mlflow(status)

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.save()
        finally:
            self.close("FINISHED" if kind is None else "FAILED")

    def _file(self) -> RowFile:
        if self._rows is None:
            self._make_folder(self.metrics_path)
            self._rows = RowFile(self.metrics_path, resume=self._resume, sync_s=self._sync_s)
            if self._rows.removed:
                import warnings  # only after a kill or a power cut

                shown = self._rows.removed[:80].decode("utf-8", "backslashreplace")
                warnings.warn(
                    f"'{self.metrics_path}' ended with a row that was written in part, it is cut off: {shown!r}",
                    stacklevel=4,
                )
        return self._rows

    def _make_folder(self, path: str) -> None:
        folder = os.path.dirname(path)
        if self.should_make_dirs and folder:
            os.makedirs(folder, exist_ok=True)

    def _begin_mlflow(self) -> None:
        import atexit  # a logger without MLflow needs nothing of this

        from kist.tracking.sender import Sender, active_run, check_installed
        from kist.tracking.spool import Spool, SpoolHead

        check_installed()
        run = active_run()
        folder = _spool_folder(self.metrics_path)
        self._spool = Spool.make(folder, SpoolHead(run, not run, 0))
        self._sender = Sender(folder, self._spool)
        atexit.register(self._at_exit)

    def _put(self, values: Mapping[str, Any]) -> None:
        assert self._spool is not None
        assert self._sender is not None
        if not self._sender.is_working or self._spool.put(values):
            self._sender.wake()
            return
        self._sender.tell(
            "full", "MLflow gets no more of what is logged: too much waits, or this process is a fork"
        )

    def _at_exit(self) -> None:
        import sys

        # Set where an exception ended the program.
        self._end_mlflow("FAILED" if hasattr(sys, "last_value") else "FINISHED")

    def _end_mlflow(self, status: str) -> None:
        spool, sender = self._spool, self._sender
        self._spool = self._sender = None
        if spool is None or sender is None:
            return
        import atexit

        atexit.unregister(self._at_exit)
        if spool.is_foreign:
            return
        if sender.is_working:
            spool.put({"end": status})
        if not sender.wait(self._flush_s) or sender.unsent:
            sender.stop()
            sender.tell(
                "unsent",
                f"what MLflow did not get yet is kept in '{spool.path}'; the next logger here sends it",
            )


def logger(
    metrics_path: str = "metrics.csv",
    should_log_metrics: bool = True,
    hparams_path: str = "params.yml",
    should_log_hparams: bool = True,
    should_make_dirs: bool = True,
    eager_logging: bool = True,
    **options: Any,
) -> Logger:
    """Returns a Logger, to be used with `with` or as it is. Args: as those of Logger."""
    return Logger(
        metrics_path,
        should_log_metrics,
        hparams_path,
        should_log_hparams,
        should_make_dirs,
        eager_logging,
        **options,
    )


DAGsHubLogger = Logger
dagshub_logger = logger


def send_spooled(metrics_path: str = "metrics.csv", *, timeout_s: float = 60.0) -> int:
    """Sends to MLflow what earlier loggers of these metrics left behind; returns how many spools could not be sent.

    Raises: MlflowMissingError.
    """
    from kist.tracking.sender import Sender, check_installed

    check_installed()
    sender = Sender(_spool_folder(metrics_path), None)
    if not sender.wait(timeout_s):
        sender.stop()
        return sender.unsent + 1
    return sender.unsent


def _spool_folder(metrics_path: str) -> str:
    from kist.repo.repository import find_root  # a logger without MLflow asks for no repository

    folder = os.path.dirname(os.path.abspath(metrics_path))
    root = find_root(folder)
    if root is None:
        return os.path.join(folder, ".kist-mlflow")
    return os.path.join(root, ".dvc", "tmp", "kist", "mlflow")


def _number(value: Any) -> float | int | None:
    """Returns a value as MLflow takes it; None for what is no number."""
    if type(value) in (float, int, bool):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None

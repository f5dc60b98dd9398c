"""Sends spools to MLflow from a thread of its own: in batches, again where that can help, never in the training's way.

Not here: what is logged (kist.logger), the file that waits (spool). Implements docs/spec/logger.md, section 5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kist.errors import InputError
from kist.tracking.spool import Spool, SpoolLine, orphans

_MOST_METRICS, _MOST_PARAMS = 1000, 100
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_REFUSED_ALTOGETHER = (401, 403)
_GONE = 404
_TRY_AGAIN = (408, 429)


class MlflowMissingError(InputError):
    """`mlflow=True` was asked for, and MLflow is not installed; the hint installs it."""

    code = "mlflow-missing"


class _LaterError(Exception):
    """The server could not be asked; a retry can help."""


class _RefusedError(Exception):
    """The server refuses us altogether."""


class _GoneError(Exception):
    """There is no such run any more."""


class _Batch(NamedTuple):
    end: int
    metrics: list[tuple[str, float, int, int]]
    params: list[tuple[str, str]]
    status: str | None


def check_installed() -> None:
    """Raises MlflowMissingError where there is no MLflow, without importing it."""
    import importlib.util  # only loggers with MLflow ask

    if importlib.util.find_spec("mlflow") is None:
        raise MlflowMissingError(
            "cannot log to MLflow: the package 'mlflow' is not installed", hint="pip install 'kist[mlflow]'"
        )


def active_run() -> str:
    """Returns the id of the run that is active in this thread, "" where there is none; imports nothing."""
    import sys

    mlflow = sys.modules.get("mlflow")
    run = mlflow.active_run() if mlflow is not None else None
    return str(run.info.run_id) if run is not None else ""


class Sender:
    """A thread that sends the spools of a folder: those that were left behind, and then one of its own."""

    def __init__(self, folder: str, own: Spool | None) -> None:
        """Args: own: the spool of the logger that goes on writing; None to send what is left behind alone."""
        self._folder = folder
        self._own = own
        self._news = threading.Event()
        self._told: set[str] = set()
        self._is_stopped = False
        self.unsent = 0
        """Spools that could not be sent."""
        self._thread = threading.Thread(target=self._work, name="kist-mlflow", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Says that there is something to send."""
        self._news.set()

    @property
    def is_working(self) -> bool:
        """Says whether anything more will be sent."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Waits until everything is sent, or nothing more can be; returns whether it came to that in time."""
        self._news.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Lets the thread end at its next pause."""
        self._is_stopped = True
        self._news.set()

    def _work(self) -> None:
        try:
            import mlflow
        except ImportError as error:
            self.tell("import", f"cannot log to MLflow: {error}")
            self.unsent += 1
            return
        client = mlflow.MlflowClient()
        for spool in orphans(self._folder):
            self._send_spool(mlflow, client, spool, is_growing=False)
        if self._own is not None:
            self._send_spool(mlflow, client, self._own, is_growing=True)

    def _send_spool(self, mlflow: Any, client: Any, spool: Spool, *, is_growing: bool) -> None:
        """Sends a spool to its end, and removes it then; a growing one ends with a line that says so."""
        pause_s = _FIRST_PAUSE_S
        is_started = False
        while True:
            try:
                if not spool.head.run:
                    spool.change(run=_start_run(mlflow))
                    is_started = True
                is_over = self._send_waiting(mlflow, client, spool, is_started=is_started)
                if not is_growing and not is_over and spool.head.own:
                    _end_run(mlflow, client, spool.head.run, "KILLED", is_started=is_started)
            except _GoneError as error:
                self.tell(
                    "gone", f"MLflow has the run no more, what was to be sent to it is dropped: {error}"
                )
                is_over = True
            except _RefusedError as error:
                self.tell("refused", f"MLflow refuses what is logged, it is kept in '{spool.path}': {error}")
                break
            except (_LaterError, OSError) as error:
                self.tell("later", f"cannot reach MLflow, trying again meanwhile: {error}")
                if not self._pause(pause_s):
                    break
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            if is_over or not is_growing:
                spool.remove()
                return
            pause_s = _FIRST_PAUSE_S
            spool.reclaim()
            self._news.wait()
            self._news.clear()
        self.unsent += 1
        if not is_growing:
            spool.close()

    def _pause(self, seconds: float) -> bool:
        """Waits; returns False when there is to be no more trying."""
        deadline = time.monotonic() + seconds
        while not self._is_stopped and (left := deadline - time.monotonic()) > 0:
            self._news.wait(min(left, 0.1))
            self._news.clear()
        return not self._is_stopped

    def _send_waiting(self, mlflow: Any, client: Any, spool: Spool, *, is_started: bool) -> bool:
        """Sends what waits; returns whether the end of the run came."""
        while lines := spool.waiting():
            for batch in _batches(lines):
                head = spool.head
                self._send(mlflow, client, head.run, batch.metrics, batch.params)
                if batch.status is not None and head.own:
                    _end_run(mlflow, client, head.run, batch.status, is_started=is_started)
                if batch.end:
                    spool.change(sent=batch.end)
                if batch.status is not None:
                    return True
        return False

    def _send(
        self,
        mlflow: Any,
        client: Any,
        run: str,
        metrics: Sequence[tuple[str, float, int, int]],
        params: Sequence[tuple[str, str]],
    ) -> None:
        """Sends one batch; what the server refuses is searched by halves, and left out."""
        if not metrics and not params:
            return
        try:
            client.log_batch(
                run,
                metrics=[mlflow.entities.Metric(*metric) for metric in metrics],
                params=[mlflow.entities.Param(*param) for param in params],
            )
            return
        except mlflow.exceptions.MlflowException as error:
            refusal = _refusal(error)
        if len(metrics) + len(params) == 1:
            name = metrics[0][0] if metrics else params[0][0]
            self.tell(f"left out {name}", f"MLflow refuses '{name}', it is left out there: {refusal}")
            return
        for part in _halves(metrics):
            self._send(mlflow, client, run, part, ())
        for piece in _halves(params):
            self._send(mlflow, client, run, (), piece)

    def tell(self, kind: str, text: str) -> None:
        """Says something once a kind."""
        if kind in self._told:
            return
        self._told.add(kind)
        import logging  # seldom there is anything to tell

        logging.getLogger("kist.logger").warning("%s", text)


def _halves(items: Sequence[Any]) -> list[Sequence[Any]]:
    middle = len(items) // 2
    return [half for half in (items[:middle], items[middle:]) if half]


def _refusal(error: Any) -> str:
    """Returns why the server refused one entry; raises where it was not asked, or refuses everything."""
    text = str(error)
    status = error.get_http_status_code()
    if status in _REFUSED_ALTOGETHER:
        raise _RefusedError(text) from error
    if status == _GONE:
        raise _GoneError(text) from error
    if status in _TRY_AGAIN or not 400 <= status < 500:
        raise _LaterError(text) from error
    return text


def _start_run(mlflow: Any) -> str:
    """Returns the id of a new run, or of the one that MLflow's variables name."""
    try:
        return str(mlflow.start_run().info.run_id)
    except mlflow.exceptions.MlflowException as error:
        raise _RefusedError(_refusal(error)) from error


def _end_run(mlflow: Any, client: Any, run: str, status: str, *, is_started: bool) -> None:
    try:
        if is_started:
            mlflow.end_run(status)
        else:
            client.set_terminated(run, status)
    except mlflow.exceptions.MlflowException as error:
        raise _RefusedError(_refusal(error)) from error


def _batches(lines: Sequence[SpoolLine]) -> Iterator[_Batch]:
    """Yields lines as batches that MLflow takes, in order."""
    batch = _Batch(0, [], [], None)
    for line in lines:
        metrics, params = _metrics_of(line.values), _params_of(line.values)
        while metrics or params:
            room = _MOST_METRICS - len(batch.metrics), _MOST_PARAMS - len(batch.params)
            batch.metrics.extend(metrics[: room[0]])
            batch.params.extend(params[: room[1]])
            metrics, params = metrics[room[0] :], params[room[1] :]
            if metrics or params:
                yield batch  # the line is sent in part: its offset is not reached yet
                batch = _Batch(batch.end, [], [], None)
        batch = batch._replace(end=line.end)
        if line.values.get("end"):
            yield batch._replace(status=str(line.values["end"]))
            return
    if batch.end:
        yield batch


def _metrics_of(values: Mapping[str, Any]) -> list[tuple[str, float, int, int]]:
    return [
        (name, float(value), values["t"], values["s"])
        for name, value in values.get("m", {}).items()
        if isinstance(value, (int, float))
    ]


def _params_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return _flat(values.get("p", {}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + str(name), str(value)))
    return found

"""The logger beside the package whose files it writes, with MLflow's own client, and in real trainings."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.peers import servers

SOURCES = str(Path(__file__).parents[2] / "src")

CALLS = """
import math, sys
{imports}

log = DAGsHubLogger()
log.log_hyperparams({{"lr": 1e-05, "batch": 32, "shuffle": True, "none": None, "name": "resnet 50", "zero": 0.0}})
log.log_hyperparams(sizes="1,2", yes="yes", empty="", colon="a: b", number="1.5", hash="a #b", path="/tmp/x-y_z.csv",
                    quote="it's", inf=math.inf, big=1e300, small=-2.5e-7, star="*x", dash="- x", date="2024-01-31")
log.log_hyperparams({{"net": {{"layers": 3, "dropout": 0.5, "deep": {{"empty": {{}}, "a": 1}}}}, 5: "five"}})
log.log_hyperparams({{"list": [1, 2], "tuple": (1.5,), "object": int, "long": "word and " * 30, "long list": list(range(60))}})
log.log_metrics({{"loss": 3.14, "acc": 1}}, step_num=7)
log.log_metrics({{"loss": 0.1 + 0.2, "nan": math.nan, "inf": -math.inf, "ok": True}}, 8)
log.log_metrics(loss=1e-10, note='a "quoted", text', none=None)
log.log_metrics({{"train/loss": 2**70, "caf\\u00e9": 0}}, step_num=-1)
log.save()
log.close()
with dagshub_logger(metrics_path="sub/dir/m.csv", hparams_path="sub/p.yml") as log:
    log.log_metrics(x=1)
with dagshub_logger(metrics_path="m.csv", hparams_path="p.yml", eager_logging=False) as log:
    log.log_hyperparams(a=1)
    log.log_metrics(x=1)
"""


def run(python: str, script: str, folder: Path, **environ: str) -> str:
    """Returns what a script printed."""
    done = subprocess.run(
        [python, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SOURCES, "LC_ALL": "C.UTF-8", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> dict[str, bytes]:
    """Returns path -> bytes of all files, times left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = re.sub(rb",\d{13},", b",TIME,", path.read_bytes())
    return found


def test_equal_calls_write_the_bytes_of_the_dagshub_package(tmp_path: Path) -> None:
    python = servers.program("dagshub", "bin/python")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder, package in ((theirs, "dagshub"), (ours, "kist.logger")):
        folder.mkdir()
        script = CALLS.format(imports=f"from {package} import DAGsHubLogger, dagshub_logger")
        run(python, script, folder, DAGSHUB_DISABLE_ANALYTICS="1")
    assert files(ours) == files(theirs)
    assert len(files(ours)) == 6


class Mlflow(http.server.ThreadingHTTPServer):
    """As much of a tracking server as the logger speaks to; MLflow's own client is what asks it.

    Attributes:
        runs: id -> {"metrics": [...], "params": {...}, "status": ...}.
        gate: requests wait until it is set.
        batches: how many times values were sent.
        is_away: answer with 503.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MlflowHandler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.batches = 0
        self.is_away = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _MlflowHandler(http.server.BaseHTTPRequestHandler):
    server: Mlflow

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.gate.wait()
        if self.server.is_away:
            self.answer(503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"})
            return
        name = self.path.partition("?")[0].partition("/mlflow/")[2]
        value = json.loads(body) if body else {}
        respond = getattr(self, "on_" + name.replace("/", "_").replace("-", "_"), None)
        if respond is None:
            self.answer(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": name})
        else:
            respond(value)

    def described(self, run: str) -> dict[str, Any]:
        info = {
            "run_id": run,
            "run_uuid": run,
            "experiment_id": "0",
            "status": self.server.runs[run]["status"],
            "start_time": 1,
            "artifact_uri": "mlflow-artifacts:/x",
            "lifecycle_stage": "active",
            "user_id": "ann",
            "run_name": "a run",
        }
        return {"info": info, "data": {}}

    def on_experiments_get(self, value: dict[str, Any]) -> None:
        one = {"experiment_id": "0", "name": "Default", "artifact_location": "x", "lifecycle_stage": "active"}
        self.answer(200, {"experiment": one})

    on_experiments_get_by_name = on_experiments_get

    def on_runs_create(self, value: dict[str, Any]) -> None:
        run = f"{len(self.server.runs):032x}"
        self.server.runs[run] = {"metrics": [], "params": {}, "status": "RUNNING"}
        self.answer(200, {"run": self.described(run)})

    def on_runs_get(self, value: dict[str, Any]) -> None:
        run = re.search(r"run_(?:uu)?id=(\w+)", self.path)
        assert run is not None
        self.answer(200, {"run": self.described(run[1])})

    def on_runs_update(self, value: dict[str, Any]) -> None:
        run = value.get("run_id") or value["run_uuid"]
        self.server.runs[run]["status"] = value.get("status", "RUNNING")
        self.answer(200, {"run_info": self.described(run)["info"]})

    def on_runs_log_batch(self, value: dict[str, Any]) -> None:
        found = self.server.runs.get(value["run_id"])
        if found is None:
            self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"})
            return
        changed = [
            p for p in value.get("params", ()) if found["params"].get(p["key"], p["value"]) != p["value"]
        ]
        if changed or any(metric["key"] == "refused" for metric in value.get("metrics", ())):
            self.answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "params cannot change"})
            return
        self.server.batches += 1
        found["params"].update({param["key"]: param["value"] for param in value.get("params", ())})
        found["metrics"] += [(m["key"], m["value"], int(m.get("step", 0))) for m in value.get("metrics", ())]
        self.answer(200, {})

    do_GET = do_POST = do_PATCH = handle_any  # noqa: N815 - the library's names


@pytest.fixture
def mlflow() -> Iterator[Mlflow]:
    """A running tracking server."""
    with Mlflow() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def python() -> str:
    """An interpreter with MLflow's client and training frameworks."""
    return servers.program("training", "bin/python")


def environment(server: Mlflow) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": server.url,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }


def test_one_line_logs_to_the_files_and_to_mlflow(mlflow: Mlflow, python: str, tmp_path: Path) -> None:
    script = """
from kist.logger import logger
with logger(mlflow=True, flush_s=90) as log:
    log.log_params({"lr": 0.1, "net": {"layers": 3}})
    for step in range(30):
        log.log_metrics({"loss": 1.5, "note": "text"}, step=step)
    log.log_metrics({"refused": 1, "kept": 2})
    log.log_params({"lr": 0.2, "late": 1})
"""
    run(python, script, tmp_path, **environment(mlflow))
    [found] = mlflow.runs.values()
    assert found["status"] == "FINISHED"
    # The server keeps a parameter's first value; what it refuses is left out, alone.
    assert found["params"] == {"lr": "0.1", "net.layers": "3", "late": "1"}
    assert found["metrics"] == [*(("loss", 1.5, step) for step in range(30)), ("kept", 2.0, 1)]
    assert (tmp_path / "metrics.csv").read_bytes().count(b"\r\n") == 62
    assert sorted(os.listdir(tmp_path)) == [".kist-mlflow", "metrics.csv", "params.yml"]
    assert os.listdir(tmp_path / ".kist-mlflow") == [".gitignore"]


def test_no_call_waits_for_the_server(mlflow: Mlflow, python: str, tmp_path: Path) -> None:
    mlflow.gate.clear()
    script = """
from kist.logger import logger
log = logger(mlflow=True, flush_s=90)
for step in range(1000):
    log.log_metrics({"loss": 1.5}, step=step)
print("logged", flush=True)
input()
log.close()
"""
    training = subprocess.Popen(
        [python, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCES, **environment(mlflow)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    # The server answers nothing until all calls have returned.
    assert training.stdout.readline() == "logged\n"
    assert mlflow.batches == 0
    mlflow.gate.set()
    training.communicate("\n", timeout=60)
    assert training.returncode == 0
    [found] = mlflow.runs.values()
    assert [step for _, _, step in found["metrics"]] == list(range(1000))
    assert found["status"] == "FINISHED"
    assert mlflow.batches < 20


def test_what_a_killed_training_or_a_lost_server_leaves_is_sent_later(
    mlflow: Mlflow, python: str, tmp_path: Path
) -> None:
    away = """
import os, signal
from kist.logger import logger
log = logger(mlflow=True, flush_s=0.1)
log.log_params(a=1)
log.log_metrics({"x": 1.5}, step=1)
"""
    mlflow.is_away = True
    run(python, away + "log.close()", tmp_path, **environment(mlflow))
    killed = subprocess.run(
        [python, "-c", away + "os.kill(os.getpid(), signal.SIGKILL)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCES, **environment(mlflow)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert mlflow.runs == {}
    assert len([name for name in os.listdir(tmp_path / ".kist-mlflow") if name.endswith(".spool")]) == 2
    mlflow.is_away = False
    script = "from kist.logger import send_spooled\nprint(send_spooled())"
    assert run(python, script, tmp_path, **environment(mlflow)) == "0\n"
    assert sorted(found.pop("status") for found in mlflow.runs.values()) == ["FINISHED", "KILLED"]
    assert list(mlflow.runs.values()) == [{"metrics": [("x", 1.5, 1)], "params": {"a": "1"}}] * 2
    assert os.listdir(tmp_path / ".kist-mlflow") == [".gitignore"]


def test_a_run_of_the_person_gets_the_values_and_stays_theirs(
    mlflow: Mlflow, python: str, tmp_path: Path
) -> None:
    script = """
import mlflow
from kist.logger import logger
with mlflow.start_run() as run:
    with logger(mlflow=True, flush_s=90) as log:
        log.log_metrics({"x": 2}, step=3)
    print(mlflow.active_run().info.run_id)
    raise_status = mlflow.end_run("KILLED")
"""
    printed = run(python, script, tmp_path, **environment(mlflow)).split()
    assert printed[0] in mlflow.runs
    assert mlflow.runs[printed[0]] == {"metrics": [("x", 2.0, 3)], "params": {}, "status": "KILLED"}
    assert len(mlflow.runs) == 1


def test_a_training_that_raises_has_a_failed_run(mlflow: Mlflow, python: str, tmp_path: Path) -> None:
    script = """
from kist.logger import logger
try:
    with logger(mlflow=True, flush_s=90) as log:
        log.log_metrics(x=1)
        raise RuntimeError
except RuntimeError:
    pass
"""
    run(python, script, tmp_path, **environment(mlflow))
    assert [found["status"] for found in mlflow.runs.values()] == ["FAILED"]


def rows(path: Path) -> list[tuple[str, float, int]]:
    """Returns name, value and step of each row."""
    lines = path.read_text().split("\n")[1:-1]
    return [
        (parts[0].strip('"'), float(parts[1]), int(parts[3])) for parts in (line.split(",") for line in lines)
    ]


def test_xgboost_tells_its_parameters_and_rounds(python: str, tmp_path: Path) -> None:
    script = """
import numpy, xgboost
from kist.integrations.xgboost import KistCallback
x = numpy.arange(40.0).reshape(20, 2)
data = xgboost.DMatrix(x, label=x[:, 0] > 20)
xgboost.train({"max_depth": 2, "objective": "binary:logistic"}, data, 4, evals=[(data, "train")],
              verbose_eval=False, callbacks=[KistCallback()])
"""
    run(python, script, tmp_path)
    found = rows(tmp_path / "metrics.csv")
    assert [(name, step) for name, _, step in found] == [("train-logloss", step) for step in range(4)]
    assert found[-1][1] < found[0][1]
    params = (tmp_path / "params.yml").read_text()
    assert "max_depth: '2'\n" in params and "objective: binary:logistic\n" in params


def test_lightgbm_tells_its_parameters_and_rounds(python: str, tmp_path: Path) -> None:
    script = """
import lightgbm, numpy
from kist.integrations.lightgbm import kist_callback
x = numpy.arange(400.0).reshape(200, 2)
data = lightgbm.Dataset(x, label=x[:, 0])
lightgbm.train({"objective": "regression", "num_leaves": 4, "verbose": -1}, data, 4, valid_sets=[data],
               valid_names=["train"], callbacks=[kist_callback(), lightgbm.early_stopping(2, verbose=False)])
"""
    run(python, script, tmp_path)
    found = rows(tmp_path / "metrics.csv")
    assert [(name, step) for name, _, step in found] == [("train-l2", step) for step in range(4)]
    assert found[-1][1] < found[0][1]
    assert "num_leaves: 4\n" in (tmp_path / "params.yml").read_text()


def test_keras_tells_its_settings_batches_and_epochs(python: str, tmp_path: Path) -> None:
    script = """
import keras, numpy
from kist.integrations.keras import DAGsHubLogger, KistCallback
assert DAGsHubLogger is KistCallback
model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
x = numpy.ones((8, 2), "float32")
model.fit(x, x[:, 0], batch_size=4, epochs=2, validation_data=(x, x[:, 0]), verbose=0, callbacks=[KistCallback()])
"""
    run(python, script, tmp_path, KERAS_BACKEND="jax")
    found = rows(tmp_path / "metrics.csv")
    steps = [step for name, _, step in found if name == "loss"]
    assert steps == [1, 2, 2, 3, 4, 4]
    assert [step for name, _, step in found if name == "val_loss"] == [2, 4]
    params = (tmp_path / "params.yml").read_text()
    assert "success: true\n" in params and "learning_rate: 0.0" in params and "loss: mse\n" in params

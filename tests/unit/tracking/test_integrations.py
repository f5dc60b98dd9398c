"""Callbacks for frameworks that need gigabytes to install: their calls are played by small stand-ins of our own.

PyTorch is what Lightning and the Trainer need; its wheel brings two gigabytes of libraries. The stand-ins have the names
and arguments of the frameworks' documentation, and nothing else; Keras, XGBoost and LightGBM are tried for real in
tests/peers/test_logger.py.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stand_in(monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    """Puts modules in place; `__` stands for "."."""
    for name, content in modules.items():
        module = types.ModuleType(name.replace("__", "."))
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)


def loaded(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """Returns one of our modules, imported anew."""
    monkeypatch.delitem(sys.modules, f"kist.integrations.{name}", raising=False)
    return importlib.import_module(f"kist.integrations.{name}")


def rows() -> list[list[str]]:
    lines = Path("metrics.csv").read_text().split("\n")[1:-1]
    return [[line.split(",")[0].strip('"'), line.split(",")[1], line.split(",")[3]] for line in lines]


class Base:
    """What a callback or logger is derived from."""


def test_the_trainer_of_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, transformers={"TrainerCallback": Base})
    callback = loaded(monkeypatch, "huggingface").KistCallback()
    arguments = SimpleNamespace(to_sanitized_dict=lambda: {"learning_rate": 0.1, "name": "x"})
    model = SimpleNamespace(config=SimpleNamespace(to_dict=lambda: {"hidden_size": 8}))
    state = SimpleNamespace(is_world_process_zero=True, global_step=5)
    callback.on_train_begin(arguments, state, None, model=model)
    callback.on_log(arguments, state, None, logs={"loss": 0.5, "epoch": 1.0})
    callback.on_train_end(arguments, state, None)
    callback.on_log(arguments, state, None, logs={"eval_loss": 0.25})
    assert rows() == [["loss", "0.5", "5"], ["epoch", "1.0", "5"], ["eval_loss", "0.25", "5"]]
    assert Path("params.yml").read_text() == "learning_rate: 0.1\nmodel:\n  hidden_size: 8\nname: x\n"


def test_other_processes_of_the_trainer_make_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, transformers={"TrainerCallback": Base})
    callback = loaded(monkeypatch, "huggingface").KistCallback()
    state = SimpleNamespace(is_world_process_zero=False, global_step=5)
    callback.on_train_begin(None, state, None)
    callback.on_log(None, state, None, logs={"loss": 0.5})
    callback.on_train_end(None, state, None)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("top", ["lightning__pytorch", "pytorch_lightning"])
def test_lightning(monkeypatch: pytest.MonkeyPatch, top: str) -> None:
    for name in ("lightning", "lightning.pytorch.loggers.logger", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    package = {"__path__": []}
    stand_in(
        monkeypatch,
        **({"lightning": package} if top.startswith("lightning") else {}),
        **{
            top: package,
            f"{top}__loggers": package,
            f"{top}__loggers__logger": {"Logger": Base},
            f"{top}__utilities": {"rank_zero_only": lambda method: method},
        },
    )
    log = loaded(monkeypatch, "lightning").DAGsHubLogger()
    assert not list(Path().iterdir())  # ranks that log nothing make no file
    log.log_hyperparams(SimpleNamespace(lr=0.1), None, seed=1)
    log.log_hyperparams({"depth": 2})
    log.log_metrics({"loss": 0.5}, step=3)
    log.experiment.log_metrics({"own": 1}, step=4)
    log.save()
    log.finalize("success")
    log.log_metrics({"test": 1.5}, 9)
    assert rows() == [["loss", "0.5", "3"], ["own", "1", "4"], ["test", "1.5", "9"]]
    assert Path("params.yml").read_text() == "depth: 2\nlr: 0.1\nseed: 1\nstatus: success\n"
    assert (log.name, log.version) == ("default", None)


def test_lightgbm_gives_what_it_has_after_each_round() -> None:
    from kist.integrations.lightgbm import kist_callback
    from kist.logger import logger

    with logger() as log:
        callback = kist_callback(log=log)
        for iteration in range(2):
            callback(
                SimpleNamespace(
                    params={"depth": 3},
                    iteration=iteration,
                    end_iteration=2,
                    evaluation_result_list=[
                        ("valid", "l2", 0.5 - iteration / 4, False),
                        ("cv", "l1", 1.0, False, 0.1),
                    ],
                )
            )
        log.log_metrics(still_open=1)
    assert rows()[:3] == [["valid-l2", "0.5", "0"], ["cv-l1", "1.0", "0"], ["cv-l1-std", "0.1", "0"]]
    assert len(rows()) == 7
    assert Path("params.yml").read_text() == "depth: 3\n"

"""The logger and its two files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kist import logger as module
from kist.base import atomic
from kist.formats import yaml
from kist.logger import DAGsHubLogger, Logger, LogWriteError, TwoStepsError, dagshub_logger, logger
from kist.tracking.hparams import NotAParamsFileError
from kist.tracking.rowfile import NotAMetricsFileError

HEADER = "Name,Value,Timestamp,Step"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(path: str = "metrics.csv") -> list[list[str]]:
    """Returns the rows without their times."""
    with open(path, newline="", encoding="utf-8") as stream:
        text = stream.read()
    assert text.startswith(HEADER + "\n")
    lines = text[len(HEADER) + 1 :].split("\r\n")
    assert lines.pop() == ""
    return [[line.split(",")[0].strip('"'), line.split(",")[1], line.split(",")[3]] for line in lines]


def params(path: str = "params.yml") -> object:
    return yaml.load(Path(path).read_bytes(), name=path)


def test_both_files_are_there_at_once_and_hold_nothing() -> None:
    log = logger()
    assert Path("metrics.csv").read_bytes() == b"Name,Value,Timestamp,Step\n"
    assert Path("params.yml").read_bytes() == b"{}\n"
    log.close()
    log.close()


def test_rows_are_in_the_file_before_the_logger_is_closed() -> None:
    log = Logger()
    log.log_metrics({"loss": 0.5, "acc": 0.9}, step=3)
    log.log_metrics({"loss": 0.25}, step_num=4)
    log.log_metrics(loss=0.125)
    log.log_metrics({"loss": 0.1}, 5)
    assert rows() == [
        ["loss", "0.5", "3"],
        ["acc", "0.9", "3"],
        ["loss", "0.25", "4"],
        ["loss", "0.125", "1"],
        ["loss", "0.1", "5"],
    ]
    log.close()


def test_a_call_without_values_writes_nothing() -> None:
    with logger() as log:
        log.log_metrics()
        log.log_metrics({})
    assert rows() == []


def test_two_steps_in_one_call_are_refused() -> None:
    with logger() as log, pytest.raises(TwoStepsError):
        log.log_metrics({"x": 1}, step=1, step_num=2)


def test_parameters_of_several_calls_are_merged() -> None:
    with dagshub_logger() as log:
        log.log_params({"lr": 0.1, "net": {"layers": 3}})
        log.log_hyperparams(lr=0.2, sizes=[1, 2])
        assert params() == {"lr": 0.2, "net": {"layers": 3}, "sizes": "[1, 2]"}
    assert log.hparams == params()


def test_without_resume_both_files_are_begun_anew() -> None:
    with logger() as log:
        log.log_metrics(x=1)
        log.log_params(a=1)
    with logger() as log:
        pass
    assert rows() == []
    assert params() == {}


def test_with_resume_both_files_go_on() -> None:
    with logger(resume=True) as log:
        log.log_metrics(x=1)
        log.log_params(a=1)
    with logger(resume=True) as log:
        assert log.hparams == {"a": 1}
        log.log_metrics(x=2)
        log.log_params(b=2)
    assert rows() == [["x", "1", "1"], ["x", "2", "1"]]
    assert params() == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "torn", [b'"x",2,17000', b'"x', b"\0" * 4096, b'"x",2,1700000000000,1', b'"x",2\0\0']
)
def test_a_row_that_was_written_in_part_is_cut_off_and_told(torn: bytes) -> None:
    with logger() as log:
        log.log_metrics(x=1)
    whole = Path("metrics.csv").read_bytes()
    Path("metrics.csv").write_bytes(whole + torn)
    with pytest.warns(UserWarning, match="written in part"):
        log = logger(resume=True)
    log.close()
    assert Path("metrics.csv").read_bytes() == whole


def test_a_torn_header_is_completed() -> None:
    Path("metrics.csv").write_bytes(b"Name,Val")
    with pytest.warns(UserWarning, match="written in part"):
        logger(resume=True).close()
    assert rows() == []


def test_a_file_of_another_kind_is_not_continued() -> None:
    Path("metrics.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(NotAMetricsFileError):
        logger(resume=True)
    assert Path("metrics.csv").read_text() == "epoch,loss\n1,2\n"
    Path("metrics.csv").unlink()
    Path("params.yml").write_text("- 1\n")
    with pytest.raises(NotAParamsFileError):
        logger(resume=True)
    assert Path("params.yml").read_text() == "- 1\n"


def test_rows_of_the_dagshub_package_go_on() -> None:
    Path("metrics.csv").write_bytes(b'Name,Value,Timestamp,Step\n"two\nlines",1,1700000000000,1\r\n')
    with logger(resume=True) as log:
        log.log_metrics(x=1)
    data = Path("metrics.csv").read_bytes()
    assert data.startswith(b'Name,Value,Timestamp,Step\n"two\nlines",1,1700000000000,1\r\n"x",1,')


def test_what_is_switched_off_makes_no_file() -> None:
    with logger(should_log_metrics=False, should_log_hparams=False) as log:
        log.log_metrics(x=1)
        log.log_params(a=1)
    assert os.listdir() == []


def test_folders_on_the_way_are_made() -> None:
    with logger("a/b/metrics.csv", hparams_path="c/params.yml") as log:
        log.log_metrics(x=1)
    assert rows("a/b/metrics.csv") == [["x", "1", "1"]]
    assert params("c/params.yml") == {}
    with pytest.raises(LogWriteError):
        logger("none/metrics.csv", should_make_dirs=False)


def test_without_eager_logging_everything_waits_for_save() -> None:
    log = DAGsHubLogger(eager_logging=False)
    log.log_metrics(x=1)
    log.log_hyperparams(a=1)
    assert os.listdir() == []
    log.save()
    assert rows() == [["x", "1", "1"]] and params() == {"a": 1}
    log.log_metrics(x=2)
    assert len(rows()) == 1
    log.save()
    log.close()
    assert len(rows()) == 2


def test_data_that_is_linked_from_a_cache_is_never_written_to() -> None:
    cached = Path("cache")
    cached.write_bytes(b'Name,Value,Timestamp,Step\n"x",1,1700000000000,1\r\n')
    cached.chmod(0o444)
    before = cached.read_bytes()
    for make in (os.link, os.symlink):
        for resume in (True, False):
            make("cache", "metrics.csv")
            with logger(resume=resume) as log:
                log.log_metrics(y=2)
            assert cached.read_bytes() == before
            assert len(rows()) == 1 + resume
            assert not Path("metrics.csv").is_symlink()
            Path("metrics.csv").unlink()


def test_a_link_of_the_person_own_is_followed() -> None:
    os.mkdir("disk")
    Path("disk/metrics.csv").write_text("")
    os.symlink("disk/metrics.csv", "metrics.csv")
    with logger() as log:
        log.log_metrics(x=1)
    assert Path("metrics.csv").is_symlink()
    assert rows("disk/metrics.csv") == [["x", "1", "1"]]


def test_threads_share_a_logger() -> None:
    with logger() as log:
        threads = [
            threading.Thread(
                target=lambda: [log.log_metrics({"a": 1, "b": 2}, step=step) for step in range(50)]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = rows()
    assert len(found) == 400
    # Rows of a call stand together.
    assert all(
        first[0] == "a" and second[0] == "b" for first, second in zip(found[::2], found[1::2], strict=True)
    )


JOIN = """
import sys
from kist.logger import logger
with logger(resume=True, sync_s=None) as log:
    for step in range(200):
        log.log_metrics({f"p{sys.argv[1]}": 1.5, "b": 2.5}, step=step)
    log.log_params({f"p{sys.argv[1]}": 1})
"""


def test_processes_write_one_file_even_if_they_begin_at_once() -> None:
    running = [subprocess.Popen([sys.executable, "-c", JOIN, str(number)]) for number in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    found = rows()
    assert len(found) == 1600
    for number in range(4):
        assert [row[2] for row in found if row[0] == f"p{number}"] == [str(step) for step in range(200)]
    assert params() == {f"p{number}": 1 for number in range(4)}


def test_a_full_disk_leaves_nothing_of_the_call_and_the_next_one_may_succeed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = logger()
    log.log_metrics(x=1)
    whole = Path("metrics.csv").read_bytes()

    # A disk that fills up in the middle of a write cannot be had in a test without privileges.
    def half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_all", half)
        with pytest.raises(LogWriteError, match="no space left"):
            log.log_metrics(x=2, y=3)
    assert Path("metrics.csv").read_bytes() == whole
    log.log_metrics(x=4)
    assert [row[1] for row in rows()] == ["1", "4"]
    log.close()


def test_a_sync_comes_with_the_call_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with logger(sync_s=0, should_log_hparams=False) as log:
        for _ in range(3):
            log.log_metrics(x=1)
        assert len(synced) == 3
    assert len(synced) == 3  # nothing new at the end
    synced.clear()
    with logger(sync_s=None, should_log_hparams=False) as log:
        log.log_metrics(x=1)
        assert synced == []
    assert len(synced) == 1


def test_the_names_of_the_dagshub_package_are_there() -> None:
    assert module.DAGsHubLogger is Logger
    assert module.dagshub_logger is logger


def test_without_mlflow_it_is_named_and_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    from kist.tracking.sender import MlflowMissingError

    with pytest.raises(MlflowMissingError) as caught:
        logger(mlflow=True)
    assert caught.value.hint == "pip install 'kist[mlflow]'"
    assert os.listdir() == []


def test_the_logger_imports_neither_frameworks_nor_the_rest_of_the_program() -> None:
    script = (
        "import sys, kist.logger\n"
        "kist.logger.logger().log_metrics(x=1)\n"
        "heavy = [name for name in sys.modules if name.split('.')[0] in ('mlflow', 'ruamel', 'numpy', 'logging')\n"
        "         or name.startswith('kist.repo')]\n"
        "print(heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

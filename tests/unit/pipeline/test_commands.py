"""Commands that run at once, and what they print."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.errors import InputError
from kist.pipeline.commands import Commands, Work

SAID: list[tuple[str, str, bool]] = []


@pytest.fixture
def commands() -> Iterator[Commands]:
    SAID.clear()
    found = Commands(lambda stage, line: None, lambda *said: SAID.append(said))
    yield found
    found.close()


def work(folder: Path, stage: str, *lines: str) -> Work:
    return Work(stage, iter(lines), ["/bin/sh", "-c"], str(folder), os.environ)


def wait_for_all(commands: Commands) -> dict[str, InputError | None]:
    found = {}
    while ended := commands.wait():
        found.update({one.stage: one.error for one in ended})
    return found


def said(stage: str, *, is_error: bool = False) -> list[str]:
    return [line for name, line, kind in SAID if name == stage and kind is is_error]


def test_what_stages_print_is_whole_and_each_line_has_its_stage(tmp_path: Path, commands: Commands) -> None:
    for stage in ("a", "b"):
        line = (
            f"i=0; while [ $i -lt 500 ]; do echo {stage}$i; echo {stage}$i >&2; i=$((i+1)); done; printf end"
        )
        commands.start(work(tmp_path, stage, line))
    assert wait_for_all(commands) == {"a": None, "b": None}
    for stage in ("a", "b"):
        numbered = [f"{stage}{number}" for number in range(500)]
        assert said(stage) == [*numbered, "end"]
        assert said(stage, is_error=True) == numbered


def test_more_than_a_pipe_holds_arrives(tmp_path: Path, commands: Commands) -> None:
    line = f"{sys.executable} -c \"print('x' * 3_000_000); print('last')\""
    commands.start(work(tmp_path, "a", line))
    assert wait_for_all(commands) == {"a": None}
    assert "".join(said("a")) == "x" * 3_000_000 + "last"


def test_a_carriage_return_ends_a_line(tmp_path: Path, commands: Commands) -> None:
    commands.start(work(tmp_path, "a", r"printf '10%%\r20%%\r\nend\r'"))
    wait_for_all(commands)
    assert said("a") == ["10%", "20%", "end"]


def test_the_first_command_that_fails_ends_its_stage_alone(tmp_path: Path, commands: Commands) -> None:
    commands.start(work(tmp_path, "bad", "true", "exit 4", "touch never"))
    commands.start(work(tmp_path, "good", "true", "touch done"))
    found = wait_for_all(commands)
    error = found.pop("bad")
    assert error is not None
    assert error.message == "failed to run: exit 4, exited with 4"
    assert found == {"good": None}
    assert os.listdir(tmp_path) == ["done"]


def test_a_stage_without_a_command_is_over_at_once(tmp_path: Path, commands: Commands) -> None:
    commands.start(work(tmp_path, "empty"))
    assert wait_for_all(commands) == {"empty": None}


def test_what_a_command_leaves_running_is_not_waited_for(tmp_path: Path, commands: Commands) -> None:
    commands.start(work(tmp_path, "a", "echo before; sleep 600 & echo $! > pid"))
    assert wait_for_all(commands) == {"a": None}
    assert said("a") == ["before"]
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_waiting_ends_when_its_time_is_over(tmp_path: Path, commands: Commands) -> None:
    os.mkfifo(tmp_path / "fifo")
    commands.start(work(tmp_path, "a", "read line < fifo"))
    assert commands.wait(0.01) == []
    commands.stop(signal.SIGTERM)


def test_a_signal_reaches_all_that_a_command_started(tmp_path: Path, commands: Commands) -> None:
    os.mkfifo(tmp_path / "ready")
    commands.start(work(tmp_path, "a", "sh -c 'echo $$ > pid; echo > ready; sleep 600'; true"))
    with open(tmp_path / "ready") as stream:
        stream.read()
    child = int((tmp_path / "pid").read_text())
    commands.stop(signal.SIGTERM)
    while not _is_gone(child):
        pass


def _is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"

"""How commands of stages are run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kist.pipeline.command import (
    CannotStartError,
    Command,
    Usage,
    command_environment,
    command_lines,
    shell_words,
)


def test_a_text_runs_line_by_line_and_a_list_item_by_item() -> None:
    assert command_lines("a\n\nb c\n") == ["a", "", "b c"]
    assert command_lines(["a\nb", "c"]) == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ({}, ["/bin/sh", "-c"]),
        ({"SHELL": ""}, ["/bin/sh", "-c"]),
        ({"SHELL": "/usr/bin/bash"}, ["/usr/bin/bash", "--noprofile", "--norc", "-c"]),
        ({"SHELL": "/bin/zsh"}, ["/bin/zsh", "--no-rcs", "-c"]),
        ({"SHELL": "/bin/dash"}, ["/bin/dash", "-c"]),
    ],
)
def test_each_shell_starts_without_what_people_set_up(shell: dict[str, str], words: list[str]) -> None:
    assert shell_words(shell) == words


@pytest.mark.parametrize(("version", "options"), [("3.3.1", ["--no-config"]), ("3.2.2", []), ("none", [])])
def test_fish_is_asked_how_old_it_is(tmp_path: Path, version: str, options: list[str]) -> None:
    fish = tmp_path / "fish"
    fish.write_text(f"#!/bin/sh\necho 'fish, version {version}'\n")
    fish.chmod(0o755)
    assert shell_words({"SHELL": str(fish)}) == [str(fish), *options, "-c"]


def test_a_command_knows_the_root_and_its_stage() -> None:
    found = command_environment({"A": "b"}, root="/r", stage="train")
    assert found == {"A": "b", "DVC_ROOT": "/r", "DVC_STAGE": "train"}


def test_what_pyenv_put_in_front_of_the_path_is_gone() -> None:
    path = "/p/versions/3/bin:/p/libexec:/p/plugins/x/bin:/home/bin:/p/shims:/bin"
    found = command_environment({"PYENV_ROOT": "/p", "PATH": path}, root="/r", stage="s")
    assert found["PATH"] == "/home/bin:/p/shims:/bin"
    own = command_environment({"PYENV_ROOT": "/p", "PATH": "/p/versions/3/bin:/bin"}, root="/r", stage="s")
    assert own["PATH"] == "/p/versions/3/bin:/bin"


def test_a_failure_names_the_command_and_its_status(tmp_path: Path) -> None:
    command = Command("exit 7", shell=["/bin/sh", "-c"], folder=str(tmp_path), environ=os.environ)
    assert command.wait() == 7
    error = command.error()
    assert error is not None
    assert error.message == "failed to run: exit 7, exited with 7"


def test_a_command_that_a_signal_ends_says_so(tmp_path: Path) -> None:
    command = Command("kill -9 $$", shell=["/bin/sh", "-c"], folder=str(tmp_path), environ=os.environ)
    assert command.wait() == -9


def test_what_a_command_took_is_known_after_it(tmp_path: Path) -> None:
    line = f"{sys.executable} -c 'x = bytearray(80_000_000)'"
    command = Command(line, shell=["/bin/sh", "-c"], folder=str(tmp_path), environ=os.environ)
    assert command.wait() == 0
    assert command.error() is None
    assert command.usage.memory_bytes > 80_000_000
    assert command.usage.wall_s > 0
    assert command.usage.cpu_s > 0


def test_what_two_commands_took_adds_up() -> None:
    assert Usage(1, 2, 30) + Usage(4, 5, 6) == Usage(5, 7, 30)


@pytest.mark.parametrize(
    ("shell", "folder", "missing"), [("/bin/sh", "nowhere", "nowhere"), ("no-shell", ".", "no-shell")]
)
def test_a_folder_or_shell_that_is_missing_is_named(
    tmp_path: Path, shell: str, folder: str, missing: str
) -> None:
    words = [shell if shell == "/bin/sh" else str(tmp_path / shell), "-c"]
    with pytest.raises(CannotStartError, match=f"{missing}': no such file"):
        Command("true", shell=words, folder=str(tmp_path / folder), environ=os.environ)

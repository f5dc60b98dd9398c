"""How commands of stages are run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.pipeline.command import (
    CannotStartError,
    CommandFailedError,
    command_environment,
    command_lines,
    run_command,
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
    with pytest.raises(CommandFailedError, match="failed to run: exit 7, exited with 7"):
        run_command("exit 7", shell=["/bin/sh", "-c"], folder=str(tmp_path), environ=os.environ)


def test_a_folder_or_shell_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match="nowhere': no such file"):
        run_command("true", shell=["/bin/sh", "-c"], folder=str(tmp_path / "nowhere"), environ=os.environ)
    with pytest.raises(CannotStartError, match="no-shell': no such file"):
        run_command(
            "true", shell=[str(tmp_path / "no-shell"), "-c"], folder=str(tmp_path), environ=os.environ
        )

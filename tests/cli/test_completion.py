"""Completion: the engine's answers, and bash, zsh and fish where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kist.cli.complete import answer
from kist.cli.main import main
from kist.cli.table import all_commands


def values(*words: str) -> list[str]:
    """Returns the values that are offered, with `:files` where file names are."""
    return [line.partition("\t")[0] for line in answer(list(words)).splitlines()]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with data, remotes and a directory below, entered."""
    (tmp_path / ".dvc").mkdir()
    config = "[core]\n    no_scm = True\n['remote \"store\"']\n    url = /mnt/store\n['remote \"spare\"']\n    url = s3://b/c\n"
    (tmp_path / ".dvc" / "config").write_text(config)
    entry = "outs:\n- md5: b1946ac92492d2347c6235b4d2611184\n  size: 6\n  hash: md5\n  path: {}\n"
    (tmp_path / "images.dvc").write_text(entry.format("images"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "my table.csv.dvc").write_text(entry.format("my table.csv"))
    (tmp_path / "broken.dvc").write_text("outs: [")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_word_is_a_command() -> None:
    assert values("") == [command.name for command in all_commands()]
    assert values("che") == ["check-ignore", "checkout"]
    assert values() == values("")


def test_a_dash_before_the_command_is_a_general_option() -> None:
    assert values("--qu") == ["--quiet"]
    assert values("-q", "--no") == ["--no-color"]
    assert values("--progress", "") == ["auto", "none", "json"]
    assert values("--progress", "none", "ver") == ["version"]


def test_options_come_from_the_command_s_parser() -> None:
    assert values("version", "--") == ["--help", "--quiet", "--verbose", "--json"]
    assert "--jobs" in values("push", "--")
    assert values("nothing", "--") == []


def test_the_value_of_an_option_comes_from_its_choices() -> None:
    assert values("completion", "-s", "") == ["bash", "zsh", "fish"]
    assert values("completion", "--shell", "f") == ["fish"]
    assert values("completion", "--shell=z") == ["--shell=zsh"]
    assert values("completion", "--shell", "=", "z") == ["--shell=zsh"]
    assert values("completion", "--shell", "=") == ["--shell=bash", "--shell=zsh", "--shell=fish"]


def test_targets_are_data_and_metafiles_as_typed_from_here(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values("push", "") == [
        ":files",
        "deep/my table.csv",
        "deep/my table.csv.dvc",
        "images",
        "images.dvc",
    ]
    assert values("push", "images", "dee") == [":files", "deep/my table.csv", "deep/my table.csv.dvc"]
    monkeypatch.chdir(repository / "deep")
    assert values("push", "my") == [":files", "my table.csv", "my table.csv.dvc"]
    assert values("push", "../im") == [":files", "../images", "../images.dvc"]
    assert values("add", "") == [":files"]


def test_cd_counts_for_targets(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "deep")
    assert values("--cd", "..", "push", "im") == [":files", "images", "images.dvc"]
    assert values("--cd", "") == [":files"]


def test_remotes_are_those_of_the_configuration(repository: Path) -> None:
    assert sorted(values("push", "-r", "")) == ["spare", "store"]
    assert values("push", "--remote=st") == ["--remote=store"]
    assert values("remote", "default", "sp") == ["spare"]
    assert values("remote", "remove", "st") == ["store"]
    assert "endpointurl" in values("remote", "modify", "spare", "end")
    assert "modify" in values("remote", "")


def test_settings_are_offered_by_name() -> None:
    assert values("config", "core.autos") == ["core.autostage"]


def test_revisions_are_branches_and_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "f").write_text("x")
    for words in (["init", "-q", "-b", "main"], ["add", "f"], ["commit", "-qm", "x"], ["tag", "mark"]):
        subprocess.run(["git", *words], check=True)
    assert values("diff", "ma") == ["main", "mark"]


@pytest.mark.parametrize("words", [["push", ""], ["push", "-r", ""], ["remote", "default", ""], ["diff", ""]])
def test_outside_of_a_repository_nothing_fails(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["__complete", *words]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_broken_configuration_says_nothing(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (repository / ".dvc" / "config").write_text("[[[")
    assert main(["__complete", "push", "-r", ""]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search path on which `kist` is this code."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "kist"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kist.cli.main "$@"\n')
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def in_bash(program: str, line: str, cwd: Path) -> list[str]:
    """Returns what bash offers for a line with the cursor at its end; words are taken apart at `=`, as bash does."""
    words = line.replace("=", " = ").split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        'eval "$(kist completion -s bash)"\n'
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _kist 2>/dev/null\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p kist"
    )
    environ = {**os.environ, "PATH": program}
    result = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=cwd, env=environ, capture_output=True, text=True, check=True
    )
    *offered, registered = result.stdout.splitlines()
    assert registered == "complete -F _kist kist"
    return [word for word in offered if word]


def test_bash_offers_commands_options_remotes_and_targets(program: str, repository: Path) -> None:
    assert in_bash(program, "kist che", repository) == ["check-ignore", "checkout"]
    assert in_bash(program, "kist version --j", repository) == ["--json"]
    assert in_bash(program, "kist push -r s", repository) == ["store", "spare"]
    assert in_bash(program, "kist push --remote=st", repository) == ["store"]
    assert in_bash(program, "kist completion --shell=", repository) == ["bash", "zsh", "fish"]
    offered = in_bash(program, "kist push ", repository)
    assert "deep/my table.csv" in offered
    assert "broken.dvc" in offered  # a file, offered by the shell itself


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_offers_targets(program: str, repository: Path) -> None:
    code = (
        "autoload -Uz compinit; compinit -u -D\n"
        'eval "$(kist completion -s zsh)"\n'
        "_describe() { print -rl -- ${(P)2} }\n"
        "_files() { print files }\n"
        "words=(kist push im); CURRENT=3; _kist"
    )
    environ = {**os.environ, "PATH": program}
    result = subprocess.run(
        ["zsh", "-f", "-c", code], cwd=repository, env=environ, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["images:data", "images.dvc:metafile", "files"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_targets(program: str, repository: Path) -> None:
    code = 'kist completion -s fish | source; complete -C "kist push im"'
    environ = {**os.environ, "PATH": program}
    result = subprocess.run(
        ["fish", "--no-config", "-c", code],
        cwd=repository,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "images\tdata" in result.stdout.splitlines()
    assert {"images", "images.dvc"} <= {line.partition("\t")[0] for line in result.stdout.splitlines()}

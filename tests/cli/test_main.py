"""The command line as a whole: options before the command, mistakes, help, and the table."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kist import __version__
from kist.base.suggest import closest
from kist.cli.main import main
from kist.cli.options import read_global_options
from kist.cli.run import command_parser
from kist.cli.table import GROUPS, all_commands, find_command
from kist.errors import UsageError

DVC_NAMES = {
    "add",
    "cache",
    "check-ignore",
    "checkout",
    "commit",
    "completion",
    "config",
    "data",
    "destroy",
    "diff",
    "doctor",
    "du",
    "fetch",
    "init",
    "list",
    "ls",
    "move",
    "mv",
    "pull",
    "push",
    "remote",
    "remove",
    "rm",
    "root",
    "status",
    "unprotect",
    "version",
}


def kist(*words: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kist.cli.main", *words],
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without Git, entered."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.name)
def test_each_entry_of_the_table_is_a_module_with_a_parser(command) -> None:
    module = importlib.import_module(f"kist.cli.commands.{command.module}")
    assert callable(module.run)
    parser = command_parser(command.name)
    assert parser.prog == f"kist {command.name}"
    assert parser.format_help().startswith(f"usage: kist {command.name} ")
    for action in parser.visible_actions():
        assert action.help, f"{action.option_strings or action.dest} has no help"


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.name)
def test_each_command_takes_the_general_options_after_its_name(command) -> None:
    for parser in [command_parser(command.name), *command_parser(command.name).children().values()]:
        assert {"-q", "--quiet", "-v", "--verbose", "-h", "--help"} <= set(parser.visible_options())


def test_names_and_aliases_are_unique_and_include_those_of_dvc() -> None:
    names = [word for command in all_commands() for word in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    assert set(names) >= DVC_NAMES
    assert [command for _, commands in GROUPS for command in commands] == all_commands()


def test_an_alias_finds_its_command() -> None:
    found = find_command("ls")
    assert found is not None
    assert found.name == "list"
    assert find_command("list") is found
    assert find_command("lss") is None


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["-v", "--version"], ["--cd", "/nowhere", "-V"]])
def test_version_prints_the_bare_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["-q", "--help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    for command in all_commands():
        assert f"\n  {command.name} " in out
        assert command.help in out


def test_help_of_a_command_is_the_same_by_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["root", "--help"]) == 0
    first = capsys.readouterr().out
    assert main(["help", "root"]) == 0
    assert capsys.readouterr().out == first
    assert first.startswith("usage: kist root ")


def test_help_of_an_unknown_command_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "rooot"]) == 254
    assert "hint: did you mean `kist root`?" in capsys.readouterr().err


def test_help_of_a_subcommand_that_is_none_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "root", "deeper"]) == 254
    assert "`kist root` has no command 'deeper'" in capsys.readouterr().err


def test_no_command_is_a_mistake_and_prints_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 254
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: `kist` needs a command\nhint: kist --help\n"


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["rot"], "`kist` has no command 'rot'", "did you mean `kist root`?"),
        (["stauts"], "`kist` has no command 'stauts'", "did you mean `kist status`?"),
        (["zzzzzzz"], "`kist` has no command 'zzzzzzz'", "kist --help"),
        (["--quite", "root"], "`kist` has no option '--quite'", "did you mean `--quiet`?"),
        (["-x", "root"], "`kist` has no option '-x'", "kist --help"),
        (["--cd"], "option '--cd' needs a value", "kist --help"),
        (["--quiet=1"], "option '--quiet' takes no value", "kist --help"),
        (["--progress", "loud", "root"], "'loud' is not a way of progress", "choose from: auto, none, json"),
        (["root", "--jsn"], "`kist root` has no option '--jsn'", "did you mean `--json`?"),
        (["root", "here"], "`kist root` does not take 'here'", "kist root --help"),
        (
            ["completion", "-s", "bsh"],
            "`kist completion`: 'bsh' is not a value of -s/--shell",
            "did you mean `bash`?",
        ),
        (
            ["completion", "-s"],
            "`kist completion`: -s/--shell: expected one argument",
            "kist completion --help",
        ),
        (
            ["root", "-q", "-v"],
            "options '--quiet' and '--verbose' exclude each other",
            "leave one of them out",
        ),
        (["--json", "completion"], "`kist completion` has no output as JSON", "leave `--json` out"),
    ],
)
def test_a_mistake_gets_one_line_a_hint_and_254(
    words: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 254
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == f"error: {error}"
    assert second.startswith(f"hint: {hint}")


def test_quiet_leaves_the_hint_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "rot"]) == 254
    assert capsys.readouterr().err == "error: `kist` has no command 'rot'\n"


def test_quiet_and_verbose_exclude_each_other_before_the_command() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        read_global_options(["-qv", "root"])


def test_options_before_the_command_are_read_up_to_the_command() -> None:
    options = read_global_options(
        [
            "-vv",
            "--cd=there",
            "--wait",
            "--no-color",
            "--cprofile",
            "--cprofile-dump",
            "x",
            "add",
            "-q",
            "--json",
        ]
    )
    assert options.verbose == 2
    assert options.directory == "there"
    assert options.wait_for_lock
    assert options.no_color
    assert not options.json
    assert options.rest == ["add", "-q", "--json"]


def test_hidden_profiling_options_of_dvc_change_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--cprofile", "root", "--instrument", "--pdb", "--cprofile-dump", "f", "--viztracer"]) == 0
    assert capsys.readouterr().out == ".\n"
    assert not (repository / "f").exists()


def test_root_is_relative_to_where_one_is(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    below = repository / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert main(["root"]) == 0
    assert capsys.readouterr().out == "../..\n"
    assert main(["-q", "root"]) == 0
    assert capsys.readouterr().out == "../..\n"
    assert main(["root", "--json"]) == 0
    assert capsys.readouterr().out == '{"root": "../.."}\n'
    assert main(["--json", "root"]) == 0
    assert capsys.readouterr().out == '{"root": "../.."}\n'


def test_cd_changes_the_directory_first(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "a").mkdir()
    assert main(["--cd", "a", "root"]) == 0
    assert capsys.readouterr().out == "..\n"


def test_cd_to_nowhere_is_one_line_and_255(tmp_path: Path) -> None:
    result = kist("--cd", "nowhere", "root", cwd=tmp_path)
    assert result.returncode == 255
    assert result.stderr == "error: cannot change to 'nowhere': no such file or directory\nhint: ls .\n"


def test_outside_of_a_repository_the_code_is_253(tmp_path: Path) -> None:
    result = kist("root", cwd=tmp_path)
    assert result.returncode == 253
    assert result.stdout == ""
    assert result.stderr.startswith("error: cannot find a repository")
    assert "hint: " in result.stderr


def test_version_says_what_the_place_can_do(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / ".dvc" / "cache").mkdir()
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Kist version: {__version__}"
    assert lines[1] == "-" * len(lines[0])
    assert {"Cache types", "Repo", "Config", "Workspace directory"} <= {
        line.partition(":")[0] for line in lines
    }
    assert "Repo: dvc (no_scm)" in lines
    supports = next(line for line in lines if line.startswith("Supports: ")).removeprefix("Supports: ")
    assert {"local", "http", "ssh", "webdav"} <= set(supports.split(", "))
    assert next(line for line in lines if line.startswith("Cache types: ")).endswith("hardlink, symlink")
    assert not os.listdir(repository / ".dvc" / "cache")


def test_doctor_works_outside_of_a_repository(tmp_path: Path) -> None:
    result = kist("doctor", cwd=tmp_path)
    assert result.returncode == 0
    assert "Platform: Python " in result.stdout
    assert "Repo" not in result.stdout


def test_version_finds_the_configuration_where_dvc_does(tmp_path: Path) -> None:
    plain = kist("version", cwd=tmp_path)
    moved = kist("version", cwd=tmp_path, DVC_GLOBAL_CONFIG_DIR="/g", DVC_SYSTEM_CONFIG_DIR="/s")
    xdg = kist("version", cwd=tmp_path, XDG_CONFIG_HOME="/x")
    assert "\tGlobal: /g\n\tSystem: /s\n" in moved.stdout
    if sys.platform == "darwin":
        assert "Library/Application Support/dvc" in plain.stdout
    else:
        assert f"\tGlobal: {os.environ['HOME']}/.config/dvc\n\tSystem: /etc/xdg/dvc\n" in plain.stdout
        assert "\tGlobal: /x/dvc\n" in xdg.stdout


@pytest.mark.parametrize(
    ("word", "guess"),
    [
        ("psuh", "push"),
        ("pul", "pull"),
        ("checkot", "checkout"),
        ("PUSH", "push"),
        ("xyz", None),
        ("p", None),
    ],
)
def test_a_near_word_is_found_and_a_far_one_is_not(word: str, guess: str | None) -> None:
    assert closest(word, ["push", "pull", "checkout", "check-ignore"]) == guess

"""Where a person keeps ignore patterns of their own: git's own answer is the measure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kist.git.excludes import excludes_file
from kist.git.locate import GitPaths, find_paths
from kist.git.process import GitProgram


class Person:
    """A home directory, a repository, and what git says about a file that only the person ignores."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.top = root / "repo"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        self.home.mkdir()
        self.top.mkdir()
        GitProgram(str(self.top), self.environ).run(["init", "--quiet"], writes=True)

    def write(self, path: str, text: str) -> None:
        """Writes a file below the folder that holds home and repository."""
        target = self.home.parent / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def found(self) -> str | None:
        """Returns our answer."""
        paths = find_paths(str(self.top))
        assert isinstance(paths, GitPaths)
        return excludes_file(paths, self.environ)

    def source(self) -> str | None:
        """Returns the file by which git ignores `secret`, None where it does not."""
        program = GitProgram(str(self.top), self.environ)
        said = program.run(["check-ignore", "--verbose", "secret"], accepted=(0, 1)).decode()
        return said.split(":")[0] if said else None


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with every place filled, and none of them named."""
    made = Person(tmp_path)
    for path in ("home/.config/git/ignore", "home/xdg/git/ignore", "home/own", "home/other", "repo/inside"):
        made.write(path, "secret\n")
    return made


_OWN = "[core]\n\texcludesFile = ~/own\n"


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        ({}, {}, "home/.config/git/ignore"),
        ({}, {"XDG_CONFIG_HOME": "home/xdg"}, "home/xdg/git/ignore"),
        ({"home/.gitconfig": _OWN}, {}, "home/own"),
        ({"home/.gitconfig": "[CORE]\nEXCLUDESFILE=~/own"}, {}, "home/own"),
        ({"home/.config/git/config": _OWN}, {}, "home/own"),
        ({"home/xdg/git/config": _OWN}, {"XDG_CONFIG_HOME": "home/xdg"}, "home/own"),
        ({"home/.gitconfig": "[include]\n\tpath = more\n", "home/more": _OWN}, {}, "home/own"),
        (
            {"home/.gitconfig": '[includeIf "gitdir:**"]\n\tpath = more\n', "home/more": _OWN},
            {},
            "home/own",
        ),
        ({"home/.gitconfig": "[user]\n\tname = A\n"}, {}, "home/.config/git/ignore"),
        ({"elsewhere": _OWN}, {"GIT_CONFIG_GLOBAL": "elsewhere"}, "home/own"),
        ({"home/.gitconfig": _OWN}, {"GIT_CONFIG_GLOBAL": "none"}, "home/.config/git/ignore"),
        (
            {},
            {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.excludesFile", "GIT_CONFIG_VALUE_0": "~/own"},
            "home/own",
        ),
        ({"home/.gitconfig": "[core]\n\texcludesFile = \n"}, {}, None),
        ({"home/.gitconfig": "[core]\n\texcludesFile = ~/none\n"}, {}, None),
    ],
)
def test_the_file_is_the_one_that_git_reads(
    person: Person, files: dict[str, str], variables: dict[str, str], expected: str | None
) -> None:
    for path, text in files.items():
        person.write(path, text)
    root = person.home.parent
    for name, value in variables.items():
        is_path = name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL")
        person.environ[name] = str(root / value) if is_path else value
    found = person.found()
    assert (found if found is not None and os.path.exists(found) else None) == person.source()
    assert person.source() == (str(root / expected) if expected is not None else None)


def test_the_repositorys_own_setting_is_the_strongest(person: Person) -> None:
    person.write("home/.gitconfig", "[core]\n\texcludesFile = ~/other\n")
    program = GitProgram(str(person.top), person.environ)
    program.run(["config", "core.excludesFile", "inside"], writes=True)
    assert person.found() == str(person.top / "inside")


def test_without_a_home_there_is_none(person: Person) -> None:
    del person.environ["HOME"]
    assert person.found() is None


def test_without_a_setting_no_git_is_started(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.write("home/.gitconfig", "[user]\n\tname = A\n")
    monkeypatch.setattr(GitProgram, "run", None)
    assert person.found() == str(person.home / ".config" / "git" / "ignore")


def test_without_the_git_program_the_default_stands(person: Person) -> None:
    person.write("home/.gitconfig", _OWN)
    person.environ["PATH"] = str(person.home)
    assert person.found() == str(person.home / ".config" / "git" / "ignore")

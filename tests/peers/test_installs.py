"""The program as people install it: with pipx, with `uv tool`, by a Homebrew formula; and its manual pages.

Everything is built from this tree. Packages come as pip is configured on this machine.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers import servers

TOP = Path(__file__).parents[2]
MOST_BYTES = 15 * 10**6
"""What the core may take with its dependencies."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Built(NamedTuple):
    """What a release is made of, and the installers.

    Attributes:
        bin: folder of the programs pip, pipx, uv.
        wheel, sdist: the files of the release.
        wheels: a folder with the wheel and those of its dependencies.
    """

    bin: Path
    wheel: Path
    sdist: Path
    wheels: Path


def run(command: list[object], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Returns what a program prints; it has to end well."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def pip_environment() -> dict[str, str]:
    """Returns the environment in which pip is what it is for the person who runs this: the tests have another home."""
    return {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("installs")
    run([sys.executable, "-m", "venv", folder / "venv"], cwd=folder)
    programs, out, wheels = folder / "venv/bin", folder / "out", folder / "wheels"
    env = pip_environment()
    run([programs / "pip", "install", "-q", "hatchling", "pipx", "uv"], cwd=folder, env=env)
    run([programs / "python", "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", out], cwd=TOP)
    wheel, sdist = next(out.glob("*.whl")), next(out.glob("*.tar.gz"))
    run([programs / "pip", "wheel", "-q", "-w", wheels, wheel], cwd=folder, env=env)
    return Built(programs, wheel, sdist, wheels)


def use(kist: Path, folder: Path) -> None:
    """Uses an installed program, away from this tree and from its Python."""
    env = {**os.environ, "PATH": f"{kist.parent}:/usr/local/bin:/usr/bin:/bin"}
    repository = folder / "repository"
    repository.mkdir()
    assert run(["kist", "--version"], cwd=repository, env=env).strip() == version()
    run(["git", "init", "-q"], cwd=repository)
    run(["kist", "init", "-q"], cwd=repository, env=env)
    (repository / "data.txt").write_text("data\n")
    run(["kist", "add", "-q", "data.txt"], cwd=repository, env=env)
    assert run(["kist", "status"], cwd=repository, env=env) == "Data and pipelines are up to date.\n"


def version() -> str:
    """Returns the version of this tree."""
    from kist import __version__

    return __version__


def size_bytes(folder: Path) -> int:
    """Returns what the files below a folder take, byte code included; links to the Python outside count nothing."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_the_wheel_has_the_manual_pages_and_no_tests(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
    pages = {Path(name).name for name in names if "/data/share/man/man1/" in name}
    assert pages == {path.name for path in TOP.glob("docs/man/*.1")} and "kist.1" in pages
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"kist"}


def test_pipx_installs_the_program_and_its_manual(built: Built, tmp_path: Path) -> None:
    home = tmp_path / "pipx"
    env = {
        **pip_environment(),
        "PIPX_HOME": str(home),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    offline = f"--no-index --find-links {built.wheels}"
    run([built.bin / "pipx", "install", "--quiet", "--pip-args", offline, built.wheel], cwd=tmp_path, env=env)
    use(tmp_path / "bin/kist", tmp_path)
    assert size_bytes(home / "venvs/kist") < MOST_BYTES
    page = tmp_path / "man/man1/kist.1"
    assert page.read_text() == (TOP / "docs/man/kist.1").read_text()
    found = run(
        [servers.system_program("man"), "-w", "kist-gc"],
        cwd=tmp_path,
        env={**env, "MANPATH": str(tmp_path / "man")},
    )
    assert Path(found.strip()).samefile(page.parent / "kist-gc.1")


def test_uv_tool_installs_the_program_and_its_manual(built: Built, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
    }
    words = ["tool", "install", "-q", "--offline", "--no-index", "--find-links", built.wheels]
    run([built.bin / "uv", *words, "--python", sys.executable, "kist"], cwd=tmp_path, env=env)
    use(tmp_path / "bin/kist", tmp_path)
    assert size_bytes(tmp_path / "tools/kist") < MOST_BYTES
    assert (tmp_path / "tools/kist/share/man/man1/kist-gc.1").exists()


def test_a_formula_is_made_from_the_release_and_ruby_understands_it(built: Built, tmp_path: Path) -> None:
    formula = tmp_path / "Formula/kist.rb"
    tool = TOP / "tools/make_formula.py"
    homepage = "https://kist.example.org"
    command = [sys.executable, tool, built.sdist, "--homepage", homepage, "--output", formula]
    run(command, cwd=tmp_path, env=pip_environment())
    text = formula.read_text()
    assert text.count('  resource "') == len(list(built.wheels.iterdir())) - 1
    run([servers.system_program("ruby"), "-c", formula], cwd=tmp_path)


def test_man_and_mandoc_have_nothing_to_say_against_the_pages(tmp_path: Path) -> None:
    pages = sorted(TOP.glob("docs/man/*.1"))
    assert pages
    lint = [servers.system_program("mandoc"), "-T", "lint", "-W", "warning", *pages]
    assert run(lint, cwd=tmp_path) == ""
    man = servers.system_program("man")
    for page in pages:
        done = subprocess.run(
            [man, "--warnings", "-l", str(page)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "MANWIDTH": "80"},
        )
        assert (done.returncode, done.stderr) == (0, ""), page
        assert "EXIT STATUS" in done.stdout

"""Every command in the README, the tutorial and the how-tos is run as it is written, and prints what is shown.

In a `console` block a line `$ ...` is a command and the lines below it are of its output, in order; `...` stands for
anything. A command may say `# ends with N`; otherwise it must end with 0. The blocks of a page are one session.
A `python` block whose first line is `# NAME.py` is that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kist.cli.table import find_command

TOP = Path(__file__).parents[2]
PAGES = sorted([TOP / "README.md", *TOP.glob("docs/tutorial/*.md"), *TOP.glob("docs/howto/*.md")])
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`kist ([a-z][\w-]*)[^`]*`")
_FILE = re.compile(r"# (\w+\.py)\n")
_STATUS = re.compile(r"# ends with (\d+)$")
_MARK = "\x1e"


class Step(NamedTuple):
    """One command, its right exit status, and the lines of its output that the page shows."""

    command: str
    status: int
    shown: tuple[str, ...]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yields (language, text) of the fenced blocks of a page."""
    yield from _FENCE.findall(page.read_text(encoding="utf-8"))


def steps(page: Path) -> list[Step]:
    """Returns the commands of a page."""
    found: list[Step] = []
    for language, text in blocks(page):
        if language == "python" and (name := _FILE.match(text)) is not None:
            found.append(Step(f"cat > {name[1]} <<'END OF FILE'\n{text}END OF FILE", 0, ()))
        if language not in ("console", "sh"):
            continue
        for line in text.splitlines():
            if language == "sh" or line.startswith("$ "):
                command = line.removeprefix("$ ")
                status = _STATUS.search(command)
                found.append(Step(command, int(status[1]) if status else 0, ()))
            elif line.strip():
                found[-1] = found[-1]._replace(shown=(*found[-1].shown, line))
    return found


def run(session: list[Step], folder: Path) -> list[tuple[int, str]]:
    """Returns (exit status, output) of each command, all run by one shell."""
    script = "".join(f"{step.command}\nprintf '\\n{_MARK}%d\\n{_MARK}' $?\n" for step in session)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    pieces = done.stdout.split(_MARK)
    assert len(pieces) == 2 * len(session) + 1, done.stdout
    return [(int(pieces[at + 1]), pieces[at]) for at in range(0, len(pieces) - 1, 2)]


def missing_line(shown: tuple[str, ...], output: str) -> str | None:
    """Returns the first shown line that does not come, in its turn, in the output."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in shown:
        wanted = ".*".join(re.escape(part) for part in " ".join(line.split()).split("..."))
        if line.strip() != "..." and not any(re.fullmatch(wanted, one) for one in lines):
            return line
    return None


@pytest.fixture
def place(tmp_path: Path, page: Path) -> Path:
    """Where a page begins: an empty folder, or for the page on moving a repository that DVC 2 made."""
    if page.stem != "move-from-dvc":
        return tmp_path
    with tarfile.open(TOP / "tests/golden/repos/dvc-2.58.2.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "repo"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_do_what_it_says(page: Path, place: Path) -> None:
    session = steps(page)
    assert any(step.command.startswith("kist ") for step in session)
    for step, (status, output) in zip(session, run(session, place), strict=True):
        assert status == step.status, f"{step.command}\n{output}"
        assert missing_line(step.shown, output) is None, f"{step.command}\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_command_hides_in_a_block_that_is_not_run(page: Path) -> None:
    hidden = [
        line
        for language, text in blocks(page)
        if language not in ("console", "sh")
        for line in text.splitlines()
        if re.match(r"(\$ )?kist ", line)
    ]
    assert hidden == []


@pytest.mark.parametrize("page", sorted(TOP.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_commands_that_the_text_speaks_of_exist(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    unknown = [name for name in _INLINE.findall(text) if find_command(name) is None]
    assert unknown == []


def test_a_line_that_is_not_printed_is_found() -> None:
    assert missing_line(("a", "...", "c ... e"), "a\nb\nc  d e\n") is None
    assert missing_line(("b", "a"), "a\nb\n") == "a"

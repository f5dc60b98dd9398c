"""A repository of git's own making, without anything of the user's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from kist.git.repository import GitRepository

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00 +0000",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00 +0000",
}


class Sandbox:
    """A working tree, and git run in it by hand."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.environ = {**ENVIRON, "HOME": str(top.parent)}

    def git(self, *arguments: str, data: str = "", extra: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.top,
            env={**self.environ, **(extra or {})},
            input=data,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        target = self.top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def commit(self, message: str = "a change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def repository(self) -> GitRepository:
        found = GitRepository.find(str(self.top), environ=self.environ)
        assert found is not None
        return found


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    top = tmp_path / "work tree"
    top.mkdir()
    made = Sandbox(top)
    made.git("init", "--quiet", "--initial-branch=main")
    return made

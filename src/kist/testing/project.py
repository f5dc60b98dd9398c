"""A small repository for tests: files, `git` and `kist` in this process, and what both said."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from typing import NamedTuple

from kist.cli.main import main
from kist.repo.repository import Repository
from kist.repo.settings import ConfigPaths


class Answer(NamedTuple):
    """What one run of `kist` came to."""

    code: int
    out: str
    err: str


class Project:
    """A folder with a Git repository and a repository of ours.

    Attributes:
        root: its absolute path.
    """

    def __init__(self, root: str, *, git: bool = True) -> None:
        """Makes it; with `git=False` without Git."""
        self.root = root
        os.makedirs(root, exist_ok=True)
        if git:
            self.git("init", "--quiet")
        self.kist("init", "--quiet", *([] if git else ["--no-scm"]))

    @classmethod
    def at(cls, root: str) -> Project:
        """Returns the project in a folder that is there already, such as a clone."""
        found = cls.__new__(cls)
        found.root = root
        return found

    def repository(self) -> Repository:
        """Returns the repository, opened anew, without the person's own settings."""
        paths = ConfigPaths(None, None, self.path(".dvc/config"), self.path(".dvc/config.local"))
        return Repository.find(self.root, config_paths=paths)

    def kist(self, *words: str, cwd: str = "") -> Answer:
        """Runs a command that must succeed, from a folder of the project."""
        answer = self.try_kist(*words, cwd=cwd)
        if answer.code:
            raise AssertionError(f"kist {' '.join(words)}: {answer}")
        return answer

    def try_kist(self, *words: str, cwd: str = "") -> Answer:
        """Runs a command, whatever it comes to."""
        out, err = io.StringIO(), io.StringIO()
        before = os.getcwd()
        os.chdir(self.path(cwd))
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(list(words))
        finally:
            os.chdir(before)
        return Answer(code, out.getvalue(), err.getvalue())

    def git(self, *words: str) -> str:
        """Runs git and returns what it printed."""
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def commit(self) -> None:
        """Commits everything that Git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a version")

    def path(self, rel: str) -> str:
        """Returns an absolute path."""
        return os.path.join(self.root, rel) if rel else self.root

    def write(self, files: dict[str, str]) -> None:
        """Writes files, and their folders."""
        for rel, text in files.items():
            os.makedirs(os.path.dirname(self.path(rel)), exist_ok=True)
            with open(self.path(rel), "w", encoding="utf-8") as stream:
                stream.write(text)

    def read(self, rel: str) -> str:
        """Returns a file's text."""
        with open(self.path(rel), encoding="utf-8") as stream:
            return stream.read()

    def exists(self, rel: str) -> bool:
        """Says whether something is there, be it a link that leads nowhere."""
        return os.path.lexists(self.path(rel))

    def files(self, rel: str) -> dict[str, str]:
        """Returns path -> text of all files below a folder."""
        found = {}
        for folder, _, names in os.walk(self.path(rel)):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.path(rel))
                found[path] = self.read(os.path.join(rel, path))
        return found

    def objects(self) -> dict[str, bytes]:
        """Returns id -> bytes of everything in the cache."""
        found = {}
        top = self.path(".dvc/cache/files/md5")
        for folder, _, names in os.walk(top):
            for name in names:
                with open(os.path.join(folder, name), "rb") as stream:
                    found[os.path.basename(folder) + name] = stream.read()
        return found

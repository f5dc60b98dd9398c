"""A Git repository, a storage folder and a home of its own for one tool under measurement."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import kist

BARE = "bare"
DVC = "dvc"
KIST = "kist"


class Program(NamedTuple):
    """A tool under measurement.

    Args:
        kind: "bare", "dvc" or "kist".
        argv: how it is started.
    """

    kind: str
    argv: tuple[str, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """Returns the folders of its code, those of Python's standard library left out."""
        if self.kind == BARE:
            return ()
        folders = (os.path.join(os.path.dirname(os.path.dirname(self.argv[0])), "lib"),)
        return (*folders, os.path.dirname(kist.__file__)) if self.kind == KIST else folders


def bare_program() -> Program:
    """Returns the program of shortest scripts, run by this interpreter without its site packages."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare.py")
    return Program(BARE, (sys.executable, "-I", "-S", script))


class Sandbox:
    """Everything one tool touches, below one folder.

    Holds: nothing is deleted while measurements go on. On ext4 a file that is made soon after many
    deletions costs several times as much, so old folders are moved into `aside`.
    """

    def __init__(self, program: Program, root: str) -> None:
        self.program = program
        self.root = root
        self.repo = os.path.join(root, "repo")
        self.clone = os.path.join(root, "clone")
        self.remote = os.path.join(root, "remote")
        self.many = os.path.join(root, "many")
        self.home = os.path.join(root, "home")
        self.site_cache = os.path.join(root, "site-cache")
        self._aside = os.path.join(root, "aside")
        self._moved = 0
        for folder in (self.home, self._aside, self.remote):
            os.makedirs(folder)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.invalid",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.invalid",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": self.site_cache,
        }

    @property
    def is_bare(self) -> bool:
        """Returns whether this is the sandbox of the shortest scripts."""
        return self.program.kind == BARE

    def run(self, *arguments: str, cwd: str) -> None:
        """Runs the tool without measuring; a failure shows what it said."""
        self._run([*self.program.argv, *arguments], cwd)

    def git(self, *arguments: str, cwd: str) -> None:
        """Runs Git, except in the sandbox of the shortest scripts."""
        if not self.is_bare:
            self._run(["git", *arguments], cwd)

    def _run(self, argv: Sequence[str], cwd: str) -> None:
        done = subprocess.run(
            argv, cwd=cwd, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)} in {cwd}: {done.returncode}\n{done.stdout}{done.stderr}")

    def make_repository(self, folder: str, *, with_remote: bool = True) -> None:
        """Makes a Git and data repository with hardlinks and the storage folder as its remote."""
        os.makedirs(folder)
        if self.is_bare:
            return
        self.git("init", "-q", "-b", "main", cwd=folder)
        self.run("init", "-q", cwd=folder)
        self.run("config", "cache.type", "hardlink", cwd=folder)
        if with_remote:
            self.run("remote", "add", "-d", "storage", self.remote, cwd=folder)
        self.commit("start", cwd=folder)

    def commit(self, message: str, *, cwd: str) -> None:
        """Commits everything in Git."""
        self.git("add", "-A", cwd=cwd)
        self.git("commit", "-q", "-m", message, cwd=cwd)

    def move_aside(self, path: str) -> str:
        """Moves a file or folder away without deleting it; returns where it is."""
        self._moved += 1
        target = os.path.join(self._aside, f"{self._moved:03d}-{os.path.basename(path)}")
        os.rename(path, target)
        return target

    def stat_cache(self, repo: str) -> str:
        """Returns the folder where the tool remembers what it hashed."""
        return self.site_cache if self.program.kind == DVC else os.path.join(repo, ".dvc", "tmp", "kist")

    def destroy(self) -> None:
        """Deletes everything; only after the last measurement."""
        shutil.rmtree(self.root)

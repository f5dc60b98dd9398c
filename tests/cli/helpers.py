"""Repositories that are made once and copied for each test, and git with our program on its search path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kist.testing.project import Project


def made_project(folder: Path) -> Project:
    """Returns a new committed repository: `data/` (3 files), `model.bin` and `sub/table.csv` are tracked."""
    made = Project(str(folder / "project"))
    made.write(
        {
            "data/one.txt": "one\n",
            "data/two.txt": "two\n",
            "data/deep/three.txt": "three\n",
            "model.bin": "model\n",
            "sub/table.csv": "a,b\n",
        }
    )
    made.kist("add", "--quiet", "data", "model.bin", "sub/table.csv")
    made.commit()
    return made


def project_at(root: str) -> Project:
    """Returns what stands for a repository, or any folder, that is there."""
    found = Project.__new__(Project)
    found.root = root
    return found


def copy_of(project: Project, folder: Path) -> Project:
    """Returns a copy of a repository in a folder."""
    root = str(folder / "project")
    shutil.copytree(project.root, root, symlinks=True)
    return project_at(root)


def search_path() -> str:
    """Returns a search path that has our program."""
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


def try_git(project: Project, *words: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Returns git's exit status and what it and its children said."""
    done = subprocess.run(
        ["git", *words],
        cwd=project.root,
        env={**os.environ, "PATH": search_path(), "GIT_EDITOR": "true", **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout

"""A repository with a data remote and a Git remote beside it, all below one folder, and what can be seen of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from kist.testing.project import Answer, Project

FIRST = {
    "data/one.txt": "one\n",
    "data/two.txt": "two\n",
    "data/deep/three.txt": "three\n",
    "model.bin": "model\n",
    "code.py": "print()\n",
}


class TwoWorlds:
    """One person's folder.

    Attributes:
        top: holds `project`, the storage `store` and the bare Git repository `origin.git`, which know each other by
            relative addresses, so that a copy of `top` works by itself.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.project = Project.at(str(top / "project"))

    @classmethod
    def make(cls, top: Path) -> TwoWorlds:
        """Makes a project with `data` and `model.bin` saved and pushed as `v1`, on branch `main`."""
        top.mkdir(parents=True, exist_ok=True)
        made = cls(top)
        project = Project(made.project.root)
        project.git("symbolic-ref", "HEAD", "refs/heads/main")
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(top / "origin.git")], check=True)
        project.git("remote", "add", "origin", "../origin.git")
        project.kist("remote", "add", "-q", "-d", "store", "../store")
        project.write(FIRST)
        project.kist("add", "-q", "data", "model.bin")
        project.commit()
        project.git("tag", "v1")
        project.kist("push", "-q")
        project.git("push", "-q", "--set-upstream", "origin", "main", "v1")
        return made

    def clone(self, name: str, *, with_data: bool = True) -> TwoWorlds:
        """Returns somebody else's clone, beside this one."""
        git = ["git", "-C", str(self.top), "clone", "-q", "origin.git", name]
        subprocess.run(git, check=True)
        other = TwoWorlds(self.top)
        other.project = Project.at(str(self.top / name))
        other.project.git("remote", "set-url", "origin", "../origin.git")
        if with_data:
            other.project.kist("pull", "-q")
        return other

    def twin(self, top: Path) -> TwoWorlds:
        """Returns a copy of everything, links and times included."""
        subprocess.run(["cp", "-a", str(self.top), str(top)], check=True)
        copy = TwoWorlds(top)
        copy.project = Project.at(str(top / os.path.basename(self.project.root)))
        return copy

    def dry(self, *words: str) -> list[list[str]]:
        """Returns the commands that `--dry` tells; it must change nothing."""
        before = self.seen()
        answer = self.project.kist(*words, "--dry", "--json")
        assert self.seen() == before, "--dry changed something"
        found: list[list[str]] = json.loads(answer.out)["commands"]
        text = self.project.kist(*words, "--dry").out
        assert [shlex.split(line) for line in text.splitlines()] == found
        return found

    def paste(self, commands: list[list[str]]) -> None:
        """Runs commands as a shell does that they are pasted into."""
        programs = self.top / "programs"
        programs.mkdir(exist_ok=True)
        shim = programs / "kist"
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kist.cli.main "$@"\n')
        shim.chmod(0o755)
        environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        for words in commands:
            subprocess.run(
                shlex.join(words),
                shell=True,
                cwd=self.project.root,
                env=environ,
                check=True,
                capture_output=True,
            )
        shutil.rmtree(programs)

    def git(self, *words: str) -> str:
        """Returns what git says in the project, without the line end."""
        return self.project.git(*words).strip()

    def kist(self, *words: str) -> Answer:
        """Runs a command that must succeed."""
        return self.project.kist(*words)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def subject(self) -> str:
        return self.git("log", "-1", "--format=%s")

    def stored(self) -> set[str]:
        """Returns the ids of all objects in the storage."""
        return {path.parent.name + path.name for path in (self.top / "store/files/md5").glob("??/*")}

    def seen(self) -> dict[str, object]:
        """Returns everything that a person can see, in both worlds, commits by what is in them."""
        project = self.project
        form = "%(refname) %(objecttype) %(tree)%(*tree) %(contents)"
        return {
            "files": _files(Path(project.root)),
            "branch": project.git("branch", "--show-current"),
            "head": project.git("log", "--format=%T %an %B"),
            "status": project.git("status", "--porcelain"),
            "refs": project.git("for-each-ref", f"--format={form}", "refs/heads", "refs/tags"),
            "origin": subprocess.run(
                ["git", "-C", str(self.top / "origin.git"), "for-each-ref", f"--format={form}"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout,
            "upstream": project.git("config", "--get-regexp", "^branch"),
            "store": self.stored(),
            "journal": (Path(project.root) / ".dvc/tmp/kist/everyday.json").exists(),
        }


def _files(root: Path) -> dict[str, str]:
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "tmp", "cache")]
        for name in names:
            path = Path(folder) / name
            found[str(path.relative_to(root))] = path.read_text()
    return found

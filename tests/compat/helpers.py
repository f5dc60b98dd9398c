"""Two equal worlds, one driven by the real DVC and one by Kist, and the comparison of what they became.

A world is a folder that holds everything a command may touch: `repo`, `remote`, `clone`, `home`. A case starts
both worlds from one template made by the real DVC, runs the same steps in both, and compares exit codes,
output where it is meant for machines, and in the end every file: names, bytes, modes, links, Git's index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

DVC = "dvc"
KIST = "kist"
COMMAND_TIMEOUT_S = 120

# How output is compared. Wording is Kist's own, so only what scripts read is compared.
NOT_COMPARED = "not compared"
EXACT = "exact"  # every byte
AS_LINES = "as lines"  # the same lines in any order
AS_A_RUN = "as a run"  # every byte, but for the order of files to stage and what DVC says on top of it
AS_JSON = "as JSON"  # the same value; the order of lists is not DVC's promise


class Result(NamedTuple):
    """How one command ended."""

    code: int
    stdout: str
    stderr: str


def environment(root: str) -> dict[str, str]:
    """Returns the environment of every command in a world: nothing of the user's comes in."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.path.join(root, "home"),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.invalid",
        "GIT_AUTHOR_DATE": "2024-01-01T00:00:00 +0000",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.invalid",
        "GIT_COMMITTER_DATE": "2024-01-01T00:00:00 +0000",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": os.path.join(root, "home", "site-cache"),
        "DVC_GLOBAL_CONFIG_DIR": os.path.join(root, "home", "global"),
        "DVC_SYSTEM_CONFIG_DIR": os.path.join(root, "home", "system"),
    }


class RealDvc:
    """The real DVC: one process with its modules loaded, which forks for each command."""

    def __init__(self, program: str, scratch: str) -> None:
        with open(program, "rb") as stream:
            first = stream.readline().decode()
        if not first.startswith("#!"):
            raise ValueError(f"{program} is not a script with an interpreter line")
        forker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dvc_forker.py")
        os.makedirs(os.path.join(scratch, "home"), exist_ok=True)
        self._scratch = scratch
        self._process = subprocess.Popen(
            [first[2:].strip(), forker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(scratch),
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the real DVC did not start, or ended by itself")
        return line.strip()

    def run(self, arguments: Iterable[str], cwd: str, env: Mapping[str, str], stdin: str = "") -> Result:
        """Runs one command to its end."""
        assert self._process.stdin is not None
        stdout, stderr, given = (os.path.join(self._scratch, name) for name in ("stdout", "stderr", "stdin"))
        with open(given, "w", encoding="utf-8") as stream:
            stream.write(stdin)
        request = {
            "argv": list(arguments),
            "cwd": cwd,
            "env": dict(env),
            "stdin": given,
            "stdout": stdout,
            "stderr": stderr,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._answer())
        with open(stdout, encoding="utf-8") as out, open(stderr, encoding="utf-8") as err:
            return Result(code, out.read(), err.read())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=COMMAND_TIMEOUT_S)
        self._process.stdout.close()


class World:
    """A folder with a repository and everything around it, and the tool that drives it."""

    def __init__(self, root: str, tool: str, dvc: RealDvc) -> None:
        self.root = root
        self.tool = tool
        self.dvc = dvc
        self.env = environment(root)
        os.makedirs(os.path.join(root, "home"), exist_ok=True)
        os.makedirs(os.path.join(root, "repo"), exist_ok=True)

    def path(self, *parts: str) -> str:
        """Returns a path inside the world."""
        return os.path.join(self.root, *parts)

    def run(self, arguments: Iterable[str], cwd: str, *, by: str = "", stdin: str = "") -> Result:
        """Runs the world's tool, or the one named, in a folder of the world."""
        if (by or self.tool) == DVC:
            return self.dvc.run(arguments, self.path(cwd), self.env, stdin)
        done = subprocess.run(
            [sys.executable, "-m", "kist.cli.main", *arguments],
            cwd=self.path(cwd),
            env=self.env,
            input=stdin.encode(),
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            umask=0o022,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_git(self, line: str, cwd: str = "repo") -> str:
        """Runs Git in a folder of the world; returns what it printed."""
        done = subprocess.run(
            ["git", *shlex.split(line)],
            cwd=self.path(cwd),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"git {line}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def objects(self, store: str) -> set[str]:
        """Returns the names of the objects in a cache or remote of the world."""
        base = self.path(store, "files", "md5")
        return {
            f"{prefix}{name}"
            for prefix in os.listdir(base)
            for name in os.listdir(os.path.join(base, prefix))
        }

    def neutral(self, text: str) -> str:
        """Returns text without what differs between worlds by nature: its folder and its tool's name."""
        text = text.replace(self.root, "<world>")
        return text.replace("kist", "dvc") if self.tool == KIST else text


# --- steps ------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A step that runs the tool under comparison, `dvc` in one world and `kist` in the other; see `tool`."""

    line: str
    code: int
    stdout: str
    cwd: str
    stdin: str
    kist_code: int


Action = Callable[[World], None]
Step = Command | Action


def tool(
    line: str,
    *,
    code: int = 0,
    stdout: str = NOT_COMPARED,
    cwd: str = "repo",
    stdin: str = "",
    kist_code: int | None = None,
    because: str = "",
) -> Command:
    """Returns a step that runs the tool.

    Args:
        line: arguments, quoted as in a shell.
        code: the exit code that both must end with.
        stdout: how the two outputs are compared.
        cwd: folder of the world to run in.
        stdin: what is piped in.
        kist_code: the exit code of Kist where it must be another one.
        because: the rule that demands it.
    """
    assert (kist_code is not None) == bool(because), "an exception needs its reason, and the other way round"
    return Command(line, code, stdout, cwd, stdin, code if kist_code is None else kist_code)


def dvc(line: str, *, cwd: str = "repo") -> Action:
    """Returns a step that runs the real DVC in both worlds; it must succeed."""

    def act(world: World) -> None:
        result = world.run(shlex.split(line), cwd, by=DVC)
        assert result.code == 0, f"the real dvc {line} failed after {world.tool}: {result}"

    return act


def git(line: str, *, cwd: str = "repo") -> Action:
    """Returns a step that runs Git in both worlds."""

    def act(world: World) -> None:
        world.run_git(line, cwd)

    return act


def commit(message: str, *, cwd: str = "repo") -> Action:
    """Returns a step that commits everything in Git."""

    def act(world: World) -> None:
        world.run_git("add -A", cwd)
        world.run_git(f"commit -q --allow-empty -m {shlex.quote(message)}", cwd)

    return act


def write(path: str, content: str | bytes, *, cwd: str = "repo", mode: int = 0o644) -> Action:
    """Returns a step that replaces a file by a new one (a link is not written through)."""

    def act(world: World) -> None:
        target = world.path(cwd, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        with open(target, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
        os.chmod(target, mode)

    return act


def absolute_remote() -> Action:
    """Returns a step after which the remote `storage` has an absolute address, in all revisions.

    DVC looks for what a relative address names at the root of the file system when it reads a revision.
    """

    def act(world: World) -> None:
        arguments = ["remote", "modify", "--local", "storage", "url", world.path("remote")]
        assert world.run(arguments, "repo", by=DVC).code == 0

    return act


def append(path: str, content: str, *, cwd: str = "repo") -> Action:
    """Returns a step that adds text to the end of a file."""

    def act(world: World) -> None:
        with open(world.path(cwd, path), "a") as stream:
            stream.write(content)

    return act


def replace(path: str, old: str, new: str, *, cwd: str = "repo") -> Action:
    """Returns a step that replaces text in a file that holds it."""

    def act(world: World) -> None:
        with open(world.path(cwd, path)) as stream:
            text = stream.read()
        assert old in text, f"{path} does not hold {old!r}: {text}"
        with open(world.path(cwd, path), "w") as stream:
            stream.write(text.replace(old, new))

    return act


def delete(*paths: str, cwd: str = "repo") -> Action:
    """Returns a step that deletes files and folders that exist."""

    def act(world: World) -> None:
        for path in paths:
            target = world.path(cwd, path)
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            else:
                os.unlink(target)

    return act


def make_folder(path: str, *, cwd: str = "repo") -> Action:
    """Returns a step that makes an empty folder."""

    def act(world: World) -> None:
        os.makedirs(world.path(cwd, path))

    return act


def rename(old: str, new: str, *, cwd: str = "repo") -> Action:
    """Returns a step that renames a file or folder."""

    def act(world: World) -> None:
        os.rename(world.path(cwd, old), world.path(cwd, new))

    return act


def symlink(target: str, path: str, *, cwd: str = "repo") -> Action:
    """Returns a step that makes a symbolic link."""

    def act(world: World) -> None:
        os.symlink(target, world.path(cwd, path))

    return act


def chmod(path: str, mode: int, *, cwd: str = "repo") -> Action:
    """Returns a step that changes a mode."""

    def act(world: World) -> None:
        os.chmod(world.path(cwd, path), mode)

    return act


def own_empty_file(path: str, *, cwd: str = "repo") -> Action:
    """Returns a step that makes sure that Kist gave the workspace an empty file of its own, not a link (F59)."""

    def act(world: World) -> None:
        found = os.lstat(world.path(cwd, path))
        if world.tool == KIST:
            assert (stat.S_ISREG(found.st_mode), found.st_size, found.st_nlink) == (True, 0, 1), path

    return act


def forget_stat_caches() -> Action:
    """Returns a step after which no tool remembers what it hashed."""

    def act(world: World) -> None:
        shutil.rmtree(world.path("home", "site-cache"), ignore_errors=True)
        shutil.rmtree(world.path("repo", ".dvc", "tmp", "kist"), ignore_errors=True)

    return act


# --- comparison -------------------------------------------------------------------------------------


# DVC leaves these behind when it streams to a remote.
_LEFT_BY_DVC = re.compile(r"(.*/)?files/md5/\.[A-Za-z0-9_-]{22}\.tmp")


def _is_compared(relative: str) -> bool:
    if _LEFT_BY_DVC.fullmatch(relative):
        return False
    parts = relative.split("/")
    # Issue "Everyday": Kist's first push into an empty storage leaves a text for people.
    if parts[-1] == "README-kist.md":
        return False
    if parts[0] == "home" or ".git" in parts:
        return False
    # Locks, logs and stat caches: private to each tool, deleted at will. And how long stages took, which DVC does not keep.
    return not any(a == ".dvc" and b in ("tmp", "kist") for a, b in zip(parts, parts[1:], strict=False))


def _is_in_store(relative: str) -> bool:
    return "/.dvc/cache" in relative or relative.startswith(("remote/", "other/"))


def _forget_empty(found: dict[str, os.stat_result], folder: str) -> None:
    """Drops an empty folder of a store, and the folders above that it leaves empty: only objects count there."""
    while _is_in_store(folder) and not any(other.startswith(folder + "/") for other in found):
        del found[folder]
        folder = os.path.dirname(folder)


def _describe(world: World, path: str, status: os.stat_result, twins: list[str]) -> str:
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if stat.S_ISLNK(status.st_mode):
        return f"link to {world.neutral(os.readlink(path))}"
    if stat.S_ISDIR(status.st_mode):
        return f"folder {mode}"
    with open(path, "rb") as stream:
        content = stream.read()
    shown = repr(content) if len(content) <= 2000 else hashlib.sha256(content).hexdigest()
    linked = f" linked with {', '.join(twins)}" if twins else ""
    return f"file {mode}{linked}: {world.neutral(shown)}"


def snapshot(world: World) -> dict[str, str]:
    """Returns a description of every file of a world, and of Git's index, by relative path.

    Left out: the home, Git's own folders, and what tools keep under `.dvc/tmp`.
    """
    found: dict[str, os.stat_result] = {}
    for folder, folders, files in os.walk(world.root):
        relative = os.path.relpath(folder, world.root)
        names = [name if relative == "." else f"{relative}/{name}" for name in folders + files]
        for name in names:
            if _is_compared(name):
                found[name] = os.lstat(os.path.join(world.root, name))
        folders[:] = [
            name for name in folders if _is_compared(name if relative == "." else f"{relative}/{name}")
        ]
    for name in [name for name in found if _is_in_store(name)]:
        if stat.S_ISDIR(found[name].st_mode) and not any(other.startswith(name + "/") for other in found):
            _forget_empty(found, name)
    groups: dict[int, list[str]] = {}
    for name, status in found.items():
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            groups.setdefault(status.st_ino, []).append(name)
    described = {
        name: _describe(
            world,
            os.path.join(world.root, name),
            status,
            sorted(other for other in groups.get(status.st_ino, []) if other != name),
        )
        for name, status in found.items()
    }
    for folder in ("repo", "clone"):
        if os.path.isdir(world.path(folder, ".git")):
            described[f"{folder}: git index"] = world.run_git("ls-files -s", folder)
            described[f"{folder}: git status"] = world.run_git("status --porcelain -uall", folder)
    return described


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Returns one line for each entry that is not the same in both snapshots."""
    return [
        f"{name}\n    dvc:  {theirs.get(name, 'absent')}\n    kist: {ours.get(name, 'absent')}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]


def canonical(value: Any) -> Any:
    """Returns a JSON value with every list sorted."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _output(world: World, text: str, how: str) -> Any:
    neutral = world.neutral(text)
    if how == EXACT:
        return neutral
    if how == AS_A_RUN:
        return [
            sorted(line.split()) if line.startswith("\tgit add") else line for line in neutral.splitlines()
        ]
    if how == AS_LINES:
        # Off a terminal DVC expands the TAB after A, M and D into blanks, and folds lines at 80 columns.
        return sorted(re.sub(r"^([AMD])\s+", r"\1\t", line) for line in neutral.splitlines())
    try:
        return canonical(json.loads(neutral))
    except json.JSONDecodeError:
        return f"not JSON: {neutral!r}"


# --- cases ------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One comparison.

    Args:
        name: what is claimed, as a sentence.
        start: name of the template that both worlds begin as.
        steps: what is done in both worlds.
        except_for: beginnings of the paths that may differ; each with its reason in `because`.
        because: the exception of the scenarios page, or the rule, that allows the difference.
    """

    name: str
    start: str
    steps: tuple[Step, ...]
    except_for: tuple[str, ...] = ()
    because: str = ""


def case(name: str, start: str, *steps: Step, except_for: tuple[str, ...] = (), because: str = "") -> Case:
    """Returns a case; see `Case`."""
    assert bool(except_for) == bool(because), "an exception needs its reason, a reason needs its exception"
    return Case(name, start, steps, except_for, because)


class Beside:
    """Runs cases: makes the two worlds, takes the steps, and tells what differs.

    Args:
        dvc: the real DVC.
        templates: gives the folder of a template by its name.
        folder: where the worlds are made.
        second: what drives the second world; "dvc" proves the cases themselves, for then nothing may differ.
    """

    def __init__(
        self, dvc: RealDvc, templates: Callable[[str], str], folder: str, *, second: str = KIST
    ) -> None:
        self._dvc = dvc
        self._templates = templates
        self._folder = folder
        self._second = second

    def worlds(self, start: str) -> tuple[World, World]:
        """Returns two equal worlds made from a template: DVC's and Kist's."""
        template = self._templates(start)
        made = []
        for folder, name in (("dvc", DVC), ("kist", self._second)):
            root = os.path.join(self._folder, folder)
            # cp keeps hard links and modification times.
            subprocess.run(["cp", "-a", template, root], check=True)
            made.append(World(root, name, self._dvc))
        return made[0], made[1]

    def check(self, checked: Case) -> None:
        """Runs a case; fails with everything that differs."""
        theirs, ours = self.worlds(checked.start)
        found: list[str] = []
        for step in checked.steps:
            if not isinstance(step, Command):
                step(theirs)
                step(ours)
                continue
            arguments = shlex.split(step.line)
            expected = theirs.run(arguments, step.cwd, stdin=step.stdin)
            assert expected.code == step.code, (
                f"the real dvc {step.line} ended with {expected.code}, the case says {step.code}: {expected}"
            )
            result = ours.run(arguments, step.cwd, stdin=step.stdin)
            wanted_code = step.code if ours.tool == DVC else step.kist_code
            if result.code != wanted_code:
                found.append(f"{step.line}: exit code {result.code}, not {wanted_code}\n    {result}")
            if "Traceback (most recent call last)" in result.stderr:
                found.append(f"{step.line}: a traceback\n    {result.stderr}")
            if step.stdout != NOT_COMPARED:
                wanted = _output(theirs, expected.stdout, step.stdout)
                got = _output(ours, result.stdout, step.stdout)
                if wanted != got:
                    found.append(f"{step.line}: output\n    dvc:  {wanted!r}\n    kist: {got!r}")
        excused = checked.except_for
        found += [
            line
            for line in differences(snapshot(theirs), snapshot(ours))
            if not (excused and line.startswith(excused))
        ]
        assert not found, "\n" + "\n".join(found)

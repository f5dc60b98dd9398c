"""Runs one command again and again from one prepared state, dying at each of its changing calls in turn.

Not here: what must hold afterwards (invariants), the commands (test_commands). Implements
docs/design/accepted/crash-testing.md.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from .power import power_cut
from .shim import SYNCING, WRITING, Record, Shim, Switches
from .warm import Running, Warm, WarmResult

TIMEOUT_S = 60.0
KIST = (sys.executable, "-P", "-m", "kist.cli.main")
"""The command line under test; `-P` keeps the workspace out of the module path."""


class Result(NamedTuple):
    """How a command ended. A negative status is the signal that ended it."""

    status: int
    out: str
    err: str

    def crashed(self) -> bool:
        """Says whether the program met something that it had not thought of."""
        return "Traceback" in self.err or "unexpected" in self.err or "Exception" in self.err


class Entry(NamedTuple):
    """One name in a snapshot: what it is, its permission bits, and its bytes or the target of the link."""

    kind: str
    mode: int
    content: bytes


Snapshot = dict[str, Entry]
"""Paths relative to the arena's work folder -> entries."""

_NOTHING = Switches()


class Arena:
    """A small world (`work`) that is saved once and restored at the same path before every run.

    The path stays the same because configurations and symbolic links hold absolute ones. `work/repo` is where commands
    run; `work/home` is their home directory.
    """

    def __init__(self, base: str, library: str, warm: Warm | None = None, holder: Warm | None = None) -> None:
        """Makes its folders.

        Args:
            warm: runs kist where a whole process of its own is not needed.
            holder: another one, for a command that is stopped while others run.
        """
        self._warm = warm
        self._holder = holder
        self.base = os.path.realpath(base)
        self.work = os.path.join(self.base, "work")
        self.repo = os.path.join(self.work, "repo")
        self.remote = os.path.join(self.work, "remote")
        self.home = os.path.join(self.work, "home")
        self._saved = os.path.join(self.base, "saved")
        side = os.path.join(self.base, "side")
        for folder in (self.base, self.work, self.repo, self.home, side):
            os.makedirs(folder, exist_ok=True)
        self.shim = Shim(library, side)
        self.shim.reset()

    def path(self, rel: str) -> str:
        """Returns the absolute path of something in `work/repo`."""
        return os.path.join(self.repo, rel)

    def write(self, rel: str, content: bytes) -> None:
        """Makes or replaces a file of the workspace, never through a link into the cache."""
        path = self.path(rel)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "wb") as stream:
            stream.write(content)

    def save(self) -> None:
        """Remembers the present state of `work`."""
        remove_tree(self._saved)
        _copy_tree(self.work, self._saved)

    def restore(self) -> None:
        """Brings back the saved state, hard links, times and modes included."""
        remove_tree(self.work)
        _copy_tree(self._saved, self.work)

    def environment(self) -> dict[str, str]:
        """Returns a small environment that knows nothing of the person who runs the tests."""
        search = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        return search | {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self.home,
            "XDG_CONFIG_HOME": os.path.join(self.home, ".config"),
            "XDG_CACHE_HOME": os.path.join(self.home, ".cache"),
            "XDG_CONFIG_DIRS": os.path.join(self.home, "xdg"),
            "DVC_SITE_CACHE_DIR": os.path.join(self.home, "site"),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.invalid",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.invalid",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(
        self,
        argv: Sequence[str],
        *,
        switches: Switches | None = None,
        cwd: str | None = None,
        environ: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a command as the leader of its own process group, with the shim where `switches` are given.

        Args:
            cwd: the working directory; `work/repo` by default.
            environ: variables on top of `environment()`.
            before: called in the child before the program starts (limits, another user).
        """
        return subprocess.Popen(
            list(argv),
            cwd=cwd or self.repo,
            env=self._whole_environment(switches, environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 the suite starts no threads
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        switches: Switches | None = None,
        cwd: str | None = None,
        environ: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Result:
        """Runs a command to its end; arguments as for `start`.

        Raises:
            AssertionError: it did not end within `timeout_s`; its whole group has been killed.
        """
        if self._warm is not None and before is None and tuple(argv[: len(KIST)]) == KIST:
            ended = self._warm.run(
                argv[len(KIST) :],
                cwd=cwd or self.repo,
                environ=self._whole_environment(switches, environ),
                timeout_s=timeout_s,
            )
            return result_of(ended)
        process = self.start(argv, switches=switches, cwd=cwd, environ=environ, before=before)
        return finish(process, timeout_s=timeout_s)

    def stop(self, argv: Sequence[str], call: int, *, timeout_s: float = TIMEOUT_S) -> Running | None:
        """Starts kist and returns it stopped before one of its changing calls; None where it ended before that."""
        assert self._holder is not None and tuple(argv[: len(KIST)]) == KIST
        switches = Switches(kill_at=call, signal=signal.SIGSTOP)
        environ = self._whole_environment(switches, None)
        running = self._holder.start(argv[len(KIST) :], cwd=self.repo, environ=environ)
        if running.stops(timeout_s):
            return running
        running.finish(timeout_s)
        return None

    def _whole_environment(self, switches: Switches | None, more: Mapping[str, str] | None) -> dict[str, str]:
        environment = self.environment() | dict(more or {})
        if switches is not None:
            self.shim.reset()
            environment |= self.shim.environment(switches, self.work)
        return environment

    def kist(self, *arguments: str, switches: Switches | None = None, cwd: str | None = None) -> Result:
        """Runs kist with these arguments."""
        return self.run((*KIST, *arguments), switches=switches, cwd=cwd)

    def must(self, *arguments: str, cwd: str | None = None) -> Result:
        """Runs kist as part of a preparation.

        Raises:
            AssertionError: it failed.
        """
        result = self.kist(*arguments, cwd=cwd)
        assert result.status == 0, f"preparing with {arguments} failed: {result}"
        return result

    def git(self, *arguments: str, cwd: str | None = None) -> None:
        """Runs git as part of a preparation."""
        result = self.run(("git", *arguments), cwd=cwd)
        assert result.status == 0, f"git {arguments} failed: {result}"

    def snapshot(self) -> Snapshot:
        """Returns everything below `work`."""
        return snapshot(self.work)


def result_of(ended: WarmResult) -> Result:
    """Returns the result of a forked command as that of one of its own."""
    return Result(ended.status, ended.out.decode("utf-8", "replace"), ended.err.decode("utf-8", "replace"))


def finish(process: subprocess.Popen[bytes], *, timeout_s: float = TIMEOUT_S) -> Result:
    """Waits for a started command, and for whatever else of its group holds its pipes.

    Raises:
        AssertionError: it did not end within `timeout_s`; its whole group has been killed.
    """
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        out, err = process.communicate()
        text = err.decode("utf-8", "replace")
        raise AssertionError(f"{process.args!r} did not end within {timeout_s:.0f} s: {text}") from None
    return Result(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a started command with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove_tree(path: str) -> None:
    """Removes a folder whatever the permissions of those below it."""
    if not os.path.lexists(path):
        return
    for folder, names, _ in os.walk(path):
        for name in [".", *names]:
            below = os.path.join(folder, name)
            if not os.path.islink(below) and not os.access(below, os.R_OK | os.W_OK | os.X_OK):
                os.chmod(below, 0o700)
    shutil.rmtree(path)


def _copy_tree(source: str, target: str) -> None:
    """Copies a tree with its hard links, symbolic links, modes and times."""
    copies: dict[tuple[int, int], str] = {}
    os.mkdir(target)
    with os.scandir(source) as entries:
        _copy_entries(list(entries), target, copies)
    shutil.copystat(source, target)


def _copy_entries(
    entries: Iterable[os.DirEntry[str]], target: str, copies: dict[tuple[int, int], str]
) -> None:
    for entry in entries:
        to = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            os.mkdir(to)
            with os.scandir(entry.path) as below:
                _copy_entries(list(below), to, copies)
            shutil.copystat(entry.path, to)
            continue
        info = entry.stat(follow_symlinks=False)
        first = copies.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
        if first is not None:
            os.link(first, to, follow_symlinks=False)
            continue
        copies[info.st_dev, info.st_ino] = to
        if stat.S_ISFIFO(info.st_mode):
            os.mkfifo(to)
        else:
            shutil.copy2(entry.path, to, follow_symlinks=False)


def snapshot(root: str) -> Snapshot:
    """Returns every name below `root`; git's own folder is left out, its files hold times."""
    found: Snapshot = {}
    for folder, folders, names in os.walk(root):
        if ".git" in folders:
            folders.remove(".git")
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            rel = os.path.relpath(path, root)
            info = os.lstat(path)
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                found[rel] = Entry("link", 0, os.fsencode(os.readlink(path)))
            elif stat.S_ISDIR(info.st_mode):
                found[rel] = Entry("folder", mode, b"")
            elif stat.S_ISREG(info.st_mode):
                with open(path, "rb") as stream:
                    found[rel] = Entry("file", mode, stream.read())
            else:
                found[rel] = Entry("special", mode, b"")
    return found


def differences(left: Snapshot, right: Snapshot) -> list[str]:
    """Returns one line for each name that the two snapshots do not agree on."""
    lines = []
    for rel in sorted(left.keys() | right.keys()):
        one, two = left.get(rel), right.get(rel)
        if one == two:
            continue
        if one is None or two is None:
            lines.append(f"{'missing' if two is None else 'stray'}: {rel}")
        else:
            lines.append(f"differs: {rel}: {_brief(one)} became {_brief(two)}")
    return lines


def _brief(entry: Entry) -> str:
    return f"{entry.kind} {entry.mode:o} {entry.content[:60]!r}"


class Problem(NamedTuple):
    """Something that a kill at one call made wrong."""

    call: int
    what: str
    log: tuple[str, ...]

    def __str__(self) -> str:
        return f"at call {self.call}: {self.what}\n    " + "\n    ".join(self.log)


class Report(NamedTuple):
    """What the runs of one command showed."""

    calls: int
    runs: int
    problems: list[Problem]

    def check(self) -> None:
        """Raises AssertionError naming the first problems, if there are any."""
        shown = "\n".join(str(problem) for problem in self.problems[:5])
        assert not self.problems, f"{len(self.problems)} problems in {self.runs} runs:\n{shown}"


class World(NamedTuple):
    """What a check looks at: the state now, before the command, and after an undisturbed run of it."""

    now: Snapshot
    old: Snapshot
    new: Snapshot


Check = Callable[[World], list[str]]
"""Returns one line for each thing that is wrong right after the kill."""
Keep = Callable[[str], bool]
"""Says whether a path belongs to the state that the repair run must reach."""


def count_calls(arena: Arena, argv: Sequence[str]) -> int:
    """Returns how many changing calls an undisturbed run makes from the arena's present state."""
    arena.save()
    result = arena.run(argv, switches=Switches())
    assert result.status == 0, f"the undisturbed run failed: {result}"
    calls = arena.shim.calls()
    arena.restore()
    return calls


def describe(log: Sequence[Record], root: str) -> tuple[str, ...]:
    """Returns the last calls of a log as a person reads them."""
    lines = []
    for record in log:
        if record.phase != "B":
            continue
        names = [os.path.relpath(name, root) for name in (record.path, record.other) if name]
        lines.append(f"{record.call} {record.name} {' -> '.join(names)}")
    return tuple(lines[-8:])


def for_each_kill(
    arena: Arena,
    argv: Sequence[str],
    check: Check,
    *,
    torn: bool = False,
    matters: Keep = lambda rel: True,
    switches: Switches = _NOTHING,
    step: int = 1,
    sample: int = 0,
    cut: str = "",
    repeatable: bool = True,
    enough: int = 1000,
) -> Report:
    """Kills the command before each of its changing calls in turn (syncs apart, see `_is_moment`), checks, and lets the same command repair.

    Args:
        arena: in the state before the command; it is in that state again at the end.
        check: looks at what the kill left.
        torn: only calls that write, and half of what they write is done.
        matters: which paths the repaired state is compared in.
        switches: what else the shim does in the disturbed runs.
        step: every step-th call only.
        sample: only so many calls, chosen by chance, always the same.
        cut: "" for a kill; "bytes" or "names" for a power cut at that moment (see `power_cut`).
        repeatable: the command succeeds when all is done already; otherwise it may refuse to repeat what is done.
        enough: stop at this many problems.
    """
    arena.save()
    old = arena.snapshot()
    result = arena.run(argv, switches=switches._replace(log=True))
    assert result.status == 0, f"the undisturbed run failed: {result}"
    calls = arena.shim.calls()
    assert calls > 0, "the command changes nothing"
    begun = [record for record in arena.shim.log() if record.phase == "B"]
    moments = [record.call for record in begun if _is_moment(record, calls, torn=torn, cut=cut)][::step]
    if sample:
        moments = random.Random(len(moments)).sample(moments, sample)
    arena.restore()
    assert arena.run(argv).status == 0
    new = arena.snapshot()
    problems: list[Problem] = []
    runs = 0
    for call in moments:
        if len(problems) >= enough:
            break
        arena.restore()
        runs += 1
        arena.run(argv, switches=switches._replace(kill_at=call, torn=torn, log=True, keep=bool(cut)))
        log = arena.shim.log()
        if cut:
            power_cut(arena.work, log, keep=arena.shim.keep_path, lose_names=cut == "names")
        found = check(World(arena.snapshot(), old, new))
        if repeatable or lasting_differences(new, arena.snapshot(), matters):
            found += _repair(arena, argv, new, matters)
        problems += [Problem(call, what, describe(log, arena.work)) for what in found]
    arena.restore()
    return Report(calls, runs, problems)


def _is_moment(record: Record, calls: int, *, torn: bool, cut: str) -> bool:
    """Says whether a kill before this call leaves something that a kill before another one does not.

    A sync changes nothing that a kill could leave: killed before it or after it is the same, but for a power cut.
    """
    if torn:
        return record.name in WRITING
    return bool(cut) or record.name not in SYNCING or record.call == calls


def _repair(arena: Arena, argv: Sequence[str], new: Snapshot, matters: Keep) -> list[str]:
    again = arena.run(argv)
    if again.status != 0:
        return [f"the repair run ended with {again.status}: {again.err.strip()}"]
    return [f"after the repair run, {line}" for line in lasting_differences(new, arena.snapshot(), matters)]


def lasting_differences(wanted: Snapshot, found: Snapshot, matters: Keep) -> list[str]:
    """Returns `differences` in the paths that matter."""
    return differences(
        {rel: entry for rel, entry in wanted.items() if matters(rel)},
        {rel: entry for rel, entry in found.items() if matters(rel)},
    )


def after_power_cut(
    arena: Arena, argv: Sequence[str], *, lose_names: bool, switches: Switches = _NOTHING
) -> tuple[Result, World]:
    """Runs the command to its end, cuts the power, and returns how it ended and what the disk holds.

    The arena stays in the state after the cut; its saved state is the one before the command.
    """
    arena.save()
    old = arena.snapshot()
    assert arena.run(argv).status == 0
    new = arena.snapshot()
    arena.restore()
    result = arena.run(argv, switches=switches._replace(log=True, keep=True))
    power_cut(arena.work, arena.shim.log(), keep=arena.shim.keep_path, lose_names=lose_names)
    return result, World(arena.snapshot(), old, new)

"""Starts a command of a stage in the person's shell.

Not here: several at once and what they print (commands), outputs, locks, when to run.
Implements docs/spec/repro.md, section 3.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from kist.errors import InputError

_SHELL_OPTIONS = {"bash": ("--noprofile", "--norc"), "zsh": ("--no-rcs",)}
_FISH_WITHOUT_CONFIG = (3, 3)


class CommandFailedError(InputError):
    """A stage's command ended with another status than 0. What it printed says why."""

    code = "command-failed"
    exit_code = 255


class CannotStartError(InputError):
    """A stage's command cannot be started: its folder or the shell is missing."""

    code = "command-not-started"
    exit_code = 255


def command_lines(cmd: str | list[str]) -> list[str]:
    """Returns what is run one by one: the items of a list as they are, of a text its lines."""
    return cmd if isinstance(cmd, list) else cmd.splitlines()


def shell_words(environ: Mapping[str, str]) -> list[str]:
    """Returns the shell and its options, up to `-c`."""
    shell = environ.get("SHELL") or "/bin/sh"
    name = os.path.basename(shell).lower()
    options = _SHELL_OPTIONS.get(name, ())
    if name == "fish" and _fish_version(shell) >= _FISH_WITHOUT_CONFIG:
        options = ("--no-config",)
    return [shell, *options, "-c"]


def command_environment(environ: Mapping[str, str], *, root: str, stage: str) -> dict[str, str]:
    """Returns the environment of a stage's commands.

    What `pyenv` put in front of the search path to start this program is not theirs.
    """
    found = {**environ, "DVC_ROOT": root, "DVC_STAGE": stage}
    own = environ.get("PYENV_ROOT")
    folders = environ.get("PATH", "").split(os.pathsep)
    if own and f"{own}/libexec" in folders:
        added = (f"{own}/versions/", f"{own}/libexec", f"{own}/plugins/")
        while folders and folders[0].startswith(added):
            del folders[0]
        found["PATH"] = os.pathsep.join(folders)
    return found


class Usage(NamedTuple):
    """What a command took, with all that it started and waited for.

    Attributes:
        wall_s, cpu_s: seconds.
        memory_bytes: the most that one process of it had in memory; not less than what this program had
            when it started it.
    """

    wall_s: float
    cpu_s: float
    memory_bytes: int

    def __add__(self, other: object) -> Usage:
        """Returns what two commands took that ran one after the other."""
        assert isinstance(other, Usage)
        memory = max(self.memory_bytes, other.memory_bytes)
        return Usage(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, memory)


NO_USAGE = Usage(0.0, 0.0, 0)


class Command:
    """One command that was started.

    Attributes:
        line: as it stands in the stage.
        pid: of the shell; with `is_apart` also the id of its group of processes.
        code: how it ended, as `Popen.returncode` has it; None while it runs.
        usage: valid once it has ended.
    """

    def __init__(
        self,
        line: str,
        *,
        shell: list[str],
        folder: str,
        environ: Mapping[str, str],
        output: int | None = None,
        errors: int | None = None,
        is_apart: bool = False,
    ) -> None:
        """Starts it.

        Args:
            shell: of `shell_words`. folder: where it runs, absolute.
            output, errors: the descriptors that take what it prints; None: this program's own.
            is_apart: in a group of processes of its own, without an input.

        Raises: CannotStartError.
        """
        import subprocess  # most commands of Kist start nothing

        self.line = line
        self.code: int | None = None
        self.usage = NO_USAGE
        self.is_apart = is_apart
        self._started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [*shell, line],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL if is_apart else None,
                stdout=output,
                stderr=errors,
                process_group=0 if is_apart else None,
            )
        except OSError as error:
            missing = folder if not os.path.isdir(folder) else shell[0]
            cause = os.strerror(error.errno or 0).lower()
            raise CannotStartError(
                f"cannot start '{line}': '{missing}': {cause}",
                hint="make the folder that `wdir` names, or correct it" if missing == folder else None,
            ) from error
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Returns how it ended; None while it runs."""
        if self.code is None:
            self._reap(os.WNOHANG)
        return self.code

    def wait(self) -> int:
        """Waits until it ends, and returns how."""
        while self.code is None:
            self._reap(0)
        return self.code

    def _reap(self, options: int) -> None:
        pid, status, used = os.wait4(self.pid, options)
        if not pid:
            return
        self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        wall_s = time.monotonic() - self._started_s
        self.usage = Usage(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)

    def error(self) -> CommandFailedError | None:
        """Returns what is to be raised of one that has ended; None where it ended well."""
        if not self.code:
            return None
        return CommandFailedError(f"failed to run: {self.line}, exited with {self.code}")

    def signal(self, number: int) -> None:
        """Sends it a signal; one apart, to all of its group."""
        try:
            if self.is_apart:
                os.killpg(self.pid, number)
            elif self.code is None:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it has just ended


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts signals that interrupt this program off while entered: what has just been started must become known."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield  # which none of them interrupts
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(handler := signal.getsignal(number))
    }
    for number in before:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for told, frame in came[:1]:
            before[signal.Signals(told)](told, frame)


def is_foreground() -> bool:
    """Says whether a terminal sends its signals to the commands of this program too."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _fish_version(shell: str) -> tuple[int, ...]:
    import re
    import subprocess

    try:
        told = subprocess.run([shell, "--version"], capture_output=True, check=False, text=True).stdout
    except OSError:
        return ()
    found = re.search(r"(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else ()

"""Runs the commands of a stage in the person's shell.

Not here: outputs, locks, when to run. Implements docs/spec/repro.md, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kist.errors import InputError

if TYPE_CHECKING:
    from subprocess import Popen

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


def run_command(
    line: str, *, shell: list[str], folder: str, environ: Mapping[str, str], output: int | None = None
) -> None:
    """Runs one command to its end. A signal that interrupts this goes to the command, which is waited for.

    Args:
        shell: of `shell_words`. folder: where it runs, absolute.
        output: the descriptor that takes its standard output; None: this program's own.

    Raises: CommandFailedError, CannotStartError.
    """
    import subprocess  # most commands of Kist start nothing

    try:
        process = subprocess.Popen([*shell, line], cwd=folder, env=environ, stdout=output)
    except OSError as error:
        missing = folder if not os.path.isdir(folder) else shell[0]
        cause = os.strerror(error.errno or 0).lower()
        raise CannotStartError(
            f"cannot start '{line}': '{missing}': {cause}",
            hint="make the folder that `wdir` names, or correct it" if missing == folder else None,
        ) from error
    try:
        code = process.wait()
    except KeyboardInterrupt as interrupt:
        _pass_on(process, interrupt)
        raise
    if code:
        raise CommandFailedError(f"failed to run: {line}, exited with {code}")


def _pass_on(process: Popen[bytes], interrupt: KeyboardInterrupt) -> None:
    """Ends the command as this program is ended. A terminal has told both already."""
    import signal

    number: int = getattr(interrupt, "number", signal.SIGINT)
    if number != signal.SIGINT or not _is_foreground():
        process.send_signal(number)
    process.wait()


def _is_foreground() -> bool:
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

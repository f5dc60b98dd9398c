"""A process that has imported Kist already and forks one command at a time: thousands of runs without the start-up.

The forked command is a real process, the leader of its own session, with the shim started anew in it; it calls the
same entry point as the `kist` script. A test compares it with a cold start. Run as a script this is the server.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NamedTuple

STOPPED = 1 << 16
"""What the server answers when a command was stopped by a signal; no exit status is that large."""


class WarmResult(NamedTuple):
    """How a forked command ended; a negative status is the signal that ended it."""

    status: int
    out: bytes
    err: bytes


class Warm:
    """The client's side: starts the server at the first request, and asks it for one run after another."""

    def __init__(self, library: str, folder: str) -> None:
        """Args: folder: where the outputs of the runs are written; made if needed."""
        self._library = library
        self._out = os.path.join(folder, "out")
        self._err = os.path.join(folder, "err")
        self._pending = b""
        self._server: subprocess.Popen[bytes] | None = None
        os.makedirs(folder, exist_ok=True)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            search = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
            self._server = subprocess.Popen(
                [sys.executable, "-P", os.path.abspath(__file__)],
                env=search | {"LC_ALL": "C.UTF-8", "LD_PRELOAD": self._library},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._server

    def run(
        self, arguments: Sequence[str], *, cwd: str, environ: Mapping[str, str], timeout_s: float
    ) -> WarmResult:
        """Runs `kist` with these arguments to its end.

        Raises:
            AssertionError: it did not end within `timeout_s`, and was killed with its group.
        """
        return self.start(arguments, cwd=cwd, environ=environ).finish(timeout_s)

    def start(self, arguments: Sequence[str], *, cwd: str, environ: Mapping[str, str]) -> Running:
        """Starts `kist`; the next request has to wait until it has been finished or killed."""
        request = {
            "arguments": list(arguments),
            "cwd": cwd,
            "environ": dict(environ),
            "out": self._out,
            "err": self._err,
        }
        stdin = self._started().stdin
        assert stdin is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        pid = self.answer(None)
        assert pid is not None
        return Running(self, pid)

    def answer(self, timeout_s: float | None) -> int | None:
        """Returns the next number from the server, or None after the timeout."""
        stdout = self._started().stdout
        assert stdout is not None
        while b"\n" not in self._pending:
            if not select.select([stdout], [], [], timeout_s)[0]:
                return None
            block = os.read(stdout.fileno(), 100)
            assert block, "the server has ended"
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        return int(line)

    def outputs(self) -> tuple[bytes, bytes]:
        """Returns what the last run wrote to its two outputs."""
        return _read(self._out), _read(self._err)

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            assert self._server.stdin is not None and self._server.stdout is not None
            self._server.stdin.close()
            self._server.wait()
            self._server.stdout.close()


class Running:
    """A forked command that has not ended, or not been asked for its end.

    Attributes:
        pid: of the command, which leads a process group of its own.
    """

    def __init__(self, warm: Warm, pid: int) -> None:
        self._warm = warm
        self._status: int | None = None
        self.pid = pid

    def stops(self, timeout_s: float) -> bool:
        """Waits until the command is stopped by a signal, or ends; says whether it is stopped."""
        self._status = self._warm.answer(timeout_s)
        assert self._status is not None, "neither stopped nor ended"
        return self._status == STOPPED

    def go_on(self) -> None:
        """Lets the stopped command go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def finish(self, timeout_s: float) -> WarmResult:
        """Waits for the end.

        Raises:
            AssertionError: it did not come within `timeout_s`; the command has been killed with its group.
        """
        if self._status in (None, STOPPED):
            self._status = self._warm.answer(timeout_s)
        if self._status is None:
            self.kill()
            raise AssertionError(f"process {self.pid} did not end within {timeout_s:.0f} s")
        return WarmResult(self._status, *self._warm.outputs())

    def kill(self) -> None:
        """Kills the command with its group, if it still lives, and waits for its end."""
        while self._status in (None, STOPPED):
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended at the last moment
            self._status = self._warm.answer(None)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def serve() -> None:
    """Answers requests until the input ends; in a forked child, returns when the command is done."""
    requests: BinaryIO = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    empty = os.open(os.devnull, os.O_RDWR)
    os.dup2(empty, 0)
    os.dup2(empty, 1)
    _import_everything()
    gc.freeze()
    while line := requests.readline():
        pid = os.fork()
        if pid == 0:
            requests.close()
            os.close(answers)
            _become(json.loads(line))
            return
        os.write(answers, b"%d\n" % pid)
        _, status = os.waitpid(pid, os.WUNTRACED)
        while os.WIFSTOPPED(status):
            os.write(answers, b"%d\n" % STOPPED)
            _, status = os.waitpid(pid, os.WUNTRACED)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _import_everything() -> None:
    import kist

    for module in pkgutil.walk_packages(kist.__path__, "kist."):
        try:
            importlib.import_module(module.name)
        except ImportError:
            continue  # needs an extra that is not installed
    for name in ("sqlite3", "hashlib", "configobj", "ruamel.yaml", "subprocess", "selectors"):
        importlib.import_module(name)


def _become(request: dict[str, object]) -> None:
    """Turns the forked child into the requested command, runs it and ends the process.

    The interpreter is not taken down: that would touch, and so copy, every page that the server has filled. A test
    compares the calls of each command with those of a cold start, which is taken down.
    """
    os.setsid()
    for target, name in ((1, "out"), (2, "err")):
        opened = os.open(str(request[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    os.chdir(str(request["cwd"]))
    environ, arguments = request["environ"], request["arguments"]
    assert isinstance(environ, dict) and isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["kist", *arguments]
    ctypes.CDLL(None).kist_shim_start()
    exec(os.environ.pop("KIST_SHIM_PLANT", ""), {})
    from kist.cli.main import entry

    try:
        entry()
    except SystemExit as end:
        assert isinstance(end.code, int)
        os._exit(end.code)


if __name__ == "__main__":
    serve()

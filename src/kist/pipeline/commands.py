"""Commands of stages that run, one at a time or several at once, and what they print.

Not here: which ones run together (schedule). Implements docs/spec/repro.md, sections 3 and 6.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from kist.errors import InputError
from kist.pipeline.command import NO_USAGE, CannotStartError, Command, Usage, is_foreground, undisturbed

GRACE_S = 10.0
"""So long may commands that run apart take to end after a signal."""
_POLL_S = 0.02
_BLOCK = 1 << 16
_PIPE_BYTES = 1 << 20
"""So much may a command print while this program is at work elsewhere."""
_LINE_BYTES = 1 << 20
"""A longer line is told in parts."""

Say = Callable[[str, str, bool], None]
"""Told of a stage, a line that it printed, and whether that came from its standard error."""
Starting = Callable[[str, str], None]
"""Told of a stage and a command line of it, right before it starts."""


class Ended(NamedTuple):
    """A stage whose commands have ended.

    Attributes:
        error: why not well.
    """

    stage: str
    error: InputError | None
    usage: Usage


class Work(NamedTuple):
    """The commands of one stage, one after the other.

    Attributes:
        lines: those that are still to be started.
        shell: of `shell_words`. folder: where they run, absolute.
        output: the descriptor for what they print, where they are not told apart; None: this program's own.
    """

    stage: str
    lines: Iterator[str]
    shell: list[str]
    folder: str
    environ: Mapping[str, str]
    output: int | None = None


class _Running:
    """A stage with the command that runs now."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.command: Command | None = None
        self.watch = -1
        self.usage = NO_USAGE


class Commands:
    """Runs the commands of stages. `close` it when no more is to come."""

    def __init__(self, starting: Starting, say: Say | None) -> None:
        """Args: say: what commands print goes there, each is in a group of its own, and none has an input. None: one
        stage at a time, with this program's own input and output."""
        self._starting = starting
        self._say = say
        self._running: dict[str, _Running] = {}
        self._pipes: dict[int, _Pipe] = {}
        self._selector = selectors.DefaultSelector()
        self._ended: list[Ended] = []

    def start(self, work: Work) -> None:
        """Starts the first command of a stage; the others follow by themselves while this is waited for.

        An interrupt may come at any moment: then call `stop`.

        Raises: CannotStartError.
        """
        running = self._running[work.stage] = _Running(work)
        try:
            if self._next(running):
                return
        except InputError:
            del self._running[work.stage]
            raise
        del self._running[work.stage]
        self._ended.append(Ended(work.stage, None, NO_USAGE))

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Returns the stages whose commands have ended, as soon as there is one; none when the time is over.

        A signal that interrupts this goes to the commands, which are waited for.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while not self._ended and self._running:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._look(left)
                self._advance()
        except KeyboardInterrupt as interrupt:
            self.interrupt(interrupt)
            raise
        ended, self._ended = self._ended, []
        return ended

    def interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Ends what runs by the signal that interrupted this program."""
        self.stop(getattr(interrupt, "number", signal.SIGINT))

    def stop(self, number: int) -> None:
        """Sends a signal to all that runs, and waits until it has ended; what runs apart is killed after a while."""
        if self._say is None:
            for command in self._living():
                if number != signal.SIGINT or not is_foreground():  # a terminal has told both
                    command.signal(number)
                command.wait()
        else:
            self._stop_apart(number)
        self._running.clear()

    def close(self) -> None:
        """Gives back what was needed to wait; nothing runs any more."""
        for descriptor in list(self._pipes):
            self._close_pipe(descriptor)
        self._selector.close()

    def _stop_apart(self, number: int) -> None:
        waiting = self._living()
        for sent, within_s in ((number, GRACE_S), (signal.SIGKILL, None)):
            for command in waiting:
                command.signal(sent)
            deadline = None if within_s is None else time.monotonic() + within_s
            while waiting and (deadline is None or time.monotonic() < deadline):
                self._look(_POLL_S)  # what they print at last
                waiting = [command for command in waiting if command.poll() is None]
            if not waiting:
                return

    def _living(self) -> list[Command]:
        return [running.command for running in self._running.values() if running.command is not None]

    def _next(self, running: _Running) -> bool:
        """Starts a stage's next command; returns False where there is none."""
        line = next(running.work.lines, None)
        if line is None:
            return False
        self._starting(running.work.stage, line)
        with undisturbed():
            self._start(running, line)
        return True

    def _start(self, running: _Running, line: str) -> None:
        work = running.work
        pipes = [os.pipe(), os.pipe()] if self._say is not None else []
        try:
            ends: list[int | None] = [writer for _, writer in pipes] or [work.output, None]
            running.command = Command(
                line,
                shell=work.shell,
                folder=work.folder,
                environ=work.environ,
                output=ends[0],
                errors=ends[1],
                is_apart=self._say is not None,
            )
        except BaseException:
            for reader, _ in pipes:
                os.close(reader)
            raise
        finally:
            for _, writer in pipes:
                os.close(writer)
        for number, (reader, _) in enumerate(pipes):
            self._open_pipe(reader, work.stage, is_error=bool(number))
        running.watch = _watch(running.command.pid)
        if running.watch >= 0:
            self._selector.register(running.watch, selectors.EVENT_READ)

    def _look(self, timeout_s: float | None) -> None:
        """Waits until something happens, and takes what was printed."""
        if any(running.watch < 0 for running in self._running.values()):
            timeout_s = _POLL_S if timeout_s is None else min(timeout_s, _POLL_S)
            if not self._selector.get_map():
                time.sleep(timeout_s)
                return
        for key, _ in self._selector.select(timeout_s):
            if key.fd in self._pipes and not self._take(key.fd):
                self._close_pipe(key.fd)

    def _advance(self) -> None:
        """Goes on with the stages whose command has ended."""
        for stage, running in list(self._running.items()):
            command = running.command
            assert command is not None
            if command.poll() is None:
                continue
            self._drain(stage)
            if running.watch >= 0:
                self._selector.unregister(running.watch)
                os.close(running.watch)
                running.watch = -1
            running.usage += command.usage
            error: InputError | None = command.error()
            try:
                if error is None and self._next(running):
                    continue
            except CannotStartError as problem:
                error = problem
            del self._running[stage]
            self._ended.append(Ended(stage, error, running.usage))

    # --- what they print ---------------------------------------------------------------------

    def _open_pipe(self, reader: int, stage: str, *, is_error: bool) -> None:
        os.set_blocking(reader, False)
        _enlarge(reader)
        self._pipes[reader] = _Pipe(stage, is_error)
        self._selector.register(reader, selectors.EVENT_READ)

    def _take(self, reader: int) -> bool:
        """Tells what is in a pipe; returns False at its end."""
        assert self._say is not None
        pipe = self._pipes[reader]
        try:
            block = os.read(reader, _BLOCK)
        except BlockingIOError:
            return True
        for line in pipe.lines(block):
            self._say(pipe.stage, line, pipe.is_error)
        return bool(block)

    def _drain(self, stage: str) -> None:
        """Tells all that a command printed that has ended; whatever it left running prints into nothing."""
        for reader, pipe in list(self._pipes.items()):
            if pipe.stage != stage:
                continue
            while True:
                before = pipe.taken
                if not self._take(reader) or pipe.taken == before:
                    break
            self._close_pipe(reader)

    def _close_pipe(self, reader: int) -> None:
        pipe = self._pipes.pop(reader)
        if reader in self._selector.get_map():
            self._selector.unregister(reader)
        os.close(reader)
        rest = pipe.rest()
        if rest and self._say is not None:
            self._say(pipe.stage, rest, pipe.is_error)


class _Pipe:
    """What came out of one pipe so far."""

    def __init__(self, stage: str, is_error: bool) -> None:
        self.stage = stage
        self.is_error = is_error
        self.taken = 0
        self._begun = b""

    def lines(self, block: bytes) -> Iterator[str]:
        """Yields the lines that are whole now. A carriage return ends one too, for progress is drawn by it."""
        self.taken += len(block)
        data = self._begun + block
        half = b"\r" if data.endswith(b"\r") else b""  # perhaps of a line's end
        data = data[: len(data) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, begun = data.split(b"\n")
        self._begun = begun + half
        if len(self._begun) > _LINE_BYTES:
            whole, self._begun = [*whole, self._begun], b""
        for line in whole:
            yield line.decode("utf-8", "surrogateescape")

    def rest(self) -> str:
        """Returns a last line that has no end."""
        return self._begun.rstrip(b"\r").decode("utf-8", "surrogateescape")


def _watch(pid: int) -> int:
    """Returns a descriptor that can be read when a process ends; -1 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _enlarge(reader: int) -> None:
    import fcntl  # absent on some systems

    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):
        pass  # it has its usual size then

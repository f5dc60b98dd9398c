"""Reproduces stages, several at once where they do not touch each other.

All but the commands is done by this one process, one thing after the other. Not here: which stages, and whether
they run (repro, repro_plan), who waits for whom (pipeline.schedule). Implements docs/spec/repro.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from kist.errors import KistError
from kist.pipeline.commands import Commands
from kist.pipeline.schedule import Schedule, Use
from kist.repo.repro_events import ERROR_OUTPUT, OUTPUT, Event, Tell
from kist.repo.stage_run import Running, StageRunner
from kist.repo.targets import dependencies

if TYPE_CHECKING:
    from kist.pipeline.changes import StageChanges
    from kist.repo.collect import Stage

Start = Callable[["Stage", "StageChanges | None"], None]
"""Begins to run a stage; the changes are as for `StageRunner.run`."""


class Reproduction(Protocol):
    """What is decided of stages, one at a time."""

    def is_left_out(self, stage: Stage) -> bool:
        """Says whether a stage is not to be looked at: one that it depends on failed."""

    def look(self, stage: Stage, start: Start) -> bool:
        """Starts a stage if it has to run; returns whether anything was done or begun."""

    def note(self, stage: Stage, *, is_done: bool) -> None:
        """Notes that a stage is over."""

    def fail(self, stage: Stage, error: KistError | OSError) -> KistError | None:
        """Tells of a failure; returns what is to be raised, if no other stage is to begin."""


def uses(stage: Stage) -> Use:
    """Returns the paths that a stage reads and writes. Unlike for the order of one at a time, parameter files count."""
    params = [stage.resolved.rooted(file) for file in stage.resolved.params] if stage.resolved else []
    return Use([*dependencies(stage), *params], [out.path for out in stage.outs])


class AtOnce:
    """One `repro -j`. The caller holds the repository's lock."""

    def __init__(
        self,
        stages: Sequence[Stage],
        schedule: Schedule,
        jobs: int,
        runner: Callable[[], StageRunner],
        work: Reproduction,
        tell: Tell,
    ) -> None:
        """Args:
        stages: in the order of one at a time.
        jobs: so many commands may run at once.
        runner: makes what runs stages, when the first one is to run.
        """
        self._stages = stages
        self._schedule = schedule
        self._jobs = jobs
        self._runner = runner
        self._work = work
        self._tell = tell
        self._open: list[_Begun] = []
        """Stages that have more to start."""
        self._running: dict[str, _Begun] = {}
        """What runs, by the label of the work."""
        self._commands: Commands | None = None
        self._error: KistError | None = None

    def go(self) -> None:
        """Goes through the stages. After a failure that stops it, what runs is still waited for and recorded.

        Raises: KistError, OSError.
        """
        try:
            self._begin_more()
            while self._running:
                assert self._commands is not None
                for ended in self._runner().wait(self._commands):
                    begun = self._running.pop(ended.stage)
                    begun.running.took(ended)
                    self._conclude(begun)
                self._begin_more()
        except KeyboardInterrupt as interrupt:
            if self._commands is not None:
                self._commands.interrupt(interrupt)
            raise
        except (KistError, OSError):
            self._stop()
            raise
        finally:
            if self._commands is not None:
                self._commands.close()
            for begun in dict.fromkeys([*self._open, *self._running.values()]):
                self._runner().leave(begun.running)
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        """Ends what runs: its results could not be recorded."""
        import signal

        if self._commands is not None:
            self._commands.stop(signal.SIGTERM)

    def _begin_more(self) -> None:
        """Starts what may run: more of the stages that have begun first, then other stages."""
        while len(self._running) < self._jobs and (self._start_one() or self._begin_stage()):
            pass

    def _start_one(self) -> bool:
        """Starts a work of a stage that has begun; returns False where none may start."""
        for begun in list(self._open):
            running = begun.running
            if running.is_alone and running.in_flight:
                continue
            work = next(running.works, None) if running.error is None else None
            begun.is_cut = work is not None and self._error is not None
            if work is None or begun.is_cut:
                self._open.remove(begun)
                self._conclude(begun)
                continue
            if self._commands is None:
                self._commands = self._runner().open_commands(self._say)
            try:
                self._commands.start(work)
            except KistError as error:
                running.error = error
                continue
            running.in_flight += 1
            self._running[work.stage] = begun
            return True
        return False

    def _begin_stage(self) -> bool:
        """Looks at the next stage that may run; returns False where there is none."""
        at = self._schedule.next() if self._error is None else None
        if at is None:
            return False
        stage = self._stages[at]
        if self._work.is_left_out(stage):
            self._schedule.over(at)
            return True
        begun: list[_Begun] = []

        def start(stage: Stage, differences: StageChanges | None) -> None:
            running = self._runner().begin(stage, differences)
            if running is not None:
                begun.append(_Begun(at, running))

        try:
            is_done = self._work.look(stage, start)
        except (KistError, OSError) as error:
            self._fail(at, stage, error)
            return True
        self._open += begun
        if not begun:
            self._work.note(stage, is_done=is_done)
            self._schedule.over(at)
        return True

    def _conclude(self, begun: _Begun) -> None:
        """Records a stage of which nothing runs any more, and nothing is to be started."""
        running = begun.running
        if running.in_flight or begun in self._open:
            return
        stage = running.stage
        try:
            try:
                if begun.is_cut and running.each is not None:
                    running.each.keep()
                elif not begun.is_cut:
                    self._runner().finish(running)
            finally:
                self._runner().leave(running)
        except (KistError, OSError) as error:
            self._fail(begun.at, stage, error)
            return
        if not begun.is_cut:
            self._work.note(stage, is_done=True)
        self._schedule.over(begun.at)

    def _fail(self, at: int, stage: Stage, error: KistError | OSError) -> None:
        stopping = self._work.fail(stage, error)
        self._error = self._error or stopping
        self._schedule.over(at)

    def _say(self, stage: str, line: str, is_error: bool) -> None:
        self._tell(Event(ERROR_OUTPUT if is_error else OUTPUT, stage, line))


class _Begun:
    """A stage that runs.

    Attributes:
        at: its place.
        is_cut: it was not brought to its end, for another one failed.
    """

    def __init__(self, at: int, running: Running) -> None:
        self.at = at
        self.running = running
        self.is_cut = False

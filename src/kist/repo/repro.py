"""`repro`: runs the stages whose inputs, commands or outputs changed, each after those that it depends on.

Not here: which stages are meant (repro_plan), running one (stage_run). Implements docs/spec/repro.md.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, InputError, KistError
from kist.pipeline.changes import DELETED, NOT_IN_CACHE, StageChanges
from kist.repo import placed
from kist.repo.collect import Stage, lock_path
from kist.repo.metafiles import Changes
from kist.repo.repro_events import (
    FAILED,
    FAILURE_IGNORED,
    FROZEN,
    GAP,
    LEFT_OUT,
    PULLING,
    UNCHANGED,
    VERIFYING,
    VERIFYING_FROZEN,
    Event,
    Tell,
)
from kist.repo.repro_plan import Plan, Scope, plan
from kist.repo.sight import Sight
from kist.repo.status import stage_differences, stage_status
from kist.repo.targets import shown_stage

if TYPE_CHECKING:
    from kist.base.locks import FileLock
    from kist.formats.records import Digest
    from kist.repo.repository import Repository
    from kist.repo.stage_run import StageRunner

    Start = Callable[[Stage, StageChanges | None], None]

STOP = "stop"
KEEP_GOING = "keep going"
IGNORE = "ignore"


class ReproError(InputError):
    """Some stages could not be reproduced; what was finished is recorded. The message names the cause."""

    code = "repro-failed"
    exit_code = 255


class DeclinedError(InputError):
    """The person did not want a stage to run (`--interactive`)."""

    code = "repro-declined"
    exit_code = 255


class ReproOptions(NamedTuple):
    """What `repro` was asked for besides its targets.

    Attributes:
        force: run stages that did not change too.
        force_downstream: run all that depends on a stage that ran.
        on_error: STOP, KEEP_GOING or IGNORE.
        dry: only tell.
        confirm: asked before each stage, when given.
        output: the descriptor for what commands print; None: this program's own. With `jobs` it is told as events.
        jobs: so many stages may run at once.
        capacity: how much there is of what stages need, in place of what Git's configuration says.
    """

    scope: Scope = Scope()
    force: bool = False
    force_downstream: bool = False
    allow_missing: bool = False
    pull: bool = False
    to_cache: bool = True
    use_runs: bool = True
    on_error: str = STOP
    dry: bool = False
    confirm: Callable[[str], bool] | None = None
    output: int | None = None
    jobs: int = 1
    capacity: Mapping[str, int] | None = None


class ReproResult(NamedTuple):
    """What `repro` did; stages as the person types them.

    Attributes:
        ran: those that were run, restored or recorded anew.
        unchanged: those that were skipped.
        failed: those that failed, with `on_error` other than STOP.
        to_stage: files that the person still has to `git add`.
        error: what is to be raised in the end.
    """

    ran: list[str]
    unchanged: list[str]
    failed: list[str]
    to_stage: list[str]
    error: ReproError | None = None


def repro(repository: Repository, targets: Sequence[str], options: ReproOptions, tell: Tell) -> ReproResult:
    """Reproduces stages.

    Args: tell: told of each step as it comes.

    Raises:
        ReproError: a stage failed, with `on_error` STOP.
        TargetMissingError, GraphError, FormatError, OSError.

    Holds: docs/spec/repro.md, invariants.
    """
    lock = repository.lock()
    with nullcontext() if options.dry else lock:
        if not options.dry:
            repository.sweep_now()
        chosen = plan(repository, targets, options.scope)
        if options.pull and options.use_runs and not options.dry:
            from kist.repo.repro_pull import pull_runs  # few ask for it

            pull_runs(repository)
        changes = Changes(repository)
        work = _Repro(repository, chosen, options, lock, changes, tell)
        try:
            if options.jobs > 1 and not options.dry:
                work.go_at_once()
            else:
                work.go()
        finally:
            work.close()
            if work.ran and not options.dry:
                placed.note(repository.index, work.made)
        to_stage = changes.to_stage() if work.error is not None else changes.finish()
        return ReproResult(work.ran, work.unchanged, work.failed, to_stage, work.error)


class _Repro:
    """One run over the planned stages."""

    def __init__(
        self,
        repository: Repository,
        chosen: Plan,
        options: ReproOptions,
        lock: FileLock,
        changes: Changes,
        tell: Tell,
    ) -> None:
        self._repository = repository
        self._plan = chosen
        self._options = options
        self._lock = lock
        self._changes = changes
        self._tell = tell
        self._forced: set[str] = set()
        self._left_out: set[str] = set()
        self._would_run: set[str] = set()
        self._sight = Sight(repository)
        self._opened: StageRunner | None = None
        self._is_complete = False
        self.made: dict[str, Digest | None] = {}
        self.ran: list[str] = []
        self.unchanged: list[str] = []
        self.failed: list[str] = []
        self.error: ReproError | None = None

    @property
    def _runner(self) -> StageRunner:
        if self._opened is None:
            from kist.repo.stage_run import RunOptions, StageRunner  # often there is nothing to run

            asked = self._options
            options = RunOptions(asked.to_cache, asked.use_runs, asked.pull, asked.output)
            self._opened = StageRunner(
                self._repository, self._lock, self._changes, self._tell, options, self._sight, self.made
            )
            orders: dict[str, list[str]] = {}
            for stage in self._plan.stages:
                if stage.name is not None:
                    orders.setdefault(lock_path(stage), []).append(stage.name)
            self._opened.journal.begin(orders, is_mixed=asked.jobs > 1)
        return self._opened

    def close(self) -> None:
        """Writes what finished stages are recorded by."""
        if self._opened is not None:
            self._opened.close(is_complete=self._is_complete)

    def go(self) -> None:
        """Goes through the stages, one at a time."""
        if not self._options.pull:
            self._sight.prime(self._plan.stages)
        is_gap = False
        for stage in self._plan.stages:
            if self.is_left_out(stage):
                continue
            if is_gap:
                self._tell(Event(GAP, ""))
            try:
                is_gap = self.look(stage, self._run)
            except (KistError, OSError) as error:
                stopping = self.fail(stage, error)
                if stopping is not None:
                    raise stopping from error
                continue
            self.note(stage, is_done=is_gap)
        self._conclude()

    def go_at_once(self) -> None:
        """Goes through the stages, several at once."""
        from kist.pipeline.schedule import Schedule, waits  # only with `-j`
        from kist.repo.repro_parallel import AtOnce, uses
        from kist.repo.stage_needs import asked_of, capacities

        stages = self._plan.stages
        needs = [asked_of(stage.resolved).needs for stage in stages]
        capacity = capacities(self._repository, self._options.capacity or {}) if any(needs) else {}
        schedule = Schedule(waits([uses(stage) for stage in stages]), needs, capacity, self._options.jobs)
        if not self._options.pull:
            self._sight.prime(stages)
        try:
            AtOnce(stages, schedule, self._options.jobs, lambda: self._runner, self, self._tell).go()
        finally:
            place = {shown_stage(self._repository, stage): at for at, stage in enumerate(stages)}
            for listed in (self.ran, self.unchanged, self.failed):
                listed.sort(key=place.__getitem__)
        self._conclude()

    def _conclude(self) -> None:
        self._is_complete = not self.failed
        if self.failed and self._options.on_error == KEEP_GOING:
            listed = ", ".join(f"'{name}'" for name in self.failed)
            self.error = ReproError(f"cannot reproduce {listed}")

    def is_left_out(self, stage: Stage) -> bool:
        """Says whether a stage is not to be looked at: one that it depends on failed."""
        return stage.address in self._left_out

    def look(self, stage: Stage, start: Start) -> bool:
        """Starts a stage if it has to run; returns whether anything was done or begun."""
        force = self._options.force or stage.address in self._forced
        is_done = self._reproduce(stage, shown_stage(self._repository, stage), start, force=force)
        if self._options.force_downstream and (is_done or force):
            self._forced |= self._plan.graph.descendants([stage.address])
        return is_done

    def note(self, stage: Stage, *, is_done: bool) -> None:
        """Notes that a stage is over."""
        (self.ran if is_done else self.unchanged).append(shown_stage(self._repository, stage))
        for out in stage.outs:
            self.made.setdefault(out.path, out.output.digest)

    def fail(self, stage: Stage, error: KistError | OSError) -> KistError | None:
        """Tells of a failure; returns what is to be raised, if no other stage is to begin."""
        shown = shown_stage(self._repository, stage)
        if self._options.on_error == STOP or _is_hopeless(error):
            stopping = _wrapped(shown, error)
            stopping.__cause__ = error
            return stopping
        self._handle(stage, shown, error)
        return None

    def _run(self, stage: Stage, differences: StageChanges | None) -> None:
        self._runner.run(stage, differences)

    def _handle(self, stage: Stage, shown: str, error: KistError | OSError) -> None:
        """Tells of a failure, and leaves out what depends on it."""
        self._sight.forget()
        if self._options.on_error == IGNORE:
            self._tell(Event(FAILURE_IGNORED, shown, cause_of(error)))
            return
        self.failed.append(shown)
        self._tell(Event(FAILED, shown, cause_of(error)))
        below = self._plan.graph.descendants([stage.address]) - {stage.address} - self._left_out
        for other in self._plan.stages:
            if other.address in below:
                self._tell(Event(LEFT_OUT, shown_stage(self._repository, other), shown))
        self._left_out |= below

    def _reproduce(self, stage: Stage, shown: str, start: Start, *, force: bool) -> bool:
        """Returns whether anything was done."""
        options = self._options
        is_frozen = stage.resolved is not None and stage.resolved.frozen
        if is_frozen:
            self._tell(Event(FROZEN, shown))
        if stage.resolved is None:
            return self._verify(stage, shown, force=force)
        differences = stage_differences(self._repository, stage, self._sight)
        is_below = self._is_below(stage)
        if not (force or is_below):
            judged = self._without_missing(stage, differences)
            if not (judged if options.allow_missing else differences):
                self._tell(Event(UNCHANGED, shown))
                return False
            if options.pull and not judged and not options.dry and self._pull(stage, shown):
                return False
        self._ask(shown)
        if is_frozen:
            self._tell(Event(VERIFYING_FROZEN, shown))
            if not options.dry:
                self._runner.take(stage)
        elif options.dry:
            if not (is_below or force or options.pull):
                self._runner.need_inputs(stage)
            self._would_run.add(stage.address)
            self._runner.show(stage)
        else:
            if options.pull and not force:
                self._pull_dependencies(stage)
            start(stage, None if force else differences)
        return True

    def _is_below(self, stage: Stage) -> bool:
        """Says whether a stage reads what another one would write, which is only shown."""
        return any(maker in self._would_run for maker in self._plan.graph.makers[stage.address])

    def _verify(self, stage: Stage, shown: str, *, force: bool) -> bool:
        """Records the present data of a `.dvc` file, where it differs."""
        assert stage.metafile is not None
        options, sight = self._options, self._sight
        if not force:
            status = stage_status(self._repository, stage, sight)
            is_missing = bool(status) and all(
                isinstance(item, dict)
                and set(item) == {"changed outs"}
                and set(item["changed outs"].values()) <= {DELETED, NOT_IN_CACHE}
                for item in status
            )
            if not status or (is_missing and options.allow_missing):
                self._tell(Event(UNCHANGED, shown))
                return False
            if is_missing and options.pull and not options.dry and self._pull(stage, shown):
                return False
        self._ask(shown)
        self._tell(Event(VERIFYING, shown))
        if not options.dry:
            from kist.repo.commit import commit_metafile  # often no data changed

            commit_metafile(self._repository, stage, stage.metafile, self._changes, to_cache=options.to_cache)
            self._changes.note(stage.file)
            sight.forget()
        return True

    def _ask(self, shown: str) -> None:
        confirm = self._options.confirm
        if confirm is not None and not confirm(f"'{shown}' is to be reproduced. Go on?"):
            raise DeclinedError("nobody confirmed")

    def _without_missing(self, stage: Stage, differences: StageChanges) -> StageChanges:
        """Returns what differs but for data that is merely not here."""
        assert stage.resolved is not None
        recorded = {dep.path: dep.digest for dep in (stage.locked.deps if stage.locked is not None else ())}
        known = {stage.resolved.rooted(path): digest for path, digest in recorded.items()}
        made = self.made
        deps = {
            path: word
            for path, word in differences.deps.items()
            if word != DELETED
            or path not in known
            or (path in made and made[path] is not None and made[path] != known[path])
        }
        outs = {path: word for path, word in differences.outs.items() if word not in (DELETED, NOT_IN_CACHE)}
        lacks_record = any(out.output.digest is None for out in stage.outs)
        return differences._replace(deps=deps, outs=differences.outs if lacks_record else outs)

    def _pull(self, stage: Stage, shown: str) -> bool:
        """Fetches and checks out a stage's outputs; returns whether all of them are there then."""
        from kist.repo.repro_pull import pull_stage

        self._tell(Event(PULLING, shown))
        is_there = pull_stage(self._repository, shown)
        self._sight.forget()
        return is_there

    def _pull_dependencies(self, stage: Stage) -> None:
        from kist.repo.repro_pull import pull_dependencies

        if pull_dependencies(self._repository, stage, self._plan.everything):
            self._sight.forget()


def _is_hopeless(error: KistError | OSError) -> bool:
    """Says whether going on with other stages makes no sense."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
    return isinstance(error, (DeclinedError, FormatError))


def cause_of(error: KistError | OSError) -> str:
    """Returns what went wrong, as it stands behind what could not be done."""
    if isinstance(error, KistError):
        return error.message
    where = f"'{error.filename}': " if error.filename is not None else ""
    return f"{where}{(error.strerror or 'input/output error').lower()}"


def _wrapped(shown: str, error: KistError | OSError) -> ReproError:
    hint = error.hint if isinstance(error, KistError) else None
    return ReproError(f"cannot reproduce '{shown}': {cause_of(error)}", hint=hint)

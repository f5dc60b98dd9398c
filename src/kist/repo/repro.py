"""`repro`: runs the stages whose inputs, commands or outputs changed, each after those that it depends on.

Not here: which stages are meant (repro_plan), running one (stage_run). Implements docs/spec/repro.md.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, InputError, KistError
from kist.pipeline.changes import DELETED, NOT_IN_CACHE, StageChanges
from kist.repo import placed
from kist.repo.checkout import CheckoutOptions
from kist.repo.collect import Stage
from kist.repo.commit import commit_metafile
from kist.repo.metafiles import Changes
from kist.repo.pull import pull_locked
from kist.repo.repro_plan import Plan, Scope, plan
from kist.repo.runcache import copy_runs
from kist.repo.stage_run import Event, RunOptions, StageRunner, Tell
from kist.repo.status import stage_differences, stage_status
from kist.repo.targets import shown_stage
from kist.repo.transfers import can_list, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

GAP = "gap"
UNCHANGED = "unchanged"
FROZEN = "frozen"
VERIFYING = "verifying"
VERIFYING_FROZEN = "verifying frozen"
PULLING = "pulling"
FAILED = "failed"
FAILURE_IGNORED = "failure ignored"
LEFT_OUT = "left out"

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
            _pull_runs(repository)
        changes = Changes(repository)
        running = RunOptions(options.to_cache, options.use_runs, options.pull, options.output)
        runner = StageRunner(repository, lock, changes, tell, running)
        work = _Repro(repository, chosen, options, runner, changes, tell)
        try:
            work.go()
        finally:
            if not options.dry:
                placed.note(repository.index, runner.made)
        to_stage = changes.to_stage() if work.error is not None else changes.finish()
        return ReproResult(work.ran, work.unchanged, work.failed, to_stage, work.error)


def _pull_runs(repository: Repository) -> None:
    """Fetches the history of runs, where the remote can tell what it has."""
    remote, _ = open_remote(repository, None)
    is_listed = can_list(remote)
    remote.close()
    if is_listed:
        copy_runs(repository, None, is_push=False)
    else:
        repository.notes.append(
            f"remote '{remote.name}' cannot be listed: the history of runs was not fetched"
        )


class _Repro:
    """One run over the planned stages."""

    def __init__(
        self,
        repository: Repository,
        chosen: Plan,
        options: ReproOptions,
        runner: StageRunner,
        changes: Changes,
        tell: Tell,
    ) -> None:
        self._repository = repository
        self._plan = chosen
        self._options = options
        self._runner = runner
        self._changes = changes
        self._tell = tell
        self._forced: set[str] = set()
        self._left_out: set[str] = set()
        self._would_run: set[str] = set()
        self.ran: list[str] = []
        self.unchanged: list[str] = []
        self.failed: list[str] = []
        self.error: ReproError | None = None

    def go(self) -> None:
        """Goes through the stages."""
        if not self._options.pull:
            self._runner.sight.prime(self._plan.stages)
        is_gap = False
        for stage in self._plan.stages:
            if stage.address in self._left_out:
                continue
            if is_gap:
                self._tell(Event(GAP, ""))
            force = self._options.force or stage.address in self._forced
            shown = shown_stage(self._repository, stage)
            try:
                is_gap = self._reproduce(stage, shown, force=force)
            except (KistError, OSError) as error:
                if self._options.on_error == STOP or _is_hopeless(error):
                    raise _wrapped(shown, error) from error
                self._handle(stage, shown, error)
                continue
            (self.ran if is_gap else self.unchanged).append(shown)
            self._note_made(stage)
            if self._options.force_downstream and (is_gap or force):
                self._forced |= self._plan.graph.descendants([stage.address])
        if self.failed and self._options.on_error == KEEP_GOING:
            listed = ", ".join(f"'{name}'" for name in self.failed)
            self.error = ReproError(f"cannot reproduce {listed}")

    def _note_made(self, stage: Stage) -> None:
        for out in stage.outs:
            self._runner.made.setdefault(out.path, out.output.digest)

    def _handle(self, stage: Stage, shown: str, error: KistError | OSError) -> None:
        """Tells of a failure, and leaves out what depends on it."""
        self._runner.sight.forget()
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

    def _reproduce(self, stage: Stage, shown: str, *, force: bool) -> bool:
        """Returns whether anything was done."""
        options = self._options
        is_frozen = stage.resolved is not None and stage.resolved.frozen
        if is_frozen:
            self._tell(Event(FROZEN, shown))
        if stage.resolved is None:
            return self._verify(stage, shown, force=force)
        differences = stage_differences(self._repository, stage, self._runner.sight)
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
            self._runner.run(stage, None if force else differences)
        return True

    def _is_below(self, stage: Stage) -> bool:
        """Says whether a stage reads what another one would write, which is only shown."""
        return any(maker in self._would_run for maker in self._plan.graph.makers[stage.address])

    def _verify(self, stage: Stage, shown: str, *, force: bool) -> bool:
        """Records the present data of a `.dvc` file, where it differs."""
        assert stage.metafile is not None
        options, sight = self._options, self._runner.sight
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
        made = self._runner.made
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
        self._tell(Event(PULLING, shown))
        result = pull_locked(self._repository, [shown], options=CheckoutOptions(force=True))
        self._runner.sight.forget()
        return not result.transfer.failed and result.checkout.error(self._repository) is None

    def _pull_dependencies(self, stage: Stage) -> None:
        """Fetches the dependencies that are missing and that another stage or metafile has."""
        repository = self._repository
        outs = [out.path for other in self._plan.everything for out in other.outs]
        missing = [
            path
            for path in self._plan.graph.nodes[stage.address].deps
            if not os.path.lexists(repository.abspath(path))
            and any(path == out or path.startswith(out + "/") for out in outs)
        ]
        if missing:
            targets = [repository.shown(path) for path in missing]
            pull_locked(repository, targets, options=CheckoutOptions(force=True))
            self._runner.sight.forget()


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

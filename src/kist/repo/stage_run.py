"""Runs one stage, or finds what it made before; stores its outputs and records its entry of the lock.

Not here: whether it has to run (repro), the commands (pipeline.commands), several at once (repro_parallel).
Implements docs/spec/repro.md, sections 2.3 to 2.6 and 4.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from kist.base.locks import FileLock
from kist.base.pathlocks import PathLocks
from kist.errors import InputError, KistError, MissingError
from kist.formats.metafile import with_checksum
from kist.formats.records import Digest, LockedStage, Output
from kist.formats.runrecord import RunIdError
from kist.pipeline.changes import StageChanges
from kist.pipeline.command import NO_USAGE, Usage, command_environment, command_lines, shell_words
from kist.pipeline.commands import Commands, Ended, Say, Work
from kist.pipeline.orphans import VARIABLE, Mark, end_orphans
from kist.pipeline.runcache import is_remembered
from kist.repo.checkout import CheckoutOptions, checkout_items
from kist.repo.collect import Out, Stage, lock_path
from kist.repo.data import digest_of
from kist.repo.ignoring import add_lines
from kist.repo.metafiles import Changes
from kist.repo.repro_events import (
    CACHED,
    CHANGED_MEANWHILE,
    COMMAND,
    ITEMS,
    LOCK,
    NEW_LOCK,
    RUNNING,
    Event,
    Tell,
)
from kist.repo.runcache import run_cache
from kist.repo.sight import Sight
from kist.repo.stage_entry import can_be_remembered, inputs_of, remember, stored_outputs
from kist.repo.stage_journal import StageJournal
from kist.repo.stage_needs import asked_of
from kist.repo.stage_times import StageTime, keep_times
from kist.repo.targets import Selected, dependencies, shown_stage
from kist.repo.transfers import transfer
from kist.repo.unprotect import units_of, unprotect_paths
from kist.transfer.plan import Need, lacks

if TYPE_CHECKING:
    from kist.repo.each import EachRun, Item
    from kist.repo.repository import Repository


class OutputMissingError(InputError):
    """A stage's commands ended well, and one of its outputs is not there."""

    code = "output-missing"
    exit_code = 255


class DependencyMissingError(MissingError):
    """What a stage reads is not there, and no stage made it."""

    code = "dependency-missing"
    exit_code = 255


class RunOptions(NamedTuple):
    """How stages are run.

    Attributes:
        to_cache: False with `--no-commit`.
        use_runs: False with `--no-run-cache`.
        pull: fetch what is missing.
        output: the descriptor for what commands print; None: this program's own.
    """

    to_cache: bool = True
    use_runs: bool = True
    pull: bool = False
    output: int | None = None


_SMALL_BYTES = 1 << 20
"""Reading so much again costs less than waiting until the clock tells changes apart."""


class Running:
    """A stage whose commands are to run, or do.

    Attributes:
        works: its commands; more than one only of a stage that runs item by item.
        before: what the stage reads, as it was before them.
        each: what becomes of the items.
        in_flight: how many of its works run.
        usage: what those that have ended took.
        error: of the first work that failed.
        is_alone: its works run one at a time.
    """

    def __init__(
        self,
        stage: Stage,
        works: Iterator[Work],
        before: dict[str, Digest | None],
        each: EachRun | None,
        *,
        is_alone: bool,
    ) -> None:
        self.stage = stage
        self.works = works
        self.before = before
        self.each = each
        self.in_flight = 0
        self.usage = NO_USAGE
        self.error: KistError | OSError | None = None
        self.is_alone = is_alone

    def took(self, ended: Ended) -> None:
        """Notes that a work has ended."""
        self.in_flight -= 1
        self.usage += ended.usage
        problem: KistError | OSError | None = ended.error
        if problem is None and self.each is not None:
            try:
                self.each.take(ended.stage)
            except (KistError, OSError) as error:
                problem = error
        self.error = self.error or problem


class StageRunner:
    """Runs stages of one repository. The caller holds `lock` whenever it calls, and calls `close` in the end.

    Attributes:
        sight: what the workspace looks like.
        made: path -> what stages that were looked at recorded there.
        journal: what finished stages are recorded by.
    """

    def __init__(
        self,
        repository: Repository,
        lock: FileLock,
        changes: Changes,
        tell: Tell,
        options: RunOptions,
        sight: Sight,
        made: dict[str, Digest | None],
    ) -> None:
        self._repository = repository
        self._lock = lock
        self._changes = changes
        self._tell = tell
        self._options = options
        self._paths = PathLocks(os.path.join(repository.dvc_dir, "tmp"), command="kist repro")
        self._shell: list[str] = []
        self._commands: Commands | None = None
        self.journal = StageJournal(repository.place())
        self.sight = sight
        self.made = made
        folder = repository.place().folder
        self._end_orphans(folder)
        self._mark = Mark(folder)

    def run(self, stage: Stage, differences: StageChanges | None) -> None:
        """Makes a stage's outputs, and records it.

        Args: differences: what changed; None: run it whatever was remembered.

        Raises:
            CommandFailedError, CannotStartError, OutputMissingError, DependencyMissingError, PathBusyError.
            KistError, OSError.
        """
        running = self.begin(stage, differences)
        if running is None:
            return
        try:
            if self._commands is None:
                self._commands = self.open_commands(None)
            for work in running.works:
                self._commands.start(work)
                running.in_flight += 1
                while not (ended := self.wait(self._commands)):
                    pass
                running.took(ended[0])
                if running.error is not None:
                    break
            self.finish(running)
        except KeyboardInterrupt as interrupt:
            if self._commands is not None:
                self._commands.interrupt(interrupt)
            raise
        finally:
            self.leave(running)

    def open_commands(self, say: Say | None) -> Commands:
        """Returns what runs commands.

        Args: say: see `Commands`.
        """
        return Commands(self.say_command, say)

    def _end_orphans(self, folder: str) -> None:
        """Ends what a killed `repro` left running: it would write into the outputs that are made now."""
        count = end_orphans(folder)
        if count:
            words = f"{count} process{'es' if count > 1 else ''}"
            self._repository.notes.append(f"ended {words} that a killed `repro` had left running")

    def wait(self, commands: Commands) -> list[Ended]:
        """Returns stages whose commands have ended; none when what is noted was written instead.

        The repository's lock is free meanwhile.
        """
        self._paths.flush()
        with self._lock.released():
            ended = commands.wait(self.journal.due_in())
        if not ended:
            self.journal.write()
        return ended

    def close(self, *, is_complete: bool) -> None:
        """Writes what is noted.

        Args: is_complete: nothing failed, and nothing was left out.

        Raises: KistError, OSError.
        """
        if self._commands is not None:
            self._commands.close()
        self._mark.close()
        self._paths.flush()
        if is_complete:
            self.journal.end()
        else:
            self.journal.write()

    def begin(self, stage: Stage, differences: StageChanges | None) -> Running | None:
        """Takes a stage's paths and removes its outputs; returns what is to run, and then to be given to `finish` and
        `leave`. None where what was remembered of the same run took its place, and it is recorded.

        Args: differences: as for `run`.

        Raises: as `run`; the paths are given back then.
        """
        self._hold(stage)
        try:
            found = None if differences is None else self._remembered(stage, differences)
            if found is None:
                return self._prepare(stage, reuse=differences is not None)
            self._tell(Event(CACHED, self._shown(stage)))
            self._check_out(stage, found)
            self._record(stage, found, is_remembered=self._is_result(stage))
        except BaseException:
            self._paths.give_back(stage.address)
            raise
        self._paths.give_back(stage.address)
        return None

    def finish(self, running: Running) -> None:
        """Stores what a stage's commands made, and records it.

        Raises: CommandFailedError, CannotStartError, OutputMissingError; KistError, OSError.
        """
        stage = running.stage
        self.sight.forget()
        if running.each is not None:
            running.each.keep()
        if running.error is not None:
            raise running.error
        shown = self._shown(stage)
        for path, digest in self._inputs_now(stage).items():
            if running.before.get(path, digest) != digest:
                self._tell(Event(CHANGED_MEANWHILE, shown, self._repository.shown(path)))
        for out in stage.outs:
            self._need_output(out)
        self._store(stage, running.usage)

    def leave(self, running: Running) -> None:
        """Gives back the paths of a stage; to be called once for each that began to run."""
        if running.each is not None:
            running.each.close()
        self._paths.give_back(running.stage.address)

    def _hold(self, stage: Stage) -> None:
        """Tells other processes which paths are in use."""
        repository = self._repository
        self._paths.take(
            stage.address,
            reads=[repository.abspath(path) for path in self._read_paths(stage)],
            writes=[repository.abspath(out.path) for out in stage.outs],
        )

    def say_command(self, stage: str, line: str) -> None:
        """Tells that a command of a stage starts."""
        self._tell(Event(COMMAND, stage, line))

    def show(self, stage: Stage) -> None:
        """Tells what would run."""
        assert stage.resolved is not None
        self._tell(Event(RUNNING, self._shown(stage)))
        for line in command_lines(stage.resolved.cmd):
            self._tell(Event(COMMAND, self._shown(stage), line))

    def take(self, stage: Stage) -> None:
        """Records a stage's outputs as they are, without running it."""
        self._hold(stage)
        try:
            for out in stage.outs:
                self._need_output(out)
            self._store(stage, None)
        finally:
            self._paths.give_back(stage.address)

    # --- what was made before ----------------------------------------------------------------

    def _remembered(self, stage: Stage, differences: StageChanges) -> LockedStage | None:
        """Returns the entry of a run that made the outputs of the present inputs, if all of its objects are here."""
        assert stage.resolved is not None
        self.need_inputs(stage)
        if not is_remembered(stage.resolved):
            return None
        inputs = inputs_of(self._repository, stage, self.sight)
        is_same = not (differences.deps or differences.is_command_changed)
        if stage.locked is not None and is_same:
            outs = tuple(out.output for out in stage.outs)
            if all(out.digest is not None for out in outs) and self._are_here(stage, outs):
                return inputs._replace(outs=outs)
        if not self._options.use_runs:
            return None
        asked = inputs._replace(outs=tuple(Output(out.output.path) for out in stage.outs))
        try:
            found = self._search(stage, asked)
        except RunIdError:
            return None
        return None if found is None else inputs._replace(outs=found)

    def _search(self, stage: Stage, asked: LockedStage) -> tuple[Output, ...] | None:
        for run in run_cache(self._repository).results(asked):
            recorded = {out.path: out for out in run.outs}
            outs = tuple(_with_data(out.output, recorded[out.output.path]) for out in stage.outs)
            if self._options.pull:
                items = [
                    Selected(stage, _as_cached(out, data)) for out, data in zip(stage.outs, outs, strict=True)
                ]
                transfer(self._repository, items, remote=None, is_push=False, jobs=None)
            if self._are_here(stage, outs):
                return outs
        return None

    def _are_here(self, stage: Stage, outs: Iterable[Output]) -> bool:
        for out, place in zip(outs, stage.outs, strict=True):
            assert out.digest is not None
            store = self._repository.store_for(out.digest.algorithm)
            if lacks(Need(place.path, out.digest, ""), store):
                return False
        return True

    def _check_out(self, stage: Stage, entry: LockedStage) -> None:
        repository = self._repository
        outs = [_as_cached(out, data) for out, data in zip(stage.outs, entry.outs, strict=True)]
        items = [Selected(stage, out) for out in outs]
        result = checkout_items(repository, items, CheckoutOptions(force=True))
        error = result.error(repository)
        if error is not None:
            raise error
        plain = [out for out in stage.outs if not out.output.use_cache]
        if plain:
            unprotect_paths(repository, units_of(plain))  # as files that Git has
        self.sight.forget()

    # --- running -----------------------------------------------------------------------------

    def _prepare(self, stage: Stage, *, reuse: bool) -> Running:
        """Removes a stage's outputs, or what of them no item made, and returns what is to run.

        Args: reuse: what was kept of items counts.
        """
        repository, resolved = self._repository, stage.resolved
        assert resolved is not None
        asked = asked_of(resolved)
        before = self._inputs_now(stage)
        shown = self._shown(stage)
        self._shell = self._shell or shell_words(repository.environ)
        lines = command_lines(resolved.cmd)
        work = Work(
            shown,
            iter(lines),
            self._shell,
            repository.abspath(stage.wdir),
            {
                **command_environment(repository.environ, root=repository.root, stage=shown),
                VARIABLE: self._mark.text,
            },
            self._options.output,
        )
        if asked.each is None:
            repository.index.flush()
            self._tell(Event(RUNNING, shown))
            self._remove_outputs(stage)
            return Running(stage, iter((work,)), before, None, is_alone=True)
        each = self._each(stage, asked.each, reuse=reuse and self._options.use_runs)
        repository.index.flush()
        self._tell(Event(RUNNING, shown))
        self._tell(Event(ITEMS, shown, f"{len(each.pending)} of {each.count}"))
        works = each.works(work, lines, asked.each)
        return Running(stage, works, before, each, is_alone=bool(asked.needs))

    def _each(self, stage: Stage, each: str, *, reuse: bool) -> EachRun:
        from kist.repo.each import EachRun, items_of  # few stages ask for it

        def now(names: Container[str]) -> list[Item]:
            return items_of(self._repository, stage, each, Sight(self._repository), only=names)

        items = items_of(self._repository, stage, each, self.sight)
        is_kept = self._options.to_cache
        found = EachRun(self._repository, stage, items, now, reuse=reuse and is_kept, keep=is_kept)
        self.sight.forget()
        return found

    def _inputs_now(self, stage: Stage) -> dict[str, Digest | None]:
        looks = self.sight.looks
        return {
            path: digest_of(self._repository, looks[path, "md5"])
            for path in dependencies(stage)
            if looks[path, "md5"].snapshot is not None
        }

    def _read_paths(self, stage: Stage) -> list[str]:
        assert stage.resolved is not None
        return [*dependencies(stage), *(stage.resolved.rooted(file) for file in stage.resolved.params)]

    def _remove_outputs(self, stage: Stage) -> None:
        """Removes what lies where the outputs come; what persists is made writable."""
        kept = [out for out in stage.outs if out.output.persist]
        unprotect_paths(self._repository, units_of(kept))
        for out in stage.outs:
            if not out.output.persist:
                remove_path(self._repository.abspath(out.path))

    def need_inputs(self, stage: Stage) -> None:
        """Raises DependencyMissingError if a stage lacks something that it reads."""
        for path in dependencies(stage):
            if not os.path.lexists(self._repository.abspath(path)):
                raise DependencyMissingError(
                    f"the dependency '{self._repository.shown(path)}' does not exist"
                )

    def _need_output(self, out: Out) -> None:
        if out.is_inside and not os.path.lexists(self._repository.abspath(out.path)):
            raise OutputMissingError(f"the output '{self._repository.shown(out.path)}' does not exist")

    # --- recording ---------------------------------------------------------------------------

    def _store(self, stage: Stage, usage: Usage | None) -> None:
        repository, options = self._repository, self._options
        is_result = self._is_result(stage)
        outs = stored_outputs(
            repository,
            stage,
            to_cache=options.to_cache,
            is_result=is_result,
            put_off=stage.name is not None and self._is_small(stage),
        )
        self.sight.forget()  # links may have taken the place of files
        entry = inputs_of(repository, stage, self.sight)._replace(outs=outs)
        self._record(stage, entry, is_remembered=is_result, usage=usage)

    def _is_small(self, stage: Stage) -> bool:
        """Says whether all outputs are files, small ones."""
        size = 0
        for out in stage.outs:
            try:
                found = os.lstat(self._repository.abspath(out.path))
            except OSError:
                return False
            if not stat.S_ISREG(found.st_mode):
                return False
            size += found.st_size
        return size <= _SMALL_BYTES

    def _is_result(self, stage: Stage) -> bool:
        """Says whether the run is remembered. As in DVC it is not with `cache: false`, but for metrics and plots."""
        assert stage.resolved is not None
        is_kept = all(out.use_cache or out.metric or out.plot for out in stage.resolved.outs)
        return self._options.to_cache and is_kept and is_remembered(stage.resolved)

    def _record(
        self, stage: Stage, entry: LockedStage, *, is_remembered: bool, usage: Usage | None = None
    ) -> None:
        repository = self._repository
        is_remembered = is_remembered and can_be_remembered(stage, entry)
        ignored = [out.path for out in stage.outs if out.is_inside and out.output.use_cache]
        ignored = [path for path in ignored if self._changes.is_to_be_ignored(path)]
        for out, data in zip(stage.outs, entry.outs, strict=True):
            self.made[out.path] = data.digest
        took = StageTime(time.time(), *usage) if usage is not None else None
        if stage.name is None:
            if is_remembered:
                remember(repository, stage, entry)
            add_lines(repository.root, ignored)
            self._record_single(stage, entry)
            keep_times(repository.dvc_dir, {} if took is None else {stage.address: took})
            return
        is_kept = self._options.to_cache
        stored = [
            data.digest.value
            for data in entry.outs
            if data.digest is not None and is_kept and (data.use_cache or is_remembered)
        ]
        written = self.journal.add(
            lock_path(stage),
            stage.name,
            entry,
            objects=stored,
            is_remembered=is_remembered,
            ignored=ignored,
            address=stage.address,
            took=took,
        )
        if self.journal.due_in() == 0:
            self.journal.write()
        if written.is_changed:
            shown = repository.shown(written.path)
            if written.is_new:
                self._tell(Event(NEW_LOCK, self._shown(stage), shown))
            self._tell(Event(LOCK, self._shown(stage), shown))
            self._changes.note(written.path)

    def _record_single(self, stage: Stage, entry: LockedStage) -> None:
        """Writes the `.dvc` file of a stage in the form of DVC before 1.0."""
        before = stage.metafile
        assert before is not None
        data = {dep.path: dep for dep in entry.deps}
        deps = tuple(
            data[dep.path]._replace(extra=dep.extra)
            if dep.params is None
            else dep._replace(params=entry.params[dep.path])
            for dep in before.deps
        )
        changed = with_checksum(before._replace(outs=entry.outs, deps=deps))
        if changed != before:
            self._changes.write_metafile(stage.file, changed)

    def _shown(self, stage: Stage) -> str:
        return shown_stage(self._repository, stage)


def remove_path(path: str) -> None:
    """Removes a file, link or folder, if it is there."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _with_data(output: Output, recorded: Output) -> Output:
    return output._replace(
        digest=recorded.digest,
        size=recorded.size,
        nfiles=recorded.nfiles,
        isexec=recorded.isexec,
        version_id=None,
        cloud=None,
        files=None,
    )


def _as_cached(out: Out, output: Output) -> Out:
    """Returns an output that can be checked out, whether the cache is to keep it or not."""
    return out._replace(output=output._replace(use_cache=True))

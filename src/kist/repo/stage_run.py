"""Runs one stage, or finds what it made before; stores its outputs and writes its entry of the lock.

Not here: whether it has to run (repro). Implements docs/spec/repro.md, sections 2.3 to 2.6 and 4.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from kist.base.locks import FileLock
from kist.base.pathlocks import path_locks
from kist.errors import InputError, MissingError
from kist.formats.metafile import with_checksum
from kist.formats.records import Digest, LockedStage, Output
from kist.formats.runrecord import RunIdError
from kist.pipeline.changes import StageChanges
from kist.pipeline.command import command_environment, command_lines, run_command, shell_words
from kist.pipeline.runcache import is_remembered
from kist.repo.checkout import CheckoutOptions, checkout_items
from kist.repo.collect import Out, Stage
from kist.repo.data import digest_of
from kist.repo.lockfiles import LockFiles
from kist.repo.metafiles import Changes
from kist.repo.repro_events import CACHED, CHANGED_MEANWHILE, COMMAND, LOCK, NEW_LOCK, RUNNING, Event, Tell
from kist.repo.runcache import run_cache
from kist.repo.sight import Sight
from kist.repo.stage_entry import inputs_of, remember, stored_outputs
from kist.repo.targets import Selected, dependencies, shown_stage
from kist.repo.transfers import transfer
from kist.repo.unprotect import units_of, unprotect_paths
from kist.transfer.plan import Need, lacks

if TYPE_CHECKING:
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


class StageRunner:
    """Runs stages, one after the other, of one repository. The caller holds `lock`.

    Attributes:
        sight: what the workspace looks like.
        made: path -> what stages that were looked at recorded there.
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
        self._locks = LockFiles(repository)
        self._shell: list[str] = []
        self.sight = sight
        self.made = made

    def run(self, stage: Stage, differences: StageChanges | None) -> None:
        """Makes a stage's outputs, and records it.

        Args: differences: what changed; None: run it whatever was remembered.

        Raises:
            CommandFailedError, CannotStartError, OutputMissingError, DependencyMissingError, PathBusyError.
            KistError, OSError.
        """
        with self._holding(stage):
            found = None if differences is None else self._remembered(stage, differences)
            if found is None:
                self._run_commands(stage)
                self._store(stage)
                return
            self._tell(Event(CACHED, self._shown(stage)))
            self._check_out(stage, found)
            if self._is_result(stage):
                remember(self._repository, stage, found)
            self._record(stage, found)

    def _holding(self, stage: Stage) -> AbstractContextManager[None]:
        """Returns what tells other processes, while entered, which paths are in use."""
        repository = self._repository
        return path_locks(
            os.path.join(repository.dvc_dir, "tmp"),
            reads=[repository.abspath(path) for path in self._read_paths(stage)],
            writes=[repository.abspath(out.path) for out in stage.outs],
            command="kist repro",
        )

    def show(self, stage: Stage) -> None:
        """Tells what would run."""
        assert stage.resolved is not None
        self._tell(Event(RUNNING, self._shown(stage)))
        for line in command_lines(stage.resolved.cmd):
            self._tell(Event(COMMAND, self._shown(stage), line))

    def take(self, stage: Stage) -> None:
        """Records a stage's outputs as they are, without running it."""
        with self._holding(stage):
            for out in stage.outs:
                self._need_output(out)
            self._store(stage)

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

    def _run_commands(self, stage: Stage) -> None:
        repository, resolved = self._repository, stage.resolved
        assert resolved is not None
        before = self._inputs_now(stage)
        repository.index.flush()
        shown = self._shown(stage)
        self._shell = self._shell or shell_words(repository.environ)
        environ = command_environment(repository.environ, root=repository.root, stage=shown)
        folder = repository.abspath(stage.wdir)
        self._tell(Event(RUNNING, shown))
        self._remove_outputs(stage)
        with self._lock.released():
            for line in command_lines(resolved.cmd):
                self._tell(Event(COMMAND, shown, line))
                run_command(
                    line, shell=self._shell, folder=folder, environ=environ, output=self._options.output
                )
        self.sight.forget()
        for path, digest in self._inputs_now(stage).items():
            if before.get(path, digest) != digest:
                self._tell(Event(CHANGED_MEANWHILE, shown, repository.shown(path)))
        for out in stage.outs:
            self._need_output(out)

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

    def _store(self, stage: Stage) -> None:
        repository, options = self._repository, self._options
        is_result = self._is_result(stage)
        outs = stored_outputs(repository, stage, to_cache=options.to_cache, is_result=is_result)
        self.sight.forget()  # links may have taken the place of files
        entry = inputs_of(repository, stage, self.sight)._replace(outs=outs)
        if is_result:
            remember(repository, stage, entry)
        self._record(stage, entry)

    def _is_result(self, stage: Stage) -> bool:
        """Says whether the run is remembered. As in DVC it is not with `cache: false`, but for metrics and plots."""
        assert stage.resolved is not None
        is_kept = all(out.use_cache or out.metric or out.plot for out in stage.resolved.outs)
        return self._options.to_cache and is_kept and is_remembered(stage.resolved)

    def _record(self, stage: Stage, entry: LockedStage) -> None:
        repository = self._repository
        for out in stage.outs:
            if out.is_inside and out.output.use_cache:
                self._changes.ignore(out.path, forget=False)
        for out, data in zip(stage.outs, entry.outs, strict=True):
            self.made[out.path] = data.digest
        if stage.name is None:
            self._record_single(stage, entry)
            return
        written = self._locks.put(stage, entry)
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

"""Experiments beside the workspace: as tasks of the queue, each in a clean work tree of its own.

Not here: the files of the queue (experiments.queue), the pool (exp_pool).
Implements docs/spec/experiments.md, section 5.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import KistError, MissingError
from kist.experiments.names import new_name
from kist.experiments.queue import FAILED, SUCCESS, Result, Task
from kist.experiments.refs import Experiment, ref_of
from kist.formats.config import SectionKey, set_option
from kist.git.plumbing import RefChange
from kist.repo.beside_git import offset_of
from kist.repo.checkout import CheckoutOptions, checkout
from kist.repo.exp_params import changed_files
from kist.repo.exp_record import NameTakenError, Naming, choose_name, lock_entries, look, record
from kist.repo.exp_refs import Place, need_head, place_of
from kist.repo.exp_run import RunRequest, check_identity, telling
from kist.repo.exp_waiting import queue_of
from kist.repo.metafiles import read_bytes
from kist.repo.projects import unregister
from kist.repo.repro import ReproOptions, cause_of, repro
from kist.repo.repro_events import Tell
from kist.repo.repro_plan import Scope
from kist.repo.targets import shown_stage

if TYPE_CHECKING:
    from kist.repo.repository import Repository

SNAPSHOTS = "refs/kist/queue/"
"""References that keep the work trees of tasks; not below `refs/exps/`, where DVC would take them for experiments."""


class CopyMissingError(MissingError):
    """A path of `--copy-paths` is not there."""

    code = "copy-path-missing"
    exit_code = 255


def enqueue(
    repository: Repository,
    targets: Sequence[str],
    requests: Sequence[RunRequest],
    options: ReproOptions,
    *,
    copies: Sequence[str] = (),
    for_pool: bool = True,
) -> list[Task]:
    """Adds one experiment to the queue for each request, with the workspace as it is now; returns the tasks.

    Args: for_pool: False: no pool takes them; who asked runs them.

    Raises: KistError, OSError: those before it stay in the queue.
    """
    place = place_of(repository, "queue an experiment")
    baseline = need_head(place.git, "queue an experiment")
    check_identity(repository)
    for path in copies:
        if not os.path.lexists(repository.abspath(repository.rel(path))):
            raise CopyMissingError(
                f"cannot copy '{path}': it does not exist", hint="name a path that is there"
            )
    queue = queue_of(repository)
    added = []
    with repository.lock():
        waiting = queue.tasks()
        orphans = place.plumbing.refs(SNAPSHOTS).keys() - {SNAPSHOTS + task.id for task in waiting}
        place.plumbing.change_refs(RefChange(ref, None) for ref in orphans)  # of an addition that was killed
        number = max((task.number for task in waiting), default=0)
        names = {task.name for task in waiting if task.baseline == baseline}
        files = look(repository).files
        for request in requests:
            number += 1
            naming = _named(place, baseline, request, names)
            names.add(naming.name)
            task = Task(
                _snapshot(repository, place, naming, request, files),
                naming.name,
                baseline,
                number,
                time.time(),
                naming.replaces,
                tuple(targets),
                repository.rel("."),
                _written(options),
                request.message,
                tuple(repository.rel(path) for path in copies),
            )
            place.plumbing.change_refs([RefChange(SNAPSHOTS + task.id, task.id)])
            if not for_pool:
                queue.mark_killed(task)
            queue.add(task)
            added.append(task)
    return added


def _named(place: Place, baseline: str, request: RunRequest, waiting: set[str]) -> Naming:
    again = ["kist", "exp", "run"]
    naming = choose_name(place, baseline, request.name, force=request.force, again=again)
    if naming.name not in waiting:
        return naming
    if request.name is None:
        return naming._replace(name=new_name(waiting))
    return naming._replace(name=f"{request.name}-{len(waiting) + 1}")


def _snapshot(
    repository: Repository, place: Place, naming: Naming, request: RunRequest, files: set[str]
) -> str:
    """Returns a commit with the work tree as it is, and the request's parameters."""
    offset = offset_of(repository, place.git)
    changed = changed_files(repository, request.overrides) if request.overrides else {}
    with place.plumbing.index() as index:
        index.take_changes()
        index.add(offset + path for path in files)
        for path, data in changed.items():
            index.set(offset + path, place.plumbing.blob(data))
        tree = index.write()
    return place.plumbing.commit(tree, [naming.baseline], f"kist: experiment '{naming.name}', to be run")


def _written(options: ReproOptions) -> dict[str, Any]:
    return {
        "scope": options.scope._asdict(),
        "force": options.force,
        "force_downstream": options.force_downstream,
        "allow_missing": options.allow_missing,
        "pull": options.pull,
        "on_error": options.on_error,
    }


def _options(task: Task) -> ReproOptions:
    given = dict(task.options)
    scope = Scope(**given.pop("scope"))
    return ReproOptions(scope=scope, **given)


def run_task(repository: Repository, task: Task, tell: Tell) -> Experiment:
    """Runs a task to its end, and records how it ended. The caller holds its claim.

    Raises: KistError, OSError: the task failed.

    Holds: a task whose experiment is there never runs again; one that was killed leaves no experiment.
    """
    queue = queue_of(repository)
    place = place_of(repository, "run an experiment")
    known = place.plumbing.refs(ref_of(task.baseline, task.name)).get(ref_of(task.baseline, task.name))
    if known is not None and known == queue.made(task):
        found = Experiment(task.name, task.baseline, known)  # by a runner that was killed right after
    else:
        try:
            if known is not None and known != task.replaces:
                raise NameTakenError(
                    f"cannot call an experiment '{task.name}': one was made of this commit meanwhile",
                    hint=shell_line("kist", "exp", "rename", task.name, f"{task.name}-1"),
                )
            found = _run(repository, place, task, tell)
        except (KistError, OSError) as error:
            queue.finish(task, Result(FAILED, None, cause_of(error)))
            raise
    queue.finish(task, Result(SUCCESS, found.sha))
    place.plumbing.change_refs([RefChange(SNAPSHOTS + task.id, None)])
    return found


def _run(repository: Repository, place: Place, task: Task, tell: Tell) -> Experiment:
    sweep_runs(repository, place, own=task.id)
    path = os.path.join(runs_folder(repository), f"{task.id}-{os.getpid()}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    place.plumbing.add_worktree(path, task.baseline, task.id)
    root = os.path.normpath(os.path.join(path, offset_of(repository, place.git)))
    inner = repository.copy_at(root, os.path.join(root, task.cwd) if task.cwd else root)
    naming = Naming(task.name, task.baseline, task.replaces)
    try:
        _prepare(repository, inner, task)
        with telling(inner, naming):
            result = repro(inner, task.targets, _options(task), tell)
        if result.error is not None:
            raise result.error
        with inner.lock():
            snapshot = look(inner)
            ran = [stage for stage in snapshot.stages if shown_stage(inner, stage) in set(result.ran)]
            own = place_of(inner, "run an experiment")
            return record(
                inner,
                own,
                naming,
                files=snapshot.files,
                entries=lock_entries(ran),
                message=task.message,
                made=lambda sha: queue_of(repository).note_made(task, sha),
            )
    finally:
        inner.close()
        _drop(repository, place, path)


def _prepare(repository: Repository, inner: Repository, task: Task) -> None:
    """Gives a work tree the person's local settings, our cache, the data, and what is to be copied."""
    local = read_bytes(os.path.join(repository.dvc_dir, "config.local")) or b""
    path = os.path.join(inner.dvc_dir, "config.local")
    os.makedirs(inner.dvc_dir, exist_ok=True)
    data = set_option(local, SectionKey("cache"), "dir", repository.cache_dir, name=path)
    atomic.write_file(path, data, durable=False, mode=0o600)
    for copied in task.copies:
        source, target = repository.abspath(copied), inner.abspath(copied)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    checkout(inner, [], CheckoutOptions(force=True, allow_missing=True))


def runs_folder(repository: Repository) -> str:
    """Returns where the work trees of running tasks are."""
    return os.path.join(repository.dvc_dir, "tmp", "kist", "runs")


def sweep_runs(repository: Repository, place: Place, *, own: str | None = None) -> None:
    """Removes the work trees of runners that are gone: nobody holds the claim of their tasks.

    Args: own: the task whose claim the caller holds, and of which it has no work tree yet.
    """
    queue = queue_of(repository)
    try:
        names = os.listdir(runs_folder(repository))
    except FileNotFoundError:
        return
    for name in names:
        key = name.partition("-")[0]
        if key == own or not queue.is_claimed(key):
            _drop(repository, place, os.path.join(runs_folder(repository), name))


def _drop(repository: Repository, place: Place, path: str) -> None:
    """Removes a work tree; the cache, in which it was a project of its own while it ran, forgets it."""
    root = os.path.normpath(os.path.join(path, offset_of(repository, place.git)))
    unregister(repository.cache_dir, root)
    place.plumbing.drop_worktree(path)


def forget_task(repository: Repository, task: Task) -> None:
    """Takes a task out of the queue. The caller holds its claim."""
    place = place_of(repository, "change the queue")
    place.plumbing.change_refs([RefChange(SNAPSHOTS + task.id, None)])
    queue_of(repository).remove(task)

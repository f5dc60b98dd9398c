"""`remove`: takes a `.dvc` file, or a stage of a `dvc.yaml`, away; the data stays, or goes with `--outs`.

Order, so that the same command finishes after a kill: data, `.gitignore`, `dvc.lock`, and the metafile last.
Not here: making kept data independent of the cache (unprotect).
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import InputError
from kist.formats import yaml
from kist.repo import placed
from kist.repo.collect import LOCK_FILE, OLD_FILE, PIPELINE_FILE, Stage, WorkspaceSource, collect, read_stages
from kist.repo.data import refuse_symlinked_parents
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.unprotect import units_of, unprotect_paths
from kist.store.loose import sweep_staging

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CannotRemoveError(InputError):
    """A target is no `.dvc` file and no stage, or is a stage that a template makes. The user names another target."""

    code = "cannot-remove"


def remove(repository: Repository, targets: Sequence[str], *, outs: bool = False) -> None:
    """Removes metafiles and stages, one target after the other; nothing is staged in Git (both as DVC 3.67.1).

    Args: outs: delete the data as well, also where it is stored nowhere else.

    Raises:
        CannotRemoveError: of the first target that is none; those before it are gone, those after it are not looked at.
        FormatError, FileChangedError, OSError.

    Holds: kept data stays where it is and becomes independent of the cache; a kill leaves the metafile, so that the
        same command can be run again.
    """
    with repository.lock():
        repository.sweep_now()
        for target in targets:
            stages = _stages_of(repository, target)
            _sweep(repository, stages)
            changes = Changes(repository)
            for stage in stages:
                _remove_data(repository, stage, changes, outs=outs)
                if stage.name is None:
                    changes.remove_file(stage.file)
                else:
                    _remove_stage(repository, stage.file, stage.name, changes)


def _sweep(repository: Repository, stages: Iterable[Stage]) -> None:
    """Removes what killed commands left beside the metafiles and the data."""
    folders = {posixpath.dirname(stage.file) for stage in stages}
    folders.update(posixpath.dirname(out.path) for stage in stages for out in stage.outs if out.is_inside)
    for folder in folders - {""}:
        sweep_staging(repository.abspath(folder), time.time())


def _stages_of(repository: Repository, target: str) -> list[Stage]:
    source = WorkspaceSource(repository)
    file, colon, name = target.rpartition(":")
    if not colon:
        rel = repository.rel(target)
        base = posixpath.basename(rel)
        is_metafile = base.endswith(".dvc") or base in (PIPELINE_FILE, OLD_FILE)
        if is_metafile and os.path.isfile(repository.abspath(rel)):
            return [_checked(stage) for stage in read_stages(source, rel)]
        if is_metafile:
            raise _unknown(repository, source, target, "it does not exist")
        name = target
    pipeline = repository.rel(file or PIPELINE_FILE)
    if posixpath.basename(pipeline) == PIPELINE_FILE and os.path.isfile(repository.abspath(pipeline)):
        for stage in read_stages(source, pipeline):
            if stage.name == name:
                return [_checked(stage)]
            if stage.name and stage.name.startswith(name + "@"):
                _checked(stage)
    raise _unknown(repository, source, target, f"it is no '.dvc' file and no stage of '{PIPELINE_FILE}'")


def _checked(stage: Stage) -> Stage:
    if stage.name is not None and "@" in stage.name:
        raise CannotRemoveError(
            f"cannot remove stage '{stage.name}': the template '{stage.name.partition('@')[0]}' makes it",
            hint=f"take it out of '{stage.file}' by hand",
        )
    return stage


def _unknown(repository: Repository, source: WorkspaceSource, target: str, cause: str) -> CannotRemoveError:
    """Returns the error, whose hint removes the maker of the target, or asks whether the nearest was meant."""
    stages = collect(source, on_damage=lambda path, error: None)
    makers = {repository.shown(out.path): stage for stage in stages for out in stage.outs if out.is_inside}
    maker = makers.get(posixpath.normpath(target))
    known = [_name(repository, stage) for stage in stages]
    if maker is not None:
        hint = shell_line("kist", "remove", _name(repository, maker))
    else:
        near = closest(target, known)
        hint = f"did you mean '{near}'?" if near else "kist list . -R"
    return CannotRemoveError(f"cannot remove '{target}': {cause}", hint=hint)


def _name(repository: Repository, stage: Stage) -> str:
    """Returns what to call a `.dvc` file or a stage as a target here."""
    file = repository.shown(stage.file)
    if stage.name is None:
        return file
    return stage.name if file == PIPELINE_FILE else f"{file}:{stage.name}"


def _remove_data(repository: Repository, stage: Stage, changes: Changes, *, outs: bool) -> None:
    """Deletes the outputs or makes them private, and takes them out of `.gitignore`."""
    inside = [out for out in stage.outs if out.is_inside]
    for out in inside:
        refuse_symlinked_parents(repository, out.path, verb="remove")
    if outs:
        for out in inside:
            delete_data(repository.abspath(out.path))
    else:
        unprotect_paths(repository, units_of(inside))
    for out in inside:
        # Else a later checkout would take the data for left over from another version, and remove it.
        placed.forget(repository.index, out.path)
    repository.index.flush()
    for out in inside:
        changes.stop_ignoring(out.path)


def delete_data(path: str) -> None:
    """Deletes a file or a directory with all that is in it; does nothing where there is none."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil  # 4 ms, and most removals keep the data

        shutil.rmtree(path)
    else:
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return
    atomic.sync_directory(os.path.dirname(path))


def _remove_stage(repository: Repository, file: str, name: str, changes: Changes) -> None:
    """Takes one stage out of `dvc.lock` and `dvc.yaml`; a file without any other stage goes.

    Source: DVC 3.67.1, which removes a `dvc.yaml` with its last stage only if nothing else stands in it here.
    """
    _remove_locked(repository, posixpath.join(posixpath.dirname(file), LOCK_FILE), name, changes)
    data = read_bytes(repository.abspath(file))
    if data is None:
        return
    value = yaml.load(data, name=file)
    stages = {key: item for key, item in value["stages"].items() if key != name}
    if stages:
        rest = {**value, "stages": stages}
    else:
        rest = {key: item for key, item in value.items() if key != "stages"}
    if rest.keys() - {"vars"}:
        atomic.write_file(repository.abspath(file), yaml.edit(data, rest, name=file))
    else:
        changes.remove_file(file)


def _remove_locked(repository: Repository, path: str, name: str, changes: Changes) -> None:
    from kist.formats.lockfile import parse_lockfile, render_lockfile  # most repositories have no pipeline

    data = read_bytes(repository.abspath(path))
    if data is None:
        return
    lock = parse_lockfile(data, name=path)
    if name not in lock.stages:
        return
    stages = {key: stage for key, stage in lock.stages.items() if key != name}
    if stages or lock.datasets:
        atomic.write_file(repository.abspath(path), render_lockfile(lock._replace(stages=stages), data))
    else:
        changes.remove_file(path)

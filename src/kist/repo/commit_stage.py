"""`commit` of a pipeline's stage: its present command, dependencies, params and outputs become its lock.

Not here: running stages. Implements docs/spec/metafiles.md for `dvc.lock`.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from kist.base import atomic
from kist.base.shell import shell_line
from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.params import MISSING, lookup, parse_params
from kist.formats.records import MD5, Dependency, Digest, LockedStage, Lockfile, Output
from kist.formats.runrecord import RunIdError
from kist.pipeline.runcache import is_remembered
from kist.repo.collect import LOCK_FILE, Stage
from kist.repo.data import digest_of, look_at
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.runcache import run_cache
from kist.repo.tracking import CannotCommitError, store_paths, updated_output

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def commit_pipeline_stage(
    repository: Repository, stage: Stage, changes: Changes, *, relink: bool, remember_run: bool
) -> None:
    """Stores a stage's outputs, and rewrites its entry in `dvc.lock`.

    Args: remember_run: keep it in the run cache too, if it is of a kind that is kept there.

    Raises:
        CannotCommitError: it is a single-stage file of an old DVC, or something that it names is missing.
    """
    resolved = stage.resolved
    assert resolved is not None
    if stage.name is None:
        raise CannotCommitError(
            f"cannot commit '{repository.shown(stage.file)}': it is a stage in the form of DVC before 1.0",
            hint="move its command into a dvc.yaml",
        )
    remember_run = remember_run and is_remembered(resolved)
    outs = tuple(
        _stored(repository, stage, out.path, out.output, relink=relink, is_result=remember_run)
        for out in stage.outs
    )
    entry = LockedStage(
        cmd=resolved.cmd,
        deps=tuple(_dependency(repository, stage, path) for path in resolved.deps),
        params={file: _params(repository, stage, file, keys) for file, keys in resolved.params.items()},
        outs=outs,
    )
    if remember_run and None not in {item.digest for item in entry.deps} | {item.digest for item in outs}:
        try:
            run_cache(repository).save(entry)
        except RunIdError:
            pass  # such a parameter cannot be compared either
    lock_path = posixpath.join(posixpath.dirname(stage.file), LOCK_FILE)
    absolute = repository.abspath(lock_path)
    previous = read_bytes(absolute)
    lock = parse_lockfile(previous, name=lock_path) if previous is not None else Lockfile({})
    data = render_lockfile(lock._replace(stages={**lock.stages, stage.name: entry}), previous)
    if data != previous:
        atomic.write_file(absolute, data)
        changes.note(lock_path)
    for out in stage.outs:
        if out.is_inside and out.output.use_cache:
            changes.ignore(out.path)


def _stored(
    repository: Repository, stage: Stage, path: str, output: Output, *, relink: bool, is_result: bool
) -> Output:
    """Args: is_result: a remembered run names it, so that it is stored even with `cache: false`, as a copy then."""
    if not os.path.lexists(repository.abspath(path)):
        raise _missing(repository, stage, path)
    tracked = store_paths(
        repository, [path], to_cache=output.use_cache or is_result, relink=relink and output.use_cache
    )[0]
    return updated_output(output, tracked)


def _missing(repository: Repository, stage: Stage, path: str) -> CannotCommitError:
    return CannotCommitError(
        f"cannot commit '{stage.address}': '{repository.shown(path)}' does not exist",
        hint=shell_line("kist", "checkout", repository.shown(path)),
    )


def _dependency(repository: Repository, stage: Stage, written: str) -> Dependency:
    assert stage.resolved is not None
    locked = {dep.path: dep for dep in (stage.locked.deps if stage.locked is not None else ())}
    path = stage.resolved.rooted(written)
    if "://" in path:
        return locked.get(written) or Dependency(written)
    look = look_at(repository, [(path, MD5)])[0]
    digest: Digest | None = digest_of(repository, look)
    if digest is None or look.snapshot is None:
        raise _missing(repository, stage, path)
    count = look.snapshot.file_count() if look.is_dir else None
    return Dependency(
        written, digest, size=look.size_bytes, nfiles=count, isexec=look.is_executable and not look.is_dir
    )


def _params(repository: Repository, stage: Stage, file: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
    assert stage.resolved is not None
    path = stage.resolved.rooted(file)
    data = read_bytes(repository.abspath(path))
    if data is None:
        raise _missing(repository, stage, path)
    values = parse_params(data, name=path)
    if keys is None:
        return {str(key): value for key, value in values.items()}
    found = {key: lookup(values, key) for key in keys}
    lacking = [key for key, value in found.items() if value is MISSING]
    if lacking:
        raise CannotCommitError(
            f"cannot commit '{stage.address}': '{path}' has no parameter '{lacking[0]}'",
            hint=f"add it to '{path}'",
        )
    return found

"""A stage's entry of `dvc.lock`, made of what is in the workspace now; its outputs are stored on the way.

Not here: writing the lock (lockfiles), running the stage (stage_run).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line
from kist.formats.params import MISSING, lookup
from kist.formats.records import MD5, Dependency, LockedStage, Output
from kist.formats.runrecord import RunIdError
from kist.pipeline.runcache import is_remembered
from kist.repo.collect import Stage
from kist.repo.data import digest_of
from kist.repo.runcache import run_cache
from kist.repo.sight import Sight
from kist.repo.tracking import CannotCommitError, store_paths, updated_output

if TYPE_CHECKING:
    from kist.repo.repository import Repository


def inputs_of(repository: Repository, stage: Stage, sight: Sight) -> LockedStage:
    """Returns the entry without outputs: command, dependencies, parameters.

    Raises: CannotCommitError: a dependency, a parameter file or a parameter is missing.
    """
    resolved = stage.resolved
    assert resolved is not None
    return LockedStage(
        cmd=resolved.cmd,
        deps=tuple(_dependency(repository, stage, path, sight) for path in resolved.deps),
        params={
            file: _params(repository, stage, file, keys, sight) for file, keys in resolved.params.items()
        },
    )


def stored_outputs(
    repository: Repository,
    stage: Stage,
    *,
    to_cache: bool = True,
    relink: bool = True,
    is_result: bool = False,
    put_off: bool = False,
) -> tuple[Output, ...]:
    """Stores a stage's outputs and returns what the lock is to say of them.

    Args:
        to_cache: False: only record what they are.
        is_result: a remembered run names them, so that they are stored even with `cache: false`, as copies then.
        put_off: see `store_batches`.

    Raises: CannotCommitError: an output is missing; OSError.
    """
    for out in stage.outs:
        if not os.path.lexists(repository.abspath(out.path)):
            raise _missing(repository, stage, out.path)
    found: dict[str, Output] = {}
    for use_cache in (True, False):
        outs = [out for out in stage.outs if out.output.use_cache is use_cache]
        stored = store_paths(
            repository,
            [out.path for out in outs],
            to_cache=to_cache and (use_cache or is_result),
            relink=relink and use_cache,
            put_off=put_off,
        )
        for out, tracked in zip(outs, stored, strict=True):
            found[out.path] = updated_output(repository, out.output, tracked)
    return tuple(found[out.path] for out in stage.outs)


def remember(repository: Repository, stage: Stage, entry: LockedStage) -> None:
    """Keeps a run in the run cache, if it is of a kind that is kept there. Its outputs are durable in the cache.

    Raises: OSError.
    """
    if can_be_remembered(stage, entry):
        try:
            run_cache(repository).save(entry)
        except RunIdError:
            pass  # such a parameter cannot be compared either


def can_be_remembered(stage: Stage, entry: LockedStage) -> bool:
    """Says whether a run is of a kind that the run cache keeps, and all that it read and made is known."""
    assert stage.resolved is not None
    is_whole = None not in {item.digest for item in entry.deps} | {item.digest for item in entry.outs}
    return is_whole and is_remembered(stage.resolved)


def _missing(repository: Repository, stage: Stage, path: str) -> CannotCommitError:
    return CannotCommitError(
        f"cannot commit '{stage.address}': '{repository.shown(path)}' does not exist",
        hint=shell_line("kist", "checkout", repository.shown(path)),
    )


def _dependency(repository: Repository, stage: Stage, written: str, sight: Sight) -> Dependency:
    assert stage.resolved is not None
    path = stage.resolved.rooted(written)
    if "://" in path:
        locked = {dep.path: dep for dep in (stage.locked.deps if stage.locked is not None else ())}
        return locked.get(written) or Dependency(written)
    look = sight.looks[path, MD5]
    digest = digest_of(repository, look)
    if digest is None or look.snapshot is None:
        raise _missing(repository, stage, path)
    count = look.snapshot.file_count() if look.is_dir else None
    return Dependency(
        written, digest, size=look.size_bytes, nfiles=count, isexec=look.is_executable and not look.is_dir
    )


def _params(
    repository: Repository, stage: Stage, file: str, keys: tuple[str, ...] | None, sight: Sight
) -> dict[str, Any]:
    assert stage.resolved is not None
    path = stage.resolved.rooted(file)
    values = sight.params(path)
    if values is None:
        raise _missing(repository, stage, path)
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

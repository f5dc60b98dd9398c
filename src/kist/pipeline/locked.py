"""What the lock recorded of a stage, joined with what its metafile says. Pure.

Not here: reading the lock (formats.lockfile), comparing it with what is on disk (changes).
Implements docs/spec/pipelines.md, sections 5.1 and 6.7.
"""

from __future__ import annotations

from kist.formats.records import Dependency, LockedStage, Metafile, Output
from kist.pipeline.resolve import ResolvedStage


def locked_outputs(stage: ResolvedStage, locked: LockedStage | None) -> tuple[Output, ...]:
    """Returns the stage's outputs with the data that the lock recorded; without digest where it has none."""
    if locked is None:
        return stage.outs
    recorded = {out.path: out for out in locked.outs}
    return tuple(_joined(out, recorded.get(out.path)) for out in stage.outs)


def locked_dependencies(stage: ResolvedStage, locked: LockedStage | None) -> tuple[Dependency, ...]:
    """Returns the stage's dependencies with the data that the lock recorded; without digest where it has none."""
    recorded = {} if locked is None else {dep.path: dep for dep in locked.deps}
    return tuple(recorded.get(path) or Dependency(path) for path in stage.deps)


def locked_single(metafile: Metafile) -> LockedStage:
    """Returns what a single-stage `.dvc` file (DVC before 1.0) records of itself."""
    return LockedStage(
        cmd=metafile.cmd,
        deps=tuple(dep for dep in metafile.deps if dep.params is None),
        params={
            dep.path: {str(key): value for key, value in dep.params.items()}
            for dep in metafile.deps
            if isinstance(dep.params, dict)
        },
        outs=metafile.outs,
    )


def _joined(out: Output, recorded: Output | None) -> Output:
    if recorded is None:
        return out
    return out._replace(
        digest=recorded.digest,
        size=recorded.size,
        nfiles=recorded.nfiles,
        isexec=recorded.isexec,
        version_id=recorded.version_id,
        cloud=recorded.cloud,
        files=recorded.files,
        has_hash=recorded.has_hash,
    )

"""What a person's targets mean: metafiles, stages, outputs, and paths inside tracked directories.

Not here: what a command then does. Source: docs/spec/targets.md; DVC 3.67.1.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.suggest import closest
from kist.errors import InputError
from kist.pipeline.targets import parse_stage_target, select_stages
from kist.repo.collect import (
    OLD_FILE,
    PIPELINE_FILE,
    Out,
    Stage,
    WorkspaceSource,
    collect,
    read_stages,
)

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class TargetMissingError(InputError):
    """A target is neither a metafile, nor a stage, nor an output, nor a path inside one."""

    code = "target-missing"


class Selected(NamedTuple):
    """One output that is meant.

    Attributes:
        inner: "" for the whole output, else the path inside the tracked directory that is meant.
    """

    stage: Stage
    out: Out
    inner: str = ""

    @property
    def path(self) -> str:
        """What is meant, relative to the root."""
        return f"{self.out.path}/{self.inner}" if self.inner else self.out.path


def all_outputs(stages: Iterable[Stage]) -> list[Selected]:
    """Returns each output of the stages."""
    return [Selected(stage, out) for stage in stages for out in stage.outs]


def select(
    repository: Repository,
    targets: Sequence[str],
    *,
    with_deps: bool = False,
    recursive: bool = False,
    may_be_inner: bool = True,
) -> list[Selected]:
    """Returns the outputs that the targets mean, in order, each once; all outputs when there is no target.

    Args:
        with_deps: also the outputs of all stages that the targets depend on.
        recursive: a folder among the targets means all metafiles below it.
        may_be_inner: a path inside a tracked directory is allowed.

    Raises:
        TargetMissingError: a target means nothing.
        FormatError: a metafile cannot be understood.
    """
    source = WorkspaceSource(repository)
    if not targets:
        return all_outputs(collect(source))
    everything: list[Stage] | None = collect(source) if with_deps else None
    found: list[Selected] = []
    for target in targets:
        picked = None
        if everything is None and not recursive:
            picked = _quick(repository, source, target)
        if picked is None:
            if everything is None:
                everything = collect(source)
            picked = _pick(
                repository,
                everything,
                target,
                recursive=recursive,
                may_be_inner=may_be_inner,
            )
        found += picked
    if with_deps and everything is not None:
        found = [
            *all_outputs(_ancestors(everything, [item.stage for item in found])),
            *found,
        ]
    return list({(item.out.stage, item.path): item for item in found}.values())


def meant_stages(
    repository: Repository, targets: Sequence[str], *, with_deps: bool = False, recursive: bool = False
) -> list[Stage]:
    """Returns the stages that the targets mean, those without outputs included; all of them when there is no target.

    Raises: as `select`.
    """
    whole, parts, everything = _meant(
        repository, targets, is_quick=not (with_deps or recursive), recursive=recursive
    )
    found = [*whole, *(item.stage for item in parts)]
    if with_deps:
        found = [*_ancestors(everything, found), *found]
    return list({stage.address: stage for stage in found}.values())


def stages_of(
    repository: Repository, stages: Sequence[Stage], target: str, *, recursive: bool = False
) -> list[Stage]:
    """Returns the stages that one target means: by name, file, output, or with `recursive` folder.

    Args: stages: all there are.

    Raises: TargetMissingError.
    """
    found = _by_name(repository, stages, target)
    if found:
        return found
    rel = repository.rel(target)
    found = [stage for stage in stages if stage.file == rel]
    if not found and recursive and os.path.isdir(repository.abspath(rel)):
        prefix = rel + "/" if rel else ""
        return [stage for stage in stages if stage.file.startswith(prefix)]
    if not found:
        found = [stage for stage in stages if any(out.path == rel for out in stage.outs)]
    if found or (posixpath.basename(rel) == PIPELINE_FILE and os.path.isfile(repository.abspath(rel))):
        return found
    raise _missing(repository, stages, target)


def meant_parts(
    repository: Repository, targets: Sequence[str], *, with_deps: bool = False, recursive: bool = False
) -> list[tuple[Stage, set[str] | None]]:
    """Returns what `meant_stages` returns, each with the paths of the outputs that are meant, or None for all.

    A target that is an output, or a path in one, means that output alone, and `with_deps` adds nothing to it, as in
    DVC.

    Raises: as `select`.
    """
    whole, parts, everything = _meant(
        repository, targets, is_quick=not (with_deps or recursive), recursive=recursive
    )
    if with_deps:
        whole = [*_ancestors(everything, whole), *whole]
    found: dict[str, tuple[Stage, set[str] | None]] = {stage.address: (stage, None) for stage in whole}
    for item in parts:
        _, paths = found.setdefault(item.stage.address, (item.stage, set()))
        if paths is not None:
            paths.add(item.out.path)
    return list(found.values())


def _meant(
    repository: Repository, targets: Sequence[str], *, is_quick: bool, recursive: bool
) -> tuple[list[Stage], list[Selected], list[Stage]]:
    """Returns stages that are meant as a whole, single outputs that are, and all stages if they had to be read."""
    source = WorkspaceSource(repository)
    if not targets:
        everything = collect(source)
        return everything, [], everything
    quick = [_quick(repository, source, target) if is_quick else None for target in targets]
    everything = collect(WorkspaceSource(repository)) if None in quick else []
    whole: list[Stage] = []
    parts: list[Selected] = []
    for target, picked in zip(targets, quick, strict=True):
        named = [] if picked is not None else _by_name(repository, everything, target)
        whole += named
        if named:
            continue
        if picked is None:
            picked = _pick(repository, everything, target, recursive=recursive, may_be_inner=True)
        rel = repository.rel(target)
        inside = [item for item in picked if rel == item.out.path or rel.startswith(item.out.path + "/")]
        parts += inside
        whole += [] if inside else [item.stage for item in picked]
    return whole, parts, everything


def expand_globs(repository: Repository, patterns: Sequence[str]) -> list[str]:
    """Returns the metafiles and outputs that patterns match, as targets; a pattern without wildcard stands for itself.

    Raises: TargetMissingError: a pattern matches nothing.
    """
    import fnmatch  # only with --glob

    stages = collect(WorkspaceSource(repository))
    known = [
        repository.shown(path) for stage in stages for path in (stage.file, *(out.path for out in stage.outs))
    ]
    found: list[str] = []
    for pattern in patterns:
        depth = pattern.count("/")
        matching = [pattern]
        if any(char in pattern for char in "*?["):
            # A star stays in its folder, but for "**".
            found_all = fnmatch.filter(known, pattern)
            matching = [path for path in found_all if path.count("/") == depth or "**" in pattern]
        if not matching:
            raise TargetMissingError(
                f"cannot find '{pattern}': no output or metafile matches", hint="kist list . -R --dvc-only"
            )
        found += matching
    return list(dict.fromkeys(found))


def _quick(repository: Repository, source: WorkspaceSource, target: str) -> list[Selected] | None:
    """Returns what a target means if one metafile says it, without reading all the others."""
    if ":" in target:
        return None
    rel = repository.rel(target)
    if rel.endswith(".dvc") or posixpath.basename(rel) == OLD_FILE:
        if os.path.isfile(repository.abspath(rel)):
            return all_outputs(read_stages(source, rel))
        return None
    beside = rel + ".dvc"
    if rel and os.path.isfile(repository.abspath(beside)):
        picked = [item for item in all_outputs(read_stages(source, beside)) if item.out.path == rel]
        return picked or None
    return None


def _pick(
    repository: Repository,
    stages: Sequence[Stage],
    target: str,
    *,
    recursive: bool,
    may_be_inner: bool,
) -> list[Selected]:
    named = _by_name(repository, stages, target)
    if named:
        return all_outputs(named)
    rel = repository.rel(target)
    by_file = [stage for stage in stages if stage.file == rel]
    if by_file:
        return all_outputs(by_file)
    if recursive and os.path.isdir(repository.abspath(rel)):
        prefix = rel + "/" if rel else ""
        return all_outputs(stage for stage in stages if stage.file.startswith(prefix))
    exact = [item for item in all_outputs(stages) if item.out.path == rel]
    if exact:
        return exact
    if may_be_inner:
        inside = [
            Selected(item.stage, item.out, rel[len(item.out.path) + 1 :])
            for item in all_outputs(stages)
            if rel.startswith(item.out.path + "/")
        ]
        if inside:
            return inside
    raise _missing(repository, stages, target)


def _by_name(repository: Repository, stages: Sequence[Stage], target: str) -> list[Stage]:
    meant = parse_stage_target(target)
    if meant is None or posixpath.basename(meant.file) != PIPELINE_FILE:
        return []
    file = repository.rel(meant.file)
    resolved = [stage.resolved for stage in stages if stage.file == file and stage.resolved is not None]
    chosen = {found.address for found in select_stages(resolved, meant.name)}
    return [stage for stage in stages if stage.address in chosen]


def shown_stage(repository: Repository, stage: Stage) -> str:
    """Returns a stage's name as the person types it here: `train`, `sub/dvc.yaml:train`, `data.dvc`."""
    file = repository.shown(stage.file)
    if stage.name is None:
        return file
    return stage.name if file == PIPELINE_FILE else f"{file}:{stage.name}"


def _missing(repository: Repository, stages: Sequence[Stage], target: str) -> TargetMissingError:
    known = [repository.shown(item.out.path) for item in all_outputs(stages)]
    known += [repository.shown(stage.file) for stage in stages]
    known += [stage.name for stage in stages if stage.name]
    near = closest(target, known)
    hint = f"did you mean '{near}'?" if near else "kist list . -R --dvc-only"
    return TargetMissingError(
        f"cannot find '{target}': it is no output, no stage and no metafile of this repository",
        hint=hint,
    )


def _ancestors(stages: Sequence[Stage], wanted: Sequence[Stage]) -> list[Stage]:
    """Returns the stages that `wanted` depend on, directly or not, in the order of `stages`."""
    makers = [(item.out.path, item.stage) for item in all_outputs(stages)]
    reached: dict[str, Stage] = {}
    pending = list(wanted)
    while pending:
        for dep in dependencies(pending.pop()):
            for path, maker in makers:
                if _touch(path, dep) and maker.address not in reached:
                    reached[maker.address] = maker
                    pending.append(maker)
    return [stage for stage in stages if stage.address in reached]


def dependencies(stage: Stage) -> list[str]:
    """Returns the paths that a stage reads, relative to the root."""
    if stage.resolved is not None:
        paths = [dep for dep in stage.resolved.deps if "://" not in dep]
    elif stage.metafile is not None and not stage.is_import:
        paths = [dep.path for dep in stage.metafile.deps if "://" not in dep.path]
    else:
        return []
    return [posixpath.normpath(posixpath.join(stage.wdir, path)) for path in paths]


def _touch(first: str, second: str) -> bool:
    return first == second or first.startswith(second + "/") or second.startswith(first + "/")

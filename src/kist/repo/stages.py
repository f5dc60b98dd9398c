"""`stage add`, `stage list`, `freeze`, `unfreeze`: stages as metafiles have them. Runs nothing.

Not here: running (repro). Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
import string
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.errors import FormatError, InputError
from kist.formats.dvcyaml import parse_dvcyaml
from kist.formats.dvcyaml_edit import StageText, with_frozen, with_stage
from kist.pipeline.graph import build
from kist.repo.collect import PIPELINE_FILE, Stage, WorkspaceSource, collect, read_stages
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.repro_plan import graph_nodes
from kist.repo.targets import TargetMissingError, stages_of

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class StageExistsError(InputError):
    """There is a stage of this name already. `--force` replaces it."""

    code = "stage-exists"


class StageNameError(InputError):
    """A stage cannot be called that."""

    code = "stage-name"


class GeneratedStageError(InputError):
    """A stage that `foreach`, `matrix` or `${}` makes cannot be changed by a command; the person edits `dvc.yaml`."""

    code = "generated-stage"


class _Proposed(WorkspaceSource):
    """The workspace with one file as it is to be."""

    def __init__(self, repository: Repository, path: str, data: bytes) -> None:
        super().__init__(repository)
        self._path = path
        self._data = data

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where it is missing."""
        return self._data if path == self._path else super().read(path)

    def metafiles(self) -> Iterator[str]:
        """Yields metafiles as on disk, and the file that is to be."""
        is_there = False
        for path in super().metafiles():
            is_there = is_there or path == self._path
            yield path
        if not is_there:
            yield self._path


def add_stage(repository: Repository, stage: StageText, *, force: bool = False) -> list[str]:
    """Adds a stage to the `dvc.yaml` here; returns the files that the person still has to stage.

    Raises: StageNameError, StageExistsError, GraphError, FormatError.
    """
    if any(char in string.punctuation and char not in "-_" for char in stage.name) or not stage.name:
        raise StageNameError(
            f"cannot call a stage '{stage.name}': expected letters, digits, '-' and '_'",
            hint="choose another name with `--name`",
        )
    with repository.lock():
        path = repository.rel(PIPELINE_FILE)
        absolute = repository.abspath(path)
        previous = read_bytes(absolute)
        known = parse_dvcyaml(previous, name=path).stages if previous is not None else {}
        if stage.name in known and not force:
            raise StageExistsError(
                f"cannot add stage '{stage.name}': it is in '{repository.shown(path)}' already",
                hint="replace it with `--force`, or choose another name with `--name`",
            )
        data = with_stage(previous, stage, name=path)
        everything = collect(_Proposed(repository, path, data))
        build(graph_nodes(everything))
        own = next(one for one in everything if one.file == path and one.name == stage.name)
        changes = Changes(repository)
        for out in own.outs:
            folder = os.path.dirname(repository.abspath(out.path))
            if out.is_inside and out.output.use_cache and os.path.isdir(folder):
                changes.ignore(out.path)
        atomic.write_file(absolute, data)
        changes.note(path)
        return changes.finish()


def list_stages(
    repository: Repository,
    targets: Sequence[str],
    *,
    everything: bool = False,
    recursive: bool = False,
    strict: bool = False,
) -> list[Stage]:
    """Returns the stages that targets mean; those of `dvc.yaml` here without one.

    Args:
        everything: all stages there are.
        strict: a metafile that cannot be read is an error; else it is passed over where all are meant.

    Raises: TargetMissingError, FormatError.
    """
    on_damage = None if strict else _pass_over
    if everything:
        return collect(WorkspaceSource(repository), on_damage=on_damage)
    if not targets:
        path = repository.rel(PIPELINE_FILE)
        if not os.path.isfile(repository.abspath(path)):
            raise TargetMissingError(
                f"cannot find '{PIPELINE_FILE}': it does not exist here", hint="kist stage list --all"
            )
        return read_stages(WorkspaceSource(repository), path)
    damaged: dict[str, FormatError] = {}
    known = collect(WorkspaceSource(repository), on_damage=damaged.__setitem__)
    found: dict[str, Stage] = {}
    for target in targets:
        file = repository.rel(target.rpartition(":")[0] or PIPELINE_FILE)
        for path in (repository.rel(target), file):
            if path in damaged:
                raise damaged[path]
        picked = stages_of(repository, known, target, recursive=recursive)
        found.update({stage.address: stage for stage in picked})
    return list(found.values())


def _pass_over(path: str, error: FormatError) -> None:
    """Leaves a metafile out that cannot be read."""


def describe(stage: Stage, width: int = 80) -> str:
    """Returns one line of text for a stage: its own, or what it makes and reads."""
    text = stage.resolved.desc if stage.resolved is not None else None
    if stage.metafile is not None:
        text = stage.metafile.desc
    text = " ".join((text or _generated(stage)).split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _generated(stage: Stage) -> str:
    outs = [out.output.path for out in stage.outs if not (out.output.metric or out.output.plot)]
    reports = [out.output.path for out in stage.outs if out.output.metric or out.output.plot]
    parts = []
    if outs:
        parts.append("Outputs " + ", ".join(outs))
    if reports:
        parts.append("Reports " + ", ".join(reports))
    if parts:
        return "; ".join(parts)
    reads: list[str] = []
    if stage.resolved is not None:
        reads = [*stage.resolved.deps, *stage.resolved.params]
    return "Depends on " + ", ".join(reads) if reads else "No outputs or dependencies"


def set_frozen(repository: Repository, target: str, *, frozen: bool) -> Stage:
    """Freezes one stage or `.dvc` file, or takes that back; returns it.

    Raises: TargetMissingError, GeneratedStageError, FormatError.
    """
    with repository.lock():
        known = collect(WorkspaceSource(repository))
        found = stages_of(repository, known, target)
        stage = found[0] if found else None
        if stage is None or len(found) > 1 or (stage.resolved is not None and stage.resolved.group):
            raise GeneratedStageError(
                f"cannot change '{target}': it does not stand for one stage of its own in a metafile",
                hint="write frozen: true into dvc.yaml by hand",
            )
        changes = Changes(repository)
        if stage.metafile is not None:
            changes.write_metafile(stage.file, stage.metafile._replace(frozen=frozen))
            return stage
        assert stage.name is not None
        absolute = repository.abspath(stage.file)
        previous = read_bytes(absolute) or b""
        entry = parse_dvcyaml(previous, name=stage.file).stages[stage.name]
        if "${" in str(entry.body):
            raise GeneratedStageError(
                f"cannot change '{target}': it is written with `${{}}`",
                hint="write frozen: true into dvc.yaml by hand",
            )
        data = with_frozen(previous, stage.name, frozen=frozen, name=stage.file)
        if data != previous:
            atomic.write_file(absolute, data)
        return stage

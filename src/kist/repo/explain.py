"""Why each stage will or will not run: which dependency, which parameter from what to what, which command.

Not here: the comparison (pipeline.changes); `repro --dry`, which shows commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.formats.params import MISSING, lookup
from kist.formats.records import Digest
from kist.pipeline.changes import DELETED, NEW, NOT_IN_CACHE, StageChanges
from kist.repo.collect import Stage
from kist.repo.data import algorithm_of, digest_of
from kist.repo.repro_plan import Plan, Scope, plan
from kist.repo.sight import Sight
from kist.repo.status import stage_differences, stage_status
from kist.repo.targets import shown_stage

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_SHOWN = 60
"""How much of a value is shown."""


class Explained(NamedTuple):
    """One stage.

    Attributes:
        stage: as the person types it.
        runs: it would run; of a `.dvc` file: it would be recorded anew.
        reasons: one line each; why it runs, or why it does not.
    """

    stage: str
    runs: bool
    reasons: list[str]


def explain(
    repository: Repository, targets: Sequence[str], scope: Scope, *, force: bool = False
) -> list[Explained]:
    """Returns what `repro` with the same targets would find, in its order.

    Raises: TargetMissingError, GraphError, FormatError, OSError.
    """
    chosen = plan(repository, targets, scope)
    sight = Sight(repository)
    sight.prime(chosen.stages)
    running: set[str] = set()
    found = []
    for stage in chosen.stages:
        reasons = list(_reasons(repository, stage, sight))
        if stage.resolved is not None:
            reasons += _above(repository, chosen, stage, running)
        if force:
            reasons.append("all stages are to run")
        if reasons and stage.resolved is not None and not stage.resolved.frozen:
            running.add(stage.address)
        is_frozen = stage.resolved is not None and stage.resolved.frozen
        if is_frozen:
            reasons.append("it is frozen: what it depends on does not count, and its command does not run")
        runs = bool(reasons) and not is_frozen
        found.append(Explained(shown_stage(repository, stage), runs, reasons or ["nothing changed"]))
    return found


def _above(repository: Repository, chosen: Plan, stage: Stage, running: set[str]) -> Iterator[str]:
    if stage.resolved is None or stage.resolved.frozen:
        return
    names = {one.address: shown_stage(repository, one) for one in chosen.stages}
    for maker in chosen.graph.makers[stage.address]:
        if maker in running:
            yield f"it reads what '{names[maker]}' makes, which runs before"


def _reasons(repository: Repository, stage: Stage, sight: Sight) -> Iterator[str]:
    if stage.resolved is None:
        yield from _of_metafile(repository, stage, sight)
        return
    differences = stage_differences(repository, stage, sight)
    if stage.locked is None:
        yield "it never ran"
        return
    if differences.is_always_changed:
        is_told = stage.resolved.always_changed
        yield "it runs each time" + (": `always_changed`" if is_told else ": it reads and makes nothing")
    if differences.is_command_changed:
        yield f"the command changed: {_short(stage.locked.cmd)} -> {_short(stage.resolved.cmd)}"
    yield from _of_dependencies(repository, stage, sight, differences)
    yield from _of_outputs(repository, stage, sight, differences.outs)


def _of_dependencies(
    repository: Repository, stage: Stage, sight: Sight, differences: StageChanges
) -> Iterator[str]:
    assert stage.resolved is not None and stage.locked is not None
    recorded = {stage.resolved.rooted(dep.path): dep.digest for dep in stage.locked.deps}
    files = {stage.resolved.rooted(file): file for file in stage.resolved.params}
    for path, word in differences.deps.items():
        if isinstance(word, dict):
            old = stage.locked.params.get(files[path], {})
            new = sight.params(path) or {}
            is_whole = stage.resolved.params[files[path]] is None
            for key, what in word.items():
                value = new.get(key, MISSING) if is_whole else lookup(new, key)
                yield _param(f"{repository.shown(path)}: {key}", what, old.get(key), value)
        elif path in files and path not in recorded:
            what = "is missing" if word == DELETED else "was never recorded"
            yield f"the parameter file '{repository.shown(path)}' {what}"
        else:
            shown = path if "://" in path else repository.shown(path)
            yield f"the dependency '{shown}' {_data(repository, sight, path, word, recorded.get(path))}"


def _of_outputs(repository: Repository, stage: Stage, sight: Sight, outs: dict[str, str]) -> Iterator[str]:
    recorded = {out.path: out.output.digest for out in stage.outs}
    for path, word in outs.items():
        yield f"the output '{repository.shown(path)}' {_data(repository, sight, path, word, recorded[path])}"


def _of_metafile(repository: Repository, stage: Stage, sight: Sight) -> Iterator[str]:
    recorded = {repository.shown(out.path): out for out in stage.outs if out.is_inside}
    for item in stage_status(repository, stage, sight):
        if isinstance(item, str):
            yield item
            continue
        for shown, word in item.get("changed outs", {}).items():
            out = recorded[shown]
            yield f"'{shown}' {_data(repository, sight, out.path, word, out.output.digest)}"


def _data(repository: Repository, sight: Sight, path: str, word: Any, recorded: Digest | None) -> str:
    """Returns what happened to data, after its name."""
    if word == DELETED:
        return "is missing"
    if word == NOT_IN_CACHE:
        return "is not in the cache"
    if recorded is None:
        return "was never recorded"
    algorithm = algorithm_of(recorded)
    now = digest_of(repository, sight.looks[path, algorithm], algorithm=algorithm)
    return f"changed: {_brief(recorded)} -> {_brief(now)}"


def _brief(digest: Digest | None) -> str:
    if digest is None:
        return "nothing"
    return digest.value[:8] + (".dir" if digest.is_dir else "")


def _param(name: str, word: str, old: Any, new: Any) -> str:
    if word == NEW:
        return f"the parameter {name} is new: {_short(new)}"
    if word == DELETED:
        return f"the parameter {name} is gone; it was {_short(old)}"
    return f"the parameter {name} changed: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str | list) else _plain(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)

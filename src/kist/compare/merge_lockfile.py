"""The three-way merge of `dvc.lock`, bytes in and bytes out: stage by stage, and never a run that nobody made. Pure.

Not here: `.dvc` files (merge_metafile). Implements docs/spec/merging.md, section 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kist.compare.merge import THEIRS, Choose, Clash, Decision, Side, merge_value
from kist.compare.merge_metafile import Merged, merge_texts
from kist.errors import FormatError
from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.records import Dependency, LockedStage, Lockfile, Output

_CMD = ("cmd", "")
_OUTS = "outs"
_TWO_RUNS = "stage '{}' was run on both sides, each with other inputs; run it again on what was merged"


class _Side3(NamedTuple):
    base: Any
    ours: Any
    theirs: Any


def merge_lockfile(base: bytes | None, ours: bytes, theirs: bytes, *, name: str, choose: Choose) -> Merged:
    """Returns the merge of a `dvc.lock`; `base` is None where both sides added it.

    Raises: FormatError: `ours` or `theirs` cannot be read. A `base` that cannot be read counts as none.
    """
    before, mine, other = (
        _parse(base, name),
        parse_lockfile(ours, name=name),
        parse_lockfile(theirs, name=name),
    )
    merger = _Merger(choose)
    empty = Lockfile({})
    stages = {}
    for stage in dict.fromkeys([*mine.stages, *other.stages]):
        three = _Side3(*(file.stages.get(stage) for file in (before or empty, mine, other)))
        kept = merger.stage(stage, three)
        if kept is not None:
            stages[stage] = kept
    datasets = merger.datasets(before or empty, mine, other)
    merged = Lockfile(stages, datasets)

    def render(previous: bytes | None) -> bytes:
        return render_lockfile(merged, previous)

    texts = (base if before is not None else None, ours, theirs)
    data = merge_texts(render, texts, choose, merger.decisions)
    return Merged(data, merger.decisions, [], merger.notes)


def _parse(data: bytes | None, name: str) -> Lockfile | None:
    if data is None:
        return None
    try:
        return parse_lockfile(data, name=name)
    except FormatError:
        return None


class _Merger:
    """Merges stages and collects what comes up."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.decisions: list[Decision] = []
        self.notes: list[str] = []

    def _pick(self, clash: Clash, three: _Side3) -> Any:
        choice = self._choose(clash)
        self.decisions.append(Decision(clash, choice))
        return three.theirs if choice == THEIRS else three.ours

    def stage(self, name: str, three: _Side3) -> LockedStage | None:
        """Returns a stage's record, or None where it is to go."""
        runs = _Side3(*(None if stage is None else entries(stage) for stage in three))
        run, clashes = merge_value(*runs)
        if clashes and runs.ours is not None and runs.theirs is not None:
            mixed = _mixed(runs)
            if mixed in (runs.ours, runs.theirs):
                run, clashes = mixed, False  # one side did what the other did, and more
            else:
                outs = _Side3(*(None if one is None else _outs(one) for one in runs))
                value, clashes = merge_value(*outs)
                run = runs.ours if value == outs.ours else runs.theirs
                if not clashes:
                    self.notes.append(_TWO_RUNS.format(name))
        if clashes:
            sides = [_side(three.base, stage) for stage in (three.ours, three.theirs)]
            chosen: LockedStage | None = self._pick(Clash(name, "", "", sides[0], sides[1]), three)
            return chosen
        kept: LockedStage | None = three.ours if run == runs.ours else three.theirs
        return kept

    def datasets(self, base: Lockfile, ours: Lockfile, theirs: Lockfile) -> tuple[dict[str, Any], ...]:
        """Returns the `datasets` list, matched by name."""
        files = (base, ours, theirs)
        named: list[dict[str, Any]] = [
            {str(item.get("name")): item for item in file.datasets} for file in files
        ]
        if any(len(names) < len(file.datasets) for names, file in zip(named, files, strict=True)):
            named = [{"": file.datasets} for file in files]  # no names of their own: one value
        found = []
        for name in dict.fromkeys([*named[1], *named[2]]):
            three = _Side3(*(names.get(name) for names in named))
            value, clashes = merge_value(*three)
            if clashes:
                field = f"datasets {name}".rstrip()
                value = self._pick(Clash("", "", field, Side("changed"), Side("changed")), three)
            if value is not None:
                found += [value] if name else list(value)
        return tuple(found)


def entries(stage: LockedStage) -> dict[tuple[str, str], Any]:
    """Returns what a run consisted of: (kind, name) -> what identifies it; figures are left out."""
    found: dict[tuple[str, str], Any] = {_CMD: stage.cmd}
    found.update((("deps", dep.path), _identity(dep)) for dep in stage.deps)
    for file, values in stage.params.items():
        # As text: 1, 1.0 and true are equal otherwise, and None looks like a parameter that is not there.
        found.update(((f"params {file}", name), repr(value)) for name, value in values.items())
    found.update(((_OUTS, out.path), _identity(out)) for out in stage.outs)
    return found


def _identity(entry: Dependency | Output) -> tuple[Any, ...]:
    extra = entry.extra if isinstance(entry, Dependency) else None
    return entry.digest, entry.files, entry.version_id, entry.cloud, entry.isexec, extra


def _outs(run: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    return {key: value for key, value in run.items() if key[0] == _OUTS}


def _mixed(runs: _Side3) -> dict[tuple[str, str], Any] | None:
    """Returns the entries merged one by one, or None where some clash."""
    mixed: dict[tuple[str, str], Any] = {}
    for key in dict.fromkeys([*runs.ours, *runs.theirs]):
        value, clashes = merge_value(*((run or {}).get(key) for run in runs))
        if clashes:
            return None
        if value is not None:
            mixed[key] = value
    return mixed


def _side(base: LockedStage | None, stage: LockedStage | None) -> Side:
    if stage is None:
        return Side("removed")
    digests = tuple(out.digest for out in stage.outs if out.digest is not None)
    sizes = [out.size for out in stage.outs]
    size = sum(size or 0 for size in sizes) if None not in sizes else None
    return Side("added" if base is None else "changed", digests, size)

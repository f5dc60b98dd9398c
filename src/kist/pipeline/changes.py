"""What of a stage differs from its lock: dependencies, parameters, outputs, command. Pure: looking is injected.

Not here: hashing, reading parameter files, printing. Implements docs/spec/pipelines.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kist.formats.params import MISSING, lookup
from kist.formats.records import Dependency, LockedStage, Output
from kist.pipeline.locked import locked_dependencies, locked_outputs
from kist.pipeline.resolve import ResolvedStage

NEW = "new"
MODIFIED = "modified"
DELETED = "deleted"
NOT_IN_CACHE = "not in cache"
ALWAYS_CHANGED = "always changed"
CHANGED_COMMAND = "changed command"

Changes = dict[str, str | dict[str, str]]


class StageChanges(NamedTuple):
    """What differs. Paths are relative to the repository's root; addresses and absolute paths as written.

    Attributes:
        deps: path -> word; parameter file -> word, or key -> word.
        outs: path -> word.
    """

    deps: Changes
    outs: dict[str, str]
    is_always_changed: bool
    is_command_changed: bool

    def __bool__(self) -> bool:
        """Says whether anything differs."""
        return bool(self.deps or self.outs or self.is_always_changed or self.is_command_changed)

    def as_list(self, show: Callable[[str], str]) -> list[str | dict[str, Any]]:
        """Returns the stage's value in the JSON of `status`, as DVC has it.

        Args:
            show: returns a path as the person is to see it.
        """
        items: list[str | dict[str, Any]] = []
        if self.deps:
            items.append({"changed deps": {show(path): change for path, change in self.deps.items()}})
        if self.outs:
            items.append({"changed outs": {show(path): change for path, change in self.outs.items()}})
        if self.is_always_changed:
            items.append(ALWAYS_CHANGED)
        if self.is_command_changed:
            items.append(CHANGED_COMMAND)
        return items


def stage_changes(
    stage: ResolvedStage,
    locked: LockedStage | None,
    *,
    exists: Callable[[str], bool],
    is_same: Callable[[str, Output | Dependency], bool],
    is_cached: Callable[[Output], bool],
    read_params: Callable[[str], dict[Any, Any] | None],
) -> StageChanges:
    """Returns what differs between a stage and its lock.

    Args:
        locked: the stage's entry in the lock; None when it never ran.
        exists: says whether there is anything at a path (relative to the root, or an address).
        is_same: says whether what is at a path is what the record says; asked only where there is something at the
            path and something in the record.
        is_cached: says whether all of an output's objects are in the cache; asked only where something is recorded.
        read_params: returns the values of a parameter file by path, None when it is missing.
    """
    deps: Changes = {}
    if not stage.frozen:
        for dependency in locked_dependencies(stage, locked):
            path = stage.rooted(dependency.path)
            change = _data_change(path, dependency, exists, is_same)
            if change is not None:
                deps[path] = change
        recorded = {} if locked is None else locked.params
        for file, keys in stage.params.items():
            path = stage.rooted(file)
            params = _params_change(keys, recorded.get(file), read_params(path))
            if params:
                deps[path] = params
    outs: dict[str, str] = {}
    for output in locked_outputs(stage, locked):
        path = stage.rooted(output.path)
        if output.use_cache and _is_recorded(output) and not is_cached(output):
            outs[path] = NOT_IN_CACHE
            continue
        change = _data_change(path, output, exists, is_same)
        if change is not None:
            outs[path] = change
    return StageChanges(
        deps=deps,
        outs=outs,
        is_always_changed=stage.always_changed or stage.is_callback,
        is_command_changed=locked is not None and locked.cmd != stage.cmd,
    )


def _is_recorded(item: Output | Dependency) -> bool:
    return item.digest is not None or item.files is not None


def _data_change(
    path: str,
    item: Output | Dependency,
    exists: Callable[[str], bool],
    is_same: Callable[[str, Output | Dependency], bool],
) -> str | None:
    if not exists(path):
        return DELETED
    if not _is_recorded(item) or not is_same(path, item):
        return MODIFIED
    return None


def _params_change(
    keys: tuple[str, ...] | None, recorded: dict[str, Any] | None, current: dict[Any, Any] | None
) -> str | dict[str, str] | None:
    """Returns the word for the whole file, or the words for its keys."""
    if current is None:
        return DELETED
    if recorded is None:
        return NEW
    if keys is None:
        # The keys at the top, which may hold dots.
        values = {str(key): value for key, value in current.items()}
        values = {key: values.get(key, MISSING) for key in [*recorded, *values]}
    else:
        values = {key: lookup(current, key) for key in keys}
    changes = {}
    for key, value in values.items():
        if value is MISSING:
            changes[key] = DELETED
        elif key not in recorded:
            changes[key] = NEW
        elif value != recorded[key]:
            changes[key] = MODIFIED
    return changes

"""The names that `${}` can refer to: `params.yaml`, `vars` of the file and of a stage, merged with their origins.

Not here: filling them in (interpolate). Implements docs/spec/pipelines.md, sections 3.1 and 3.2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from typing import Any

from kist.formats.params import DEFAULT_FILE, parse_params
from kist.pipeline.place import Place

Read = Callable[[str], bytes | None]
"""Returns the bytes of a file by its path relative to the folder of `dvc.yaml`; None when it is missing."""

_WHOLE = None


class Variables:
    """Names and values, each with the place that defined it. Values are never changed once they are handed out.

    Attributes:
        values: what `${}` looks in.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._origins: dict[tuple[str, ...], str] = {}
        self._loaded: dict[str, frozenset[str] | None] = {}

    @classmethod
    def of_file(cls, place: Place, read: Read) -> Variables:
        """Returns `params.yaml` beside the file, where it exists, and the file's own `vars`.

        Raises:
            ResolveError: `vars` name what is missing, or define a name twice.
            FormatError: a file cannot be read.
        """
        variables = cls()
        data = read(DEFAULT_FILE)
        if data is not None:
            variables._define(parse_params(data, name=_name(place, DEFAULT_FILE)), DEFAULT_FILE, place)
            variables._loaded[DEFAULT_FILE] = _WHOLE
        variables._load(place.file.vars, place.inside("vars"), ".", read, "")
        return variables

    def with_stage(self, items: Iterable[Any], place: Place, wdir: str, read: Read) -> Variables:
        """Returns these names and those of a stage's `vars`.

        Args:
            place: of the stage.
            wdir: base of the files, relative to the folder of `dvc.yaml`.
        Raises:
            ResolveError, FormatError: as for `of_file`.
        """
        copy = self._copy()
        stage = str((place.shown or place.path)[-1])
        copy._load(items, place.inside("vars"), wdir, read, f"{stage}.")
        return copy

    def with_item(self, names: dict[str, Any]) -> Variables:
        """Returns these names, and a group's `item` and `key` in place of other variables of these names."""
        copy = self._copy()
        for name, value in names.items():
            copy.values[name] = value
            copy._origins = {path: origin for path, origin in copy._origins.items() if path[0] != name}
            copy._origins[name,] = "the group"
        return copy

    def _copy(self) -> Variables:
        copy = Variables()
        copy.values = dict(self.values)
        copy._origins = dict(self._origins)
        copy._loaded = dict(self._loaded)
        return copy

    def _load(self, items: Iterable[Any], place: Place, wdir: str, read: Read, prefix: str) -> None:
        for index, item in enumerate(items):
            at = place.inside(index)
            if _has_reference(item):
                at.fail("'vars' can hold no ${}")
            if isinstance(item, dict):
                self._define(item, f"{prefix}vars[{index}]", at)
            else:
                self._load_file(item, at, wdir, read)

    def _load_file(self, item: str, place: Place, wdir: str, read: Read) -> None:
        file, _colon, listed = item.partition(":")
        keys = [key.strip() for key in listed.split(",")] if listed else []
        path = posixpath.normpath(posixpath.join(wdir, file))
        if not self._is_new(path, keys, item, place):
            return
        data = read(path) if file else None
        if data is None:
            place.fail(f"the file '{file}' does not exist")
        values = parse_params(data, name=_name(place, path))
        for key in keys:
            if key not in values:
                place.fail(f"'{file}' has no key '{key}'")
        self._define({key: values[key] for key in keys} if keys else values, file, place)

    def _is_new(self, path: str, keys: list[str], item: str, place: Place) -> bool:
        """Notes what of a file is loaded; False when it is loaded whole, and wanted whole again."""
        if path not in self._loaded:
            self._loaded[path] = frozenset(keys) if keys else _WHOLE
            return True
        before = self._loaded[path]
        if before is _WHOLE:
            if keys:
                place.fail(f"'{item}' takes keys of a file that is loaded whole already")
            return False
        if not keys or before.intersection(keys):
            place.fail(f"'{item}' takes keys that are loaded from this file already")
        self._loaded[path] = before.union(keys)
        return True

    def _define(self, new: dict[Any, Any], origin: str, place: Place) -> None:
        self.values = self._merged(self.values, new, (), origin, place)

    def _merged(
        self,
        old: dict[Any, Any],
        new: dict[Any, Any],
        path: tuple[str, ...],
        origin: str,
        place: Place,
    ) -> dict[Any, Any]:
        merged = dict(old)
        for key, value in new.items():
            at = (*path, str(key))
            if key not in merged:
                merged[key] = value
                self._origins[at] = origin
            elif isinstance(merged[key], dict) and isinstance(value, dict):
                merged[key] = self._merged(merged[key], value, at, origin, place)
            else:
                place.fail(f"'{'.'.join(at)}' of '{origin}' is defined in '{self._origin(at)}' already")
        return merged

    def _origin(self, path: tuple[str, ...]) -> str:
        """Returns where a name was defined: the nearest note at it or above it."""
        while path not in self._origins and len(path) > 1:
            path = path[:-1]
        return self._origins.get(path, "")


def _name(place: Place, path: str) -> str:
    """Returns a file's name for messages, from its path relative to the folder of `dvc.yaml`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place.file.name), path))


def _has_reference(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value.replace("\\${", "")
    if isinstance(value, dict):
        return any(map(_has_reference, value)) or any(map(_has_reference, value.values()))
    return isinstance(value, list) and any(map(_has_reference, value))

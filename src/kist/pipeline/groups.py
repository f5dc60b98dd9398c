"""The stages that `foreach` and `matrix` stand for: their names, and what `item` and `key` are in each.

Not here: filling the stages in (resolve). Implements docs/spec/pipelines.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kist.formats.dvcyaml import StageEntry, kind
from kist.pipeline.interpolate import fill, find, reference, to_text
from kist.pipeline.place import Place

Names = dict[str, Any]


def expand(entry: StageEntry, names: Names, place: Place) -> Iterator[tuple[str, Names]]:
    """Yields for each stage of a group the part of its name after "@", and the names that only it has.

    Equal parts may come several times; the last one counts.

    Args:
        place: of the group.
    Raises:
        ResolveError: a name is not defined, a value is no list or mapping, a part cannot stand in a name.
    """
    pairs = _each(entry, names, place) if entry.matrix is None else _matrix(entry.matrix, names, place)
    for part, own in pairs:
        if not part or "@" in part:
            shown = f"{place.path[-1]}@{part}"
            place.fail(f"'{shown}' cannot name a stage: expected a value that is not empty and has no '@'")
        yield part, own


def _each(entry: StageEntry, names: Names, place: Place) -> Iterator[tuple[str, Names]]:
    at = place.inside("foreach")
    values, is_filled = _collection(entry.foreach, names, at)
    if isinstance(values, dict):
        for key, item in values.items():
            yield _part(key, is_filled), {"item": item, "key": key}
        return
    if not isinstance(values, list):
        at.fail(f"'{entry.foreach}' is {kind(values)}, expected a list or a mapping")
    texts = _texts(entry.foreach, values, is_filled)
    by_index = any(text is None for text in texts)
    for index, (text, item) in enumerate(zip(texts, values, strict=True)):
        yield str(index) if by_index or text is None else text, {"item": item}


def _matrix(matrix: dict[str, Any], names: Names, place: Place) -> Iterator[tuple[str, Names]]:
    combinations: list[tuple[list[str], Names]] = [([], {})]
    for variable, written in matrix.items():
        at = place.inside("matrix", variable)
        values, is_filled = _collection(written, names, at)
        if not isinstance(values, list):
            at.fail(f"'{written}' is {kind(values)}, expected a list")
        texts = [
            f"{variable}{index}" if text is None else text
            for index, text in enumerate(_texts(written, values, is_filled))
        ]
        combinations = [
            ([*parts, text], {**item, variable: value})
            for parts, item in combinations
            for text, value in zip(texts, values, strict=True)
        ]
    for parts, item in combinations:
        part = "-".join(parts)
        yield part, {"item": item, "key": part}


def _collection(written: Any, names: Names, place: Place) -> tuple[Any, bool]:
    """Returns a list or mapping with each `${}` filled, and whether all of it came out of one."""
    path = reference(written)
    if path is not None:
        return find(path, names, place), True
    return _filled(written, names, place), False


def _filled(written: Any, names: Names, place: Place) -> Any:
    """Returns what `fill` does, but lists and mappings may stand in a `${}` too."""
    path = reference(written)
    if path is not None:
        return find(path, names, place)
    if isinstance(written, list):
        return [_filled(item, names, place.inside(index)) for index, item in enumerate(written)]
    if isinstance(written, dict):
        return {
            fill(key, names, place): _filled(item, names, place.inside(key)) for key, item in written.items()
        }
    return fill(written, names, place)


def _texts(written: Any, values: list[Any], is_filled: bool) -> list[str | None]:
    """Returns the part of the name for each value; None for lists and mappings."""
    return [
        None
        if isinstance(value, list | dict)
        else _part(value, is_filled or reference(written[index]) is not None)
        for index, value in enumerate(values)
    ]


def _part(value: Any, is_filled: bool) -> str:
    return str(value) if is_filled else to_text(value)

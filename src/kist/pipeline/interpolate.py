"""Fills `${}` in values of a `dvc.yaml` from names; pure.

Not here: where the names come from (variables). Implements docs/spec/pipelines.md, sections 3.3 to 3.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from kist.base.suggest import closest
from kist.formats.dvcyaml import kind
from kist.pipeline.place import Place

_REFERENCE = re.compile(r"\$\{([^}\n]*)\}")
_ESCAPE_OR_REFERENCE = re.compile(r"\\\$\{|" + _REFERENCE.pattern)
_STEP = re.compile(r"[^.\[\]\s][^.\[\]]*")
_PATH = re.compile(rf"\s*{_STEP.pattern}(?:\.\s*{_STEP.pattern}|\[\s*{_STEP.pattern}\]\s*)*")
_MISSING = object()


class OptionStyle(NamedTuple):
    """How a mapping in `cmd` becomes options of a command line.

    Attributes:
        negates: false is `--no-key` (`parsing.bool = boolean_optional`), else nothing.
        repeats: a list is `--key v1 --key v2` (`parsing.list = append`), else `--key v1 v2`.
    """

    negates: bool = False
    repeats: bool = False


def fill(value: Any, names: dict[str, Any], place: Place, *, options: OptionStyle | None = None) -> Any:
    """Returns `value` with each `${}` in it filled, in keys too, at any depth.

    Args:
        options: given where a mapping may stand in a `${}`, and says how it becomes text.
    Raises:
        ResolveError: a name is not defined, or its value does not fit.
    """
    if isinstance(value, str):
        return _fill_text(value, names, place, options) if "${" in value else value
    if isinstance(value, list):
        return [fill(item, names, place.inside(at), options=options) for at, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            to_text(fill(key, names, place)) if isinstance(key, str) else key: fill(
                item, names, place.inside(key), options=options
            )
            for key, item in value.items()
        }
    return value


def reference(value: Any) -> str | None:
    """Returns the path in a text that is nothing but one `${path}`, else None."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else None


def find(path: str, names: dict[str, Any], place: Place) -> Any:
    """Returns the value that a path such as `a.b[0]` names.

    Raises:
        ResolveError: it is no path, or nothing has this name.
    """
    if not _PATH.fullmatch(path):
        place.fail(f"'${{{path}}}' is not a name: expected names joined by '.', or '[]' around one")
    value: Any = names
    for step in (step.strip() for step in _STEP.findall(path)):
        found = _step(value, step)
        if found is _MISSING:
            _fail_missing(path, step, value, place)
        value = found
    return value


def to_text(value: Any) -> str:
    """Returns a value as it stands inside of a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _step(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step, _MISSING)
    if isinstance(value, list):
        try:
            return value[int(step)]
        except (ValueError, IndexError):
            return _MISSING
    return _MISSING


def _fail_missing(path: str, step: str, value: Any, place: Place) -> NoReturn:
    known = [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []
    near = closest(step, known)
    guess = f"; did you mean '{near}'?" if near else ""
    place.fail(
        f"'{path.strip()}' is not defined{guess}",
        hint="define it in params.yaml beside the file, or under 'vars'; write \\${ for a plain ${",
    )


def _fill_text(text: str, names: dict[str, Any], place: Place, options: OptionStyle | None) -> Any:
    whole = reference(text)
    if whole is not None:
        return _fitting(whole, find(whole, names, place), place, options)

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        return to_text(_fitting(match[1], find(match[1], names, place), place, options))

    return _ESCAPE_OR_REFERENCE.sub(put, text)


def _fitting(path: str, value: Any, place: Place, options: OptionStyle | None) -> Any:
    """Returns a value that can stand in a text; a mapping as options of a command line where they are allowed."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict) and options is not None:
        return " ".join(_options(value, "--", options, path, place))
    return _fail_unfit(path, value, place, options)


def _fail_unfit(path: str, value: Any, place: Place, options: OptionStyle | None) -> NoReturn:
    where = "" if options is not None else "; a mapping fits only in 'cmd'" if isinstance(value, dict) else ""
    place.fail(f"'{path.strip()}' is {kind(value)}, expected a single value{where}")


def _options(
    values: dict[Any, Any], prefix: str, style: OptionStyle, path: str, place: Place
) -> Iterator[str]:
    import shlex  # few commands take a mapping

    def quoted(value: Any) -> str:
        return shlex.quote(value) if isinstance(value, str) else str(value)

    for key, value in values.items():
        option = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _options(value, option + ".", style, path, place)
        elif isinstance(value, bool):
            if value:
                yield option
            elif style.negates:
                yield f"--no-{option.removeprefix('--')}"
        elif isinstance(value, list):
            if any(isinstance(item, list | dict) for item in value):
                place.fail(
                    f"'{path.strip()}' has a list of lists or mappings in '{key}', expected single values"
                )
            if style.repeats:
                yield from (f"{option} {quoted(item)}" for item in value)
            elif value:
                yield " ".join([option, *map(quoted, value)])
        else:
            yield f"{option} {quoted(value)}"

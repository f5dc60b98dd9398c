"""Changes values in TOML text and leaves all else as it is. Pure.

Only values that stand on their own line behind their key; the result is read again, and must say what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kist.formats.params import MISSING, ParamsError, parse_params

_TABLE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
_PAIR = re.compile(r"(\s*)([A-Za-z0-9_\-.\"' ]+?)(\s*=\s*)(.*?)(\s*(?:#[^\"']*)?)$")


def edit_toml(old: bytes, values: dict[Any, Any], *, name: str) -> bytes:
    """Returns the text with other values.

    Raises: ParamsError: a change is of a kind that cannot be written.
    """
    before = parse_params(old, name=name)
    changes = dict(_differences(before, values, ()))
    table: tuple[str, ...] = ()
    lines = old.decode().splitlines(keepends=True)
    for number, line in enumerate(lines):
        body = line.rstrip("\r\n")
        heading = _TABLE.fullmatch(body)
        if heading is not None:
            table = _steps(heading[1])
            continue
        pair = _PAIR.fullmatch(body)
        path = (*table, *_steps(pair[2])) if pair is not None else ()
        if pair is not None and path in changes:
            value = changes.pop(path)
            if value is not MISSING:
                lines[number] = pair[1] + pair[2] + pair[3] + _text(value, name) + pair[5] + line[len(body) :]
            else:
                lines[number] = ""
    result = _with_new(
        "".join(lines), {path[0]: value for path, value in changes.items() if len(path) == 1}, name
    )
    if parse_params(result, name=name) != values:
        raise ParamsError(
            f"cannot write '{name}': the change does not fit its form",
            hint=f"change the value in '{name}' by hand",
        )
    return result


def _with_new(text: str, new: dict[str, Any], name: str) -> bytes:
    """Returns the text with new keys of the top in front."""
    lines = [f"{key} = {_text(value, name)}\n" for key, value in new.items() if value is not MISSING]
    return ("".join(lines) + text).encode()


def _differences(
    old: dict[Any, Any], new: dict[Any, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key in {**old, **new}:
        before, after = old.get(key, MISSING), new.get(key, MISSING)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, (*above, key))
        elif before != after or type(before) is not type(after):
            yield (*above, key), after


def _steps(dotted: str) -> tuple[str, ...]:
    return tuple(step.strip().strip("\"'") for step in dotted.split("."))


def _text(value: Any, name: str) -> str:
    import json  # a basic string of TOML is one of JSON

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ", ".join(_text(item, name) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(key))} = {_text(item, name)}" for key, item in value.items())
            + "}"
        )
    raise ParamsError(
        f"cannot write '{name}': TOML has no empty value", hint="give a text, a number or a list"
    )

"""Parameter files between bytes and values: YAML, JSON, TOML, and literals of Python; and dotted names in them.

Not here: which parameters a stage has (pipeline.resolve). Python files are parsed, never run.
Implements docs/spec/pipelines.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from kist.errors import FormatError
from kist.formats import yaml

if TYPE_CHECKING:
    import ast

DEFAULT_FILE = "params.yaml"

MISSING: Final = object()
"""What `lookup` returns where there is nothing; None is a value."""


class ParamsError(FormatError):
    """A parameter file cannot be read, or is no mapping of names to values; the user mends the file."""

    code = "params"


def parse_params(data: bytes, *, name: str) -> dict[Any, Any]:
    """Returns the values of a parameter file, nested as written; `name` decides the format.

    Keys are texts, but in YAML whatever stands there.

    Raises:
        ParamsError: bad syntax, or the top is no mapping.
        YamlError: bad YAML.
    """
    values = parse_values(data, name=name)
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ParamsError(f"cannot read '{name}': expected a mapping of names to values")
    return values


def parse_values(data: bytes, *, name: str) -> Any:
    """Returns what a file of parameters or metrics says, whatever its top is; an empty YAML file says None.

    Raises:
        ParamsError, YamlError: bad syntax.
    """
    if name.endswith(".json"):
        return _parse_json(data, name)
    if name.endswith(".toml"):
        return _parse_toml(data, name)
    if name.endswith(".py"):
        return _parse_python(data, name)
    return yaml.load(data, name=name)


def lookup(values: Any, dotted: str) -> Any:
    """Returns the value that `a.b.0` names, or MISSING."""
    for step in dotted.split("."):
        if isinstance(values, dict):
            # Keys of YAML may be numbers, true, or nothing.
            key = step if step in values else next((key for key in values if str(key) == step), MISSING)
            values = values.get(key, MISSING)
        elif isinstance(values, list):
            try:
                values = values[int(step)]
            except (ValueError, IndexError):
                return MISSING
        else:
            return MISSING
    return values


def pick(values: Any, names: Iterable[str]) -> dict[Any, Any]:
    """Returns the part of nested values that dotted names mean, nested as before; names without a value are left out.

    A step of a name may be a pattern (`*`, `?`, `[ab]`). In a list, items before the one that is meant are None.
    Source: DVC 3.67.1.
    """
    found: dict[Any, Any] = {}
    for name in dict.fromkeys(names):
        part = _pick(values, name.split("."))
        if isinstance(part, dict):
            found = _joined(found, part)
    return found


def _pick(values: Any, steps: list[str]) -> Any:
    from fnmatch import fnmatchcase  # only where parameters are compared

    if not steps:
        return values
    step, *rest = steps
    if isinstance(values, dict):
        parts = {key: _pick(item, rest) for key, item in values.items() if fnmatchcase(str(key), step)}
        return {key: part for key, part in parts.items() if part is not MISSING} or MISSING
    listed: list[Any] = []
    if isinstance(values, list):
        for index, item in enumerate(values):
            part = _pick(item, rest) if fnmatchcase(str(index), step) else MISSING
            if part is not MISSING:
                listed += [None] * (index - len(listed))
                listed.append(part)
    return listed or MISSING


def _joined(old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    joined = dict(old)
    for key, value in new.items():
        before = joined.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            joined[key] = _joined(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            joined[key] = before + value
        else:
            joined[key] = value
    return joined


def flatten(values: dict[Any, Any]) -> dict[str, Any]:
    """Returns all values that are no mappings, by dotted name, in file order; empty mappings stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat.update({f"{key}.{inner}": item for inner, item in flatten(value).items()})
        else:
            flat[str(key)] = value
    return flat


def _parse_json(data: bytes, name: str) -> Any:
    import json  # most parameter files are YAML

    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise ParamsError(
            f"cannot read '{name}': line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"cannot read '{name}': not UTF-8 text") from error
    except ValueError as error:
        raise ParamsError(f"cannot read '{name}': a number in it has too many digits") from error
    except RecursionError as error:
        raise ParamsError(f"cannot read '{name}': nested too deeply") from error


def _parse_toml(data: bytes, name: str) -> Any:
    import tomllib  # most parameter files are YAML

    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ParamsError(f"cannot read '{name}': not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ParamsError(f"cannot read '{name}': {error}") from error
    except ValueError as error:
        raise ParamsError(f"cannot read '{name}': a number in it has too many digits") from error
    except RecursionError as error:
        raise ParamsError(f"cannot read '{name}': nested too deeply") from error


def _parse_python(data: bytes, name: str) -> dict[str, Any]:
    import ast  # most parameter files are YAML

    try:
        tree = ast.parse(data, filename=name)
    except SyntaxError as error:
        place = "" if error.lineno is None else f"line {error.lineno}: "
        raise ParamsError(f"cannot read '{name}': {place}{error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        # Null bytes, and expressions nested until the parser's stack ends.
        raise ParamsError(f"cannot read '{name}': it is no Python text") from error
    return _module_or_class(tree.body, is_class=False)


def _module_or_class(body: list[ast.stmt], *, is_class: bool) -> dict[str, Any]:
    """Returns the literals that a module or a class assigns; those of classes inside are nested."""
    import ast

    found: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            inner = _module_or_class(statement.body, is_class=True)
            if inner:
                found[statement.name] = inner
        elif isinstance(statement, ast.FunctionDef):
            if is_class and statement.name == "__init__":
                found.update(pair for inner in statement.body for pair in _assigned(inner, "self"))
        else:
            found.update(_assigned(statement, None))
    return found


def _assigned(statement: ast.stmt, owner: str | None) -> list[tuple[str, Any]]:
    """Returns the name and the literal that a statement assigns, if it does; at most one pair."""
    name = _target(statement, owner)
    value = MISSING if name is None else _literal(statement)
    return [] if name is None or value is MISSING else [(name, value)]


def _target(statement: ast.stmt, owner: str | None) -> str | None:
    import ast

    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    if owner is None:
        return target.id if isinstance(target, ast.Name) else None
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == owner:
        return target.attr
    return None


def _literal(statement: ast.stmt) -> Any:
    import ast

    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    if statement.value is None:
        return MISSING
    try:
        return _plain(ast.literal_eval(statement.value))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return MISSING


def _plain(value: Any) -> Any:
    """Returns a literal with lists in place of tuples and sets.

    Raises:
        ValueError: it holds what a parameter cannot be (bytes, complex numbers, `...`).
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set):
        return sorted((_plain(item) for item in value), key=repr)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{type(value).__name__} is no parameter")

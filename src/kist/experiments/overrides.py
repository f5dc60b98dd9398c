"""What `--set-param` says: `[FILE:]KEY=VALUE`, `+KEY=`, `++KEY=`, `~KEY`, and sweeps over several values. Pure.

The grammar is that of Hydra's overrides, which DVC takes. Not here: files (repo.exp_params).
Source: the grammar in Hydra 1.3's documentation; DVC 3.67.1.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from kist.errors import InputError
from kist.formats.params import DEFAULT_FILE, MISSING

_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_DIGITS = "[0-9](?:_?[0-9])*"
_FLOAT = re.compile(
    rf"[+-]?(?:(?:{_DIGITS})?\.{_DIGITS}|{_DIGITS}\.|{_DIGITS}(?=e))(?:e[+-]?{_DIGITS})?|[+-]?inf|nan",
    re.IGNORECASE,
)
_FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\(")
_ENDS = frozenset(",()[]{}=:'\"")
_CASTS = {"int": int, "float": float, "str": str, "bool": bool}
MAX_SWEEP = 100_000
"""So many combinations are no slip of the keyboard any more."""


class OverrideError(InputError):
    """`--set-param` cannot be understood, or does not fit the file; the person mends it."""

    code = "set-param"
    exit_code = 255


class Sweep(NamedTuple):
    """Several values of one parameter, one experiment each."""

    values: list[Any]


class Override(NamedTuple):
    """One change of a parameter.

    Attributes:
        file: relative to the current directory.
        kind: "set" (must exist), "add" (must not), "force" or "delete".
        key: dotted.
        value: MISSING where a deletion names none.
    """

    file: str
    kind: str
    key: str
    value: Any


def parse_override(text: str) -> Override:
    """Returns what one `--set-param` says; its value may be a Sweep.

    Raises: OverrideError.
    """
    name, equals, written = text.partition("=")
    file, colon, key = name.partition(":")
    if not colon:
        file, key = DEFAULT_FILE, name
    kind = "set"
    for mark, meaning in (("~", "delete"), ("++", "force"), ("+", "add")):
        if key.startswith(mark):
            kind, key = meaning, key[len(mark) :]
            break
    key = re.sub(r"\[(-?\d+)\]", r".\1", key)
    if not key or not file or (not equals and kind != "delete"):
        raise OverrideError(
            f"cannot understand '{text}': expected a parameter and its value",
            hint="kist exp run -S NAME=VALUE",
        )
    value = _Reader(text, written).whole() if equals else MISSING
    return Override(file, kind, key, value)


def expand(overrides: Iterable[Override]) -> list[list[Override]]:
    """Returns each combination of the values of sweeps, the last one changing fastest; one where there is no sweep.

    Raises: OverrideError: there are too many.
    """
    choices = [
        [one._replace(value=value) for value in one.value.values] if isinstance(one.value, Sweep) else [one]
        for one in overrides
    ]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MAX_SWEEP:
        raise OverrideError(f"cannot sweep: {count} combinations; the limit is {MAX_SWEEP}")
    return [list(combination) for combination in itertools.product(*choices)]


def apply_overrides(values: dict[Any, Any], overrides: Iterable[Override]) -> dict[Any, Any]:
    """Returns a parameter file's values with changes; what is given stays as it is.

    Raises: OverrideError.
    """
    import copy  # few commands change parameters

    changed = copy.deepcopy(values)
    for override in overrides:
        _apply(changed, override)
    return changed


def _apply(values: dict[Any, Any], override: Override) -> None:
    *steps, last = override.key.split(".")
    here: Any = values
    for step in steps:
        below = _get(here, step)
        if not isinstance(below, dict | list):
            if override.kind in ("set", "delete") or below is not MISSING or not isinstance(here, dict):
                raise _absent(override)
            below = here[step] = {}
        here = below
    present = _get(here, last)
    if override.kind == "delete":
        if present is MISSING or (override.value is not MISSING and override.value != present):
            raise OverrideError(
                f"cannot remove '{override.key}' from '{override.file}': there is no such parameter or value",
                hint=f"see the parameters in '{override.file}'",
            )
        del here[_step(here, last)]
        return
    if present is MISSING and (override.kind == "set" or not isinstance(here, dict)):
        raise _absent(override)
    if present is not MISSING and override.kind == "add":
        raise OverrideError(
            f"cannot add '{override.key}' to '{override.file}': it is there already",
            hint=f"change it with `-S {override.key}=VALUE`, or whatever there is with `-S ++{override.key}=VALUE`",
        )
    here[_step(here, last)] = _joined(present, override.value)


def _joined(old: Any, new: Any) -> Any:
    """Returns a mapping put into a mapping; anything else takes the old one's place."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: _joined(old.get(key, MISSING), value) for key, value in new.items()}}


def _absent(override: Override) -> OverrideError:
    return OverrideError(
        f"cannot change '{override.key}': '{override.file}' has no such parameter",
        hint=f"add it with `-S +{override.key}=VALUE`",
    )


def _get(values: Any, step: str) -> Any:
    key = _step(values, step)
    try:
        return values[key]
    except (KeyError, IndexError, TypeError):
        return MISSING


def _step(values: Any, step: str) -> Any:
    """Returns the key or index that a step of a dotted name means."""
    if isinstance(values, list):
        return int(step) if re.fullmatch(r"-?\d+", step) else step
    if isinstance(values, dict) and step not in values:
        return next((key for key in values if str(key) == step), step)
    return step


class _Reader:
    """Reads a value: primitives, quoted texts, lists, mappings, casts, and sweeps at the top."""

    def __init__(self, whole: str, text: str) -> None:
        self._whole = whole
        self._text = text
        self._at = 0

    def whole(self) -> Any:
        """Returns the value of all of the text."""
        self._skip()
        if self._at == len(self._text):
            return ""
        if not self._text.startswith(("[", "{")) and self._is_plain():
            return _plain(self._text.strip())
        items = [self._value(is_top=True)]
        while self._take(","):
            items.append(self._value())
        self._skip()
        if self._at < len(self._text):
            raise self._fault(f"unexpected '{self._text[self._at]}'")
        if len(items) == 1:
            return items[0]
        if any(isinstance(item, Sweep) for item in items):
            raise self._fault("a sweep inside of a sweep")
        return Sweep(items)

    def _is_plain(self) -> bool:
        """Says whether the text has nothing that means more than itself."""
        return not _ENDS.intersection(self._text) or bool(
            re.fullmatch(r"\$\{[^{}]*\}|[^,()\[\]{}='\"]*", self._text)
        )

    def _value(self, *, is_top: bool = False) -> Any:
        self._skip()
        text, at = self._text, self._at
        if at == len(text):
            raise self._fault("a value is missing")
        if text[at] in "'\"":
            return self._quoted()
        if text[at] == "[":
            return self._list("]")
        if text[at] == "{":
            return self._mapping()
        function = _FUNCTION.match(text, at)
        if function is not None:
            self._at = function.end() - 1
            return self._call(function[1], is_top=is_top)
        end = at
        while end < len(text) and text[end] not in ",()[]{}='\"":
            end += 2 if text[end] == "\\" else 1
        if end == at:
            raise self._fault(f"unexpected '{text[at]}'")
        self._at = end
        return _plain(text[at:end].strip())

    def _quoted(self) -> str:
        quote = self._text[self._at]
        found = []
        at = self._at + 1
        while at < len(self._text) and self._text[at] != quote:
            if self._text[at] == "\\" and self._text[at + 1 : at + 2] in (quote, "\\"):
                at += 1
            found.append(self._text[at])
            at += 1
        if at >= len(self._text):
            raise self._fault("a quote is not closed")
        self._at = at + 1
        return "".join(found)

    def _list(self, close: str) -> list[Any]:
        self._at += 1
        items: list[Any] = []
        while not self._take(close):
            if items and not self._take(","):
                raise self._fault(f"expected ',' or '{close}'")
            items.append(self._value())
        return items

    def _mapping(self) -> dict[Any, Any]:
        self._at += 1
        found: dict[Any, Any] = {}
        while not self._take("}"):
            if found and not self._take(","):
                raise self._fault("expected ',' or '}'")
            self._skip()
            if self._text[self._at : self._at + 1] in ("'", '"'):
                key: Any = self._quoted()
            else:
                match = re.compile(r"[^:,{}\[\]]+").match(self._text, self._at)
                if match is None:
                    raise self._fault("expected a key")
                key = _plain(match[0].strip())
                self._at = match.end()
            if not self._take(":"):
                raise self._fault("expected ':'")
            found[key] = self._value()
        return found

    def _call(self, name: str, *, is_top: bool) -> Any:
        arguments: list[Any] = []
        named: dict[str, Any] = {}
        self._at += 1
        while not self._take(")"):
            if (arguments or named) and not self._take(","):
                raise self._fault("expected ',' or ')'")
            self._skip()
            keyword = re.compile(r"([a-z_]+)\s*=").match(self._text, self._at)
            if keyword is not None:
                self._at = keyword.end()
                named[keyword[1]] = self._value()
            else:
                arguments.append(self._value(is_top=name in ("sort", "shuffle")))
        return self._called(name, arguments, named, is_top=is_top)

    def _called(self, name: str, arguments: list[Any], named: dict[str, Any], *, is_top: bool) -> Any:
        if name in _CASTS and len(arguments) == 1:
            return self._cast(name, arguments[0])
        if not is_top:
            raise self._fault(f"'{name}(...)' cannot stand here")
        if name == "choice" and arguments:
            return Sweep(arguments)
        if name == "range":
            return Sweep(self._range(arguments, named))
        if name in ("sort", "shuffle") and arguments:
            return self._arranged(name, arguments, named)
        raise self._fault(f"'{name}(...)' is not known")

    def _cast(self, name: str, value: Any) -> Any:
        try:
            if name == "bool" and isinstance(value, str):
                return {"true": True, "false": False}[value.lower()]
            if name == "str" and (value is None or isinstance(value, bool)):
                return {None: "null", True: "true", False: "false"}[value]
            return _CASTS[name](value)
        except (TypeError, ValueError, KeyError) as error:
            raise self._fault(f"'{value}' is no {name}") from error

    def _range(self, arguments: list[Any], named: dict[str, Any]) -> list[int | float]:
        given = dict(zip(("start", "stop", "step"), arguments, strict=False))
        if len(arguments) == 1:
            given = {"stop": arguments[0]}
        given = {"start": 0, "step": 1} | given | named
        if set(given) != {"start", "stop", "step"} or not all(_is_number(item) for item in given.values()):
            raise self._fault("'range' takes start, stop and step")
        start, stop, step = given["start"], given["stop"], given["step"]
        if step == 0 or (stop - start) / step > MAX_SWEEP:
            raise self._fault("'range' does not end")
        found: list[int | float] = []
        here = start
        while (here < stop) if step > 0 else (here > stop):
            found.append(here)
            here = here + step
        return found

    def _arranged(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Sweep:
        is_sweep = len(arguments) == 1 and isinstance(arguments[0], Sweep)
        values = list(arguments[0].values if is_sweep else arguments)
        if name == "shuffle":
            import random

            random.SystemRandom().shuffle(values)
            return Sweep(values)
        try:
            return Sweep(sorted(values, reverse=bool(named.get("reverse"))))
        except TypeError as error:
            raise self._fault("values of several kinds cannot be sorted") from error

    def _take(self, char: str) -> bool:
        self._skip()
        if self._text.startswith(char, self._at):
            self._at += 1
            return True
        return False

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _fault(self, cause: str) -> OverrideError:
        return OverrideError(
            f"cannot understand '{self._whole}': {cause}",
            hint="put a value with special characters into quotes, as in `-S 'NAME=\"a,b\"'`",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(text: str) -> Any:
    """Returns the value of a word."""
    lowered = text.lower()
    if lowered in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[lowered]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", text)

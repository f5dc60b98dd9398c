"""Writes changed parameters into their files. Not here: what `--set-param` means (experiments.overrides)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kist.base import atomic
from kist.errors import MissingError
from kist.experiments.overrides import Override, OverrideError, Sweep, apply_overrides
from kist.formats import yaml
from kist.formats.params import parse_params
from kist.repo.metafiles import read_bytes

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class ParamsFileMissingError(MissingError):
    """A file whose parameters are to change is not there."""

    code = "params-file-missing"
    exit_code = 255


def write_params(repository: Repository, overrides: Sequence[Override]) -> None:
    """Changes parameter files.

    Raises: OverrideError, ParamsFileMissingError, FormatError: before the first change. OSError.
    """
    for path, data in changed_files(repository, overrides).items():
        atomic.write_file(repository.abspath(path), data)


def changed_files(repository: Repository, overrides: Sequence[Override]) -> dict[str, bytes]:
    """Returns the files that changes touch, relative to the root, with their new bytes; those that stay are left out.

    Raises: as `write_params`.
    """
    by_file: dict[str, list[Override]] = {}
    for override in overrides:
        if isinstance(override.value, Sweep):
            raise OverrideError(
                f"cannot set '{override.key}': several values are for experiments in the queue",
                hint="add `--queue`, then run them all with `kist exp run --run-all`",
            )
        by_file.setdefault(repository.rel(override.file), []).append(override)
    found = {}
    for path, own in by_file.items():
        old = read_bytes(repository.abspath(path))
        if old is None:
            raise ParamsFileMissingError(
                f"cannot set '{own[0].key}': there is no file '{repository.shown(path)}'",
                hint="name the file before the parameter, as in `-S FILE:NAME=VALUE`",
            )
        values = parse_params(old, name=path)
        changed = apply_overrides(values, own)
        if changed != values or _types(changed) != _types(values):
            found[path] = _rendered(old, changed, path)
    return found


def _types(value: Any) -> Any:
    """Returns what tells 1 from true and 1.0."""
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    return [_types(item) for item in value] if isinstance(value, list) else type(value)


def _rendered(old: bytes, values: dict[Any, Any], path: str) -> bytes:
    if path.endswith(".json"):
        import json  # most parameter files are YAML

        text = old.decode()
        _, brace, below = text.partition("{\n")
        indent = len(below) - len(below.lstrip(" ")) if brace else None
        end = "\n" if text.endswith("\n") else ""
        return (json.dumps(values, indent=indent, ensure_ascii=False) + end).encode()
    if path.endswith(".toml"):
        from kist.formats.toml_edit import edit_toml  # most parameter files are YAML

        return edit_toml(old, values, name=path)
    if path.endswith(".py"):
        raise OverrideError(
            f"cannot change '{path}': parameters in Python files are read only",
            hint=f"change them in '{path}'",
        )
    return yaml.edit(old, values, name=path)

"""`dvc.lock` between bytes and `Lockfile`: schema 2.0, and the schema of DVC 1.

Not here: what a stage should be (dvcyaml) and whether it changed (pipeline). Implements docs/spec/metafiles.md,
section 7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kist.base.shell import shell_line
from kist.formats import yaml
from kist.formats._entries import (
    MetafileError,
    Path,
    Source,
    kind,
    read_dependency,
    read_output,
    write_figures,
    write_files,
    writes_hash,
)
from kist.formats.records import LEGACY_MD5, MD5, Dependency, LockedStage, Lockfile, Output

__all__ = [
    "SCHEMA",
    "Blocks",
    "LockfileError",
    "is_comment",
    "parse_lockfile",
    "read_stage",
    "render_lockfile",
    "stage_blocks",
    "stage_text",
    "stage_value",
]

SCHEMA = "2.0"

_STAGE_INDENT = 2
_DEFAULT_PARAMS_FILE = "params.yaml"
_FILE_KEYS = frozenset({"schema", "datasets", "stages"})
_STAGE_KEYS = frozenset({"cmd", "deps", "params", "outs"})
_OUTPUT_KEYS = frozenset(
    {"path", "hash", "md5", "etag", "checksum", "size", "nfiles", "isexec", "version_id", "cloud", "files"}
)
_DEPENDENCY_KEYS = _OUTPUT_KEYS | {"dataset"}


class LockfileError(MetafileError):
    """A `dvc.lock` is YAML, but does not say what such a file can say; Git has the last good one."""

    code = "lockfile"


def parse_lockfile(data: bytes, *, name: str) -> Lockfile:
    """Returns what a `dvc.lock` says.

    Args:
        name: the file's name for messages.
    Raises:
        LockfileError: empty, an unknown schema or key, a wrong type, a digest that is none.
        kist.formats.yaml.YamlError: not YAML, such as a file with conflict markers.
    """
    return _read(yaml.load(data, name=name), Source(name, data, LockfileError))


def _read(value: Any, source: Source) -> Lockfile:
    if value is None:
        raise LockfileError(
            source.name, "the file is empty", hint=shell_line("git", "checkout", "--", source.name)
        )
    whole = source.mapping(value, ())
    root: Path = ("stages",) if _has_schema(whole) else ()
    datasets = []
    stages = whole
    if root:
        source.mapping(whole, (), _FILE_KEYS)
        if whole["schema"] != SCHEMA:
            source.fail(("schema",), f"schema {whole['schema']!r} is not known; expected '{SCHEMA}'")
        stages = whole.get("stages", {})
        datasets = source.items(whole.get("datasets", []), ("datasets",))
    for index, dataset in enumerate(datasets):
        source.mapping(dataset, ("datasets", index))
    locked = {}
    for stage_name, stage in source.mapping(stages, root).items():
        if not isinstance(stage_name, str):
            source.fail((*root, stage_name), f"a stage's name is {kind(stage_name)}, expected a text")
        locked[stage_name] = read_stage(source, (*root, stage_name), stage)
    return Lockfile(locked, tuple(datasets))


def _has_schema(whole: dict[str, Any]) -> bool:
    # A stage of DVC 1 may be called "schema"; its value is a mapping then.
    return "schema" in whole and not isinstance(whole["schema"], dict)


def read_stage(source: Source, path: Path, value: Any) -> LockedStage:
    """Returns what a stage's mapping says; `source` and `path` are for messages.

    Raises: LockfileError.
    """
    stage = source.mapping(value, path, _STAGE_KEYS)
    if "cmd" not in stage:
        source.fail(path, f"key 'cmd' is missing in '{path[-1] if path else source.name}'")
    cmd = stage["cmd"]
    if not isinstance(cmd, str) and not (
        isinstance(cmd, list) and all(isinstance(line, str) for line in cmd)
    ):
        source.fail((*path, "cmd"), f"'cmd' is {kind(cmd)}, expected a text or a list of texts")
    params = source.mapping(stage.get("params", {}), (*path, "params"))
    for file, values in params.items():
        source.mapping(values, (*path, "params", file))
    deps_path, outs_path = (*path, "deps"), (*path, "outs")
    return LockedStage(
        cmd=cmd,
        deps=tuple(
            _read_dependency(source, (*deps_path, index), item)
            for index, item in enumerate(source.items(stage.get("deps", []), deps_path))
        ),
        params=params,
        outs=tuple(
            _read_output(source, (*outs_path, index), item)
            for index, item in enumerate(source.items(stage.get("outs", []), outs_path))
        ),
    )


def _read_dependency(source: Source, path: Path, item: Any) -> Dependency:
    entry = source.mapping(item, path, _DEPENDENCY_KEYS)
    dataset = source.field(entry, path, "dataset", dict)
    if dataset is None:
        return read_dependency(source, path, entry)
    rest = {key: value for key, value in entry.items() if key != "dataset"}
    return read_dependency(source, path, rest)._replace(extra={"dataset": dataset})


def _read_output(source: Source, path: Path, item: Any) -> Output:
    return read_output(source, path, source.mapping(item, path, _OUTPUT_KEYS))


def render_lockfile(lock: Lockfile, previous: bytes | None = None) -> bytes:
    """Returns the bytes of a `dvc.lock` that says `lock`, always in schema 2.0.

    Args:
        previous: the file's bytes until now. Stages that did not change keep their text; changed ones are written
            anew under their old key, as DVC does; comments outside of them stay. A file that already says `lock`
            keeps its bytes.
    Raises:
        LockfileError, kist.formats.yaml.YamlError: `previous` cannot be read.
    """
    if previous is None:
        return yaml.dump(_lock_value(lock, {}))
    source = Source("dvc.lock", previous, LockfileError)
    value = yaml.load(previous, name=source.name)
    before = _read(value, source)
    if before == lock:
        return previous
    if not _has_schema(value):
        return yaml.dump(_lock_value(lock, {}))
    unchanged = {
        name: value["stages"][name] for name, stage in lock.stages.items() if before.stages.get(name) == stage
    }
    new_value = _lock_value(lock, unchanged)
    spliced = _splice(previous, list(before.stages), new_value["stages"], unchanged)
    if spliced is not None and _says(spliced, new_value):
        return spliced
    return yaml.edit_loaded(previous, value, new_value, name=source.name)


def _says(data: bytes, value: dict[str, Any]) -> bool:
    try:
        return bool(yaml.load(data, name="dvc.lock") == value)
    except yaml.YamlError:
        return False


def _splice(
    previous: bytes, names: list[str], stages: dict[str, Any], unchanged: dict[str, Any]
) -> bytes | None:
    """Returns `previous` with the texts of changed stages replaced; None for a file that is not laid out as DVC does.

    The caller reads the result to see whether it is right: here lines are taken for what they look like.

    Args:
        names: the stages of `previous`, in file order.
        stages: the new values.
        unchanged: those of them whose text stays.
    """
    lines = previous.decode("utf-8", "replace").replace("\r\n", "\n").splitlines(keepends=True)
    blocks = stage_blocks(lines)
    if blocks is None or len(blocks.starts) != len(names) or not lines[-1].endswith("\n") or not stages:
        return None
    parts = lines[: blocks.first]
    ends = [*blocks.starts[1:], blocks.end]
    for name, start, end in zip(names, blocks.starts, ends, strict=True):
        if name in unchanged:
            parts += lines[start:end]
        elif name in stages:
            key = next(at for at in range(start, end) if not is_comment(lines[at]))
            body = next((at for at in range(key + 1, end) if not is_comment(lines[at])), end)
            parts += [*lines[start:body], stage_text(name, stages[name]).split("\n", 1)[1]]
    parts += [stage_text(name, stage) for name, stage in stages.items() if name not in names]
    return "".join(parts + lines[blocks.end :]).encode()


class Blocks(NamedTuple):
    """Where the stages stand: the line after `stages:`, the first line of each with the comments above it, the end."""

    first: int
    starts: list[int]
    end: int


def stage_blocks(lines: list[str]) -> Blocks | None:
    """Returns where the stages stand in the lines of a file; None where it is not laid out as DVC does."""
    head = next((at for at, line in enumerate(lines) if line.split("#")[0].rstrip() == "stages:"), None)
    if head is None:
        return None
    starts: list[int] = []
    # Comments right above a stage, and not deeper than its key, go with it.
    above = at = head + 1
    for at, line in enumerate(lines[head + 1 :], start=head + 1):
        indent = len(line) - len(line.lstrip(" "))
        if is_comment(line):
            if indent > _STAGE_INDENT or line.isspace():
                above = at + 1
            continue
        if indent == 0:
            return Blocks(head + 1, starts, above)
        if indent < _STAGE_INDENT or (indent > _STAGE_INDENT and not starts):
            return None
        if indent == _STAGE_INDENT:
            starts.append(above)
        above = at + 1
    return Blocks(head + 1, starts, len(lines))


def is_comment(line: str) -> bool:
    """Says whether a line holds a comment alone, or nothing."""
    return line.lstrip(" ")[:1] in ("#", "\n")


def stage_text(name: str, value: Any) -> str:
    """Returns the lines of one stage as they stand in a file."""
    return yaml.dump({"stages": {name: value}}).decode().split("\n", 1)[1]


def _lock_value(lock: Lockfile, unchanged: dict[str, Any]) -> dict[str, Any]:
    """Returns the mapping of the whole file.

    Args:
        unchanged: values of stages that are taken as they are.
    """
    value: dict[str, Any] = {"schema": SCHEMA}
    if lock.datasets:
        value["datasets"] = list(lock.datasets)
    value["stages"] = {
        name: unchanged[name] if name in unchanged else stage_value(stage)
        for name, stage in lock.stages.items()
    }
    return value


def stage_value(stage: LockedStage) -> dict[str, Any]:
    """Returns a stage's mapping as it stands in the file: keys, files and paths in DVC's order."""
    value: dict[str, Any] = {"cmd": stage.cmd}
    if stage.deps:
        value["deps"] = [_entry_value(entry) for entry in sorted(stage.deps, key=_path)]
    if stage.params:
        value["params"] = {
            file: {key: stage.params[file][key] for key in sorted(stage.params[file])}
            for file in sorted(stage.params, key=lambda file: (file != _DEFAULT_PARAMS_FILE, file))
        }
    if stage.outs:
        value["outs"] = [_entry_value(entry) for entry in sorted(stage.outs, key=_path)]
    return value


def _path(entry: Output | Dependency) -> str:
    return entry.path


def _entry_value(entry: Output | Dependency) -> dict[str, Any]:
    value: dict[str, Any] = {"path": entry.path}
    if isinstance(entry, Dependency) and entry.extra and "dataset" in entry.extra:
        value["dataset"] = entry.extra["dataset"]
        return value
    if writes_hash(entry):
        value["hash"] = MD5
    if entry.files is None:
        if entry.digest is not None:
            value[MD5 if entry.digest.algorithm == LEGACY_MD5 else entry.digest.algorithm] = (
                entry.digest.value
            )
        write_figures(value, entry)
    else:
        value["files"] = write_files(entry.files)
    return value

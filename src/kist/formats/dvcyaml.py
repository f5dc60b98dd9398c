"""`dvc.yaml` from bytes to a checked structure in which every `${}` still stands.

Not here: what the names in `${}` mean, groups, paths (pipeline.resolve); what the lock says (lockfile).
Implements docs/spec/pipelines.md, section 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kist.base.suggest import closest
from kist.formats import yaml
from kist.formats._entries import MetafileError, Path, Source, kind

__all__ = ["FILE_NAME", "PipelineFile", "PipelineFileError", "StageEntry", "kind", "parse_dvcyaml"]

FILE_NAME = "dvc.yaml"

_TOP_KEYS = ("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets")
_STAGE_KEYS = (
    *("cmd", "wdir", "deps", "params", "outs", "metrics", "plots"),
    *("vars", "frozen", "always_changed", "desc", "meta"),
)
_OUTPUT_KEYS = ("cache", "persist", "push", "remote", "desc", "type", "labels", "meta", "checkpoint")
_TOP_PLOT_KEYS = ("template", "x", "y", "x_label", "y_label", "title")
_PLOT_KEYS = (*_TOP_PLOT_KEYS, "header", *_OUTPUT_KEYS)
_ARTIFACT_KEYS = ("path", "type", "desc", "labels", "meta")
_LIVE_KEYS = ("summary", "html", "report", "cache", "persist")
_OPTION_TYPES: dict[str, type] = {
    **dict.fromkeys(("cache", "persist", "push", "checkpoint", "header"), bool),
    **dict.fromkeys(("remote", "desc", "type", "template", "x", "y", "x_label", "y_label", "title"), str),
}


class PipelineFileError(MetafileError):
    """A `dvc.yaml` is YAML, but does not say what such a file can say; the user mends it."""

    code = "pipeline-file"


class StageEntry(NamedTuple):
    """One item of `stages:`, a stage or a group of them.

    Attributes:
        body: the keys of the stage as written (for a group those of `do`), without `matrix`.
        foreach: the list, mapping or text of a group made by `foreach`; None for others.
        matrix: the variables of a group made by `matrix`; None for others.
    """

    body: dict[str, Any]
    foreach: Any = None
    matrix: dict[str, Any] | None = None

    @property
    def is_group(self) -> bool:
        """Says whether it stands for any number of stages."""
        return self.foreach is not None or self.matrix is not None


class PipelineFile(NamedTuple):
    """What one `dvc.yaml` says.

    Attributes:
        name: the file, as the caller calls it.
        data: its bytes, from which messages take line numbers.
        stages: by name, in file order.
        vars, params, metrics, plots, artifacts, datasets: the sections of the top as written; `plots` always a list.
        notices: one line each for old spellings; for the person, not for programs.
    """

    name: str
    data: bytes
    stages: dict[str, StageEntry] = {}
    vars: tuple[str | dict[str, Any], ...] = ()
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[str | dict[str, Any], ...] = ()
    artifacts: dict[str, dict[str, Any]] = {}
    datasets: tuple[dict[str, Any], ...] = ()
    notices: tuple[str, ...] = ()


def parse_dvcyaml(data: bytes, *, name: str) -> PipelineFile:
    """Returns what a `dvc.yaml` says, with keys and types checked and nothing filled in.

    Args:
        name: the file's name for messages.
    Raises:
        YamlError: not YAML.
        PipelineFileError: unknown keys, wrong types, names that no stage can have.
    """
    source = Source(name, data, PipelineFileError)
    value = yaml.load(data, name=name)
    if value is None or value == []:
        return PipelineFile(name, data)
    top = _mapping(source, value, (), _TOP_KEYS)
    notices: list[str] = []
    return PipelineFile(
        name,
        data,
        stages=_read_stages(source, top.get("stages", {}), notices),
        vars=_check_vars(source, ("vars",), top.get("vars", [])),
        params=_texts(source, ("params",), top.get("params", [])),
        metrics=_texts(source, ("metrics",), top.get("metrics", [])),
        plots=_read_plots(source, top.get("plots", []), notices),
        artifacts=_read_artifacts(source, top.get("artifacts", {})),
        datasets=_read_datasets(source, top.get("datasets", [])),
        notices=tuple(notices),
    )


def _mapping(source: Source, value: Any, path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Returns `value` if it is a mapping with known keys only; the error lists them."""
    for key in source.mapping(value, path):
        if key not in keys:
            near = closest(str(key), keys)
            guess = f"; did you mean '{near}'?" if near else ""
            place = f" in '{path[-1]}'" if path else ""
            source.fail(
                (*path, key), f"key '{key}' is not known{place}{guess}", hint=f"known here: {', '.join(keys)}"
            )
    return dict(value)


def _read_stages(source: Source, value: Any, notices: list[str]) -> dict[str, StageEntry]:
    entries = {}
    for name, stage in source.mapping(value, ("stages",)).items():
        path: Path = ("stages", name)
        if not isinstance(name, str):
            source.fail(path, f"a stage's name is {kind(name)}, expected a text: put {name} in quotes")
        if not name or "@" in name:
            source.fail(path, f"'{name}' cannot name a stage: expected at least one character, and no '@'")
        source.mapping(stage, path)
        if "foreach" in stage or "do" in stage:
            entries[name] = _read_foreach(source, path, stage, notices)
        else:
            entries[name] = _read_stage(source, path, stage, notices)
    return entries


def _read_foreach(source: Source, path: Path, value: dict[str, Any], notices: list[str]) -> StageEntry:
    _mapping(source, value, path, ("foreach", "do"))
    for key in ("foreach", "do"):
        if key not in value:
            source.fail(path, f"key '{key}' is missing in '{path[-1]}'")
    if not isinstance(value["foreach"], list | dict | str):
        found = kind(value["foreach"])
        source.fail((*path, "foreach"), f"'foreach' is {found}, expected a list, a mapping or ${{name}}")
    body = _mapping(source, value["do"], (*path, "do"), (*_STAGE_KEYS, "live"))
    return StageEntry(_checked_body(source, (*path, "do"), body, notices), foreach=value["foreach"])


def _read_stage(source: Source, path: Path, value: dict[str, Any], notices: list[str]) -> StageEntry:
    _mapping(source, value, path, (*_STAGE_KEYS, "matrix", "live"))
    body = _checked_body(source, path, value, notices)
    if "matrix" not in value:
        return StageEntry(body)
    matrix = source.mapping(value["matrix"], (*path, "matrix"))
    for variable, values in matrix.items():
        at = (*path, "matrix", variable)
        if not isinstance(variable, str):
            source.fail(at, f"a variable of 'matrix' is {kind(variable)}, expected a text")
        if not isinstance(values, list | str):
            source.fail(at, f"'{variable}' is {kind(values)}, expected a list or ${{name}}")
    if not matrix:
        source.fail((*path, "matrix"), "'matrix' is empty, expected at least one variable")
    return StageEntry({key: item for key, item in body.items() if key != "matrix"}, matrix=matrix)


def _checked_body(source: Source, path: Path, body: dict[str, Any], notices: list[str]) -> dict[str, Any]:
    """Returns the keys of a stage once their types are right."""
    if "cmd" not in body:
        source.fail(path, f"key 'cmd' is missing in '{path[1]}'")
    if not isinstance(body["cmd"], str | list):
        source.fail((*path, "cmd"), f"'cmd' is {kind(body['cmd'])}, expected a text or a list of texts")
    for key, expected in (
        ("wdir", str),
        ("desc", str),
        ("frozen", bool),
        ("always_changed", bool),
    ):
        source.field(body, path, key, expected)
    if "deps" in body:
        _texts(source, (*path, "deps"), body["deps"])
    if "params" in body:
        _check_params(source, (*path, "params"), body["params"])
    if "vars" in body:
        _check_vars(source, (*path, "vars"), body["vars"])
    for key in ("outs", "metrics", "plots"):
        if key in body:
            keys = _PLOT_KEYS if key == "plots" else _OUTPUT_KEYS
            _check_outputs(source, (*path, key), body[key], keys)
    if "live" in body:
        return _without_live(source, path, body, notices)
    return body


def _without_live(source: Source, path: Path, body: dict[str, Any], notices: list[str]) -> dict[str, Any]:
    """Returns the stage of DVC 2 with the folder of `live:` as an output with plots."""
    at = (*path, "live")
    live = body["live"]
    if isinstance(live, str):
        live = {live: {}}
    source.mapping(live, at)
    plots = list(body.get("plots", []))
    for folder, options in live.items():
        if not isinstance(folder, str):
            source.fail((*at, folder), f"a folder of 'live' is {kind(folder)}, expected a text")
        _mapping(source, options or {}, (*at, folder), _LIVE_KEYS)
        kept = {key: item for key, item in (options or {}).items() if key in ("cache", "persist")}
        for key in kept:
            source.field(kept, (*at, folder), key, bool)
        plots.append({folder: kept})
        notices.append(
            f"'{source.name}': 'live' of stage '{path[1]}' is read as the plots output '{folder}';"
            f" write it under 'plots', for DVC 3 refuses 'live'"
        )
    return {**{key: item for key, item in body.items() if key != "live"}, "plots": plots}


def _texts(source: Source, path: Path, value: Any) -> tuple[str, ...]:
    for index, item in enumerate(source.items(value, path)):
        if not isinstance(item, str):
            source.fail((*path, index), f"an item of '{path[-1]}' is {kind(item)}, expected a text")
        if not item and path[-1] != "labels":
            source.fail((*path, index), f"an item of '{path[-1]}' is an empty text")
    return tuple(value)


def _check_params(source: Source, path: Path, value: Any) -> None:
    for index, item in enumerate(source.items(value, path)):
        at = (*path, index)
        if isinstance(item, str):
            continue
        if not isinstance(item, dict):
            source.fail(at, f"an item of 'params' is {kind(item)}, expected a key, or a file with its keys")
        for file, keys in item.items():
            if not isinstance(file, str):
                source.fail((*at, file), f"a file of 'params' is {kind(file)}, expected a text")
            if keys is not None and not isinstance(keys, list):
                source.fail((*at, file), f"the keys of '{file}' are {kind(keys)}, expected a list")


def _check_vars(source: Source, path: Path, value: Any) -> tuple[str | dict[str, Any], ...]:
    for index, item in enumerate(source.items(value, path)):
        if not isinstance(item, str | dict):
            source.fail((*path, index), f"an item of 'vars' is {kind(item)}, expected a file or a mapping")
    return tuple(value)


def _check_outputs(source: Source, path: Path, value: Any, keys: tuple[str, ...]) -> None:
    for index, item in enumerate(source.items(value, path)):
        at = (*path, index)
        if isinstance(item, str):
            if not item:
                source.fail(at, f"an item of '{path[-1]}' is an empty text")
            continue
        if not isinstance(item, dict):
            source.fail(
                at, f"an item of '{path[-1]}' is {kind(item)}, expected a path, or a path with options"
            )
        for output, options in item.items():
            if not isinstance(output, str) or not output:
                source.fail((*at, output), f"a path of '{path[-1]}' is {kind(output)}, expected a text")
            several = options if path[-1] == "plots" and isinstance(options, list) else [options]
            for one in several:
                _check_options(source, (*at, output), one, keys)


def _check_options(source: Source, path: Path, value: Any, keys: tuple[str, ...]) -> None:
    options = _mapping(source, value, path, keys)
    for key in options:
        if key in _OPTION_TYPES:
            source.field(options, path, key, _OPTION_TYPES[key])
    if "labels" in options:
        _texts(source, (*path, "labels"), options["labels"])


def _read_plots(source: Source, value: Any, notices: list[str]) -> tuple[str | dict[str, Any], ...]:
    if isinstance(value, dict):
        notices.append(
            f"'{source.name}': 'plots' at the top is a mapping; write it as a list, for DVC 3 refuses it"
        )
        items: list[tuple[Path, Any]] = [(("plots",), {key: item}) for key, item in value.items()]
    else:
        listed = source.items(value, ("plots",))
        items = [(("plots", index), item) for index, item in enumerate(listed)]
    for path, item in items:
        if isinstance(item, str):
            continue
        if not isinstance(item, dict):
            source.fail(path, f"an item of 'plots' is {kind(item)}, expected a path, or a name with options")
        for name, options in item.items():
            _check_top_plot(source, (*path, name), options)
    return tuple(item for _path, item in items)


def _check_top_plot(source: Source, path: Path, value: Any) -> None:
    if value is None:
        return
    options = _mapping(source, value, path, _TOP_PLOT_KEYS)
    for key, option in options.items():
        allowed: tuple[type, ...] = (str,)
        if key in ("x", "y"):
            allowed = (str, dict) if key == "x" else (str, dict, list)
        if not isinstance(option, allowed):
            source.fail((*path, key), f"'{key}' is {kind(option)}, expected a text")


def _read_artifacts(source: Source, value: Any) -> dict[str, dict[str, Any]]:
    artifacts = source.mapping(value, ("artifacts",))
    for name, item in artifacts.items():
        path: Path = ("artifacts", name)
        artifact = _mapping(source, item, path, _ARTIFACT_KEYS)
        if "path" not in artifact:
            source.fail(path, f"key 'path' is missing in '{name}'")
        for key in ("path", "type", "desc"):
            source.field(artifact, path, key, str)
        if "labels" in artifact:
            _texts(source, (*path, "labels"), artifact["labels"])
    return artifacts


def _read_datasets(source: Source, value: Any) -> tuple[dict[str, Any], ...]:
    if value == {}:
        return ()
    for index, item in enumerate(source.items(value, ("datasets",))):
        source.mapping(item, ("datasets", index))
    return tuple(value)

"""Changes in a `dvc.yaml` that keep what else stands there: a stage added, replaced or frozen, a plot, a dataset.

Not here: what a stage may be (dvcyaml). Source: DVC 3.67.1, for the order of keys.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kist.formats import yaml
from kist.formats.params import DEFAULT_FILE

PLOT_KEYS = ("template", "x", "y", "x_label", "y_label", "title", "header")
"""Options of an output that say how it is drawn."""


class StageText(NamedTuple):
    """A stage to be written.

    Attributes:
        params: file -> keys; no keys: the whole file.
        outs, metrics, plots: path -> options that differ from the usual ones.
    """

    name: str
    cmd: str
    deps: tuple[str, ...] = ()
    params: dict[str, tuple[str, ...]] = {}
    outs: dict[str, dict[str, bool]] = {}
    metrics: dict[str, dict[str, bool]] = {}
    plots: dict[str, dict[str, bool]] = {}
    wdir: str | None = None
    desc: str | None = None
    always_changed: bool = False


def with_stage(previous: bytes | None, stage: StageText, *, name: str) -> bytes:
    """Returns the bytes of a file with a stage added at its end, or replaced where it stands.

    Args: name: the file's name for messages.

    Raises: YamlError.
    """
    value = _value(previous, name)
    stages = {**(value.get("stages") or {}), stage.name: stage_body(stage)}
    return _written(previous, {**value, "stages": stages}, name)


def with_frozen(previous: bytes, stage: str, *, frozen: bool, name: str) -> bytes:
    """Returns the bytes of a file in which one stage is frozen, or not.

    Raises: YamlError; KeyError: there is no such stage.
    """
    value = _value(previous, name)
    body = {key: item for key, item in value["stages"][stage].items() if key != "frozen"}
    if frozen:
        body["frozen"] = True
    return _written(previous, {**value, "stages": {**value["stages"], stage: body}}, name)


def with_plot(previous: bytes, stage: str, path: str, options: dict[str, Any], *, name: str) -> bytes:
    """Returns the bytes of a file in which an output of a stage is a plot with these options, and no others.

    Args:
        path: of the output, as written.

    Raises: YamlError; KeyError: there is no such stage.
    """
    value = _value(previous, name)
    body = dict(value["stages"][stage])
    kept: dict[str, Any] = {}
    for section in ("outs", "metrics", "plots"):
        items = []
        for item in body.get(section, []):
            pair = {item: {}} if isinstance(item, str) else dict(item)
            if path in pair:
                found = pair.pop(path)
                kept |= {key: one for key, one in found.items() if key not in PLOT_KEYS}
                if section == "plots":
                    pair[path] = kept | options
            if pair:
                items.append(_entry(pair))
        if section in body:
            body[section] = items
            if not items:
                del body[section]
    plots = body.get("plots", [])
    if not any(path == item or (isinstance(item, dict) and path in item) for item in plots):
        body["plots"] = [*plots, _entry({path: kept | options})]
    return _written(previous, {**value, "stages": {**value["stages"], stage: body}}, name)


def with_dataset(previous: bytes | None, spec: dict[str, Any], *, name: str) -> bytes:
    """Returns the bytes of a file with a dataset at the end of its list, or in place of the one of its name.

    Raises: YamlError.
    """
    value = _value(previous, name)
    known = value.get("datasets") or []
    if spec in known:
        return previous or b""
    for part in ({}, spec):  # emptied first: keys that stay would keep their places, and new ones come last
        known = [part if one.get("name") in (spec["name"], None) else one for one in known]
        known += [] if part in known else [part]
        previous = _written(previous, {**value, "datasets": known}, name)
    return previous or b""


def _entry(pair: dict[str, Any]) -> Any:
    """Returns an item of a list of outputs: the path alone where it has no options."""
    (path,) = pair if len(pair) == 1 else (None,)
    return path if path is not None and not pair[path] else pair


def stage_body(stage: StageText) -> dict[str, Any]:
    """Returns a stage's mapping, keys, paths and files in DVC's order."""
    body: dict[str, Any] = {}
    if stage.desc:
        body["desc"] = stage.desc
    body["cmd"] = stage.cmd
    if stage.wdir and stage.wdir != ".":
        body["wdir"] = stage.wdir
    if stage.deps:
        body["deps"] = sorted(set(stage.deps))
    if stage.params:
        body["params"] = _params(stage.params)
    for key, outs in (("outs", stage.outs), ("metrics", stage.metrics), ("plots", stage.plots)):
        if outs:
            body[key] = [{path: outs[path]} if outs[path] else path for path in sorted(outs)]
    if stage.always_changed:
        body["always_changed"] = True
    return body


def _params(params: dict[str, tuple[str, ...]]) -> list[Any]:
    found: list[Any] = sorted(set(params.get(DEFAULT_FILE, ())))
    if DEFAULT_FILE in params and not found:
        found = [{DEFAULT_FILE: None}]
    for file in sorted(params):
        if file != DEFAULT_FILE:
            found.append({file: sorted(set(params[file])) or None})
    return found


def _value(previous: bytes | None, name: str) -> dict[str, Any]:
    return (yaml.load(previous, name=name) if previous is not None else None) or {}


def _written(previous: bytes | None, value: dict[str, Any], name: str) -> bytes:
    if previous is None or not previous.strip():
        return yaml.dump(value)
    return yaml.edit(previous, value, name=name)

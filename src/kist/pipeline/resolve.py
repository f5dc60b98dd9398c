"""The stages of a `dvc.yaml` with everything filled in; and old single-stage `.dvc` files as stages. Pure.

Not here: what the lock says of them (locked), what changed (changes), running them.
Implements docs/spec/pipelines.md, sections 3 to 5.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, NamedTuple

from kist.formats.dvcyaml import FILE_NAME, PipelineFile, StageEntry
from kist.formats.params import DEFAULT_FILE
from kist.formats.records import Metafile, Output
from kist.pipeline.groups import expand
from kist.pipeline.interpolate import OptionStyle, fill, to_text
from kist.pipeline.place import Place
from kist.pipeline.variables import Read, Variables

__all__ = ["ResolvedStage", "resolve", "resolve_single", "root_path"]

_PLOT_KEYS = ("template", "x", "y", "x_label", "y_label", "title", "header")


class ResolvedStage(NamedTuple):
    """One stage, ready to be compared or run.

    Attributes:
        name: in `dvc.yaml`; for a single-stage `.dvc` file its path.
        address: `dir/dvc.yaml:name`, or the path of the `.dvc` file; relative to the repository's root.
        file: the metafile, relative to the repository's root.
        wdir: base of all paths and where the command runs, relative to the file's folder.
        cmd: a list runs item by item.
        deps: paths as written, relative to `wdir`; or addresses.
        params: parameter file relative to `wdir` -> dotted keys, or None for the whole file.
        outs: paths as written; no digests (see locked). `metric` and `plot` say what they are for.
        group: the name before "@" of a stage that `foreach` or `matrix` made.
    """

    name: str
    address: str
    file: str
    wdir: str
    cmd: str | list[str]
    deps: tuple[str, ...] = ()
    params: dict[str, tuple[str, ...] | None] = {}
    outs: tuple[Output, ...] = ()
    frozen: bool = False
    always_changed: bool = False
    desc: str | None = None
    meta: Any = None
    group: str | None = None

    @property
    def is_callback(self) -> bool:
        """Says whether it is nothing but a command, so that it always counts as changed."""
        return bool(self.cmd) and not (self.deps or self.params or self.outs)

    def rooted(self, path: str) -> str:
        """Returns one of its paths relative to the repository's root; see `root_path`."""
        return root_path(posixpath.dirname(self.file), self.wdir, path)


def root_path(directory: str, wdir: str, path: str) -> str:
    """Returns a stage's path relative to the repository's root, without "." and inner "..".

    Addresses (`s3://bucket/key`) and absolute paths come back as they are; a path that leads out of the repository
    begins with "..".

    Args:
        directory: of the metafile, relative to the root; "" is the root.
    """
    if "://" in path or posixpath.isabs(path):
        return path
    return posixpath.normpath(posixpath.join(directory, wdir, path))


def resolve(
    pipeline: PipelineFile, *, directory: str, read: Read, options: OptionStyle | None = None
) -> tuple[ResolvedStage, ...]:
    """Returns all stages of a file, in file order, groups expanded.

    Args:
        directory: of the file, relative to the repository's root; "" is the root.
        read: returns a parameter file's bytes by its path relative to `directory`, None where it is missing.
        options: how mappings in commands become options (`parsing.bool` and `parsing.list` of the configuration).
    Raises:
        ResolveError: a `${}` or a group cannot be filled; the message names file, line and key.
        FormatError: a parameter file that is needed cannot be read.
    """
    root = Place(pipeline, ())
    # Without any `${` no name is asked for, and a parameter file that nobody needs cannot be in the way.
    is_plain = b"${" not in pipeline.data
    variables = Variables() if is_plain else Variables.of_file(root, read)
    surroundings = _Surroundings(directory, None if is_plain else read, options or OptionStyle())
    stages: dict[str, ResolvedStage] = {}
    for name, entry in pipeline.stages.items():
        for stage in _stages(name, entry, variables, root, surroundings):
            stages[stage.name] = stage
    return tuple(stages.values())


def resolve_single(metafile: Metafile, *, name: str) -> ResolvedStage:
    """Returns the stage that a `.dvc` file with a command is (DVC before 1.0).

    Args:
        name: the file, relative to the repository's root.
    """
    return ResolvedStage(
        name=name,
        address=name,
        file=name,
        wdir=metafile.wdir,
        cmd=metafile.cmd or "",
        deps=tuple(dep.path for dep in metafile.deps if dep.params is None),
        params={
            dep.path: tuple(str(key) for key in dep.params) or None
            for dep in metafile.deps
            if dep.params is not None
        },
        outs=metafile.outs,
        frozen=metafile.frozen,
        always_changed=metafile.always_changed,
        desc=metafile.desc,
        meta=metafile.meta,
    )


class _Surroundings(NamedTuple):
    """What all stages of a file share. `read` is None where variables are not needed."""

    directory: str
    read: Read | None
    options: OptionStyle


def _stages(
    name: str, entry: StageEntry, variables: Variables, root: Place, around: _Surroundings
) -> Iterator[ResolvedStage]:
    group = root.inside("stages", name)
    if not entry.is_group:
        yield _stage(name, None, entry.body, variables, group, around)
        return
    body = group.inside("do") if entry.foreach is not None else group
    for part, own in expand(entry, variables.values, group):
        generated = f"{name}@{part}"
        place = Place(body.file, body.path, ("stages", generated))
        yield _stage(generated, name, entry.body, variables.with_item(own), place, around)


def _stage(
    name: str,
    group: str | None,
    body: dict[str, Any],
    variables: Variables,
    place: Place,
    around: _Surroundings,
) -> ResolvedStage:
    directory, read, options = around
    wdir = body.get("wdir", ".")
    if read is not None:
        wdir = to_text(fill(wdir, variables.values, place.inside("wdir")))
    wdir = wdir or "."
    if read is not None and body.get("vars"):
        variables = variables.with_stage(body["vars"], place, wdir, read)
    if read is None:
        filled, cmd = body, body["cmd"]  # without any `${` there is nothing to fill in
    else:
        names = variables.values
        filled = {
            key: fill(value, names, place.inside(key))
            for key, value in body.items()
            if key not in ("wdir", "vars", "cmd")
        }
        cmd = fill(body["cmd"], names, place.inside("cmd"), options=options)
    file = posixpath.join(directory, FILE_NAME)
    return ResolvedStage(
        name=name,
        address=f"{file}:{name}",
        file=file,
        wdir=wdir,
        cmd=[to_text(item) for item in cmd] if isinstance(cmd, list) else to_text(cmd),
        deps=_dependencies(filled.get("deps", []), directory, wdir),
        params=_params(filled.get("params", [])),
        outs=_outputs(filled, directory, wdir),
        frozen=filled.get("frozen", False),
        always_changed=filled.get("always_changed", False),
        desc=to_text(filled["desc"]) if "desc" in filled else None,
        meta=filled.get("meta"),
        group=group,
    )


def _dependencies(written: list[Any], directory: str, wdir: str) -> tuple[str, ...]:
    unique: dict[str, str] = {}
    for item in written:
        path = to_text(item)
        unique.setdefault(root_path(directory, wdir, path), path)
    return tuple(unique.values())


def _params(written: list[Any]) -> dict[str, tuple[str, ...] | None]:
    """Returns the keys that each parameter file is asked for, in the order in which the files are named."""
    wanted: dict[str, dict[str, None]] = {}
    whole: set[str] = set()
    for item in written:
        files = item if isinstance(item, dict) else {DEFAULT_FILE: [item]}
        for file, keys in files.items():
            path = posixpath.normpath(file)
            wanted.setdefault(path, {}).update(dict.fromkeys(map(to_text, keys or ())))
            if not keys:
                whole.add(path)
    return {file: None if file in whole else tuple(keys) for file, keys in wanted.items()}


def _outputs(filled: dict[str, Any], directory: str, wdir: str) -> tuple[Output, ...]:
    outputs: dict[str, Output] = {}
    for section in ("outs", "metrics", "plots"):
        for item in filled.get(section, []):
            for written, options in item.items() if isinstance(item, dict) else [(item, {})]:
                path = to_text(written)
                key = root_path(directory, wdir, path)
                outputs[key] = _output(outputs.get(key, Output(path)), section, options)
    return tuple(outputs.values())


def _output(before: Output, section: str, written: dict[str, Any] | list[Any]) -> Output:
    """Returns an output with the options of one more mention of it."""
    several = written if isinstance(written, list) else [written]
    options = {key: value for one in several for key, value in one.items()}
    plots = [{key: one[key] for key in _PLOT_KEYS if key in one} for one in several]
    plot: Any = plots if isinstance(written, list) else (plots[0] or True)
    return before._replace(
        use_cache=options.get("cache", before.use_cache),
        persist=options.get("persist", before.persist),
        can_push=options.get("push", before.can_push),
        remote=_text(options, "remote", before.remote),
        desc=_text(options, "desc", before.desc),
        type=_text(options, "type", before.type),
        labels=tuple(map(to_text, options.get("labels", before.labels))),
        meta=options.get("meta", before.meta),
        metric=True if section == "metrics" else before.metric,
        plot=plot if section == "plots" else before.plot,
        extra={"checkpoint": True} if options.get("checkpoint") else before.extra,
    )


def _text(options: dict[str, Any], key: str, default: str | None) -> str | None:
    return to_text(options[key]) if key in options else default

"""What the metafiles of a version say of params, metrics and plots; remembered for the versions that share them.

Not here: what stands in the files that are named (metrics, params, plots).
Implements docs/spec/metrics.md, section 1.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.formats.records import Output

if TYPE_CHECKING:
    from kist.formats.dvcyaml import PipelineFile
    from kist.pipeline.resolve import ResolvedStage
    from kist.pipeline.variables import Read
    from kist.repo.views import View

_REFERENCE = re.compile(r"(?<!\\)\$\{\s*([^}\s]+)\s*\}")
_MEMORY = 4000
"""Metafiles that are remembered; each takes about a kilobyte."""


class Declared(NamedTuple):
    """What one metafile says. Paths are relative to the repository's root; those elsewhere as written.

    Attributes:
        file: the metafile.
        outputs: all outputs.
        metrics: outputs that are metrics.
        plots: outputs that are plots: path -> True, options, or a list of options.
        params: (file, keys) for each stage; no keys: the whole file.
        top_metrics, top_params: files of the sections at the top.
        top_plots: id -> options, or None; ids and paths as written, relative to the folder of `file`.
        variables: file of `vars` -> dotted name -> value, as far as a `${}` of a stage refers to it.
    """

    file: str
    outputs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[tuple[str, Any], ...] = ()
    params: tuple[tuple[str, tuple[str, ...]], ...] = ()
    top_metrics: tuple[str, ...] = ()
    top_params: tuple[str, ...] = ()
    top_plots: tuple[tuple[str, dict[str, Any] | None], ...] = ()
    variables: tuple[tuple[str, dict[str, Any]], ...] = ()


class Declarations:
    """Reads what views declare, each metafile once for all versions that have it in the same surroundings."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[tuple[dict[str, str | None], Declared]]] = {}

    def of(self, view: View) -> list[Declared]:
        """Returns what a version's metafiles say, those of a folder before those of the folders in it.

        Raises:
            FormatError: one of them cannot be understood.
        """
        found = []
        for path in view.metafiles():
            declared = self._one(view, path)
            for out in declared.outputs:
                view.prune(out)
            found.append(declared)
        return found

    def _one(self, view: View, path: str) -> Declared:
        key = view.key(path)
        if key is None:
            return read_declared(path, view.read_file(path) or b"", view, {})
        known = self._known.get((path, key), ())
        for seen, declared in known:
            if all(view.key(name) == sha for name, sha in seen.items()):
                return declared
        seen = {}
        declared = read_declared(path, view.read_file(path) or b"", view, seen)
        if len(self._known) > _MEMORY:
            self._known.clear()
        self._known.setdefault((path, key), []).append((seen, declared))
        return declared


def read_declared(path: str, data: bytes, view: View, seen: dict[str, str | None]) -> Declared:
    """Returns what a metafile says.

    Args:
        data: its bytes.
        seen: gets the other files that it was read with, and their keys.

    Raises:
        FormatError: it cannot be understood.
    """
    directory = posixpath.dirname(path)

    def read(name: str) -> bytes | None:
        other = posixpath.normpath(posixpath.join(directory, name))
        seen[other] = view.key(other)
        return view.read_file(other)

    if path.endswith("dvc.yaml"):
        return _of_pipeline(path, data, view, read)
    return _of_metafile(path, data)


def _of_metafile(path: str, data: bytes) -> Declared:
    from kist.formats.metafile import parse_metafile
    from kist.repo.collect import stage_of_metafile

    stage = stage_of_metafile(path, parse_metafile(data, name=path))
    outs = [(out.path, out.output) for out in stage.outs]
    params = () if stage.resolved is None else _params([stage.resolved])
    return _with_outputs(Declared(path, params=params), outs)


def _of_pipeline(path: str, data: bytes, view: View, read: Read) -> Declared:
    from kist.formats.dvcyaml import parse_dvcyaml  # many repositories have no pipeline
    from kist.pipeline.resolve import resolve

    directory = posixpath.dirname(path)
    pipeline = parse_dvcyaml(data, name=path)
    stages = resolve(pipeline, directory=directory, read=read, options=view.option_style())
    outs = [(stage.rooted(output.path), output) for stage in stages for output in stage.outs]
    metrics, params, plots = _top(pipeline, read)
    declared = Declared(
        path,
        params=_params(stages),
        top_metrics=tuple(_rooted(directory, file) for file in metrics),
        top_params=tuple(_rooted(directory, file) for file in params),
        top_plots=plots,
        variables=_variables(pipeline, directory, read),
    )
    return _with_outputs(declared, outs)


def _with_outputs(declared: Declared, outs: Iterable[tuple[str, Output]]) -> Declared:
    outs = list(outs)
    return declared._replace(
        outputs=tuple(path for path, _ in outs),
        metrics=tuple(path for path, output in outs if output.metric),
        plots=tuple((path, output.plot) for path, output in outs if output.plot),
    )


def _params(stages: Iterable[ResolvedStage]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((stage.rooted(file), keys or ()) for stage in stages for file, keys in stage.params.items())


def _top(
    pipeline: PipelineFile, read: Read
) -> tuple[list[str], list[str], tuple[tuple[str, dict[str, Any] | None], ...]]:
    """Returns the metrics, params and plots at the top, with each `${}` filled."""
    metrics, params, plots = list(pipeline.metrics), list(pipeline.params), list(pipeline.plots)
    if b"${" in pipeline.data and (metrics or params or plots):
        from kist.pipeline.interpolate import fill
        from kist.pipeline.place import Place
        from kist.pipeline.variables import Variables

        root = Place(pipeline, ())
        names = Variables.of_file(root, read).values
        metrics = [str(item) for item in fill(metrics, names, root.inside("metrics"))]
        params = [str(item) for item in fill(params, names, root.inside("params"))]
        plots = fill(plots, names, root.inside("plots"))
    named: list[tuple[str, dict[str, Any] | None]] = []
    for item in plots:
        named += [(item, None)] if isinstance(item, str) else list(item.items())
    return metrics, params, tuple(named)


def _variables(pipeline: PipelineFile, directory: str, read: Read) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Returns the values of files that the stages' `${}` refer to, by file."""
    if b"${" not in pipeline.data:
        return ()
    from kist.formats.params import DEFAULT_FILE, MISSING, lookup, parse_params

    names = dict.fromkeys(
        name.replace("[", ".").replace("]", "")
        for entry in pipeline.stages.values()
        for name in _REFERENCE.findall(str((entry.body, entry.foreach, entry.matrix)))
    )
    files = [DEFAULT_FILE, *(item.partition(":")[0] for item in pipeline.vars if isinstance(item, str))]
    found = []
    for file in dict.fromkeys(map(posixpath.normpath, files)):
        data = read(file)
        if data is None:
            continue
        values = parse_params(data, name=_rooted(directory, file))
        used = {name: value for name in names if (value := lookup(values, name)) is not MISSING}
        if used:
            found.append((_rooted(directory, file), used))
    return tuple(found)


def _rooted(directory: str, path: str) -> str:
    from kist.pipeline.resolve import root_path

    return root_path(directory, ".", path)

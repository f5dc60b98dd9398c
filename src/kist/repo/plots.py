"""`plots show` and `plots diff`: what is declared as a plot in versions, and the data behind it.

Reads only. Not here: from data to drawings (compare), pages and pictures (plot_files), layout on the screen (cli).
Implements docs/spec/plots.md, sections 1 and 2.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.compare.plot_points import Points, points_of
from kist.compare.plot_spec import Drawing
from kist.errors import FormatError, InputError, KistError, MissingError
from kist.formats.dvcyaml_edit import PLOT_KEYS
from kist.formats.plotdata import is_image, parse_plot
from kist.repo.declared import Declarations, Declared
from kist.repo.metrics import Failure, failure_of
from kist.repo.views import WORKSPACE, View, Views, has_history, named_revisions

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class SeveralPlotsError(InputError):
    """A stage has several plots of one file, which is written at the top of `dvc.yaml` instead."""

    code = "several-plots"


class Picture(NamedTuple):
    """An image of one version."""

    version: str
    path: str
    data: bytes


class SourceFailure(NamedTuple):
    """Why something of a plot is not drawn; `source` is the file, None where it is the definition."""

    version: str
    source: str | None
    failure: Failure


class Plot(NamedTuple):
    """One plot of all versions: a drawing, or pictures.

    Attributes:
        drawing: None for pictures.
        template: name of the template, None for the usual one.
    """

    name: str
    drawing: Drawing | None
    pictures: tuple[Picture, ...] = ()
    template: str | None = None
    failures: tuple[SourceFailure, ...] = ()


class PlotSet(NamedTuple):
    """What was found.

    Attributes:
        failures: version -> why nothing of it could be read.
        is_empty: no version declares a plot.
    """

    plots: list[Plot]
    failures: dict[str, Failure]
    is_empty: bool


class _Definition(NamedTuple):
    """One plot of one version: `config` is the `dvc.yaml`, as the person would write it, or ""."""

    config: str
    name: str
    options: dict[str, Any]


class _Version(NamedTuple):
    """What one version declares, and what the files behind it say."""

    definitions: list[_Definition]
    contents: dict[str, Any]
    failures: dict[str, Failure]


def revisions_to_compare(repository: Repository, revs: Sequence[str]) -> list[str]:
    """Returns the versions that `plots diff` compares; none without any commit.

    Without revisions, HEAD and the workspace where files of Git changed; with one, that and the workspace.

    Raises: NoGitError.
    """
    if not has_history(repository):
        return []
    wanted = list(revs)
    if len(wanted) <= 1:
        git = repository.git
        if not wanted and git is not None and git.status():
            wanted.append("HEAD")
        wanted.append(WORKSPACE)
    return sorted(dict.fromkeys(wanted), key=lambda rev: rev != WORKSPACE)


def collect_plots(
    repository: Repository,
    revs: Sequence[str],
    *,
    targets: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> PlotSet:
    """Returns the plots of versions.

    Args:
        revs: revisions and "workspace", in the order in which they are drawn.
        targets: files, folders, or patterns of ids; empty for all that is declared.
        options: what is said on the command line, which comes before what is declared.

    Raises: RevisionMissingError, NoGitError.
    """
    collector = _Collector(repository, targets, options or {})
    versions: dict[str, _Version] = {}
    failures: dict[str, Failure] = {}
    for rev, view in _views(repository, revs):
        try:
            version = collector.version(view)
        except (FormatError, MissingError, InputError, OSError) as error:
            failures[rev] = failure_of(error)
            continue
        if version.definitions:
            versions[rev] = version
    ordered = {rev: versions[rev] for rev in revs if rev in versions}
    return PlotSet(_plots(ordered), failures, not versions and not failures)


def _views(repository: Repository, revs: Sequence[str]) -> Iterator[tuple[str, View]]:
    with Views(repository) as views:
        if WORKSPACE in revs:
            yield WORKSPACE, views.workspace()
        others = [rev for rev in revs if rev != WORKSPACE]
        if others:
            named = named_revisions(repository, others)
            for view in views.commits(list(named)):
                for rev in named[view.name]:
                    yield rev, view


class _Collector:
    """Reads definitions and data of versions. Paths of definitions are relative to the person's folder."""

    def __init__(self, repository: Repository, targets: Sequence[str], options: Mapping[str, Any]) -> None:
        self._repository = repository
        self._targets = [posixpath.normpath(target.replace(os.sep, "/")) for target in targets]
        self._options = dict(options)
        self._declarations = Declarations()

    def version(self, view: View) -> _Version:
        """Returns what one version declares, with the data.

        Raises: FormatError, SeveralPlotsError.
        """
        declared = self._declarations.of(view)
        found = [definition for one in declared for definition in self._of_top(view, one)]
        found += self._of_outputs(view, declared)
        is_declared = bool(found) or any(one.top_plots for one in declared)
        for target in self._targets:
            path = self._rooted(target)
            is_there = view.is_folder(path) or view.key(path) is not None or view.read(path) is not None
            if is_there or not is_declared:
                found += [_Definition("", file, self._options) for file in self._files(view, target)]
        joined: dict[tuple[str, str], _Definition] = {}
        for one in found:
            before = joined.get((one.config, one.name))
            joined[one.config, one.name] = (
                one if before is None else one._replace(options=before.options | one.options)
            )
        return self._with_data(view, list(joined.values()), declared)

    def _of_top(self, view: View, declared: Declared) -> Iterator[_Definition]:
        config = self._repository.shown(declared.file)
        folder = posixpath.dirname(config)
        paths = [posixpath.normpath(posixpath.join(folder, name)) for name, _ in declared.top_plots]
        for (name, written), path in zip(declared.top_plots, paths, strict=True):
            if not self._is_wanted(config, name):
                continue
            options = dict(written or {})
            if isinstance(options.get("y"), dict):
                for axis in ("x", "y"):
                    if isinstance(options.get(axis), dict):
                        options[axis] = _moved(options[axis], folder)
                yield _Definition(config, name, options | self._options)
                continue
            for file in self._files(view, path):
                if _nearest(file, paths) == path:
                    yield _Definition(config, file, options | self._options)

    def _of_outputs(self, view: View, declared: Sequence[Declared]) -> Iterator[_Definition]:
        for one in declared:
            for path, written in one.plots:
                if isinstance(written, list):
                    raise SeveralPlotsError(
                        f"cannot draw '{path}': its stage in '{one.file}' gives it several plots",
                        hint="write them under `plots` at the top of dvc.yaml",
                    )
                shown = self._repository.shown(path)
                if self._is_wanted(self._repository.shown(one.file), shown):
                    options = {**_plot_options(written), **self._options}
                    for file in self._files(view, shown):
                        yield _Definition("", file, options)

    def _files(self, view: View, shown: str) -> list[str]:
        path = self._rooted(shown)
        if not view.is_folder(path):
            return [shown]
        return [self._repository.shown(file) for file in view.files_below(path)]

    def _rooted(self, shown: str) -> str:
        absolute = posixpath.normpath(posixpath.join(self._repository.cwd, shown))
        return os.path.relpath(absolute, self._repository.root).replace(os.sep, "/")

    def _is_wanted(self, config: str, name: str) -> bool:
        if not self._targets:
            return True
        return any(
            _matches(target, name) or _matches(target, f"{config}::{name}") for target in self._targets
        )

    def _with_data(
        self, view: View, definitions: list[_Definition], declared: Sequence[Declared]
    ) -> _Version:
        own = {
            self._repository.shown(path): _plot_options(written)
            for one in declared
            for path, written in one.plots
        }
        contents: dict[str, Any] = {}
        failures: dict[str, Failure] = {}
        files = dict.fromkeys(file for one in definitions for file in _sources(one))
        for file in files:
            has_header = {**own.get(file, {}), **self._options}.get("header", True)
            try:
                contents[file] = self._content(view, file, has_header=bool(has_header))
            except (KistError, OSError) as error:
                failures[file] = _plot_failure(error)
        return _Version(definitions, contents, failures)

    def _content(self, view: View, file: str, *, has_header: bool) -> Any:
        data = view.read(self._rooted(file))
        if data is None:
            raise FileNotFoundError(2, "No such file or directory", file)
        return data if is_image(file) else parse_plot(data, name=file, has_header=has_header)


def _plot_options(written: Any) -> dict[str, Any]:
    return {key: written[key] for key in PLOT_KEYS if key in written} if isinstance(written, dict) else {}


def _matches(target: str, name: str) -> bool:
    try:
        return re.match(target, name) is not None
    except re.error:
        return name.startswith(target)


def _moved(fields: Mapping[str, Any], folder: str) -> dict[str, Any]:
    return {posixpath.normpath(posixpath.join(folder, file)): value for file, value in fields.items()}


def _nearest(file: str, paths: Sequence[str]) -> str:
    """Returns the longest of paths that is a file or a folder around it: the definition that says most of it."""
    around = [path for path in paths if path == file or path == "." or file.startswith(path + "/")]
    return max(around, key=len, default="")


def _sources(definition: _Definition) -> list[str]:
    """Returns the files that a definition draws."""
    x, y = definition.options.get("x"), definition.options.get("y")
    files = list(y) if isinstance(y, dict) else [definition.name]
    return list(dict.fromkeys([*files, *(x if isinstance(x, dict) else ())]))


def _plot_failure(error: KistError | OSError) -> Failure:
    failure = failure_of(error)
    if isinstance(error, KistError) and error.code == "plot-kind":
        return Failure("PlotMetricTypeError", error.message)
    return failure


def _plots(versions: Mapping[str, _Version]) -> list[Plot]:
    groups: dict[str, list[tuple[str, _Definition]]] = {}
    for rev, version in versions.items():
        configs: dict[str, int] = {}
        for one in version.definitions:
            configs[one.name] = configs.get(one.name, 0) + 1
        for one in version.definitions:
            name = f"{one.config}::{one.name}" if configs[one.name] > 1 and one.config else one.name
            groups.setdefault(name, []).append((rev, one))
    return [
        _pictures(group, versions) if is_image(group[0][1].name) else _drawn(name, group, versions)
        for name, group in groups.items()
    ]


def _pictures(group: list[tuple[str, _Definition]], versions: Mapping[str, _Version]) -> Plot:
    found = tuple(
        Picture(rev, one.name, versions[rev].contents[one.name])
        for rev, one in group
        if one.name in versions[rev].contents
    )
    return Plot(group[0][1].name, None, found, failures=tuple(_source_failures(group, versions)))


def _source_failures(
    group: list[tuple[str, _Definition]], versions: Mapping[str, _Version]
) -> Iterator[SourceFailure]:
    for rev, one in group:
        for file in _sources(one):
            if file in versions[rev].failures:
                yield SourceFailure(rev, file, versions[rev].failures[file])


def _drawn(name: str, group: list[tuple[str, _Definition]], versions: Mapping[str, _Version]) -> Plot:
    options: dict[str, Any] = {}
    for _, one in reversed(group):
        options |= one.options
    failures = list(_source_failures(group, versions))
    parts: list[Points] = []
    shown: dict[str, None] = {}
    for rev, one in group:
        contents = versions[rev].contents
        known = {file: contents[file] for file in _sources(one) if contents.get(file)}
        try:
            points = points_of(one.name, options, known, rev)
        except FormatError as error:
            kind = "FieldNotFoundError" if error.code == "plot-field" else "DvcException"
            failures.append(SourceFailure(rev, None, Failure(kind, error.message)))
            continue
        if points.rows:
            parts.append(points)
            shown[rev] = None
    rows = [row for points in parts for row in points.rows]
    first = parts[0] if parts else Points([], "step", None, None, None, [])
    title = options.get("title")
    drawing = Drawing(
        name if title is None else str(title),
        rows,
        list(shown),
        first.x,
        first.y,
        first.x_label,
        first.y_label,
        first.sources,
    )
    return Plot(name, drawing, template=options.get("template"), failures=tuple(failures))

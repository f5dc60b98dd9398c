"""`exp show`: experiments with their parameters, metrics, dependencies and outputs.

Reads only, takes no lock. One git process reads all blobs, and each content is parsed once. Not here: layout (cli).
Source: DVC 3.67.1, whose JSON has the same shape.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError
from kist.experiments.refs import Experiment
from kist.formats.records import Dependency, Output
from kist.repo.collect import LOCK_FILE, PIPELINE_FILE, stage_of_metafile
from kist.repo.declared import Declarations
from kist.repo.exp_refs import (
    Place,
    Range,
    baselines,
    experiments_of,
    in_range,
    names_of,
    newest_first,
    place_of,
)
from kist.repo.exp_waiting import Waiting, waiting
from kist.repo.metrics import FileValues, collect_metrics, failure_of, metrics_reader
from kist.repo.params import collect_params, params_reader
from kist.repo.views import WORKSPACE, View, Views

if TYPE_CHECKING:
    from kist.pipeline.resolve import ResolvedStage
    from kist.repo.repository import Repository


class Data(NamedTuple):
    """What one version has; paths relative to the root.

    Attributes:
        failure: (kind, message) where a metafile cannot be read; all else is empty then.
    """

    params: dict[str, FileValues] = {}
    metrics: dict[str, FileValues] = {}
    deps: dict[str, Dependency] = {}
    outs: dict[str, tuple[Output, bool]] = {}
    failure: tuple[str, str] | None = None


class Row(NamedTuple):
    """One version.

    Attributes:
        rev: "workspace" or a commit's id.
        name: of a branch, tag or experiment; None where it has none.
        committed_s: when it was committed, in seconds since 1970; None for the workspace.
        state: "queued", "running" or "failed"; None of what is there.
        executor: who runs it.
    """

    rev: str
    name: str | None
    committed_s: int | None
    data: Data
    state: str | None = None
    executor: str | None = None


class Group(NamedTuple):
    """A version and the experiments that were begun from it, the newest first."""

    base: Row
    experiments: list[Row]


class ShowOptions(NamedTuple):
    """What is to be shown.

    Attributes:
        chosen: baselines.
        branches, tags: those of all branches, of all tags.
        only_of_stages: only parameters that stages name.
        with_workspace: the workspace comes first.
        hidden: states that are left out.
    """

    chosen: Range = Range()
    branches: bool = False
    tags: bool = False
    only_of_stages: bool = False
    with_workspace: bool = True
    hidden: Collection[str] = ()


def show_experiments(repository: Repository, options: ShowOptions) -> list[Group]:
    """Returns the workspace and the baselines with their experiments.

    Raises: NoGitError, NoCommitError, RevisionMissingError.
    """
    place = place_of(repository, "show experiments")
    wanted = _baselines(place, options)
    present = in_range(place, experiments_of(place), Range(everything=True)) if wanted else {}
    pending: dict[str, list[Waiting]] = {}
    for one in waiting(repository, place):
        if one.state not in options.hidden:
            pending.setdefault(one.baseline, []).append(one)
    shas = [
        sha
        for base in wanted
        for sha in (base, *(one.sha for one in (*present.get(base, ()), *pending.get(base, ()))))
    ]
    words = place.git.describe(dict.fromkeys(shas))
    names = names_of(place.git, wanted)
    collector = _Collector(only_of_stages=options.only_of_stages)
    groups = []
    with Views(repository) as views:
        if options.with_workspace:
            groups.append(Group(Row(WORKSPACE, None, None, collector.collect(views.workspace())), []))
        found = {view.name: collector.collect(view) for view in views.commits(list(dict.fromkeys(shas)))}
    empty = Data()
    for base in wanted:
        own: Sequence[Experiment] = newest_first(present.get(base, ()), words)
        rows = [Row(one.sha, one.name, words[one.sha].committed_s, found.get(one.sha, empty)) for one in own]
        rows += [
            Row(
                one.sha,
                one.name,
                words[one.sha].committed_s,
                found.get(one.sha, empty)._replace(metrics={}, deps={}, outs={}),
                one.state,
                one.executor,
            )
            for one in pending.get(base, ())
        ]
        head = Row(base, names.get(base), words[base].committed_s, found.get(base, empty))
        groups.append(Group(head, rows))
    return groups


def _baselines(place: Place, options: ShowOptions) -> list[str]:
    """Returns the commits that are shown, without those that only HEAD's workspace stands for."""
    git = place.git
    if not git.has_commits():
        return []
    if options.chosen.everything:
        return git.named_commits()
    found: dict[str, None] = {}
    if options.chosen.revs or not (options.branches or options.tags):
        found.update(dict.fromkeys(baselines(git, options.chosen)))
    else:
        found.update(dict.fromkeys(baselines(git, options.chosen._replace(revs=()))))
    if options.branches:
        found.update(dict.fromkeys(git.first_parents(git.branches().values(), options.chosen.num)))
    if options.tags:
        found.update(dict.fromkeys(git.first_parents(git.tags().values(), options.chosen.num)))
    return list(found)


class _Collector:
    """Collects what versions have, each content parsed once."""

    def __init__(self, *, only_of_stages: bool) -> None:
        self._only_of_stages = only_of_stages
        self._declarations = Declarations()
        self._metrics = metrics_reader()
        self._params = params_reader()
        self._data = _Recorded()

    def collect(self, view: View) -> Data:
        """Returns what a version has."""
        try:
            declared = self._declarations.of(view)
            deps, outs = self._data.of(view)
        except FormatError as error:
            failure = failure_of(error)
            return Data(failure=(failure.kind, failure.message))
        params = collect_params(view, declared, self._params, only_of_stages=self._only_of_stages)
        return Data(params, collect_metrics(view, declared, self._metrics), deps, outs)


_Found = tuple[dict[str, Dependency], dict[str, tuple[Output, bool]]]


class _Recorded:
    """Reads what locks and `.dvc` files record of dependencies and outputs."""

    def __init__(self) -> None:
        self._stages: dict[
            tuple[str, str], list[tuple[dict[str, str | None], tuple[ResolvedStage, ...]]]
        ] = {}
        self._known: dict[tuple[str, ...], _Found] = {}

    def of(self, view: View) -> _Found:
        """Returns path -> dependency, and path -> (output, whether it is the data of a `.dvc` file).

        Raises: FormatError.
        """
        deps: dict[str, Dependency] = {}
        outs: dict[str, tuple[Output, bool]] = {}
        for path in view.metafiles():
            own_deps, own_outs = self._one(view, path)
            for out in own_outs:
                view.prune(out)
            deps.update(own_deps)
            outs.update(own_outs)
        shown = {path: pair for path, pair in outs.items() if not (pair[0].metric or pair[0].plot)}
        return deps, shown

    def _one(self, view: View, path: str) -> _Found:
        if posixpath.basename(path) != PIPELINE_FILE:
            key = view.key(path)
            if key is None or (path, key) not in self._known:
                found = _of_metafile(path, view.read_file(path) or b"")
                if key is not None:
                    self._known[path, key] = found
                return found
            return self._known[path, key]
        return _joined(self._resolved(view, path), view, posixpath.join(posixpath.dirname(path), LOCK_FILE))

    def _resolved(self, view: View, path: str) -> tuple[ResolvedStage, ...]:
        from kist.formats.dvcyaml import parse_dvcyaml
        from kist.pipeline.resolve import resolve

        key = view.key(path)
        for seen, stages in self._stages.get((path, key or ""), ()):
            if key is not None and all(view.key(name) == sha for name, sha in seen.items()):
                return stages
        seen = {}
        directory = posixpath.dirname(path)

        def read(name: str) -> bytes | None:
            other = posixpath.normpath(posixpath.join(directory, name))
            seen[other] = view.key(other)
            return view.read_file(other)

        pipeline = parse_dvcyaml(view.read_file(path) or b"", name=path)
        stages = resolve(pipeline, directory=directory, read=read, options=view.option_style())
        if key is not None:
            self._stages.setdefault((path, key), []).append((seen, stages))
        return stages


def _of_metafile(path: str, data: bytes) -> _Found:
    from kist.formats.metafile import parse_metafile

    metafile = parse_metafile(data, name=path)
    stage = stage_of_metafile(path, metafile)
    is_source = stage.is_data or stage.is_import
    base = stage.wdir
    deps = {
        dep.path if "://" in dep.path else posixpath.normpath(posixpath.join(base, dep.path)): dep
        for dep in metafile.deps
        if dep.params is None and dep.repo is None and dep.db is None
    }
    return deps, {out.path: (out.output, is_source) for out in stage.outs}


def _joined(stages: Sequence[ResolvedStage], view: View, lock_path: str) -> _Found:
    from kist.formats.lockfile import parse_lockfile
    from kist.pipeline.locked import locked_dependencies, locked_outputs

    data = view.read_file(lock_path)
    recorded = parse_lockfile(data, name=lock_path).stages if data is not None else {}
    deps: dict[str, Dependency] = {}
    outs: dict[str, tuple[Output, bool]] = {}
    for stage in stages:
        locked = recorded.get(stage.name)
        deps.update((stage.rooted(dep.path), dep) for dep in locked_dependencies(stage, locked))
        outs.update((stage.rooted(out.path), (out, False)) for out in locked_outputs(stage, locked))
    return deps, outs

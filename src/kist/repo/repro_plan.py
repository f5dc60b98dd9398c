"""Which stages `repro` looks at, and in which order.

Not here: whether they run. Implements docs/spec/repro.md, section 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.pipeline.graph import Graph, Node, build
from kist.repo.collect import PIPELINE_FILE, Stage, WorkspaceSource, collect
from kist.repo.targets import TargetMissingError, dependencies, stages_of

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class Scope(NamedTuple):
    """Which stages are meant, besides the targets.

    Attributes:
        single: the targets alone.
        whole: all stages connected with the targets.
        everything: all stages there are.
        downstream: the targets and what depends on them.
        recursive: folders mean all stages below them.
        use_glob: targets are patterns of stage names.
    """

    single: bool = False
    whole: bool = False
    everything: bool = False
    downstream: bool = False
    recursive: bool = False
    use_glob: bool = False


class Plan(NamedTuple):
    """Stages in the order in which they are looked at, and all that there are.

    Attributes:
        graph: of all stages; empty edges with `single`.
    """

    stages: list[Stage]
    everything: list[Stage]
    graph: Graph


def plan(repository: Repository, targets: Sequence[str], scope: Scope) -> Plan:
    """Returns the plan.

    Raises: TargetMissingError, GraphError, FormatError.
    """
    everything = collect(WorkspaceSource(repository))
    meant = everything if scope.everything else _meant(repository, everything, targets, scope)
    nodes = graph_nodes(everything)
    if scope.single and not scope.everything:
        empty = Graph({node.key: node for node in nodes}, {node.key: () for node in nodes})
        return Plan(meant, everything, empty)
    graph = build(nodes)
    active = graph.runnable()
    keys = [stage.address for stage in meant]
    if scope.whole:
        keys = list(graph.connected(keys))
    wanted = active.descendants(keys) if scope.downstream else active.ancestors(keys)
    by_key = {stage.address: stage for stage in everything}
    return Plan([by_key[key] for key in active.order(wanted)], everything, graph)


def graph_nodes(stages: Sequence[Stage]) -> list[Node]:
    """Returns stages as the graph sees them."""
    return [
        Node(
            stage.address,
            tuple(out.path for out in stage.outs),
            tuple(dependencies(stage)),
            stage.resolved is not None and stage.resolved.frozen,
        )
        for stage in stages
    ]


def _meant(
    repository: Repository, everything: Sequence[Stage], targets: Sequence[str], scope: Scope
) -> list[Stage]:
    if not targets and not os.path.lexists(os.path.join(repository.cwd, PIPELINE_FILE)):
        raise TargetMissingError(
            f"cannot find '{PIPELINE_FILE}': it does not exist here", hint=shell_line("kist", "repro", "-P")
        )
    found: dict[str, Stage] = {}
    for target in targets or (PIPELINE_FILE,):
        picked = (
            _matching(repository, everything, target)
            if scope.use_glob
            else stages_of(repository, everything, target, recursive=scope.recursive)
        )
        found.update({stage.address: stage for stage in picked})
    return list(found.values())


def _matching(repository: Repository, everything: Sequence[Stage], pattern: str) -> list[Stage]:
    import fnmatch  # only with --glob

    file, colon, name = pattern.rpartition(":")
    path = repository.rel(file if colon and file else PIPELINE_FILE)
    found = [
        stage
        for stage in everything
        if stage.file == path and stage.name is not None and fnmatch.fnmatchcase(stage.name, name)
    ]
    if not found:
        shown = repository.shown(path)
        raise TargetMissingError(
            f"cannot find '{pattern}': no stage of '{shown}' matches", hint="kist stage list --all"
        )
    return found

"""`dag`: which stages, or outputs, depend on which, as a list of names and edges; and as DOT and Mermaid.

Not here: the drawing for a terminal (pipeline.drawing).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.pipeline.graph import Graph, build
from kist.repo.collect import Stage, WorkspaceSource, collect
from kist.repo.repro_plan import graph_nodes
from kist.repo.targets import dependencies, shown_stage, stages_of

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class Dag(NamedTuple):
    """Names as the person types them, in the order of the metafiles, and what each depends on."""

    names: list[str]
    makers: dict[str, list[str]]

    def edges(self) -> list[tuple[str, str]]:
        """Returns (what is used, what uses it), in the order of the first."""
        users: dict[str, list[str]] = {name: [] for name in self.names}
        for name in self.names:
            for maker in self.makers[name]:
                users[maker].append(name)
        return [(maker, user) for maker in self.names for user in users[maker]]

    def order(self) -> list[str]:
        """Returns the names, each after all that it depends on; in this order if there is a choice."""
        found: dict[str, None] = {}
        for root in self.names:
            stack = [root]
            while stack:
                # Groups that are one may depend on each other in a circle.
                open_makers = [
                    maker for maker in self.makers[stack[-1]] if maker not in found and maker not in stack
                ]
                if open_makers:
                    stack.append(open_makers[0])
                else:
                    found[stack.pop()] = None
        return list(found)


def dag(
    repository: Repository,
    target: str | None,
    *,
    full: bool = False,
    outputs: bool = False,
    collapse: bool = False,
) -> Dag:
    """Returns the graph of everything, or of what a target depends on.

    Args:
        full: with a target, everything that is connected with it.
        outputs: of outputs, not of stages.
        collapse: the stages of one `foreach` or `matrix` are one.

    Raises: TargetMissingError, GraphError, FormatError.
    """
    stages = collect(WorkspaceSource(repository))
    graph = build(graph_nodes(stages))
    chosen = stages
    if target is not None:
        keys = [stage.address for stage in stages_of(repository, stages, target)]
        wanted = graph.connected(keys) if full else graph.ancestors(keys)
        chosen = [stage for stage in stages if stage.address in wanted]
    if outputs:
        return _of_outputs(repository, chosen)
    if collapse:  # groups come last, as in DVC
        chosen = sorted(chosen, key=lambda stage: stage.resolved is not None and bool(stage.resolved.group))
    return _of_stages(chosen, graph, lambda stage: _name(repository, stage, collapse=collapse))


def _of_stages(stages: Sequence[Stage], graph: Graph, name_of: Callable[[Stage], str]) -> Dag:
    names = {stage.address: name_of(stage) for stage in stages}
    makers: dict[str, dict[str, None]] = {name: {} for name in names.values()}
    for address, name in names.items():
        above = [names[maker] for maker in graph.makers[address] if maker in names]
        makers[name].update(dict.fromkeys(maker for maker in above if maker != name))
    return Dag(list(makers), {name: list(above) for name, above in makers.items()})


def _name(repository: Repository, stage: Stage, *, collapse: bool) -> str:
    shown = shown_stage(repository, stage)
    group = stage.resolved.group if stage.resolved is not None else None
    return shown[: -len(stage.name) + len(group)] if collapse and group and stage.name else shown


def _of_outputs(repository: Repository, stages: Sequence[Stage]) -> Dag:
    shown = {
        out.path: repository.shown(out.path) if out.is_inside else out.path
        for stage in stages
        for out in stage.outs
    }
    makers: dict[str, list[str]] = {name: [] for name in shown.values()}
    for stage in stages:
        used = [shown[path] for dep in dependencies(stage) for path in _touching(dep, shown)]
        for out in stage.outs:
            makers[shown[out.path]] = [name for name in dict.fromkeys(used) if name != shown[out.path]]
    return Dag(list(shown.values()), makers)


def _touching(path: str, outs: dict[str, str]) -> list[str]:
    if path in outs:
        return [path]
    above = posixpath.dirname(path)
    while above and above not in outs:
        above = posixpath.dirname(above)
    if above:
        return [above]
    return [out for out in outs if out.startswith(path + "/")]


def as_dot(found: Dag) -> str:
    """Returns the graph in the language of Graphviz, as DVC writes it."""
    lines = [f'"{name}";' for name in found.names]
    lines += [f'"{maker}" -> "{user}";' for maker, user in found.edges()]
    return "\n".join(["strict digraph {", *lines, "}"]) + "\n"


def as_mermaid(found: Dag) -> str:
    """Returns the graph in the language of Mermaid, as DVC writes it: one connected part after the other."""
    lines = ["flowchart TD"]
    edges = found.edges()
    count = 0
    for part in _parts(found, edges):
        numbers = {name: count + at for at, name in enumerate(sorted(part), start=1)}
        count += len(part)
        lines += [f'\tnode{number}["{name}"]' for name, number in numbers.items()]
        inner = sorted((numbers[maker], numbers[user]) for maker, user in edges if maker in numbers)
        lines += [f"\tnode{maker}-->node{user}" for maker, user in inner]
    return "\n".join(lines)


def _parts(found: Dag, edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    beside: dict[str, list[str]] = {name: [] for name in found.names}
    for maker, user in edges:
        beside[maker].append(user)
        beside[user].append(maker)
    parts = []
    seen: set[str] = set()
    for name in found.names:
        if name in seen:
            continue
        part, pending = {name}, [name]
        while pending:
            for other in beside[pending.pop()]:
                if other not in part:
                    part.add(other)
                    pending.append(other)
        seen |= part
        parts.append(list(part))
    return parts

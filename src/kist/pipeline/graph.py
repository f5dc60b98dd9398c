"""Which stage depends on which, by the paths that they write and read, and orders made of that. Pure.

Not here: what the paths hold. Implements docs/spec/repro.md, section 1.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kist.errors import InputError


class GraphError(InputError):
    """The stages make no graph: two write the same path, or they depend on each other. The user mends a metafile."""

    code = "pipeline-graph"
    exit_code = 255


class Node(NamedTuple):
    """One stage as the graph sees it.

    Attributes:
        key: tells it from others; shown in messages.
        outs, deps: paths relative to the repository's root, or addresses.
        is_frozen: what it depends on does not count for running it.
    """

    key: str
    outs: tuple[str, ...]
    deps: tuple[str, ...]
    is_frozen: bool = False


class Graph(NamedTuple):
    """Stages and what each depends on.

    Attributes:
        nodes: key -> stage, in the order in which they were given.
        makers: key -> keys of the stages that it depends on directly, in the order of its dependencies.
    """

    nodes: Mapping[str, Node]
    makers: Mapping[str, tuple[str, ...]]

    def runnable(self) -> Graph:
        """Returns the graph without what frozen stages depend on."""
        makers = {key: () if self.nodes[key].is_frozen else above for key, above in self.makers.items()}
        return Graph(self.nodes, makers)

    def users(self) -> dict[str, list[str]]:
        """Returns key -> keys of the stages that depend on it directly."""
        found: dict[str, list[str]] = {key: [] for key in self.nodes}
        for key, above in self.makers.items():
            for maker in above:
                found[maker].append(key)
        return found

    def order(self, among: Collection[str] | None = None) -> list[str]:
        """Returns stages so that each comes after what it depends on; `among` limits them.

        Args: among: keys; a stage outside of them is passed over, and what only it leads to is in its own place.
        """
        wanted = self.nodes.keys() if among is None else set(among)
        found: dict[str, None] = {}
        for root in self.nodes:
            if root in wanted:
                found.update(dict.fromkeys(self._postorder(root, wanted, found)))
        return list(found)

    def _postorder(self, root: str, wanted: Collection[str], done: Mapping[str, None]) -> Iterator[str]:
        if root in done:
            return
        seen = {root}
        stack: list[tuple[str, Iterator[str]]] = [(root, iter(self.makers[root]))]
        while stack:
            key, above = stack[-1]
            following = next(
                (one for one in above if one in wanted and one not in done and one not in seen), None
            )
            if following is None:
                stack.pop()
                yield key
            else:
                seen.add(following)
                stack.append((following, iter(self.makers[following])))

    def ancestors(self, keys: Iterable[str]) -> set[str]:
        """Returns the stages named, and all that they depend on."""
        return _reached(keys, self.makers)

    def descendants(self, keys: Iterable[str]) -> set[str]:
        """Returns the stages named, and all that depend on them."""
        return _reached(keys, self.users())

    def connected(self, keys: Iterable[str]) -> set[str]:
        """Returns the stages named, and all that are connected with them."""
        users = self.users()
        return _reached(keys, {key: [*above, *users[key]] for key, above in self.makers.items()})


def build(nodes: Sequence[Node]) -> Graph:
    """Returns the graph of stages.

    Raises: GraphError.
    """
    owners = Owners(nodes)
    makers = {
        node.key: tuple(dict.fromkeys(key for dep in node.deps for key in owners.of(dep) if key != node.key))
        for node in nodes
    }
    for node in nodes:
        both = [dep for dep in node.deps if node.key in owners.of(dep)]
        if both:
            raise GraphError(
                f"cannot order the stages: '{node.key}' has '{both[0]}' as a dependency and as an output",
                hint="take it out of `deps` or out of `outs`",
            )
    graph = Graph({node.key: node for node in nodes}, makers)
    _refuse_cycles(graph)
    return graph


class Owners:
    """Finds which stages write at, inside of, or around a path."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        """Raises: GraphError: two outputs are the same, or one lies in another."""
        self._owner: dict[str, str] = {}
        for node in nodes:
            for out in node.outs:
                other = self._owner.setdefault(out, node.key)
                if other != node.key:
                    raise GraphError(
                        f"cannot order the stages: '{out}' is an output of '{other}' and of '{node.key}'",
                        hint="name it in one of them only",
                    )
        self._sorted = sorted(self._owner)
        for out in self._sorted:
            around = next((one for one in _above(out) if one in self._owner), None)
            if around is not None:
                raise GraphError(
                    f"cannot order the stages: the output '{out}' of '{self._owner[out]}' "
                    f"lies in the output '{around}' of '{self._owner[around]}'",
                    hint="let the outputs lie side by side, or name the folder alone",
                )

    def of(self, path: str) -> list[str]:
        """Returns the keys of the stages that have an output at, around or inside of a path."""
        own = self._owner.get(path)
        if own is not None:
            return [own]
        found = [self._owner[one] for one in _above(path) if one in self._owner]
        at = bisect.bisect_left(self._sorted, path + "/")
        while at < len(self._sorted) and self._sorted[at].startswith(path + "/"):
            found.append(self._owner[self._sorted[at]])
            at += 1
        return found


def _above(path: str) -> Iterator[str]:
    at = path.find("/", 1)
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _reached(keys: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    found = set(keys)
    pending = list(found)
    while pending:
        for key in edges[pending.pop()]:
            if key not in found:
                found.add(key)
                pending.append(key)
    return found


def _refuse_cycles(graph: Graph) -> None:
    place = {key: at for at, key in enumerate(graph.order())}
    for key, above in graph.makers.items():
        for maker in above:
            if place[maker] > place[key]:
                way = _way(graph, maker, key)
                listed = " -> ".join(f"'{one}'" for one in [*way, maker])
                raise GraphError(
                    f"cannot order the stages: they depend on each other: {listed}",
                    hint="take one of the dependencies out",
                )


def _way(graph: Graph, start: str, end: str) -> list[str]:
    """Returns the stages from `start` to `end`, each depending on the next."""
    before: dict[str, str] = {}
    pending = [start]
    while pending:
        key = pending.pop(0)
        if key == end:
            break
        for maker in graph.makers[key]:
            if maker not in before and maker != start:
                before[maker] = key
                pending.append(maker)
    way = [end]
    while way[0] != start:
        way.insert(0, before[way[0]])
    return way

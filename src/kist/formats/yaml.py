"""YAML bytes to plain values and back, with the values and bytes of DVC's reader and writer (YAML 1.2 by ruamel).

Not here: what the values mean (metafile, lockfile, dvcyaml). Most files need only the small reader in
`_yaml_fast`; whatever that is not certain of goes to ruamel, which is the measure for both.
Implements docs/spec/metafiles.md, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line
from kist.errors import FormatError

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

MAX_SIZE_BYTES = 32 << 20
"""No file larger than this is read at all."""
MAX_SLOW_SIZE_BYTES = 4 << 20
"""No file larger than this goes to ruamel, which takes up to ten seconds for a megabyte."""
MAX_ROUND_TRIP_BYTES = 200_000
"""A larger file without any `#` is written anew instead of edited: the round trip takes 5 seconds per megabyte."""
MAX_DEPTH = 100
"""Collections inside collections."""
MAX_OPEN_BRACKETS = 1000
"""`[` and `{` without their ends, in texts and comments, too."""
MAX_EXPANDED_NODES = 250_000
"""How many values the aliases of one file may add together when each use is counted."""


class YamlError(FormatError):
    """The bytes are not the YAML that is expected here; the user mends the file, a retry cannot help.

    Attributes:
        name: the file, as the caller calls it.
        line, column: from 1; None when the place is not known.
    """

    code = "yaml"

    def __init__(
        self,
        name: str,
        cause: str,
        *,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = (
            "" if line is None else f"line {line}: " if column is None else f"line {line}, column {column}: "
        )
        super().__init__(f"cannot read '{name}': {place}{cause}", hint=hint)
        self.name = name
        self.line = line
        self.column = column


def load(data: bytes, *, name: str) -> Any:
    """Returns the value of the one document in `data`; None for an empty file.

    Mappings become `dict` in file order, sequences `list`, and scalars what YAML 1.2 as ruamel reads it says:
    `yes` is a string, `010` is ten, `1e-3` a float, `2020-01-31` a date.

    Args:
        name: the file's name for messages.
    Raises:
        YamlError: bad syntax, a duplicate key, a tag that is not plain data, or more than a limit of this module.
    """
    if len(data) > MAX_SIZE_BYTES:
        raise YamlError(name, f"the file has {len(data)} bytes; the limit is {MAX_SIZE_BYTES}")
    # Deferred, as in `dump`: compiling the patterns takes 4 ms, and usual `.dvc` files are read without them.
    from kist.formats import _yaml_fast

    try:
        return _yaml_fast.parse(data)
    except _yaml_fast.NotPlain:
        return _load_slow(data, name)


def locate(data: bytes, path: tuple[str | int, ...]) -> tuple[int, int] | None:
    """Returns line and column, from 1, of the key or item at `path`, or of the nearest thing above it.

    Slow: for messages only. None when `data` is not YAML.

    Args:
        path: keys and indexes from the root.
    """
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    try:
        node: Node | None = _safe_yaml().compose(data)
    except (YAMLError, RecursionError):
        return None
    if node is None:
        return None
    mark = node.start_mark
    for step in path:
        if isinstance(node, MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1


def dump(value: Any) -> bytes:
    """Returns `value` as DVC writes it: block style, lists not indented, folded at 80 columns, one newline last.

    Args:
        value: dicts, lists, strings, numbers, booleans, None, dates.
    """
    from kist.formats import _yaml_fast, _yaml_write

    try:
        return _yaml_write.render(value).encode("utf-8", "surrogatepass")
    except _yaml_fast.NotPlain:
        return _dump_slow(value)


def edit(old: bytes, new_value: Any, *, name: str) -> bytes:
    """Returns `old` changed so that it says `new_value`; comments, order and style of what stays are kept.

    Keys that exist keep their place, new ones come last in their mapping, missing ones vanish, as DVC rewrites
    its files. An equal value leaves the bytes as they are.

    Raises:
        YamlError: `old` cannot be read, or is too large to be edited with its comments.
    """
    return edit_loaded(old, load(old, name=name), new_value, name=name)


def edit_loaded(old: bytes, current: Any, new_value: Any, *, name: str) -> bytes:
    """Returns what `edit` returns, for a caller that has loaded `old` already.

    Args:
        current: the value of `old`.
    """
    if current == new_value:
        return old
    if not _same_kind(current, new_value):
        return dump(new_value)
    # Where nothing but values stands in the file, or it is so large that ruamel would take seconds.
    is_bare = len(old) > MAX_ROUND_TRIP_BYTES and b"#" not in old
    if is_bare or dump(current) == old:
        return dump(_merged(current, new_value))
    return _edit_slow(old, new_value, name)


def _merged(current: Any, value: Any) -> Any:
    """Returns `value` with the order of keys that `current` has; what `_apply` does to a tree, for plain values."""
    if isinstance(current, dict) and isinstance(value, dict):
        old = {key: _merged(item, value[key]) for key, item in current.items() if key in value}
        return {**old, **{key: item for key, item in value.items() if key not in old}}
    if isinstance(current, list) and isinstance(value, list) and len(current) == len(value):
        return [_merged(*pair) for pair in zip(current, value, strict=True)]
    return current if current == value else value


def _safe_yaml() -> YAML:
    # Deferred: ruamel takes tens of milliseconds to import, and most commands never need it.
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    return yaml


def _load_slow(data: bytes, name: str) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(data) > MAX_SLOW_SIZE_BYTES:
        raise YamlError(
            name, f"the file has {len(data)} bytes and is not plain; the limit is {MAX_SLOW_SIZE_BYTES}"
        )
    _check_brackets(data, name)
    yaml = _safe_yaml()
    try:
        node = yaml.compose(data)
        if node is None:
            return None
        _check_expansion(node, name)
        return yaml.constructor.construct_document(node)
    except MarkedYAMLError as error:
        raise _conflict(data, name) or _marked(name, error, data) from error
    except YAMLError as error:
        raise YamlError(name, " ".join(str(error).split())) from error
    except RecursionError as error:
        raise YamlError(name, f"nested deeper than {MAX_DEPTH} levels") from error
    except (ValueError, TypeError, OverflowError) as error:
        # Scalars that look like a number or a date and are none: 2020-13-01, 0o8.
        raise YamlError(name, f"a value is not valid: {error}") from error


def _conflict(data: bytes, name: str) -> YamlError | None:
    """Returns the better error for a file that Git left with both sides of a merge; None for other files."""
    for number, line in enumerate(data.splitlines(), start=1):
        if line.startswith((b"<<<<<<< ", b">>>>>>> ")):
            hint = f"choose one side in the file, or take yours with `{shell_line('git', 'checkout', '--ours', name)}`"
            return YamlError(name, "the file has conflict markers of a Git merge", line=number, hint=hint)
    return None


def _marked(name: str, error: Any, data: bytes) -> YamlError:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(str(error.problem or error.context or "not YAML").split())
    if error.context and error.problem:
        problem = f"{problem} ({' '.join(str(error.context).split())})"
    if mark is None:
        return YamlError(name, problem)
    line, column = mark.line + 1, mark.column + 1
    return YamlError(name, problem, line=line, column=column).showing(data, line, column)


def _check_brackets(data: bytes, name: str) -> None:
    """Refuses many open brackets at once: ruamel takes time in the square of their number."""
    import re

    depth = 0
    for bracket in re.finditer(rb"[\[\]{}]", data):
        depth = depth + 1 if bracket[0] in b"[{" else max(0, depth - 1)
        if depth > MAX_OPEN_BRACKETS:
            line = data.count(b"\n", 0, bracket.start()) + 1
            raise YamlError(name, f"more than {MAX_OPEN_BRACKETS} brackets are open", line=line)


def _check_expansion(root: Node, name: str) -> None:
    """Refuses depth, loops, and aliases that multiply: the values are shared, but who walks them pays for each."""
    from ruamel.yaml.nodes import CollectionNode, MappingNode

    totals: dict[int, int] = {}
    open_nodes: set[int] = set()
    uses = 0

    def total(node: Node, depth: int) -> int:
        nonlocal uses
        uses += 1
        if not isinstance(node, CollectionNode):
            return 1
        known = totals.get(id(node))
        if known is not None:
            return known
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if depth > MAX_DEPTH:
            raise YamlError(name, f"nested deeper than {MAX_DEPTH} levels", line=line, column=column)
        if id(node) in open_nodes:
            raise YamlError(name, "an alias refers to the collection that holds it", line=line, column=column)
        open_nodes.add(id(node))
        if isinstance(node, MappingNode):
            count = 1 + sum(total(key, depth + 1) + total(value, depth + 1) for key, value in node.value)
        else:
            count = 1 + sum(total(item, depth + 1) for item in node.value)
        open_nodes.discard(id(node))
        totals[id(node)] = count
        return count

    expanded = total(root, 1)
    if expanded - uses > MAX_EXPANDED_NODES:
        raise YamlError(name, f"aliases expand to {expanded} values; the limit is {MAX_EXPANDED_NODES}")


def _round_trip_yaml() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.composer.warn_double_anchors = False
    return yaml


def _dump_slow(value: Any) -> bytes:
    import io

    stream = io.BytesIO()
    _round_trip_yaml().dump(_unshared(value), stream)
    return stream.getvalue()


def _unshared(value: Any) -> Any:
    """Returns a copy in which nothing occurs twice: ruamel would write the second one as an alias."""
    from copy import copy

    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unshared(item) for item in value]
    return copy(value)


def _edit_slow(old: bytes, new_value: Any, name: str) -> bytes:
    import io

    from ruamel.yaml.error import YAMLError

    if len(old) > MAX_SLOW_SIZE_BYTES:
        raise YamlError(
            name, f"the file has {len(old)} bytes and comments; the limit is {MAX_SLOW_SIZE_BYTES}"
        )
    yaml = _round_trip_yaml()
    stream = io.BytesIO()
    try:
        # DVC opens the file as text; a carriage return would end up in the comments.
        tree = yaml.load(old.replace(b"\r\n", b"\n"))
        _apply(tree, new_value)
        yaml.dump(tree, stream)
        result = stream.getvalue()
        is_right = load(result, name=name) == new_value
    except (YAMLError, YamlError):
        is_right = False
    # ruamel loses its way in some comments; the values count more than the comments then.
    return result if is_right else dump(new_value)


def _same_kind(one: Any, other: Any) -> bool:
    return (isinstance(one, dict) and isinstance(other, dict)) or (
        isinstance(one, list) and isinstance(other, list)
    )


def _apply(tree: Any, value: Any) -> None:
    """Changes `tree` in place until it equals `value`, touching as little as possible."""
    if isinstance(tree, dict):
        for key, item in value.items():
            if key in tree and _same_kind(tree[key], item):
                _apply(tree[key], item)
            elif key not in tree or tree[key] != item:
                tree[key] = _unshared(item)
        for key in [key for key in tree if key not in value]:
            del tree[key]
    elif len(tree) != len(value):
        tree[:] = _unshared(value)
    else:
        for index, item in enumerate(value):
            if _same_kind(tree[index], item):
                _apply(tree[index], item)
            elif tree[index] != item:
                tree[index] = _unshared(item)

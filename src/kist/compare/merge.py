"""Three-way merges of values and of tracked directories: what both sides did, and where they clash. Pure.

Not here: the files that hold them (merge_metafile, merge_lockfile), and where bytes come from (repo.merging).
Implements docs/spec/merging.md, sections 2 and 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, NamedTuple

from kist.formats.manifest import compare_manifests, edit_manifest
from kist.formats.records import Digest

OURS = "ours"
THEIRS = "theirs"
SIDES = (OURS, THEIRS)

_MAX_SIZES = 10_000
"""Objects that are asked for their size to learn the size of one merged directory."""


class Side(NamedTuple):
    """What one side of a clash says.

    Attributes:
        state: in words: "added", "changed", "removed", "renamed to 'b'", "unchanged", or a value.
        digests: the objects that it stands for.
        size: bytes, where the metafile says it.
    """

    state: str
    digests: tuple[Digest, ...] = ()
    size: int | None = None


class Clash(NamedTuple):
    """Something that both sides changed, each in its own way.

    Attributes:
        out: the output's path as the metafile writes it, the stage's name, or "" for the file itself.
        inner: path inside of a tracked directory, or "".
        field: the name of a value, or "" for content.
        note: why it could not be merged, where that is not plain.
    """

    out: str
    inner: str
    field: str
    ours: Side
    theirs: Side
    note: str = ""

    @property
    def key(self) -> str:
        """What tells it from the other clashes of its file."""
        return "\0".join((self.out, self.inner, self.field))


Choose = Callable[[Clash], str | None]
"""Returns OURS, THEIRS, or None to leave it open; then ours stands."""

SizeOf = Callable[[Digest], int | None]
"""Returns the bytes of an object, or None where it is not known."""


class Decision(NamedTuple):
    """A clash and the side that was chosen, or None."""

    clash: Clash
    choice: str | None


def merge_value(base: Any, ours: Any, theirs: Any) -> tuple[Any, bool]:
    """Returns the merged value, which is ours where they clash, and whether they do."""
    if theirs in (ours, base):
        return ours, False
    return (theirs, False) if ours == base else (ours, True)


def merge_names(base: Iterable[str], ours: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    """Returns labels: ours, less what theirs took away, and what theirs added."""
    before, mine, other = list(base), list(ours), list(theirs)
    kept = [name for name in mine if name in other or name not in before]
    return (*kept, *(name for name in other if name not in mine and name not in before))


class FileClash(NamedTuple):
    """Files of a directory that clash together.

    Attributes:
        label: the path that stands for all of them.
        ours, theirs: what each side did, in words.
        values: path -> md5 at the base, on our side, on theirs; None where there is no such file.
    """

    label: str
    ours: str
    theirs: str
    values: dict[str, tuple[str | None, str | None, str | None]]


class FileMerge(NamedTuple):
    """What became of the differences of two sides.

    Attributes:
        changes: path -> md5, or None for removed: what makes the merged directory out of ours while clashes are open.
        clashes: sorted by label.
    """

    changes: dict[str, str | None]
    clashes: list[FileClash]


class Changes(NamedTuple):
    """How one side differs from the base: the items of the base that it lacks, and those of its own; path -> md5."""

    old: dict[str, str]
    new: dict[str, str]


def find_renames(changes: Changes, sources: Set[str]) -> dict[str, str]:
    """Returns old path -> new path of files that one side renamed without a change; doubtful ones are left out.

    Args: sources: the old paths that anybody asks for.
    """
    contents = {changes.old[path] for path in sources & changes.old.keys() if path not in changes.new}
    removed = {path: oid for path, oid in changes.old.items() if oid in contents and path not in changes.new}
    added = {path: oid for path, oid in changes.new.items() if oid in contents and path not in changes.old}
    found: dict[str, str] = {}
    # A whole folder renamed may hold one content many times; then the file's own name tells them apart.
    for is_by_name in (True, False):
        by_old = _by_content(removed, is_by_name=is_by_name)
        by_new = _by_content(added, is_by_name=is_by_name)
        for key, paths in by_old.items():
            others = by_new.get(key, ())
            if len(paths) == len(others) == 1:
                found[paths[0]] = others[0]
                del removed[paths[0]], added[others[0]]
    return found


def _by_content(files: dict[str, str], *, is_by_name: bool) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for path, oid in files.items():
        found.setdefault((oid, path.rpartition("/")[2] if is_by_name else ""), []).append(path)
    return found


class _Groups:
    """Paths that must be decided together, and which of these groups clash (union-find)."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._clashing: list[str] = []

    def _root(self, path: str) -> str:
        while (parent := self._parents.setdefault(path, path)) != path:
            path = parent
        return path

    def join(self, *paths: str) -> None:
        """Makes one group of the groups of all paths."""
        first = self._root(paths[0])
        for path in paths[1:]:
            self._parents[self._root(path)] = first

    def clash(self, *paths: str) -> None:
        """Joins paths, and makes their group clash."""
        self.join(*paths)
        self._clashing.append(paths[0])

    def clashing(self) -> list[list[str]]:
        """Returns the paths of each group that clashes, sorted."""
        roots = {self._root(path) for path in self._clashing}
        found: dict[str, list[str]] = {root: [] for root in roots}
        for path in sorted(self._parents):
            if (root := self._root(path)) in found:
                found[root].append(path)
        return list(found.values())


class _FileMerger:
    """The merge of two sides' differences; each step adds to `forced` (results) and `groups` (clashes)."""

    def __init__(self, ours: Changes, theirs: Changes) -> None:
        self.ours = ours
        self.theirs = theirs
        both = ours.old.keys() & theirs.old.keys()
        self.renames = {OURS: find_renames(ours, both), THEIRS: find_renames(theirs, both)}
        self.forced: dict[str, str | None] = {}
        self.groups = _Groups()

    def merge(self) -> FileMerge:
        self._follow_renames(self.ours, self.theirs, self.renames[OURS], self.renames[THEIRS])
        self._follow_renames(self.theirs, self.ours, self.renames[THEIRS], self.renames[OURS])
        for path in self.touched(self.ours) & self.touched(self.theirs):
            if path not in self.forced and self.ours.new.get(path) != self.theirs.new.get(path):
                self.groups.clash(path)
        self._part_files_and_folders(self.ours.new, self.theirs.new)
        self._part_files_and_folders(self.theirs.new, self.ours.new)
        clashes = [self._clash(paths) for paths in self.groups.clashing()]
        open_paths = {path for clash in clashes for path in clash.values}
        wanted = {path: self.theirs.new.get(path) for path in self.touched(self.theirs)} | self.forced
        changes = {
            path: oid
            for path, oid in wanted.items()
            if path not in open_paths and oid != self.value(self.ours, path)
        }
        return FileMerge(changes, sorted(clashes, key=lambda clash: clash.label))

    @staticmethod
    def touched(side: Changes) -> set[str]:
        """Returns the paths that a side touched."""
        return side.old.keys() | side.new.keys()

    def _follow_renames(
        self, here: Changes, there: Changes, moved_here: dict[str, str], moved_there: dict[str, str]
    ) -> None:
        """Decides what is renamed here and was touched there."""
        for source, target in moved_here.items():
            if source not in there.old:
                continue
            other = moved_there.get(source)
            if other == target:
                continue
            self.groups.join(source, target)
            is_changed_there = source in there.new
            if is_changed_there and target not in there.old and target not in there.new:
                self.forced[source] = None
                self.forced[target] = there.new[source]
            else:
                self.groups.clash(source, target, *([other] if other else []))

    def _part_files_and_folders(self, files: dict[str, str], others: dict[str, str]) -> None:
        """Makes a clash of each file of one side whose path is a folder of the other side."""
        for path in others:
            folder = path.rpartition("/")[0]
            while folder:
                if folder in files:
                    self.groups.clash(folder, path)
                folder = folder.rpartition("/")[0]

    def base(self, path: str) -> str | None:
        """Returns what the base has at a path that a side touched."""
        return self.ours.old.get(path) or self.theirs.old.get(path)

    def value(self, side: Changes, path: str) -> str | None:
        """Returns what a side has at a path that one of them touched."""
        if path in side.new:
            return side.new[path]
        return None if path in side.old else self.base(path)

    def _clash(self, paths: list[str]) -> FileClash:
        values = {
            path: (self.base(path), self.value(self.ours, path), self.value(self.theirs, path))
            for path in paths
        }
        label = min([path for path in paths if values[path][0]] or paths)
        states = [self._state(side, at, label, values) for at, side in ((1, OURS), (2, THEIRS))]
        return FileClash(label, states[0], states[1], values)

    def _state(
        self, side: str, at: int, label: str, values: dict[str, tuple[str | None, str | None, str | None]]
    ) -> str:
        target = self.renames[side].get(label)
        if target is not None:
            return f"renamed to '{target}'"
        there = [path for path, value in values.items() if value[at]]
        if all(value[0] == value[at] for value in values.values()):
            return "unchanged"
        if not there:
            return "removed"
        if there == [label]:
            return "changed" if values[label][0] else "added"
        return f"{len(there)} files" if len(there) > 1 else f"'{there[0]}'"


_Row = tuple[str | None, str | None, str | None, str | None]
"""The md5 of one path at the base, on our side, on theirs, merged; None where there is no such file."""


class _Work(NamedTuple):
    merger: _FileMerger
    changes: dict[str, str | None]
    clashing: set[str]

    def rows(self) -> Iterator[_Row]:
        """Yields what is at each path that a side touched."""
        return self._rows(self.merger.touched(self.merger.ours) | self.merger.touched(self.merger.theirs))

    def shared_rows(self) -> Iterator[_Row]:
        """Yields what is at each path where the merged file is not that of the one side that touched it."""
        both = self.merger.touched(self.merger.ours) & self.merger.touched(self.merger.theirs)
        return self._rows(both | self.clashing | self.merger.forced.keys())

    def _rows(self, paths: Iterable[str]) -> Iterator[_Row]:
        merger = self.merger
        for path in paths:
            ours = merger.value(merger.ours, path)
            merged = self.changes.get(path, ours)
            yield merger.base(path), ours, merger.value(merger.theirs, path), merged


class DirectoryMerge(NamedTuple):
    """A merged directory.

    Attributes:
        manifest: its bytes; clashes that are open, or were decided for ours, have our files.
        decisions: all clashes with what was chosen.
        work: how it came about, for its size.
    """

    manifest: bytes
    decisions: list[Decision]
    work: _Work


def merge_directory(
    base: bytes, ours: bytes, theirs: bytes, *, out: str, algorithm: str, choose: Choose
) -> DirectoryMerge:
    """Returns the merge of three manifests.

    Args: out: the output's path, for clashes and messages.

    Raises: ManifestError.
    """
    mine = Changes(*compare_manifests(base, ours, name=out))
    other = Changes(*compare_manifests(base, theirs, name=out))
    merger = _FileMerger(mine, other)
    merged = merger.merge()
    changes = dict(merged.changes)
    decisions = []
    for item in merged.clashes:
        clash = Clash(
            out,
            item.label,
            "",
            _side_of_files(item, 1, item.ours, algorithm),
            _side_of_files(item, 2, item.theirs, algorithm),
        )
        choice = choose(clash)
        if choice == THEIRS:
            changes.update(
                (path, values[2]) for path, values in item.values.items() if values[1] != values[2]
            )
        decisions.append(Decision(clash, choice))
    gone = {path for path, oid in changes.items() if oid is None}
    added = {path: oid for path, oid in changes.items() if oid is not None}
    manifest = edit_manifest(ours, gone, added, name=out)
    clashing = {path for item in merged.clashes for path in item.values}
    return DirectoryMerge(manifest, decisions, _Work(merger, changes, clashing))


def _side_of_files(clash: FileClash, at: int, state: str, algorithm: str) -> Side:
    return Side(state, tuple(Digest(algorithm, oid) for value in clash.values.values() if (oid := value[at])))


def merged_size(
    sizes: tuple[int | None, int | None, int | None],
    merged: DirectoryMerge,
    size_of: Callable[[str], int | None],
) -> int | None:
    """Returns the bytes of a merged directory, or None where they cannot be told.

    Where the sides touched different files, the three sizes are enough; else objects that differ are asked for theirs.

    Args: sizes: of base, ours, theirs.
    """
    base, ours, theirs = sizes
    if base is not None and ours is not None and theirs is not None:
        balance = _balance(merged.work.shared_rows(), plus=(3, 0), minus=(1, 2))
        total = _total(ours + theirs - base, balance, size_of)
        if total is not None:
            return total
    rows = list(merged.work.rows())
    for start, side in ((ours, 1), (theirs, 2)):
        if start is not None:
            total = _total(start, _balance(rows, plus=(3,), minus=(side,)), size_of)
            if total is not None:
                return total
    return None


def _total(start: int, balance: Counter[str], size_of: Callable[[str], int | None]) -> int | None:
    if len(balance) > _MAX_SIZES:
        return None
    total = start
    for oid, number in balance.items():
        size = size_of(oid)
        if size is None:
            return None
        total += number * size
    return total if total >= 0 else None


def _balance(rows: Iterable[_Row], *, plus: tuple[int, ...], minus: tuple[int, ...]) -> Counter[str]:
    """Returns how often each object is to be added (or taken off, below 0)."""
    balance: Counter[str] = Counter()
    for row in rows:
        for columns, number in ((plus, 1), (minus, -1)):
            for column in columns:
                if oid := row[column]:
                    balance[oid] += number
    return Counter({oid: number for oid, number in balance.items() if number})

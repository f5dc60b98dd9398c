"""When the files of tracked data are over: by the date in a name, by the commit they came with, by a table's column.

Reads only. Not here: what is done about it (expire), how dates are written (base.dates).
Implements docs/spec/expire.md, section 2.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kist.base.dates import end_of_path, end_of_text
from kist.base.shell import shell_line
from kist.errors import FormatError, InputError
from kist.formats.manifest import compare_manifests, parse_manifest
from kist.formats.records import Digest
from kist.repo.beside_git import listed, noting
from kist.repo.collect import CommitSource, collect
from kist.repo.history import bare_versions
from kist.repo.manifests import Manifests
from kist.repo.targets import Selected, all_outputs

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_NAME_COLUMNS = ("path", "file", "filename", "file_name", "relpath", "name")
"""Where the names of files stand when nobody says it: the first of these that a table has."""


class TableError(InputError):
    """The table that is to say until when files are valid is missing or damaged, or has no such column."""

    code = "expiry-table"


class Dates(Protocol):
    """Says until when files are valid."""

    def ends(self, item: Selected, files: Mapping[str, str]) -> dict[str, int | None] | None:
        """Returns path inside of the output -> the moment at which it is over, None: never; None: not to be judged."""


class ByName:
    """The date in the path: the deepest part that has one."""

    def ends(self, item: Selected, files: Mapping[str, str]) -> dict[str, int | None] | None:
        """Returns path -> end of the period that the path tells."""
        folders: dict[str, int | None] = {}
        top = item.out.path
        return {path: end_of_path(f"{top}/{path}" if path else top, folders) for path in files}


class ByCommit:
    """The newest commit of HEAD's history that has a file, with this content, which none of its parents has."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._manifests = Manifests(repository)
        self._head: dict[str, Digest] | None = None

    def ends(self, item: Selected, files: Mapping[str, str]) -> dict[str, int | None] | None:
        """Returns path -> time of the commit; None for what no commit has."""
        path = item.out.path
        found: dict[str, int | None] = dict.fromkeys(files)
        head = self._of_head().get(path)
        committed = self._members(head) if head is not None else {}
        pending = {inner for inner, oid in files.items() if (committed or {}).get(inner) == oid}
        versions = list(bare_versions(self._repository, path)) if pending else []
        rows = [
            (version.words.committed_s, output)
            for version in versions
            for output in version.outputs
            if output.path == path and output.kind != "removed"
        ]
        self._manifests.fetch(
            [item._replace(out=item.out._replace(output=output.output)) for _, output in rows],
            of_revision=True,
        )
        for committed_s, row in rows:
            if not pending:
                break
            for inner, oid in self._came(
                row.output.digest, [old.digest if old else None for old in row.before]
            ):
                if inner in pending and files[inner] == oid:
                    found[inner] = committed_s + 1  # the second is over
                    pending.discard(inner)
        return found

    def _of_head(self) -> dict[str, Digest]:
        if self._head is None:
            repository = self._repository
            git = repository.git
            self._head = {}
            if git is not None and git.has_commits():
                stages = collect(CommitSource(repository, "HEAD"), on_damage=noting(repository))
                for item in all_outputs(stages):
                    if item.out.output.digest is not None:
                        self._head[item.out.path] = item.out.output.digest
        return self._head

    def _came(self, new: Digest | None, before: list[Digest | None]) -> Iterable[tuple[str, str]]:
        """Returns (path, id) of what a version has and none of its parents is known to have."""
        if new is None:
            return ()
        came: dict[str, str] | None = None
        for old in before:
            fresh = self._fresh(old, new)
            if fresh is not None:
                came = (
                    fresh
                    if came is None
                    else {key: oid for key, oid in came.items() if fresh.get(key) == oid}
                )
        if came is None:
            came = self._members(new) or {}
        return came.items()

    def _fresh(self, old: Digest | None, new: Digest) -> dict[str, str] | None:
        """Returns what only the new version names; None where that is all, or the old one's list cannot be had."""
        if old is None or not (old.is_dir and new.is_dir) or old.algorithm != new.algorithm:
            return None
        lists = self._manifests.read(old), self._manifests.read(new)
        if lists[0] is None or lists[1] is None:
            return None
        try:
            return compare_manifests(lists[0], lists[1], name=new.value)[1]
        except FormatError:
            return None

    def _members(self, digest: Digest) -> dict[str, str] | None:
        if not digest.is_dir:
            return {"": digest.value}
        tree = self._manifests.tree(digest)
        return dict(tree.files()) if tree is not None else None


class Column(NamedTuple):
    """Which column of which table: `names` is the one with the names of files, None: a usual one."""

    table: str
    dates: str
    names: str | None = None


class ByColumn:
    """A column of a table, CSV, TSV, JSON or JSON lines, that lies in the tracked directory or elsewhere."""

    def __init__(self, repository: Repository, column: Column) -> None:
        self._repository = repository
        self._column = column
        self._beside: list[tuple[str, int | None]] | None = None

    def ends(self, item: Selected, files: Mapping[str, str]) -> dict[str, int | None] | None:
        """Returns path -> end of the period in its row, the latest of several; None where this output has no table.

        Raises: TableError.
        """
        top = item.out.path
        inner = posixpath.normpath(self._column.table)
        table = f"{top}/{inner}"
        data = self._read(table, files.get(inner), item.out.output.digest)
        if data is not None:
            rows = self._rows(table, data)
        else:
            table = self._repository.rel(self._column.table)
            if self._beside is None:
                data = self._read(table, None, None)
                if data is None:
                    return None
                self._beside = self._rows(table, data)
            rows = self._beside
        found: dict[str, int | None] = dict.fromkeys(files)
        paths = {f"{top}/{inner}" if inner else top: inner for inner in files}
        paths.pop(table, None)
        bases = dict.fromkeys((posixpath.dirname(table), top, ""))
        for name, end in rows:
            for base in bases:
                meant = paths.get(posixpath.normpath(posixpath.join(base, name)))
                if meant is not None:
                    if end is not None:
                        found[meant] = max(end, found[meant] or end)
                    break
        return found

    def _read(self, path: str, oid: str | None, digest: Digest | None) -> bytes | None:
        """Returns a table as it lies in the workspace, else as it is recorded; None where it is neither."""
        try:
            with open(self._repository.abspath(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass
        if oid is None or digest is None:
            return None
        store = self._repository.store_for(digest.algorithm)
        if not store.has(oid):
            shown = self._repository.shown(path)
            raise TableError(
                f"cannot read '{shown}': it is neither here nor in the cache",
                hint=shell_line("kist", "pull", shown),
            )
        return store.read(oid)

    def _rows(self, path: str, data: bytes) -> list[tuple[str, int | None]]:
        """Returns (name of a file, end) of each row of a table."""
        shown = self._repository.shown(path)
        rows = list(rows_of(data, shown))
        names = self._name_column(dict.fromkeys(key for row in rows for key in row), shown) if rows else ""
        found = []
        for row in rows:
            name, text = row.get(names), row.get(self._column.dates)
            if isinstance(name, str) and name:
                found.append((name, end_of_text(str(text)) if text is not None else None))
        return found

    def _name_column(self, columns: Mapping[str, None], shown: str) -> str:
        """Returns the column with the names of files. Raises: TableError: that, or the one with dates, is missing."""
        columns_hint = f"its columns are {listed([key for key in columns if isinstance(key, str)], 20)}"
        wanted = [self._column.dates] + ([self._column.names] if self._column.names else [])
        for column in wanted:
            if column not in columns:
                raise TableError(f"cannot use '{shown}': it has no column '{column}'", hint=columns_hint)
        if self._column.names is not None:
            return self._column.names
        usual = next((column for column in _NAME_COLUMNS if column in columns), None)
        if usual is None:
            raise TableError(
                f"cannot use '{shown}': no column says by its name that it names files",
                hint=f"say which one: `--by column:{self._column.table}:{self._column.dates}:NAMES`; {columns_hint}",
            )
        return usual


def rows_of(data: bytes, name: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a table as mappings: JSON and JSON lines by the name's end, tabs for `.tsv`, else CSV.

    Raises: TableError.
    """
    import json  # only where a table says until when

    end = os.path.splitext(name)[1].lower()
    try:
        text = data.decode("utf-8-sig")
        if end in (".json", ".jsonl", ".ndjson"):
            values = (
                json.loads(text) if end == ".json" else map(json.loads, filter(str.strip, text.splitlines()))
            )
            for value in values if not isinstance(values, dict) else [values]:
                if isinstance(value, dict):
                    yield value
            return
    except (ValueError, RecursionError, TypeError) as error:
        raise TableError(f"cannot read '{name}': {error}") from error
    import csv
    import io

    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if end == ".tsv" else ",")
    except csv.Error as error:
        raise TableError(f"cannot read '{name}': {error}") from error


def recorded_files(manifests: Manifests, digest: Digest) -> tuple[bytes, dict[str, str]] | None:
    """Returns the list of files of an output and what it says, path -> id; a single file has the path "".

    Returns: None where the list cannot be had.

    Raises: ManifestError.
    """
    if not digest.is_dir:
        return b"", {"": digest.value}
    data = manifests.read(digest)
    return None if data is None else (data, dict(parse_manifest(data, name=digest.value).files()))

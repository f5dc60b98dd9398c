"""Entries of `outs:` and `deps:` between plain mappings and records; shared by `.dvc` files and `dvc.lock`.

Not here: the files around them (metafile, lockfile). Implements docs/spec/metafiles.md, sections 3 and 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import Any, NamedTuple, NoReturn

from kist.errors import FormatError
from kist.formats import legacy, yaml
from kist.formats.records import CHECKSUM, ETAG, LEGACY_MD5, MD5, Dependency, Digest, FileEntry, Output

MD5_VALUE = re.compile(r"[0-9a-f]{32}(?:\.dir)?")

_CHECKSUM_KEYS = (MD5, ETAG, CHECKSUM)
_META_KEYS = frozenset({"md5", "etag", "checksum", "size", "nfiles", "isexec", "version_id", "cloud"})
_SHARED_KEYS = _META_KEYS | {"hash", "path", "files", "fs_config"}
_OUTPUT_KEYS = _SHARED_KEYS | {"desc", "type", "labels", "meta", "cache", "persist", "remote", "push"}
_ALL_OUTPUT_KEYS = _OUTPUT_KEYS | legacy.OUTPUT_KEYS
_ALL_DEPENDENCY_KEYS = _SHARED_KEYS | {"repo", "db"} | legacy.DEPENDENCY_KEYS
_USUAL_KEYS = frozenset({"path", "hash", "md5", "size", "nfiles"})
_FILE_KEYS = _META_KEYS - {"nfiles"} | {"relpath"}
_REPO_KEYS = frozenset({"url", "rev", "rev_lock", "config", "remote"})
_DB_KEYS = frozenset({"query", "table", "connection", "file_format"})

Path = tuple[str | int, ...]


class MetafileError(FormatError):
    """A `.dvc` or `dvc.lock` is YAML, but does not say what such a file can say; the user mends it.

    Attributes:
        name: the file.
        line, column: from 1; None when the place is not known.
    """

    code = "metafile"

    def __init__(
        self,
        name: str,
        cause: str,
        *,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = "" if line is None else f"line {line}: "
        super().__init__(f"cannot read '{name}': {place}{cause}", hint=hint)
        self.name = name
        self.line = line
        self.column = column


class Source(NamedTuple):
    """The file that is being read, for messages.

    Attributes:
        data: its bytes; places are looked up there once an error is certain.
        error: the class to raise.
    """

    name: str
    data: bytes
    error: type[MetafileError] = MetafileError

    def fail(self, path: Path, cause: str, *, hint: str | None = None) -> NoReturn:
        """Raises a `MetafileError` that names the line of the item at `path`."""
        line, column = yaml.locate(self.data, path) or (None, None)
        error = self.error(self.name, cause, line=line, column=column, hint=hint)
        raise error.showing(self.data, line, column)

    def mapping(self, value: Any, path: Path, keys: Set[str] | None = None) -> dict[str, Any]:
        """Returns `value` if it is a mapping with known keys only."""
        if not isinstance(value, dict):
            self.fail(path, f"expected a mapping{_at(path)}, found {kind(value)}")
        if keys is not None:
            for key in value:
                if key in keys:
                    continue
                self.fail((*path, key), f"key '{key}' is not known{_at(path)}{_suggestion(key, keys)}")
        return value

    def items(self, value: Any, path: Path) -> list[Any]:
        """Returns `value` if it is a list."""
        if not isinstance(value, list):
            self.fail(path, f"expected a list{_at(path)}, found {kind(value)}")
        return value

    def field(
        self, mapping: dict[str, Any], path: Path, key: str, expected: type, default: Any = None
    ) -> Any:
        """Returns `mapping[key]` if it has exactly the type `expected`; `default` when absent."""
        value = mapping.get(key, default)
        if type(value) is not expected and key in mapping:
            self.fail((*path, key), f"'{key}' is {kind(value)}, expected {_KINDS[expected]}")
        return value


_KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    dict: "a mapping",
    list: "a list",
    type(None): "empty",
}


def kind(value: Any) -> str:
    """Returns what a YAML value is, in words for a message."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _at(path: Path) -> str:
    if not path:
        return ""
    words = [f"item {step + 1} of" if isinstance(step, int) else f"'{step}'" for step in reversed(path)]
    return f" in {words[0]} {words[1]}" if words[0].startswith("item") else f" in {words[0]}"


def _suggestion(key: Any, keys: Set[str]) -> str:
    # Deferred: only for a message.
    from difflib import get_close_matches

    close = get_close_matches(str(key), sorted(keys), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def read_output(source: Source, path: Path, value: Any) -> Output:
    """Returns the record of one item of `outs:`.

    Raises:
        MetafileError: an unknown key, a wrong type, a digest that is none.
    """
    usual = _read_usual(value)
    if usual is not None:
        return Output(*usual)
    entry = source.mapping(value, path, _ALL_OUTPUT_KEYS)
    labels = source.items(entry.get("labels", []), (*path, "labels"))
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            source.fail((*path, "labels", index), f"a label is {kind(label)}, expected a text")
    return Output(
        _read_path(source, path, entry, "path"),
        *_read_content(source, path, entry),
        use_cache=source.field(entry, path, "cache", bool, True),
        persist=source.field(entry, path, "persist", bool, False),
        remote=source.field(entry, path, "remote", str),
        can_push=source.field(entry, path, "push", bool, True),
        desc=source.field(entry, path, "desc", str),
        type=source.field(entry, path, "type", str),
        labels=tuple(labels),
        meta=entry.get("meta"),
        fs_config=source.field(entry, path, "fs_config", dict),
        metric=entry.get("metric"),
        plot=entry.get("plot"),
        extra=legacy.output_extra(entry),
        has_hash="hash" in entry,
    )


def read_dependency(source: Source, path: Path, value: Any) -> Dependency:
    """Returns the record of one item of `deps:`.

    Raises:
        MetafileError: an unknown key, a wrong type, a digest that is none.
    """
    usual = _read_usual(value)
    if usual is not None:
        return Dependency(*usual)
    entry = source.mapping(value, path, _ALL_DEPENDENCY_KEYS)
    repo = entry.get("repo")
    if repo is not None:
        source.mapping(repo, (*path, "repo"), _REPO_KEYS)
        for key in ("url", "rev", "rev_lock"):
            source.field(repo, (*path, "repo"), key, str)
        if "url" not in repo:
            source.fail((*path, "repo"), "key 'url' is missing in 'repo'")
    db = entry.get("db")
    if db is not None:
        source.mapping(db, (*path, "db"), _DB_KEYS)
    return Dependency(
        "" if db is not None and "path" not in entry else _read_path(source, path, entry, "path"),
        *_read_content(source, path, entry),
        repo=repo,
        db=db,
        fs_config=source.field(entry, path, "fs_config", dict),
        params=entry.get("params"),
        extra=legacy.dependency_extra(entry),
        has_hash="hash" in entry,
    )


def _read_usual(value: Any) -> tuple[str, Digest, int | None, int | None] | None:
    """Returns path, digest, size and number of files of an entry that has no more; None sends it the general way.

    A lock file may have ten thousand of these, and the general way costs five times as much.
    """
    if type(value) is not dict or not value.keys() <= _USUAL_KEYS or value.get("hash") != MD5:
        return None
    md5, path, size, nfiles = value.get(MD5), value.get("path"), value.get("size", 0), value.get("nfiles", 0)
    if type(md5) is not str or type(path) is not str or type(size) is not int or type(nfiles) is not int:
        return None
    if not MD5_VALUE.fullmatch(md5) or not path or "\0" in path or size < 0 or nfiles < 0:
        return None
    return path, Digest(MD5, md5), value.get("size"), value.get("nfiles")


_Content = tuple[
    Digest | None,
    int | None,
    int | None,
    bool,
    str | None,
    dict[str, Any] | None,
    tuple[FileEntry, ...] | None,
]


def _read_content(source: Source, path: Path, entry: dict[str, Any]) -> _Content:
    """Returns what an output and a dependency both say of their data, in the order of the fields of their records."""
    return (
        read_digest(source, path, entry),
        read_count(source, path, entry, "size"),
        read_count(source, path, entry, "nfiles"),
        source.field(entry, path, "isexec", bool, False),
        source.field(entry, path, "version_id", str),
        _read_cloud(source, path, entry),
        _read_files(source, path, entry),
    )


def read_digest(
    source: Source, path: Path, entry: dict[str, Any], hash_name: str | None = None
) -> Digest | None:
    """Returns the content id of an entry; None when it holds none or an empty one.

    Args:
        hash_name: what `hash:` says where the entry cannot have one of its own (items of `files:`).
    """
    hash_name = source.field(entry, path, "hash", str, hash_name)
    if hash_name not in (MD5, LEGACY_MD5, None):
        source.fail((*path, "hash"), f"hash '{hash_name}' is not known; expected '{MD5}'")
    for key in _CHECKSUM_KEYS:
        value = entry.get(key)
        if value is None or value == "":
            continue
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            source.fail((*path, key), f"'{key}' is {kind(value)}, expected a text")
        if key == MD5:
            value = value.lower()
            if not MD5_VALUE.fullmatch(value):
                source.fail(
                    (*path, key), f"md5 '{value}' is not 32 hexadecimal digits, with '.dir' for a directory"
                )
            return Digest(MD5 if hash_name == MD5 else LEGACY_MD5, value)
        if len(value) < 3:
            source.fail((*path, key), f"{key} '{value}' is too short")
        return Digest(key, value.lower() if key == CHECKSUM else value)
    return None


def read_count(source: Source, path: Path, entry: dict[str, Any], key: str) -> int | None:
    """Returns `entry[key]` if it is a whole number of at least 0; None when absent."""
    count: int | None = source.field(entry, path, key, int)
    if count is not None and count < 0:
        source.fail((*path, key), f"'{key}' is {count}, expected 0 or more")
    return count


def _read_path(source: Source, path: Path, entry: dict[str, Any], key: str) -> str:
    if key not in entry:
        source.fail(path, f"key '{key}' is missing{_at(path)}")
    text: str = source.field(entry, path, key, str)
    if not text or "\0" in text:
        source.fail((*path, key), f"'{key}' is not a path: {text!r}")
    return text


def _read_cloud(source: Source, path: Path, entry: dict[str, Any]) -> dict[str, Any] | None:
    cloud = entry.get("cloud")
    if not cloud:
        return None
    source.mapping(cloud, (*path, "cloud"))
    if len(cloud) > 1:
        source.fail((*path, "cloud"), f"'cloud' names {len(cloud)} remotes, expected one")
    for remote, value in cloud.items():
        at = (*path, "cloud", remote)
        source.mapping(value, at, _META_KEYS)
        read_digest(source, at, value, MD5)
    return dict(cloud)


def _read_files(source: Source, path: Path, entry: dict[str, Any]) -> tuple[FileEntry, ...] | None:
    if "files" not in entry:
        return None
    hash_name = entry.get("hash")
    files = []
    for index, item in enumerate(source.items(entry["files"], (*path, "files"))):
        at = (*path, "files", index)
        source.mapping(item, at, _FILE_KEYS)
        files.append(
            FileEntry(
                relpath=_read_path(source, at, item, "relpath"),
                digest=read_digest(source, at, item, hash_name),
                size=read_count(source, at, item, "size"),
                isexec=source.field(item, at, "isexec", bool, False),
                version_id=source.field(item, at, "version_id", str),
                cloud=_read_cloud(source, at, item),
            )
        )
    return tuple(files)


def write_output(out: Output) -> dict[str, Any]:
    """Returns the mapping of one item of `outs:`, keys in the order of a fresh `.dvc`."""
    entry = _write_data(out)
    entry["path"] = out.path
    if out.fs_config:
        entry["fs_config"] = out.fs_config
    if out.desc:
        entry["desc"] = out.desc
    if out.type:
        entry["type"] = out.type
    if out.labels:
        entry["labels"] = list(out.labels)
    if out.meta is not None:
        entry["meta"] = out.meta
    if not out.use_cache:
        entry["cache"] = False
    if out.persist:
        entry["persist"] = True
    if out.remote:
        entry["remote"] = out.remote
    if not out.can_push:
        entry["push"] = False
    if out.metric:
        entry["metric"] = out.metric
    if out.plot:
        entry["plot"] = out.plot
    entry.update(out.extra or {})
    _write_files(entry, out)
    return entry


def write_dependency(dependency: Dependency) -> dict[str, Any]:
    """Returns the mapping of one item of `deps:`, keys in the order of a fresh `.dvc`."""
    entry = {} if dependency.repo or dependency.db else _write_data(dependency)
    if dependency.path:
        entry["path"] = dependency.path
    if dependency.repo:
        entry["repo"] = dependency.repo
    if dependency.db:
        entry["db"] = dependency.db
    if dependency.fs_config:
        entry["fs_config"] = dependency.fs_config
    if dependency.params is not None:
        entry["params"] = dependency.params
    entry.update(dependency.extra or {})
    _write_files(entry, dependency)
    return entry


def _write_data(item: Output | Dependency) -> dict[str, Any]:
    """Returns checksum, figures and `hash:`; with `files:`, the figures stand there and not here."""
    entry: dict[str, Any] = {}
    digest = item.digest
    if item.files is None:
        if digest is not None:
            entry[MD5 if digest.algorithm == LEGACY_MD5 else digest.algorithm] = digest.value
        elif not item.has_hash and isinstance(item, Output):
            # What DVC 3 writes for an output of DVC 2 that lacks its data.
            entry[MD5] = None
        write_figures(entry, item)
    if writes_hash(item):
        entry["hash"] = MD5
    return entry


def writes_hash(item: Output | Dependency) -> bool:
    """Says whether the entry carries `hash: md5`: always with a digest of DVC 3, never with one of DVC 2."""
    if item.digest is None or item.digest.algorithm in (ETAG, CHECKSUM):
        return item.has_hash
    return item.digest.algorithm == MD5


def write_figures(entry: dict[str, Any], item: Output | Dependency) -> None:
    """Adds `size`, `nfiles`, `isexec`, `version_id` and `cloud` where they are known."""
    if item.size is not None:
        entry["size"] = item.size
    if item.nfiles is not None:
        entry["nfiles"] = item.nfiles
    if item.isexec:
        entry["isexec"] = True
    if item.version_id:
        entry["version_id"] = item.version_id
    if item.cloud:
        entry["cloud"] = item.cloud


def _write_files(entry: dict[str, Any], item: Output | Dependency) -> None:
    if item.files is not None:
        entry["files"] = write_files(item.files)


def write_files(files: Iterable[FileEntry]) -> list[dict[str, Any]]:
    """Returns the items of `files:`, sorted by path."""
    items = []
    for file in sorted(files, key=lambda file: file.relpath):
        item: dict[str, Any] = {"relpath": file.relpath}
        if file.digest is not None:
            item[MD5 if file.digest.algorithm == LEGACY_MD5 else file.digest.algorithm] = file.digest.value
        if file.size is not None:
            item["size"] = file.size
        if file.isexec:
            item["isexec"] = True
        if file.version_id:
            item["version_id"] = file.version_id
        if file.cloud:
            item["cloud"] = file.cloud
        items.append(item)
    return items

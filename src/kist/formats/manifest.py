"""Directory manifests (`.dir` objects) as packed trees: bytes to `Tree` and back, byte for byte as DVC writes them.

A tree keeps one row a folder (names joined by NUL, digests of 16 bytes each), so that a million files fit into memory
and unchanged folders are compared in one step. Not here: reading objects. Implements docs/spec/manifests.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from kist.errors import FormatError

DIGEST_SIZE = 16
_MEMBER = re.compile(rb'"md5": "([0-9a-f]{32})"')
_START = '[{"md5": "'
_BETWEEN = '"}, {"md5": "'
_MIDDLE = '", "relpath": "'
_END = '"}]'
_RELPATH_AT = 32 + len(_MIDDLE)


class ManifestError(FormatError):
    """A manifest is not a list of `{"md5", "relpath"}`, or names a path that must not be written.

    The object's owner has to make it again (`kist add`, `kist push`); a retry cannot help.
    """

    code = "manifest-invalid"


class TreeFolder(NamedTuple):
    """The files right in one folder: names in code-point order joined by NUL, and their md5 digests, 16 bytes each."""

    names: str
    digests: bytes


class Tree(NamedTuple):
    """The files of a tracked directory.

    Attributes:
        folders: path relative to the directory ("" is the directory itself, "/" separates) -> its files. Folders
            without files right in them have no row.
    """

    folders: dict[str, TreeFolder]

    def file_count(self) -> int:
        """Returns the number of files."""
        return sum(len(folder.digests) for folder in self.folders.values()) // DIGEST_SIZE

    def files(self) -> Iterator[tuple[str, str]]:
        """Yields (relative path, md5 in hexadecimal) for each file, folder by folder."""
        for path, folder in self.folders.items():
            prefix = path + "/" if path else ""
            digits = folder.digests.hex()
            for at, name in enumerate(folder.names.split("\0")):
                yield prefix + name, digits[at * 32 : at * 32 + 32]

    def oids(self) -> set[str]:
        """Returns the md5 ids of all files."""
        found: set[str] = set()
        for folder in self.folders.values():
            digits = folder.digests.hex()
            found.update(digits[at : at + 32] for at in range(0, len(digits), 32))
        return found

    def get(self, relpath: str) -> str | None:
        """Returns the md5 of one file, or None."""
        path, _, name = relpath.rpartition("/")
        folder = self.folders.get(path)
        if folder is None:
            return None
        names = folder.names.split("\0")
        if name not in names:
            return None
        at = names.index(name) * DIGEST_SIZE
        return folder.digests[at : at + DIGEST_SIZE].hex()

    def below(self, relpath: str) -> Tree:
        """Returns the part of the tree inside the folder `relpath`, with paths relative to that folder."""
        if not relpath:
            return self
        prefix = relpath + "/"
        picked = {
            path[len(prefix) :]: folder for path, folder in self.folders.items() if path.startswith(prefix)
        }
        if relpath in self.folders:
            picked[""] = self.folders[relpath]
        return Tree(picked)


def tree_of(files: dict[str, str]) -> Tree:
    """Returns the tree of a mapping from relative path to md5 in hexadecimal."""
    grouped: dict[str, list[tuple[str, str]]] = {}
    for relpath, oid in files.items():
        path, _, name = relpath.rpartition("/")
        grouped.setdefault(path, []).append((name, oid))
    return _pack(grouped)


def _pack(grouped: dict[str, list[tuple[str, str]]]) -> Tree:
    folders = {}
    for path, pairs in grouped.items():
        pairs.sort()
        names = "\0".join([name for name, _ in pairs])
        folders[path] = TreeFolder(names, bytes.fromhex("".join([oid for _, oid in pairs])))
    return Tree(folders)


def parse_manifest(data: bytes, *, name: str) -> Tree:
    """Returns the tree that a manifest describes.

    Args: name: how the manifest is called in messages.

    Raises:
        ManifestError: no such list, a digest that is none, a path that is absolute, empty, climbs or repeats, or lies
            in `.git` or `.dvc` (rule R14).
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    pairs = _split(text)
    if pairs is None:
        pairs = _load(data, name)
    if "".join([oid for _, oid in pairs]).strip("0123456789abcdef") or any(
        len(oid) != 32 for _, oid in pairs
    ):
        raise ManifestError(f"cannot read manifest '{name}': an md5 in it is not 32 hexadecimal digits")
    grouped: dict[str, list[tuple[str, str]]] = {}
    for relpath, oid in pairs:
        path, _, file_name = relpath.rpartition("/")
        group = grouped.get(path)
        if group is None:
            group = grouped[path] = []
        group.append((file_name, oid))
    relpaths = [relpath for relpath, _ in pairs]
    if b"\\" in data or not data.isascii():
        _refuse_broken_text(relpaths, name)
    _refuse_unsafe(grouped, relpaths, name)
    return _pack(grouped)


def member_oids(data: bytes, *, name: str) -> set[str]:
    """Returns the md5 ids that a manifest names, without looking at its paths; a third of the cost of parsing it.

    Raises: ManifestError: as `parse_manifest`, where the spelling is not DVC's own.
    """
    # In JSON a quote inside of a path is escaped, so this text can only be a key.
    found = _MEMBER.findall(data)
    if data.startswith(b'[{"md5": "') and data.count(b'"md5": "') == len(found):
        digits = b"".join(found).decode("ascii")
        return {digits[at : at + 32] for at in range(0, len(digits), 32)}
    return parse_manifest(data, name=name).oids()


def compare_manifests(old: bytes, new: bytes, *, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what only the old and what only the new manifest names: relative path -> md5.

    Only items that differ are taken apart, so that two versions of a large directory are compared in a few hundredths
    of a second.

    Raises: ManifestError.
    """
    pieces = []
    for data in (old, new):
        text = data.decode("ascii") if data.isascii() else ""
        is_plain = text.startswith(_START) and text.endswith(_END)
        pieces.append(set(text[len(_START) : -len(_END)].split(_BETWEEN)) if is_plain else None)
    before, after = pieces
    if before is None or after is None:
        first, second = (
            dict(parse_manifest(old, name=name).files()),
            dict(parse_manifest(new, name=name).files()),
        )
        return _only(first, second), _only(second, first)
    found = []
    for items in (before - after, after - before):
        data = (_START + _BETWEEN.join(items) + _END).encode("ascii") if items else b"[]"
        found.append(dict(parse_manifest(data, name=name).files()))
    return found[0], found[1]


def _only(first: dict[str, str], second: dict[str, str]) -> dict[str, str]:
    return {relpath: oid for relpath, oid in first.items() if second.get(relpath) != oid}


def _split(text: str) -> list[tuple[str, str]] | None:
    """Returns (relpath, md5) pairs of a manifest in DVC's own spelling, or None for any other spelling."""
    if text == "[]":
        return []
    if not (text.startswith(_START) and text.endswith(_END)):
        return None
    pairs = []
    unescape = None
    for piece in text[len(_START) : -len(_END)].split(_BETWEEN):
        if piece[32:_RELPATH_AT] != _MIDDLE:
            return None
        relpath = piece[_RELPATH_AT:]
        if "\\" in relpath:
            if unescape is None:
                import json  # only names beyond plain ASCII need it

                unescape = json.loads
            try:
                relpath = unescape(f'"{relpath}"')
            except ValueError:
                return None
        elif '"' in relpath:
            return None
        pairs.append((relpath, piece[:32]))
    return pairs


def _load(data: bytes, name: str) -> list[tuple[str, str]]:
    import json  # manifests that others wrote in other spellings

    try:
        items = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"cannot read manifest '{name}': it is not JSON ({error})") from error
    if not isinstance(items, list):
        raise ManifestError(f"cannot read manifest '{name}': it is not a list")
    pairs = []
    for item in items:
        oid, relpath = (item.get("md5"), item.get("relpath")) if isinstance(item, dict) else (None, None)
        if not isinstance(oid, str) or not isinstance(relpath, str):
            raise ManifestError(f"cannot read manifest '{name}': an item has no md5 or no relpath")
        pairs.append((relpath, oid))
    return pairs


def _refuse_broken_text(relpaths: list[str], name: str) -> None:
    """Raises ManifestError for half of a surrogate pair, which no file name can hold."""
    try:
        "".join(relpaths).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ManifestError(f"cannot use manifest '{name}': a path in it is no text") from error


def _refuse_unsafe(grouped: dict[str, list[tuple[str, str]]], relpaths: list[str], name: str) -> None:
    # Split at its last slash, "/a" looks like "a".
    absolute = [relpath for relpath in relpaths if relpath[:1] == "/"]
    if absolute:
        raise ManifestError(f"cannot use manifest '{name}': unsafe path '{absolute[0]}'")
    if len(set(relpaths)) != len(relpaths):
        raise ManifestError(f"cannot use manifest '{name}': it names a path twice")
    for path, pairs in grouped.items():
        if path and not _is_safe_folder(path):
            raise ManifestError(f"cannot use manifest '{name}': unsafe path '{path}'")
        prefix = path + "/" if path else ""
        for file_name, _ in pairs:
            if (
                file_name in _UNSAFE
                or "\0" in file_name
                or "\\" in file_name
                and not _is_safe_folder(file_name)
            ):
                raise ManifestError(f"cannot use manifest '{name}': unsafe path '{prefix + file_name}'")
            if grouped.get(prefix + file_name) is not None:
                raise ManifestError(
                    f"cannot use manifest '{name}': '{prefix + file_name}' is both file and folder"
                )


_UNSAFE = frozenset({"", ".", "..", ".git", ".dvc", "git~1"})


def _is_safe_folder(path: str) -> bool:
    # A backslash separates on Windows: what is safe must be safe on each system that may check it out.
    parts = path.replace("\\", "/").split("/")
    return "\0" not in path and not any(part.lower() in _UNSAFE for part in parts)


def render_manifest(tree: Tree) -> bytes:
    """Returns the manifest's bytes, as DVC writes them; their md5 with `.dir` is the tree's id.

    Source: DVC 3.67.1: `json.dumps(sort_keys=True)` of a list that is sorted by relpath in code-point order.
    """
    from json.encoder import encode_basestring_ascii  # 2 ms that reading commands can spare

    pairs = list(tree.files())
    pairs.sort()
    quote = encode_basestring_ascii
    body = "}, {".join([f'"md5": "{oid}", "relpath": {quote(relpath)}' for relpath, oid in pairs])
    return f"[{{{body}}}]".encode("ascii") if pairs else b"[]"


def fingerprint(tree: Tree) -> bytes:
    """Returns 16 bytes that stand for the tree's content; cheaper than its manifest's id, and only for own records."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(tree.folders):
        folder = tree.folders[path]
        names = folder.names.encode("utf-8", "surrogateescape")
        head = path.encode("utf-8", "surrogateescape")
        digest.update(b"%d %d " % (len(head), len(names)))
        digest.update(head)
        digest.update(names)
        digest.update(folder.digests)
    return digest.digest()

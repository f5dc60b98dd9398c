"""Directory manifests (`.dir` objects) as packed trees: bytes to `Tree` and back, byte for byte as DVC writes them.

A tree keeps one row a folder (names joined by NUL, digests of 16 bytes each), so that a million files fit into memory
and unchanged folders are compared in one step. Not here: reading objects. Implements docs/spec/manifests.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Set
from typing import NamedTuple

from kist.errors import FormatError

DIGEST_SIZE = 16
_START = '[{"md5": "'
_BETWEEN = '"}, {"md5": "'
_MIDDLE = '", "relpath": "'
_END = '"}]'
_ESCAPED = re.compile(r'[\x01-\x1f"\\]')
"""What JSON escapes of ASCII, but for NUL, which separates names here."""
_RELPATH_AT = 32 + len(_MIDDLE)
_HEAD = b'[{"md5": "'
_TAIL = b'"}]'
_GAP = b'"}, {"md5": "'
_MD5_KEY = '"md5": "'
_MD5_ITEM = re.compile('"md5": "([0-9a-f]{32})"')
_WALK_LIMIT = 20_000
"""Differing items up to which two manifests are walked side by side; beyond, sets of all items are cheaper."""


EMPTY_DIR = "d751713988987e9331980363e24189ce.dir"
"""The manifest of a directory without files, `[]`."""


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
    if data.startswith(_HEAD) and data.isascii():
        text = data.decode("ascii")
        found = _MD5_ITEM.findall(text)
        if len(found) == text.count(_MD5_KEY):
            return set(found)
    return parse_manifest(data, name=name).oids()


def compare_manifests(old: bytes, new: bytes, *, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what only the old and what only the new manifest names: relative path -> md5.

    Only items that differ are taken apart: two versions of a large directory cost about as much as comparing memory.

    Raises: ManifestError.
    """
    found = _differences(old, new)
    if found is None:
        first, second = (
            dict(parse_manifest(old, name=name).files()),
            dict(parse_manifest(new, name=name).files()),
        )
        return _only(first, second), _only(second, first)
    before, after = (
        dict(parse_manifest(_HEAD + _GAP.join(items) + _TAIL if items else b"[]", name=name).files())
        for items in found
    )
    return _only(before, after), _only(after, before)


def _differences(old: bytes, new: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Returns the items of both that may differ, as they are written; None where a spelling is not DVC's own.

    Both are sorted, so they are walked side by side: over equal stretches in doubling steps, item by item elsewhere.
    """
    if not (_is_own_spelling(old) and _is_own_spelling(new)):
        return None
    before: list[bytes] = []
    after: list[bytes] = []
    i = j = len(_HEAD)
    end_i, end_j = len(old) - len(_TAIL), len(new) - len(_TAIL)
    while i < end_i and j < end_j:
        same = _equal_length(old, i, new, j)
        # Back to the start of the item in which they part; inside of a path its quotes would be escaped.
        gap = old.rfind(_GAP, i, i + same)
        if gap >= 0:
            j += gap + len(_GAP) - i
            i = gap + len(_GAP)
        item_i, item_j = _item(old, i, end_i), _item(new, j, end_j)
        path_i, path_j = item_i[32:], item_j[32:]
        if len(before) + len(after) > _WALK_LIMIT or b"\\" in path_i or b"\\" in path_j:
            # Too much differs, or escapes, which don't sort as what they stand for.
            first, second = set(_items(old, len(_HEAD))), set(_items(new, len(_HEAD)))
            return list(first - second), list(second - first)
        if path_i <= path_j:
            before.append(item_i)
            i += len(item_i) + len(_GAP)
        if path_j <= path_i:
            after.append(item_j)
            j += len(item_j) + len(_GAP)
    return before + _items(old, i), after + _items(new, j)


def _is_own_spelling(data: bytes) -> bool:
    return data == b"[]" or data.startswith(_HEAD) and data.endswith(_TAIL) and data.isascii()


def _item(data: bytes, at: int, end: int) -> bytes:
    gap = data.find(_GAP, at)
    return data[at : gap if gap >= 0 else end]


def _items(data: bytes, at: int) -> list[bytes]:
    end = len(data) - len(_TAIL)
    return data[at:end].split(_GAP) if at < end else []


def _equal_length(old: bytes, i: int, new: bytes, j: int) -> int:
    """Returns for how many bytes two texts are equal from `i` and `j` on, by doubling and then halving steps."""
    start = i
    step = 256
    is_growing = True
    while step:
        if old[i : i + step] == new[j : j + step] and i + step <= len(old) and j + step <= len(new):
            i += step
            j += step
            step = step * 2 if is_growing else step
        else:
            is_growing = False
            step //= 2
    return i - start


def edit_manifest(data: bytes, gone: Set[str], added: Mapping[str, str], *, name: str) -> bytes:
    """Returns a manifest without the paths `gone` and with `added` (relative path -> md5) put in or replaced.

    Members that stay are not taken apart, so that a large directory is changed in a few hundredths of a second. The
    caller sees to it that no path is both file and folder.

    Raises: ManifestError.
    """
    text = data.decode("ascii") if data.isascii() and b"\\" not in data else ""
    is_plain = text.startswith(_START) and text.endswith(_END) and all(map(_is_plain, added))
    pieces = text[len(_START) : -len(_END)].split(_BETWEEN) if is_plain else []
    if not pieces or not len(pieces) == count_files(data) == data.count(b'"') / 8:
        files = dict(parse_manifest(data, name=name).files())
        kept = {relpath: oid for relpath, oid in files.items() if relpath not in gone}
        return render_manifest(tree_of(kept | dict(added)))
    if gone or added:
        pieces = [
            piece for piece in pieces if (relpath := piece[_RELPATH_AT:]) not in gone and relpath not in added
        ]
    pieces += [f"{oid}{_MIDDLE}{relpath}" for relpath, oid in added.items()]
    # Without escapes the spelling sorts as the paths do.
    pieces.sort(key=lambda piece: piece[_RELPATH_AT:])
    return (_START + _BETWEEN.join(pieces) + _END).encode("ascii") if pieces else b"[]"


def _is_plain(relpath: str) -> bool:
    return relpath.isascii() and relpath.isprintable() and "\\" not in relpath and '"' not in relpath


def count_files(data: bytes) -> int:
    """Returns how many files a manifest in DVC's own spelling names."""
    return data.count(b'", "relpath": "')


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
        if path and not is_safe_path(path):
            raise ManifestError(f"cannot use manifest '{name}': unsafe path '{path}'")
        prefix = path + "/" if path else ""
        for file_name, _ in pairs:
            if file_name in _UNSAFE or "\0" in file_name or "\\" in file_name and not is_safe_path(file_name):
                raise ManifestError(f"cannot use manifest '{name}': unsafe path '{prefix + file_name}'")
            if grouped.get(prefix + file_name) is not None:
                raise ManifestError(
                    f"cannot use manifest '{name}': '{prefix + file_name}' is both file and folder"
                )


_UNSAFE = frozenset({"", ".", "..", ".git", ".dvc", "git~1"})


def is_safe_path(path: str) -> bool:
    """Says whether a relative path stays in its folder and out of `.git` and `.dvc`, wherever it is made (rule R14)."""
    # A backslash separates on Windows: what is safe must be safe on each system that may check it out.
    parts = path.replace("\\", "/").split("/")
    return "\0" not in path and not any(part.lower() in _UNSAFE for part in parts)


def render_manifest(tree: Tree) -> bytes:
    """Returns the manifest's bytes, as DVC writes them; their md5 with `.dir` is the tree's id.

    Source: DVC 3.67.1: `json.dumps(sort_keys=True)` of a list that is sorted by relpath in code-point order.
    """
    blocks: list[tuple[str, str]] = []
    inner = _with_subfolders(tree)
    for path, folder in tree.folders.items():
        if not folder.names:
            continue
        digits = folder.digests.hex()
        prefix = path + "/" if path else ""
        names = folder.names.split("\0")
        written = _quoted(folder.names, names, prefix)
        items = [f'{digits[at * 32 : at * 32 + 32]}", "relpath": "{text}' for at, text in enumerate(written)]
        if path in inner:
            blocks += [(prefix + name, item) for name, item in zip(names, items, strict=True)]
        else:  # nothing else sorts in between
            blocks.append((prefix + names[0], _BETWEEN.join(items)))
    blocks.sort()
    return (_START + _BETWEEN.join([text for _, text in blocks]) + _END).encode("ascii") if blocks else b"[]"


def _with_subfolders(tree: Tree) -> set[str]:
    """Returns the folders that hold other folders of the tree, at any depth."""
    found: set[str] = set()
    for path in tree.folders:
        while path:
            path = path.rpartition("/")[0]
            if path in found:
                break
            found.add(path)
    return found


def _quoted(joined: str, names: list[str], prefix: str) -> list[str]:
    """Returns the paths of one folder as they stand between the quotes of JSON."""
    if joined.isascii() and prefix.isascii() and not _ESCAPED.search(joined) and not _ESCAPED.search(prefix):
        return [prefix + name for name in names]
    from json.encoder import encode_basestring_ascii  # only names beyond plain ASCII need it

    return [encode_basestring_ascii(prefix + name)[1:-1] for name in names]


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

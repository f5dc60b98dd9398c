"""`files:` lists of metafiles and the manifests that they stand for: the same directory in two spellings.

Not here: reading metafiles (_entries), reading manifests (manifest). Implements docs/spec/cloud-versions.md, section 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kist.formats.manifest import ManifestError, Tree, parse_manifest, render_manifest, tree_of
from kist.formats.records import LEGACY_MD5, MD5, Digest, FileEntry, Output


class Spelled(NamedTuple):
    """A directory that a metafile lists file by file: its manifest's id and bytes, and figures."""

    digest: Digest
    manifest: bytes
    size_bytes: int | None
    nfiles: int


def spelled(output: Output, *, name: str) -> Spelled | None:
    """Returns what a `files:` list stands for; None where there is none, it is empty, or a file in it has no md5.

    An empty list says nothing of a directory: a fault of DVC leaves one behind when it loses the entries.

    Args: name: the metafile, for messages.

    Raises: ManifestError: a path that must not be written (rule R14).
    """
    files = output.files
    if not files:
        return None
    algorithms = {entry.digest.algorithm if entry.digest is not None else "" for entry in files}
    if len(algorithms) != 1 or not algorithms <= {MD5, LEGACY_MD5}:
        return None
    found = {entry.relpath: entry.digest.value for entry in files if entry.digest is not None}
    if len(found) != len(files) or any(len(oid) != 32 for oid in found.values()):
        return None
    manifest = render_manifest(tree_of(found))
    if dict(parse_manifest(manifest, name=name).files()) != found:
        raise ManifestError(f"cannot read '{name}': a path in its list of files begins with '/'")
    digest = Digest(algorithms.pop(), f"{hashlib.md5(manifest, usedforsecurity=False).hexdigest()}.dir")
    sizes = [entry.size for entry in files]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    return Spelled(digest, manifest, size, len(files))


def entries_of(
    tree: Tree,
    algorithm: str,
    known: Iterable[FileEntry],
    size_of: Callable[[str], int | None],
) -> tuple[FileEntry, ...]:
    """Returns the list that spells a tree; files that are known with the same content keep what is known of them.

    Args: size_of: gives the size of an object in bytes, where it can.
    """
    before = {(entry.relpath, entry.digest.value): entry for entry in known if entry.digest is not None}
    return tuple(
        before.get((relpath, oid)) or FileEntry(relpath, Digest(algorithm, oid), size_of(oid))
        for relpath, oid in sorted(tree.files())
    )

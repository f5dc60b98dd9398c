"""Makes the data that the benchmarks work on; the same arguments give the same bytes on every machine."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from typing import NamedTuple

MEBIBYTE = 1 << 20


class Tree(NamedTuple):
    """A tree of files of random sizes and random bytes.

    Args:
        files: how many files in all.
        folders: how many folders they are spread over.
        smallest: lowest size in bytes.
        largest: highest size in bytes.
    """

    files: int
    folders: int
    smallest: int
    largest: int


def small_files(files: int) -> Tree:
    """Returns the main workload: files of 4-16 KB, a hundred in a folder."""
    return Tree(files, max(1, files // 100), 4096, 16384)


def _paths(tree: Tree) -> Iterator[tuple[str, str]]:
    for number in range(tree.files):
        yield f"folder-{number % tree.folders:05d}", f"file-{number // tree.folders:06d}.bin"


def make_tree(root: str, tree: Tree, *, seed: int = 1) -> None:
    """Writes the files of a tree under a new folder `root`."""
    source = random.Random(seed)
    # Slices of one random block, each led by its number, are unlike each other and cheap to make.
    block = source.randbytes(4 * MEBIBYTE)
    os.makedirs(root)
    for number in range(tree.folders):
        os.mkdir(os.path.join(root, f"folder-{number:05d}"))
    for number, (folder, name) in enumerate(_paths(tree)):
        size = source.randint(tree.smallest, tree.largest)
        start = source.randrange(len(block) - size)
        with open(os.path.join(root, folder, name), "wb") as stream:
            stream.write(b"%016d" % number + block[start : start + size - 16])


def edit_tree(root: str, tree: Tree, *, count: int, seed: int = 2) -> None:
    """Replaces `count` files by new ones of other bytes, spread over the folders.

    Files are removed before they are written: they may be links into a cache.
    """
    source = random.Random(seed)
    step = max(1, tree.files // count)
    for number, (folder, name) in enumerate(_paths(tree)):
        if number % step == 0 and number // step < count:
            path = os.path.join(root, folder, name)
            os.unlink(path)
            with open(path, "wb") as stream:
                stream.write(source.randbytes(source.randint(tree.smallest, tree.largest)))


def make_big_files(root: str, *, count: int, size: int, seed: int = 3) -> None:
    """Writes a few big files of random bytes under a new folder `root`."""
    source = random.Random(seed)
    os.makedirs(root)
    for number in range(count):
        with open(os.path.join(root, f"big-{number}.bin"), "wb") as stream:
            for _ in range(size // MEBIBYTE):
                stream.write(source.randbytes(MEBIBYTE))


def make_tracked_files(repo: str, *, count: int) -> str:
    """Writes many small files in one folder, each with its own `.dvc` file, cache object and ignore line.

    They are written directly: the real tool would need minutes to add them one by one.

    Returns:
        The relative path of the `.dvc` file in the middle.
    """
    folder = os.path.join(repo, "many")
    os.makedirs(folder)
    ignored = []
    for number in range(count):
        name = f"file-{number:05d}.txt"
        data = f"{number}\n".encode() * 20
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        cached = os.path.join(repo, ".dvc", "cache", "files", "md5", digest[:2], digest[2:])
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with open(cached, "wb") as stream:
            stream.write(data)
        os.chmod(cached, 0o444)
        os.link(cached, os.path.join(folder, name))
        with open(os.path.join(folder, name + ".dvc"), "w") as text:
            text.write(f"outs:\n- md5: {digest}\n  size: {len(data)}\n  hash: md5\n  path: {name}\n")
        ignored.append(f"/{name}\n")
    with open(os.path.join(folder, ".gitignore"), "w") as text:
        text.write("".join(ignored))
    return f"many/file-{count // 2:05d}.txt.dvc"

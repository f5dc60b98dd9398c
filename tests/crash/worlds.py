"""Small repositories with two versions of data, from which the tests start.

`data` is a folder of four files, `model.bin` a single one. Version 2 changes two files, drops one and adds one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from .harness import Arena, remove_tree

Prepare = Callable[[Arena], object]
"""Makes one of the worlds below."""

V1 = {
    "data/a.txt": b"a, first version\n",
    "data/b.bin": bytes(range(256)) * 40,
    "data/sub/c.txt": b"c, only in the first version\n",
    "data/sub/d.txt": b"d, in both\n",
    "model.bin": b"model one " * 50,
}
V2 = {
    "data/a.txt": b"a, second version, longer\n",
    "data/b.bin": V1["data/b.bin"],
    "data/sub/d.txt": V1["data/sub/d.txt"],
    "data/sub/e.txt": b"e, only in the second version\n",
    "model.bin": b"model two " * 60,
}
TARGETS = ("data", "model.bin")


def both_versions() -> dict[str, bytes]:
    """Returns what must never be lost once both versions exist."""
    return {f"{rel}@1": content for rel, content in V1.items()} | {
        f"{rel}@2": content for rel, content in V2.items()
    }


def empty(arena: Arena, link: str = "copy") -> None:
    """Makes a repository with a cache link type and a default remote, and nothing in it."""
    arena.git("init", "-q", "--template=")  # without the sample hooks, which would be copied for every run
    arena.must("init", "-q")
    with open(arena.path(".dvc/config"), "w") as stream:
        stream.write(f"[core]\n    remote = store\n[cache]\n    type = {link}\n")
        stream.write(f"['remote \"store\"']\n    url = {arena.remote}\n")
    os.makedirs(arena.remote, exist_ok=True)


def put(arena: Arena, version: dict[str, bytes]) -> None:
    """Makes the workspace's data this version, as a person would: never through a link into the cache."""
    for folder, _, names in os.walk(arena.path("data")):
        for name in names:
            os.unlink(os.path.join(folder, name))
    for rel, content in version.items():
        arena.write(rel, content)


def untracked(arena: Arena, link: str = "copy") -> None:
    """Version 1 lies there; nothing is tracked."""
    empty(arena, link)
    put(arena, V1)


def added(arena: Arena, link: str = "copy") -> None:
    """Version 1 is tracked and in the cache."""
    untracked(arena, link)
    arena.must("add", "-q", *TARGETS)


def edited(arena: Arena, link: str = "copy") -> None:
    """Version 1 is tracked, version 2 lies there, not stored."""
    added(arena, link)
    put(arena, V2)


STAGE = b"""\
stages:
  train:
    cmd: ./train
    deps: [code]
    outs: [data, model.bin]
    metrics: [m.json: {cache: false}]
"""


def staged(arena: Arena, link: str = "copy") -> None:
    """Version 1 lies there as the outputs of a stage that was run by hand; nothing is stored."""
    untracked(arena, link)
    for rel, content in {"dvc.yaml": STAGE, "code": b"train\n", "m.json": b'{"loss": 1}\n'}.items():
        arena.write(rel, content)


def metafiles(arena: Arena) -> dict[str, bytes]:
    """Returns the present `.dvc` files."""
    found = {}
    for target in TARGETS:
        with open(arena.path(target + ".dvc"), "rb") as stream:
            found[target] = stream.read()
    return found


def two_versions(arena: Arena, link: str = "copy") -> dict[str, bytes]:
    """Version 2 is tracked and lies there, both are in the cache; returns the metafiles of version 1."""
    added(arena, link)
    first = metafiles(arena)
    put(arena, V2)
    arena.must("add", "-q", *TARGETS)
    return first


def name_version(arena: Arena, first: dict[str, bytes]) -> None:
    """Puts the metafiles of another version there, as `git checkout` does."""
    for target, content in first.items():
        arena.write(target + ".dvc", content)


def switching(arena: Arena, link: str = "copy") -> None:
    """The metafiles name version 1, version 2 lies there, both are in the cache."""
    name_version(arena, two_versions(arena, link))


def drop_workspace(arena: Arena) -> None:
    """Removes the data, not the metafiles."""
    remove_tree(arena.path("data"))
    os.unlink(arena.path("model.bin"))


def drop_cache(arena: Arena) -> None:
    """Removes the cache and all that is remembered of it."""
    remove_tree(arena.path(".dvc/cache"))
    remove_tree(arena.path(".dvc/tmp"))
    remove_tree(arena.home)
    os.mkdir(arena.home)


def unlinked(arena: Arena, link: str = "copy") -> None:
    """Version 2 is tracked and in the cache; the workspace is empty."""
    two_versions(arena, link)
    drop_workspace(arena)


def pushed_once(arena: Arena, link: str = "copy") -> None:
    """Version 1 is on the remote, version 2 is tracked and in the cache only."""
    added(arena, link)
    arena.must("push", "-q")
    put(arena, V2)
    arena.must("add", "-q", *TARGETS)


def clone(arena: Arena, link: str = "copy") -> None:
    """A fresh clone: metafiles of version 2, both versions on the remote, no cache, no data."""
    pushed_once(arena, link)
    arena.must("push", "-q")
    drop_workspace(arena)
    drop_cache(arena)


def behind(arena: Arena, link: str = "copy") -> None:
    """A clone with version 1 in cache and workspace whose metafiles have just become those of version 2."""
    added(arena, link)
    first = metafiles(arena)
    arena.must("push", "-q")
    put(arena, V2)
    arena.must("add", "-q", *TARGETS)
    arena.must("push", "-q")
    second = metafiles(arena)
    name_version(arena, first)
    drop_workspace(arena)
    drop_cache(arena)
    arena.must("pull", "-q")
    name_version(arena, second)

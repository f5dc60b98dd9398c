"""A large file in little memory (F61), and thousands of files (F62)."""

from __future__ import annotations

import os
import resource

import pytest

from . import worlds
from .harness import KIST, Arena, Snapshot, snapshot
from .invariants import md5, objects

pytestmark = pytest.mark.timeout(300)

SIZE = 1 << 30
LIMIT_BYTES = 400 << 20


def limit_memory() -> None:
    """More than this is refused; the address space is a stricter measure than the resident part."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES * 2, LIMIT_BYTES * 2))


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_sparse_gibibyte_needs_less_than_400_megabytes(arena: Arena, link: str) -> None:
    worlds.empty(arena, link)
    with open(arena.path("big.bin"), "wb") as stream:
        stream.truncate(SIZE)
    for command in (("add", "big.bin"), ("status",), ("checkout",)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        result = arena.run((*KIST, *command), before=limit_memory)
        assert result.status == 0, result
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert peak == before or peak * 1024 < LIMIT_BYTES
    with open(arena.path("big.bin.dvc")) as stream:
        assert "cd573cfaace07e7949bc0c46028904ff" in stream.read(), "the md5 of 1 GiB of zeros"


def contents(state: Snapshot) -> dict[str, bytes]:
    return {rel: entry.content for rel, entry in state.items()}


def test_five_thousand_files_make_the_whole_round(arena: Arena) -> None:
    worlds.empty(arena, "hardlink")
    files = {f"data/{number % 50:02}/{number}.txt": b"%d\n" % number for number in range(5000)}
    worlds.put(arena, files)
    for command in (("add", "data"), ("status",), ("push",), ("status", "-c")):
        result = arena.kist(*command)
        assert result.status == 0, (command, result)
    assert {md5(content) for content in files.values()} <= objects(arena.snapshot(), "remote").keys()
    worlds.drop_cache(arena)
    os.rename(arena.path("data"), os.path.join(arena.work, "aside"))
    assert arena.kist("pull").status == 0
    assert contents(snapshot(arena.path("data"))) == contents(snapshot(os.path.join(arena.work, "aside")))
    assert "up to date" in arena.must("status").out

"""Few file descriptors (F32): 48 for 400 files."""

from __future__ import annotations

import os
import resource

import pytest

from . import worlds
from .harness import KIST, Arena
from .invariants import md5, objects

pytestmark = pytest.mark.timeout(120)

FILES = {f"data/{number % 7}/{number}.txt": b"%d\n" % number for number in range(400)}


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_four_hundred_files_need_no_more_than_48_descriptors(arena: Arena, link: str) -> None:
    worlds.empty(arena, link)
    worlds.put(arena, FILES)
    for command in (("add", "data"), ("status",), ("push",), ("status", "-c")):
        result = arena.run((*KIST, *command), before=few_descriptors)
        assert result.status == 0, (command, result)
    stored = objects(arena.snapshot(), "remote")
    assert {md5(content) for content in FILES.values()} <= stored.keys()
    worlds.drop_cache(arena)
    for rel in FILES:
        os.unlink(arena.path(rel))
    for command in (("pull",), ("checkout",)):
        result = arena.run((*KIST, *command), before=few_descriptors)
        assert result.status == 0, (command, result)
    for rel, content in FILES.items():
        with open(arena.path(rel), "rb") as stream:
            assert stream.read() == content

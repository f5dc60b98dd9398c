"""Fixtures of the crash suite: the compiled shim, and an arena on a file system that is quick to sync."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

from .harness import Arena, remove_tree
from .shim import build_shim
from .warm import Warm

_MEMORY = "/dev/shm"
_ENOUGH_BYTES = 1 << 28


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.crash)
            if not sys.platform.startswith("linux"):
                item.add_marker(pytest.mark.skip(reason="the shim is preloaded as Linux does it"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled shim."""
    return build_shim(str(tmp_path_factory.mktemp("shim")))


@pytest.fixture(scope="session")
def warm(library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process with Kist imported, that forks commands."""
    server = Warm(library, str(tmp_path_factory.mktemp("warm")))
    yield server
    server.close()


@pytest.fixture(scope="session")
def holder(library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Another one, whose command stands still while others run."""
    server = Warm(library, str(tmp_path_factory.mktemp("holder")))
    yield server
    server.close()


def _quick_folder() -> str | None:
    """Memory where there is plenty: the power cuts are computed, so a real disk would only make syncs slow."""
    if (
        os.path.isdir(_MEMORY)
        and os.access(_MEMORY, os.W_OK)
        and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    ):
        return _MEMORY
    return None


@pytest.fixture
def arena(library: str, warm: Warm, holder: Warm) -> Iterator[Arena]:
    """An empty arena, removed afterwards."""
    base = tempfile.mkdtemp(prefix="kist-crash-", dir=_quick_folder())
    os.chmod(base, 0o755)
    try:
        yield Arena(base, library, warm, holder)
    finally:
        remove_tree(base)

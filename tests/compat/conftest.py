"""Fixtures of the comparison with the real DVC, whose program is named by the environment variable KIST_DVC."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .helpers import DVC, KIST, Beside, RealDvc, World
from .templates import TEMPLATES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything here: it runs in `make test-all` only."""
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.compat)


@pytest.fixture(scope="session")
def real_dvc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDvc]:
    """The real DVC. Not skipped when it is missing: a comparison with nothing proves nothing."""
    program = os.environ.get("KIST_DVC")
    if not program:
        pytest.fail("set KIST_DVC to the dvc program; `make test-all` installs one and does so")
    dvc = RealDvc(program, str(tmp_path_factory.mktemp("dvc")))
    yield dvc
    dvc.close()


@pytest.fixture(scope="session")
def templates(real_dvc: RealDvc, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Returns the folder of a template by name; each is made once, by the real DVC."""
    made: dict[str, str] = {}

    def template(name: str) -> str:
        if name not in made:
            root = str(tmp_path_factory.mktemp(f"template-{name}") / "world")
            world = World(root, DVC, real_dvc)
            for act in TEMPLATES[name]:
                act(world)
            made[name] = root
        return made[name]

    return template


@pytest.fixture
def beside(real_dvc: RealDvc, templates: Callable[[str], str], tmp_path: Path) -> Beside:
    """Runs cases in a folder of the test's own.

    With KIST_COMPAT_BOTH=dvc the real DVC drives both worlds, which shows whether a case itself is sound.
    """
    return Beside(real_dvc, templates, str(tmp_path), second=os.environ.get("KIST_COMPAT_BOTH", KIST))

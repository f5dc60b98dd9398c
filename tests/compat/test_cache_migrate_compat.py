"""`cache migrate` on repositories of DVC 1 and 2, beside the real DVC: the same objects, metafiles and exit codes."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from .helpers import RealDvc, Result, World

pytestmark = pytest.mark.compat

_ARCHIVES = Path(__file__).parent.parent / "golden" / "repos"
_VERSIONS = ("dvc-1.11.16", "dvc-2.10.2", "dvc-2.58.2")


@pytest.fixture(params=_VERSIONS)
def worlds(request: pytest.FixtureRequest, tmp_path: Path, real_dvc: RealDvc) -> tuple[World, World]:
    """Two copies of a repository that an old DVC made, with its data checked out."""
    made = []
    for tool in ("dvc", "kist"):
        root = tmp_path / tool
        with tarfile.open(_ARCHIVES / f"{request.param}.tar.gz") as archive:
            archive.extractall(root, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        os.makedirs(root / "home", exist_ok=True)
        world = World(str(root), tool, real_dvc)
        world.run(["checkout", "-q"], "repo", by="dvc")
        made.append(world)
    return made[0], made[1]


def state(world: World) -> dict[str, bytes]:
    """Returns path -> bytes of the repository and its cache."""
    found = {}
    for folder, names, files in os.walk(world.path("repo")):
        names[:] = [name for name in names if name not in (".git", "tmp")]
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, world.path("repo"))] = stream.read()
    return found


def both(worlds: tuple[World, World], line: str, cwd: str = "repo") -> tuple[Result, Result]:
    theirs, ours = (world.run(line.split(), cwd) for world in worlds)
    assert ours.code == theirs.code, ours
    first, second = (state(world) for world in worlds)
    assert sorted(first) == sorted(second)
    assert {path for path in first if first[path] != second[path]} == set()
    return theirs, ours


def test_objects_get_their_new_names_and_keep_the_old_ones(worlds: tuple[World, World]) -> None:
    before = state(worlds[1])
    theirs, ours = both(worlds, "cache migrate")
    assert ours.stdout == theirs.stdout
    after = state(worlds[1])
    assert before.items() <= after.items() and len(after) > len(before)
    again, ours_again = both(worlds, "cache migrate")
    assert ours_again.stdout == again.stdout == "Migrated 0 files to DVC 3.0 cache location.\n"


# DVC 3.67 refuses the lock of DVC 1.11, which Kist reads, as soon as metafiles are asked for.
with_metafiles = pytest.mark.parametrize("worlds", _VERSIONS[1:], indirect=True)


@with_metafiles
def test_a_dry_run_says_what_would_be_done(worlds: tuple[World, World]) -> None:
    before = state(worlds[1])
    for line in ("cache migrate --dry", "cache migrate --dry --dvc-files"):
        theirs, ours = both(worlds, line)
        assert ours.stdout == theirs.stdout
    assert state(worlds[1]) == before


@with_metafiles
def test_metafiles_name_the_new_objects(worlds: tuple[World, World]) -> None:
    both(worlds, "cache migrate --dvc-files")
    assert (
        worlds[1].run(["status"], "repo", by="dvc").stdout
        == worlds[0].run(["status"], "repo", by="dvc").stdout
    )
    theirs, ours = both(worlds, "cache migrate --dvc-files")
    assert ours.stdout == theirs.stdout


@with_metafiles
def test_absent_data_changes_nothing(worlds: tuple[World, World]) -> None:
    # DVC writes some metafiles before it fails, and one without an id for a directory; here nothing is done (rule R5).
    os.unlink(worlds[1].path("repo/table.csv"))
    before = state(worlds[1])
    assert worlds[1].run(["cache", "migrate", "--dvc-files"], "repo").code == 255
    assert state(worlds[1]) == before

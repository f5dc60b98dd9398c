"""Making a folder what a tree says: only what differs, each object checked, nothing unsaved lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.objects import make_poor, md5, put, write

from kist.base import atomic
from kist.base.progress import SilentProgress
from kist.formats.manifest import tree_of
from kist.store import links
from kist.store.loose import LooseStore
from kist.store.statindex import StatIndex
from kist.workspace import checkout
from kist.workspace.checkout import (
    Done,
    Plan,
    UnsafePathError,
    apply_plan,
    plan_checkout,
    unsaved_paths,
    with_empty_folders,
)
from kist.workspace.scan import Snapshot, read_all, scan_directory

ALL_LINKS = [links.COPY, links.REFLINK, links.HARDLINK, links.SYMLINK]
OLD = {"same": b"same", "edit": b"old", "gone": b"gone", "dir/gone": b"gone too"}
NEW = {
    "same": b"same",
    "edit": b"new",
    "empty": b"",
    "deep/er/x": b"x",
    **{f"m/{n}": b"%d" % n for n in range(7)},
}


class World:
    """A cache with all content, and a workspace that holds the old files."""

    def __init__(self, root: Path) -> None:
        self.base = root / "repo"
        self.store = LooseStore(str(root / "cache"))
        self.index = StatIndex(str(root / "index"))
        for data in [*OLD.values(), *NEW.values()]:
            put(self.store, data)
        for path, data in OLD.items():
            write(self.base / "data" / path, data)

    def look(self) -> Snapshot:
        """Returns what is there."""
        found = scan_directory(str(self.base / "data"), "data", index=self.index, ignores=None)
        return read_all([found], index=self.index, workers=1, progress=SilentProgress())[0]

    def plan(self, files: dict[str, bytes]) -> tuple[Plan, Snapshot]:
        """Returns the plan for some files, and what is there."""
        current = self.look()
        tree = tree_of({path: md5(data) for path, data in files.items()})
        return plan_checkout(str(self.base), "data", current, tree), current

    def apply(self, files: dict[str, bytes], link: str, workers: int) -> Done:
        """Makes the folder hold some files."""
        plan, current = self.plan(files)
        return apply_plan(
            plan, current, self.store, link=link, trusted={}, workers=workers, progress=SilentProgress()
        )

    def files(self) -> dict[str, bytes]:
        """Returns all files of the directory."""
        top = self.base / "data"
        return {
            os.path.relpath(os.path.join(folder, name), top): Path(folder, name).read_bytes()
            for folder, _, names in os.walk(top)
            for name in names
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Returns a fresh world."""
    return World(tmp_path)


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small data crosses every boundary."""
    monkeypatch.setattr(checkout, "_FORK_FILES", 2)
    monkeypatch.setattr(checkout, "_REQUEST_FILES", 2)
    number: int = request.param
    return number


@pytest.mark.parametrize("is_poor", [False, True], ids=["able", "poor"])
@pytest.mark.parametrize("link", ALL_LINKS)
def test_the_folder_becomes_what_the_tree_says(
    world: World, workers: int, link: str, is_poor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_poor:
        make_poor(monkeypatch)
    done = world.apply(NEW, link, workers)
    assert world.files() == NEW
    assert (done.missing, done.corrupt) == ([], [])
    # Removed: "gone", "dir/gone" and the folder "dir".
    assert (done.added, done.modified, done.relinked, done.removed) == (len(NEW) - 2, 1, 0, 3)
    assert not (world.base / "data" / "dir").exists()
    assert done.snapshot is not None and done.snapshot.folders == world.look().folders
    assert world.plan(NEW)[0].is_empty


@pytest.mark.parametrize("link", ALL_LINKS)
def test_missing_and_damaged_objects_are_told_and_leave_the_old_file(
    world: World, workers: int, link: str
) -> None:
    write(world.store.path(md5(b"new")), b"rot")
    os.unlink(world.store.path(md5(b"x")))
    done = world.apply(NEW, link, workers)
    assert done.corrupt == [("edit", md5(b"new"))] and done.missing == [("deep/er/x", md5(b"x"))]
    assert world.files() == {
        **{path: data for path, data in NEW.items() if path != "deep/er/x"},
        "edit": b"old",
    }


@pytest.mark.parametrize("link", ALL_LINKS)
def test_nothing_is_written_through_a_symbolic_link(
    world: World, workers: int, link: str, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    plan, current = world.plan(NEW)
    os.symlink("../../outside", world.base / "data" / "deep")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        apply_plan(
            plan, current, world.store, link=link, trusted={}, workers=workers, progress=SilentProgress()
        )
    assert os.listdir(tmp_path / "outside") == []


def test_content_that_no_cache_holds_intact_is_not_given_up(world: World) -> None:
    plan, current = world.plan(NEW)
    assert unsaved_paths(plan, world.store, current, {}) == []
    write(world.store.path(md5(b"gone")), b"GONE")
    assert unsaved_paths(plan, world.store, current, {}) == ["gone"]
    os.unlink(world.store.path(md5(b"old")))
    assert unsaved_paths(plan, world.store, current, {}) == ["edit", "gone"]


def test_a_symbolic_link_that_leads_nowhere_is_no_content_but_another_is(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for name, target in (("edit", "nowhere"), ("same", tmp_path / "folder")):
        (world.base / "data" / name).unlink()
        os.symlink(target, world.base / "data" / name)
    plan, current = world.plan(NEW)
    assert unsaved_paths(plan, world.store, current, {}) == ["same"]


def test_empty_folders_go_and_so_does_one_in_the_place_of_a_file(world: World) -> None:
    for path in ("void/below", "empty"):
        (world.base / "data" / path).mkdir(parents=True)
    plan, current = world.plan(NEW)
    plan = with_empty_folders(plan, current)
    (world.base / "data" / "void" / "below" / "late").write_bytes(b"")
    done = apply_plan(
        plan, current, world.store, link=links.COPY, trusted={}, workers=1, progress=SilentProgress()
    )
    assert (world.base / "data" / "void" / "below" / "late").exists()
    del (files := world.files())["void/below/late"]
    assert files == NEW
    assert done.removed == 4  # gone, dir/gone, and the folders dir, empty


@pytest.mark.parametrize("link", [links.HARDLINK, links.SYMLINK])
def test_made_anew_a_file_that_is_its_object_already_leaves_nothing_behind(world: World, link: str) -> None:
    world.apply(NEW, link, 1)
    os.chmod(world.store.path(md5(b"new")), 0o755)
    current = world.look()
    tree = tree_of({path: md5(data) for path, data in NEW.items()})
    plan = plan_checkout(str(world.base), "data", current, tree, relink=True)
    done = apply_plan(plan, current, world.store, link=link, trusted={}, workers=1, progress=SilentProgress())
    assert (done.added, done.modified, done.relinked, done.removed) == (0, 0, len(NEW), 0)
    assert world.files() == NEW
    assert os.stat(world.base / "data" / "edit").st_mode & 0o777 == 0o444


@pytest.mark.parametrize("link", [links.COPY, links.REFLINK])
def test_a_failure_leaves_no_temporary_file(
    world: World, workers: int, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkout._Job, "_publish_folder", full)
    with pytest.raises(OSError, match="No space left"):
        world.apply(NEW, link, workers)
    names = [name for _, _, names in os.walk(world.base) for name in names]
    assert not [name for name in names if atomic.is_temp_name(name)]
    assert world.files() == {"same": b"same", "edit": b"old"}

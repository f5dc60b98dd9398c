"""Where comparisons find the manifests of directories, and what they keep of them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from kist.formats.records import MD5, Digest
from kist.repo import manifests as module
from kist.repo.collect import WorkspaceSource, collect
from kist.repo.manifests import Manifests
from kist.repo.repository import Repository
from kist.repo.targets import Selected, all_outputs
from kist.store.loose import LooseStore
from kist.testing.project import Project

MEMORY = ".dvc/tmp/kist/manifests/files/md5"
FILES = ["deep/three.txt", "one.txt", "two.txt"]


def outputs(repository: Repository) -> list[Selected]:
    """Returns all outputs of the workspace."""
    return all_outputs(collect(WorkspaceSource(repository)))


def digest_of_data(project: Project) -> Digest:
    """Returns the id of `data`."""
    found = next(item for item in outputs(project.repository()) if item.path == "data").out.output.digest
    assert found is not None
    return found


def members(project: Project, digest: Digest) -> list[str] | None:
    """Returns the files that a fresh look finds in a directory, by name."""
    tree = Manifests(project.repository()).tree(digest)
    return None if tree is None else sorted(relpath for relpath, _ in tree.files())


def place(digest: Digest, base: str) -> str:
    """Returns where a store has an object."""
    return f"{base}/{digest.value[:2]}/{digest.value[2:]}"


def with_remote(project: Project, tmp_path: Path) -> str:
    """Adds a folder as default remote, and returns where its objects are."""
    project.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    return str(tmp_path / "remote" / "files" / "md5")


def test_what_was_read_once_is_known_when_the_cache_has_lost_it(project: Project) -> None:
    digest = digest_of_data(project)
    assert members(project, digest) == FILES
    shutil.rmtree(project.path(".dvc/cache"))
    assert members(project, digest) == FILES
    shutil.rmtree(project.path(".dvc/tmp"))
    assert members(project, digest) is None


def test_a_kept_manifest_takes_no_room_while_the_cache_has_it(project: Project) -> None:
    digest = digest_of_data(project)
    Manifests(project.repository()).tree(digest)
    kept = os.stat(project.path(place(digest, MEMORY)))
    assert kept.st_ino == os.stat(project.path(place(digest, ".dvc/cache/files/md5"))).st_ino


def test_where_no_link_can_be_made_a_copy_is_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    digest = digest_of_data(project)
    assert members(project, digest) == FILES
    shutil.rmtree(project.path(".dvc/cache"))
    assert members(project, digest) == FILES


def test_a_damaged_memory_is_not_believed_and_goes(project: Project) -> None:
    digest = digest_of_data(project)
    path = project.path(place(digest, MEMORY))
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(b"[]")
    shutil.rmtree(project.path(".dvc/cache"))
    assert members(project, digest) is None
    assert not os.path.lexists(path)


def test_a_damaged_manifest_in_the_cache_is_taken_from_memory(project: Project) -> None:
    digest = digest_of_data(project)
    assert members(project, digest) == FILES
    damaged = project.path(place(digest, ".dvc/cache/files/md5"))
    os.unlink(damaged)
    with open(damaged, "wb") as stream:
        stream.write(b"[]")
    assert members(project, digest) == FILES


def test_a_file_has_no_members_and_asks_nobody(project: Project) -> None:
    tree = Manifests(project.repository()).tree(Digest(MD5, "0" * 32))
    assert tree is not None and list(tree.files()) == []


def test_manifests_come_from_the_remote_into_memory_alone(project: Project, tmp_path: Path) -> None:
    with_remote(project, tmp_path)
    project.kist("push", "--quiet")
    digest = digest_of_data(project)
    shutil.rmtree(project.path(".dvc/cache"))
    repository = project.repository()
    found = Manifests(repository)
    found.fetch(outputs(repository))
    assert found.tree(digest) is not None
    assert not project.exists(".dvc/cache")
    shutil.rmtree(tmp_path / "remote")
    assert members(project, digest) == FILES


def test_a_damaged_manifest_on_the_remote_stays_unknown(project: Project, tmp_path: Path) -> None:
    store = with_remote(project, tmp_path)
    project.kist("push", "--quiet")
    digest = digest_of_data(project)
    shutil.rmtree(project.path(".dvc/cache"))
    os.chmod(place(digest, store), 0o644)
    with open(place(digest, store), "wb") as stream:
        stream.write(b"[]")
    repository = project.repository()
    found = Manifests(repository)
    found.fetch(outputs(repository))
    assert found.tree(digest) is None


@pytest.mark.parametrize("kind", ["none", "a folder that is not there", "a file"])
def test_a_remote_that_cannot_be_asked_is_no_error(project: Project, tmp_path: Path, kind: str) -> None:
    if kind != "none":
        with_remote(project, tmp_path)
    if kind == "a file":
        (tmp_path / "remote").write_bytes(b"")
    digest = digest_of_data(project)
    shutil.rmtree(project.path(".dvc/cache"))
    repository = project.repository()
    found = Manifests(repository)
    found.fetch(outputs(repository))
    assert found.tree(digest) is None


def test_a_folder_that_cannot_be_written_is_no_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(LooseStore, "make_folder", refuse)
    assert members(project, digest_of_data(project)) == FILES
    assert not project.exists(MEMORY)


def test_beyond_the_limit_the_oldest_that_only_memory_has_are_forgotten(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = []
    for number in range(4):
        project.write({"data/one.txt": f"version {number}\n"})
        project.kist("add", "--quiet", "data")
        versions.append(digest_of_data(project))
        assert members(project, versions[-1]) == FILES
        os.utime(project.path(place(versions[-1], MEMORY)), (number, number))
    kept = place(versions[2], ".dvc/cache/files/md5")
    os.makedirs(project.path("aside"))
    os.rename(project.path(kept), project.path("aside/manifest"))
    shutil.rmtree(project.path(".dvc/cache"))
    size = os.path.getsize(project.path(place(versions[3], MEMORY)))
    monkeypatch.setattr(module, "LIMIT_BYTES", size)
    project.write({"data/one.txt": "the last\n"})
    project.kist("add", "--quiet", "data")
    assert members(project, digest_of_data(project)) == FILES
    assert [members(project, digest) is not None for digest in versions] == [False, False, True, True]

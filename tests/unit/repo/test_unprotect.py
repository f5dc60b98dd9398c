"""Unprotecting: what it leaves for later commands."""

from __future__ import annotations

import os

import pytest

from kist.formats.records import LEGACY_MD5, MD5
from kist.repo.data import look_at
from kist.repo.unprotect import Unit, unprotect, unprotect_paths
from kist.testing.project import Project


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
@pytest.mark.parametrize("path", ["data", "model.bin"])
def test_the_stat_index_knows_the_copies(project: Project, link: str, path: str) -> None:
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    repository = project.repository()
    unprotect(repository, [path])
    snapshot = look_at(repository, [(path, MD5)], read=False)[0].snapshot
    assert snapshot is not None
    assert snapshot.unread == 0
    repository.close()


@pytest.mark.parametrize("path", ["data/one.txt", "model.bin"])
def test_objects_stay_trusted_when_they_lose_a_link(project: Project, path: str) -> None:
    project.kist("config", "cache.type", "hardlink")
    project.kist("checkout", "--relink")
    repository = project.repository()
    unprotect(repository, [path])
    looks = {bytes.fromhex(oid): repository.cache.stat(oid) for oid in project.objects() if "." not in oid}
    assert looks
    trusted = repository.trust(repository.cache).records(looks)
    assert {digest: trusted.get(digest) for digest in looks} == looks
    repository.close()


def test_changed_bytes_behind_a_link_are_kept_and_recorded_as_they_are(project: Project) -> None:
    project.kist("config", "cache.type", "hardlink")
    project.kist("checkout", "--relink")
    path = project.path("model.bin")
    os.chmod(path, 0o644)
    project.write({"model.bin": "edited in place\n"})
    project.kist("unprotect", "model.bin")
    assert project.read("model.bin") == "edited in place\n"
    assert os.stat(path).st_nlink == 1
    assert "modified:           model.bin" in project.kist("status").out


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_tracked_data_loses_its_x_bits(project: Project, link: str) -> None:
    for path in ("data/one.txt", "model.bin"):
        os.chmod(project.path(path), 0o755)
    project.kist("add", "--quiet", "data", "model.bin")
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    project.kist("unprotect", "data", "model.bin")
    for path in ("data/one.txt", "model.bin"):
        assert os.stat(project.path(path)).st_mode & 0o777 == 0o666 & ~current_umask()


def test_a_file_that_others_could_not_read_stays_so(project: Project) -> None:
    os.chmod(project.path("data/one.txt"), 0o500)
    project.kist("unprotect", "data/one.txt")
    assert os.stat(project.path("data/one.txt")).st_mode & 0o777 == 0o600


def test_the_x_bits_of_what_is_not_tracked_stay(project: Project) -> None:
    os.chmod(project.path("code.py"), 0o755)
    os.chmod(project.path("model.bin"), 0o755)
    project.kist("unprotect", ".")
    assert os.stat(project.path("code.py")).st_mode & 0o777 == 0o755
    assert os.stat(project.path("model.bin")).st_mode & 0o777 == 0o644


def test_modes_of_other_files_follow_the_umask_and_the_owners_x_bit_stays(project: Project) -> None:
    os.link(project.path("code.py"), project.path("linked.py"))
    os.chmod(project.path("code.py"), 0o555)
    project.kist("unprotect", "linked.py")
    assert os.stat(project.path("linked.py")).st_mode & 0o777 == 0o744 & ~current_umask() | 0o100
    assert os.stat(project.path("code.py")).st_mode & 0o777 == 0o555


def current_umask() -> int:
    """Returns the umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_only_symlinks_leaves_hard_links_and_modes_alone(project: Project) -> None:
    os.link(project.path("code.py"), project.path("linked.py"))
    os.chmod(project.path("code.py"), 0o444)
    repository = project.repository()
    done = unprotect_paths(repository, [Unit("", MD5, is_data=False)], only_symlinks=True)
    assert done.copied == 0
    assert os.stat(project.path("linked.py")).st_nlink == 2
    assert os.stat(project.path("linked.py")).st_mode & 0o777 == 0o444
    repository.close()


def test_read_only_files_without_a_link_become_writable(project: Project) -> None:
    os.chmod(project.path("data/one.txt"), 0o444)
    repository = project.repository()
    assert unprotect_paths(repository, [Unit("data", MD5)]).copied == 0
    assert os.stat(project.path("data/one.txt")).st_mode & 0o200
    repository.close()


def test_data_of_the_old_kind_is_copied_too(project: Project) -> None:
    project.write({"old.txt": "a\r\nb\r\n"})
    os.link(project.path("old.txt"), project.path("other.txt"))
    repository = project.repository()
    assert unprotect_paths(repository, [Unit("old.txt", LEGACY_MD5)]).copied == 1
    assert os.stat(project.path("old.txt")).st_nlink == 1
    snapshot = look_at(repository, [("old.txt", LEGACY_MD5)], read=False)[0].snapshot
    assert snapshot is not None
    assert snapshot.unread == 1  # the copy's bytes were not hashed the old way
    repository.close()


def test_many_files_are_copied_by_several_processes(project: Project) -> None:
    project.write({f"many/{number:04}": f"content {number}" for number in range(700)})
    project.kist("add", "--quiet", "many")
    project.kist("config", "cache.type", "symlink")
    project.kist("checkout", "--relink", "many")
    project.kist("unprotect", "many")
    found = project.files("many")
    assert found == {f"{number:04}": f"content {number}" for number in range(700)}
    assert not any(os.path.islink(project.path(f"many/{name}")) for name in found)

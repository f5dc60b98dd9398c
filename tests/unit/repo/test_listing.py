"""The union of files and tracked data, and where what a directory holds is taken from."""

from __future__ import annotations

import os

import pytest

from kist.formats.manifest import ManifestError
from kist.repo import listing
from kist.repo.elsewhere import RemoteConfigError, parse_remote_config
from kist.store.loose import ObjectCorruptError
from kist.testing.project import Project


def manifest_path(project: Project) -> str:
    """Returns where the manifest of `data` is."""
    oid = next(oid for oid in project.objects() if oid.endswith(".dir"))
    return project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}")


def names(project: Project, folder: str) -> list[str]:
    """Returns the names in a folder, tracked data only."""
    view = listing.View(project.repository(), dvc_only=True)
    return listing.paths(listing.groups(view, folder, recursive=False), folder)


def test_a_directory_that_was_looked_at_is_known_without_its_manifest(project: Project) -> None:
    project.kist("status")
    os.unlink(manifest_path(project))
    assert names(project, "data") == ["deep", "one.txt", "two.txt"]


def test_after_an_edit_the_manifest_counts_and_not_what_is_there(project: Project) -> None:
    project.write({"data/new.txt": "new", "data/one.txt": "edited"})
    project.kist("status")
    assert names(project, "data") == ["deep", "one.txt", "two.txt"]
    os.unlink(manifest_path(project))
    with pytest.raises(listing.ManifestMissingError):
        names(project, "data")


def test_a_damaged_manifest_is_an_error(project: Project) -> None:
    project.write({"data/new.txt": "new"})
    project.kist("status")
    path = manifest_path(project)
    os.chmod(path, 0o644)
    with open(path, "ab") as stream:
        stream.write(b" ")
    with pytest.raises((ObjectCorruptError, ManifestError)):
        names(project, "data")


def test_names_that_begin_alike_are_no_parts_of_each_other(project: Project) -> None:
    project.write({"data2": "2", "data.txt": "t"})
    view = listing.View(project.repository())
    found = {
        entry.path: entry for entry in listing.entries(view, listing.groups(view, "", recursive=False), "")
    }
    assert found["data"].isout
    assert not found["data2"].isout
    assert not found["data.txt"].isout


def test_outputs_without_a_cache_are_files_like_others(project: Project) -> None:
    project.write(
        {"dvc.yaml": "stages:\n  s:\n    cmd: make\n    metrics:\n      - m.json:\n          cache: false\n"}
    )
    project.write({"m.json": "{}"})
    view = listing.View(project.repository())
    assert not view.entry("", "m.json", False).isout
    assert "m.json" not in names(project, "")


def test_an_output_that_nobody_made_yet_is_listed(project: Project) -> None:
    project.write({"later.dvc": "outs:\n- hash: md5\n  path: later\n"})
    view = listing.View(project.repository())
    assert view.entry("", "later", False) == listing.Entry("later", True, False, False, 0, None)


def test_dangling_links_pipes_and_links_to_folders_do_not_stop_a_listing(project: Project) -> None:
    os.symlink("nothing", project.path("dangling"))
    os.symlink("sub", project.path("way"))
    os.mkfifo(project.path("pipe"))
    view = listing.View(project.repository())
    assert view.entry("", "dangling", False).size == 0
    assert view.entry("", "pipe", False).size == 0
    assert view.children("")["way"] is False
    assert "table.csv" in view.children("way")


def test_a_revision_leaves_repositories_inside_out(project: Project) -> None:
    project.write({"other/.dvc/config": "", "other/inner/file": "1", "plain/file": "1"})
    project.git("add", "--force", ".")
    project.commit()
    view = listing.View(project.repository(), rev="HEAD")
    found = listing.paths(listing.groups(view, "", recursive=True), "")
    assert "plain/file" in found
    assert not [path for path in found if path.startswith(("other", ".dvc/"))]


def test_a_folders_size_at_a_revision_is_that_of_gits_object(project: Project) -> None:
    view = listing.View(project.repository(), rev="HEAD")
    sha = project.git("rev-parse", "HEAD:sub").strip()
    assert view.entry("", "sub", True).size == int(project.git("cat-file", "-s", sha))


@pytest.mark.parametrize(
    ("path", "cwd", "is_rev", "expected"),
    [
        (None, "sub", False, ""),
        ("data", "", False, "data"),
        ("../data", "sub", False, "data"),
        ("../data", "sub", True, "data"),
        ("data/", "sub", True, "data"),
        (".", "sub", False, "sub"),
    ],
)
def test_paths_are_taken_from_where_the_person_is(
    path: str | None, cwd: str, is_rev: bool, expected: str
) -> None:
    root = "/some/where"
    found = listing.path_inside(root, path, cwd=os.path.join(root, cwd).rstrip("/"), is_rev=is_rev)
    assert found == expected


def test_paths_that_lead_out_are_refused() -> None:
    with pytest.raises(listing.PathMissingError):
        listing.path_inside("/some/where", "../../else", cwd="/some/where/sub", is_rev=False)
    with pytest.raises(listing.PathMissingError):
        listing.path_inside("/some/where", "/some/wherever", cwd="/", is_rev=False)


def test_options_of_a_remote_are_name_and_value() -> None:
    assert parse_remote_config(["url=a=b", "jobs=1"]) == {"url": "a=b", "jobs": "1"}
    for word in ("url", "=x", "a=b\nc=d"):
        with pytest.raises(RemoteConfigError):
            parse_remote_config([word])

"""Which objects references name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kist.errors import FormatError
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.git.repository import RevisionMissingError
from kist.remotes.local import FolderRemote
from kist.repo.members import Versions, objects_of
from kist.repo.named import BadDateError, Named, Scope, UnreadableFolderError, UnrecordedError, named
from kist.repo.repository import Repository
from kist.store.loose import LooseStore, ObjectMissingError
from kist.testing.project import Project

Damage = list[tuple[str, FormatError]]


def opened(project: Project) -> Repository:
    return project.repository()


def names(project: Project, scope: Scope, damage: Damage | None = None, *, refs: bool = False) -> list[Named]:
    found: Damage = []
    items = list(
        named(
            opened(project), scope, on_damage=lambda path, error: found.append((path, error)), with_refs=refs
        )
    )
    if damage is None:
        assert found == []
    else:
        damage += found
    return items


def contents(project: Project, scope: Scope) -> set[str]:
    """Returns what the single files that a scope names hold."""
    cache = opened(project).cache
    return {
        cache.read(item.digest.value).decode() for item in names(project, scope) if not item.digest.is_dir
    }


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three versions of `file`, a day each; `side` leaves after the second, and has two of its own."""
    project = Project(str(tmp_path / "project"))
    days = iter(range(1, 10))

    def version(text: str) -> None:
        project.write({"file": text})
        project.kist("add", "-q", "file")
        with monkeypatch.context() as patch:
            patch.setenv("GIT_COMMITTER_DATE", f"2024-01-{next(days):02d}T12:00:00 +0000")
            project.commit()

    version("one")
    version("two")
    project.git("branch", "side")
    version("three")
    project.git("tag", "v3")
    project.git("checkout", "-q", "side")
    version("side one")
    version("side two")
    project.git("checkout", "-q", "-")
    project.kist("checkout", "-q")
    return project


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(), {"three"}),
        (Scope(branches=True), {"three", "side two"}),
        (Scope(branches=True, num=2), {"three", "two", "side one", "side two"}),
        (Scope(branches=True, num=-1), {"one", "two", "three", "side one", "side two"}),
        (Scope(branches=True, num=0), {"three", "side two"}),
        (Scope(tags=True), {"three"}),
        (Scope(revs=("side~1",)), {"three", "side one"}),
        (Scope(revs=("side",), num=3), {"three", "two", "side one", "side two"}),
        (Scope(revs=("side", "v3~2")), {"three", "one", "side two"}),
        (Scope(date="2024-01-04"), {"three", "side one", "side two"}),
        (Scope(commits=True), {"one", "two", "three", "side one", "side two"}),
        (Scope(workspace=False), set()),
        (Scope(experiments=True), {"three"}),
    ],
)
def test_a_scope_names_the_versions_of_its_commits(
    history: Project, scope: Scope, expected: set[str]
) -> None:
    assert contents(history, scope) == expected


def test_the_newest_commit_that_names_a_version_is_told(history: Project) -> None:
    found = {
        item.digest.value: item for item in names(history, Scope(workspace=False, commits=True), refs=True)
    }
    cache = opened(history).cache
    by_text = {cache.read(oid).decode(): item for oid, item in found.items()}
    assert by_text["two"].commit == history.git("rev-parse", "v3~1").strip()
    branch = history.git("branch", "--show-current").strip()
    assert by_text["three"].refs == tuple(sorted(["v3", branch]))
    assert by_text["side two"].refs == ("side",)
    assert by_text["one"].refs == ()
    assert {item.path for item in found.values()} == {"file"}
    assert {item.stage for item in found.values()} == {"file.dvc"}


def test_the_workspace_comes_first_and_has_no_commit(history: Project) -> None:
    first = names(history, Scope(commits=True))[0]
    assert (first.path, first.commit) == ("file", "")


def test_entries_of_the_stash_are_named_when_asked_for(history: Project) -> None:
    for text in ("stashed one", "stashed two"):
        history.write({"file": text})
        history.kist("add", "-q", "file")
        history.git("stash", "-q")
    history.kist("checkout", "-q", "--force")
    assert contents(history, Scope()) == {"three"}
    assert contents(history, Scope(stash=True)) == {"three", "stashed one", "stashed two"}


def test_experiments_are_named_down_to_their_baseline(history: Project) -> None:
    head = history.git("rev-parse", "HEAD").strip()
    for text in ("trial one", "trial two"):
        history.write({"file": text})
        history.kist("add", "-q", "file")
        history.git("commit", "-q", "-a", "-m", text)
    tip = history.git("rev-parse", "HEAD").strip()
    history.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/tidy-lion", tip)
    history.git("reset", "-q", "--hard", head)
    assert contents(history, Scope(experiments=True)) == {"three", "trial one", "trial two"}
    assert "trial one" not in contents(history, Scope(commits=True))


@pytest.mark.parametrize(
    ("scope", "error"),
    [(Scope(revs=("nowhere",)), RevisionMissingError), (Scope(date="1.2.2024"), BadDateError)],
)
def test_what_names_no_commit_is_an_error(history: Project, scope: Scope, error: type[Exception]) -> None:
    with pytest.raises(error):
        names(history, scope)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", FormatError),
        ("<<<<<<< a\n", FormatError),
        ("outs:\n- path: file\n", UnrecordedError),
        ("[1]\n", FormatError),
    ],
)
def test_a_damaged_metafile_is_told_in_the_workspace_and_in_commits(
    history: Project, content: str, error: type[FormatError]
) -> None:
    history.write({"file.dvc": content})
    damage: Damage = []
    assert names(history, Scope(), damage) == []
    history.git("commit", "-q", "-a", "-m", "broken")
    sha = history.git("rev-parse", "HEAD").strip()
    names(history, Scope(workspace=False, branches=True), damage)
    assert [path for path, _ in damage] == ["file.dvc", f"{sha[:7]}:file.dvc"]
    assert all(isinstance(found, error) for _, found in damage)


def test_what_is_not_stored_is_not_named(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "project"))
    project.write(
        {
            "dvc.yaml": "stages:\n  run:\n    cmd: make\n    outs:\n    - kept\n    - left:\n        cache: false\n",
            "dvc.lock": "schema: '2.0'\nstages:\n  run:\n    cmd: make\n    outs:\n"
            + "".join(
                f"    - path: {name}\n      hash: md5\n      md5: {digit * 32}\n"
                for name, digit in (("kept", "a"), ("left", "b"))
            ),
            "not run/dvc.yaml": "stages:\n  run:\n    cmd: make\n    outs:\n    - out\n",
            "tag.dvc": "outs:\n- path: tag\n  etag: abc\n",
            "old.dvc": f"outs:\n- path: old\n  md5: {'c' * 32}\n",
            "files.dvc": f"outs:\n- path: files\n  hash: md5\n  files:\n  - relpath: a\n    md5: {'d' * 32}\n",
        }
    )
    assert {(item.path, item.digest) for item in names(project, Scope())} == {
        ("kept", Digest(MD5, "a" * 32)),
        ("old", Digest(LEGACY_MD5, "c" * 32)),
        ("files", Digest(MD5, "34f189121a00339c09d98c3150ecc59f.dir")),  # what its list stands for
    }


def test_a_pipeline_is_read_anew_where_its_parameters_change(tmp_path: Path) -> None:
    """Neither dvc.yaml nor dvc.lock differ between the commits: what they name hangs on the file of parameters."""
    project = Project(str(tmp_path / "project"))
    lock = "schema: '2.0'\nstages:\n  run:\n    cmd: make\n    outs:\n"
    for name, digit in (("one", "1"), ("two", "2"), ("three", "3")):
        lock += f"    - path: {name}\n      hash: md5\n      md5: {digit * 32}\n"
    project.write(
        {
            "sub/dvc.yaml": "vars:\n- more.yaml\nstages:\n  run:\n    cmd: make\n    outs:\n    - ${name}\n    - ${other}\n",
            "sub/dvc.lock": lock,
            "sub/params.yaml": "name: one\n",
            "sub/more.yaml": "other: two\n",
        }
    )
    project.commit()
    project.write({"sub/more.yaml": "other: three\n"})
    project.commit()
    project.write({"sub/params.yaml": "name: nothing\n", "sub/more.yaml": "other: no such\n"})
    project.commit()
    found = {(item.path, item.digest.value[0]) for item in names(project, Scope(commits=True))}
    assert found == {("sub/one", "1"), ("sub/two", "2"), ("sub/three", "3")}


def test_a_repository_below_the_top_of_git_has_its_own_names(tmp_path: Path) -> None:
    top = Project(str(tmp_path / "top"))
    top.write({"outer": "outer\n"})
    top.kist("add", "-q", "outer")
    os.makedirs(top.path("sub"))
    top.kist("init", "-q", "--subdir", cwd="sub")
    top.write({"sub/inner": "inner\n"})
    top.kist("add", "-q", "inner", cwd="sub")
    top.commit()
    inner = Repository.find(
        top.path("sub"), config_paths=top.repository()._config_paths, environ=dict(os.environ)
    )
    found = list(named(inner, Scope(commits=True), on_damage=lambda path, error: pytest.fail(path)))
    assert {item.path for item in found} == {"inner"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_told(history: Project) -> None:
    os.mkdir(history.path("closed"), mode=0)
    damage: Damage = []
    try:
        names(history, Scope(), damage)
    finally:
        os.chmod(history.path("closed"), 0o700)
    assert [(path, type(error)) for path, error in damage] == [("closed", UnreadableFolderError)]


# Members


def test_a_directory_needs_its_manifest_and_its_members(project: Project) -> None:
    repository = project.repository()
    item = next(item for item in names(project, Scope()) if item.path == "data")
    found = objects_of(repository, item.digest)
    assert len(found) == 4 and item.digest.value in found
    assert objects_of(repository, Digest(MD5, "a" * 32)) == {"a" * 32}


def test_a_manifest_that_the_cache_lacks_is_read_from_a_remote_and_not_kept(
    project: Project, tmp_path: Path
) -> None:
    repository = project.repository()
    item = next(item for item in names(project, Scope()) if item.path == "data")
    expected = objects_of(repository, item.digest)
    store = LooseStore(str(tmp_path / "remote"))
    store.write_small(item.digest.value, repository.cache.read(item.digest.value))
    os.unlink(repository.cache.path(item.digest.value))
    with pytest.raises(ObjectMissingError):
        objects_of(repository, item.digest)
    remote = FolderRemote("store", store.base, store.base, index=repository.index)
    assert objects_of(repository, item.digest, remotes=[remote]) == expected
    assert not repository.cache.has(item.digest.value)
    assert not [name for name in os.listdir(repository.dvc_dir + "/tmp/kist") if name.startswith(".kist-")]


def test_versions_of_a_path_are_told_by_what_is_new_in_them() -> None:
    def manifest(**files: str) -> bytes:
        return json.dumps([{"md5": oid * 32, "relpath": name} for name, oid in files.items()]).encode()

    versions = Versions()
    assert versions.news("data", manifest(a="1", b="2"), name="x") == {"1" * 32, "2" * 32}
    assert versions.news("data", manifest(a="1", b="3"), name="y") == {"3" * 32}
    assert versions.news("other", manifest(a="1"), name="z") == {"1" * 32}
    # A path that may not be written hides no member.
    assert versions.news("data", b'[{"md5": "%s", "relpath": "../x"}]' % (b"4" * 32), name="w") == {"4" * 32}

"""`kist expire`: old files leave the branch, by the date of a name, a commit or a table; storage is freed by gc."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from kist.testing.project import Project

from .helpers import copy_of

DATED = {
    "prices/2023-11-30.csv": "30 November\n",
    "prices/2023-12.csv": "December\n",
    "prices/2024/01/05.csv": "5 January\n",
    "prices/2024/02/29.csv": "29 February\n",
    "prices/README": "what these are\n",
    "2023-01-01.log": "log\n",
    "model.bin": "model\n",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(str(tmp_path_factory.mktemp("made") / "project"))
    project.write(DATED)
    project.kist("save", "-q", "prices", "2023-01-01.log", "model.bin", "-m", "dated")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    return copy_of(made, tmp_path)


def listed(project: Project, *words: str) -> dict[str, list[str]]:
    """Returns output -> files that would go."""
    paths = json.loads(project.kist("expire", *words, "--json").out)["paths"]
    return {path["path"]: path["files"] for path in paths}


def seen(project: Project) -> dict[str, bytes]:
    found = {}
    for folder, folders, names in os.walk(project.root):
        folders[:] = [name for name in folders if name not in (".git", "tmp")]
        for name in names:
            path = Path(folder, name)
            found[os.path.relpath(path, project.root)] = path.read_bytes()
    return found


def test_without_apply_nothing_changes_and_a_table_tells_what_would_go(project: Project) -> None:
    before = seen(project)
    answer = project.kist("expire", "--before", "2024-02-01")
    assert seen(project) == before
    assert [line.split() for line in answer.out.splitlines()[:3]] == [
        ["files", "size", "oldest", "newest", "path"],
        ["1", "4", "B", "2023-01-01", "2023-01-01", "2023-01-01.log"],
        ["3", "31", "B", "2023-11-30", "2024-01-05", "prices/"],
    ]
    assert answer.out.splitlines()[3:] == [
        "Stays: 1 file not that old, 2 files without a date.",
        "4 files, 35 B, would leave this branch; nothing has changed yet.",
    ]
    assert answer.err == "hint: kist expire --before 2024-02-01 --apply\n"


def test_with_apply_the_files_leave_the_branch_and_the_workspace(project: Project) -> None:
    objects = project.objects()
    answer = project.kist("expire", "--before", "2024-02-01", "--apply")
    assert project.files("prices") == {"2024/02/29.csv": "29 February\n", "README": "what these are\n"}
    assert not project.exists("2023-01-01.log") and not project.exists("2023-01-01.log.dvc")
    assert not project.exists("prices/2024/01")
    assert project.read("model.bin") == "model\n"
    assert "up to date" in project.kist("status").out
    assert "kist gc" in answer.out and answer.err == "hint: kist save\n"
    # Nothing of what was stored is gone, and nothing is committed.
    assert objects.items() <= project.objects().items()
    assert project.git("log", "--format=%s").split() == ["dated"]
    assert sorted(project.git("status", "--porcelain").split("\n")) == [
        "",
        " D 2023-01-01.log.dvc",
        " M .gitignore",
        " M prices.dvc",
    ]
    project.kist("save")
    assert project.git("status", "--porcelain") == ""
    project.kist("switch", "HEAD~1")
    assert project.files("prices") == {
        path.removeprefix("prices/"): text for path, text in DATED.items() if path.startswith("prices/")
    }


def test_the_metafile_is_the_one_that_add_would_write(project: Project) -> None:
    project.kist("expire", "--before", "2024-02-01", "--apply")
    by_expire = project.read("prices.dvc")
    project.kist("add", "prices")
    assert project.read("prices.dvc") == by_expire
    assert project.git("diff", "--stat", "--", "prices.dvc") != ""


def test_data_that_was_never_fetched_expires_by_its_list_of_files(project: Project) -> None:
    whole = project.read("prices.dvc")
    for rel, text in DATED.items():
        oid = hashlib.md5(text.encode()).hexdigest()
        os.chmod(project.path(f".dvc/cache/files/md5/{oid[:2]}"), 0o777)
        os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
        os.unlink(project.path(rel))
    done = json.loads(project.kist("expire", "prices", "--before", "2024-02-01", "--apply", "--json").out)
    assert done["applied"] and done["removed"] == 0
    assert [path["bytes"] for path in done["paths"]] == [None]
    assert project.read("prices.dvc") != whole
    assert "nfiles: 2" in project.read("prices.dvc") and "size" not in project.read("prices.dvc")


def test_a_part_of_a_directory_expires_alone(project: Project) -> None:
    assert listed(project, "--older-than", "0d", "prices/2024") == {
        "prices": ["prices/2024/01/05.csv", "prices/2024/02/29.csv"]
    }
    project.kist("expire", "--older-than", "0d", "prices/2024", "--apply")
    assert sorted(project.files("prices")) == ["2023-11-30.csv", "2023-12.csv", "README"]
    assert "nfiles: 3" in project.read("prices.dvc")


def test_a_directory_of_which_everything_goes_stays_tracked(project: Project) -> None:
    project.kist("expire", "--older-than", "0d", "--by", "commit", "prices", "--apply")
    assert project.files("prices") == {} and project.exists("prices")
    assert "nfiles: 0" in project.read("prices.dvc")
    project.kist("save")
    assert "up to date" in project.kist("status").out
    project.write({"prices/2030-01-01.csv": "new\n"})
    project.kist("save")
    assert "nfiles: 1" in project.read("prices.dvc")


def test_edits_that_are_saved_nowhere_are_named_and_nothing_changes(project: Project) -> None:
    project.write({"prices/2023-12.csv": "edited\n"})
    before = seen(project)
    answer = project.try_kist("expire", "--before", "2024-02-01", "--apply")
    assert answer.code == 1
    assert "saved nowhere and would be lost: 'prices/2023-12.csv'" in answer.err
    assert "`kist save`" in answer.err and "`kist checkout --force prices/2023-12.csv`" in answer.err
    assert seen(project) == before
    # What is edited and is not over stays as it is, and so does what was never saved.
    project.kist("checkout", "--force", "prices/2023-12.csv")
    project.write({"prices/README": "edited\n", "prices/2020-01-01.csv": "never saved\n"})
    project.kist("expire", "--before", "2024-02-01", "--apply")
    assert project.files("prices") == {
        "2020-01-01.csv": "never saved\n",
        "2024/02/29.csv": "29 February\n",
        "README": "edited\n",
    }


def test_the_only_copy_of_a_file_is_kept(project: Project) -> None:
    oid = hashlib.md5(b"December\n").hexdigest()
    os.chmod(project.path(f".dvc/cache/files/md5/{oid[:2]}"), 0o777)
    os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    answer = project.try_kist("expire", "--before", "2024-02-01", "--apply")
    assert answer.code == 1 and "'prices/2023-12.csv'" in answer.err
    assert project.read("prices/2023-12.csv") == "December\n"
    project.kist("save")
    project.kist("expire", "--before", "2024-02-01", "--apply")


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_go_and_their_objects_stay(project: Project, link: str) -> None:
    project.kist("config", "cache.type", link)
    project.kist("checkout", "--relink")
    objects = project.objects()
    project.kist("expire", "--before", "2024-02-01", "--apply")
    assert objects.items() <= project.objects().items()
    assert sorted(project.files("prices")) == ["2024/02/29.csv", "README"]


def test_one_metafile_of_several_outputs_keeps_the_others(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "project"))
    project.write({"a-2023-01-01": "a\n", "b": "b\n", "c-2023-01-02": "c\n"})
    ids = {
        name: hashlib.md5(f"{name[0]}\n".encode()).hexdigest()
        for name in ("a-2023-01-01", "b", "c-2023-01-02")
    }
    rows = "".join(f"- md5: {oid}\n  size: 2\n  hash: md5\n  path: {name}\n" for name, oid in ids.items())
    project.write({"all.dvc": f"outs:\n{rows}", ".gitignore": "".join(f"/{name}\n" for name in ids)})
    project.kist("commit", "-q", "-f")
    project.commit()
    project.kist("expire", "--older-than", "1y", "--apply")
    assert project.exists("b") and not project.exists("a-2023-01-01") and not project.exists("c-2023-01-02")
    assert "path: b\n" in project.read("all.dvc") and project.read("all.dvc").count("path:") == 1
    assert project.read(".gitignore") == "/b\n"
    assert "up to date" in project.kist("status").out


def commit_at(project: Project, day: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{day}T12:00:00Z")
    project.kist("save", "-q", *words)


def test_by_commit_a_file_is_as_old_as_its_content_in_the_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(str(tmp_path / "project"))
    project.write({"data/same": "1\n", "data/changed": "1\n", "data/back": "1\n", "model": "1\n"})
    commit_at(project, "2020-01-01", monkeypatch, "data", "model")
    os.unlink(project.path("data/back"))
    project.write({"data/changed": "2\n"})
    commit_at(project, "2021-01-01", monkeypatch)
    project.write({"data/back": "1\n", "data/new": "1\n"})
    commit_at(project, "2022-01-01", monkeypatch)
    project.write({"data/unsaved": "1\n"})
    project.kist("add", "-q", "data")
    by = ("--by", "commit")
    assert listed(project, *by, "--before", "2020-01-01") == {"data": [], "model": []}
    assert listed(project, *by, "--before", "2020-06-01") == {"data": ["data/same"], "model": ["model"]}
    assert listed(project, *by, "--before", "2021-06-01", "data") == {"data": ["data/changed", "data/same"]}
    rest = json.loads(project.kist("expire", *by, "--before", "2023-01-01", "data", "--json").out)["paths"][0]
    assert rest["files"] == ["data/back", "data/changed", "data/new", "data/same"]
    # No commit has it yet.
    assert (rest["kept"], rest["undated"]) == (0, 1)


def test_by_commit_a_merge_brings_nothing_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(str(tmp_path / "project"))
    project.git("symbolic-ref", "HEAD", "refs/heads/main")
    project.write({"data/base": "1\n"})
    commit_at(project, "2020-01-01", monkeypatch, "data")
    project.kist("switch", "-q", "-c", "side")
    project.write({"data/side": "1\n"})
    commit_at(project, "2021-01-01", monkeypatch)
    project.kist("switch", "-q", "main")
    project.write({"data/main": "1\n"})
    commit_at(project, "2022-01-01", monkeypatch)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2023-01-01T12:00:00Z")
    project.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    project.write({"data/side": "1\n"})
    project.kist("add", "-q", "data")
    project.git("commit", "-q", "-a", "--no-edit")
    by = ("--by", "commit")
    assert listed(project, *by, "--before", "2021-06-01") == {"data": ["data/base", "data/side"]}
    assert listed(project, *by, "--before", "2022-06-01") == {"data": ["data/base", "data/main", "data/side"]}


def test_by_commit_a_list_that_is_lost_makes_files_younger_never_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(str(tmp_path / "project"))
    project.write({"data/one": "1\n"})
    commit_at(project, "2020-01-01", monkeypatch, "data")
    lost = project.read("data.dvc").split("md5: ")[1].split("\n")[0]
    project.write({"data/two": "1\n"})
    commit_at(project, "2021-01-01", monkeypatch)
    assert listed(project, "--by", "commit", "--before", "2020-06-01") == {"data": ["data/one"]}
    os.unlink(project.path(f".dvc/cache/files/md5/{lost[:2]}/{lost[2:]}"))
    kept = project.path(f".dvc/tmp/kist/manifests/files/md5/{lost[:2]}/{lost[2:]}")
    if os.path.lexists(kept):
        os.unlink(kept)
    assert listed(project, "--by", "commit", "--before", "2020-06-01") == {"data": []}
    assert listed(project, "--by", "commit", "--before", "2021-06-01") == {"data": ["data/one", "data/two"]}


TABLES = {
    "labels.csv": "file,valid_until\na.jpg,2020-01-01\n./sub/b.jpg,2020-02-02\nc.jpg,\nc.jpg,2099-01-01\nx.jpg,2000-01-01\n",
    "labels.tsv": "file\tvalid_until\na.jpg\t2020-01-01\nsub/b.jpg\t2020-02\n",
    "labels.jsonl": '{"file": "a.jpg", "valid_until": "2020-01-01T00:00:00+02:00"}\n\n'
    '{"file": "sub/b.jpg", "valid_until": "2020-02-02"}\n{"file": "c.jpg", "valid_until": null}\n{"file": "d"}\n',
    "labels.json": '[{"file": "a.jpg", "valid_until": "20200101"}, {"file": "sub/b.jpg", "valid_until": "2020/02/02"}]',
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("place", ["inside", "beside", "root"])
def test_a_column_of_a_table_tells_until_when_files_are_valid(tmp_path: Path, table: str, place: str) -> None:
    project = Project(str(tmp_path / "project"))
    project.write({f"photos/{name}": name for name in ("a.jpg", "sub/b.jpg", "c.jpg", "d.jpg")})
    text = TABLES[table]
    if place == "root":
        for name in ("a.jpg", "./sub/b.jpg", "sub/b.jpg", "c.jpg"):
            for mark in (f'"{name}"', f"\n{name}"):
                text = text.replace(mark, mark[0] + f"photos/{name}" + mark[1 + len(name) :])
    project.write({f"photos/{table}" if place == "inside" else table: text})
    project.kist("save", "-q", "photos")
    by = ("--older-than", "0d", "--by", f"column:{table}:valid_until")
    assert listed(project, *by) == {"photos": ["photos/a.jpg", "photos/sub/b.jpg"]}
    project.kist("expire", *by, "--apply")
    assert not project.exists("photos/a.jpg") and project.exists("photos/c.jpg")
    assert project.exists(f"photos/{table}" if place == "inside" else table)


def test_a_table_that_is_not_in_the_workspace_is_read_from_the_cache(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "project"))
    project.write({"photos/a.jpg": "a", "photos/index.csv": "photo,until\na.jpg,2020-01-01\n"})
    project.kist("save", "-q", "photos")
    os.unlink(project.path("photos/index.csv"))
    by = ("--older-than", "0d", "--by", "column:index.csv:until:photo")
    assert listed(project, *by) == {"photos": ["photos/a.jpg"]}


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("column:none.csv:until", "cannot find table 'none.csv'"),
        ("column:index.csv:until", "it has no column 'until'"),
        ("column:index.csv:date", "no column says by its name that it names files"),
        ("column:index.csv:date:file", "it has no column 'file'"),
        ("column:bad.json:date:file", "cannot read 'bad.json'"),
        ("column:bad.csv:date:file", "cannot read 'bad.csv'"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(project: Project, by: str, says: str) -> None:
    project.write({"index.csv": "photo,date\nprices/README,2020-01-01\n", "bad.json": "[{"})
    with open(project.path("bad.csv"), "wb") as stream:
        stream.write(b"file,date\n\xff\xfe,2020-01-01\n")
    before = seen(project)
    answer = project.try_kist("expire", "--older-than", "0d", "--by", by, "--apply")
    assert answer.code == 1 and says in answer.err
    assert seen(project) == before


def test_what_others_make_is_refused_when_named_and_left_out_otherwise(project: Project) -> None:
    oid = hashlib.md5(b"model\n").hexdigest()
    imported = (
        f"deps:\n- path: /elsewhere/x\nouts:\n- md5: {oid}\n  size: 6\n  hash: md5\n  path: 2020-01-01.csv\n"
    )
    stage = "stages:\n  train:\n    cmd: ./train\n    outs: [2020-02-02.bin]\n"
    lock = f"schema: '2.0'\nstages:\n  train:\n    cmd: ./train\n    outs:\n    - path: 2020-02-02.bin\n      hash: md5\n      md5: {oid}\n      size: 6\n"
    project.write({"2020-01-01.csv.dvc": imported, "dvc.yaml": stage, "dvc.lock": lock})
    for path, says in (("2020-01-01.csv", "imports it from elsewhere"), ("2020-02-02.bin", "makes it")):
        answer = project.try_kist("expire", "--older-than", "1d", path)
        assert answer.code == 1 and says in answer.err
    assert set(listed(project, "--older-than", "1d")) == {"2023-01-01.log", "model.bin", "prices"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--older-than", "90"), 254),
        (("--before", "yesterday"), 254),
        (("--older-than", "1d", "--before", "2024-01-01"), 254),
        ((), 254),
        (("--older-than", "1d", "--by", "size"), 254),
        (("--older-than", "1d", "--by", "column:labels.csv"), 254),
        (("--older-than", "1d", "nothing"), 1),
        (("--older-than", "1d", "prices/nothing"), 1),
    ],
)
def test_what_cannot_be_understood_is_said(project: Project, words: tuple[str, ...], code: int) -> None:
    answer = project.try_kist("expire", *words)
    assert answer.code == code
    assert answer.err.startswith("error: ") and answer.out == ""


def test_without_git_there_is_no_branch_to_leave(tmp_path: Path) -> None:
    project = Project(str(tmp_path / "project"), git=False)
    answer = project.try_kist("expire", "--older-than", "1d")
    assert answer.code == 1 and "no Git repository" in answer.err


def test_a_list_of_files_that_is_nowhere_is_an_error_and_one_on_the_remote_is_read(
    project: Project, tmp_path: Path
) -> None:
    oid = project.read("prices.dvc").split("md5: ")[1].split("\n")[0]
    project.kist("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.kist("push", "-q")
    os.unlink(project.path(f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"))
    assert listed(project, "--before", "2023-12-15", "prices") == {"prices": ["prices/2023-11-30.csv"]}
    project.kist("remote", "remove", "store")
    import shutil

    shutil.rmtree(project.path(".dvc/tmp"))
    answer = project.try_kist("expire", "--before", "2023-12-15", "prices")
    assert answer.code == 1 and "neither in the cache nor on a remote" in answer.err
    assert "hint: kist fetch prices" in answer.err


def test_the_shape_of_json(project: Project) -> None:
    found = json.loads(project.kist("expire", "--before", "2023-12-15", "--json").out)
    assert found["applied"] is False and found["over_by"] == "2023-12-15T00:00:00Z"
    assert found["removed"] == 0 and found["to_stage"] == []
    assert found["paths"][2] == {
        "path": "prices",
        "metafile": "prices.dvc",
        "files": ["prices/2023-11-30.csv"],
        "bytes": 12,
        "oldest": "2023-11-30",
        "newest": "2023-11-30",
        "kept": 3,
        "undated": 1,
    }


def test_from_a_folder_below_paths_are_told_from_there(project: Project) -> None:
    answer = project.kist("expire", "--before", "2023-12-15", "-v", ".", cwd="prices")
    assert "  2023-11-30.csv" in answer.out.splitlines()

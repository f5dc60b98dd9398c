"""kist.api: reading, urls, and running pipelines from Python."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist import api
from kist.api import BadModeError
from kist.repo.reading import CheckedStream, DataMissingError, IsADirError, NoSuchFileError, NotTrackedError
from kist.repo.repro import ReproError
from kist.store.loose import ObjectCorruptError
from kist.testing.project import Project
from kist.testing.web_server import WebServer


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, as the current folder."""
    monkeypatch.chdir(project.root)
    return project


def lose(project: Project, *, cache: bool = True) -> None:
    """Removes all data, and with `cache` all objects."""
    for rel in ("data", "sub/table.csv", "model.bin"):
        subprocess.run(["rm", "-rf", project.path(rel)], check=True)
    if cache:
        subprocess.run(["rm", "-rf", project.path(".dvc/cache")], check=True)


def test_files_are_read_from_disk_git_and_the_cache(here: Project) -> None:
    assert api.read("data/one.txt") == "one\n"
    assert api.read("code.py") == "print()\n"
    here.write({"data/one.txt": "edited\n"})
    assert api.read("data/one.txt") == "edited\n"
    assert api.read("data/one.txt", rev="HEAD") == "one\n"
    assert api.read("code.py", rev="HEAD", mode="rb") == b"print()\n"
    lose(here, cache=False)
    assert api.read("data/deep/three.txt") == "three\n"
    assert api.read("model.bin", mode="rb") == b"model\n"
    with api.open("sub/table.csv") as stream:
        assert list(stream) == ["a,b\n"]


def test_paths_begin_here_but_with_a_revision_at_the_root(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.path("sub"))
    assert api.read("table.csv") == "a,b\n"
    assert api.read("../model.bin") == "model\n"
    assert api.read("sub/table.csv", rev="HEAD") == "a,b\n"
    assert api.read(here.path("model.bin")) == "model\n"


def test_another_repository_is_read_by_its_path(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert api.read("data/two.txt", repo=project.root) == "two\n"
    assert api.read("data/two.txt", repo=project.root, rev="HEAD") == "two\n"
    assert api.all_branches(project.root) == [project.git("branch", "--show-current").strip()]
    project.git("tag", "v1")
    assert api.all_tags(project.root) == ["v1"]
    assert api.all_commits(project.root) == [project.git("rev-parse", "HEAD").strip()]


def test_a_repository_at_an_address_is_read(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    here.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    here.kist("push")
    here.commit()
    here.git("tag", "v1")
    here.write({"params.yaml": "lr: 1\n", "dvc.yaml": "params: [params.yaml]\n"})
    here.commit()
    url = f"file://{here.root}"
    monkeypatch.chdir(tmp_path)
    assert api.read("model.bin", repo=url) == "model\n"
    assert api.read("data/deep/three.txt", repo=url, rev="v1") == "three\n"
    assert api.get_url("model.bin", repo=url).startswith(str(tmp_path / "remote"))
    assert api.params_show(repo=url) == {"lr": 1}
    assert api.params_show(repo=url, rev="v1") == {}


def test_an_experiment_is_saved(here: Project) -> None:
    here.write({"code.py": "print(1)\n"})
    assert api.exp_save("mine") == "mine"
    assert "refs/exps/" in here.git("for-each-ref")


def test_an_encoding_is_heeded_and_modes_for_writing_are_refused(here: Project) -> None:
    Path(here.path("text")).write_bytes("caf\u00e9\r\n".encode("latin-1"))
    assert api.read("text", encoding="latin-1") == "caf\u00e9\n"
    with pytest.raises(BadModeError):
        api.open("text", mode="w")
    with pytest.raises(ValueError, match="not for reading"):
        api.read("text", mode="a")


@pytest.mark.parametrize("rev", [None, "HEAD"])
def test_what_is_not_there_is_an_error_that_python_knows(here: Project, rev: str | None) -> None:
    for path in ("none", "data/none", "sub/none"):
        with pytest.raises(NoSuchFileError):
            api.read(path, rev=rev)
        with pytest.raises(FileNotFoundError):
            api.read(path, rev=rev)
    for path in ("data", "data/deep", "sub"):
        with pytest.raises(IsADirError):
            api.read(path, rev=rev)
        with pytest.raises(IsADirectoryError):
            api.read(path, rev=rev)


def test_data_that_is_nowhere_says_what_to_do(here: Project) -> None:
    lose(here)
    with pytest.raises(DataMissingError, match="there is no remote"):
        api.read("model.bin")
    here.kist("remote", "add", "-d", "store", here.path("remote"))
    with pytest.raises(DataMissingError, match="from remote 'store'") as caught:
        api.read("model.bin")
    assert "kist push" in str(caught.value.hint)


def test_a_folder_remote_gives_what_the_cache_lacks_and_the_cache_stays_as_it_is(here: Project) -> None:
    here.kist("remote", "add", "-d", "store", here.path("remote"))
    here.kist("push")
    lose(here)
    assert api.read("model.bin") == "model\n"
    assert api.read("data/deep/three.txt", rev="HEAD") == "three\n"
    assert here.objects() == {}


@pytest.fixture
def served(here: Project, tmp_path: Path) -> Iterator[tuple[Project, WebServer]]:
    """The project with all data on a web server alone."""
    with WebServer(str(tmp_path / "www")) as server:
        here.kist("remote", "add", "-d", "store", f"{server.url}/base")
        here.kist("push")
        lose(here)
        yield here, server


def test_a_service_gives_what_the_cache_lacks(served: tuple[Project, WebServer]) -> None:
    project, _ = served
    assert api.read("model.bin") == "model\n"
    with api.open("data/one.txt", mode="rb") as stream:
        assert stream.read(2) == b"on"
        stream.seek(0)
        assert stream.read() == b"one\n"
        assert stream.tell() == 4
    assert project.objects() == {}


def test_a_damaged_object_of_a_service_is_no_content(served: tuple[Project, WebServer]) -> None:
    _, server = served
    oid = hashlib.md5(b"model\n").hexdigest()
    Path(server.folder, "base/files/md5", oid[:2], oid[2:]).write_bytes(b"m0del\n")
    with pytest.raises(ObjectCorruptError):
        api.read("model.bin")


def test_a_damaged_object_of_the_cache_is_passed_over(here: Project) -> None:
    here.kist("remote", "add", "-d", "store", here.path("remote"))
    here.kist("push")
    lose(here, cache=False)
    oid = hashlib.md5(b"model\n").hexdigest()
    path = Path(here.path(".dvc/cache/files/md5"), oid[:2], oid[2:])
    path.chmod(0o644)
    path.write_bytes(b"m0del\n")
    assert api.read("model.bin") == "model\n"


def test_a_remote_of_another_name_and_settings_for_one_call(here: Project, tmp_path: Path) -> None:
    here.kist("remote", "add", "store", str(tmp_path / "elsewhere"))
    here.kist("push", "-r", "store")
    lose(here)
    assert api.read("model.bin", remote="store") == "model\n"
    assert api.read("model.bin", config={"core": {"remote": "store"}}) == "model\n"
    other = {"remote": {"x": {"url": str(tmp_path / "elsewhere")}}, "core": {"remote": "x"}}
    assert api.read("model.bin", config=other) == "model\n"
    (tmp_path / "settings").write_text("[core]\n    remote = store\n")
    assert api.read("model.bin", config=str(tmp_path / "settings")) == "model\n"
    here.kist("remote", "modify", "store", "url", "/nowhere")
    moved = {"url": str(tmp_path / "elsewhere")}
    assert api.read("model.bin", remote="store", remote_config=moved) == "model\n"


def test_a_url_is_told_without_a_look(here: Project) -> None:
    here.kist("remote", "add", "-d", "store", here.path("remote"))
    oid = hashlib.md5(b"model\n").hexdigest()
    assert api.get_url("model.bin") == here.path(f"remote/files/md5/{oid[:2]}/{oid[2:]}")
    assert api.get_url("data").endswith(".dir")
    inner = hashlib.md5(b"three\n").hexdigest()
    assert api.get_url("data/deep/three.txt").endswith(f"{inner[:2]}/{inner[2:]}")
    with pytest.raises(NotTrackedError):
        api.get_url("code.py")
    with pytest.raises(NotTrackedError):
        api.get_url("data/deep")
    with pytest.raises(NoSuchFileError):
        api.get_url("none")


def test_a_stream_is_checked_at_its_end_and_after_a_seek() -> None:
    data = os.urandom(1000)
    oid = hashlib.md5(data).hexdigest()

    def blocks(size: int = 64) -> Iterator[bytes]:
        return (data[at : at + size] for at in range(0, len(data), size))

    stream = CheckedStream(blocks, oid)
    assert stream.readall() == data
    stream = CheckedStream(blocks, oid)
    assert stream.read(10) == data[:10] and stream.tell() == 10
    assert stream.seek(0, os.SEEK_CUR) == 10
    assert stream.seek(-5, os.SEEK_END) == 995
    assert stream.read(100) == data[995:]
    assert stream.seek(3) == 3 and stream.read(4) == data[3:7]
    stream.close()
    for use in (lambda bad: bad.readall(), lambda bad: bad.seek(5)):
        with pytest.raises(ObjectCorruptError):
            use(CheckedStream(blocks, "0" * 32))


def pipeline(project: Project) -> None:
    project.write(
        {
            "dvc.yaml": "stages:\n"
            "  one:\n    cmd: echo $(cat code.py) > one.out\n    deps: [code.py]\n    outs: [one.out]\n"
            "  two:\n    cmd: cat one.out one.out > two.out\n    deps: [one.out]\n    outs: [two.out]\n",
            "code.py": "1\n",
        }
    )


def test_repro_returns_what_ran(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline(here)
    monkeypatch.chdir(here.path("sub"))
    first = api.repro()
    assert first.ran == ["one", "two"] and first.unchanged == []
    assert here.read("two.out") == "1\n1\n"
    second = api.repro("two")
    assert second.ran == [] and second.unchanged == ["one", "two"]
    assert api.repro(["two"], single=True, force=True).ran == ["two"]


def test_repro_raises_what_failed(here: Project) -> None:
    pipeline(here)
    here.write({"dvc.yaml": here.read("dvc.yaml").replace("cat one.out", "false")})
    with pytest.raises(ReproError, match="two"):
        api.repro()
    assert api.repro("one").unchanged == ["one"]
    with pytest.raises(ReproError, match="two"):
        api.repro(keep_going=True)


def test_data_is_added_pushed_and_pulled(here: Project, tmp_path: Path) -> None:
    here.kist("remote", "add", "-d", "store", str(tmp_path / "remote"))
    here.write({"new.txt": "new\n"})
    assert sorted(api.add("new.txt")) == [".gitignore", "new.txt.dvc"]
    assert api.push() > 0
    assert api.push() == 0
    lose(here)
    assert api.fetch("model.bin") == 1
    api.pull()
    assert here.read("data/two.txt") == "two\n"
    lose(here)
    subprocess.run(["rm", "-rf", str(tmp_path / "remote" / "files")], check=True)
    with pytest.raises(api.TransferFailedError, match="missing"):
        api.fetch("model.bin")


def test_importing_the_interface_loads_nothing_of_others() -> None:
    script = "import sys, json, kist.api; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"ruamel", "urllib3", "pyfastcdc", "fsspec", "sqlite3", "subprocess"}

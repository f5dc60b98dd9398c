"""`import`, `import-url`, `update`, `get`, `get-url`, `list-url`: data from elsewhere, and what must never happen to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.testing.project import Project
from kist.testing.web_server import Handler, WebServer


class Pair:
    """A repository with data on a remote, `source`, and one that takes from it, `here`; `far` is its Git address."""

    def __init__(self, folder: Path) -> None:
        self.source = Project(str(folder / "source"))
        self.source.kist("remote", "add", "-q", "-d", "store", str(folder / "store"))
        self.source.write(
            {
                "data/a.txt": "a\n",
                "data/sub/b.txt": "b\n",
                "data/sub/again.txt": "a\n",
                "model.bin": "model\n",
                "code/run.py": "run\n",
                "code/deep/x": "x\n",
                "mixed/in-git": "git\n",
                "mixed/tracked": "tracked\n",
            }
        )
        self.source.kist("add", "-q", "data", "model.bin", "mixed/tracked")
        self.source.commit()
        self.source.git("tag", "v1")
        self.source.kist("push", "-q")
        self.far = f"file://{folder}/far.git"
        subprocess.run(
            ["git", "clone", "-q", "--bare", self.source.root, str(folder / "far.git")], check=True
        )
        self.here = Project(str(folder / "here"))
        self.here.commit()

    def newer(self) -> None:
        """Makes and pushes a newer version of `data`."""
        self.source.write({"data/new.txt": "new\n"})
        self.source.kist("add", "-q", "data")
        self.source.commit()
        self.source.kist("push", "-q")
        self.source.git("push", "-q", "../far.git", "HEAD", "--tags")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    Pair(folder)
    return folder


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> Pair:
    folder = tmp_path / "pair"
    shutil.copytree(made, folder, symlinks=True)
    found = Pair.__new__(Pair)
    found.source, found.here = Project.at(str(folder / "source")), Project.at(str(folder / "here"))
    found.source.kist("remote", "modify", "-q", "store", "url", str(folder / "store"))
    found.source.commit()
    found.far = f"file://{folder}/far.git"
    found.source.git("push", "-q", "../far.git", "HEAD")
    return found


DATA = {"a.txt": "a\n", "sub/b.txt": "b\n", "sub/again.txt": "a\n"}


def test_data_of_an_address_is_imported_and_comes_back_to_a_clone(pair: Pair) -> None:
    here = pair.here
    here.kist("import", "-q", pair.far, "data", "--rev", "v1")
    assert here.files("data") == DATA
    assert pair.far in here.read("data.dvc") and "rev: v1" in here.read("data.dvc")
    here.commit()
    here.git("clone", "-q", ".", "../clone")
    clone = Project.at(here.path("../clone"))
    assert clone.kist("pull").out == "A\tdata/\n3 files fetched and 3 files added\n"
    assert clone.files("data") == DATA
    assert clone.kist("status").out == "Data and pipelines are up to date.\n"


def test_files_of_git_parts_and_mixed_folders_are_imported_alike(pair: Pair) -> None:
    here = pair.here
    for path, out in (
        ("code", "c"),
        ("code/run.py", "r"),
        ("mixed", "m"),
        ("data/sub", "s"),
        ("data/a.txt", "t"),
    ):
        here.kist("import", "-q", "../source", path, "-o", out)
    assert here.files("c") == {"run.py": "run\n", "deep/x": "x\n"}
    assert here.read("r") == "run\n" and here.read("t") == "a\n"
    assert here.files("m")["in-git"] == "git\n" and here.files("m")["tracked"] == "tracked\n"
    assert here.files("s") == {"b.txt": "b\n", "again.txt": "a\n"}
    shutil.rmtree(here.path(".dvc/cache"))
    for out in "crmst":
        path = here.path(out)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    here.kist("pull", "-q")
    assert here.files("s") == {"b.txt": "b\n", "again.txt": "a\n"} and here.read("t") == "a\n"


def test_what_is_imported_may_be_imported_on(pair: Pair) -> None:
    pair.here.kist("import", "-q", "../source", "data")
    pair.here.commit()
    shutil.rmtree(pair.here.path(".dvc/cache"))
    third = Project(pair.here.path("../third"))
    third.kist("import", "-q", "../here", "data")
    assert third.files("data") == DATA
    third.kist("get", "../here", "data/sub/b.txt")
    assert third.read("b.txt") == "b\n"


def test_nothing_that_exists_is_written_over(pair: Pair) -> None:
    here = pair.here
    here.write({"model.bin": "mine\n", "sites.csv": "mine\n", "../given.csv": "theirs\n"})
    for words in (
        ("import", "../source", "model.bin"),
        ("get", "../source", "model.bin"),
        ("import-url", "../given.csv", "sites.csv"),
        ("get-url", "../given.csv", "sites.csv"),
    ):
        answer = here.try_kist(*words)
        assert answer.code == 1 and "--force" in answer.err, words
    assert here.read("model.bin") == "mine\n" and here.read("sites.csv") == "mine\n"
    here.kist("get", "../source", "model.bin", "--force")
    assert here.read("model.bin") == "model\n"
    assert not [name for name in os.listdir(here.root) if name.startswith(".kist-")]


def test_importing_the_same_again_goes_on_where_it_stopped(pair: Pair) -> None:
    here = pair.here
    here.kist("import", "-q", "../source", "data")
    shutil.rmtree(here.path("data"))
    here.kist("import", "-q", "../source", "data")
    assert here.files("data") == DATA
    here.write({"data/a.txt": "edited\n"})
    assert here.try_kist("import", "../source", "data").code == 1
    assert here.try_kist("import", "../source", "code", "-o", "data").code == 1
    assert here.read("data/a.txt") == "edited\n"


def test_update_takes_the_newer_version_and_keeps_edits(pair: Pair) -> None:
    here = pair.here
    here.kist("import", "-q", pair.far, "data")
    assert here.kist("status").out == "Data and pipelines are up to date.\n"
    pair.newer()
    assert f"update available:   data ({pair.far})" in here.kist("status").out
    assert here.kist("status", "--no-updates").out == "Data and pipelines are up to date.\n"
    here.write({"data/a.txt": "edited\n"})
    refused = here.try_kist("update", "data.dvc")
    assert refused.code == 1 and "data/a.txt" in refused.err
    assert here.read("data/a.txt") == "edited\n" and not here.exists("data/new.txt")
    here.write({"data/a.txt": "a\n"})
    here.kist("update", "-q", "data.dvc")
    assert here.files("data") == DATA | {"new.txt": "new\n"}
    here.kist("update", "-q", "--rev", "v1", "data.dvc")
    assert here.files("data") == DATA and "rev: v1" in here.read("data.dvc")


def test_an_import_that_was_only_noted_is_completed_by_pull(pair: Pair) -> None:
    here = pair.here
    here.kist("import", "-q", pair.far, "data", "--no-download")
    here.kist("import", "-q", pair.far, "model.bin", "--no-exec")
    assert "rev_lock" in here.read("data.dvc") and "rev_lock" not in here.read("model.bin.dvc")
    assert not here.exists("data") and here.objects() == {}
    here.kist("pull", "-q")
    assert here.files("data") == DATA and here.read("model.bin") == "model\n"
    assert "rev_lock" in here.read("model.bin.dvc") and "nfiles: 3" in here.read("data.dvc")


def test_a_source_that_vanished_is_one_clear_line(pair: Pair) -> None:
    here = pair.here
    here.kist("import", "-q", "../source", "data")
    shutil.rmtree(here.path("data"))
    shutil.rmtree(here.path(".dvc/cache"))
    shutil.rmtree(here.path("../store"))
    shutil.rmtree(here.path("../source/.dvc/cache"))
    answer = here.try_kist("pull")
    assert answer.code == 1 and "store" in answer.err
    assert len(answer.err.strip().splitlines()) == 2, answer.err
    shutil.rmtree(here.path("../source"))
    answer = here.try_kist("pull")
    assert answer.code == 1 and "'../source'" in answer.err, answer.err


@pytest.mark.parametrize(
    "url",
    ["--upload-pack=touch ../pwned", "ext::sh -c 'touch ../pwned'", "ssh://-oProxyCommand=touch ../pwned/x"],
)
def test_an_address_never_runs_a_program(pair: Pair, url: str) -> None:
    for words in (("import", "--", url, "x"), ("get", "--", url, "x"), ("list", "--", url)):
        answer = pair.here.try_kist(*words)
        assert answer.code == 1, answer
    assert not pair.here.exists("../pwned")


def test_a_password_gets_neither_into_a_metafile_nor_into_a_message(pair: Pair) -> None:
    here = pair.here
    answers = [
        here.try_kist("import", "http://ann:verysecret@127.0.0.1:9/x", "data"),
        here.try_kist("get", "http://ann:verysecret@127.0.0.1:9/x", "data"),
        here.try_kist("import-url", "http://ann:verysecret@127.0.0.1:9/x"),
        here.try_kist("import-url", "s3://b/x", "--fs-config", "secret_access_key=verysecret"),
        here.try_kist("import", "--no-exec", "http://ghp_verysecret0123@127.0.0.1:9/x", "data"),
        here.try_kist("get", "http://ghp_verysecret0123@127.0.0.1:9/x", "data"),
        here.try_kist("import", "../source", "data", "--remote-config", "password=verysecret"),
        here.try_kist("import", "../source", "data", "--remote-config", "url=https://ann:verysecret@x/y"),
        here.try_kist(
            "import",
            "../source",
            "data",
            "--remote",
            "x",
            "--remote-config",
            "url=s3://b",
            "session_token=verysecret",
        ),
        here.try_kist("import-url", "webdav://x/y", "--fs-config", "bearer_token_command=verysecret"),
    ]
    assert all(answer.code for answer in answers)
    assert not any("verysecret" in answer.out + answer.err for answer in answers)
    assert "cannot read 'http://ann@127.0.0.1:9/x': unable to access" in answers[1].err
    assert not [name for name in os.listdir(here.root) if name.endswith(".dvc") and name != ".dvc"]


def test_no_command_that_somebody_else_wrote_is_run(pair: Pair, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pair.source.write(
        {
            ".dvc/config": "[core]\n    remote = x\n['remote \"x\"']\n    url = webdav://127.0.0.1:1/x\n"
            f"    bearer_token_command = touch {ran}\n"
        }
    )
    pair.source.commit()
    pair.source.git("push", "-q", "../far.git", "HEAD")
    pair.here.try_kist("get", pair.far, "model.bin")
    for name, dep in (
        ("far", f"path: model.bin\n  repo:\n    url: {pair.far}\n    rev: v1\n    remote:\n"
                "      url: webdav://127.0.0.1:1/x\n"
                f"      bearer_token_command: touch {ran}\n"),
        ("web", f"path: webdav://127.0.0.1:1/y\n  fs_config:\n    bearer_token_command: touch {ran}\n"),
    ):  # fmt: skip
        pair.here.write({f"{name}.dvc": f"frozen: true\ndeps:\n- {dep}outs:\n- hash: md5\n  path: {name}\n"})
        pair.here.try_kist("update", f"{name}.dvc")
    assert not ran.exists()


def test_a_repository_at_an_address_is_listed_and_measured(pair: Pair) -> None:
    here = pair.here
    assert here.kist("list", pair.far).out == here.kist("list", pair.source.root, "--rev", "HEAD").out
    assert here.kist("list", pair.far, "data", "-R").out == "a.txt\nsub/again.txt\nsub/b.txt\n"
    assert here.kist("du", "-s", pair.far, "code").out.endswith("code\n")
    url = here.kist("get", pair.far, "model.bin", "--show-url").out.strip()
    with open(url, encoding="utf-8") as stream:
        assert stream.read() == "model\n"


class Tagged(Handler):
    """Serves files with the tags that they have."""

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        super().answer(status, body, {"ETag": f'"{len(body)}"', **(headers or {})})


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "table.csv").write_text("one\n")
    with WebServer(str(tmp_path / "www"), handler=Tagged) as server:
        yield server


def test_a_web_address_is_imported_and_updated(pair: Pair, web: WebServer) -> None:
    here = pair.here
    here.kist("import-url", "-q", f"{web.url}/table.csv")
    assert here.read("table.csv") == "one\n" and f"{web.url}/table.csv" in here.read("table.csv.dvc")
    here.kist("get-url", f"{web.url}/table.csv", "copy.csv")
    assert here.read("copy.csv") == "one\n"
    before = here.read("table.csv.dvc")
    Path(web.folder, "table.csv").write_text("three\n")
    shutil.rmtree(here.path(".dvc/cache"))
    os.unlink(here.path("table.csv"))
    stale = here.try_kist("pull")
    assert stale.code == 1 and "kist update table.csv.dvc" in stale.err, stale
    here.kist("update", "-q", "table.csv.dvc")
    assert here.read("table.csv") == "three\n" and here.read("table.csv.dvc") != before


def test_what_the_web_refuses_is_said_as_such(pair: Pair, web: WebServer) -> None:
    here = pair.here
    missing = here.try_kist("import-url", f"{web.url}/nope")
    assert missing.code == 1 and "nope" in missing.err
    web.user, web.password = "ann", "x"
    refused = here.try_kist("import-url", f"{web.url}/table.csv")
    assert refused.code == 1 and "401" in refused.err, refused
    gone = here.try_kist("get-url", "http://127.0.0.1:9/x")
    assert gone.code == 1 and "refused" in gone.err, gone
    assert not here.exists("table.csv.dvc")


def test_a_folder_goes_straight_to_a_remote(pair: Pair) -> None:
    here = pair.here
    here.kist("remote", "add", "-q", "-d", "own", here.path("../own"))
    here.write({"../given/a": "a\n", "../given/deep/b": "b\n"})
    here.kist("import-url", "-q", "../given", "--to-remote")
    assert here.objects() == {} and not here.exists("given")
    here.kist("pull", "-q")
    assert here.files("given") == {"a": "a\n", "deep/b": "b\n"}
    here.write({"../given/c": "c\n"})
    here.kist("update", "-q", "--to-remote", "given.dvc")
    here.kist("pull", "-q")
    assert here.files("given") == {"a": "a\n", "deep/b": "b\n", "c": "c\n"}


def test_what_a_place_holds_is_listed(pair: Pair) -> None:
    here = pair.here
    here.write({"../given/a": "a\n", "../given/deep/b": "bb\n"})
    assert here.kist("list-url", "-R", "../given").out == "a\ndeep/b\n"
    assert here.kist("list-url", "../given").out == "a\ndeep\n"
    assert here.try_kist("list-url", "../nothing").code == 255
    here.kist("remote", "add", "-q", "given", here.path("../given"))
    assert here.kist("ls-url", "remote://given/deep").out == "b\n"
    here.kist("get-url", "remote://given/deep", "here")
    assert here.files("here") == {"b": "bb\n"}


def test_a_path_that_nobody_has_is_said_with_what_may_be_meant(pair: Pair) -> None:
    answer = pair.here.try_kist("import", "../source", "dat")
    assert answer.code == 1 and "did you mean 'data'" in answer.err
    answer = pair.here.try_kist("import", pair.far, "data", "--rev", "nope")
    assert answer.code == 1 and "nope" in answer.err
    assert pair.here.try_kist("update", "nope.dvc").code == 1
    assert not pair.here.exists("data.dvc")

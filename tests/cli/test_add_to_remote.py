"""`add --to-remote` over a service: data goes there from where it lies; here there is only the metafile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kist.testing.project import Project
from kist.testing.web_server import Handler, WebServer


@pytest.fixture
def server(project: Project) -> Iterator[WebServer]:
    """Yields a server that is the project's remote `web`; no object is in the cache yet."""
    project.kist("remove", "data.dvc", "model.bin.dvc", "sub/table.csv.dvc")
    project.kist("gc", "-w", "-f", "--quiet")
    with WebServer(project.path("../www")) as server:
        project.kist("remote", "add", "--default", "web", server.url)
        project.kist("remote", "modify", "web", "method", "PUT")
        yield server


def stored(server: WebServer) -> int:
    """Returns how many objects the server has."""
    return sum(len(names) for _, _, names in os.walk(os.path.join(server.folder, "files")))


def test_files_and_folders_go_there_and_come_back(project: Project, server: WebServer) -> None:
    project.write({"../given/a": "a\n", "../given/deep/b": "b\n", "../given/deep/again": "a\n"})
    with open(project.path("../large"), "wb") as stream:
        stream.write(os.urandom(9 << 20))
    os.chmod(project.path("../large"), 0o755)
    project.kist("add", "--to-remote", "../given")
    project.kist("add", "--to-remote", "../large", "-o", "sub/big")
    assert stored(server) == 4, "two contents, a manifest, the large one"
    assert project.objects() == {} and not project.exists("given") and not project.exists("sub/big")
    assert "nfiles: 3" in project.read("given.dvc") and "isexec: true" in project.read("sub/big.dvc")
    assert not [name for name in os.listdir(project.path(".dvc/tmp/kist")) if name.startswith(".kist-")]
    project.kist("pull")
    assert project.files("given") == {"a": "a\n", "deep/b": "b\n", "deep/again": "a\n"}
    with open(project.path("sub/big"), "rb") as one, open(project.path("../large"), "rb") as other:
        assert one.read() == other.read()


def test_what_is_there_already_is_not_sent_again(project: Project, server: WebServer) -> None:
    project.write({"../given/a": "a\n"})
    project.kist("add", "--to-remote", "../given")
    server.requests.clear()
    project.kist("add", "--to-remote", "../given", "-o", "another")
    assert not [name for name in server.requests if name.startswith("PUT")]


def test_a_file_that_changes_meanwhile_is_refused(project: Project, server: WebServer) -> None:
    project.write({"../given/a": "a\n", "../given/b": "b\n"})

    def change(handler: Handler) -> bool:
        if handler.command == "HEAD":
            project.write({"../given/b": "changed\n"})
        return False

    server.fault = change
    answer = project.try_kist("add", "--to-remote", "../given")
    assert answer.code == 1 and "it changes while it is read" in answer.err and "given/b" in answer.err
    assert not project.exists("given.dvc")
    assert stored(server) == 1, "what was right is there, and no list of files"


def test_a_service_that_refuses_leaves_no_metafile(project: Project, server: WebServer) -> None:
    server.user = "ann"
    project.write({"../given/a": "a\n"})
    answer = project.try_kist("add", "--to-remote", "../given")
    assert answer.code == 1 and "does not accept the user or password" in answer.err
    assert not project.exists("given.dvc")

"""Packed remotes at real services: two projects meet there, and DVC fails with a message and changes nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .test_interop import Kind, Worker, azure, contents, gs, s3, ssh, webdav, write  # noqa: F401 - fixtures

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]

_READ_ALL = """
import hashlib, json, sys
from kist.repo.repository import Repository
from kist.repo.settings import ConfigPaths
from kist.repo.transfers import open_storage_of
root = sys.argv[1]
paths = ConfigPaths(None, None, root + "/.dvc/config", root + "/.dvc/config.local")
import os
repository = Repository(root, cwd=root, config_paths=paths, environ=os.environ)
storage = open_storage_of(repository, repository.settings.choose_remote(None)[0])
print(json.dumps(sorted((i.key, hashlib.md5(b"".join(storage.read(i.key))).hexdigest()) for i in storage.list(""))))
"""


def try_dvc(worker: Worker, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Runs the real DVC, whatever comes of it."""
    argv = [os.environ["KIST_DVC"], *arguments]
    done = subprocess.run(argv, cwd=cwd, env=worker.environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["folder", "s3", "gs", "azure", "ssh", "webdav"])
def test_two_projects_meet_and_dvc_stays_away(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not os.environ.get("KIST_DVC"):
        pytest.skip("set KIST_DVC; `make test-all` does")
    kind = Kind(str(tmp_path / "place"), [], {}) if name == "folder" else request.getfixturevalue(name)
    url = kind.url if name == "folder" else f"{kind.url}/packed"
    one = Worker(tmp_path / "one", kind)
    first = tmp_path / "first"
    first.mkdir()
    one.run("git", "init", "-q", "-b", "main", cwd=first)
    one.kist("init", "-q", cwd=first)
    one.kist("remote", "add", "-d", "store", url, cwd=first)
    for option in kind.options:
        local = ["--local"] if option[0] == "--local" else []
        one.kist("remote", "modify", *local, "store", *option[-2:], cwd=first)
    one.kist("remote", "init", "--packed", cwd=first)
    source = random.Random(3)
    for number in range(300):
        write(first / "data" / f"d{number % 2}" / str(number), source.randbytes(10 * number))
    write(first / "large", source.randbytes((18 << 20) + 5))
    write(first / "second", b"2")
    one.kist("add", "data", "large", "second", cwd=first)
    assert "303 files pushed" in one.kist("push", cwd=first)
    assert "up to date" in one.kist("push", cwd=first)
    one.run("git", "add", ".", cwd=first)
    one.run("git", "commit", "-qm", "data", cwd=first)

    two = Worker(tmp_path / "two", kind)
    second = tmp_path / "clone"
    two.run("git", "clone", "-q", str(first), str(second), cwd=tmp_path)
    local_config = first / ".dvc" / "config.local"
    if local_config.exists():
        write(second / ".dvc" / "config.local", local_config.read_bytes())
    two.kist("pull", cwd=second)
    assert contents(second) == contents(first)

    (second / "large").chmod(0o644)
    with open(second / "large", "r+b") as stream:
        stream.seek(9 << 20)
        stream.write(b"changed")
    two.kist("add", "large", cwd=second)
    two.kist("push", cwd=second)
    two.kist("gc", "-c", "-w", "-f", "--grace", "0", "--repack", cwd=second)
    two.run("git", "commit", "-qam", "more", cwd=second)
    one.run("git", "pull", "-q", str(second), "main", cwd=first)
    one.kist("pull", cwd=first)
    assert contents(first) == contents(second)
    assert one.kist("status", "-c", "--json", cwd=first).strip() == "{}"

    before = one.run(sys.executable, "-P", "-c", _READ_ALL, str(first), cwd=first)
    write(first / "second", b"DVC has something to push")
    assert try_dvc(one, "add", "-q", "second", cwd=first)[0] == 0
    status, message = try_dvc(one, "push", cwd=first)
    assert status != 0 and "error" in message.lower()
    if name == "folder":
        assert try_dvc(one, "status", "-c", cwd=first)[0] != 0
        try_dvc(one, "gc", "-c", "-w", "-f", cwd=first)  # finds nothing to remove
    one.run("rm", "-rf", ".dvc/cache", "data", "large", "second", cwd=first)
    status, message = try_dvc(one, "pull", cwd=first)
    assert status != 0 and "error" in message.lower(), message
    assert one.run(sys.executable, "-P", "-c", _READ_ALL, str(first), cwd=first) == before
    if name in ("ssh", "webdav"):
        # A conversion leaves nothing that DVC could write into.
        one.kist("remote", "convert", "--loose", cwd=first)
        one.kist("remote", "convert", "--packed", cwd=first)
        write(first / "second", b"DVC has something to push again")
        assert try_dvc(one, "add", "-q", "second", cwd=first)[0] == 0
        assert try_dvc(one, "push", cwd=first)[0] != 0
        one.kist("fetch", "data.dvc", cwd=first)

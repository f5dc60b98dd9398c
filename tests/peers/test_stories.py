"""The stories whose storage is S3 or SSH, line by line as people wrote them, with `dvc` replaced by `kist`."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers
from tests.peers.servers import S3Peer

from kist.remotes.storage import Place
from kist.remotes.table import open_storage


class Desk:
    """A shell in a folder; a line that fails fails the test, unless it may."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        home = folder.parent / f"{folder.name}-home"
        (home / "bin").mkdir(parents=True)
        program = home / "bin" / "kist"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m kist.cli.main "$@"\n')
        program.chmod(0o755)
        self.environ = {
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "GIT_AUTHOR_NAME": "Ann",
            "GIT_AUTHOR_EMAIL": "ann@example.org",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.org",
            "AWS_EC2_METADATA_DISABLED": "true",
            **environ,
        }

    def __call__(self, line: str, *, code: int = 0) -> str:
        """Runs a line; returns all that it said."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def read(self, name: str) -> str:
        """Returns a file's text."""
        return (self.folder / name).read_text()


def md5_of(text: str) -> str:
    """Returns the id of a text."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Peer]:
    """Yields SeaweedFS with a bucket."""
    with servers.seaweedfs(tmp_path_factory.mktemp("weed")) as peer:
        servers.make_bucket(peer, "bucket")
        yield peer


def stored(peer: S3Peer, folder: str) -> set[str]:
    """Returns the objects below a folder of the bucket."""
    options = {"endpointurl": peer.endpoint, "access_key_id": peer.key_id, "secret_access_key": peer.secret}
    storage = open_storage(Place("look", f"s3://bucket/{folder}", "s3", options, {}))
    return {item.key.removeprefix("files/md5/").replace("/", "") for item in storage.list("files/md5/")}


@pytest.mark.timeout(300)
def test_story_f_a_files_whole_life_with_s3(s3: S3Peer, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "life", AWS_ENDPOINT_URL=s3.endpoint)
    aws = Path(desk.environ["HOME"]) / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        f"[work]\naws_access_key_id = {s3.key_id}\naws_secret_access_key = {s3.secret}\n"
    )
    desk("git init -q -b master")
    desk("kist init")
    desk("git status")
    desk("git commit -m 'Initialize DVC'")
    desk('echo "{\\"test\\": \\"test data.\\"}" >> test.json')
    desk("kist add test.json")
    desk("kist config core.autostage true")
    desk("git add .dvc/config")
    desk("git commit -m 'Autostage config changed.'")
    desk("git commit -m 'Add test data'", code=1)
    assert "test.json.dvc" in desk("git ls-files")
    desk("kist remote add -d storage s3://bucket/dir")
    desk("git add .dvc/config")
    desk("git commit -m 'Configure remote storage'")
    desk("kist remote modify --local storage profile work")
    assert "profile" not in desk.read(".dvc/config")
    desk("kist push")
    first, second = '{"test": "test data."}\n', "{test: test2 data.}\n"
    assert stored(s3, "dir") == {md5_of(first)}
    desk("rm test.json && rm -r .dvc/cache")
    desk("kist pull")
    assert desk.read("test.json") == first
    desk('echo "{"test": "test2 data."}" >> test2.json')
    desk("kist add test2.json")
    desk("git commit -m 'Data added'")
    desk("kist push")
    assert stored(s3, "dir") == {md5_of(first), md5_of(second)}
    desk("kist remove test.json.dvc")
    desk("git commit -am 'removed'")
    said = desk("kist gc -acf")
    assert "test.json" in said
    assert stored(s3, "dir") == {md5_of(second)}
    cache = {path.parent.name + path.name for path in (desk.folder / ".dvc/cache/files/md5").glob("*/*")}
    assert cache == {md5_of(second)}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an account with a password")
@pytest.mark.timeout(300)
def test_story_i_a_model_bound_to_a_tag_over_ssh(tmp_path: Path) -> None:
    user, password = f"kisti{os.getpid() % 100000}", "server password"
    subprocess.run(["useradd", "-m", user], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{user}:{password}\n", text=True, check=True)
        sshd = tmp_path / "sshd"
        sshd.mkdir()
        with servers.sshd(sshd) as peer:
            desk = Desk(tmp_path / "model")
            ssh = Path(desk.environ["HOME"]) / "bin" / "ssh"
            ssh.write_text(f'#!/bin/sh\nexec {servers.system_program("ssh")} -F {peer.config} "$@"\n')
            ssh.chmod(0o755)
            desk("git init -q -b main")
            desk("kist init")
            desk(f"kist remote add -d storage ssh://127.0.0.1/home/{user}/data")
            desk("kist remote default storage")
            desk(f"kist remote modify storage user {user}")
            desk(f"kist remote modify storage port {peer.port}")
            desk(f"kist remote modify --local storage password '{password}'")
            assert password not in desk.read(".dvc/config")
            desk("echo one > model.bin")
            desk("kist add model.bin")
            desk("kist push")
            for version in ("one", "two", "three"):
                desk(f"echo {version} > new && mv -f new model.bin")
                desk("kist add model.bin --file dvc/model.dvc" if version == "one" else "kist add model.bin")
                desk("kist push dvc/model.dvc")
                desk("git add -A . && git commit -qm x")
                desk(f'git tag -a "{version}" -m "{version}"')
            desk("rm model.bin")
            desk("kist pull dvc/model.dvc")
            assert desk.read("model.bin") == "three\n"
            for version in ("one", "two", "three"):
                clone = Desk(tmp_path / version / "clone")
                (Path(clone.environ["HOME"]) / "bin" / "ssh").write_text(ssh.read_text())
                (Path(clone.environ["HOME"]) / "bin" / "ssh").chmod(0o755)
                clone(f"git clone -q {desk.folder} .")
                clone(f"kist remote modify --local storage password '{password}'")
                clone(f"git checkout -q tags/{version} -b work")
                clone("kist pull")
                assert clone.read("model.bin") == f"{version}\n"
    finally:
        subprocess.run(["userdel", "-r", user], check=False, capture_output=True)


class _Portal(http.server.BaseHTTPRequestHandler):
    """Stands in for the portal of AWS's single sign-on: gives keys for a token."""

    keys: tuple[str, str] = ("", "")

    def do_GET(self) -> None:
        """Answers GetRoleCredentials."""
        is_known = self.headers.get("x-amz-sso_bearer_token") == "a-token"
        expires = int((datetime.datetime.now().timestamp() + 3600) * 1000)
        found = {"accessKeyId": self.keys[0], "secretAccessKey": self.keys[1], "expiration": expires}
        body = json.dumps({"roleCredentials": {**found, "sessionToken": ""}} if is_known else {}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Prints nothing."""


def test_an_expired_login_is_answered_with_the_line_that_renews_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "sso")
    aws = Path(desk.environ["HOME"]) / ".aws"
    (aws / "sso" / "cache").mkdir(parents=True)
    (aws / "config").write_text(
        "[profile work]\nsso_session = house\nsso_account_id = 123456789012\nsso_role_name = reader\n"
        "region = us-east-1\n[sso-session house]\nsso_region = us-east-1\n"
        "sso_start_url = https://house.example.org/start\n"
    )
    name = hashlib.sha1(b"house", usedforsecurity=False).hexdigest()
    (aws / "sso" / "cache" / f"{name}.json").write_text(
        json.dumps({"accessToken": "old", "expiresAt": "2020-01-01T00:00:00Z", "region": "us-east-1"})
    )
    desk("git init -q && kist init -q && kist remote add -d storage s3://bucket/dir")
    desk("kist remote modify --local storage profile work && echo x > x && kist add -q x")
    said = desk("kist push", code=1)
    assert "the login of profile 'work' has expired" in said
    assert "aws sso login --profile work" in said and "Traceback" not in said


def test_a_cached_login_gives_the_keys(s3: S3Peer, tmp_path: Path) -> None:
    _Portal.keys = (s3.key_id, s3.secret)
    portal = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Portal)
    thread = threading.Thread(target=portal.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{portal.server_address[1]}"
        desk = Desk(tmp_path / "sso", AWS_ENDPOINT_URL_SSO=address, AWS_ENDPOINT_URL_S3=s3.endpoint)
        aws = Path(desk.environ["HOME"]) / ".aws"
        (aws / "sso" / "cache").mkdir(parents=True)
        (aws / "config").write_text(
            "[profile work]\nsso_session = house\nsso_account_id = 123456789012\nsso_role_name = reader\n"
            "region = us-east-1\n[sso-session house]\nsso_region = us-east-1\n"
            "sso_start_url = https://house.example.org/start\n"
        )
        name = hashlib.sha1(b"house", usedforsecurity=False).hexdigest()
        soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=8)).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
        (aws / "sso" / "cache" / f"{name}.json").write_text(
            json.dumps({"accessToken": "a-token", "expiresAt": soon, "region": "us-east-1"})
        )
        desk("git init -q && kist init -q && kist remote add -d storage s3://bucket/sso")
        desk("kist remote modify --local storage profile work && echo x > x && kist add -q x")
        desk("kist push")
        assert stored(s3, "sso") == {md5_of("x\n")}
    finally:
        portal.shutdown()
        portal.server_close()
        thread.join()

"""No secret stands in what a command says, in what it leaves, in a process list, or in what is committed.

Each kind of remote works with secrets of its own, is refused with wrong ones, and finds nobody: each time all that was
said with `-v -v`, all files below `.dvc/tmp`, the home directory and what Git would commit, and the command lines of all
processes meanwhile are searched.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.test_gdrive import kept_login
from tests.peers import servers
from tests.peers.servers import S3Peer

from kist.testing.gdrive_server import GdriveServer
from kist.testing.project import Project
from kist.testing.web_server import WebServer
from kist.testing.webhdfs_server import WebhdfsServer


class Watch:
    """Reads the command lines of all processes, again and again, while it is entered.

    Attributes:
        seen: all of them.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.03):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        self.seen.add(Path(f"/proc/{name}/cmdline").read_bytes())
                    except OSError:
                        continue  # it has ended


class Keeper:
    """A repository whose commands are watched.

    Attributes:
        secrets: what must be found nowhere; also as it looks in an address and in base64.
    """

    def __init__(self, root: Path, *secrets: str, environ: Mapping[str, str] | None = None) -> None:
        self.project = Project(str(root / "project"))
        self.home = root / "home"
        self.home.mkdir()
        self.environ = {**os.environ, "HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true"}
        self.environ |= environ or {}
        self.secrets = [secret.encode() for secret in secrets]
        self.secrets += [urllib.parse.quote(secret, safe="").encode() for secret in secrets]
        self.secrets += [base64.b64encode(secret.encode()) for secret in secrets]
        self.project.write({"file": "data\n", "folder/a": "a\n"})
        self.project.kist("add", "--quiet", "file", "folder")

    def remote(self, name: str, url: str, **options: str) -> None:
        """Makes a remote as a person would, secrets in their local file."""
        said = self.project.kist("remote", "add", name, url)
        for option, value in options.items():
            answer = self.project.kist("remote", "modify", "--local", name, option, value)
            said = said._replace(out=said.out + answer.out, err=said.err + answer.err)
        self.assert_clean((said.out + said.err).encode(), name)

    def run(self, *words: str, code: int = 0) -> str:
        """Runs a command with `-v -v`, and searches for secrets."""
        argv = [sys.executable, "-P", "-m", "kist.cli.main", *words, "-v", "-v"]
        with Watch() as watch:
            done = subprocess.run(
                argv,
                cwd=self.project.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
        said = done.stdout + done.stderr
        assert done.returncode == code, said.decode()
        assert b"kist.cli.main" in b"".join(watch.seen), "the watch saw the command itself"
        self.assert_clean(said, f"what {words} said")
        self.assert_clean(b"\n".join(watch.seen), f"the process list while {words} ran")
        for folder in (self.project.path(".dvc/tmp"), str(self.home)):
            for place, _, names in os.walk(folder):
                for name in names:
                    path = Path(place, name)
                    if path.name not in ("known_hosts", "credentials"):  # those are the person's own
                        self.assert_clean(path.read_bytes(), str(path))
        self.project.git("add", "--all")
        for name in self.project.git("ls-files").split():
            self.assert_clean(Path(self.project.path(name)).read_bytes(), name)
        return said.decode()

    def assert_clean(self, text: bytes, where: str) -> None:
        """No secret is in a text."""
        for secret in self.secrets:
            assert secret not in text, f"a secret is in {where}:\n{text.decode(errors='replace')[-2000:]}"

    def there_and_back(self, name: str) -> None:
        """Pushes and pulls."""
        self.run("push", "-r", name)
        subprocess.run(["rm", "-rf", self.project.path(".dvc/cache")], check=True)
        self.run("fetch", "-r", name)
        if name == "right":
            self.run("remote", "check", name)
            self.run("status", "-c", "-r", name)

    def refused(self, name: str, words: str) -> None:
        """Is refused with these words, by push and by fetch."""
        assert words in self.run("push", "-r", name, code=1)
        subprocess.run(["rm", "-rf", self.project.path(".dvc/cache")], check=True)
        assert words in self.run("fetch", "-r", name, code=1)
        self.project.kist("commit", "--force", "--quiet")


RIGHT, WRONG = "r1ght/s3cret+word", "wr0ng/s3cret+word"


@pytest.mark.timeout(120)
def test_over_http(tmp_path: Path) -> None:
    with WebServer(str(tmp_path / "www"), user="ann", password=RIGHT) as server:
        keeper = Keeper(tmp_path, RIGHT, WRONG)
        basic = {"method": "PUT", "auth": "basic", "user": "ann"}
        keeper.remote("right", server.url, **basic, password=RIGHT)
        keeper.there_and_back("right")
        in_address = server.url.replace("//", f"//ann:{urllib.parse.quote(RIGHT, safe='')}@")
        keeper.remote("address", f"{in_address}/other", method="PUT")
        keeper.there_and_back("address")
        keeper.remote("wrong", server.url, **basic, password=WRONG)
        keeper.refused("wrong", "does not accept the user or password")
        keeper.remote("header", server.url, auth="custom", custom_auth_header="X-Key", password=WRONG)
        keeper.refused("header", "does not accept the user or password")
    nobody = in_address.replace(RIGHT, WRONG)
    keeper.remote("nobody", nobody)
    keeper.refused("nobody", "cannot reach remote")


@pytest.mark.timeout(120)
def test_over_webdav(tmp_path: Path) -> None:
    with servers.wsgidav(tmp_path / "dav", user="ann", password=RIGHT) as address:
        keeper = Keeper(tmp_path, RIGHT, WRONG)
        keeper.remote("right", f"{address}/a", user="ann", password=RIGHT)
        keeper.there_and_back("right")
        in_address = address.replace("//", f"//ann:{urllib.parse.quote(RIGHT, safe='')}@")
        keeper.remote("address", f"{in_address}/b")
        keeper.there_and_back("address")
        keeper.remote("wrong", f"{address}/a", user="ann", password=WRONG)
        keeper.refused("wrong", "does not accept the user or password")
        keeper.remote("token", f"{address}/a", token=WRONG)
        keeper.refused("token", "does not accept the user or password")
    keeper.refused("address", "cannot reach remote")


@pytest.mark.timeout(120)
def test_over_webhdfs(tmp_path: Path) -> None:
    with WebhdfsServer(str(tmp_path / "hdfs")) as server:
        server.token = RIGHT
        keeper = Keeper(tmp_path, RIGHT, WRONG)
        address = server.url.replace("http://", "webhdfs://") + "/data"
        keeper.remote("right", address, token=RIGHT)
        keeper.there_and_back("right")
        keeper.remote("wrong", address, token=WRONG)
        keeper.refused("wrong", "does not accept the user or password")
    keeper.refused("right", "cannot reach remote")


@pytest.mark.timeout(120)
def test_over_gdrive(tmp_path: Path) -> None:
    with GdriveServer(str(tmp_path / "unused")) as server:
        token = "t0ken/s3cret+too"
        server.client, server.refresh_tokens, server.tokens = ("ours", WRONG), {RIGHT}, {token}
        keeper = Keeper(tmp_path, RIGHT, WRONG, token, environ={"KIST_GDRIVE_ENDPOINT": server.url})
        login = tmp_path / "login.json"
        secrets = {"access_token": token, "refresh_token": RIGHT, "client_secret": WRONG}
        login.write_text(json.dumps(kept_login(client_id="ours", **secrets)))
        options = {"gdrive_client_id": "ours", "gdrive_client_secret": WRONG}
        keeper.remote("right", "gdrive://root/a", gdrive_user_credentials_file=str(login), **options)
        keeper.there_and_back("right")
        server.tokens.clear()  # the login is renewed
        keeper.there_and_back("right")
        server.refresh_tokens.clear()
        server.tokens.clear()
        keeper.refused("right", "the login to Google has ended")
    keeper.refused("right", "cannot reach remote")


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Peer]:
    """Yields SeaweedFS with a bucket."""
    with servers.seaweedfs(tmp_path / "weed") as peer:
        servers.make_bucket(peer, "data")
        yield peer


@pytest.mark.timeout(120)
def test_over_s3(tmp_path: Path, s3: S3Peer) -> None:
    environ = {"AWS_ACCESS_KEY_ID": s3.key_id, "AWS_SECRET_ACCESS_KEY": s3.secret}
    keeper = Keeper(tmp_path, s3.secret, WRONG)
    keeper.remote(
        "right",
        "s3://data/a",
        endpointurl=s3.endpoint,
        access_key_id=s3.key_id,
        secret_access_key=s3.secret,
    )
    keeper.there_and_back("right")
    keeper.remote(
        "wrong", "s3://data/a", endpointurl=s3.endpoint, access_key_id=s3.key_id, secret_access_key=WRONG
    )
    keeper.refused("wrong", "the service does not accept the keys")
    keeper.remote(
        "nobody",
        "s3://data/a",
        endpointurl=f"http://127.0.0.1:{servers.free_port()}",
        access_key_id="id",
        secret_access_key=WRONG,
        session_token=WRONG,
    )
    keeper.refused("nobody", "cannot reach remote")
    keeper.remote("address", f"s3://id:{urllib.parse.quote(WRONG, safe='')}@data/a", endpointurl=s3.endpoint)
    keeper.refused("address", "its address holds a key")
    keeper.remote("environ", "s3://data/b", endpointurl=s3.endpoint)
    keeper.environ |= environ
    keeper.there_and_back("environ")
    aws = keeper.home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        f"[work]\naws_access_key_id = {s3.key_id}\naws_secret_access_key = {s3.secret}\n"
    )
    keeper.remote("profile", "s3://data/c", endpointurl=s3.endpoint, profile="work")
    keeper.there_and_back("profile")


@pytest.mark.timeout(120)
def test_over_azure(tmp_path: Path) -> None:
    with servers.azurite(tmp_path) as connection:
        servers.make_container(connection, "data")
        token = servers.with_sas(connection, "data")
        signature = token.rpartition("sig=")[2].rstrip(";").partition(";")[0]
        wrong_key = base64.b64encode(b"wrong " * 8).decode()
        keeper = Keeper(tmp_path, servers.AZURITE_KEY, urllib.parse.unquote(signature), wrong_key)
        keeper.remote("right", "azure://data/a", connection_string=connection)
        keeper.there_and_back("right")
        keeper.remote("token", "azure://data/b", connection_string=token)
        keeper.there_and_back("token")
        wrong = connection.replace(servers.AZURITE_KEY, wrong_key)
        keeper.remote("wrong", "azure://data/a", connection_string=wrong)
        assert "cannot" in keeper.run("push", "-r", "wrong", code=1)
        keeper.remote("environ", "azure://data/c")
        keeper.environ["AZURE_STORAGE_CONNECTION_STRING"] = connection
        keeper.there_and_back("environ")
    keeper.refused("right", "cannot reach remote")
    keeper.refused("token", "cannot reach remote")


@pytest.mark.timeout(120)
def test_over_google(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, WRONG)
    account = tmp_path / "account.json"
    account.write_text(json.dumps({"type": "service_account", "private_key": WRONG, "client_email": "a@b"}))
    keeper.remote("file", "gs://data/a", credentialpath=str(account))
    keeper.refused("file", "no Google credentials that work")
    keeper.remote("address", f"gs://id:{urllib.parse.quote(WRONG, safe='')}@data/a")
    keeper.refused("address", "its address holds a key")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an account with a password")
@pytest.mark.timeout(120)
def test_over_ssh(tmp_path: Path) -> None:
    user = f"kists{os.getpid() % 100000}"
    folder = tmp_path / "sshd"
    folder.mkdir()
    subprocess.run(["useradd", "-m", user], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{user}:{RIGHT}\n", text=True, check=True)
        with servers.sshd(folder) as peer:
            keeper = Keeper(tmp_path, RIGHT, WRONG)
            programs = tmp_path / "bin"
            programs.mkdir()
            ssh = programs / "ssh"
            ssh.write_text(f'#!/bin/sh\nexec {servers.system_program("ssh")} -F {peer.config} "$@"\n')
            ssh.chmod(0o755)
            keeper.environ["PATH"] = f"{programs}:{keeper.environ['PATH']}"
            place = f"127.0.0.1:{peer.port}/home/{user}"
            keeper.remote("right", f"ssh://{place}/a", user=user, password=RIGHT)
            keeper.there_and_back("right")
            quoted = urllib.parse.quote(RIGHT, safe="")
            keeper.remote("address", f"ssh://{user}:{quoted}@{place}/b")
            keeper.there_and_back("address")
            keeper.remote("wrong", f"ssh://{place}/a", user=user, password=WRONG)
            keeper.refused("wrong", "does not accept the user, key or password")
        keeper.refused("right", "cannot reach remote")
        keeper.refused("address", "cannot reach remote")
    finally:
        subprocess.run(["userdel", "-r", user], check=False, capture_output=True)

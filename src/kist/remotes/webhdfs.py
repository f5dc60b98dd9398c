"""WebHDFS: a folder of Hadoop's file system, over its REST interface.

Not here: Hadoop's own protocol (`hdfs://`), Kerberos; requests and their errors (remotes.web). Implements
docs/spec/storage.md. Source: Hadoop's reference of the WebHDFS REST API; DVC's option names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kist.base.shell import shell_line
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageFailedError,
    StorageMissingError,
    StorageRefusedError,
    Upload,
)
from kist.remotes.web import Answer, HttpClient, login_of, without_secrets

_PORT = 50070
"""The NameNode's of Hadoop 2, which DVC takes where the address has none."""


_PART_BYTES = 16 << 20
"""Each one opens the file again, so not too small."""
_REFUSED = frozenset({"AccessControlException", "SecurityException", "AuthorizationException"})
"""What Hadoop calls a permission that lacks; it answers 403 to most other failures as well."""


def open_storage(place: Place) -> WebhdfsStorage:
    """Returns the storage at an address `webhdfs://USER@HOST:PORT/FOLDER`."""
    return WebhdfsStorage(place)


class WebhdfsStorage:
    """A folder of a cluster."""

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        self.name = place.name
        self.url = without_secrets(place.url)
        self.abilities = Abilities(
            flat=False,
            page=1_000_000,
            deletes=100,
            confirms=True,
            streams=16,
            most_streams=32,
            parts=True,
            part_bytes=_PART_BYTES,
            part_limit=1 << 30,
            in_order=True,
            resumes=True,
        )
        if place.flag("kerberos"):
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': this version speaks no Kerberos",
                hint=shell_line("kist", "remote", "modify", "--local", self.name, "token", "TOKEN"),
            )
        scheme = "https" if place.flag("use_https") else "http"
        own_user, own_password = login_of(place.url)
        self._base = f"{scheme}://{parts.hostname or ''}:{parts.port or _PORT}/webhdfs/v1"
        self._folder = posixpath.normpath("/" + urllib.parse.unquote(parts.path).strip("/"))
        self._proxy = place.options.get("data_proxy_target")
        user = place.options.get("user") or own_user
        password = place.options.get("password") or own_password
        self._who = self._login(place, user if password is None else None)
        sent: dict[str, str] = {}
        if user is not None and password is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            sent = {"Authorization": f"Basic {token}"}
        self._known: dict[str, int | None] = {}  # length of each unfinished file; None while a try is open
        self._client = HttpClient(place._replace(url=self._base, scheme=scheme), headers=lambda: sent)

    def _login(self, place: Place, user: str | None) -> dict[str, str]:
        """Returns what each question to the NameNode says of who asks."""
        values = {"delegation": place.options.get("token"), "doas": place.options.get("proxy_to")}
        if values["delegation"] is None:
            values["user.name"] = user
        return {name: value for name, value in values.items() if value is not None}

    # Questions

    def _path(self, key: str) -> str:
        return posixpath.join(self._folder, key) if key else self._folder

    def _ask(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        accepted: Sequence[int] = (),
        follows: bool = True,
        values: Mapping[str, str] | None = None,
    ) -> Answer:
        query = urllib.parse.urlencode({"op": operation, **(values or {}), **self._who})
        address = f"{self._base}{urllib.parse.quote(path)}?{query}"
        return self._judged(
            self._client.ask(method, address, accepted=(*accepted, 403), follows=follows), method
        )

    def _judged(self, answer: Answer, method: str) -> Answer:
        """Returns an answer, or raises what a 403 means: Hadoop says so to whatever its files do not let happen."""
        if answer.status != 403:
            return answer
        try:
            name = str(json.loads(answer.text())["RemoteException"]["exception"])
        except (ValueError, KeyError, TypeError):
            name = ""
        if name and name not in _REFUSED:
            raise StorageFailedError(f"cannot use remote '{self.name}': Hadoop answered {name}")
        raise self._client.refusal(answer, method)

    def _target(self, answer: Answer) -> str:
        """Returns where the NameNode sends to: a DataNode, or the proxy that stands for all of them."""
        answer.release()
        target = answer.headers.get("Location")
        if target is None:
            raise StorageFailedError(f"cannot use remote '{self.name}': the NameNode named no DataNode")
        return target.replace(self._base, self._proxy, 1) if self._proxy else target

    def _status(self, path: str) -> dict[str, Any] | None:
        answer = self._ask("GET", "GETFILESTATUS", path, accepted=(404,))
        text = answer.text()
        if answer.status == 404:
            return None
        return dict(self._json(text, "FileStatus"))

    def _json(self, text: bytes, name: str) -> Any:
        try:
            return json.loads(text)[name]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailedError(
                f"cannot use remote '{self.name}': its answer is none of WebHDFS"
            ) from error

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        found = self._status(self._path(key))
        return None if found is None or found["type"] != "FILE" else _item(key, found)

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage: one request a folder."""
        pending = [prefix.rpartition("/")[0]]
        while pending:
            folder = pending.pop()
            answer = self._ask("GET", "LISTSTATUS", self._path(folder), accepted=(404,))
            text = answer.text()
            if answer.status == 404:
                continue
            for found in self._json(text, "FileStatuses")["FileStatus"]:
                name = found["pathSuffix"]
                key = f"{folder}/{name}" if folder else name
                if not name or not (key + "/").startswith(prefix):
                    continue
                if found["type"] == "DIRECTORY":
                    pending.append(key)
                elif not name.startswith(".kist-"):
                    yield _item(key, found)

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        values = {"offset": str(first)} if first else {}
        if size is not None:
            values["length"] = str(size)
        answer = self._ask("GET", "OPEN", self._path(key), follows=False, values=values)
        if answer.status >= 300:
            answer = self._client.ask("GET", self._target(answer))
        yield from answer.blocks(size=size)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: under a temporary name, then renamed; a DataNode shows what it has so far."""
        path = self._path(key)
        temporary = posixpath.join(posixpath.dirname(path), f".kist-{os.urandom(8).hex()}.tmp")
        try:
            self._create(temporary, body)
            found = self._status(temporary)
            stored = int(found["length"]) if found is not None else 0
            if stored != body.size:
                raise StorageFailedError(f"cannot write '{key}': {stored} bytes are there of {body.size}")
            self._rename(temporary, path)
        except BaseException:
            self._remove_quietly(temporary)
            raise
        return Item(key, body.size)

    def _create(self, path: str, body: Body) -> None:
        answer = self._ask("PUT", "CREATE", path, follows=False, values={"overwrite": "true"})
        self._send("PUT", self._target(answer), body)

    def _append(self, path: str, body: Body) -> None:
        self._send("POST", self._target(self._ask("POST", "APPEND", path, follows=False)), body)

    def _send(self, method: str, address: str, body: Body) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._client.ask(method, address, headers=headers, body=body, accepted=(403,))
        self._judged(answer, method).release()

    def _rename(self, old: str, new: str) -> None:
        """Renames a file over what may have the name already, in one step."""
        values = {"destination": new, "renameoptions": "OVERWRITE"}
        text = self._ask("PUT", "RENAME", old, values=values).text()
        if not text.strip() or self._json(text, "boolean"):
            return  # Hadoop says nothing where the option holds
        # A gateway (HttpFS) that does not know the option does not replace: for a moment the name is missing.
        self._is_done("DELETE", "DELETE", new)
        if not self._is_done("PUT", "RENAME", old, {"destination": new}):
            raise StorageFailedError(f"cannot write '{new}' to remote '{self.name}': it cannot be renamed")

    def _is_done(
        self, method: str, operation: str, path: str, values: Mapping[str, str] | None = None
    ) -> bool:
        return bool(self._json(self._ask(method, operation, path, values=values).text(), "boolean"))

    def _remove_quietly(self, path: str) -> None:
        try:
            self._is_done("DELETE", "DELETE", path)
        except (StorageFailedError, StorageRefusedError, StorageMissingError, OSError):
            pass  # the cause is on its way to the person already

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        for key in keys:
            self._ask("DELETE", "DELETE", self._path(key), accepted=(404,)).release()

    def close(self) -> None:
        """Ends connections."""
        self._client.close()

    # Parts: a file under a temporary name that is made from key and size; what is there already is not sent again.

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        path = self._path(key)
        name = hashlib.sha256(f"{size} {key}".encode()).hexdigest()[:24]
        temporary = posixpath.join(posixpath.dirname(path), f".kist-part-{name}.tmp")
        have = self._known[temporary] = self._length(temporary)
        step = self.abilities.part_bytes
        parts = {
            number: (min(step, size - first), "")
            for number, first in enumerate(range(0, size, step))
            if min(first + step, size) <= have
        }
        return Upload(key, temporary, parts)

    def _length(self, path: str) -> int:
        found = self._status(path)
        return int(found["length"]) if found is not None else 0

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage: a try that broke off may have left the beginning of it.

        Lengths are all that is known of what is there. So what grew by another's hand is not gone on with: two that
        append to one file at once put parts in twice.
        """
        have, end = self._length(upload.id), first + len(data)
        if have < first:
            raise StorageFailedError(
                f"cannot write '{upload.key}' to remote '{self.name}': what was sent before is not there any more"
            )
        if have > end or self._known.get(upload.id) not in (None, have):
            raise self._shared(upload)
        self._known[upload.id] = None
        rest = Body.of(data[have - first :])
        if have == 0:
            self._create(upload.id, rest)
        elif rest.size:
            self._append(upload.id, rest)
        stored = self._length(upload.id)
        if stored < end:
            raise StorageFailedError(
                f"cannot write '{upload.key}' to remote '{self.name}': {stored} bytes are there of {end}"
            )
        if stored > end:
            self._remove_quietly(upload.id)
            raise self._shared(upload)
        self._known[upload.id] = stored
        return ""

    def _shared(self, upload: Upload) -> StorageFailedError:
        return StorageFailedError(
            f"cannot write '{upload.key}' to remote '{self.name}': another program writes it at the same time",
            hint="kist push",
        )

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        size = self._length(upload.id)
        if self._known.pop(upload.id, None) not in (None, size):
            self._remove_quietly(upload.id)
            raise self._shared(upload)
        self._rename(upload.id, self._path(upload.key))
        return Item(upload.key, size)

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        self._is_done("DELETE", "DELETE", upload.id)


def _item(key: str, found: Mapping[str, Any]) -> Item:
    modified_ms = int(found.get("modificationTime", 0))
    return Item(key, int(found["length"]), tag=f"{modified_ms}", modified_s=modified_ms / 1000)

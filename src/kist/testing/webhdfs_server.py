"""A stand-in for a Hadoop cluster's WebHDFS: NameNode and DataNode in one server, over a folder.

Answers as Hadoop's reference of the REST API says; no quotas, no replication, no Kerberos. Not here: a server for
users.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.parse
from typing import Any

from kist.testing.web_server import Handler, WebServer

_ROOT = "/webhdfs/v1"
_DATA = "/data"
"""Where the DataNode's part of the addresses begins."""


class WebhdfsServer(WebServer):
    """Serves a folder.

    Attributes:
        token: a delegation token that is asked for when set.
        readers: users that may not write.
        can_replace: whether a rename with `renameoptions=OVERWRITE` replaces, as on a NameNode; not on a gateway.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, handler=WebhdfsHandler)
        os.makedirs(folder, exist_ok=True)
        self.token: str | None = None
        self.readers: set[str] = set()
        self.can_replace = True


class WebhdfsHandler(Handler):
    """Answers one request."""

    server: WebhdfsServer

    def _serve(self) -> None:
        if not self._is_let_in():
            return
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        rel = urllib.parse.unquote(parts.path).removeprefix(_DATA).removeprefix(_ROOT)
        path = os.path.normpath(os.path.join(self.server.folder, rel.strip("/")))
        operation = query.get("op", "").upper()
        if self.server.token is not None and query.get("delegation") != self.server.token:
            self._refuse(401, "SecurityException", "Failed to obtain user group information")
        elif self.command != "GET" and query.get("user.name") in self.server.readers:
            self._refuse(403, "AccessControlException", f"Permission denied: user={query['user.name']}")
        elif parts.path.startswith(_DATA):
            self._data(operation, path, query)
        elif operation in ("OPEN", "CREATE", "APPEND"):
            if operation != "CREATE" and not os.path.isfile(path):
                self._missing(rel)
                return
            location = f"{self.server.url}{_DATA}{self.path}"
            self.answer(307, b"", {"Location": location})
        else:
            self._name(operation, path, rel, query)

    def _name(self, operation: str, path: str, rel: str, query: dict[str, str]) -> None:
        if operation == "GETFILESTATUS" and os.path.lexists(path):
            self._say({"FileStatus": _status(path, "")})
        elif operation == "LISTSTATUS" and os.path.isdir(path):
            found = [_status(os.path.join(path, name), name) for name in sorted(os.listdir(path))]
            self._say({"FileStatuses": {"FileStatus": found}})
        elif operation in ("GETFILESTATUS", "LISTSTATUS"):
            self._missing(rel)
        elif operation == "MKDIRS":
            os.makedirs(path, exist_ok=True)
            self._say({"boolean": True})
        elif operation == "RENAME":
            target = os.path.normpath(
                os.path.join(self.server.folder, query["destination"].removeprefix("/"))
            )
            is_there = os.path.lexists(path) and os.path.isdir(os.path.dirname(target))
            replaces = "OVERWRITE" in query.get("renameoptions", "").upper() and self.server.can_replace
            if replaces and is_there:
                os.replace(path, target)
                self.answer(200)
                return
            is_done = is_there and not os.path.lexists(target)
            if is_done:
                os.rename(path, target)
            self._say({"boolean": is_done})
        elif operation == "DELETE":
            is_there = os.path.lexists(path)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif is_there:
                os.unlink(path)
            self._say({"boolean": is_there})
        else:
            self._refuse(400, "UnsupportedOperationException", f"{operation} is not supported")

    def _data(self, operation: str, path: str, query: dict[str, str]) -> None:
        if operation == "OPEN":
            with open(path, "rb") as stream:
                stream.seek(int(query.get("offset", "0")))
                data = stream.read(int(query["length"]) if "length" in query else -1)
            self.answer(200, data, {"Content-Type": "application/octet-stream"})
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # As Hadoop does: what has come so far can be seen.
        body = self._body()
        with open(path, "ab" if operation == "APPEND" else "wb") as stream:
            stream.write(body or b"")
        if body is None:
            self.close_connection = True
            return
        self.send_response(200 if operation == "APPEND" else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _missing(self, rel: str) -> None:
        self._refuse(404, "FileNotFoundException", f"File does not exist: {rel}")

    def _refuse(self, status: int, name: str, message: str) -> None:
        body = {"RemoteException": {"exception": name, "javaClassName": name, "message": message}}
        self.answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _say(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the library's names


def _status(path: str, name: str) -> dict[str, Any]:
    found = os.stat(path)
    is_folder = os.path.isdir(path)
    return {
        "pathSuffix": name,
        "type": "DIRECTORY" if is_folder else "FILE",
        "length": 0 if is_folder else found.st_size,
        "modificationTime": int(found.st_mtime * 1000),
        "accessTime": int(found.st_atime * 1000),
        "owner": "ann",
        "group": "staff",
        "permission": "755" if is_folder else "644",
        "replication": 0 if is_folder else 1,
        "blockSize": 0 if is_folder else 128 << 20,
        "fileId": found.st_ino,
        "childrenNum": 0,
        "storagePolicy": 0,
    }

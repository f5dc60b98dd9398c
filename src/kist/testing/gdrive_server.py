"""A stand-in for Google Drive (API v3) and for the part of Google's login that it needs, in memory.

Answers as Google's reference says: queries, folders and files by id, names that need not be unique, the three ways to
upload, shared drives, the folder of application data, the trash, tokens. No rights of several people, no revisions.
Not here: a server for users. Implements the peer of docs/spec/storage.md, section 7.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kist.testing.web_server import Handler, WebServer

FOLDER = "application/vnd.google-apps.folder"
ROOT = "0ArootOfAnn"
APP_DATA = "1AppDataOfKist"
_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class DriveFile:
    """A file or folder."""

    def __init__(self, file: str, name: str, parent: str | None, mime: str, time: str) -> None:
        self.id = file
        self.name = name
        self.parent = parent
        self.mime = mime
        self.data = b""
        self.created = self.modified = time
        self.is_trashed = False
        self.is_abusive = False


class _Session(NamedTuple):
    file: str | None
    described: dict[str, Any]
    size: int
    data: bytearray


class GdriveServer(WebServer):
    """A Drive.

    Attributes:
        files: by id.
        drives: ids of shared drives; the folder at the top has the same.
        tokens: those that are valid.
        refresh_tokens: those that are valid.
        codes: given out to a browser -> (challenge, address to be sent back to).
        assertions: what service accounts signed, in parts.
        forms: all that was asked of the place that gives tokens.
        client: id and secret of the program that people log in to.
    """

    client = ("ours.apps.example", "clients-secret")

    def __init__(self, folder: str) -> None:
        super().__init__(folder, handler=GdriveHandler)
        self.files: dict[str, DriveFile] = {}
        self.drives: set[str] = set()
        self.tokens = {"t0ken"}
        self.refresh_tokens = {"refresh-secret"}
        self.codes: dict[str, tuple[str, str]] = {}
        self.assertions: list[list[bytes]] = []
        self.forms: list[dict[str, str]] = []
        self.sessions: dict[str, _Session] = {}
        self.lock = threading.RLock()
        self._count = 0
        for top in (ROOT, APP_DATA):
            self.add(top, None, FOLDER, file=top)

    def serial(self) -> int:
        """Returns a number that was not there before."""
        with self.lock:
            self._count += 1
            return self._count

    def time(self) -> str:
        """Returns a time that is later than all before."""
        now = _START + datetime.timedelta(milliseconds=self.serial())
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def add(
        self, name: str, parent: str | None, mime: str = "", *, file: str = "", data: bytes = b""
    ) -> DriveFile:
        """Makes a file or folder; another one of that name does not hinder."""
        with self.lock:
            made = DriveFile(
                file or f"1{self.serial():06d}{name[:4].encode().hex()}", name, parent, mime, self.time()
            )
            made.data = data
            self.files[made.id] = made
            return made

    def add_drive(self, name: str) -> str:
        """Makes a shared drive; returns its id."""
        drive = self.add(name, None, FOLDER, file=f"0A{name}PVA")
        self.drives.add(drive.id)
        return drive.id

    def find(self, path: str, top: str = ROOT) -> list[DriveFile]:
        """Returns what has a path below a folder, and is not in the trash."""
        here = [self.files[top]]
        for name in path.split("/"):
            ids = {each.id for each in here}
            here = [each for each in self.files.values() if each.parent in ids and each.name == name]
        return [each for each in here if not each.is_trashed]

    def top_of(self, found: DriveFile) -> str:
        """Returns the id of the folder at the top."""
        while found.parent is not None:
            found = self.files[found.parent]
        return found.id

    def is_gone(self, found: DriveFile) -> bool:
        """Says whether it, or a folder above it, lies in the trash."""
        here: DriveFile | None = found
        while here is not None:
            if here.is_trashed:
                return True
            here = self.files.get(here.parent) if here.parent is not None else None
        return False


class GdriveHandler(Handler):
    """Answers one request."""

    server: GdriveServer

    def _serve(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        path = urllib.parse.unquote(parts.path)
        if path == "/o/oauth2/v2/auth":
            self._authorize(query)
        elif path == "/token":
            self._give_token()
        elif self._is_let_in():
            body = self._body() if self.command in ("POST", "PUT", "PATCH") else b""
            if body is None:
                self.close_connection = True
                return
            if self.keeps_half:
                body, self.keeps_half = self._half_of(body), False
            with self.server.lock:
                self._route(path, query, body)

    def _half_of(self, body: bytes) -> bytes:
        """Returns a body of which the content is half lost."""
        border = re.match(rb"(--[^\r\n]+)\r\n", body)
        if border is None:
            return body[: len(body) // 2]
        head, _, content = body.partition(b"octet-stream\r\n\r\n")
        content = content.rpartition(b"\r\n" + border[1])[0]
        return head + b"octet-stream\r\n\r\n" + content[: len(content) // 2] + b"\r\n" + border[1] + b"--\r\n"

    def _is_let_in(self) -> bool:
        if not super()._is_let_in():
            return False
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.server.tokens:
            self._refuse(401, "authError", "Invalid Credentials")
            return False
        return True

    def _route(self, path: str, query: dict[str, str], body: bytes) -> None:
        _, _, file = path.removeprefix("/upload").partition("/drive/v3/files")
        file = self._resolved(file.strip("/"))
        if path.startswith("/session/"):
            self._session(path.rpartition("/")[2], body)
        elif path.startswith("/upload/drive/v3/files"):
            self._upload(file, query, body)
        elif path == "/drive/v3/about":
            self._say({"user": {"emailAddress": "ann@example.org"}})
        elif path == "/drive/v3/files" and self.command == "GET":
            self._list(query)
        elif path == "/drive/v3/files" and self.command == "POST":
            self._create(json.loads(body), b"")
        elif self._seen(file, query) is None:
            self._refuse(404, "notFound", f"File not found: {file}.")
        elif self.command == "GET":
            self._get(self.server.files[file], query)
        elif self.command == "DELETE":
            self._delete(file)
        elif self.command == "PATCH":
            self._change(self.server.files[file], json.loads(body))
        else:
            self._refuse(400, "badRequest", "what is that?")

    def _resolved(self, file: str) -> str:
        return {"root": ROOT, "appDataFolder": APP_DATA}.get(file, file)

    def _seen(self, file: str, query: dict[str, str]) -> DriveFile | None:
        found = self.server.files.get(file)
        if found is None or (
            self.server.top_of(found) in self.server.drives and query.get("supportsAllDrives") != "true"
        ):
            return None
        return found

    # Files

    def _list(self, query: dict[str, str]) -> None:
        try:
            wanted = parse_query(query.get("q", ""))
        except ValueError as error:
            self._refuse(400, "invalid", f"Invalid Value: {error}")
            return
        for parent in re.findall(r"'([^']*)' in parents", query.get("q", "")):
            if self._seen(self._resolved(parent), {"supportsAllDrives": "true"}) is None:
                self._refuse(404, "notFound", "File not found: .")
                return
        drive = query.get("driveId") if query.get("corpora") == "drive" else None
        spaces = query.get("spaces", "drive")
        found = []
        for each in self.server.files.values():
            top = self.server.top_of(each)
            is_in = top == drive if drive else (top == APP_DATA) == (spaces == "appDataFolder")
            is_in = is_in and (
                top not in self.server.drives or query.get("includeItemsFromAllDrives") == "true"
            )
            if is_in and each.parent is not None and wanted(each, self.server.is_gone(each)):
                found.append(each)
        first = int(query.get("pageToken", "0"))
        size = min(int(query.get("pageSize", "100")), 1000)
        answer: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
        answer["files"] = [self._shown(each) for each in found[first : first + size]]
        if first + size < len(found):
            answer["nextPageToken"] = str(first + size)
        self._say(answer)

    def _get(self, found: DriveFile, query: dict[str, str]) -> None:
        if query.get("alt") != "media":
            self._say(self._shown(found))
            return
        if found.mime == FOLDER:
            self._refuse(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
            return
        if found.is_abusive and query.get("acknowledgeAbuse") != "true":
            self._refuse(
                403, "cannotDownloadAbusiveFile", "This file has been identified as malware or spam."
            )
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        data = found.data
        if wanted is None or not data:
            self.answer(200, data, {"Content-Type": "application/octet-stream"})
            return
        first = int(wanted[1])
        last = min(len(data) - 1, int(wanted[2]) if wanted[2] else len(data) - 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.answer(206, data[first : last + 1], headers)

    def _delete(self, file: str) -> None:
        gone = {file}
        while more := {each.id for each in self.server.files.values() if each.parent in gone} - gone:
            gone |= more
        for each in gone:
            del self.server.files[each]
        self.answer(204)

    def _create(self, described: dict[str, Any], data: bytes) -> None:
        parent = self._resolved((described.get("parents") or [ROOT])[0])
        if parent not in self.server.files:
            self._refuse(404, "notFound", f"File not found: {parent}.")
            return
        mime = described.get("mimeType", "application/octet-stream")
        made = self.server.add(described.get("name", "Untitled"), parent, mime, data=data)
        self._say(self._shown(made))

    def _change(self, found: DriveFile, described: dict[str, Any], data: bytes | None = None) -> None:
        found.name = described.get("name", found.name)
        found.is_trashed = described.get("trashed", found.is_trashed)
        if data is not None:
            found.data = data
        found.modified = self.server.time()
        self._say(self._shown(found))

    def _shown(self, found: DriveFile) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "kind": "drive#file",
            "id": found.id,
            "name": found.name,
            "mimeType": found.mime,
            "trashed": self.server.is_gone(found),
            "createdTime": found.created,
            "modifiedTime": found.modified,
        }
        if found.parent is not None:
            shown["parents"] = [found.parent]
        if found.mime != FOLDER:
            shown["size"] = str(len(found.data))
            shown["md5Checksum"] = hashlib.md5(found.data, usedforsecurity=False).hexdigest()
        top = self.server.top_of(found)
        if top in self.server.drives:
            shown["driveId"] = top
        return shown

    # Uploads

    def _upload(self, file: str, query: dict[str, str], body: bytes) -> None:
        known = self._seen(file, query) if file else None
        if file and known is None:
            self._refuse(404, "notFound", f"File not found: {file}.")
            return
        kind = query.get("uploadType")
        described: dict[str, Any] = {}
        if kind == "multipart":
            described, body = _parts(self.headers.get("Content-Type", ""), body)
        elif kind == "resumable":
            described = json.loads(body or b"{}")
            parent = self._resolved((described.get("parents") or [ROOT])[0])
            if parent not in self.server.files:
                self._refuse(404, "notFound", f"File not found: {parent}.")
                return
            name = f"s{self.server.serial()}"
            size = int(self.headers.get("X-Upload-Content-Length", "-1"))
            self.server.sessions[name] = _Session(file or None, described, size, bytearray())
            self.answer(200, b"", {"Location": f"{self.server.url}/session/upload/{name}"})
            return
        self._store(known, described, body)

    def _store(self, known: DriveFile | None, described: dict[str, Any], data: bytes) -> None:
        if known is not None:
            self._change(known, described, data)
        else:
            self._create(described, data)

    def _session(self, name: str, body: bytes) -> None:
        session = self.server.sessions.get(name)
        if session is None:
            self._refuse(404, "notFound", "no such upload")
            return
        if self.command == "DELETE":
            del self.server.sessions[name]
            self.answer(499)
            return
        asked = self.headers.get("Content-Range")
        found = re.fullmatch(
            r"bytes (?:\*|(\d+)-(\d+))/(\d+|\*)", asked or f"bytes 0-{len(body) - 1}/{len(body)}"
        )
        if found is None or (found[1] is not None and int(found[1]) != len(session.data)):
            self._refuse(400, "badRequest", "that is not the next part")
            return
        if found[1] is not None:
            whole = found[3] != "*" and int(found[2]) + 1 == int(found[3])
            if not whole and len(body) % (256 << 10):
                self._refuse(400, "badRequest", "parts are multiples of 256 KiB")
                return
            session.data.extend(body)
        if found[3] != "*" and len(session.data) == int(found[3]):
            del self.server.sessions[name]
            known = self.server.files.get(session.file) if session.file else None
            self._store(known, session.described, bytes(session.data))
            return
        headers = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
        self.answer(308, b"", headers)

    # Logins

    def _authorize(self, query: dict[str, str]) -> None:
        """What a browser is shown, and a person who says yes."""
        if query.get("client_id") != self.server.client[0] or query.get("response_type") != "code":
            self.answer(400, b"who is that?")
            return
        code = f"code-{self.server.serial()}"
        self.server.codes[code] = (query["code_challenge"], query["redirect_uri"])
        back = urllib.parse.urlencode({"state": query["state"], "code": code})
        self.answer(302, b"", {"Location": f"{query['redirect_uri']}?{back}"})

    def _give_token(self) -> None:
        form = dict(urllib.parse.parse_qsl((self._body() or b"").decode("ascii")))
        self.server.forms.append(form)
        kind = form.get("grant_type", "")
        if kind == "refresh_token":
            is_right = form.get("refresh_token") in self.server.refresh_tokens and self._is_client(form)
        elif kind == "authorization_code":
            challenge, redirect = self.server.codes.pop(form.get("code", ""), ("", ""))
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            sent = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
            is_right = sent == challenge and form.get("redirect_uri") == redirect and self._is_client(form)
        else:
            self.server.assertions.append(form.get("assertion", "").encode("ascii").split(b"."))
            is_right = kind == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        if not is_right:
            self._say(
                {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, 400
            )
            return
        token = f"t0ken-{self.server.serial()}"
        self.server.tokens.add(token)
        answer = {"access_token": token, "expires_in": 3599, "token_type": "Bearer", "scope": "drive"}
        if kind == "authorization_code":
            answer["refresh_token"] = "refresh-secret"
        self._say(answer)

    def _is_client(self, form: dict[str, str]) -> bool:
        return (form.get("client_id"), form.get("client_secret")) == self.server.client

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._say(refusal(status, reason, message), status)

    def _say(self, value: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names


def refusal(status: int, reason: str, message: str = "no") -> dict[str, Any]:
    """Returns how the service says no."""
    one = {"domain": "global", "reason": reason, "message": message}
    return {"error": {"code": status, "message": message, "errors": [one]}}


def _parts(kind: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns the description and the content of a `multipart/related` body."""
    border = re.search(r'boundary="?([^";]+)', kind)
    if border is None:
        raise ValueError(kind)
    pieces = re.split(rb"\r?\n--" + re.escape(border[1].encode()), b"\n" + body)
    contents = [re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[1] for piece in pieces[1:3]]
    return json.loads(contents[0]), contents[1]


Test = Callable[[DriveFile, bool], bool]
"""Says whether a file, in the trash or not, is meant."""
_TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|([A-Za-z]+)|(!=|=|\(|\)))")


def parse_query(text: str) -> Test:
    """Returns what a search query means.

    Raises: ValueError.
    """
    tokens: list[str] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(text)
        tokens.append(found[0].strip())
        at = found.end()
    source = iter([*tokens, ""])
    return _Query(source).parsed() if tokens else lambda each, is_gone: True


class _Query:
    """Reads one query."""

    def __init__(self, tokens: Iterator[str]) -> None:
        self._tokens = tokens
        self._next = next(tokens)

    def _take(self) -> str:
        taken, self._next = self._next, next(self._tokens, "")
        return taken

    def parsed(self) -> Test:
        test = self._any()
        if self._next:
            raise ValueError(self._next)
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._next == "or":
            self._take()
            tests.append(self._all())
        return lambda each, is_gone: any(test(each, is_gone) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._next == "and":
            self._take()
            tests.append(self._one())
        return lambda each, is_gone: all(test(each, is_gone) for test in tests)

    def _one(self) -> Test:
        first = self._take()
        if first == "not":
            inner = self._one()
            return lambda each, is_gone: not inner(each, is_gone)
        if first == "(":
            inner = self._any()
            if self._take() != ")":
                raise ValueError("no )")
            return inner
        operator, second = self._take(), self._take()
        if operator == "in" and second == "parents":
            parent = {"root": ROOT, "appDataFolder": APP_DATA}.get(_text(first), _text(first))
            return lambda each, is_gone: each.parent == parent
        if first == "trashed" and operator == "=":
            return lambda each, is_gone: is_gone == (second == "true")
        if first not in ("name", "mimeType") or operator not in ("=", "!="):
            raise ValueError(f"{first} {operator}")
        wanted = _text(second).lower()  # the service does not mind the case
        is_name, is_same = first == "name", operator == "="
        return lambda each, is_gone: ((each.name if is_name else each.mime).lower() == wanted) == is_same


def _text(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])

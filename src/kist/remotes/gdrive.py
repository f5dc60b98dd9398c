"""Google Drive, by its interface v3: folders and files that have names, and are known by ids.

Names need not be unique there: of folders with one name all are looked into, of files with one name the newest counts.
Not here: who asks (remotes.gdrive_login), the steps of a resumable upload (remotes.sessions), requests and their
errors (remotes.web). Implements docs/spec/storage.md, section 7. Source: DVC's option names and addresses; Google's
reference of the Drive API v3.
"""

from __future__ import annotations

import json
import os
import posixpath
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from kist.base.shell import shell_line
from kist.remotes.gdrive_login import DriveLogin, endpoint_of
from kist.remotes.sessions import PART_BYTES, Sessions
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    Upload,
)
from kist.remotes.web import Answer, HttpClient

T = TypeVar("T")

_ADDRESS = "https://www.googleapis.com"
_FOLDER = "application/vnd.google-apps.folder"
_FIELDS = "id,name,size,md5Checksum,mimeType,parents,modifiedTime,createdTime,trashed"
_MULTIPART_BYTES = 5 << 20
"""Up to this size the service takes a file and its name in one request."""
_PARENTS = 40
"""How many folders one listing asks about: the address must not become too long."""
_FRESH_S = 300.0
"""How long a listing is trusted for what it did not have. What came meanwhile becomes a second file of one name."""
_LIMIT_PAUSE_S = 8.0
"""How long to wait when the service limits the rate, and does not say: its quota counts minutes."""
_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "quotaExceeded"})
_FULL = {
    "storageQuotaExceeded": "the Drive is full",
    "teamDriveFileLimitExceeded": "the shared drive has as many files as it may",
    "numChildrenInNonRootLimitExceeded": "a folder has as many files as it may",
}


class _Found(NamedTuple):
    """A file or folder as the service describes it."""

    id: str
    name: str
    is_folder: bool
    size: int
    md5: str | None
    parents: tuple[str, ...]
    modified: str
    created: str


# `list` is a method below, where its annotations are read.
_Some = list[_Found]
_Named = list[tuple[str, _Found]]
_Ids = dict[str, list[str] | None]


class _Listed(NamedTuple):
    """The files of a folder when it was listed: name -> ids, the newest first; None for one that changed since."""

    at_s: float
    files: _Ids


class _GoneError(Exception):
    """A folder or file that was there is not there any more; what was remembered is wrong. Never leaves this module."""


def open_storage(place: Place) -> GdriveStorage:
    """Returns the storage at an address `gdrive://FOLDER-ID/FOLDER`, `gdrive://root/...` or `gdrive://appDataFolder/...`."""
    return GdriveStorage(place)


class GdriveStorage:
    """A folder of a Drive."""

    def __init__(self, place: Place) -> None:
        base, _, folder = place.url.partition("://")[2].partition("/")
        self.name = place.name
        self.url = place.url
        if not base or ":" in base:
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': its address names no folder of Google Drive",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "gdrive://FOLDER-ID/FOLDER"),
            )
        self.abilities = Abilities(
            parts=True,
            part_bytes=PART_BYTES,
            in_order=True,
            resumes=True,
            by_id=True,
            part_limit=1 << 30,
            confirms=True,
            streams=8,
            most_streams=16,
        )
        self._base = base
        self._path = posixpath.normpath(folder).strip("/") if folder.strip("/") else ""
        self._address = endpoint_of(place) or _ADDRESS
        self._only_trashes = place.flag("gdrive_trash_only")
        self._takes_abuse = place.flag("gdrive_acknowledge_abuse")
        self._login = DriveLogin(place)
        self._client = HttpClient(place._replace(url=self._address), headers=self._login.headers)
        self._sessions = Sessions(self.name, self._address, self._session_step)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._drive: str | None = None
        self._folders: dict[str, list[str]] = {}
        """Path below the base -> the folders with that path, the oldest first; those that are there."""
        self._with_folders: dict[str, float] = {}
        """Path -> when all folders in it were asked for."""
        self._listed: dict[str, _Listed] = {}

    # Requests

    def _ask(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        key: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Returns an answer that is no refusal.

        Raises: _GoneError for 404.
        """
        shared = {"supportsAllDrives": "true"}
        address = f"{self._address}{path}?{urllib.parse.urlencode({**query, **shared})}"
        return self._ask_at(verb, method, address, key=key, body=body, headers=headers)

    def _ask_at(
        self,
        verb: str,
        method: str,
        address: str,
        *,
        key: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        accepted: tuple[int, ...] = (),
    ) -> Answer:
        understood = {400, 401, 403, 404, 429, *accepted}
        for is_last in (False, True):
            sent = self._login.headers()["Authorization"]
            try:
                answer = self._client.ask(
                    method, address, headers=headers, body=body, accepted=sorted(understood)
                )
            except StorageRefusedError as error:
                raise StorageRefusedError(
                    f"cannot {verb} '{key}' of remote '{self.name}': Google Drive refuses", hint=error.hint
                ) from error
            if answer.status == 401 and not is_last:
                answer.release()
                self._login.distrust(sent)  # it may have ended before its time
                continue
            break
        if answer.status < 400 or answer.status in accepted:
            return answer
        raise self._refusal(answer, verb, key)

    def _refusal(self, answer: Answer, verb: str, key: str) -> Exception:
        """Returns our error for an answer that says no, by its reason."""
        try:
            error = json.loads(answer.text())["error"]
            reason = str(error["errors"][0]["reason"])
        except (ValueError, KeyError, TypeError, IndexError):
            reason = ""
        shown = f"cannot {verb} '{key}' of remote '{self.name}'"
        if answer.status == 404:
            return _GoneError(key)
        if answer.status == 429 or reason in _LIMITS:
            wait_s = answer.retry_after_s()
            return StorageFailedError(
                f"{shown}: Google Drive wants fewer requests ({reason or answer.status})",
                retry_after_s=_LIMIT_PAUSE_S if wait_s is None else wait_s,
            )
        if answer.status == 401:
            return StorageAuthError(
                f"cannot use remote '{self.name}': Google Drive does not accept the login (401)",
                hint=f"log in on a terminal with `{shell_line('kist', 'remote', 'check', self.name)}`",
            )
        if reason in _FULL:
            return StorageRefusedError(f"{shown}: {_FULL[reason]}")
        if reason == "cannotDownloadAbusiveFile":
            return StoragePermissionError(
                f"{shown}: Google takes it for malware or spam (403)",
                hint=shell_line("kist", "remote", "modify", self.name, "gdrive_acknowledge_abuse", "true"),
            )
        if answer.status == 403:
            can_trash = verb == "delete" and not self._only_trashes
            return StoragePermissionError(
                f"{shown}: we lack the permission to {verb} there (403{f', {reason}' if reason else ''})",
                hint=shell_line("kist", "remote", "modify", self.name, "gdrive_trash_only", "true")
                if can_trash
                else "ask whoever owns the folder for it",
            )
        return StorageRefusedError(
            f"{shown}: Google Drive refuses ({answer.status}{f', {reason}' if reason else ''})"
        )

    def _json(self, answer: Answer) -> dict[str, Any]:
        return self._parsed(answer.text())

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise StorageFailedError(
                f"cannot use remote '{self.name}': the answer is none of Google Drive"
            ) from error
        if not isinstance(found, dict):
            raise StorageFailedError(f"cannot use remote '{self.name}': the answer is none of Google Drive")
        return found

    # Names and ids

    def _query(self, clause: str, *, key: str) -> Iterator[_Found]:
        """Yields what a question finds, page after page."""
        query = {
            "q": f"{clause} and trashed = false",
            "pageSize": "1000",
            "fields": f"nextPageToken,incompleteSearch,files({_FIELDS})",
            "includeItemsFromAllDrives": "true",
        }
        if self._base == "appDataFolder":
            query["spaces"] = "appDataFolder"
        elif self._drive is not None:
            query |= {"corpora": "drive", "driveId": self._drive}
        while True:
            page = self._json(self._ask("list", "GET", "/drive/v3/files", query, key=key))
            if page.get("incompleteSearch"):
                raise StorageFailedError(
                    f"cannot list remote '{self.name}': Google Drive did not look everywhere"
                )
            yield from (_found(each) for each in page.get("files", ()))
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def _root(self) -> str:
        """Returns the id of the folder that the address begins with."""
        known = self._folders.get("")
        if known:
            return known[0]
        fields = {"fields": "id,driveId,mimeType,trashed"}
        try:
            found = self._json(self._ask("read", "GET", _file(self._base), fields, key=""))
        except _GoneError as error:
            raise self._no_base() from error
        if found.get("trashed") or found.get("mimeType", _FOLDER) != _FOLDER:
            raise self._no_base()
        self._drive = found.get("driveId")
        self._folders[""] = [str(found["id"])]
        return str(found["id"])

    def _no_base(self) -> StorageMissingError:
        return StorageMissingError(
            f"cannot use remote '{self.name}': this login sees no folder '{self._base}' on Google Drive",
            hint="share the folder with the account that is logged in, or mend the address",
        )

    def _whole(self, key: str) -> str:
        """Returns the path of a key below the base."""
        return f"{self._path}/{key}".strip("/") if self._path else key

    def _ids(self, path: str, *, trusts: bool = False) -> list[str]:
        """Returns the folders with a path below the base, the oldest first; those of another program's making too.

        Args: trusts: whether a folder that a listing of late did not have is believed to be missing.
        """
        if not path:
            return [self._root()]
        known = self._folders.get(path)
        if known:
            return known
        above, _, name = path.rpartition("/")
        parents = self._ids(above, trusts=trusts)
        if not parents:
            return []
        with self._one_at_a_time(f"?{above}"):
            listed_s = self._with_folders.get(above)
            if path in self._folders:
                return self._folders[path]
            if listed_s is None:
                # Most likely the next question is about another folder in the same one.
                begun_s = time.monotonic()
                self._note_folders(
                    above, self._query(f"{_in(parents)} and mimeType = '{_FOLDER}'", key=above)
                )
                self._with_folders[above] = begun_s
            elif not trusts or time.monotonic() - listed_s > _FRESH_S:
                clause = f"{_in(parents)} and name = '{_quoted(name)}' and mimeType = '{_FOLDER}'"
                self._note_folders(above, self._query(clause, key=path))
            return self._folders.get(path, [])

    def _note_folders(self, above: str, found: Iterable[_Found]) -> None:
        by_path: dict[str, list[_Found]] = {}
        for each in found:
            by_path.setdefault(_joined(above, each.name), []).append(each)
        for path, same in by_path.items():
            same.sort(key=lambda each: (each.created, each.id))
            self._folders[path] = [each.id for each in same]

    def _make(self, path: str) -> str:
        """Returns the folder to write to, made where it is not there; by one thread: a name stops no second one."""
        known = self._folders.get(path)
        if known:
            return known[0]
        if not path:
            return self._root()
        above, _, name = path.rpartition("/")
        parent = self._make(above)
        with self._one_at_a_time(path):
            known = self._ids(path, trusts=True)
            if known:
                return known[0]
            values = {"name": name, "mimeType": _FOLDER, "parents": [parent]}
            made = self._json(self._ask_json("write", "POST", "/drive/v3/files", values, key=path))
            self._with_folders[path] = time.monotonic()  # it is empty
            self._listed[path] = _Listed(time.monotonic(), {})
            self._folders[path] = [str(made["id"])]
            return str(made["id"])

    def _ask_json(self, verb: str, method: str, path: str, values: Mapping[str, Any], *, key: str) -> Answer:
        body = Body.of(json.dumps(values).encode("utf-8"))
        headers = {"Content-Type": "application/json"}
        return self._ask(verb, method, path, {"fields": _FIELDS}, key=key, body=body, headers=headers)

    def _one_at_a_time(self, what: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(what, threading.Lock())

    def _forget(self) -> None:
        """Forgets all that was remembered: something of it turned out wrong."""
        self._folders.clear()
        self._with_folders.clear()
        self._listed.clear()

    def _twice(self, call: Callable[[], T]) -> T:
        """Returns the answer of a call, which is made once more where a folder that it used has gone meanwhile."""
        try:
            return call()
        except _GoneError:
            self._forget()
        try:
            return call()
        except _GoneError as error:
            raise StorageFailedError(
                f"cannot use '{error}' of remote '{self.name}': its folders change meanwhile"
            ) from None

    def _files(self, key: str) -> list[_Found]:
        """Returns the files with a key's name, the newest first."""
        path, name = posixpath.split(self._whole(key))

        def ask() -> list[_Found]:
            parents = self._ids(path)
            if not parents:
                return []
            clause = f"{_in(parents)} and name = '{_quoted(name)}' and mimeType != '{_FOLDER}'"
            # The service compares names without regard to case.
            return [each for each in self._query(clause, key=key) if each.name == name]

        return sorted(self._twice(ask), key=_age, reverse=True)

    def _remembered(self, key: str) -> list[str] | None:
        """Returns the ids of the files with a key's name by a listing of late, told once; None: not known."""
        path, name = posixpath.split(self._whole(key))
        with self._lock:
            listed = self._listed.get(path)
            if listed is None or time.monotonic() - listed.at_s > _FRESH_S:
                return None
            ids = listed.files.get(name, [])
            listed.files[name] = None
            return ids

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        found = self._files(key)
        return _item(key, found[0]) if found else None

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage: one request for some dozens of folders side by side."""
        yield from self._twice(lambda: [*self._walk(prefix)])

    def _walk(self, prefix: str) -> Iterator[Item]:
        top = self._whole(prefix.rpartition("/")[0])
        wanted = f"{self._path}/{prefix}" if self._path else prefix
        level = dict.fromkeys(self._ids(top), top)
        while level:
            below: dict[str, str] = {}
            paths = sorted(set(level.values()))
            for start in range(0, len(paths), _PARENTS):
                some = set(paths[start : start + _PARENTS])
                part = {folder: path for folder, path in level.items() if path in some}
                newest, folders = self._look_into(part)
                below.update((each.id, path) for path, each in folders if _is_below(path, wanted))
                for path, each in newest.items():
                    if path.startswith(wanted):
                        yield _item(self._key(path), each)
            level = below

    def _look_into(
        self, folders: Mapping[str, str]
    ) -> tuple[Mapping[str, _Found], Sequence[tuple[str, _Found]]]:
        """Returns the files in folders (id -> path), by path, and the folders in them; remembers both."""
        at_s = time.monotonic()
        files: dict[str, _Some] = {}
        inner: _Named = []
        for each in self._query(_in([*folders]), key=min(folders.values())):
            above = next((folders[parent] for parent in each.parents if parent in folders), None)
            if above is None:
                continue
            path = _joined(above, each.name)
            if each.is_folder:
                inner.append((path, each))
            else:
                files.setdefault(path, []).append(each)
        listed: dict[str, _Ids] = {path: {} for path in folders.values()}
        for path, same in files.items():
            same.sort(key=_age, reverse=True)
            above, _, name = path.rpartition("/")
            listed[above][name] = [each.id for each in same]
        for above, names in listed.items():
            self._note_folders(above, (each for path, each in inner if path.rpartition("/")[0] == above))
            self._with_folders[above] = at_s
            self._listed[above] = _Listed(at_s, names)
        return {path: same[0] for path, same in files.items()}, inner

    def _key(self, path: str) -> str:
        return path[len(self._path) + 1 :] if self._path else path

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        answer = None
        remembered = self._remembered(key)
        for ids in (remembered, None) if remembered else (None,):
            newest = ids or [each.id for each in self._files(key)]
            if not newest:
                break
            try:
                answer = self._content(newest[0], key, first, size)
                break
            except _GoneError:
                continue
        if answer is None:
            raise StorageMissingError(f"cannot read '{key}' of remote '{self.name}': it is not there")
        yield from answer.blocks(skip=first if answer.status == 200 else 0, size=size)

    def _content(self, file: str, key: str, first: int, size: int | None) -> Answer:
        headers = {}
        if first or size is not None:
            headers["Range"] = f"bytes={first}-" + ("" if size is None else str(first + size - 1))
        query = {"alt": "media"}
        if self._takes_abuse:
            query["acknowledgeAbuse"] = "true"
        return self._ask("read", "GET", _file(file), query, key=key, headers=headers)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: a file that is there gets the new content at once, another is there with all of its bytes."""
        return self._twice(lambda: self._write(key, body))

    def _write(self, key: str, body: Body) -> Item:
        ids = self._remembered(key)
        if ids is None:
            ids = [each.id for each in self._files(key)]
        if ids:
            query = {"uploadType": "media", "fields": _FIELDS}
            headers = {"Content-Type": "application/octet-stream"}
            path = f"/upload{_file(ids[0])}"
            answer = self._ask("write", "PATCH", path, query, key=key, body=body, headers=headers)
        elif body.size > _MULTIPART_BYTES:
            answer = self._write_in_session(key, body)
        else:
            answer = self._write_with_name(key, body)
        item = self._stored(key, self._json(answer))
        for other in ids[1:]:
            self._remove(other, key)
        if body.md5 is not None and item.md5 is not None and item.md5 != body.md5.hex():
            raise StorageFailedError(
                f"cannot write '{key}' of remote '{self.name}': Google Drive stored other bytes"
            )
        return item

    def _write_with_name(self, key: str, body: Body) -> Answer:
        border = f"kist-{os.urandom(12).hex()}"
        described = json.dumps(self._described(key))
        head = (
            f"--{border}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{described}\r\n"
            f"--{border}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{border}--\r\n".encode()

        def blocks() -> Iterator[bytes]:
            yield head
            yield from body.open()
            yield tail

        query = {"uploadType": "multipart", "fields": _FIELDS}
        headers = {"Content-Type": f"multipart/related; boundary={border}"}
        whole = Body(len(head) + body.size + len(tail), blocks)
        return self._ask(
            "write", "POST", "/upload/drive/v3/files", query, key=key, body=whole, headers=headers
        )

    def _write_in_session(self, key: str, body: Body) -> Answer:
        session = self._sessions.address_of(key, self._open_session(key, body.size, []))
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask_at("write", "PUT", session, key=key, body=body, headers=headers)

    def _described(self, key: str) -> dict[str, Any]:
        path, name = posixpath.split(self._whole(key))
        folder = self._make(path)
        with self._lock:
            if path in self._listed:
                # Whatever comes of what is sent now, the next question about it is asked.
                self._listed[path].files[name] = None
        return {"name": name, "parents": [folder]}

    def _stored(self, key: str, found: Mapping[str, Any]) -> Item:
        if found.get("trashed"):
            raise _GoneError(key)  # its folder lies in the trash
        return _item(key, _found(found))

    # Parts

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        upload = self._sessions.continued(key, size, before) if before is not None else None
        if upload is not None:
            return upload

        def open_session() -> Answer:
            return self._open_session(key, size, [each.id for each in self._files(key)])

        return self._sessions.opened(key, size, self._twice(open_session))

    def _open_session(self, key: str, size: int, ids: Sequence[str]) -> Answer:
        query = {"uploadType": "resumable", "fields": _FIELDS}
        headers = {"X-Upload-Content-Length": str(size), "Content-Type": "application/json; charset=UTF-8"}
        method, path = ("PATCH", _file(ids[0])) if ids else ("POST", "/drive/v3/files")
        values = {} if ids else self._described(key)
        body = Body.of(json.dumps(values).encode("utf-8"))
        return self._ask("write", method, f"/upload{path}", query, key=key, body=body, headers=headers)

    def _session_step(
        self, method: str, address: str, headers: dict[str, str], body: Body, accepted: tuple[int, ...]
    ) -> Answer:
        try:
            return self._ask_at(
                "write", method, address, key="", body=body, headers=headers, accepted=accepted
            )
        except _GoneError as error:
            raise StorageFailedError(f"cannot write to remote '{self.name}': the upload has ended") from error

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        self._sessions.put(upload, first, data)
        return ""

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        try:
            return self._stored(upload.key, self._parsed(self._sessions.finish(upload)))
        except _GoneError as error:
            self._forget()
            raise StorageRefusedError(
                f"cannot write '{upload.key}' of remote '{self.name}': its folder was thrown away meanwhile",
                hint="kist push",
            ) from error

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        self._sessions.abort(upload)

    # Clean-up

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage: all files with that name; into the trash where the options say so."""
        for key in keys:
            for file in self._remembered(key) or [each.id for each in self._files(key)]:
                self._remove(file, key)

    def _remove(self, file: str, key: str) -> None:
        try:
            if self._only_trashes:
                self._ask_json("delete", "PATCH", _file(file), {"trashed": True}, key=key).release()
            else:
                self._ask("delete", "DELETE", _file(file), {}, key=key).release()
        except _GoneError:
            pass

    def close(self) -> None:
        """Ends connections."""
        self._client.close()


def _file(file: str) -> str:
    return f"/drive/v3/files/{urllib.parse.quote(file, safe='')}"


def _joined(above: str, name: str) -> str:
    return f"{above}/{name}" if above else name


def _is_below(path: str, prefix: str) -> bool:
    """Says whether a folder can hold something that begins with a prefix."""
    return f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/")


def _in(parents: Sequence[str]) -> str:
    return "(" + " or ".join(f"'{_quoted(parent)}' in parents" for parent in parents) + ")"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _age(found: _Found) -> tuple[str, str]:
    return found.modified, found.id


def _found(value: Mapping[str, Any]) -> _Found:
    return _Found(
        str(value["id"]),
        str(value["name"]),
        value.get("mimeType") == _FOLDER,
        int(value.get("size", -1)),
        value.get("md5Checksum"),
        tuple(value.get("parents", ())),
        str(value.get("modifiedTime", "")),
        str(value.get("createdTime", "")),
    )


def _item(key: str, found: _Found) -> Item:
    import datetime

    modified_s = None
    if found.modified:
        modified_s = datetime.datetime.fromisoformat(found.modified.replace("Z", "+00:00")).timestamp()
    return Item(key, found.size, tag=found.md5, modified_s=modified_s, md5=found.md5)

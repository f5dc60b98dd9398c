"""Google Cloud Storage, by its JSON interface.

Credentials: the file of a service account or a login (`credentialpath`, GOOGLE_APPLICATION_CREDENTIALS), what `gcloud`
left, or the machine's own. Not here: requests and their errors (remotes.web). Implements docs/spec/storage.md.
Source: DVC's option names; Google's reference of the JSON API.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kist.base.shell import shell_line
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
    extra_missing,
)
from kist.remotes.web import Answer, HttpClient, origin, refuse_login

_ADDRESS = "https://storage.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_PART_BYTES = 16 << 20
_PERMISSIONS = {
    "read": "storage.objects.get",
    "write": "storage.objects.create",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
    "look at": "storage.buckets.get",
}


def open_storage(place: Place) -> GsStorage:
    """Returns the storage at an address `gs://BUCKET/FOLDER`."""
    return GsStorage(place)


class GsStorage:
    """A folder of a bucket."""

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        refuse_login(place)
        self.name = place.name
        self.url = place.url
        self.bucket = parts.netloc
        self._folder = urllib.parse.unquote(parts.path).strip("/")
        self.abilities = Abilities(
            parts=True,
            part_bytes=_PART_BYTES,
            part_limit=1 << 30,  # a session counts bytes, so its parts need not grow with the value
            in_order=True,
            resumes=True,
            by_id=True,
            confirms=True,
            streams=32,
            most_streams=64,
            versions=True,
        )
        if not self.bucket:
            raise StorageRefusedError(
                f"cannot use remote '{self.name}': its address names no bucket",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "gs://BUCKET/FOLDER"),
            )
        endpoint = place.options.get("endpointurl") or place.environ.get("STORAGE_EMULATOR_HOST")
        self._address = (endpoint if not endpoint or "://" in endpoint else f"http://{endpoint}") or _ADDRESS
        self._address = self._address.rstrip("/")
        self._place = place
        self._is_emulated = endpoint is not None
        self._lock = threading.Lock()
        self._open_uploads: dict[str, tuple[int, dict[int, bytes]]] = {}
        """Session -> size of the whole, and its last part by its first byte."""
        self._credentials: Any = None
        self._client = HttpClient(place._replace(url=self._address), headers=self._headers)

    # Credentials

    def _headers(self) -> Mapping[str, str]:
        """Returns who we are, with a token that is valid still."""
        path = self._place.options.get("credentialpath")
        if self._place.flag("allow_anonymous_login") or (self._is_emulated and path is None):
            return {}
        try:
            from google.auth import exceptions
            from google.auth.transport.urllib3 import Request
        except ModuleNotFoundError as error:
            raise extra_missing(self.name, error, "gs") from error
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = self._found(path)
                if not self._credentials.valid:
                    import urllib3

                    self._credentials.refresh(Request(urllib3.PoolManager()))
            except (exceptions.GoogleAuthError, ValueError) as error:
                raise StorageAuthError(
                    f"cannot use remote '{self.name}': there are no Google credentials that work"
                    f" ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
                    hint="gcloud auth application-default login",
                ) from error
            return {"Authorization": f"Bearer {self._credentials.token}"}

    def _found(self, path: str | None) -> Any:
        import google.auth

        if path is not None:
            return google.auth.load_credentials_from_file(self._checked(path), scopes=[_SCOPE])[0]
        given = self._place.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if given:
            self._checked(given)
        return google.auth.default(scopes=[_SCOPE])[0]

    def _checked(self, path: str) -> str:
        hint = shell_line("kist", "remote", "modify", "--local", self.name, "credentialpath", "FILE")
        try:
            with open(path, "rb") as stream:
                json.load(stream)
        except OSError as error:
            raise StorageAuthError(
                f"cannot use remote '{self.name}': the credentials file '{path}' cannot be read ({error.strerror})",
                hint=hint,
            ) from error
        except ValueError as error:
            raise StorageAuthError(
                f"cannot use remote '{self.name}': the credentials file '{path}' is no JSON", hint=hint
            ) from error
        return path

    # Requests

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}" if self._folder else key

    def _key(self, path: str) -> str:
        return path[len(self._folder) + 1 :] if self._folder else path

    def _object(self, key: str) -> str:
        return f"/b/{self.bucket}/o/{urllib.parse.quote(self._path(key), safe='')}"

    def _ask(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        key: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            return self._client.ask(method, self._address + path, headers=headers or {}, body=body)
        except StoragePermissionError as error:
            permission = _PERMISSIONS[verb]
            raise StoragePermissionError(
                f"cannot {verb} '{key}' of remote '{self.name}': we lack '{permission}' on '{self.bucket}' (403)",
                hint="ask whoever owns the bucket for it",
            ) from error
        except StorageMissingError as error:
            if verb in ("write", "list"):
                raise StorageMissingError(
                    f"cannot use remote '{self.name}': there is no bucket '{self.bucket}'",
                    hint=shell_line("kist", "remote", "modify", self.name, "url", "gs://BUCKET/FOLDER"),
                ) from error
            raise StorageMissingError(
                f"cannot {verb} '{key}' of remote '{self.name}': it is not there"
            ) from error

    def _item(self, found: Mapping[str, Any]) -> Item:
        modified = found.get("updated")
        return Item(
            self._key(found["name"]),
            int(found["size"]),
            tag=_tag(found.get("etag")),
            version=found.get("generation"),
            modified_s=_seconds(modified) if modified else None,
            md5=base64.b64decode(found["md5Hash"]).hex() if found.get("md5Hash") else None,
            is_latest="timeDeleted" not in found,
        )

    # Values

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        return self._head(key, "")

    def _head(self, key: str, query: str) -> Item | None:
        try:
            answer = self._ask("read", "GET", f"/storage/v1{self._object(key)}{query}", key=key)
        except StorageMissingError:
            return None
        return self._item(json.loads(answer.text()))

    def list(self, prefix: str) -> Iterator[Item]:
        """As of Storage."""
        return self._list(prefix, {})

    def _list(self, prefix: str, query: dict[str, str]) -> Iterator[Item]:
        query |= {"prefix": self._path(prefix), "maxResults": "1000"}
        query["fields"] = "nextPageToken,items(name,size,etag,generation,updated,md5Hash,timeDeleted)"
        while True:
            path = f"/storage/v1/b/{self.bucket}/o?{urllib.parse.urlencode(query)}"
            page = json.loads(self._ask("list", "GET", path, key=prefix).text())
            for found in page.get("items", []):
                yield self._item(found)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        return self._read(key, "", first, size)

    def _read(self, key: str, query: str, first: int, size: int | None) -> Iterator[bytes]:
        if size == 0:
            return
        headers = {}
        if first or size is not None:
            headers["Range"] = f"bytes={first}-" + ("" if size is None else str(first + size - 1))
        path = f"/download/storage/v1{self._object(key)}?alt=media{query}"
        answer = self._ask("read", "GET", path, key=key, headers=headers)
        yield from answer.blocks(skip=first if answer.status == 200 else 0, size=size)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: the service shows a value when all of its bytes are there."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": self._path(key)})
        path = f"/upload/storage/v1/b/{self.bucket}/o?{query}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._ask("write", "POST", path, key=key, body=body, headers=headers)
        found = json.loads(answer.text())
        md5 = found.get("md5Hash")
        if body.md5 is not None and md5 and base64.b64decode(md5) != body.md5:
            raise StorageFailedError(f"cannot write '{key}': the service stored other bytes")
        return self._item(found)

    # Versions: Google calls them generations, and gives a number to each write whether the bucket keeps them or not.

    @property
    def versions_hint(self) -> str:
        """As of VersionedStorage."""
        return shell_line("gcloud", "storage", "buckets", "update", f"gs://{self.bucket}", "--versioning")

    def keeps_versions(self) -> bool | None:
        """As of VersionedStorage."""
        try:
            answer = self._ask("look at", "GET", f"/storage/v1/b/{self.bucket}", key=self.bucket)
        except StoragePermissionError:
            return None
        return bool(json.loads(answer.text()).get("versioning", {}).get("enabled"))

    def versions(self, prefix: str) -> Iterator[Item]:
        """As of VersionedStorage."""
        return self._list(prefix, {"versions": "true"})

    def head_version(self, key: str, version: str) -> Item | None:
        """As of VersionedStorage."""
        return self._head(key, f"?generation={urllib.parse.quote(version)}") if version.isdigit() else None

    def read_version(
        self, key: str, version: str, *, first: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """As of VersionedStorage."""
        return self._read(key, f"&generation={urllib.parse.quote(version)}", first, size)

    # Parts: a resumable session, which takes them in their order, and is known by its address alone. The last part
    # makes the value visible, so it waits here for `finish`.

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        have = self._have(before, size) if before else None
        if before is not None and have is not None:
            self._open_uploads[before] = (size, {})
            step = self.abilities.part_bytes
            return Upload(key, before, dict.fromkeys(range(min(have, size - 1) // step), (step, "")))
        query = urllib.parse.urlencode({"uploadType": "resumable", "name": self._path(key)})
        headers = {"X-Upload-Content-Length": str(size), "Content-Type": "application/json"}
        path = f"/upload/storage/v1/b/{self.bucket}/o?{query}"
        answer = self._ask("write", "POST", path, key=key, body=Body.of(b"{}"), headers=headers)
        answer.release()
        session = answer.headers.get("Location")
        if session is None:
            raise StorageFailedError(f"cannot write '{key}' of remote '{self.name}': no upload was opened")
        self._open_uploads[session] = (size, {})
        return Upload(key, session, {})

    def _have(self, session: str, size: int) -> int | None:
        """Returns how many bytes a session has, or None where it has ended or is another origin's."""
        if origin(session) != origin(self._address):
            return None
        headers = {"Content-Range": f"bytes */{size}"}
        answer = self._client.ask(
            "PUT", session, headers=headers, body=Body.of(b""), accepted=(308, 400, 404, 410, 499)
        )
        answer.release()
        return _persisted(answer) if answer.status == 308 else None

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        size, last = self._open_uploads[upload.id]
        if first + len(data) >= size:
            last[first] = data
            return ""
        answer = self._put(upload, first, data, size)
        if answer.status != 308 or _persisted(answer) < first + len(data):
            raise StorageFailedError(
                f"cannot write '{upload.key}' of remote '{self.name}': the service took only a part"
            )
        return ""

    def _put(self, upload: Upload, first: int, data: bytes, size: int) -> Answer:
        headers = {"Content-Range": f"bytes {first}-{first + len(data) - 1}/{size}"}
        answer = self._client.ask("PUT", upload.id, headers=headers, body=Body.of(data), accepted=(308,))
        if answer.status == 308:
            answer.release()
        return answer

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        size, last = self._open_uploads[upload.id]
        ((first, data),) = last.items()
        answer = self._put(upload, first, data, size)
        if answer.status == 308:
            raise StorageFailedError(
                f"cannot write '{upload.key}' of remote '{self.name}': the service took only a part"
            )
        del self._open_uploads[upload.id]
        return self._item(json.loads(answer.text()))

    def abort(self, upload: Upload) -> None:
        """As of Storage."""
        self._open_uploads.pop(upload.id, None)
        self._client.ask("DELETE", upload.id, accepted=(400, 404, 405, 410, 499)).release()

    def delete(self, keys: Sequence[str]) -> None:
        """As of Storage."""
        for key in keys:
            try:
                self._ask("delete", "DELETE", f"/storage/v1{self._object(key)}", key=key).release()
            except StorageMissingError:
                continue

    def close(self) -> None:
        """Ends connections."""
        self._client.close()


def _tag(text: str | None) -> str | None:
    """Returns an ETag as DVC writes them into metafiles: what base64 says of it, in hexadecimal."""
    try:
        return base64.b64decode(text, validate=True).hex() if text else None
    except ValueError:
        return text


def _persisted(answer: Answer) -> int:
    """Returns how many bytes a session has, from `Range: bytes=0-LAST`; without it, none."""
    last = answer.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0


def _seconds(text: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

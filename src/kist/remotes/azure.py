"""Azure Blob Storage.

Credentials: a connection string, an account's key, a SAS token, a service principal, or what Azure offers by itself
(managed identity, workload identity, `az login`). Not here: threads and retries (transfer.engine). Implements
docs/spec/storage.md. Source: DVC's option names.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import hmac
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import obstore
from obstore.store import AzureStore

from kist.base.shell import shell_line
from kist.remotes.cloud import CloudStorage
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    Upload,
)
from kist.remotes.web import Answer, HttpClient

_VERSION = "2020-10-02"
_SIGNED_S = 12 * 3600
_PERMISSIONS = {
    "read": "Storage Blob Data Reader",
    "write": "Storage Blob Data Contributor",
    "list": "Storage Blob Data Reader",
    "delete": "Storage Blob Data Contributor",
}


class _Login(NamedTuple):
    """Who asks: an account, where it lives when that is not Azure itself, and its key or a SAS token."""

    account: str
    endpoint: str | None
    key: str | None
    token: str | None


def open_storage(place: Place) -> AzureStorage:
    """Returns the storage at an address `azure://CONTAINER/FOLDER`."""
    return AzureStorage(place)


class AzureStorage(CloudStorage):
    """A folder of a container."""

    kind = "container"

    def __init__(self, place: Place) -> None:
        parts = urllib.parse.urlsplit(place.url)
        able = Abilities(
            page=5000,
            parts=True,
            part_limit=50_000,
            resumes=True,
            deletes=100,
            streams=32,
            most_streams=96,
        )
        super().__init__(place, bucket=parts.netloc, folder=urllib.parse.unquote(parts.path), abilities=able)
        self._lock = threading.Lock()
        self._signed: dict[tuple[str, str], tuple[float, str]] = {}
        self._http: HttpClient | None = None

    def _setting(self, option: str, *variables: str) -> str | None:
        found = self.options.get(option)
        return found or next((value for name in variables if (value := self.place.environ.get(name))), None)

    @functools.cached_property
    def _login(self) -> _Login:
        account = self._setting("account_name", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
        key = self._setting("account_key", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
        token = self._setting("sas_token", "AZURE_STORAGE_SAS_TOKEN")
        text = self._setting("connection_string", "AZURE_STORAGE_CONNECTION_STRING")
        endpoint = None
        if text is not None:
            pairs = dict(part.split("=", 1) for part in text.strip().strip(";").split(";") if "=" in part)
            account = pairs.get("AccountName", account)
            key = pairs.get("AccountKey", key)
            token = pairs.get("SharedAccessSignature", token)
            if "BlobEndpoint" in pairs:
                endpoint = pairs["BlobEndpoint"].rstrip("/")
            elif "EndpointSuffix" in pairs and account:
                protocol = pairs.get("DefaultEndpointsProtocol", "https")
                endpoint = f"{protocol}://{account}.blob.{pairs['EndpointSuffix']}"
        if account is None:
            raise StorageAuthError(
                f"cannot use remote '{self.name}': no account is named",
                hint=shell_line("kist", "remote", "modify", self.name, "account_name", "ACCOUNT"),
            )
        if self.is_anonymous:
            return _Login(account, endpoint, None, None)
        return _Login(account, endpoint, key, token.lstrip("?") if token and not key else None)

    @functools.cached_property
    def store(self) -> Any:
        """As of CloudStorage."""
        login = self._login
        config: dict[str, Any] = {"account_name": login.account}
        if login.endpoint is not None:
            config["endpoint"] = login.endpoint
        if self.is_anonymous:
            config["skip_signature"] = True
        elif login.key:
            config["account_key"] = login.key
        elif login.token:
            config["sas_key"] = login.token
        else:
            for option, variable in (
                ("tenant_id", "AZURE_TENANT_ID"),
                ("client_id", "AZURE_CLIENT_ID"),
                ("client_secret", "AZURE_CLIENT_SECRET"),
            ):
                value = self._setting(option, variable)
                if value:
                    config[option] = value
            if "client_secret" not in config and not self.place.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
                config["use_azure_cli"] = not self.place.environ.get("IDENTITY_ENDPOINT")
        with self.translated("use", ""):
            return AzureStore(
                self.bucket,
                config=config,  # type: ignore[arg-type]
                client_options=self.client_options(),  # type: ignore[arg-type]
                retry_config={"max_retries": 0},
            )

    def permission(self, verb: str) -> str:
        """As of CloudStorage."""
        return _PERMISSIONS.get(verb, "Storage Blob Data Reader")

    def refusal(self, error: Exception, verb: str, key: str) -> Exception | None:
        """As of CloudStorage."""
        text = str(error)
        if "ContainerNotFound" in text or "The specified container does not exist" in text:
            return StorageMissingError(
                f"cannot use remote '{self.name}': there is no container '{self.bucket}'",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "azure://CONTAINER/FOLDER"),
            )
        if (
            "AuthenticationFailed" in text
            or "az account get-access-token" in text
            or "azure cli" in text.lower()
        ):
            return StorageAuthError(
                f"cannot use remote '{self.name}': Azure does not accept the credentials, or there are none",
                hint="az login",
            )
        return None

    # Parts: blocks, whose names say which value they are of; what nobody puts together the service forgets in a week.
    # obstore knows no blocks, but signs addresses.

    def _address(self, method: Literal["GET", "PUT"], key: str, query: Mapping[str, str]) -> str:
        """Returns an address at which a request needs no other credentials."""
        with self._lock:
            expires_s, address = self._signed.get((method, key), (0.0, ""))
            if expires_s < time.monotonic():
                address = self._sign(method, key)
                if len(self._signed) > 100:
                    self._signed.clear()
                self._signed[method, key] = time.monotonic() + _SIGNED_S / 2, address
            if self._http is None:
                place = self.place._replace(url=address, options=_timeouts(self.options))
                self._http = HttpClient(place, headers=lambda: {"x-ms-version": _VERSION})
        return f"{address}&{urllib.parse.urlencode(query)}"

    def _sign(self, method: Literal["GET", "PUT"], key: str) -> str:
        login, path = self._login, self.path_of(key)
        if login.key is None and login.token is None and not self.is_anonymous:
            with self.translated("write", key):
                return obstore.sign(self.store, method, path, datetime.timedelta(seconds=_SIGNED_S))
        token = login.token or ""
        if login.key is not None:
            # obstore 0.12 signs the quoted path, which the service refuses where that is another.
            expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=_SIGNED_S)
            values = {
                "sp": "r" if method == "GET" else "w",
                "se": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "sv": _VERSION,
                "sr": "b",
            }
            place = f"/blob/{login.account}/{self.bucket}/{path}"
            lines = [values["sp"], "", values["se"], place, "", "", "", _VERSION, "b", "", "", "", "", "", ""]
            values["sig"] = _signature(login.key, "\n".join(lines))
            token = urllib.parse.urlencode(values)
        endpoint = login.endpoint or f"https://{login.account}.blob.core.windows.net"
        return f"{endpoint}/{self.bucket}/{urllib.parse.quote(path)}?{token}"

    def _ask(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        query: Mapping[str, str],
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        accepted: Sequence[int] = (),
    ) -> Answer:
        address = self._address(method, key, query)
        assert self._http is not None
        try:
            return self._http.ask(method, address, body=body, headers=headers, accepted=accepted)
        except StoragePermissionError as error:
            raise StoragePermissionError(
                f"cannot write '{key}' of remote '{self.name}': the credentials are wrong, or lack"
                f" '{self.permission('write')}' on container '{self.bucket}' (403)",
                hint="ask whoever owns the container for it",
            ) from error
        except StorageMissingError as error:
            raise StorageMissingError(
                f"cannot use remote '{self.name}': there is no container '{self.bucket}'",
                hint=shell_line("kist", "remote", "modify", self.name, "url", "azure://CONTAINER/FOLDER"),
            ) from error

    def begin(self, key: str, size: int, *, before: str | None = None) -> Upload:
        """As of Storage."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        answer = self._ask("GET", key, query, accepted=(404,))
        if answer.status == 404:
            answer.release()
            return Upload(key, f"{size:x}", {})
        import xml.etree.ElementTree as Tree  # only large values need it

        parts: dict[int, tuple[int, str]] = {}
        try:
            for block in Tree.fromstring(answer.text()).iter("Block"):  # expat bounds entities
                name = block.findtext("Name") or ""
                number = _number_of(name, size)
                if number is not None:
                    parts[number] = (int(block.findtext("Size") or 0), name)
        except (Tree.ParseError, ValueError) as error:
            raise StorageFailedError(
                f"cannot write '{key}' of remote '{self.name}': its list of blocks cannot be read"
            ) from error
        return Upload(key, f"{size:x}", parts)

    def put_part(self, upload: Upload, number: int, first: int, data: bytes) -> str:
        """As of Storage."""
        name = _block_name(number, int(upload.id, 16))
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")
        query = {"comp": "block", "blockid": name}
        headers = {"Content-MD5": md5}
        self._ask("PUT", upload.key, query, body=Body.of(data), headers=headers).release()
        return name

    def finish(self, upload: Upload, tags: Mapping[int, str]) -> Item:
        """As of Storage."""
        names = "".join(f"<Uncommitted>{tags[number]}</Uncommitted>" for number in sorted(tags))
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{names}</BlockList>'.encode()
        headers = {"Content-Type": "application/xml"}
        answer = self._ask("PUT", upload.key, {"comp": "blocklist"}, body=Body.of(body), headers=headers)
        answer.release()
        item = self.head(upload.key)
        if item is None:
            raise StorageFailedError(f"cannot write '{upload.key}': it is not there after its last part")
        return item

    def abort(self, upload: Upload) -> None:
        """Does nothing: blocks that nobody puts together are never seen, and are removed by the service."""

    def close(self) -> None:
        """Ends connections."""
        if self._http is not None:
            self._http.close()


def _signature(key: str, text: str) -> str:
    mac = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode("ascii")


def _block_name(number: int, size: int) -> str:
    """Returns the name of a block: all of one value's have the same length, as the service demands."""
    return base64.b64encode(f"kist-{size:016x}-{number:06d}".encode()).decode("ascii")


def _number_of(name: str, size: int) -> int | None:
    try:
        kind, whole, number = base64.b64decode(name).decode("ascii").split("-")
        is_own = kind == "kist" and int(whole, 16) == size
        return int(number) if is_own else None
    except ValueError:
        return None


def _timeouts(options: Mapping[str, str]) -> dict[str, str]:
    """Returns the options of HttpClient."""
    found = {name: value for name, value in options.items() if name == "ssl_verify"}
    for name, others in (("connect_timeout", "connection_timeout"), ("read_timeout", "timeout")):
        value = options.get(name) or options.get(others)
        if value:
            found[name] = value
    return found

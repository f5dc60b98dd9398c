"""HTTP and HTTPS: a server that answers GET and takes POST or PUT, as DVC uses one.

Not here: requests and their errors (remotes.web), WebDAV. Implements docs/spec/storage.md.
Source: DVC 3.67.1's requests (GET, POST or PUT, `Authorization: Basic` sent at once).
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Sequence

from kist.base.shell import shell_line
from kist.errors import ConfigError
from kist.remotes.storage import (
    Abilities,
    Body,
    Item,
    Place,
    StorageAuthError,
    StorageMissingError,
    StorageRefusedError,
    WithoutParts,
)
from kist.remotes.web import HttpClient, login_of, without_secrets


class HttpOptionsError(ConfigError):
    """The options of a remote do not fit together: `auth = basic` without a user, for example."""

    code = "http-options"


def open_storage(place: Place) -> HttpStorage:
    """Returns the storage at an address.

    Raises: HttpOptionsError.
    """
    return HttpStorage(place)


class HttpStorage(WithoutParts):
    """A folder of a web server."""

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.url = without_secrets(place.url)
        self.abilities = Abilities(lists=False, deletes=0)
        self._method = (place.options.get("method") or "POST").upper()
        sent = credentials(place)
        self._base = without_secrets(place.url).rstrip("/")
        self._client = HttpClient(place._replace(url=self._base), headers=lambda: sent)

    def _address(self, key: str) -> str:
        return f"{self._base}/{urllib.parse.quote(key)}" if key else self._base

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        address = self._address(key)
        answer = self._client.ask("HEAD", address, accepted=(403, 404, 405, 410, 501))
        if answer.status in (405, 501):  # a server that knows GET alone, as DVC needs it
            answer = self._client.ask("GET", address, accepted=(403, 404, 410))
            answer.release()
        # A server sends to the same address with "/" at its end for a folder, and may then refuse to list it.
        if answer.status in (404, 410) or _path(answer.url) == f"{_path(address)}/":
            return None
        if answer.status == 403:
            raise self._client.refusal(answer, "HEAD")
        return Item(key, answer.length(), tag=answer.headers.get("ETag"))

    def list(self, prefix: str) -> Iterator[Item]:
        """Raises StorageRefusedError: plain HTTP cannot list."""
        raise StorageRefusedError(f"cannot list remote '{self.name}': HTTP has no listing")

    def read(self, key: str, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        """As of Storage."""
        headers = {}
        if first or size is not None:
            headers["Range"] = f"bytes={first}-" + ("" if size is None else str(first + size - 1))
        answer = self._client.ask("GET", self._address(key), headers=headers)
        skip = first if answer.status == 200 else 0
        yield from answer.blocks(skip=skip, size=size)

    def write(self, key: str, body: Body) -> Item:
        """As of Storage: the server sees to it that a body that breaks off does not become visible."""
        headers = {"Content-Type": "application/octet-stream"}
        try:
            self._client.ask(self._method, self._address(key), headers=headers, body=body).release()
        except StorageMissingError as error:
            # nginx answers so to a POST where nothing is yet.
            other = "PUT" if self._method == "POST" else "POST"
            raise StorageRefusedError(
                f"cannot write '{key}' to remote '{self.name}': the server does not take {self._method} there (404)",
                hint=shell_line("kist", "remote", "modify", self.name, "method", other),
            ) from error
        return Item(key, body.size)

    def delete(self, keys: Sequence[str]) -> None:
        """Raises StorageRefusedError: DVC's HTTP remotes are never deleted from."""
        raise StorageRefusedError(f"remote '{self.name}' cannot delete: plain HTTP has no way to")

    def close(self) -> None:
        """Ends connections."""
        self._client.close()


def _path(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path)


def credentials(place: Place) -> dict[str, str]:
    """Returns the headers that say who asks, by the remote's options; asks the person for a password where they say so.

    Raises: HttpOptionsError.
    """
    options = place.options
    kind = (options.get("auth") or "").lower()
    own_user, own_password = login_of(place.url)
    if not kind:
        return _basic(own_user, own_password) if own_user and own_password is not None else {}
    password = options.get("password") or own_password
    if password is None and place.flag("ask_password"):
        password = _asked(place)
    if kind == "basic":
        user = options.get("user") or own_user
        if user is None or password is None:
            lacking = "user" if user is None else "password"
            raise HttpOptionsError(
                f"cannot use remote '{place.name}': 'auth' is 'basic', and there is no '{lacking}'",
                hint=shell_line("kist", "remote", "modify", "--local", place.name, lacking, lacking.upper()),
            )
        return _basic(user, password)
    if kind == "custom":
        header = options.get("custom_auth_header")
        if header is None or password is None:
            lacking = "custom_auth_header" if header is None else "password"
            raise HttpOptionsError(
                f"cannot use remote '{place.name}': 'auth' is 'custom', and there is no '{lacking}'",
                hint=shell_line("kist", "remote", "modify", "--local", place.name, lacking, "VALUE"),
            )
        return {header: password}
    raise HttpOptionsError(
        f"cannot use remote '{place.name}': 'auth' is '{kind}', and 'basic' and 'custom' are known",
        hint=shell_line("kist", "remote", "modify", place.name, "auth", "basic"),
    )


def _basic(user: str, password: str) -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {token}"}


def _asked(place: Place) -> str | None:
    if place.ask is None:
        raise StorageAuthError(
            f"cannot use remote '{place.name}': its password has to be asked for, and there is no terminal",
            hint=shell_line("kist", "remote", "modify", "--local", place.name, "password", "PASSWORD"),
        )
    return place.ask(
        f"Enter a password for '{place.options.get('user', place.name)}' on remote '{place.name}'"
    )

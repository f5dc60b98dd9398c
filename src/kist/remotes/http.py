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
    StorageRefusedError,
    WithoutParts,
)
from kist.remotes.web import HttpClient, without_secrets


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
        self._client = HttpClient(place, headers=lambda: sent)
        self._base = place.url.rstrip("/")

    def _address(self, key: str) -> str:
        return f"{self._base}/{urllib.parse.quote(key)}" if key else self._base

    def head(self, key: str) -> Item | None:
        """As of Storage."""
        answer = self._client.ask("HEAD", self._address(key), accepted=(404, 405, 410, 501))
        if answer.status in (405, 501):  # a server that knows GET alone, as DVC needs it
            answer = self._client.ask("GET", self._address(key), accepted=(404, 410))
            answer.release()
        if answer.status in (404, 410):
            return None
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
        self._client.ask(self._method, self._address(key), headers=headers, body=body).release()
        return Item(key, body.size)

    def delete(self, keys: Sequence[str]) -> None:
        """Raises StorageRefusedError: DVC's HTTP remotes are never deleted from."""
        raise StorageRefusedError(f"remote '{self.name}' cannot delete: plain HTTP has no way to")

    def close(self) -> None:
        """Ends connections."""
        self._client.close()


def credentials(place: Place) -> dict[str, str]:
    """Returns the headers that say who asks, by the remote's options; asks the person for a password where they say so.

    Raises: HttpOptionsError.
    """
    options = place.options
    kind = (options.get("auth") or "").lower()
    if not kind:
        return {}
    password = options.get("password")
    if password is None and place.flag("ask_password"):
        password = _asked(place)
    if kind == "basic":
        user = options.get("user")
        if user is None or password is None:
            lacking = "user" if user is None else "password"
            raise HttpOptionsError(
                f"cannot use remote '{place.name}': 'auth' is 'basic', and there is no '{lacking}'",
                hint=shell_line("kist", "remote", "modify", "--local", place.name, lacking, lacking.upper()),
            )
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return {"Authorization": f"Basic {token}"}
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


def _asked(place: Place) -> str | None:
    if place.ask is None:
        raise StorageAuthError(
            f"cannot use remote '{place.name}': its password has to be asked for, and there is no terminal",
            hint=shell_line("kist", "remote", "modify", "--local", place.name, "password", "PASSWORD"),
        )
    return place.ask(
        f"Enter a password for '{place.options.get('user', place.name)}' on remote '{place.name}'"
    )

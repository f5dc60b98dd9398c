"""Requests to a web server, and what went wrong with them in our words: under HTTP, WebDAV, WebHDFS and the hub.

Not here: what the addresses mean. Source: RFC 9110; docs/spec/storage.md, section 2.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kist.base.shell import shell_line
from kist.remotes.storage import (
    Body,
    Place,
    SecretInAddressError,
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
)

if TYPE_CHECKING:
    import urllib3

_BLOCK = 1 << 20
_READ_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 30.0
_REDIRECTS = 5


def without_secrets(url: str) -> str:
    """Returns an address without the user, password, signature and session that it may hold."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(
        parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    )


def login_of(url: str) -> tuple[str | None, str | None]:
    """Returns the user and password that an address holds."""
    parts = urllib.parse.urlsplit(url)
    user, password = parts.username, parts.password
    return urllib.parse.unquote(user) if user else None, urllib.parse.unquote(password) if password else None


def refuse_login(place: Place) -> None:
    """Raises SecretInAddressError for an address with a user or password: buckets have none."""
    login, at, _ = urllib.parse.urlsplit(place.url).netloc.rpartition("@")
    if at and ":" in login:
        raise SecretInAddressError(
            f"cannot use remote '{place.name}': its address holds a key, and buckets are not opened that way",
            hint=f"{shell_line('kist', 'remote', 'remove', place.name)} && "
            + shell_line("kist", "remote", "add", place.name, f"{place.scheme}://BUCKET/FOLDER"),
        )


class HttpClient:
    """One request after the other to one server, from any thread; says what went wrong in our errors.

    Args:
        place: for its timeouts, `ssl_verify`, and its name in messages.
        headers: asked before each request to the place's own origin, and to no other (R16): who we are.
    """

    def __init__(self, place: Place, *, headers: Callable[[], Mapping[str, str]]) -> None:
        self.name = place.name
        self._place = place
        self._own_headers = headers
        self._origin = origin(place.url)
        self._pool: urllib3.PoolManager | None = None

    def _opened(self) -> urllib3.PoolManager:
        if self._pool is None:
            import urllib3  # opening a remote asks nothing yet

            options: dict[str, Any] = {}
            verify = self._place.options.get("ssl_verify")
            if verify is not None and verify.lower() == "false":
                options["cert_reqs"] = "CERT_NONE"
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            elif verify is not None and verify.lower() != "true":
                options["ca_certs"] = verify
            if self._place.options.get("cert_path"):
                options["cert_file"] = self._place.options["cert_path"]
                options["key_file"] = self._place.options.get("key_path")
            timeout = urllib3.Timeout(
                connect=_seconds(self._place, "connect_timeout", _CONNECT_TIMEOUT_S),
                read=_seconds(self._place, "read_timeout", _READ_TIMEOUT_S),
            )
            proxy = _proxy(self._place)
            options |= {"maxsize": 64, "block": False, "retries": False, "timeout": timeout}
            if proxy:
                self._pool = urllib3.ProxyManager(proxy, **options)
            else:
                self._pool = urllib3.PoolManager(**options)
        return self._pool

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accepted: Sequence[int] = (),
        follows: bool = True,
    ) -> Answer:
        """Returns the answer to a request, redirects followed; its body has to be read or released.

        Args:
            accepted: statuses of 400 and more that the caller understands.
            follows: otherwise a redirect is an answer.

        Raises: the errors of storages, by status; StorageMissingError for 404 and 410.
        """
        for _ in range(_REDIRECTS):
            answer = self._ask_once(method, url, headers or {}, body)
            target = answer.headers.get("Location")
            if follows and answer.status in (301, 302, 303, 307, 308) and target is not None:
                answer.release()
                url = urllib.parse.urljoin(url, target)
                continue
            if answer.status < (300 if follows else 400) or answer.status in accepted:
                if method == "HEAD":
                    answer.release()
                return answer
            raise self.refusal(answer, method)
        raise StorageFailedError(f"cannot use remote '{self.name}': more than {_REDIRECTS} redirects")

    def _ask_once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Answer:
        import urllib3

        own = self._own_headers() if origin(url) == self._origin else {}
        sent = {"User-Agent": "kist", **headers, **own}
        content: Any = None
        if body is not None:
            sent["Content-Length"] = str(body.size)
            content = b"" if body.size == 0 else body.open()
        try:
            response = self._opened().urlopen(
                method,
                url,
                headers=sent,
                body=content,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise StorageUnreachableError(
                f"cannot trust remote '{self.name}': {_cause(error)}",
                hint=shell_line("kist", "remote", "modify", self.name, "ssl_verify", "CA-FILE"),
            ) from error
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise StorageUnreachableError(
                f"cannot reach remote '{self.name}' at '{without_secrets(url)}': {_cause(error)}",
                hint="is the address right, and the server running?",
            ) from error
        except urllib3.exceptions.LocationParseError as error:
            raise StorageRefusedError(f"cannot use '{without_secrets(url)}' as an address") from error
        except urllib3.exceptions.HTTPError as error:
            raise self._broken(error) from error
        return Answer(response, self, url)

    def _broken(self, error: Exception) -> StorageFailedError:
        return StorageFailedError(f"cannot use remote '{self.name}': the connection broke ({_cause(error)})")

    def refusal(self, answer: Answer, method: str) -> Exception:
        """Returns our error for an answer, by its status."""
        status = answer.status
        answer.release()
        shown = without_secrets(answer.url)
        if status in (404, 410):
            return StorageMissingError(f"cannot read '{shown}' of remote '{self.name}': it is not there")
        if status in (401, 407):
            return StorageAuthError(
                f"cannot use remote '{self.name}': the server does not accept the user or password ({status})",
                hint=shell_line("kist", "remote", "modify", "--local", self.name, "password", "PASSWORD"),
            )
        if status == 403:
            what = "write" if method not in ("GET", "HEAD", "PROPFIND") else "read"
            return StoragePermissionError(
                f"cannot {what} '{shown}': the server says that we lack the permission to {what} (403)",
                hint="ask whoever runs the server for it",
            )
        if status in (408, 423, 425, 429) or status >= 500:
            return StorageFailedError(
                f"cannot use remote '{self.name}': the server answered {status} to {method} '{shown}'",
                retry_after_s=answer.retry_after_s(),
            )
        why = {405: "it does not allow that", 411: "it wants a length", 413: "that is too large for it"}.get(
            status, "it refuses"
        )
        return StorageRefusedError(
            f"cannot use remote '{self.name}': the server answered {status} to {method} '{shown}': {why}",
            hint=shell_line("kist", "remote", "modify", self.name, "method", "PUT")
            if status == 405
            else None,
        )

    def close(self) -> None:
        """Ends connections."""
        if self._pool is not None:
            self._pool.clear()


class Answer:
    """What a server answered; `url` is where, after redirects."""

    def __init__(self, response: Any, client: HttpClient, url: str) -> None:
        self.url = url
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._client = client

    def length(self) -> int:
        """Returns the size that the answer announces, -1 where it does not."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdigit() else -1

    def retry_after_s(self) -> float | None:
        """Returns how long the server asks to wait."""
        text = self.headers.get("Retry-After", "")
        if text.isdigit():
            return float(text)
        if not text:
            return None
        import email.utils  # a date: rare
        import time

        found = email.utils.parsedate_to_datetime(text) if "," in text else None
        return max(0.0, found.timestamp() - time.time()) if found is not None else None

    def blocks(self, *, skip: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yields the body; `skip` bytes are thrown away, and no more than `size` are given.

        Raises: StorageFailedError: it ended before its announced length.
        """
        import urllib3

        expected = self.length()
        have = given = 0
        try:
            while block := self._response.read(_BLOCK):
                have += len(block)
                if skip:
                    block, skip = block[skip:], max(0, skip - len(block))
                if size is not None:
                    block = block[: size - given]
                given += len(block)
                if block:
                    yield block
                if size is not None and given >= size:
                    break
            else:
                if 0 <= expected != have:
                    raise StorageFailedError(
                        f"cannot read from remote '{self._client.name}': {have} bytes came of {expected}"
                    )
        except urllib3.exceptions.HTTPError as error:
            raise StorageFailedError(
                f"cannot read from remote '{self._client.name}': the connection broke ({_cause(error)})"
            ) from error
        finally:
            self.release()

    def text(self, limit: int = 16 << 20) -> bytes:
        """Returns a small body."""
        data = b"".join(self.blocks())
        return data[:limit]

    def release(self) -> None:
        """Gives the connection back, or ends it when something is left to read."""
        if self._response.length_remaining in (0, None) and self._response.closed:
            self._response.release_conn()
        elif (self._response.length_remaining or 0) <= 65536:
            self._response.drain_conn()
            self._response.release_conn()
        else:
            self._response.close()


def origin(url: str) -> tuple[str, str, int]:
    """Returns scheme, host and port of an address."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _seconds(place: Place, option: str, default: float) -> float:
    text = place.options.get(option)
    return float(text) if text else default


def _proxy(place: Place) -> str | None:
    parts = urllib.parse.urlsplit(place.url)
    environ = {name.lower(): value for name, value in place.environ.items()}
    host = parts.hostname or ""
    for name in environ.get("no_proxy", "").split(","):
        name = name.strip().lstrip(".")
        if name == "*" or name and (host == name or host.endswith("." + name)):
            return None
    return environ.get(f"{parts.scheme}_proxy") or environ.get("all_proxy") or None


def _cause(error: BaseException) -> str:
    """Returns the innermost reason in few words."""
    reason: object = error
    while isinstance(reason, BaseException):
        inner = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = getattr(reason, "strerror", None) or str(reason)
    return text.strip().rstrip(".").lower() if text else type(reason).__name__

"""Who asks Google Drive: a person's login, kept where DVC keeps it, or a service account; tokens that are valid still.

Not here: files (remotes.gdrive). Implements docs/spec/storage.md, section 7. Source: DVC's option names, and the file
that it keeps a login in; Google's OAuth 2.0 for installed programs (a loopback address, PKCE) and for service accounts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.remotes.storage import Body, Place, StorageAuthError, StorageFailedError, extra_missing
from kist.remotes.web import HttpClient

SCOPES = ("https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/drive.appdata")
_DVC_CLIENT = "710796635688-iivsgbgsb6uv1fap6635dhvuei09o66c.apps.googleusercontent.com"
"""DVC's public name at Google, by which it files the logins of people who gave no name of their own."""
_LOGIN_PAGE = "https://accounts.google.com/o/oauth2/v2/auth"
_TOKENS = "https://oauth2.googleapis.com/token"
_REVOKE = "https://oauth2.googleapis.com/revoke"
_EARLY_S = 120
"""A token is renewed so long before it ends."""
_PATIENCE_S = 300.0
"""How long a person may take in the browser."""
_DATA = "GDRIVE_CREDENTIALS_DATA"


class _Token(NamedTuple):
    text: str
    ends_s: float


class DriveLogin:
    """Gives the headers of requests, and renews the token when it ends. May be asked from several threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._is_refused = False
        base = endpoint_of(place)
        self._login_page = f"{base}/o/oauth2/v2/auth" if base else _LOGIN_PAGE
        self._tokens = f"{base}/token" if base else _TOKENS

    def headers(self) -> Mapping[str, str]:
        """Returns who we are.

        Raises: StorageAuthError; ExtraMissingError for a service account without the library that signs.
        """
        with self._lock:
            if self._token is None or self._token.ends_s < time.time() + _EARLY_S:
                is_service = self._place.flag("gdrive_use_service_account")
                self._token = self._of_service() if is_service else self._of_person()
            return {"Authorization": f"Bearer {self._token.text}"}

    def distrust(self, sent: str) -> None:
        """Forgets a token that the service refused, if it is the present one still."""
        with self._lock:
            if self._token is not None and sent == f"Bearer {self._token.text}":
                self._token = None
                self._is_refused = True

    # A service account

    def _of_service(self) -> _Token:
        info = self._service_info()
        try:
            from google.auth import crypt, jwt
        except ModuleNotFoundError as error:
            raise extra_missing(self._place.name, error, "gdrive") from error
        now = int(time.time())
        target = str(info.get("token_uri") or self._tokens)
        claims = {
            "iss": info["client_email"],
            "scope": " ".join(SCOPES),
            "aud": target,
            "iat": now,
            "exp": now + 3600,
        }
        subject = self._place.options.get("gdrive_service_account_user_email")
        if subject:
            claims["sub"] = subject
        try:
            signer = crypt.RSASigner.from_service_account_info(info)
            signed = jwt.encode(signer, claims).decode("ascii")
        except ValueError as error:
            raise self._unusable("its service account's file holds no key that can be used") from error
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
        found = self._ask_for_token(target, form)
        if "access_token" not in found:
            raise self._unusable(f"Google does not accept its service account ({_reason(found)})")
        return _token_of(found)

    def _service_info(self) -> dict[str, Any]:
        option = "gdrive_service_account_json_file_path"
        data = self._place.environ.get(_DATA)
        path = self._place.options.get(option)
        if data is None and path is None:
            raise StorageAuthError(
                f"cannot use remote '{self._place.name}': 'gdrive_use_service_account' is set, and there is no"
                f" '{option}'",
                hint=shell_line("kist", "remote", "modify", "--local", self._place.name, option, "FILE"),
            )
        found = self._parsed(data, _DATA) if data is not None else self._read(path or "", option)
        if found is None or "client_email" not in found or "private_key" not in found:
            raise StorageAuthError(
                f"cannot use remote '{self._place.name}': '{path if data is None else _DATA}' holds no service account",
                hint=shell_line("kist", "remote", "modify", "--local", self._place.name, option, "FILE"),
            )
        return found

    def _read(self, path: str, option: str) -> dict[str, Any] | None:
        try:
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageAuthError(
                f"cannot use remote '{self._place.name}': the credentials file '{path}' cannot be read"
                f" ({getattr(error, 'strerror', None) or 'no text'})",
                hint=shell_line("kist", "remote", "modify", "--local", self._place.name, option, "FILE"),
            ) from error
        return self._parsed(text, path)

    def _parsed(self, text: str, where: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise self._unusable(f"'{where}' is no JSON") from error
        if not isinstance(found, dict):
            raise self._unusable(f"'{where}' holds no credentials")
        return found

    # A person

    def _of_person(self) -> _Token:
        data = self._place.environ.get(_DATA)
        path = "" if data is not None else self._file()
        kept = (
            self._parsed(data, _DATA)
            if data is not None
            else self._read(path, "gdrive_user_credentials_file")
        )
        if kept is not None and not self._is_refused:
            ends_s = _seconds(kept.get("token_expiry"))
            if kept.get("access_token") and ends_s > time.time() + _EARLY_S:
                return _Token(str(kept["access_token"]), ends_s)
        self._is_refused = False
        why = "nobody is logged in to Google"
        if kept is not None:
            if kept.get("refresh_token"):
                found = self._renewed(kept)
                if "access_token" in found:
                    if path:
                        _keep(path, _merged(kept, found))
                    return _token_of(found)
                why = f"the login to Google has ended ({_reason(found)})"
            else:
                why = "the login to Google has ended, and cannot be renewed"
        if data is not None:
            raise self._unusable(f"{why}; it comes from {_DATA}")
        kept = self._log_in(why)
        _keep(path, kept)
        return _Token(str(kept["access_token"]), _seconds(kept["token_expiry"]))

    def _renewed(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        options = self._place.options
        form = {
            "grant_type": "refresh_token",
            "refresh_token": str(kept["refresh_token"]),
            "client_id": str(kept.get("client_id") or options.get("gdrive_client_id") or ""),
            "client_secret": str(kept.get("client_secret") or options.get("gdrive_client_secret") or ""),
        }
        return self._ask_for_token(str(kept.get("token_uri") or self._tokens), form)

    def _file(self) -> str:
        """Returns where the login is kept: where DVC keeps it."""
        options, environ = self._place.options, self._place.environ
        given = options.get("gdrive_user_credentials_file")
        if given:
            return given
        home = environ.get("HOME", "")
        if sys.platform == "darwin":
            cache = os.path.join(home, "Library", "Caches")
        else:
            cache = environ.get("XDG_CACHE_HOME", "").strip() or os.path.join(home, ".cache")
        client = options.get("gdrive_client_id") or _DVC_CLIENT
        return os.path.join(cache, "pydrive2fs", client, f"{options.get('profile') or 'default'}.json")

    def _log_in(self, why: str) -> dict[str, Any]:
        """Lets the person say yes in a browser; returns what DVC keeps of a login."""
        place = self._place
        client, secret = (place.options.get(f"gdrive_client_{what}") for what in ("id", "secret"))
        if not client or not secret:
            lacking = "gdrive_client_id" if not client else "gdrive_client_secret"
            raise StorageAuthError(
                f"cannot use remote '{place.name}': {why}, and to log in '{lacking}' is needed",
                hint=shell_line("kist", "remote", "modify", place.name, "gdrive_client_id", "CLIENT_ID")
                if not client
                else shell_line(
                    "kist", "remote", "modify", "--local", place.name, "gdrive_client_secret", "CLIENT_SECRET"
                ),
            )
        if place.browse is None:
            raise StorageAuthError(
                f"cannot use remote '{place.name}': {why}, and there is no terminal to log in",
                hint=f"log in on a terminal with `{shell_line('kist', 'remote', 'check', place.name)}`",
            )
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")

        def address(redirect: str) -> str:
            query = {
                "client_id": client,
                "redirect_uri": redirect,
                "response_type": "code",
                "scope": " ".join(SCOPES),
                "access_type": "offline",
                "prompt": "consent",
                "state": state,
                "code_challenge": challenge.decode("ascii"),
                "code_challenge_method": "S256",
            }
            return f"{self._login_page}?{urllib.parse.urlencode(query)}"

        redirect, answer = _in_browser(address, place.browse, state)
        if "code" not in answer:
            raise self._unusable(f"nobody logged in ({answer.get('error', 'no answer from the browser')})")
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": redirect,
            "client_id": client,
            "client_secret": secret,
            "code_verifier": verifier,
        }
        found = self._ask_for_token(self._tokens, form)
        if "access_token" not in found:
            raise self._unusable(f"Google refused the login ({_reason(found)})")
        return _merged(_blank(client, secret, self._tokens), found)

    # Tokens

    def _ask_for_token(self, address: str, form: Mapping[str, str]) -> dict[str, Any]:
        # Who we are stands in the body, so no redirect is followed with it.
        client = HttpClient(self._place._replace(url=address), headers=dict)
        try:
            body = Body.of(urllib.parse.urlencode(form).encode("ascii"))
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = client.ask(
                "POST", address, headers=headers, body=body, accepted=(400, 401, 403), follows=False
            )
            found = json.loads(answer.text())
        except ValueError as error:
            raise StorageFailedError(
                f"cannot use remote '{self._place.name}': the answer to the login is no JSON"
            ) from error
        finally:
            client.close()
        return found if isinstance(found, dict) else {}

    def _unusable(self, why: str) -> StorageAuthError:
        name = self._place.name
        if self._place.flag("gdrive_use_service_account"):
            option = "gdrive_service_account_json_file_path"
            hint = shell_line("kist", "remote", "modify", "--local", name, option, "FILE")
        elif self._place.environ.get(_DATA) is not None:
            hint = f"give {_DATA} another value, or unset it"
        else:
            hint = f"log in on a terminal with `{shell_line('kist', 'remote', 'check', name)}`"
        return StorageAuthError(f"cannot use remote '{name}': {why}", hint=hint)


def endpoint_of(place: Place) -> str | None:
    """Returns the address that stands in for all of Google's: that of a server in a test, or of a gateway."""
    return (place.environ.get("KIST_GDRIVE_ENDPOINT") or "").rstrip("/") or None


def _in_browser(
    address: Callable[[str], str], browse: Callable[[str], None], state: str
) -> tuple[str, dict[str, str]]:
    """Returns the address that the browser was sent back to, and what it brought; nothing after a while of silence."""
    import http.server  # a first login is rare

    answer: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            is_ours = secrets.compare_digest(query.get("state", "").encode(), state.encode())
            if is_ours:
                answer.update(query)
            text = b"Logged in. You can close this page." if "code" in answer else b"Nobody was logged in."
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Prints nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        redirect = f"http://127.0.0.1:{server.server_address[1]}/"
        browse(address(redirect))
        end_s = time.monotonic() + _PATIENCE_S
        while not answer and time.monotonic() < end_s:
            server.timeout = max(0.1, end_s - time.monotonic())
            server.handle_request()
    return redirect, answer


def _blank(client: str, secret: str, tokens: str) -> dict[str, Any]:
    """Returns what DVC's library keeps of a login, before there is one."""
    return {
        "access_token": None,
        "client_id": client,
        "client_secret": secret,
        "refresh_token": None,
        "token_expiry": None,
        "token_uri": tokens,
        "user_agent": None,
        "revoke_uri": _REVOKE,
        "id_token": None,
        "id_token_jwt": None,
        "token_response": None,
        "scopes": list(SCOPES),
        "token_info_uri": "https://oauth2.googleapis.com/tokeninfo",
        "invalid": False,
        "_class": "OAuth2Credentials",
        "_module": "oauth2client.client",
    }


def _merged(kept: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is kept of a login, with the service's newest answer."""
    token = _token_of(found)
    return {
        **kept,
        "access_token": token.text,
        "refresh_token": found.get("refresh_token") or kept.get("refresh_token"),
        "token_expiry": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.ends_s)),
        "token_response": dict(found),
        "invalid": False,
    }


def _keep(path: str, kept: Mapping[str, Any]) -> None:
    """Writes a login where only the person can read it; the token holds for this run also where that fails."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        atomic.write_file(path, json.dumps(kept).encode("utf-8"), mode=0o600)
    except OSError:
        pass


def _token_of(found: Mapping[str, Any]) -> _Token:
    try:
        life_s = float(found.get("expires_in") or 3600)
    except (TypeError, ValueError):
        life_s = 3600.0
    return _Token(str(found["access_token"]), time.time() + life_s)


def _seconds(text: object) -> float:
    import calendar  # of UTC

    try:
        return float(calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return 0.0


def _reason(found: Mapping[str, Any]) -> str:
    """Returns what the service calls its refusal; never what was sent."""
    return str(found.get("error_description") or found.get("error") or "no reason given")[:200].rstrip(".")

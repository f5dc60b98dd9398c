"""Posts a text as a comment on a pull or merge request of GitHub, GitLab or Bitbucket, and updates it in place.

The comment is found by a mark that nobody sees. Not here: which request and which token (cli), the text (report).
Implements docs/spec/report.md, section 2.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kist.errors import AuthError, InputError, NetworkError

if TYPE_CHECKING:
    import urllib3

GITHUB, GITLAB, BITBUCKET = "github", "gitlab", "bitbucket"
_MOST = {GITHUB: 65_000, GITLAB: 900_000, BITBUCKET: 32_000}
"""Characters of a comment."""
_TIMEOUT_S = 30.0
_MOST_PAGES = 100


class ForgeAuthError(AuthError):
    """The token is not accepted, or may not write comments. The hint says what it needs."""

    code = "forge-auth"


class ForgeFailedError(NetworkError):
    """The server cannot be reached, or answers with an error. A retry can help."""

    code = "forge-failed"


class ForgeRefusedError(InputError):
    """The server does not know the project or the request, or refuses the comment."""

    code = "forge-refused"


class Request(NamedTuple):
    """A pull or merge request.

    Attributes:
        forge: GITHUB, GITLAB or BITBUCKET.
        api: address of the interface, without "/" at its end.
        project: `owner/name`; of GitLab also the number.
        number: of the request in its project.
        token: who we are.
    """

    forge: str
    api: str
    project: str
    number: int
    token: str


class Comment(NamedTuple):
    """One comment that is there."""

    id: int
    text: str


class _Forge(Protocol):
    headers: dict[str, str]
    update: str

    def comments(self, web: _Web) -> Iterator[Comment]: ...

    def address(self, comment: int | None) -> str: ...

    def body(self, text: str) -> dict[str, Any]: ...


def mark(name: str) -> str:
    """Returns the line that marks our comment; a definition of a link that nothing uses is shown nowhere."""
    return f"[kist-report]: # ({urllib.parse.quote(name)})"


def post_comment(request: Request, text: str, *, name: str = "report") -> tuple[int, bool]:
    """Writes a comment, or changes the one of this name; returns its id and whether it is new.

    Raises: ForgeAuthError, ForgeFailedError, ForgeRefusedError.
    """
    body = f"{mark(name)}\n\n{text}"
    limit = _MOST[request.forge]
    if len(body) > limit:
        body = body[: limit - 100].rpartition("\n")[0] + "\n\n… the rest is too long for a comment.\n"
    forge = _forge(request)
    web = _Web(forge.headers, request.api)
    for comment in forge.comments(web):
        if not comment.text.lstrip().startswith(mark(name)):
            continue
        if comment.text.strip() == body.strip():
            return comment.id, False
        try:
            web.send(forge.update, forge.address(comment.id), forge.body(body))
        except (ForgeAuthError, ForgeRefusedError):
            continue  # somebody else's with our mark
        return comment.id, False
    answer = web.send("POST", forge.address(None), forge.body(body))
    return int(answer.get("id", 0)), True


def _forge(request: Request) -> _Forge:
    if request.forge == GITHUB:
        return _GitHub(request)
    return _GitLab(request) if request.forge == GITLAB else _Bitbucket(request)


class _GitHub:
    update = "PATCH"

    def __init__(self, request: Request) -> None:
        self._base = f"{request.api}/repos/{urllib.parse.quote(request.project)}/issues"
        self._number = request.number
        self.headers = {"Authorization": f"Bearer {request.token}", "Accept": "application/vnd.github+json"}

    def comments(self, web: _Web) -> Iterator[Comment]:
        for item in web.pages(f"{self._base}/{self._number}/comments"):
            yield Comment(item["id"], item.get("body") or "")

    def address(self, comment: int | None) -> str:
        if comment is not None:
            return f"{self._base}/comments/{comment}"
        return f"{self._base}/{self._number}/comments"

    def body(self, text: str) -> dict[str, Any]:
        return {"body": text}


class _GitLab:
    update = "PUT"

    def __init__(self, request: Request) -> None:
        project = urllib.parse.quote(request.project, safe="")
        self._base = f"{request.api}/projects/{project}/merge_requests/{request.number}/notes"
        self.headers = {"PRIVATE-TOKEN": request.token}

    def comments(self, web: _Web) -> Iterator[Comment]:
        for item in web.pages(self._base):
            yield Comment(item["id"], item.get("body") or "")

    def address(self, comment: int | None) -> str:
        return self._base if comment is None else f"{self._base}/{comment}"

    def body(self, text: str) -> dict[str, Any]:
        return {"body": text}


class _Bitbucket:
    update = "PUT"

    def __init__(self, request: Request) -> None:
        project = urllib.parse.quote(request.project)
        self._base = f"{request.api}/repositories/{project}/pullrequests/{request.number}/comments"
        self.headers = {"Authorization": f"Bearer {request.token}"}

    def comments(self, web: _Web) -> Iterator[Comment]:
        page: str | None = f"{self._base}?pagelen=100"
        for _ in range(_MOST_PAGES):
            if page is None:
                return
            answer = web.send("GET", page)
            for item in answer.get("values", ()):
                if not item.get("deleted"):
                    yield Comment(item["id"], (item.get("content") or {}).get("raw") or "")
            page = answer.get("next")

    def address(self, comment: int | None) -> str:
        return self._base if comment is None else f"{self._base}/{comment}"

    def body(self, text: str) -> dict[str, Any]:
        return {"content": {"raw": text}}


class _Web:
    """Requests to one interface. The token goes nowhere else, and redirections are not followed."""

    def __init__(self, headers: dict[str, str], api: str) -> None:
        import urllib3  # only reports that are posted speak to a server

        retries = urllib3.Retry(
            total=3,
            redirect=0,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "PUT", "PATCH"),  # a second POST would be a second comment
            raise_on_status=False,
        )
        self._pool: urllib3.PoolManager = urllib3.PoolManager(retries=retries, timeout=_TIMEOUT_S)
        self._headers = headers | {"User-Agent": "kist", "Content-Type": "application/json"}
        self._api = api

    def pages(self, address: str) -> Iterator[Any]:
        """Yields the items of a list that comes in pages."""
        for number in range(1, _MOST_PAGES + 1):
            items = self.send("GET", f"{address}?per_page=100&page={number}")
            yield from items
            if len(items) < 100:
                return

    def send(self, method: str, address: str, body: dict[str, Any] | None = None) -> Any:
        """Returns what the server answers."""
        import urllib3

        if not address.startswith(self._api + "/"):
            raise ForgeRefusedError(
                f"cannot post to '{self._api}': it sends us to '{address}', another place"
            )
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._pool.request(method, address, body=data, headers=self._headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise ForgeFailedError(f"cannot reach '{self._api}': {cause}", hint="try again later") from error
        if 200 <= answer.status < 300:
            try:
                return json.loads(answer.data or b"{}")
            except ValueError as error:
                raise ForgeFailedError(f"cannot understand '{self._api}': its answer is no JSON") from error
        said = answer.data[:200].decode("utf-8", "replace").strip()
        what = f"cannot post to '{address}': status {answer.status}: {said}"
        if answer.status in (401, 403):
            raise ForgeAuthError(
                what, hint="give the token the right to write comments on pull or merge requests"
            )
        if answer.status >= 500 or answer.status == 429:
            raise ForgeFailedError(what, hint="try again later")
        raise ForgeRefusedError(what, hint="look at the project and the number of the request")

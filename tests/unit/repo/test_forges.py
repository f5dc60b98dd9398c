"""Comments on small stand-ins of GitHub, GitLab and Bitbucket, which check what they are sent."""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from kist.repo.forges import (
    BITBUCKET,
    GITHUB,
    GITLAB,
    ForgeAuthError,
    ForgeFailedError,
    ForgeRefusedError,
    Request,
    mark,
    post_comment,
)

ROUTES = {
    GITHUB: (r"/api/repos/ann/net/issues/7/comments", r"/api/repos/ann/net/issues/comments/(\d+)", "PATCH"),
    GITLAB: (
        r"/api/projects/ann%2Fnet/merge_requests/7/notes",
        r"/api/projects/ann%2Fnet/merge_requests/7/notes/(\d+)",
        "PUT",
    ),
    BITBUCKET: (
        r"/api/repositories/ann/net/pullrequests/7/comments",
        r"/api/repositories/ann/net/pullrequests/7/comments/(\d+)",
        "PUT",
    ),
}


class Forge(http.server.ThreadingHTTPServer):
    """Keeps the comments of one request.

    Attributes:
        comments: id -> text.
        foreign: ids that we may not change.
        answers: statuses to answer with before anything else.
        log: "METHOD" of each request.
    """

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kind = kind
        self.comments: dict[int, str] = {}
        self.foreign: set[int] = set()
        self.answers: list[int] = []
        self.log: list[str] = []
        self.next_host = ""

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request as the forge's interface does, as far as comments go."""

    server: Forge

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, value: Any = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        if status in (301, 302):
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self) -> None:
        forge = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        forge.log.append(self.command)
        if forge.answers:
            self.answer(forge.answers.pop(0), {"message": "no"})
            return
        token = (
            self.headers.get("PRIVATE-TOKEN") if forge.kind == GITLAB else self.headers.get("Authorization")
        )
        if token != ("secret" if forge.kind == GITLAB else "Bearer secret"):
            self.answer(401, {"message": "who are you?"})
            return
        path, _, query = self.path.partition("?")
        everything, one, update = ROUTES[forge.kind]
        text = ""
        if body:
            value = json.loads(body)
            text = value["content"]["raw"] if forge.kind == BITBUCKET else value["body"]
        if re.fullmatch(everything, path) and self.command == "GET":
            self.listing(dict(urllib.parse.parse_qsl(query)))
        elif re.fullmatch(everything, path) and self.command == "POST":
            number = max(forge.comments, default=100) + 1
            forge.comments[number] = text
            self.answer(201, {"id": number})
        elif (found := re.fullmatch(one, path)) and self.command == update:
            number = int(found[1])
            if number in forge.foreign:
                self.answer(403, {"message": "not yours"})
                return
            forge.comments[number] = text
            self.answer(200, {"id": number})
        else:
            self.answer(404, {"message": "not found"})

    def listing(self, query: dict[str, str]) -> None:
        forge = self.server
        items = list(forge.comments.items())
        page = int(query.get("page", "1"))
        here = items[(page - 1) * 100 : page * 100]
        if forge.kind != BITBUCKET:
            assert query["per_page"] == "100"
            self.answer(200, [{"id": number, "body": text} for number, text in here])
            return
        values = [{"id": number, "content": {"raw": text}} for number, text in here]
        values.append({"id": 1, "deleted": True})
        following = f"{forge.api}/repositories/ann/net/pullrequests/7/comments?page={page + 1}"
        if forge.next_host:
            following = forge.next_host
        self.answer(
            200, {"values": values} | ({"next": following} if items[page * 100 :] or forge.next_host else {})
        )

    do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 - the library's names


@pytest.fixture(params=[GITHUB, GITLAB, BITBUCKET])
def forge(request: pytest.FixtureRequest) -> Iterator[Forge]:
    """A running forge of each kind."""
    with Forge(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def request_of(forge: Forge, **changes: Any) -> Request:
    return Request(forge.kind, forge.api, "ann/net", 7, "secret")._replace(**changes)


def test_a_first_report_is_a_new_comment_and_the_next_one_changes_it(forge: Forge) -> None:
    forge.comments = {5: "a person's", 6: "quoting\n" + mark("report")}
    assert post_comment(request_of(forge), "first\n") == (7, True)
    assert forge.comments[7] == mark("report") + "\n\nfirst\n"
    assert post_comment(request_of(forge), "second\n") == (7, False)
    assert forge.comments[7] == mark("report") + "\n\nsecond\n"
    assert len(forge.comments) == 3
    before = len(forge.log)
    assert post_comment(request_of(forge), "second\n") == (7, False)
    assert forge.log[before:] == ["GET"]  # nothing to change


def test_reports_of_other_names_are_other_comments(forge: Forge) -> None:
    one, _ = post_comment(request_of(forge), "one\n", name="unit (a)")
    two, _ = post_comment(request_of(forge), "two\n", name="unit (b)")
    assert one != two
    assert post_comment(request_of(forge), "two again\n", name="unit (b)") == (two, False)


def test_the_comment_is_found_on_a_later_page(forge: Forge) -> None:
    forge.comments = dict.fromkeys(range(1, 251), "talk")
    forge.comments[230] = mark("report") + "\n\nold\n"
    assert post_comment(request_of(forge), "new\n") == (230, False)


def test_a_comment_of_somebody_else_with_our_mark_is_passed_over(forge: Forge) -> None:
    forge.comments = {5: mark("report") + "\n\nnot ours\n"}
    forge.foreign = {5}
    number, is_new = post_comment(request_of(forge), "ours\n")
    assert is_new and forge.comments[5].endswith("not ours\n")
    assert post_comment(request_of(forge), "ours again\n") == (number, False)


def test_a_text_that_is_too_long_is_cut_at_a_line(forge: Forge) -> None:
    number, _ = post_comment(request_of(forge), "a line of text\n" * 100_000)
    text = forge.comments[number]
    limit = {GITHUB: 65_000, GITLAB: 900_000, BITBUCKET: 32_000}[forge.kind]
    assert limit - 200 < len(text) <= limit
    assert text.endswith("a line of text\n\n… the rest is too long for a comment.\n")


def test_a_failure_in_between_is_tried_again(forge: Forge) -> None:
    post_comment(request_of(forge), "first\n")
    forge.answers = [502]
    assert post_comment(request_of(forge), "second\n")[1] is False


@pytest.mark.parametrize(
    ("changes", "answers", "error"),
    [
        ({"token": "wrong"}, [], ForgeAuthError),
        ({"project": "ann/none"}, [], ForgeRefusedError),
        ({}, [302], ForgeRefusedError),
        ({}, [200, 500], ForgeFailedError),
    ],
)
def test_what_the_forge_refuses_is_an_error(
    forge: Forge, changes: dict[str, Any], answers: list[int], error: type[Exception]
) -> None:
    if answers == [200, 500]:
        post_comment(request_of(forge), "first\n")
        forge.comments.clear()
        forge.answers = [500] * 10
    else:
        forge.answers = list(answers)
    with pytest.raises(error) as caught:
        post_comment(request_of(forge, **changes), "text\n")
    assert "secret" not in str(caught.value)


def test_a_forge_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ForgeFailedError):
        post_comment(Request(GITHUB, "http://127.0.0.1:9", "ann/net", 7, "secret"), "text\n")


def test_the_token_goes_to_no_other_place() -> None:
    with Forge(BITBUCKET) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        server.next_host = "http://127.0.0.1:9/api/more"
        with pytest.raises(ForgeRefusedError, match="another place"):
            post_comment(request_of(server), "text\n")
        server.shutdown()
        thread.join()

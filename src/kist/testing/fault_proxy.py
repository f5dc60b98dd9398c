"""A proxy that misbehaves: passes requests on to a real server, counts what passes, and does harm on demand.

Signatures stay valid, for everything is passed on as it came, the `Host` included. Not here: the harm (the tests).
"""

from __future__ import annotations

import http.client
import os
import urllib.parse
from collections.abc import Callable

from kist.testing.web_server import Handler, WebServer

_BLOCK = 1 << 18
_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class FaultProxy(WebServer):
    """Stands before a server while it is entered.

    Attributes:
        fault: as of WebServer; called before anything is passed on.
        alter_answer: changes a body on its way to the client; given the handler and the body.
        passed: called with (handler, status) when the server has answered.
        on_bytes: called with the sum of the bytes of all bodies that came from clients, while they come.
        received: that sum.
        on_sent: called with the sum of the bytes of all bodies that went to clients, while they go.
        sent: that sum.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(os.devnull, handler=ProxyHandler)
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.alter_answer: Callable[[Handler, bytes], bytes] = lambda handler, body: body
        self.passed: Callable[[Handler, int], None] = lambda handler, status: None
        self.on_bytes: Callable[[int], None] = lambda received: None
        self.received = 0
        self.on_sent: Callable[[int], None] = lambda sent: None
        self.sent = 0


class ProxyHandler(Handler):
    """Passes one request on."""

    server: FaultProxy

    def _pass_on(self) -> None:
        if not self._is_let_in():
            return
        body = self._counted_body()
        if body is None:
            self.close_connection = True
            return
        if self.keeps_half:
            body, self.keeps_half = body[: len(body) // 2], False
        status, headers, data = self._asked(body)
        self.server.passed(self, status)
        if self.command != "HEAD":
            data = self.server.alter_answer(self, data)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OWN or (name.lower() == "content-length" and self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            for at in range(0, len(data), _BLOCK):
                part = data[at : at + _BLOCK]
                self.wfile.write(part)
                self.server.sent += len(part)
                self.server.on_sent(self.server.sent)

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Returns what the server answers: status, headers, body."""
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OWN:
                    upstream.putheader(name, value)
            if body or self.command in ("PUT", "POST"):
                upstream.putheader("Content-Length", str(len(body)))
            upstream.putheader("Connection", "close")
            upstream.endheaders()
            upstream.send(body)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _counted_body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = self._body() or b""
            self._count(len(data))
            return data
        left = int(self.headers.get("Content-Length", "0"))
        parts = []
        while left:
            part = self.rfile.read(min(left, _BLOCK))
            if not part:
                return None
            parts.append(part)
            left -= len(part)
            self._count(len(part))
        return b"".join(parts)

    def _count(self, size: int) -> None:
        self.server.received += size
        self.server.on_bytes(self.server.received)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - the library's names
    do_PROPFIND = do_MKCOL = do_MOVE = _pass_on  # noqa: N815

"""A small web server for tests: GET, HEAD, POST, PUT and ranges over a folder, with passwords and faults on demand.

Not here: a server for users. What it proves about clients is listed in docs/spec/storage.md.
"""

from __future__ import annotations

import base64
import http.server
import os
import re
import socket
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from kist.base import atomic

Fault = Callable[["Handler"], bool]
"""Called before a request is answered; answers itself and returns True, or returns False."""


class WebServer(http.server.ThreadingHTTPServer):
    """Serves a folder on 127.0.0.1 while it is entered.

    Attributes:
        folder: what is served.
        user, password: asked for by Basic when set.
        fault: see Fault.
        requests: "METHOD path" -> how often.
        seen_headers: the headers of all requests, newest last.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        folder: str,
        *,
        user: str | None = None,
        password: str | None = None,
        handler: type[Handler] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.folder = folder
        self.user = user
        self.password = password
        self.fault: Fault | None = None
        self.requests: Counter[str] = Counter()
        self.seen_headers: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that break off are what tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request.

    Attributes:
        keeps_half: of the body that comes, only a half is stored, and the client is told that all is well.
    """

    protocol_version = "HTTP/1.1"
    server: WebServer
    keeps_half = False

    def setup(self) -> None:
        """Sends small answers at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Prints nothing."""

    def _file(self) -> str:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        return os.path.join(self.server.folder, *[part for part in path.split("/") if part not in ("", "..")])

    def _is_let_in(self) -> bool:
        self.server.requests[f"{self.command} {self.path}"] += 1
        self.server.seen_headers.append(dict(self.headers.items()))
        if self.server.fault is not None and self.server.fault(self):
            return False
        if self.server.user is not None:
            expected = base64.b64encode(f"{self.server.user}:{self.server.password}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                self.answer(401, b"who are you?")
                return False
        return True

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Sends a whole answer; what was not read of the request ends the connection."""
        self.send_response(status)
        if self.command in ("POST", "PUT", "PATCH"):
            self.close_connection = True
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Says whether a file is there, and how large it is."""
        if not self._is_let_in():
            return
        path = self._file()
        if not os.path.isfile(path):
            self.answer(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(os.path.getsize(path)))
        self.end_headers()

    def do_GET(self) -> None:
        """Sends a file, or a range of it."""
        if not self._is_let_in():
            return
        try:
            with open(self._file(), "rb") as stream:
                data = stream.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self.answer(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            self.answer(200, data)
            return
        first = int(found[1])
        last = min(len(data) - 1, int(found[2]) if found[2] else len(data) - 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.answer(206, data[first : last + 1], headers)

    def do_PUT(self) -> None:
        """Stores a body; one that ends early is thrown away."""
        if not self._is_let_in():
            return
        data = self._body()
        if data is None:
            self.close_connection = True
            return
        if self.keeps_half:
            data, self.keeps_half = data[: len(data) // 2], False
        path = self._file()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write_file(path, data, durable=False)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Stores a body, as PUT does."""
        self.do_PUT()

    def _body(self) -> bytes | None:
        """Returns the body of a request, None when it broke off."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = int(self.headers.get("Content-Length", "0"))
        data = self.rfile.read(length)
        return data if len(data) == length else None

"""Harm that a web server or proxy of ours does to requests: faults F63 to F66, by name.

Not here: the servers (web_server, fault_proxy), what must hold meanwhile (fault_contract).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from kist.testing.web_server import Fault, Handler

STALL_S = 20.0


class Faults:
    """Does harm to the next so many requests.

    Attributes:
        released: set when those that are kept waiting may go.
    """

    def __init__(self) -> None:
        self.released = threading.Event()
        self._left = 0
        self._lock = threading.Lock()

    def arrange(self, kind: str, count: int, *, suits: Callable[[str, Handler], bool] | None = None) -> Fault:
        """Returns harm of a kind for `count` requests: a status, or `reset`, `truncated`, `stalled`, `html`, `half`.

        Args: suits: says whether a kind can happen to a request; None: as with plain values at plain addresses.
        """
        self._left = count
        self.released.clear()
        harm = self._harm(kind)

        def fault(handler: Handler) -> bool:
            if not (suits or _suits)(kind, handler) or not self.is_due():
                return False
            return harm(handler)

        return fault

    def is_due(self) -> bool:
        """Says whether it is the turn of harm, and counts it."""
        with self._lock:
            self._left -= 1
            return self._left >= 0

    @property
    def are_over(self) -> bool:
        """Says whether all that was arranged has happened."""
        return self._left <= 0

    def _harm(self, kind: str) -> Callable[[Handler], bool]:
        if kind.isdigit():
            return lambda handler: _refuse(handler, int(kind))
        return {
            "reset": _reset,
            "truncated": _truncate,
            "stalled": self._stall,
            "html": _html,
            "half": _half,
        }[kind]

    def _stall(self, handler: Handler) -> bool:
        self.released.wait(STALL_S)
        handler.close_connection = True
        return True


def _suits(kind: str, handler: Handler) -> bool:
    if kind == "half":
        return handler.command in ("PUT", "POST") and "upload" not in handler.path
    return kind not in ("truncated", "html") or (handler.command == "GET" and "?" not in handler.path)


def _refuse(handler: Handler, status: int) -> bool:
    handler.answer(status, b"no", {"Retry-After": "0"})
    return True


def _reset(handler: Handler) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


def _truncate(handler: Handler) -> bool:
    """Announces more than it sends."""
    handler.send_response(206 if "Range" in handler.headers else 200)
    handler.send_header("Content-Length", "1000000")
    handler.send_header("Content-Range", "bytes 0-999999/1000000")
    handler.send_header("ETag", '"x"')
    handler.send_header("Last-Modified", "Sat, 21 Nov 2020 00:00:00 GMT")
    handler.end_headers()
    handler.wfile.write(b"some")
    handler.close_connection = True
    return True


def _html(handler: Handler) -> bool:
    """What a portal says in the place of the server."""
    headers = {"ETag": '"x"', "Last-Modified": "Sat, 21 Nov 2020 00:00:00 GMT", "Content-Type": "text/html"}
    handler.answer(200, b"<html>please log in</html>", headers)
    return True


def _half(handler: Handler) -> bool:
    handler.keeps_half = True
    return False

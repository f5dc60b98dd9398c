"""Stands in for the program `ssh`: runs an SFTP server right here, and does harm to what passes on demand.

Harm is ordered by files in a folder, each for one occasion: `KIND-ANYTHING`, removed when it happened. Kinds:
`denied` (the login is refused), `reset` (the connection ends at a request), `busy` (a request fails), `stalled` (it
is never answered), `late` (it is answered after 0.6 s), `short` (a read ends early), `flipped` (a byte that is read is
another), `dropped` (bytes are not written, and the server says that they are). `kill-BYTES` stays, and kills the client
when that many bytes came to be written. Not here: keys, hosts, ciphers.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

READ, WRITE = 5, 6
_STATUS, _DATA = 101, 103
_OK, _EOF, _FAILURE = 0, 1, 4
_ON = {"short": READ, "flipped": READ, "dropped": WRITE}
"""Harm that only comes to one kind of request."""


def program(folder: str, orders: str) -> str:
    """Writes a program `ssh` into a folder and returns the folder; `orders`: where harm is ordered."""
    os.makedirs(folder, exist_ok=True)
    os.makedirs(orders, exist_ok=True)
    path = os.path.join(folder, "ssh")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f'#!/bin/sh\nexec "{sys.executable}" -P -m {__name__} "{orders}"\n')
    os.chmod(path, 0o755)
    return folder


def sftp_server() -> str | None:
    """Returns OpenSSH's SFTP server, or None where it is not installed."""
    places = "/usr/lib/openssh:/usr/libexec:/usr/libexec/openssh:/usr/lib/ssh"
    return shutil.which("sftp-server", path=f"{os.environ.get('PATH', '')}:{places}")


def order(orders: str, kind: str, count: int) -> None:
    """Orders harm for the next `count` occasions."""
    for number in range(count):
        with open(os.path.join(orders, f"{kind}-{number}"), "x", encoding="ascii"):
            pass


def received(orders: str) -> int:
    """Returns how many bytes came to be written, of all connections."""
    with open(f"{orders}.received", encoding="ascii") as stream:
        return sum(int(line) for line in stream)


def take_back(orders: str) -> None:
    """Takes all orders back."""
    for name in os.listdir(orders):
        os.unlink(os.path.join(orders, name))


class _Wire:
    """Both directions of one connection."""

    def __init__(self, orders: str, server: subprocess.Popen[bytes]) -> None:
        self._orders = orders
        self._server = server
        self._flipped: set[int] = set()
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Passes packets on until the client ends."""
        threading.Thread(target=self._answers, daemon=True).start()
        assert self._server.stdin is not None
        while (packet := _packet(sys.stdin.buffer)) is not None:
            if packet[0] == WRITE:
                self._count(len(packet))
            harm = self._harm(packet[0])
            if harm is None:
                _write(self._server.stdin, packet)
            else:
                harm(packet)

    def _count(self, size: int) -> None:
        with open(f"{self._orders}.received", "a", encoding="ascii") as stream:
            stream.write(f"{size}\n")
        for name in os.listdir(self._orders):
            kind, _, limit = name.partition("-")
            if kind == "kill" and received(self._orders) >= int(limit.partition("-")[0]):
                os.kill(os.getppid(), signal.SIGKILL)
                self.end()

    def _harm(self, kind: int) -> Callable[[bytes], None] | None:
        for name in sorted(os.listdir(self._orders)):
            order = name.partition("-")[0]
            if kind > 2 and order in _HARM and _ON.get(order, kind) == kind and self._is_taken(name):
                harm = _HARM[order]
                return lambda packet: harm(self, packet)
        return None

    def _is_taken(self, name: str) -> bool:
        try:
            os.unlink(os.path.join(self._orders, name))
        except FileNotFoundError:
            return False  # another connection was quicker
        return True

    def _answers(self) -> None:
        assert self._server.stdout is not None
        while (packet := _packet(self._server.stdout)) is not None:
            number = int.from_bytes(packet[1:5], "big")
            if packet[0] == _DATA and number in self._flipped and len(packet) > 9:
                self._flipped.discard(number)
                packet = packet[:9] + bytes([packet[9] ^ 1]) + packet[10:]
            self.answer(packet)
        os._exit(0)

    def answer(self, packet: bytes) -> None:
        """Sends a packet to the client."""
        with self._lock:
            _write(sys.stdout.buffer, packet)

    def status(self, request: bytes, code: int) -> None:
        """Answers a request with a status."""
        self.answer(bytes([_STATUS]) + request[1:5] + struct.pack(">III", code, 0, 0))

    def be_late(self, request: bytes) -> None:
        """Passes a request on after a while."""
        assert self._server.stdin is not None
        time.sleep(0.6)
        _write(self._server.stdin, request)

    def flip(self, request: bytes) -> None:
        """Passes a request on, whose answer will be another."""
        assert self._server.stdin is not None
        self._flipped.add(int.from_bytes(request[1:5], "big"))
        _write(self._server.stdin, request)

    def end(self) -> None:
        """Ends without a word."""
        self._server.kill()
        os._exit(1)


_HARM: dict[str, Callable[[_Wire, bytes], None]] = {
    "reset": lambda wire, packet: wire.end(),
    "busy": lambda wire, packet: wire.status(packet, _FAILURE),
    "stalled": lambda wire, packet: None,
    "late": lambda wire, packet: wire.be_late(packet),
    "short": lambda wire, packet: wire.status(packet, _EOF),
    "flipped": lambda wire, packet: wire.flip(packet),
    "dropped": lambda wire, packet: wire.status(packet, _OK),
}


def _packet(stream: IO[bytes]) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "big")
    packet = stream.read(size)
    return packet if len(packet) == size else None


def _write(stream: IO[bytes], packet: bytes) -> None:
    stream.write(struct.pack(">I", len(packet)) + packet)
    stream.flush()


def main(orders: str) -> None:
    """Runs as `ssh`."""
    for name in sorted(os.listdir(orders)):
        if name.startswith("denied-"):
            os.unlink(os.path.join(orders, name))
            sys.stderr.write("ann@host: Permission denied (publickey,password).\n")
            sys.exit(255)
    server = sftp_server()
    assert server is not None
    with subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _Wire(orders, process).serve()
        assert process.stdin is not None
        process.stdin.close()


if __name__ == "__main__":
    main(sys.argv[1])

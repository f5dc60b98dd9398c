"""SFTP version 3 over the person's own `ssh` program: many requests in flight on one connection, from many threads.

Not here: keys and layout (remotes.ssh). Source: draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL (posix-rename, fsync,
limits).
"""

from __future__ import annotations

import contextlib
import os
import queue
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kist.base.shell import shell_line
from kist.remotes.storage import (
    StorageAuthError,
    StorageFailedError,
    StorageMissingError,
    StoragePermissionError,
    StorageRefusedError,
    StorageUnreachableError,
)

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE, _FSTAT = 1, 2, 3, 4, 5, 6, 8
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _RMDIR, _STAT, _RENAME = 11, 12, 13, 14, 15, 17, 18
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED = 101, 102, 103, 104, 105, 200
_OK, _EOF, _NO_SUCH_FILE, _DENIED, _UNSUPPORTED = 0, 1, 2, 3, 8
READ, WRITE, CREATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x20
_CHUNK = 255 << 10
"""OpenSSH ends the connection on packets over 256 KiB."""
_WINDOW = 32
_LONGEST_PACKET = 1 << 22

_ASKPASS = """#!/bin/sh
case "$1" in
*yes/no*) printf '%s' "$1" >/dev/tty; read -r answer </dev/tty; printf '%s\\n' "$answer" ;;
*assphrase*) cat "$KIST_ASKPASS/passphrase" ;;
*) cat "$KIST_ASKPASS/password" ;;
esac
"""


class Login(NamedTuple):
    """How to reach a server.

    Attributes:
        name: of the remote, for messages.
        argv: the ssh command up to the host, with `-s`.
        environ: its environment.
        password, passphrase: given to ssh when it asks, never on its command line; None where ssh may ask itself.
        silence_s: how long the server may say nothing.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    password: str | None
    passphrase: str | None
    silence_s: float


class Attributes(NamedTuple):
    """What a server says of a file: size in bytes, permission bits with the file's kind, time of change in seconds."""

    size: int
    mode: int
    modified_s: float

    @property
    def is_folder(self) -> bool:
        """Says whether it is a directory."""
        return self.mode & 0o170000 == 0o040000


class _Reply:
    """What a request waits for."""

    __slots__ = ("body", "done", "kind", "sent")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.kind = 0
        self.body = b""
        self.sent = time.monotonic()


class Connection:
    """One running `ssh`. Requests may come from any thread."""

    def __init__(self, login: Login) -> None:
        """Raises: StorageAuthError, StorageUnreachableError."""
        self._login = login
        self._lock = threading.Lock()
        self._waiting: dict[int, _Reply] = {}
        self._next = 0
        self._heard = time.monotonic()
        self._failure: str | None = None
        self._extensions: dict[bytes, bytes] = {}
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with _secrets(login) as environ:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the connection
            try:
                self._process = subprocess.Popen(
                    [*login.argv, "sftp"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env=environ,
                    start_new_session=login.password is not None,
                )
            except FileNotFoundError as error:
                self._errors.close()
                raise StorageRefusedError(
                    f"cannot use remote '{login.name}': the program 'ssh' is not installed",
                    hint="apt install openssh-client",
                ) from error
            try:
                self._shake_hands()
            except BaseException:
                self.close()
                raise
        threading.Thread(target=self._listen, name="kist-sftp", daemon=True).start()
        threading.Thread(target=self._speak, name="kist-sftp", daemon=True).start()

    # Wire

    def _shake_hands(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack(">IBI", 5, _INIT, 3))
            self._process.stdin.flush()
            packet = self._packet()
        except OSError:
            packet = None
        if packet is None or packet[0] != _VERSION:
            raise self._login_failed()
        at = 5
        while at < len(packet):
            name, at = _text(packet, at)
            data, at = _text(packet, at)
            self._extensions[name] = data

    def _login_failed(self) -> Exception:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._errors.seek(0)
        lines = self._errors.read(65536).decode("utf-8", "replace").strip().splitlines()
        text = " ".join(lines)
        last = lines[-1].strip() if lines else "ssh ended without a word"
        name = self._login.name
        if "HOST IDENTIFICATION HAS CHANGED" in text or "Host key verification failed" in text:
            return StorageAuthError(
                f"cannot trust remote '{name}': the server's key is not the one in known_hosts",
                hint="ask whoever runs the server; if it is right: ssh-keygen -R HOST",
            )
        if any(
            word in text
            for word in ("Permission denied", "Too many authentication failures", "No supported auth")
        ):
            return StorageAuthError(
                f"cannot use remote '{name}': the server does not accept the user, key or password",
                hint=shell_line("kist", "remote", "modify", "--local", name, "password", "PASSWORD"),
            )
        words = (
            "resolve hostname",
            "refused",
            "timed out",
            "No route",
            "unreachable",
            "closed by",
            "reset by",
        )
        if any(word in text for word in words):
            return StorageUnreachableError(
                f"cannot reach remote '{name}': {last}", hint="is the address right, and the server running?"
            )
        return StorageRefusedError(f"cannot use remote '{name}': {last}")

    def _packet(self) -> bytes | None:
        assert self._process.stdout is not None
        head = self._process.stdout.read(4)
        if len(head) < 4:
            return None
        size = int.from_bytes(head, "big")
        if not 0 < size <= _LONGEST_PACKET:
            return None
        packet = self._process.stdout.read(size)
        return packet if len(packet) == size else None

    def _listen(self) -> None:
        try:
            while (packet := self._packet()) is not None:
                self._heard = time.monotonic()
                number = int.from_bytes(packet[1:5], "big")
                with self._lock:
                    reply = self._waiting.pop(number, None)
                if reply is not None:
                    reply.kind, reply.body = packet[0], packet[5:]
                    reply.done.set()
        except (OSError, ValueError):
            pass  # closed by this side
        self._fail("the connection broke")

    def _speak(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            while (packet := self._outbox.get()) is not None:
                stream.write(packet)
                if self._outbox.empty():
                    stream.flush()
        except (OSError, ValueError):
            self._fail("the connection broke")

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failure = self._failure or why
            waiting, self._waiting = list(self._waiting.values()), {}
        for reply in waiting:
            reply.kind = 0
            reply.done.set()

    @property
    def is_alive(self) -> bool:
        """Says whether requests can be sent."""
        return self._failure is None

    def _send(self, kind: int, body: bytes) -> _Reply:
        reply = _Reply()
        with self._lock:
            if self._failure is not None:
                raise self._broken()
            self._next = (self._next + 1) & 0xFFFFFFFF
            number = self._next
            self._waiting[number] = reply
        self._outbox.put(struct.pack(">IBI", len(body) + 5, kind, number) + body)
        return reply

    def _broken(self) -> StorageFailedError:
        return StorageFailedError(f"cannot use remote '{self._login.name}': {self._failure}")

    def _wait(self, reply: _Reply) -> None:
        while not reply.done.wait(min(1.0, self._login.silence_s / 4)):
            # A connection that nobody used for long has said nothing since, and is in its right.
            since = max(self._heard, reply.sent)
            if time.monotonic() - since > self._login.silence_s:
                self._fail(f"the server has said nothing for {self._login.silence_s:g} s")
                self.close()
        if reply.kind == 0:
            raise self._broken()

    # Answers

    def _status(self, reply: _Reply, path: str, verb: str) -> None:
        """Waits for a status, and raises unless it is OK."""
        self._wait(reply)
        if reply.kind == _STATUS and reply.body[:4] == b"\0\0\0\0":
            return
        raise self._refusal(reply, path, verb)

    def _refusal(self, reply: _Reply, path: str, verb: str) -> Exception:
        name = self._login.name
        if reply.kind != _STATUS:
            return StorageFailedError(
                f"cannot {verb} '{path}' of remote '{name}': the server answered out of turn"
            )
        code = int.from_bytes(reply.body[:4], "big")
        message = _text(reply.body, 4)[0].decode("utf-8", "replace") if len(reply.body) > 8 else ""
        if code == _NO_SUCH_FILE:
            return StorageMissingError(f"cannot {verb} '{path}' of remote '{name}': it is not there")
        if code == _DENIED:
            return StoragePermissionError(
                f"cannot {verb} '{path}' of remote '{name}': we lack the permission to {verb} there",
                hint="ask whoever runs the server for it",
            )
        return StorageFailedError(f"cannot {verb} '{path}' of remote '{name}': {message or f'status {code}'}")

    # Files

    def stat(self, path: str) -> Attributes | None:
        """Returns what is known of a path, None where nothing is."""
        reply = self._send(_STAT, _string(path))
        self._wait(reply)
        if reply.kind == _ATTRS:
            return _attributes(reply.body, 0)[0]
        error = self._refusal(reply, path, "read")
        if isinstance(error, StorageMissingError):
            return None
        raise error

    def open(self, path: str, flags: int, verb: str) -> bytes:
        """Returns a handle."""
        attributes = struct.pack(">II", 4, 0o644) if flags & CREATE else struct.pack(">I", 0)
        reply = self._send(_OPEN, _string(path) + struct.pack(">I", flags) + attributes)
        return self._handle(reply, path, verb)

    def _handle(self, reply: _Reply, path: str, verb: str) -> bytes:
        self._wait(reply)
        if reply.kind != _HANDLE:
            raise self._refusal(reply, path, verb)
        return _text(reply.body, 0)[0]

    def close_handle(self, handle: bytes, path: str, verb: str) -> None:
        """Closes a handle; a server may find only now that a write failed."""
        self._status(self._send(_CLOSE, _string(handle)), path, verb)

    def read(self, handle: bytes, path: str, first: int, size: int | None) -> Iterator[bytes]:
        """Yields blocks from `first` on: `size` bytes, or all to the end."""
        if size is None:
            reply = self._send(_FSTAT, _string(handle))
            start = self._send(_READ, _string(handle) + struct.pack(">QI", first, _CHUNK))
            self._wait(reply)
            if reply.kind != _ATTRS:
                raise self._refusal(reply, path, "read")
            size = max(0, _attributes(reply.body, 0)[0].size - first)
            block = self._block(start, path)
            yield block[:size]
            if len(block) >= size:
                return
            first, size = first + len(block), size - len(block)
        asked: list[tuple[int, int, _Reply]] = []
        end = first + size
        while first < end or asked:
            while first < end and len(asked) < _WINDOW:
                length = min(_CHUNK, end - first)
                asked.append((first, length, self._ask(handle, first, length)))
                first += length
            at, length, reply = asked.pop(0)
            block = self._block(reply, path)
            while len(block) < length:
                more = self._block(self._ask(handle, at + len(block), length - len(block)), path)
                if not more:
                    raise StorageFailedError(
                        f"cannot read '{path}': it ended {length - len(block)} bytes too early"
                    )
                block += more
            yield block

    def _ask(self, handle: bytes, first: int, length: int) -> _Reply:
        return self._send(_READ, _string(handle) + struct.pack(">QI", first, length))

    def _block(self, reply: _Reply, path: str) -> bytes:
        self._wait(reply)
        if reply.kind == _DATA:
            return _text(reply.body, 0)[0]
        if reply.kind == _STATUS and int.from_bytes(reply.body[:4], "big") == _EOF:
            return b""
        raise self._refusal(reply, path, "read")

    def write(self, handle: bytes, path: str, first: int, blocks: Iterator[bytes]) -> int:
        """Writes blocks from `first` on; returns how many bytes, which the server has taken."""
        at = first
        asked: list[_Reply] = []
        for block in blocks:
            for start in range(0, len(block), _CHUNK):
                piece = block[start : start + _CHUNK]
                body = _string(handle) + struct.pack(">QI", at, len(piece)) + piece
                asked.append(self._send(_WRITE, body))
                at += len(piece)
                if len(asked) >= _WINDOW:
                    self._status(asked.pop(0), path, "write")
        for reply in asked:
            self._status(reply, path, "write")
        return at - first

    def size(self, handle: bytes, path: str) -> int:
        """Returns how large the server says that an open file is."""
        reply = self._send(_FSTAT, _string(handle))
        self._wait(reply)
        if reply.kind != _ATTRS:
            raise self._refusal(reply, path, "read")
        return _attributes(reply.body, 0)[0].size

    def sync(self, handle: bytes, path: str) -> None:
        """Makes a file durable, where the server can."""
        if b"fsync@openssh.com" in self._extensions:
            body = _string(b"fsync@openssh.com") + _string(handle)
            self._status(self._send(_EXTENDED, body), path, "write")

    def rename(self, old: str, new: str) -> None:
        """Renames; what was there is replaced."""
        if b"posix-rename@openssh.com" in self._extensions:
            body = _string(b"posix-rename@openssh.com") + _string(old) + _string(new)
            self._status(self._send(_EXTENDED, body), new, "write")
            return
        reply = self._send(_RENAME, _string(old) + _string(new))
        try:
            self._status(reply, new, "write")
        except StorageFailedError:
            # Version 3 alone does not replace: between these two the name is missing, never half.
            self.remove(new)
            self._status(self._send(_RENAME, _string(old) + _string(new)), new, "write")

    def remove(self, path: str) -> None:
        """Removes a file; one that is not there is no error."""
        with contextlib.suppress(StorageMissingError):
            self._status(self._send(_REMOVE, _string(path)), path, "delete")

    def make_folder(self, path: str) -> None:
        """Makes a folder; its parent must be there."""
        reply = self._send(_MKDIR, _string(path) + struct.pack(">I", 0))
        try:
            self._status(reply, path, "write")
        except StorageFailedError:
            found = self.stat(path)  # "failure" is how OpenSSH says that it exists
            if found is None or not found.is_folder:
                raise

    def remove_folder(self, path: str) -> bool:
        """Removes an empty folder; False where it holds something."""
        try:
            self._status(self._send(_RMDIR, _string(path)), path, "delete")
        except StorageMissingError:
            return True
        except StorageFailedError:
            return False  # "failure" is how a server says that it is not empty
        return True

    def list(self, path: str) -> Iterator[tuple[str, Attributes]]:
        """Yields (name, attributes) of what is right in a folder."""
        handle = self._handle(self._send(_OPENDIR, _string(path)), path, "list")
        try:
            while True:
                reply = self._send(_READDIR, _string(handle))
                self._wait(reply)
                if reply.kind != _NAME:
                    if reply.kind == _STATUS and int.from_bytes(reply.body[:4], "big") == _EOF:
                        return
                    raise self._refusal(reply, path, "list")
                at = 4
                for _ in range(int.from_bytes(reply.body[:4], "big")):
                    name, at = _text(reply.body, at)
                    _, at = _text(reply.body, at)
                    attributes, at = _attributes(reply.body, at)
                    if name not in (b".", b".."):
                        yield os.fsdecode(name), attributes
        finally:
            self._send(_CLOSE, _string(handle))

    def close(self) -> None:
        """Ends the connection."""
        self._fail("the connection was closed")
        self._outbox.put(None)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None and stream is self._process.stdin:
                    stream.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def _secrets(login: Login) -> Iterator[dict[str, str]]:
    """Yields the environment in which ssh asks a script, which reads files that only we can read, for that long."""
    environ = dict(login.environ)
    if login.password is None and login.passphrase is None:
        yield environ
        return
    with tempfile.TemporaryDirectory(prefix="kist-") as folder:  # 0700
        for name, value in (("password", login.password), ("passphrase", login.passphrase)):
            path = os.path.join(folder, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as stream:
                stream.write((value or "") + "\n")
        script = os.path.join(folder, "askpass")
        with open(os.open(script, os.O_WRONLY | os.O_CREAT, 0o700), "w", encoding="utf-8") as stream:
            stream.write(_ASKPASS)
        environ |= {"SSH_ASKPASS": script, "SSH_ASKPASS_REQUIRE": "force", "KIST_ASKPASS": folder}
        environ.setdefault("DISPLAY", "none")  # OpenSSH before 8.4 wants one
        yield environ


def _string(value: str | bytes) -> bytes:
    data = os.fsencode(value) if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def _text(packet: bytes, at: int) -> tuple[bytes, int]:
    size = int.from_bytes(packet[at : at + 4], "big")
    return packet[at + 4 : at + 4 + size], at + 4 + size


def _attributes(packet: bytes, at: int) -> tuple[Attributes, int]:
    flags = int.from_bytes(packet[at : at + 4], "big")
    at += 4
    size = mode = modified = 0
    if flags & 1:
        size = int.from_bytes(packet[at : at + 8], "big")
        at += 8
    if flags & 2:
        at += 8
    if flags & 4:
        mode = int.from_bytes(packet[at : at + 4], "big")
        at += 4
    if flags & 8:
        modified = int.from_bytes(packet[at + 4 : at + 8], "big")
        at += 8
    if flags & 0x80000000:
        count = int.from_bytes(packet[at : at + 4], "big")
        at += 4
        for _ in range(2 * count):
            at = _text(packet, at)[1]
    return Attributes(size, mode, float(modified)), at

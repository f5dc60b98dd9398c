"""Google's resumable uploads: a session takes the parts of one value in their order, and is known by its address alone.

The last part makes the value visible, so it waits here for `finish`. Not here: how a session is opened, which each
service does in its own way. Source: Google's description of resumable uploads.
"""

from __future__ import annotations

from collections.abc import Callable

from kist.errors import NetworkError
from kist.remotes.storage import Body, StorageFailedError, Upload
from kist.remotes.web import Answer, origin

PART_BYTES = 16 << 20
"""The services want multiples of 256 KiB."""

Ask = Callable[[str, str, dict[str, str], Body, tuple[int, ...]], Answer]
"""Sends a request: method, address, headers, body, statuses that the caller understands."""


class Sessions:
    """The sessions of one storage.

    Args:
        name: of the remote, for messages.
        address: of the service: a session at another origin is none of ours.
    """

    def __init__(self, name: str, address: str, ask: Ask) -> None:
        self._name = name
        self._origin = origin(address)
        self._ask = ask
        self._open: dict[str, tuple[int, dict[int, bytes]]] = {}
        """Session -> size of the whole, and its last part by its first byte."""
        self._doubtful: set[str] = set()
        """Sessions whose last part may have arrived though no answer came."""

    def address_of(self, key: str, answer: Answer) -> str:
        """Returns the address of a session that was just opened, from the service's answer."""
        answer.release()
        session = answer.headers.get("Location")
        if session is None:
            raise StorageFailedError(f"cannot write '{key}' of remote '{self._name}': no upload was opened")
        return session

    def opened(self, key: str, size: int, answer: Answer) -> Upload:
        """Returns the upload of such a session."""
        session = self.address_of(key, answer)
        self._open[session] = (size, {})
        return Upload(key, session, {})

    def continued(self, key: str, size: int, session: str) -> Upload | None:
        """Returns the upload of a session that an earlier process opened, or None where it has ended."""
        if origin(session) != self._origin:
            return None
        headers = {"Content-Range": f"bytes */{size}"}
        answer = self._ask("PUT", session, headers, Body.of(b""), (308, 400, 404, 410, 499))
        answer.release()
        if answer.status != 308:
            return None
        self._open[session] = (size, {})
        whole = min(_persisted(answer), size - 1) // PART_BYTES
        return Upload(key, session, dict.fromkeys(range(whole), (PART_BYTES, "")))

    def put(self, upload: Upload, first: int, data: bytes) -> None:
        """Sends a part, or keeps the last one for `finish`."""
        size, last = self._open[upload.id]
        if first + len(data) >= size:
            last[first] = data
            return
        answer = self._send(upload, first, data, size)
        if answer is not None and (answer.status != 308 or _persisted(answer) < first + len(data)):
            raise self._took_a_part(upload)

    def finish(self, upload: Upload) -> bytes:
        """Sends the last part; returns what the service says of the value."""
        size, last = self._open[upload.id]
        ((first, data),) = last.items()
        answer = self._send(upload, first, data, size)
        if answer is None or answer.status == 308:
            raise self._took_a_part(upload)
        text = answer.text()
        del self._open[upload.id]
        return text

    def _send(self, upload: Upload, first: int, data: bytes, size: int) -> Answer | None:
        """Returns the answer to a part, or None where an earlier try, whose answer was lost, brought all of it."""
        if upload.id in self._doubtful:
            answer = self._ask("PUT", upload.id, {"Content-Range": f"bytes */{size}"}, Body.of(b""), (308,))
            if answer.status != 308:
                return answer
            answer.release()
            there = max(first, _persisted(answer))
            self._doubtful.discard(upload.id)
            if there >= first + len(data):
                return None
            first, data = there, data[there - first :]
        headers = {"Content-Range": f"bytes {first}-{first + len(data) - 1}/{size}"}
        try:
            answer = self._ask("PUT", upload.id, headers, Body.of(data), (308,))
        except NetworkError:
            self._doubtful.add(upload.id)
            raise
        if answer.status == 308:
            answer.release()
        return answer

    def abort(self, upload: Upload) -> None:
        """Ends a session; it may be gone."""
        self._open.pop(upload.id, None)
        self._ask("DELETE", upload.id, {}, Body.of(b""), (400, 404, 405, 410, 499)).release()

    def _took_a_part(self, upload: Upload) -> StorageFailedError:
        return StorageFailedError(
            f"cannot write '{upload.key}' of remote '{self._name}': the service took only a part"
        )


def _persisted(answer: Answer) -> int:
    """Returns how many bytes a session has, from `Range: bytes=0-LAST`; without it, none."""
    last = answer.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0

"""A limit on bytes a second, one for a whole command: whoever moves bytes spends them here first.

Not here: who asks (transfer.engine, store.copying, store.verify). Implements docs/spec/transfer.md, section 5.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST_S = 1.0


class Limiter:
    """Lets bytes through at a rate, to all threads together; what a second left unused may go at once.

    Attributes:
        bytes_per_s: the rate.
    """

    def __init__(
        self,
        bytes_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock() - _BURST_S

    def spend(self, size_bytes: int, *, wait: Callable[[float], object] | None = None) -> None:
        """Returns when this many more bytes may have travelled.

        Args: wait: waits so many seconds, or less where everything is to end; instead of sleeping.
        """
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - _BURST_S) + size_bytes / self.bytes_per_s
            left_s = self._free_at - now
        if left_s > 0:
            (wait or self._sleep)(left_s)

"""Shows the progress of long operations: one line on a terminal, or JSON lines for programs; both on stderr.

Not here: what is counted (the operations do that, through kist.base.progress).

A ticker thread draws ten times a second, so that the line lives also while one slow step runs, and `advance` is two
additions. It pauses while the process forks: a fork copies the locks of other threads as they are held, but not the
threads, of which Python 3.12 and newer warn. The next `advance`, with which waiting for workers begins, brings it back.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING

from kist.base.progress import SilentProgress

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from kist.base.progress import Phase, Progress
    from kist.cli.console import Console

DRAW_EVERY_S = 0.1
JSON_EVERY_S = 0.5
_QUIET_START_S = 0.2
"""A phase shorter than this draws nothing: a line that flashes by says nothing."""
_RATE_WINDOW_S = 5.0


def make_progress(mode: str, *, quiet: bool, console: Console) -> Progress:
    """Returns the way of showing progress that fits `--progress`, `--quiet` and the kind of stderr.

    Args: mode: one of kist.cli.options.PROGRESS_MODES.
    """
    if mode == "json":
        return _ShownProgress(_JsonView())
    if mode == "none" or quiet or not sys.stderr.isatty():
        return SilentProgress()
    view = _LineView()
    console.erase_progress = view.erase
    return _ShownProgress(view)


class _Snapshot:
    """The figures of a phase at one moment."""

    __slots__ = ("elapsed_s", "files", "files_total", "finished", "name", "size_bytes", "size_total", "speed")

    def __init__(self, phase: _ShownPhase, now: float, *, finished: bool = False) -> None:
        self.name = phase.name
        self.files = phase.files
        self.size_bytes = phase.size_bytes
        self.files_total = phase.files_total
        self.size_total = phase.size_total
        self.elapsed_s = now - phase.started
        self.finished = finished
        self.speed = phase.speed(now)


class _ShownProgress:
    def __init__(self, view: _LineView | _JsonView) -> None:
        self._view = view
        _pause_at_forks()

    def phase(self, name: str, files: int | None = None, size_bytes: int | None = None) -> Phase:
        return _ShownPhase(self._view, name, files, size_bytes)


class _ShownPhase:
    """Counts, and has a thread of its own that shows the counts until the phase ends."""

    def __init__(
        self, view: _LineView | _JsonView, name: str, files: int | None, size_bytes: int | None
    ) -> None:
        self.name = name
        self.files = 0
        self.size_bytes = 0
        self.files_total = files
        self.size_total = size_bytes
        self.started = time.monotonic()
        self._samples = [(self.started, 0, 0)]
        self._view = view
        self._ticker = _Ticker(self._show, first_after_s=view.first_after_s, every_s=view.every_s)

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        # No lock: CPython switches threads only at calls and backward jumps, so that none falls inside an addition.
        self.files += files
        self.size_bytes += size_bytes
        if self._ticker.is_paused:
            self._ticker.resume()

    def speed(self, now: float) -> tuple[float, float]:
        """Returns files and bytes a second over the last seconds."""
        self._samples.append((now, self.files, self.size_bytes))
        while len(self._samples) > 2 and now - self._samples[1][0] > _RATE_WINDOW_S:
            del self._samples[0]
        then, files, size_bytes = self._samples[0]
        span = max(now - then, 1e-3)
        return (self.files - files) / span, (self.size_bytes - size_bytes) / span

    def _show(self) -> None:
        self._view.show(_Snapshot(self, time.monotonic()))

    def __enter__(self) -> _ShownPhase:
        self._view.begin(_Snapshot(self, time.monotonic()))
        self._ticker.start()
        _ticking.append(self._ticker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker in _ticking:  # not in a process that was forked from this one
            _ticking.remove(self._ticker)
            self._ticker.stop()
            self._view.end(_Snapshot(self, time.monotonic(), finished=kind is None))


class _Ticker:
    """Calls something at intervals from a thread of its own.

    Attributes:
        is_paused: there is no thread for now.
    """

    def __init__(self, tick: Callable[[], None], *, first_after_s: float, every_s: float) -> None:
        import threading  # only where progress is shown

        self._tick = tick
        self._every_s = every_s
        self._next = time.monotonic() + first_after_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_paused = False

    def start(self) -> None:
        """Begins, or goes on where it paused."""
        import threading

        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="kist-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(max(self._next - time.monotonic(), 0)):
            self._tick()
            self._next = time.monotonic() + self._every_s

    def stop(self) -> None:
        """Returns when the thread is gone."""
        self.is_paused = False
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def pause(self) -> None:
        """Stops until `resume`."""
        self.stop()
        self.is_paused = True

    def resume(self) -> None:
        """Goes on after a pause, and does nothing at other times; any thread may call it."""
        with self._lock:
            if self.is_paused:
                self.is_paused = False
                self.start()


_ticking: list[_Ticker] = []
"""The tickers of the phases that are open."""


@cache
def _pause_at_forks() -> None:
    """Sees to it, once, that no ticker is there while the process forks, and none ever in the process that begins."""

    def pause() -> None:
        for ticker in _ticking:
            ticker.pause()

    def end() -> None:
        for ticker in _ticking:
            ticker.is_paused = False
        _ticking.clear()

    os.register_at_fork(before=pause, after_in_child=end)


class _LineView:
    """One line on the terminal, drawn over itself and erased at the end."""

    first_after_s = _QUIET_START_S
    every_s = DRAW_EVERY_S

    def __init__(self) -> None:
        self._drawn = False
        self._silent_until = 0.0

    def begin(self, snapshot: _Snapshot) -> None:
        pass

    def show(self, snapshot: _Snapshot) -> None:
        if time.monotonic() < self._silent_until:
            return
        self._drawn = True
        _write_stderr("\r" + progress_line(snapshot, _terminal_width() - 1) + "\x1b[K")

    def end(self, _snapshot: _Snapshot) -> None:
        self.erase()

    def erase(self) -> None:
        """Takes the line away, and keeps it away for the moment that the caller needs to write its own."""
        self._silent_until = time.monotonic() + DRAW_EVERY_S
        if self._drawn:
            self._drawn = False
            _write_stderr("\r\x1b[K")


class _JsonView:
    """One JSON object a line: at the begin, twice a second, and at the end with `"finished": true`."""

    first_after_s = JSON_EVERY_S
    every_s = JSON_EVERY_S

    def begin(self, snapshot: _Snapshot) -> None:
        self.show(snapshot)

    def show(self, snapshot: _Snapshot) -> None:
        import json  # only with `--progress json`

        record = {
            "phase": snapshot.name,
            "files": snapshot.files,
            "files_total": snapshot.files_total,
            "bytes": snapshot.size_bytes,
            "bytes_total": snapshot.size_total,
            "elapsed_s": round(snapshot.elapsed_s, 3),
        }
        if snapshot.finished:
            record["finished"] = True
        _write_stderr(json.dumps(record) + "\n")

    def end(self, snapshot: _Snapshot) -> None:
        self.show(snapshot)


def progress_line(snapshot: _Snapshot, width: int) -> str:
    """Returns the line for a terminal of `width` columns: what, files, bytes, rate and time left, as far as known."""
    parts = [snapshot.name]
    files_rate, bytes_rate = snapshot.speed
    if snapshot.files or snapshot.files_total:
        total = f"/{snapshot.files_total:,}" if snapshot.files_total is not None else ""
        parts.append(f"{snapshot.files:,}{total} {'file' if snapshot.files_total == 1 else 'files'}")
    if snapshot.size_bytes:
        parts.append(human_size(snapshot.size_bytes))
    if bytes_rate > 0:
        parts.append(f"{human_size(bytes_rate)}/s")
    elif files_rate > 0:
        parts.append(f"{files_rate:,.0f} files/s")
    left_s = _seconds_left(snapshot)
    parts.append(f"{human_time(left_s)} left" if left_s is not None else human_time(snapshot.elapsed_s))
    return "  ".join(parts)[:width]


def _seconds_left(snapshot: _Snapshot) -> float | None:
    files_rate, bytes_rate = snapshot.speed
    if snapshot.size_total and bytes_rate > 0:
        return max(snapshot.size_total - snapshot.size_bytes, 0) / bytes_rate
    if snapshot.files_total and files_rate > 0:
        return max(snapshot.files_total - snapshot.files, 0) / files_rate
    return None


def human_size(size_bytes: float) -> str:
    """Returns a size with three digits and a decimal unit, such as `1.23 GB`."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size_bytes /= 1000
        if size_bytes < 999.5 or unit == "PB":
            break
    digits = 2 if size_bytes < 9.995 else 1 if size_bytes < 99.95 else 0
    return f"{size_bytes:.{digits}f} {unit}"


def human_time(seconds: float) -> str:
    """Returns minutes and seconds as `0:07`, with hours in front when there are any."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:  # stderr is no terminal any more
        return 80


def _write_stderr(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:  # nobody looks any more: no reason to stop the work
        pass

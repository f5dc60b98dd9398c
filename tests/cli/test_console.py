"""Colours, streams, prompts, errors at the edge, signals, and progress."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kist.cli import errors
from kist.cli.console import Console, NoTerminalError, visible, wants_colour
from kist.cli.render_progress import human_size, human_time, make_progress
from kist.errors import ConfigError, Interrupted, MissingError

_FAKE_COMMAND = """
import os, signal, sys
from kist.cli import main, run

class Module:
    @staticmethod
    def add_arguments(parser):
        pass

    @staticmethod
    def run(args, context):
        {body}
        return 0

run.load_module = lambda command: Module
main.entry()
"""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def with_command(body: str, *words: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    """Runs `kist root` in a process of its own, with a module whose `run` does `body`."""
    code = _FAKE_COMMAND.format(body=body.replace("\n", "\n        "))
    arguments = [sys.executable, "-c", code, *(words or ("root",))]
    return subprocess.run(arguments, capture_output=True, check=False, **settings)  # type: ignore[call-overload]


def reported(error: BaseException, *, domain: int = 1, traceback: bool = False) -> tuple[int, str]:
    """Returns the exit status and the text for an error."""
    text = io.StringIO()
    console = Console(out=io.StringIO(), err=text)
    code = errors.report(error, console=console, command="push", domain_exit_code=domain, traceback=traceback)
    return code, text.getvalue()


@pytest.mark.parametrize(
    ("environ", "allowed", "terminal", "expected"),
    [
        ({}, True, True, True),
        ({}, True, False, False),
        ({}, False, True, False),
        ({"NO_COLOR": "1"}, True, True, False),
        ({"NO_COLOR": ""}, True, True, True),
        ({"TERM": "dumb"}, True, True, False),
        ({"FORCE_COLOR": "1"}, True, False, True),
        ({"FORCE_COLOR": "0"}, True, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, True, False),
        ({"FORCE_COLOR": "1"}, False, True, False),
    ],
)
def test_colours_obey_environment_option_and_terminal(
    environ: dict[str, str], allowed: bool, terminal: bool, expected: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert wants_colour(stream, environ, allowed=allowed) is expected


def test_lines_go_to_their_streams() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err)
    console.out("data")
    console.info("news")
    console.error("broken")
    console.warn("careful")
    console.hint("kist push")
    console.data_json({"a": [1, "é"]})
    assert out.getvalue() == 'data\nnews\n{"a": [1, "\\u00e9"]}\n'
    assert err.getvalue() == "error: broken\nwarning: careful\nhint: kist push\n"


def test_quiet_leaves_data_and_errors() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err, quiet=True)
    console.out("data")
    console.info("news")
    console.error("broken")
    console.warn("careful")
    console.hint("help")
    assert out.getvalue() == "data\n"
    assert err.getvalue() == "error: broken\n"


def test_colour_marks_the_label_and_not_the_message() -> None:
    err = io.StringIO()
    Console(err=err, out=io.StringIO(), err_colour=True).error("broken")
    assert err.getvalue() == "\x1b[31;1merror:\x1b[0m broken\n"


def test_paint_is_plain_without_colour() -> None:
    assert Console(out_colour=False).paint("x", "red") == "x"
    assert Console(out_colour=True).paint("x", "green", "bold") == "\x1b[32;1mx\x1b[0m"


def test_a_hostile_name_cannot_drive_the_terminal() -> None:
    err = io.StringIO()
    Console(err=err, out=io.StringIO(), err_colour=True).error("cannot add 'a\x1b[2Jb\rc\x9b\u202e'")
    assert err.getvalue() == "\x1b[31;1merror:\x1b[0m cannot add 'a\\x1b[2Jb\\rc\\x9b\\u202e'\n"
    assert visible("naïve ünïcode 日本\tx") == "naïve ünïcode 日本\tx"


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", b"caf\xe9"), ("ascii", b"caf\\udce9")])
def test_a_name_that_no_encoding_holds_does_not_crash(encoding: str, shown: bytes) -> None:
    body = "context.console.out(os.fsdecode(b'caf\\xe9'))\ncontext.console.error(os.fsdecode(b'caf\\xe9'))"
    result = with_command(body, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert result.returncode == 0
    assert result.stdout == shown + b"\n"
    assert result.stderr == b"error: " + shown + b"\n"


def test_a_question_off_a_terminal_is_answered_no(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert not Console(err=err, out=io.StringIO()).confirm("Really?")
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("No\n", False), ("what\nYES\n", True), ("", False)]
)
def test_a_question_on_a_terminal_is_asked_until_it_is_answered(
    typed: str, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert Console(err=err, out=io.StringIO()).confirm("Really?") is answer
    assert err.getvalue() == "Really? [y/n] " * max(1, typed.count("\n"))


def test_a_secret_off_a_terminal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    with pytest.raises(NoTerminalError, match="cannot ask for 'Password'"):
        Console().ask_secret("Password")


def test_an_error_takes_its_own_code_or_the_command_s() -> None:
    hinted = MissingError("cannot push 'data': no remote", hint="kist remote add")
    assert reported(hinted) == (1, "error: cannot push 'data': no remote\nhint: kist remote add\n")
    assert reported(hinted, domain=255)[0] == 255
    assert reported(ConfigError("bad")) == (251, "error: bad\n")
    assert reported(Interrupted("stopped"))[0] == 130


@pytest.mark.parametrize(
    ("number", "cause", "hint"),
    [
        (errno.ENOSPC, "no space left on device", "free some space, then run the same command again"),
        (errno.EACCES, "permission denied", "ls -ld 'a file'"),
        (errno.EROFS, "read-only file system", "the file system is read-only"),
        (errno.EIO, "input/output error", "the disk reports an error"),
        (errno.ELOOP, os.strerror(errno.ELOOP).lower(), "ls -ld 'a file'"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_the_cause(number: int, cause: str, hint: str) -> None:
    code, text = reported(OSError(number, os.strerror(number), "a file"), domain=255)
    assert code == 255
    first, second = text.splitlines()
    assert first == f"error: cannot finish `kist push`: 'a file': {cause}"
    assert second.startswith(f"hint: {hint}")


def test_an_error_of_the_system_without_a_hint_is_one_line() -> None:
    assert reported(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"x\xff", None, "y")) == (
        1,
        "error: cannot finish `kist push`: 'x\udcff' -> 'y': no such file or directory\n",
    )


def test_an_unexpected_error_is_one_line_without_a_traceback() -> None:
    code, text = reported(ZeroDivisionError("division\nby zero"))
    assert code == 255
    assert text.splitlines() == [
        "error: unexpected ZeroDivisionError in `kist push`: division by zero",
        "hint: give `-v` to see where it happened, and report it",
    ]


def test_verbose_shows_the_traceback_of_any_error() -> None:
    result = with_command("raise ZeroDivisionError('x')", "-v", "root")
    assert result.returncode == 255
    assert b"Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith(b"error: unexpected ZeroDivisionError in `kist root`: x\n")
    again = with_command("from kist.errors import InputError\nraise InputError('no')", "root", "--show-stack")
    assert b"Traceback" in again.stderr
    plain = with_command("from kist.errors import InputError\nraise InputError('no')")
    assert plain.stderr == b"error: no\n"


def test_a_reader_that_goes_away_ends_quietly_with_141() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = _FAKE_COMMAND.format(body="context.console.out('x' * 100_000)")
    try:
        result = subprocess.run(
            [sys.executable, "-c", code, "root"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert result.returncode == 141
    assert result.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("words", [["root"], ["--version"], ["--help"]])
def test_a_full_disk_behind_stdout_is_one_line(words: list[str]) -> None:
    code = _FAKE_COMMAND.format(body="context.console.out('data')")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == (255 if words == ["root"] else 1)
    assert result.stderr.startswith(b"error: cannot ")
    assert b"no space left on device" in result.stderr
    assert b"Traceback" not in result.stderr
    assert b"Exception ignored" not in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_full_disk_behind_stdout_is_not_forgotten_after_a_warning() -> None:
    code = _FAKE_COMMAND.format(body="context.console.out('data'); context.console.warn('w')")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code, "root"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 255
    assert result.stderr.splitlines()[:2] == [
        b"warning: w",
        b"error: cannot finish `kist root`: no space left on device",
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_full_disk_behind_stderr_does_not_stop_the_work() -> None:
    code = _FAKE_COMMAND.format(body="context.console.warn('w'); context.console.out('data')")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code, "root"], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert result.returncode == 0
    assert result.stdout == b"data\n"


def test_closed_standard_streams_do_not_crash_and_are_not_given_to_files(tmp_path: Path) -> None:
    body = (
        f"open({str(tmp_path / 'file')!r}, 'w').write(str(os.open(os.devnull, os.O_RDONLY)))\nprint('stray')"
    )
    code = _FAKE_COMMAND.format(body=body.replace("\n", "\n        "))
    command = 'exec "$0" -c "$1" root <&- >&- 2>&-'
    result = subprocess.run(["bash", "-c", command, sys.executable, code], check=False)
    assert result.returncode == 0
    assert int((tmp_path / "file").read_text()) > 2


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, b"error: interrupted by the user\n"),
        (signal.SIGTERM, 143, b"error: interrupted: the process was asked to end\n"),
        (signal.SIGHUP, 129, b"error: interrupted: the process was asked to end\n"),
    ],
)
def test_a_signal_runs_the_clean_up_and_is_one_line(number: int, code: int, line: bytes) -> None:
    raised = f"os.kill(os.getpid(), {number:d})\n    signal.pause()"
    body = f"try:\n    {raised}\nfinally:\n    context.console.out('cleaned')"
    result = with_command(body)
    assert (result.returncode, result.stdout, result.stderr) == (code, b"cleaned\n", line)


def test_an_error_handler_below_does_not_swallow_a_signal() -> None:
    body = "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()\nexcept Exception:\n    pass"
    assert with_command(body).returncode == 143


def test_a_signal_that_is_ignored_from_outside_stays_ignored() -> None:
    body = "os.kill(os.getpid(), signal.SIGHUP)\ncontext.console.out('alive')"
    code = _FAKE_COMMAND.format(body=body.replace("\n", "\n        "))
    command = 'trap "" HUP; exec "$0" -c "$1" root'
    result = subprocess.run(["bash", "-c", command, sys.executable, code], capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, b"alive\n")


_PHASES = """
with context.progress.phase("Hashing data", files=3, size_bytes=1500) as phase:
    phase.advance(1, 500)
    phase.advance(2, 1000)
"""


def test_progress_off_a_terminal_is_silent() -> None:
    result = with_command(_PHASES.strip())
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_progress_as_json_gives_begin_and_end_of_each_phase() -> None:
    result = with_command(_PHASES.strip(), "root", "--progress", "json")
    records = [json.loads(line) for line in result.stderr.splitlines()]
    assert len(records) >= 2
    first, last = records[0], records[-1]
    assert isinstance(first.pop("elapsed_s"), float)
    assert isinstance(last.pop("elapsed_s"), float)
    assert first == {"phase": "Hashing data", "files": 0, "files_total": 3, "bytes": 0, "bytes_total": 1500}
    assert last == {
        "phase": "Hashing data",
        "files": 3,
        "files_total": 3,
        "bytes": 1500,
        "bytes_total": 1500,
        "finished": True,
    }


def test_progress_as_json_does_not_call_a_failed_phase_finished() -> None:
    body = "with context.progress.phase('Copying'):\n    raise OSError(5, 'Input/output error', 'f')"
    result = with_command(body, "root", "--progress", "json")
    lines = result.stderr.splitlines()
    assert "finished" not in json.loads(lines[1])
    assert lines[2].startswith(b"error: cannot finish `kist root`: 'f'")


def _on_terminal(body: str, *words: str) -> bytes:
    """Returns what `kist root` writes to a terminal that is its stderr, with a module whose `run` does `body`."""
    master, slave = pty.openpty()
    code = _FAKE_COMMAND.format(body=body.strip().replace("\n", "\n        "))
    with subprocess.Popen([sys.executable, "-c", code, *words, "root"], stderr=slave) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not piece:
                break
            seen += piece
        assert process.wait() == 0
    os.close(master)
    return seen


_WATCHED = """
import threading
from kist.cli import render_progress
drawn = threading.Event()
show = render_progress._LineView.show
def watch(view, snapshot):
    show(view, snapshot)
    drawn.set()
render_progress._LineView.show = watch
with context.progress.phase("Hashing data", files=12) as phase:
    phase.advance(3, 4_500_000)
    assert drawn.wait(60)
    context.console.warn("between")
"""


def test_progress_on_a_terminal_is_one_line_that_goes_away() -> None:
    seen = _on_terminal(_WATCHED)
    assert seen.startswith(b"\rHashing data  3/12 files  4.50 MB")
    assert b" left\x1b[K" in seen
    line, _, after = seen.partition(b"\r\x1b[K")
    assert line.count(b"\n") == 0
    assert b"warning:" in after
    assert after.endswith((b"between\r\n", b"\r\x1b[K"))


_FORKING = """
import warnings
from kist.base.parallel import run_requests
from kist.cli import render_progress
warnings.simplefilter("error")  # Python 3.12 and newer warn of a fork beside threads
steps = []
class Watched(render_progress._Ticker):
    def start(self):
        super().start()
        steps.append("there")
    def stop(self):
        super().stop()
        steps.append("gone")
render_progress._Ticker = Watched
with context.progress.phase("Hashing data", files=2) as phase:
    seen = run_requests(lambda request, emit: steps[-1], [1, 2], workers=2, on_progress=phase.advance)
    assert seen == ["gone", "gone"], seen
    phase.advance(1, 0)
    assert steps[-1] == "there", steps
    phase.advance(1, 0)
assert steps.count("there") == 2 and steps[-1] == "gone", steps
phase.advance(1, 0)
assert steps[-1] == "gone", steps
"""


def test_the_ticker_is_away_while_workers_are_forked() -> None:
    result = with_command(_FORKING.strip(), "root", "--progress", "json")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("words", [("-q",), ("--progress", "none")])
def test_progress_on_a_terminal_can_be_turned_off(words: tuple[str, ...]) -> None:
    assert _on_terminal(_PHASES, *words) == b""


def test_progress_of_a_run_without_a_terminal_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = make_progress("auto", quiet=False, console=Console())
    assert type(progress).__name__ == "SilentProgress"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_999, "1.00 MB"),
        (1_234_567_890, "1.23 GB"),
        (5 * 10**15, "5.00 PB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3725, "1:02:05")])
def test_times_are_minutes_and_seconds(seconds: float, text: str) -> None:
    assert human_time(seconds) == text

"""Writers for the terminal: data to stdout, everything else to stderr; colours only where they are wanted.

Not here: progress lines (render_progress) and the wording of errors (errors).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from kist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}


def wants_colour(stream: TextIO, environ: Mapping[str, str], *, allowed: bool = True) -> bool:
    """Returns whether coloured text may be written to `stream`.

    `allowed` is False after `--no-color`, which wins over everything. Then NO_COLOR (any text), FORCE_COLOR
    (any text but "0"), TERM=dumb, and last whether the stream is a terminal.
    """
    if not allowed or environ.get("NO_COLOR"):
        return False
    forced = environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return environ.get("TERM") != "dumb" and stream.isatty()


def visible(text: str) -> str:
    """Returns `text` with control characters spelled out, so that a hostile file name cannot drive the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" or "\udc80" <= char <= "\udcff" else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


class NoTerminalError(InputError):
    """A secret is needed and there is nobody to ask. The user's to mend; a retry does not help."""

    code = "no-terminal"

    def __init__(self, prompt: str) -> None:
        super().__init__(
            f"cannot ask for '{prompt}': the standard input is not a terminal",
            hint="give the value with the command, such as `kist remote modify --local NAME password VALUE`",
        )


class Console:
    """Where a command says something.

    Attributes:
        quiet: `info`, `warn` and `hint` are silent.
        erase_progress: called before anything is written, because a progress line may be in its place.
    """

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        quiet: bool = False,
        out_colour: bool = False,
        err_colour: bool = False,
    ) -> None:
        self._out = out if out is not None else sys.stdout
        self._err = err if err is not None else sys.stderr
        self.quiet = quiet
        self._out_colour = out_colour
        self._err_colour = err_colour
        self._out_error: OSError | None = None
        self.erase_progress = _nothing

    def out(self, text: str = "", *, end: str = "\n") -> None:
        """Writes data to stdout, also with `--quiet`."""
        self.erase_progress()
        self._out.write(text + end)

    def info(self, text: str = "") -> None:
        """Writes a line for the person to stdout, unless `--quiet`."""
        if not self.quiet:
            self.out(text)

    def error(self, message: str) -> None:
        """Writes `error: message` to stderr."""
        self._label("error", "red", message)

    def warn(self, message: str) -> None:
        """Writes `warning: message` to stderr, unless `--quiet`."""
        if not self.quiet:
            self._label("warning", "yellow", message)

    def hint(self, message: str) -> None:
        """Writes `hint: message` to stderr, unless `--quiet`."""
        if not self.quiet:
            self._label("hint", "cyan", message)

    def note(self, text: str) -> None:
        """Writes a line without a label to stderr, as it is, unless `--quiet`."""
        if not self.quiet:
            self._to_stderr(text)

    def passed_on(self, text: str, *, is_error: bool) -> None:
        """Writes a line that a command of a stage printed, as it is, also with `--quiet`."""
        if not is_error:
            self.out(text)
            self.flush()
            return
        self.erase_progress()
        self.flush()  # keeps the order of lines when both streams go to one place
        try:
            self._err.write(text + "\n")
            self._err.flush()
        except OSError:  # nobody reads: no reason to stop the work
            pass

    def data_json(self, value: Any) -> None:
        """Writes `value` as one line of JSON to stdout."""
        import json  # only commands asked for JSON pay for it

        self.out(json.dumps(value))

    def paint(self, text: str, *styles: str) -> str:
        """Returns `text` in styles (red, green, yellow, blue, cyan, bold, dim) if stdout is coloured."""
        return _painted(text, styles) if self._out_colour else text

    @property
    def is_answered(self) -> bool:
        """Says whether somebody sits at the terminal who can be asked."""
        return bool(sys.stdin and sys.stdin.isatty())

    def confirm(self, question: str) -> bool:
        """Returns whether the person answered yes; False when stdin is not a terminal."""
        if not self.is_answered:
            return False
        while True:
            self.erase_progress()
            self._err.write(f"{visible(question)} [y/n] ")
            self._err.flush()
            answer = sys.stdin.readline()
            if not answer:
                return False
            if answer.strip().lower() in ("y", "yes"):
                return True
            if answer.strip().lower() in ("n", "no"):
                return False

    def ask(self, question: str) -> str | None:
        """Returns the line that the person typed; None when stdin is not a terminal, or has ended."""
        if not self.is_answered:
            return None
        self.erase_progress()
        self._err.write(f"{visible(question)} ")
        self._err.flush()
        return sys.stdin.readline() or None

    def ask_secret(self, prompt: str) -> str:
        """Returns what the person typed without showing it.

        Raises: NoTerminalError when there is nobody to ask.
        """
        if not self.is_answered:
            raise NoTerminalError(prompt)
        import getpass  # pulls in termios; only prompts need it

        self.erase_progress()
        return getpass.getpass(f"{visible(prompt)}: ", stream=self._err)

    def browse(self, address: str) -> None:
        """Shows an address to open, and opens it where there is a browser."""
        import webbrowser  # a login is rare

        self.note(f"To log in, open this address in a browser on this machine:\n{address}")
        webbrowser.open(address)

    def flush(self) -> None:
        """Hands all data written so far to the operating system.

        Raises: OSError, also one that came up earlier, while a message was written.
        """
        if self._out_error is not None:
            raise self._out_error
        self._out.flush()

    def _label(self, label: str, style: str, message: str) -> None:
        shown = _painted(f"{label}:", (style, "bold")) if self._err_colour else f"{label}:"
        self._to_stderr(f"{shown} {message}")

    def _to_stderr(self, text: str) -> None:
        self.erase_progress()
        try:
            self._out.flush()  # keeps the order of lines when both streams go to one place
        except OSError as error:
            self._out_error = error  # `flush` raises it; the message goes first
        head, colour, tail = text.partition("\x1b[0m")
        try:
            self._err.write((head + colour + visible(tail) if colour else visible(head)) + "\n")
            self._err.flush()
        except OSError:  # nobody reads: no reason to stop the work
            pass


def _painted(text: str, styles: tuple[str, ...]) -> str:
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def _nothing() -> None:
    pass

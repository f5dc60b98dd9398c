"""The process: reads the command line, runs one command, and turns whatever happens into lines and an exit status.

`--version` and `--help` are answered before anything else is imported.
"""

from __future__ import annotations

import sys


def entry() -> None:
    """Runs the program and ends the process; the target of the `kist` script."""
    for stream in (sys.stdout, sys.stderr):
        # Names that the encoding cannot hold go out as their own bytes, or spelled out; never as a crash.
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if _is_utf8(stream.encoding) else "backslashreplace")
    sys.exit(main(sys.argv[1:]))


def main(words: list[str]) -> int:
    """Returns the exit status of `kist` with these arguments; never raises for a mistake, a signal or a full disk."""
    if words in (["--version"], ["-V"]):
        return _print_version()
    if words in (["--help"], ["-h"], ["help"]):
        return _print_overview()
    from kist.cli.run import run  # everything that the two answers above do not need

    return run(words)


def _print_version() -> int:
    from kist import __version__

    return _write(f"{__version__}\n")


def _print_overview() -> int:
    from kist.cli.overview import overview

    return _write(overview())


def _write(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return leave_broken_pipe()
    return 0


def leave_broken_pipe() -> int:
    """Returns the status for a reader that went away; what is still buffered goes nowhere, also at the exit."""
    import os

    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is closed or has no descriptor: nothing is left to redirect
        pass
    return 141


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


if __name__ == "__main__":
    entry()

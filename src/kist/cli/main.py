"""The process: reads the command line, runs one command, and turns whatever happens into lines and an exit status.

`--version` and `--help` are answered before anything else is imported.
"""

from __future__ import annotations

import sys


def entry() -> None:
    """Runs the program and ends the process; the target of the `kist` script."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from kist.cli.pipe import open_closed_streams

        open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # Names that the encoding cannot hold go out as their own bytes, or spelled out; never as a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if _is_utf8(stream.encoding) else "backslashreplace")
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (
            OSError,
            ValueError,
        ):  # already reported, or closed; the interpreter's own flush must not fail too
            from kist.cli.pipe import discard

            discard(stream)
            code = code or (1 if stream is sys.stdout else 0)
    sys.exit(code)


def main(words: list[str]) -> int:
    """Returns the exit status of `kist` with these arguments; never raises for a mistake, a signal or a full disk."""
    if words in (["--version"], ["-V"]):
        return _print_version()
    if words in (["--help"], ["-h"], ["help"]):
        return _print_overview()
    if words[:1] == ["__complete"]:
        from kist.cli.complete import answer

        return _write(answer(words[1:]))
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
    except OSError as error:
        from kist.cli.pipe import leave_broken_pipe

        code = leave_broken_pipe()
        if isinstance(error, BrokenPipeError):
            return code
        sys.stderr.write(f"error: cannot write to the standard output: {(error.strerror or '').lower()}\n")
        return 1
    return 0


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


if __name__ == "__main__":
    entry()

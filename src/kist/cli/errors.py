"""The one place where errors become lines on stderr and an exit status.

Errors stay text on stderr with `--json` too: stdout carries data only, and is empty when there is none.
Implements docs/reference/errors.md.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kist.base.shell import shell_line
from kist.errors import FormatError, InputError, KistError, UsageError

if TYPE_CHECKING:
    from kist.cli.console import Console

EXIT_INTERRUPTED = 130
EXIT_UNEXPECTED = 255


class SignalReceived(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived; a KeyboardInterrupt, so that whatever cleans up after Ctrl-C does it here too."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class UnknownCommandError(UsageError):
    """No such command. Exit 254; the hint names the command that was probably meant."""

    code = "unknown-command"


class UnknownOptionError(UsageError):
    """No such option. Exit 254; the hint names the option that was probably meant."""

    code = "unknown-option"


class DirectoryChangeError(InputError):
    """`--cd` names a directory that cannot be entered. Exit 255, as DVC."""

    code = "cannot-change-directory"
    exit_code = 255


_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again; what was stored before is intact",
    errno.EDQUOT: "free some of your quota, then run the same command again; what was stored before is intact",
    errno.EROFS: "the file system is read-only; `mount` shows how it is mounted",
    errno.EIO: "the disk reports an error; look at `dmesg` and at your backups",
    errno.EMFILE: "allow more open files with `ulimit -n 4096`, then run the same command again",
    errno.ENFILE: "close other programs, then run the same command again",
}
_LOOK = (errno.EACCES, errno.EPERM, errno.ELOOP)
"""What is wrong can be seen at the path itself."""


def report(
    error: BaseException, *, console: Console, command: str, domain_exit_code: int, traceback: bool
) -> int:
    """Returns the exit status for `error` after writing it to stderr.

    Args:
        command: name of the command as typed, for messages that the error itself does not word.
        domain_exit_code: the status for errors whose category leaves it open.
        traceback: whether to write the traceback as well (`-v`).
    """
    console.erase_progress()
    if traceback and not isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        _write_traceback(error, console)
    if isinstance(error, KistError):
        console.error(error.message)
        if isinstance(error, FormatError) and error.excerpt:
            console.note(error.excerpt)
        if error.hint:
            console.hint(error.hint)
        return domain_exit_code if error.exit_code is None else error.exit_code
    if isinstance(error, SignalReceived):
        console.error("interrupted: the process was asked to end")
        return 128 + error.number
    if isinstance(error, KeyboardInterrupt):
        console.error("interrupted by the user")
        return EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.errno is not None:
        return _report_os_error(error, console, command, domain_exit_code)
    if isinstance(error, MemoryError):
        console.error(f"cannot finish `kist {command}`: not enough memory")
        return domain_exit_code
    console.error(f"unexpected {type(error).__name__} in `kist {command}`: {_one_line(error)}")
    if not traceback:
        console.hint("give `-v` to see where it happened, and report it")
    return EXIT_UNEXPECTED


def _report_os_error(error: OSError, console: Console, command: str, domain_exit_code: int) -> int:
    names = [_name(name) for name in (error.filename, error.filename2) if name is not None]
    where = " -> ".join(f"'{name}'" for name in names)
    cause = (error.strerror or "input/output error").lower()
    console.error(f"cannot finish `kist {command}`: {where + ': ' if where else ''}{cause}")
    hint = _HINTS.get(error.errno or 0)
    if names and error.errno in _LOOK:
        hint = shell_line("ls", "-ld", names[0])
    if hint:
        console.hint(hint)
    return domain_exit_code


def _name(filename: object) -> str:
    if isinstance(filename, bytes):
        return filename.decode("utf-8", "surrogateescape")
    return str(filename)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"


def _write_traceback(error: BaseException, console: Console) -> None:
    import traceback  # slow to import, and rarely needed

    console.note("".join(traceback.format_exception(error)).rstrip("\n"))

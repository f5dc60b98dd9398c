"""Error categories and their permanent codes; every error that a person may meet is a subclass of one of these.

Not here: rendering (the command line and the hub do that at their edge) and the concrete errors, which are defined
beside the code that raises them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_EXCERPT = 160
"""How much of a line is shown."""


class KistError(Exception):
    """Root of all errors that are shown to a person in one line, without a traceback.

    Class attributes:
        code: permanent identifier, never reused, shown in JSON output.
        exit_code: process exit status, or None where the command decides between 1 and 255 as DVC does.
        http_status: the status that the hub answers with.
    """

    code = "kist-error"
    exit_code: int | None = None
    http_status = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Args: message: one line, what failed first, objects in quotes. hint: what to do, with a command to paste."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KistError):
    """The command line cannot be understood (unknown option, missing argument)."""

    code = "usage"
    exit_code = 254
    http_status = 400


class InputError(KistError):
    """What was asked for cannot be done with these targets or values; the user mends the request."""

    code = "input"
    http_status = 422


class NotARepositoryError(KistError):
    """There is no `.dvc` directory here or above."""

    code = "not-a-repository"
    exit_code = 253
    http_status = 404


class ConfigError(KistError):
    """A configuration file or option is wrong; the message names the file and the line, or the option."""

    code = "config"
    exit_code = 251
    http_status = 422


class FormatError(KistError):
    """A metafile, manifest or lock file cannot be understood; the message names the file and, where known, the line.

    Attributes:
        excerpt: that line as it stands there, behind its number, and a mark below the column; None where not known.
    """

    code = "format"
    http_status = 422
    excerpt: str | None = None

    def showing(self, data: bytes, line: int | None, column: int | None = None) -> Self:
        """Returns itself, with a line of a file's bytes. Args: line, column: from 1."""
        lines = data.decode("utf-8", "replace").splitlines()
        if line is not None and 0 < line <= len(lines):
            text = lines[line - 1][:_EXCERPT]
            self.excerpt = f"{line:>5} | {text}"
            if column is not None and column <= len(text) + 1:
                self.excerpt += "\n      | " + " " * (column - 1) + "^"
        return self


class MissingError(KistError):
    """Something that was asked for is not there: a file, an object, a revision, a remote."""

    code = "missing"
    http_status = 404


class CorruptError(KistError):
    """Stored bytes do not match their name. Never delivered; another copy may heal it."""

    code = "corrupt"
    http_status = 500


class UnsavedError(KistError):
    """Going on would lose data that is stored nowhere else."""

    code = "unsaved"
    http_status = 409


class LockedError(KistError):
    """Another process holds a lock; the message says which."""

    code = "locked"
    http_status = 423


class StorageError(KistError):
    """The operating system refused: no space, no permission, read-only, input/output error."""

    code = "storage"
    http_status = 507


class AuthError(KistError):
    """A remote does not accept the credentials, or they lack a permission that is named."""

    code = "auth"
    http_status = 401


class NetworkError(KistError):
    """A remote cannot be reached, or does not answer in time; a retry can help."""

    code = "network"
    http_status = 502


class Interrupted(KistError):
    """The process got SIGINT or SIGTERM; its temporary files are removed and the state is consistent."""

    code = "interrupted"
    exit_code = 130

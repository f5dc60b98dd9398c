"""The `git` program as a child process: how it is started, fed, and how its failures become ours.

Not here: which commands are run (kist.git.repository).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from kist.base.shell import shell_line
from kist.errors import StorageError

if TYPE_CHECKING:
    import subprocess
    import threading

# Set by git for its hooks: they point at one repository, and would lead a command for another one astray.
# Source: `git rev-parse --local-env-vars`.
_REPOSITORY_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
        # These change how paths are read, or write to files or descriptors of the user.
        "GIT_GLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_EXTERNAL_DIFF",
    }
)

_FIXED_OPTIONS = (
    "--no-pager",
    "-c",
    "core.quotepath=off",
    "-c",
    "core.fsmonitor=false",  # may name a program, and reading runs nothing
    "-c",
    "log.diffMerges=separate",  # the meaning of -m
)


class GitMissingError(StorageError):
    """The `git` program is not installed, or not on the search path. The user installs it."""

    code = "git-missing"


class GitFailedError(StorageError):
    """git refused; the message holds the first line that it said. The command decides the exit status."""

    code = "git-failed"


class Said(NamedTuple):
    """How a git command ended, and all that it and its hooks wrote, both outputs in one."""

    status: int
    text: str


class GitProgram:
    """The `git` program, started in one directory with one environment."""

    def __init__(self, directory: str, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self._person = {key: value for key, value in environ.items() if key not in _REPOSITORY_VARIABLES}
        self._environ = self._person | {"LC_ALL": "C"}

    def run_as_typed(self, arguments: Sequence[str], *, extra: Mapping[str, str], data: bytes = b"") -> Said:
        """Runs a git command as a person at a shell would: their configuration, language and hooks, no more options.

        Args:
            extra: variables for git and its hooks.
            data: its standard input.

        Raises: GitMissingError.

        Holds: when this is interrupted, git has ended, and had the time to remove its lock files.
        """
        import subprocess

        with self._spawn([], arguments, self._person | dict(extra), stderr=subprocess.STDOUT) as process:
            try:
                output, _ = process.communicate(data)
            except BaseException:
                process.terminate()
                raise
        return Said(process.returncode, output.decode("utf-8", "surrogateescape").strip())

    def run(
        self,
        arguments: Sequence[str],
        *,
        data: bytes = b"",
        accepted: Sequence[int] = (0,),
        writes: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> bytes:
        """Returns the standard output of one git command.

        Args:
            data: its standard input.
            accepted: exit statuses that are an answer, not a failure.
            writes: it changes the repository, and may take git's locks.
            extra: more variables of its environment.

        Raises:
            GitMissingError, GitFailedError.
        """
        with self._started(arguments, writes=writes, extra=extra) as process:
            output, complaint = process.communicate(data)
        if process.returncode not in accepted:
            raise self._failure(arguments, process.returncode, complaint)
        return output

    def stream(self, arguments: Sequence[str], data: bytes) -> GitStream:
        """Returns a running git command that is fed with `data` meanwhile; use as a context manager."""
        return GitStream(self, arguments, self._started(arguments, writes=False), data)

    def _started(
        self, arguments: Sequence[str], *, writes: bool, extra: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        import subprocess  # costs 8 ms, and most commands never start git

        # A refresh of the index is a favour to others, not needed for reading; it would take a lock.
        quiet = {} if writes else {"GIT_OPTIONAL_LOCKS": "0"}
        environ = self._environ | quiet | dict(extra or {})
        return self._spawn(_FIXED_OPTIONS, arguments, environ, stderr=subprocess.PIPE)

    def _spawn(
        self, options: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str], *, stderr: int
    ) -> subprocess.Popen[bytes]:
        import subprocess

        try:
            return subprocess.Popen(
                ["git", *options, *arguments],
                cwd=self.directory,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        except OSError as error:
            if not os.path.isdir(self.directory):
                raise GitFailedError(f"cannot run git in '{self.directory}': no such directory") from error
            raise GitMissingError(
                f"cannot start 'git': {os.strerror(error.errno or 0)}",
                hint="install git, and see with `git --version` that it is on the search path",
            ) from error

    def _failure(self, arguments: Sequence[str], status: int, complaint: bytes) -> GitFailedError:
        lines = [line.strip() for line in complaint.decode("utf-8", "replace").splitlines()]
        said = next((line for line in lines if line), f"it ended with status {status}")
        for prefix in ("fatal: ", "error: "):
            said = said.removeprefix(prefix)
        hint = None
        if "dubious ownership" in said:
            hint = shell_line("git", "config", "--global", "--add", "safe.directory", self.directory)
        elif "index.lock" in said:
            hint = "wait until the other run of Git has ended; if there is none, remove the lock file named above"
        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        return GitFailedError(f"cannot run `git {command}`: {said}", hint=hint)


class GitStream:
    """A git command whose output is read while its input is written by a thread, so that no pipe fills up."""

    def __init__(
        self, program: GitProgram, arguments: Sequence[str], process: subprocess.Popen[bytes], data: bytes
    ) -> None:
        import threading  # only where history or blobs are read

        assert process.stdin is not None and process.stdout is not None
        self._program = program
        self._arguments = arguments
        self._process = process
        self.output: IO[bytes] = process.stdout
        self._feeder: threading.Thread = threading.Thread(
            target=_feed, args=(process.stdin, data), daemon=True
        )
        self._feeder.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._process.poll() is None:
            self._process.kill()  # a reader that stops early, or a command that has said all that was asked for
        self._feeder.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def fail(self) -> GitFailedError:
        """Returns the error for a command that ended too early."""
        assert self._process.stderr is not None
        self.output.close()
        complaint = self._process.stderr.read()
        return self._program._failure(self._arguments, self._process.wait(), complaint)

    def records(self, separator: bytes = b"\0") -> Iterator[bytes]:
        """Yields the output cut at `separator`, to its end; then looks at the exit status.

        Raises:
            GitFailedError: the command failed.
        """
        rest = b""
        while chunk := self.output.read(1 << 16):
            *complete, rest = (rest + chunk).split(separator)
            yield from complete
        if rest:
            yield rest
        if self._process.wait() != 0:
            raise self.fail()


class BlobReader:
    """Reads blobs one by one through one git process, which is started for the first of them."""

    def __init__(self, program: GitProgram) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, sha: str) -> bytes | None:
        """Returns a blob's bytes; None where this clone does not have it.

        Raises:
            GitMissingError, GitFailedError.
        """
        arguments = ["cat-file", "--batch"]
        if self._process is None:
            self._process = self._program._started(arguments, writes=False)
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(f"{sha}\n".encode("ascii"))
            process.stdin.flush()
        except BrokenPipeError:
            pass  # the empty answer tells
        fields = process.stdout.readline().split()
        if not fields:
            _, complaint = process.communicate()
            self._process = None
            raise self._program._failure(arguments, process.returncode, complaint)
        if len(fields) != 3:
            return None
        content = process.stdout.read(int(fields[2]) + 1)[:-1]
        return content if fields[1] == b"blob" else None

    def close(self) -> None:
        """Ends the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def _feed(pipe: IO[bytes], data: bytes) -> None:
    try:
        with pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass  # git ended early; its reader finds out why

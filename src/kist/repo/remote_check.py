"""`remote check`: tries what a remote is needed for, with one small object, and says what is refused.

Not here: words on the screen (cli). Implements docs/spec/storage.md, section 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.errors import KistError
from kist.remotes.local import FolderRemote
from kist.remotes.storage import Storage, StorageFailedError
from kist.repo.transfers import is_versioned, open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.transfer.versions import VersionedRemote

OK, REFUSED, NOT_OFFERED, NOT_TRIED = "ok", "refused", "not offered", "not tried"
_NEEDED_FOR = {
    "list": "`gc -c`, `fsck -c`, `remote ls`; without it each object is asked for by itself",
    "write": "`push`",
    "read": "`pull`, `fetch`",
    "delete": "`gc -c`",
    "versions": "`push`",
}
_DATA = b"Kist tries whether it can write here. This may be deleted.\n"


class Trial(NamedTuple):
    """One thing that was tried.

    Attributes:
        what: "list", "write", "read", "delete"; "versions" where files lie under their names.
        state: OK, REFUSED, NOT_OFFERED by this kind of service, or NOT_TRIED because of an earlier refusal.
        message: what the service or the system said.
        hint: what to change.
        needed_for: which commands need it.
    """

    what: str
    state: str
    message: str = ""
    hint: str = ""
    needed_for: str = ""


def check_remote(repository: Repository, name: str | None) -> tuple[str, list[Trial]]:
    """Returns the remote's name, and what came of listing, writing, reading and deleting.

    Raises: NoRemoteError, UnknownRemoteError, RemoteKindError, ExtraMissingError.

    Holds: what is written has a temporary name, which no command takes for data, and is deleted again where that is
        allowed.
    """
    remote, note = open_remote(repository, name)
    repository.notes += [note] if note else []
    try:
        if isinstance(remote, FolderRemote):
            base = _deepest_there(remote.path)
            if base != remote.path:
                repository.notes.append(
                    f"folder '{remote.path}' is not there yet; the first push makes it, so '{base}' is tried"
                )
            steps = _folder_steps(remote, base)
        else:
            storage = remote.service if is_versioned(remote) else remote.storage  # type: ignore[attr-defined]
            steps = _service_steps(storage)
            if is_versioned(remote):
                steps["versions"] = lambda: _versions(remote)
        return remote.name, _tried(steps, remote.name)
    finally:
        remote.close()


_Steps = dict[str, Callable[[], None] | None]
"""What is tried -> how; None where the service has no way to."""


def _tried(steps: _Steps, name: str) -> list[Trial]:
    trials: list[Trial] = []
    failed: set[str] = set()
    for what, act in steps.items():
        needed_for = _NEEDED_FOR[what]
        if act is None:
            trials.append(Trial(what, NOT_OFFERED, needed_for=needed_for))
        elif what in ("read", "delete") and "write" in failed:
            trials.append(
                Trial(what, NOT_TRIED, "nothing could be written to try it with", needed_for=needed_for)
            )
        else:
            try:
                act()
                trials.append(Trial(what, OK, needed_for=needed_for))
            except KistError as error:
                failed.add(what)
                hint = error.hint or _hint(what, name)
                trials.append(Trial(what, REFUSED, error.message, hint, needed_for))
            except OSError as error:
                failed.add(what)
                cause = f"cannot {what} '{error.filename}': {error.strerror}"
                folder = os.path.dirname(str(error.filename)) if what != "list" else str(error.filename)
                trials.append(Trial(what, REFUSED, cause, shell_line("ls", "-ld", folder), needed_for))
    return trials


def _hint(what: str, name: str) -> str:
    change = shell_line("kist", "remote", "modify", "--local", name, "OPTION", "VALUE")
    return f"let the service allow these credentials to {what}, or give others with `{change}`"


def _service_steps(storage: Storage) -> _Steps:
    key = atomic.temp_name()
    able = storage.abilities

    def list_some() -> None:
        next(iter(storage.list("files/md5/00/")), None)

    def write() -> None:
        from kist.remotes.storage import Body  # folders need none of it

        storage.write(key, Body.of(_DATA))

    def read() -> None:
        if b"".join(storage.read(key)) != _DATA:
            raise StorageFailedError("what was written reads differently: something on the way changes data")

    def delete() -> None:
        storage.delete([key])

    return {
        "list": list_some if able.lists else None,
        "write": write,
        "read": read,
        "delete": delete if able.deletes else None,
    }


def _versions(remote: VersionedRemote) -> None:
    from kist.transfer.versions_send import no_versions  # few remotes are of this kind

    if remote.service.keeps_versions() is False:
        raise no_versions(remote)


def _folder_steps(remote: FolderRemote, base: str) -> _Steps:
    """Args: base: the remote's folder; where that is not there, the one that it is to be made in."""
    path = os.path.join(base, atomic.temp_name())

    def look() -> None:
        if base == remote.path:
            remote.check_readable()

    def list_it() -> None:
        look()
        os.listdir(base)

    def write() -> None:
        look()
        with open(path, "xb") as stream:
            stream.write(_DATA)

    def read() -> None:
        with open(path, "rb") as stream:
            if stream.read() != _DATA:
                raise StorageFailedError("what was written reads differently: the file system changes data")

    return {"list": list_it, "write": write, "read": read, "delete": lambda: os.unlink(path)}


def _deepest_there(path: str) -> str:
    """Returns a path, or what lies deepest above it of what is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path

"""The note that save, switch, sync, restore and expire keep while they work, so that a kill leaves nothing halfway.

Disposable: garbage is thrown away and said. Not here: what an interrupted command needs (recover).
Implements docs/spec/save-switch-sync.md, section 3.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic
from kist.repo import halfway

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_VERSION = 1


class Journal(NamedTuple):
    """What a command was about to do. Commits are full ids.

    Attributes:
        command: "save", "switch", "sync", "restore" or "expire".
        words: the command as a person would type it, for messages.
        branch: the branch before; None when HEAD was detached.
        head: the commit before; None when there was none.
        to_branch, to_head: where HEAD is to be; to_head is None where that is not known beforehand.
        other: the commit whose files git brings: `to_head`, or the other side of a merge.
        made_branch: the branch that is made on the way.
        left_alone: paths of outputs whose data was edited and is to stay.
        message, tag: of the commit to be.
        path, metafile, digest: what is restored, or expires, and the id that the metafile then has (None: it is gone);
            relative to the root.
        before: the id that it had before, where files expire.
        host, pid, started_s: who wrote this, and when.
    """

    command: str
    words: str
    branch: str | None = None
    head: str | None = None
    to_branch: str | None = None
    to_head: str | None = None
    other: str | None = None
    made_branch: str | None = None
    left_alone: tuple[str, ...] = ()
    message: str | None = None
    tag: str | None = None
    path: str | None = None
    metafile: str | None = None
    digest: str | None = None
    before: str | None = None
    host: str = ""
    pid: int = 0
    started_s: float = 0.0


def journal_path(repository: Repository) -> str:
    """Returns where the journal is."""
    return os.path.join(repository.dvc_dir, "tmp", "kist", "everyday.json")


def write_journal(repository: Repository, journal: Journal) -> None:
    """Writes the journal, durable when this returns."""
    import json  # commands that change nothing need none

    signed = journal._replace(host=atomic.machine_name(), pid=os.getpid(), started_s=time.time())
    path = journal_path(repository)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = json.dumps({"version": _VERSION, **signed._asdict()}, indent=1).encode("ascii") + b"\n"
    atomic.write_file(path, data)


def read_journal(repository: Repository) -> Journal | None:
    """Returns the journal of a command that did not end; None when there is none. Garbage is removed, with a note."""
    path = journal_path(repository)
    try:
        with open(path, "rb") as stream:
            data = stream.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        data = b""
    found = _parse(data)
    if found is None:
        repository.notes.append(
            "an unreadable note about an interrupted command was removed; "
            "if `kist status` shows data as modified that nobody changed: kist checkout"
        )
        remove_journal(repository)
    return found


def _parse(data: bytes) -> Journal | None:
    import json

    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.pop("version", None) != _VERSION:
        return None
    if value.keys() != set(Journal._fields) or not all(_fits(key, item) for key, item in value.items()):
        return None
    return Journal(**value)._replace(left_alone=tuple(value["left_alone"]))


def _fits(key: str, value: Any) -> bool:
    if key == "left_alone":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if key == "pid":
        return isinstance(value, int)
    if key == "started_s":
        return isinstance(value, (int, float))
    if value is None:
        return key not in ("command", "words", "host")
    return isinstance(value, str)


def remove_journal(repository: Repository) -> None:
    """Removes the journal; durable, so that a power cut does not bring it back."""
    path = journal_path(repository)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        os.rename(path, os.path.join(os.path.dirname(path), atomic.temp_name()))
    atomic.sync_directory(os.path.dirname(path))


def may_be_interrupted(repository: Repository) -> bool:
    """Says whether there is something for `recover` to look at; two looks at the disk."""
    return os.path.lexists(journal_path(repository)) or halfway.may_be_unfinished(repository)


def settle_journal(repository: Repository) -> None:
    """Removes the journal of an interrupted command whose only open work was to check out, after that was done."""
    if not os.path.lexists(journal_path(repository)):
        return
    journal = read_journal(repository)
    if journal is None or journal.command == "save" or repository.git is None:
        return
    head = repository.git.head_sha()
    if journal.command in ("restore", "expire") or head != journal.head or head == journal.to_head:
        remove_journal(repository)

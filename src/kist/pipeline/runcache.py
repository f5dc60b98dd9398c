"""The run cache: what runs of stages made of their inputs, so that the same run need not be done again.

One folder a key, one file a result, below `runs/` of the cache. Not here: the ids and bytes of a record
(formats.runrecord), the objects that records name. Implements docs/spec/run-cache.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kist.base import atomic
from kist.errors import FormatError
from kist.formats.records import LockedStage
from kist.formats.runrecord import RunIdError, RunIds, parse_run, render_run, run_ids
from kist.pipeline.resolve import ResolvedStage
from kist.store.loose import LooseStore

_ID = re.compile(r"[0-9a-f]{64}")
_SHARED_MODE = 0o664


class RunCache(NamedTuple):
    """The records in one cache or folder remote.

    Attributes:
        base: the cache or remote folder, absolute.
        shared_group: new folders and files are the group's too (`cache.shared = group`).
    """

    base: str
    shared_group: bool = False

    @property
    def root(self) -> str:
        """The folder of all records."""
        return os.path.join(self.base, "runs")

    def path(self, ids: RunIds) -> str:
        """Returns where a record is, or would be."""
        return os.path.join(self.root, ids.key[:2], ids.key, ids.value)

    def save(self, run: LockedStage) -> bool:
        """Remembers a run, durable when this returns; returns False where it is remembered already.

        Raises:
            RunIdError: it has no id.
            OSError: it cannot be written.

        Holds: the caller has made sure that the objects of its outputs are durable in the cache.
        """
        path = self.path(run_ids(run))
        if os.path.lexists(path):
            return False
        self.write(path, render_run(run))
        return True

    def save_all(self, runs: Iterable[LockedStage], *, folders: Iterable[str] = ()) -> None:
        """Remembers many runs at once, durable when this returns; those without an id are left out.

        Args: folders: of the objects of their outputs; their names are made durable before any record is there.

        Raises: OSError.
        """
        files: dict[str, bytes] = {}
        made: dict[str, None] = {}
        store = LooseStore(self.base, shared_group=self.shared_group)
        for run in runs:
            try:
                path = self.path(run_ids(run))
            except RunIdError:
                continue  # a parameter that cannot be compared either
            if os.path.lexists(path):
                continue
            folder = os.path.dirname(path)
            if not os.path.isdir(folder):
                store.make_folder(folder)
                made.update(dict.fromkeys((os.path.dirname(folder), self.root, self.base)))
            files[path] = render_run(run)
        atomic.write_many(
            list(files.items()),
            root=self.base,
            mode=_SHARED_MODE if self.shared_group else None,
            folders=[*folders, *made],
        )

    def write(self, path: str, data: bytes) -> None:
        """Writes one record's bytes, durable when this returns."""
        folder = os.path.dirname(path)
        is_new = not os.path.isdir(folder)
        LooseStore(self.base, shared_group=self.shared_group).make_folder(folder)
        atomic.write_file(path, data, mode=_SHARED_MODE if self.shared_group else None)
        for above in (os.path.dirname(folder), self.root, self.base) if is_new else ():
            atomic.sync_directory(above)

    def ids(self) -> list[RunIds]:
        """Returns the ids of all records, sorted; whatever else lies there is left out."""
        found = []
        for prefix in _names(self.root):
            for key in _names(os.path.join(self.root, prefix)):
                if _ID.fullmatch(key) and key.startswith(prefix):
                    values = _names(os.path.join(self.root, prefix, key))
                    found += [RunIds(key, value) for value in values if _ID.fullmatch(value)]
        return found

    def results(self, run: LockedStage) -> Iterator[LockedStage]:
        """Yields what remembered runs with the same command, inputs and output paths made, the newest first.

        A record that cannot be read, or does not say what its name says, is passed over: it is as good as none.

        Args: run: what is asked for; only the paths of its outputs count.

        Raises: RunIdError.
        """
        key = run_ids(run).key
        folder = os.path.join(self.root, key[:2], key)
        aged = []
        for value in filter(_ID.fullmatch, _names(folder)):
            try:
                aged.append((os.stat(os.path.join(folder, value)).st_mtime_ns, value))
            except OSError:
                continue
        for _, value in sorted(aged, reverse=True):
            found = self.read(RunIds(key, value))
            if found is not None:
                yield found

    def read(self, ids: RunIds) -> LockedStage | None:
        """Returns a record, or None where there is none, or one that is damaged."""
        path = self.path(ids)
        try:
            with open(path, "rb") as stream:
                found = parse_run(stream.read(), name=path)
            return found if run_ids(found) == ids else None
        except (FormatError, OSError, UnicodeError):
            return None


def is_remembered(stage: ResolvedStage) -> bool:
    """Says whether runs of a stage can be remembered: what it reads is named and here, and makes all that it writes."""
    return (
        bool(stage.cmd)
        and bool(stage.deps or stage.params)
        and bool(stage.outs)
        and not stage.always_changed
        and not any("://" in path for path in stage.deps)
        and not any("://" in out.path or out.persist for out in stage.outs)
    )


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []

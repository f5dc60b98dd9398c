"""Gives the objects of DVC 2 and older their ids and places of DVC 3; what was there before stays.

Not here: metafiles that name the old ids (repo.cache_migrate). Implements docs/spec/store.md, section 6.
"""

from __future__ import annotations

import errno
import os
from typing import Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.store.copying import copy_objects
from kist.store.ingest import EMPTY_DIGEST
from kist.store.loose import LooseStore

_FORK_OBJECTS = 600
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP)


class Migrated(NamedTuple):
    """What came of it: new ids that were not there before; old ids whose bytes are not what they say."""

    new: list[str]
    damaged: list[str]


def migrate_store(old: LooseStore, new: LooseStore, *, workers: int, progress: Progress) -> Migrated:
    """Stores what `old` holds in `new` too, as one more link where that can be.

    Raises: OSError: an object cannot be read, or the new place not be written.

    Holds: nothing is removed; an object under its new name is whole, right and durable.
    """
    asked = sorted(old.oids())
    if not asked:
        return Migrated([], [])
    job = _Job(old)
    groups = [asked[at : at + 256] for at in range(0, len(asked), 256)]
    count = workers if len(asked) >= _FORK_OBJECTS else 1
    with progress.phase("Hashing", len(asked), None) as shown:
        answers = parallel.run_requests(job.handle, groups, workers=count, on_progress=shown.advance)
    ids = dict(zip(asked, [oid for answer in answers for oid in answer], strict=True))
    damaged = [oid for oid, found in ids.items() if found is None]
    sources = {found: oid for oid, found in ids.items() if found is not None}
    lacking = new.missing(set(sources))
    _link_all(old, new, {oid: sources[oid] for oid in lacking}, workers=workers, progress=progress)
    return Migrated(sorted(lacking), damaged)


def _link_all(
    old: LooseStore, new: LooseStore, wanted: dict[str, str], *, workers: int, progress: Progress
) -> None:
    """Args: wanted: new id -> old id."""
    if not wanted:
        return
    new.make_prefixes({oid[:2] for oid in wanted})
    left: dict[str, str] = {}
    linked: list[str] = []
    for oid, source in sorted(wanted.items()):
        if oid == EMPTY_DIGEST.hex():  # nothing to share, as DVC has it
            left[oid] = source
            continue
        old.protect(source)  # before the link: a kill leaves no object that can be written
        try:
            os.link(old.path(source), new.path(oid), follow_symlinks=True)
        except FileExistsError:
            pass  # stored by somebody else meanwhile
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            left[oid] = source
            continue
        linked.append(oid)
    if linked:
        paths = [new.path(oid) for oid in linked]
        atomic.sync_many(paths, (), root=new.base)
        new.sync_folders({oid[:2] for oid in linked})
    _copy(old, new, left, workers=workers, progress=progress)


def _copy(
    old: LooseStore, new: LooseStore, wanted: dict[str, str], *, workers: int, progress: Progress
) -> None:
    """Copies objects that cannot be linked; each is hashed again on its way, under its new name."""
    if not wanted:
        return
    from kist.store.loose import remove_staging  # most file systems link

    staging = new.new_staging()
    try:
        named = LooseStore(staging)
        named.make_prefixes({oid[:2] for oid in wanted})
        for oid, source in wanted.items():
            os.symlink(old.path(source), named.path(oid))
        copy_objects(wanted, named, new, workers=workers, progress=progress, phase="Migrating")
    finally:
        remove_staging(staging)


class _Job:
    """Reads old objects; made before the fork."""

    def __init__(self, old: LooseStore) -> None:
        self._old = old

    def handle(self, request: Any, emit: Emit) -> Any:
        """Returns the new id of each old one, None for one that is damaged."""
        return [self._new_id(oid, emit) for oid in request]

    def _new_id(self, oid: str, emit: Emit) -> str | None:
        path = self._old.path(oid)
        try:
            digest, size = digests.read_md5(path)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EIO):
                return None
            raise
        emit(1, size)
        if digest.hex() == oid[:32]:
            return oid
        if oid.endswith(".dir") or bytes.fromhex(oid) not in digests.read_legacy_md5(path):
            return None
        return digest.hex()

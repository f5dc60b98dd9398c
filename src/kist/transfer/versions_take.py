"""Takes versions whose content is not known yet into a store: their ids are found while they arrive.

Not here: which versions (repo.worktree_update). Implements docs/spec/cloud-versions.md, section 4.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from kist.base import atomic
from kist.base.progress import Progress
from kist.formats.records import MD5
from kist.remotes.storage import Item, StorageFailedError
from kist.store.copying import CopyOutcome
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging
from kist.transfer.engine import Engine
from kist.transfer.stored import plain_tag, publish
from kist.transfer.versions import VersionedRemote


class Taken(NamedTuple):
    """What arrived.

    Attributes:
        oids: path -> id.
        records: digest and stat record (48 bytes) of each object.
        size_bytes: of all.
    """

    oids: dict[str, str]
    records: list[bytes]
    size_bytes: int


def take_versions(
    remote: VersionedRemote, versions: Sequence[Item], target: LooseStore, *, progress: Progress
) -> Taken:
    """Reads versions into a store of DVC 3's objects.

    Raises: what the service raises; OSError.

    Holds: an object gets its name when it is whole and durable, and fits what the service told of the version.
    """
    assert target.algorithm == MD5
    if not versions:
        return Taken({}, [], 0)
    engine = remote.engine()
    staging = target.new_staging()
    oids: dict[str, str] = {}
    sizes: dict[str, int] = {}
    outcome = CopyOutcome([], [], [], [], 0)
    total = sum(version.size for version in versions)
    try:
        with progress.phase(f"Fetching from {remote.name}", len(versions), total) as shown:

            def take(version: Item) -> str:
                return engine.attempt(lambda: _take(remote, engine, version, staging))

            def note(version: Item, oid: str) -> None:
                oids[version.key] = oid
                sizes[oid] = version.size
                shown.advance(1, version.size)

            engine.run(take, versions, note)
        target.make_prefixes({oid[:2] for oid in sizes})
        publish(sizes, target, staging, outcome)
    finally:
        remove_staging(staging)
    return Taken(oids, outcome.records, total)


def _take(remote: VersionedRemote, engine: Engine, version: Item, staging: str) -> str:
    """Returns the id of a version, whose bytes lie in `staging` under that name afterwards."""
    path = os.path.join(staging, atomic.temp_name())
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OBJECT_MODE)
    try:
        for block in remote.service.read_version(version.key, version.version or ""):
            engine.spend(len(block))
            digest.update(block)
            atomic.write_all(descriptor, block)
            size += len(block)
        os.fchmod(descriptor, OBJECT_MODE)
    except BaseException:
        atomic.remove_quietly(path)
        raise
    finally:
        os.close(descriptor)
    oid = digest.hexdigest()
    told = version.md5 or plain_tag(version.tag)
    if size != version.size or (version.md5 and told != oid):
        atomic.remove_quietly(path)
        raise StorageFailedError(
            f"cannot read '{version.key}' of remote '{remote.name}': other bytes came than the service tells of"
        )
    os.replace(path, os.path.join(staging, oid))
    return oid

"""Reads the objects of a service and says which are not what their names say; moves bad ones aside.

Not here: folders (store.verify), what is done about damage (repo.fsck). Implements docs/spec/fsck.md.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Set

from kist.base import atomic, digests
from kist.base.progress import Progress
from kist.formats.records import MD5
from kist.remotes.storage import Body, Item, StorageMissingError, StorageRefusedError
from kist.store.statindex import FolderRow, StatIndex
from kist.store.verify import CORRUPT, Sample, Verdict, forget_run, run_start
from kist.transfer.engine import Engine
from kist.transfer.stored import StorageRemote, key_of, oid_of

ASIDE = "kist-bad/"


def verify_storage(
    remote: StorageRemote,
    algorithm: str,
    index: StatIndex,
    *,
    named: Set[str],
    jobs: int | None,
    scratch: str,
    progress: Progress,
    phase: str,
    sample: Sample | None = None,
    restart: bool = False,
) -> Verdict:
    """Reads objects of a service, many at once.

    Args:
        named: what is looked for where the service cannot list.
        scratch: a folder for objects whose id needs the whole file (text of DVC 2).

    Raises: what the service raises.
    """
    space = f"fsck:{remote.url}:{algorithm}"
    begun = run_start(index, space, restart=restart) if sample is None else ""
    engine = remote.engine(jobs)
    verdict = Verdict(0, 0, 0, {}, [])
    with progress.phase(phase, None, None) as shown:
        for prefix in [f"{number:02x}" for number in range(256)]:
            items = _items(remote, engine, algorithm, prefix, named)
            if sample is not None:
                draw = random.Random(f"{sample.seed}{prefix}").random
                items = {oid: item for oid, item in items.items() if draw() < sample.share}
            if not items:
                continue
            row = index.folder(space, prefix) if begun else None
            before = set(row.names.split("\0")) if row is not None else set()
            known = {oid for oid, item in items.items() if item is not None and _look(oid, item) in before}
            sizes: dict[str, int] = {oid: item.size for oid in known if (item := items[oid]) is not None}
            bad: dict[str, str] = {}

            def work(oid: str) -> tuple[bool, int] | None:
                try:
                    return engine.attempt(lambda: _read(remote, engine, oid, algorithm, scratch))
                except StorageMissingError:
                    return None

            def done(oid: str, answer: tuple[bool, int] | None) -> None:
                if answer is not None:
                    is_right, sizes[oid] = answer  # noqa: B023 - called within this round
                    if not is_right:
                        bad[oid] = CORRUPT  # noqa: B023
                    shown.advance(1, answer[1])

            engine.run(work, sorted(items.keys() - known), done)
            sound = sizes.keys() - bad.keys()
            if begun:
                looks = [_look(oid, item) for oid in sorted(sound) if (item := items[oid]) is not None]
                index.save(space, [(prefix, FolderRow("\0".join(looks), b"", b""))])
                index.flush()
            verdict.bad.update(bad)
            verdict.manifests.extend(oid for oid in sorted(sound) if oid.endswith(".dir"))
            verdict = verdict._replace(
                objects=verdict.objects + len(sizes),
                size_bytes=verdict.size_bytes + sum(sizes.values()),
                known=verdict.known + len(known),
            )
    return verdict


def end_storage_run(remote: StorageRemote, algorithm: str, index: StatIndex) -> None:
    """Notes that a service was read to its end, and what came of it was told."""
    forget_run(index, f"fsck:{remote.url}:{algorithm}")


def _items(
    remote: StorageRemote, engine: Engine, algorithm: str, prefix: str, named: Set[str]
) -> dict[str, Item | None]:
    if not remote.storage.abilities.lists:
        return dict.fromkeys(oid for oid in named if oid.startswith(prefix))
    base = "files/md5/" if algorithm == MD5 else ""
    listed = engine.attempt(lambda: list(remote.storage.list(f"{base}{prefix}/")))
    return {oid: item for item in listed if (oid := oid_of(item.key, base)) is not None}


def _look(oid: str, item: Item) -> str:
    return f"{oid} {item.size} {item.tag} {item.modified_s}"


def _read(remote: StorageRemote, engine: Engine, oid: str, algorithm: str, scratch: str) -> tuple[bool, int]:
    """Returns whether an object is right, and its size."""
    key = key_of(oid, algorithm)
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for block in remote.storage.read(key):
        engine.spend(len(block))
        digest.update(block)
        size += len(block)
    if digest.hexdigest() == oid[:32]:
        return True, size
    if algorithm == MD5 or oid.endswith(".dir"):
        return False, size
    path = _download(remote, engine, key, scratch)
    try:
        return bytes.fromhex(oid) in digests.read_legacy_md5(path), size
    finally:
        atomic.remove_quietly(path)


def _download(remote: StorageRemote, engine: Engine, key: str, scratch: str) -> str:
    os.makedirs(scratch, exist_ok=True)
    path = os.path.join(scratch, atomic.temp_name())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for block in remote.storage.read(key):
            engine.spend(len(block))
            atomic.write_all(descriptor, block)
    finally:
        os.close(descriptor)
    return path


def move_aside(remote: StorageRemote, oid: str, algorithm: str, *, scratch: str) -> str | None:
    """Moves an object to `kist-bad/` and returns its key there; None where it is not damaged after all, or gone.

    A service that cannot delete keeps it under its name as well, until an intact copy is written over it.

    Raises: what the service raises.
    """
    engine = remote.engine(1)
    key, aside = key_of(oid, algorithm), f"{ASIDE}{oid}"
    try:
        if engine.attempt(lambda: _read(remote, engine, oid, algorithm, scratch))[0]:
            return None
        path = engine.attempt(lambda: _download(remote, engine, key, scratch))
    except StorageMissingError:
        return None
    try:
        body = Body(os.path.getsize(path), lambda: _blocks(path, engine))
        engine.attempt(lambda: remote.storage.write(aside, body))
    finally:
        atomic.remove_quietly(path)
    if remote.storage.abilities.deletes:
        try:
            engine.attempt(lambda: remote.storage.delete([key]))
        except StorageRefusedError:
            pass  # what is written over it later takes its place
    return aside


def _blocks(path: str, engine: Engine) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(digests.BLOCK_SIZE):
            engine.spend(len(block))
            yield block

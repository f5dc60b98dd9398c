"""Reads all objects of a packed remote, and sets packs aside in which something is damaged.

Not here: what comes in the place of damaged objects (repo.mending). Implements docs/spec/packed.md, section 8.4.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from kist.base.progress import Progress
from kist.remotes.storage import Body, StorageMissingError
from kist.store.loose import LooseStore, remove_staging
from kist.store.statindex import FolderRow, StatIndex
from kist.store.verify import CORRUPT, MISSING, Sample, Verdict, forget_run, run_start
from kist.transfer.packed_index import Located, kind_of, oid_of
from kist.transfer.packed_read import read_chunks
from kist.transfer.verify import ASIDE

if TYPE_CHECKING:
    from kist.transfer.packed import PackedRemote

_PORTION_OBJECTS, _PORTION_BYTES = 5000, 512 << 20


def verify_packed(
    remote: PackedRemote,
    algorithm: str,
    index: StatIndex,
    *,
    scratch: str,
    progress: Progress,
    phase: str,
    sample: Sample | None = None,
    restart: bool = False,
) -> Verdict:
    """Reads objects out of packs; each chunk is verified by its id, each object by its md5.

    Args:
        index: notes what was sound, for a run that is interrupted.
        scratch: a folder for some of the objects at a time.

    Raises: what the service raises.
    """
    sizes = remote.named(algorithm)
    if sample is not None:
        draw = random.Random(sample.seed).random
        sizes = {oid: sizes[oid] for oid in sorted(sizes) if draw() < sample.share}
    space = _space(remote, algorithm)
    looks: dict[str, str] = {}
    known: set[str] = set()
    if sample is None:
        run_start(index, space, restart=restart)
        looks = _looks(remote, algorithm)
        before = {look for row in index.folders(space, "").values() for look in row.names.split("\0")}
        known = {oid for oid in sizes if oid in looks and looks[oid] in before}
    verdict = Verdict(len(sizes), sum(sizes.values()), len(known), {}, [])
    verdict.manifests.extend(oid for oid in sorted(known) if oid.endswith(".dir"))
    portion: set[str] = set()
    rest = sorted(sizes.keys() - known)
    for number, oid in enumerate(rest):
        portion.add(oid)
        is_full = len(portion) >= _PORTION_OBJECTS or sum(map(sizes.__getitem__, portion)) >= _PORTION_BYTES
        if is_full or number == len(rest) - 1:
            store = LooseStore(scratch, algorithm)
            try:
                got = remote.receive_packed(portion, store, progress=progress, phase=phase)
            finally:
                remove_staging(scratch)
            verdict.bad.update(dict.fromkeys(got.corrupt, CORRUPT))
            verdict.bad.update(dict.fromkeys(got.missing, MISSING))
            verdict.manifests.extend(oid for oid in sorted(got.copied) if oid.endswith(".dir"))
            if sample is None:
                sound = "\0".join(looks[oid] for oid in sorted(got.copied) if oid in looks)
                index.save(space, [(oid, FolderRow(sound, b"", b""))])
                index.flush()
            portion = set()
    return verdict


def end_packed_run(remote: PackedRemote, algorithm: str, index: StatIndex) -> None:
    """Notes that a remote was read to its end, and what came of it was told."""
    forget_run(index, _space(remote, algorithm))


def _space(remote: PackedRemote, algorithm: str) -> str:
    return f"fsck:packed:{remote.url}:{algorithm}"


def _looks(remote: PackedRemote, algorithm: str) -> dict[str, str]:
    """Returns what each object looks like without reading it: its id, and the packs that it lies in now."""
    catalogue = remote.catalogue
    kinds = {kind_of("", algorithm), kind_of(".dir", algorithm)}
    packs: dict[str, set[bytes]] = {}
    for each in catalogue.indexes.values():
        names = [entry.digest if entry.digest.hex() in catalogue.packs else b"" for entry in each.packs]
        for row, kind, md5 in each.objects():
            if kind in kinds:
                found = packs.setdefault(oid_of(md5, kind), set())
                found.update(names[each.pack_number(number)] for number in each.chunks_of(row))
    return {
        oid: f"{oid} {hashlib.sha256(b''.join(sorted(names))).hexdigest()[:24]}"
        for oid, names in packs.items()
    }


def bad_packs(remote: PackedRemote, oid: str, algorithm: str) -> set[str]:
    """Returns the packs in which a chunk of an object is not what its id says."""
    catalogue = remote.catalogue
    kind = kind_of(oid, algorithm)
    places: dict[bytes, list[Located]] = {}
    for _, index, row in catalogue.rows(kind, {bytes.fromhex(oid[:32])}):
        for number in index.chunks_of(row):
            chunk = index.chunk(number)
            places.setdefault(chunk, list(catalogue.locate(chunk)))
    found: set[str] = set()
    for chunk, located in places.items():
        for where in located:
            failed = read_chunks(remote.storage, remote.engine(), [(chunk, where)], lambda *_: None)
            if failed:
                found.add(where.pack.digest.hex())
    return found


def copy_aside(remote: PackedRemote, name: str, key: str) -> str:
    """Copies a damaged pack to `kist-bad/`; returns its key there."""
    aside = f"{ASIDE}{name}.pack"
    engine, storage = remote.engine(), remote.storage
    try:
        data = engine.attempt(lambda: b"".join(storage.read(key)))
    except StorageMissingError:
        return aside
    engine.attempt(lambda: storage.write(aside, Body.of(data)))
    return aside


def set_aside(remote: PackedRemote, oid: str, algorithm: str, *, progress: Progress) -> dict[str, str]:
    """Moves the damaged packs of an object to `kist-bad/`, after reading them again.

    Returns: id -> key of the pack, of each object that cannot be read any more: no index names it now. None of them
        where the object can be read after all.
    """
    names = bad_packs(remote, oid, algorithm)
    if not names:
        return {}
    asides = [copy_aside(remote, name, remote.catalogue.packs[name].key) for name in sorted(names)]
    dropped = remote.drop_packs(frozenset(names), progress=progress)
    return {oid_of(md5, kind): asides[0] for kind, md5 in dropped}

"""Which objects outputs need, and moving them: files before manifests, a manifest only when all its files are there.

Not here: how bytes travel (remotes, store.copying), and which outputs are meant (repo).
Implements docs/spec/transfer.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from kist.base.progress import Progress
from kist.errors import FormatError
from kist.formats.manifest import Tree, compare_manifests, member_oids, parse_manifest, tree_of
from kist.formats.records import Digest
from kist.remotes.base import Remote
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError

NO_BASES: Mapping[str, str | None] = MappingProxyType({})


class Need(NamedTuple):
    """What one output needs.

    Attributes:
        label: how messages call it: the output's path.
        digest: file, or directory manifest.
        inner: only what is at or below this path of a directory; "" for all of it.
    """

    label: str
    digest: Digest
    inner: str = ""


class Outcome(NamedTuple):
    """What a transfer did.

    Attributes:
        moved: ids of objects that were copied.
        failed: (label, object id, why) of what could not be: "missing" or "corrupt".
        size_bytes: bytes copied.
        records: digest and stat record (48 bytes) of each copied file, as it looks where it went.
        held: manifests that were not sent, for the remote would lack some of their files.
    """

    moved: list[str]
    failed: list[tuple[str, str, str]]
    size_bytes: int
    records: list[bytes]
    held: frozenset[str] = frozenset()


NOTHING = Outcome([], [], 0, [])
"""Of a transfer that had nothing to do."""


class _Manifest(NamedTuple):
    """A directory's manifest: which of its files are meant, and all that may be lacking on the other side."""

    label: str
    asked: set[str]
    members: set[str]


class _Group(NamedTuple):
    """What is needed: single files with their labels, manifests, and manifests that cannot be read."""

    plain: dict[str, str]
    manifests: dict[str, _Manifest]
    unreadable: list[tuple[str, str, str]]

    def labels(self) -> dict[str, str]:
        """Returns the label of each file that is meant."""
        labels: dict[str, str] = {}
        for manifest in self.manifests.values():
            labels.update(dict.fromkeys(manifest.asked, manifest.label))
        labels.update(self.plain)
        return labels


def push(
    needs: Iterable[Need], store: LooseStore, remote: Remote, *, workers: int, progress: Progress
) -> Outcome:
    """Sends what the remote lacks, or holds damaged.

    Args: needs: all of the kind that `store` holds.

    Raises:
        OSError, KistError: the remote cannot be written.

    Holds: a manifest is on the remote only when its files are.
    """
    needs = list(needs)
    algorithm = store.algorithm

    def size_of(oid: str) -> int | None:
        record = store.stat(oid)
        return None if record is None else int.from_bytes(record[8:16], "little")

    damaged = remote.damaged(algorithm, size_of=size_of, workers=workers)
    if not damaged:
        needs = [
            need
            for need in needs
            if not (need.digest.is_dir and remote.is_complete(need.digest.value, algorithm))
        ]
    # Of a directory that was there whole in an earlier version, only what differs from that has to be asked for.
    bases = {} if damaged else {need.label: remote.last_complete(need.label, algorithm) for need in needs}
    group = _group(needs, store, bases)
    labels = group.labels()
    lacking = remote.missing(labels.keys() | group.manifests.keys(), algorithm)
    lacking |= damaged & (labels.keys() | group.manifests.keys())
    manifests = lacking & group.manifests.keys()
    phase = f"Pushing to {remote.name}"
    first = remote.send(lacking - manifests, store, workers=workers, progress=progress, phase=phase)
    failed = [(labels[oid], oid, why) for oid, why in _failures(first.missing, first.corrupt)]
    bad = {oid for _, oid, _ in failed}
    ready = {oid for oid in manifests if _may_publish(group.manifests[oid], bad, remote, algorithm)}
    second = remote.send(ready, store, workers=1, progress=progress, phase=phase)
    failed += [
        (group.manifests[oid].label, oid, why) for oid, why in _failures(second.missing, second.corrupt)
    ]
    if not failed:
        for oid, manifest in group.manifests.items():
            if manifest.asked == manifest.members:
                remote.note_complete(oid, algorithm, manifest.label)
    moved = first.copied + second.copied
    size_bytes = first.size_bytes + second.size_bytes
    records = first.records + second.records
    return Outcome(moved, failed + group.unreadable, size_bytes, records, frozenset(manifests - ready))


def _may_publish(manifest: _Manifest, bad: set[str], remote: Remote, algorithm: str) -> bool:
    """Says whether all files of a manifest are on the remote; after a partial push the rest must be asked for."""
    rest = manifest.members - manifest.asked
    return not manifest.asked & bad and not (rest and remote.missing(rest, algorithm))


def fetch(
    needs: Iterable[Need], store: LooseStore, remote: Remote, *, workers: int, progress: Progress
) -> Outcome:
    """Brings what the store lacks; manifests first, for they tell which files are needed.

    Raises:
        OSError, KistError: the remote cannot be read or the cache not written.

    Holds: every object that the store holds afterwards was hashed on its way.
    """
    needs = list(needs)
    phase = f"Fetching from {remote.name}"
    manifests = {need.digest.value: need.label for need in needs if need.digest.is_dir}
    lacking = store.missing(set(manifests)) | _damaged(store, manifests)
    first = remote.receive(lacking, store, workers=1, progress=progress, phase=phase)
    failed = [(manifests[oid], oid, why) for oid, why in _failures(first.missing, first.corrupt)]
    group = _group([need for need in needs if need.digest.value not in {oid for _, oid, _ in failed}], store)
    labels = group.labels()
    second = remote.receive(
        store.missing(set(labels)), store, workers=workers, progress=progress, phase=phase
    )
    failed += [(labels[oid], oid, why) for oid, why in _failures(second.missing, second.corrupt)]
    moved = first.copied + second.copied
    size_bytes = first.size_bytes + second.size_bytes
    return Outcome(moved, failed + group.unreadable, size_bytes, first.records + second.records)


def needed_files(needs: Iterable[Need], store: LooseStore) -> set[str]:
    """Returns the ids of the files that are needed, as far as the store's manifests tell them."""
    return set(_group(needs, store).labels())


def lacks(need: Need, store: LooseStore) -> bool:
    """Says whether the store lacks something of a need; a damaged manifest counts as missing."""
    if not need.digest.is_dir:
        return not store.has(need.digest.value)
    group = _group([need], store)
    return bool(group.unreadable or store.missing(set(group.labels())))


def _damaged(store: LooseStore, manifests: Iterable[str]) -> set[str]:
    """Returns manifests that are here but cannot be used."""
    damaged = set()
    for oid in manifests:
        try:
            store.read(oid)
        except ObjectCorruptError:
            damaged.add(oid)
        except ObjectMissingError:
            pass
    return damaged


def _failures(missing: Iterable[str], corrupt: Iterable[str]) -> list[tuple[str, str]]:
    return [(oid, "missing") for oid in missing] + [(oid, "corrupt") for oid in corrupt]


def _group(needs: Iterable[Need], store: LooseStore, bases: Mapping[str, str | None] = NO_BASES) -> _Group:
    plain: dict[str, str] = {}
    manifests: dict[str, _Manifest] = {}
    unreadable: list[tuple[str, str, str]] = []
    for need in needs:
        oid = need.digest.value
        if not need.digest.is_dir:
            plain.setdefault(oid, need.label)
            continue
        try:
            data = store.read(oid)
            base = _readable(store, bases.get(need.label)) if not need.inner else None
            members = (
                member_oids(data, name=oid)
                if base is None
                else set(compare_manifests(base, data, name=oid)[1].values())
            )
            asked = part(parse_manifest(data, name=oid), need.inner).oids() if need.inner else members
        except ObjectMissingError:
            unreadable.append((need.label, oid, "missing"))
            continue
        except (ObjectCorruptError, FormatError):
            unreadable.append((need.label, oid, "corrupt"))
            continue
        known = manifests.get(oid)
        manifests[oid] = _Manifest(need.label, asked | known.asked if known else asked, members)
    return _Group(plain, manifests, unreadable)


def _readable(store: LooseStore, oid: str | None) -> bytes | None:
    try:
        return None if oid is None else store.read(oid)
    except (ObjectMissingError, ObjectCorruptError):
        return None


def part(tree: Tree, inner: str) -> Tree:
    """Returns the file or folder `inner` of a tree, with its paths as they are in the tree."""
    prefix = inner + "/"
    folders = {path: row for path, row in tree.folders.items() if path == inner or path.startswith(prefix)}
    oid = tree.get(inner)
    if oid is not None:
        return tree_of({inner: oid})
    return Tree(folders)

"""Sends files to a remote that keeps versions, and tells the version of each: what is there already is recognised.

Not here: what metafiles then say (repo.versions_push). Implements docs/spec/cloud-versions.md, section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from kist.base import digests
from kist.base.progress import Phase, Progress
from kist.errors import ConfigError
from kist.formats.records import MD5
from kist.remotes.storage import Body, Item, StorageFailedError
from kist.store.loose import LooseStore
from kist.transfer.engine import Engine
from kist.transfer.stored import (
    SMALL_BYTES,
    fits,
    plain_tag,
    read_whole,
    tag_of_parts,
)
from kist.transfer.versions import VersionedRemote

_OTHER_STEPS = (50 << 20, 5 << 20, 16 << 20, 64 << 20)
"""Sizes of parts that other programs write with: DVC's library 50 MiB, AWS's own tools 8, 5, 16 or 64."""
_NO_VERSION = ("", "null")


class NoVersionsError(ConfigError):
    """The bucket does not keep versions: what is replaced there would be lost. Its owner turns them on."""

    code = "no-versions"


class File(NamedTuple):
    """One file that the remote should have.

    Attributes:
        path: relative to the remote's address.
        size: in bytes; -1 where the cache lacks it.
        version: the one that its metafile names there, or None.
    """

    path: str
    oid: str
    size: int
    version: str | None


class Sent(NamedTuple):
    """What became of files.

    Attributes:
        items: path -> version that has the file's content, whether it was sent now or before.
        sent: paths that were sent.
        failed: (path, object id, "missing" or "corrupt").
        size_bytes: of what was sent.
    """

    items: dict[str, Item]
    sent: list[str]
    failed: list[tuple[str, str, str]]
    size_bytes: int


def send_files(
    remote: VersionedRemote, files: Sequence[File], source: LooseStore, *, progress: Progress
) -> Sent:
    """Sends files that the remote lacks; each is hashed on its way.

    Raises: NoVersionsError, before anything is written where that can be known; what the service raises.

    Holds: each item's version is what the service said of exactly the bytes that were hashed here.
    """
    done = Sent({}, [], [], 0)
    wanted = _recognise(remote, files, source, done)
    if not wanted:
        return done
    _check_versions(remote)
    here = [file for file in wanted if file.size >= 0]
    done.failed.extend((file.path, file.oid, "missing") for file in wanted if file.size < 0)
    engine = remote.engine()
    sent_bytes = 0
    with progress.phase(f"Pushing to {remote.name}", len(here), sum(file.size for file in here)) as shown:

        def note(file: File, answer: Item | str) -> None:
            nonlocal sent_bytes
            if isinstance(answer, str):
                done.failed.append((file.path, file.oid, answer))
            else:
                done.items[file.path] = answer
                done.sent.append(file.path)
                sent_bytes += file.size

        def small(file: File) -> Item | str:
            return _send_small(remote, engine, file, source)

        def small_done(file: File, answer: Item | str) -> None:
            note(file, answer)
            shown.advance(1, file.size)

        engine.run(small, [file for file in here if file.size <= SMALL_BYTES], small_done)
        for file in here:
            if file.size > SMALL_BYTES:
                note(file, _send_large(remote, engine, file, source, shown))
                shown.advance(1, 0)
    return done._replace(size_bytes=sent_bytes)


# What is there already


def _recognise(remote: VersionedRemote, files: Sequence[File], source: LooseStore, done: Sent) -> list[File]:
    """Returns the files that must be sent; notes the versions of the others."""
    engine = remote.engine()
    many: dict[str, list[File]] = {}
    for file in files:
        many.setdefault(file.path.rpartition("/")[0], []).append(file)
    tops = _tops({folder for folder, own in many.items() if folder}, many)
    listed: dict[str, list[Item]] = {}
    for items in remote.listed([f"{top}/" for top in tops]).values():
        for item in items:
            listed.setdefault(item.key, []).append(item)
    is_listed = tuple(f"{top}/" for top in tops)

    def ask(file: File) -> Item | None:
        if is_listed and file.path.startswith(is_listed):
            return _among(file, listed.get(file.path, ()), source)
        engine.spend(0)
        if file.version is not None:
            known = engine.attempt(lambda: remote.service.head_version(file.path, file.version or ""))
            if known is not None and file.size in (-1, known.size):
                return known
        latest = engine.attempt(lambda: remote.service.head(file.path))
        return _among(file, (latest,) if latest is not None else (), source)

    lacking: list[File] = []

    def note(file: File, item: Item | None) -> None:
        if item is None:
            lacking.append(file)
        else:
            done.items[file.path] = item

    engine.run(ask, files, note)
    return sorted(lacking)


_FEW = 32
"""Files of one folder up to which each is asked for."""


def _tops(folders: set[str], many: dict[str, list[File]]) -> list[str]:
    """Returns the folders to list: the highest ones below which there are more files than are asked for one by one."""
    counts: dict[str, int] = {}
    for folder in folders:
        parts = folder.split("/")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            counts[name] = counts.get(name, 0) + len(many[folder])
    chosen: list[str] = []
    for name in sorted(counts, key=lambda name: name.count("/")):
        if counts[name] > _FEW and not any(name.startswith(f"{top}/") for top in chosen):
            chosen.append(name)
    return chosen


def _among(file: File, items: Sequence[Item], source: LooseStore) -> Item | None:
    """Returns the version that is known to have the file's content: the metafile's, or the latest if it has it."""
    for item in items:
        if file.version is not None and item.version == file.version and file.size in (-1, item.size):
            return item
    for item in items:
        has_version = (item.version or "") not in _NO_VERSION
        if item.is_latest and has_version and item.size == file.size and _has_content(item, file, source):
            return item
    return None


def _has_content(item: Item, file: File, source: LooseStore) -> bool:
    """Says whether the service tells that a version has the bytes of an object."""
    told = item.md5 or plain_tag(item.tag)
    if source.algorithm == MD5 and told == file.oid:
        return True
    whole, _, count = told.partition("-")
    if len(whole) != 32:
        return False
    path = source.path(file.oid)
    if not count:
        is_told = source.algorithm != MD5 and digests.read_md5(path)[0].hex() == whole
    else:
        is_told = count.isdigit() and any(
            -(-file.size // step) == int(count) and _tag_by(path, step) == told
            for step in (8 << 20, *_OTHER_STEPS)
        )
    return is_told and source.is_intact(file.oid)  # what is damaged here may have been sent damaged


def _tag_by(path: str, step: int) -> str:
    sums = []
    with open(path, "rb") as stream:
        while block := stream.read(step):
            sums.append(hashlib.md5(block, usedforsecurity=False).digest())
    return tag_of_parts(sums)


# Sending


def _check_versions(remote: VersionedRemote) -> None:
    if remote.engine().attempt(remote.service.keeps_versions) is False:
        raise no_versions(remote)


def no_versions(remote: VersionedRemote) -> NoVersionsError:
    """Returns the error for a bucket without versions."""
    return NoVersionsError(
        f"cannot push to remote '{remote.name}': its bucket does not keep versions, so that what is replaced"
        " there would be lost",
        hint=remote.service.versions_hint,
    )


def _send_small(remote: VersionedRemote, engine: Engine, file: File, source: LooseStore) -> Item | str:
    path = source.path(file.oid)
    try:
        data = read_whole(path)
    except FileNotFoundError:
        return "missing"
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    if not fits(file.oid, digest, path, source.algorithm):
        return "corrupt"
    body = Body.of(data, md5=digest)

    def write() -> Item:
        engine.spend(len(data))  # each try travels
        return remote.service.write(file.path, body)

    return _checked(remote, file, engine.attempt(write))


def _send_large(
    remote: VersionedRemote, engine: Engine, file: File, source: LooseStore, shown: Phase
) -> Item | str:
    item = remote.send_parts(
        remote.service, engine, file.path, file.oid, source, file.size, shown, names_content=False
    )
    return "corrupt" if item is None else _checked(remote, file, item)


def _checked(remote: VersionedRemote, file: File, item: Item) -> Item:
    if item.size != file.size:
        raise StorageFailedError(
            f"cannot store '{file.path}' on remote '{remote.name}': {item.size} bytes arrived of {file.size}",
            hint="kist push",
        )
    if (item.version or "") in _NO_VERSION:
        raise no_versions(remote)
    return item

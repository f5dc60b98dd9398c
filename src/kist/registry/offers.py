"""What lies at an address of a storage, and reading it into a store: many files at once, each hashed on its way.

Not here: which options an address has (repo), and folders on this machine. Implements docs/spec/imports.md, section 5.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from kist.base import atomic
from kist.base.limiter import Limiter
from kist.base.progress import Progress
from kist.base.shell import shell_line
from kist.errors import InputError, MissingError
from kist.formats.manifest import is_safe_path
from kist.remotes.storage import Item, Storage, StorageFailedError
from kist.store.copying import CopyOutcome
from kist.store.ingest import FileChangedError
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging
from kist.transfer.engine import Engine
from kist.transfer.stored import publish


class NothingThereError(MissingError):
    """Nothing lies at the address: it was mistyped, or what was there is gone."""

    code = "nothing-there"


class UnsafeNameError(InputError):
    """What lies at an address cannot be the path of a file here: it climbs, or lies in `.git` (rule R14)."""

    code = "unsafe-name"


class Offer(NamedTuple):
    """What lies at an address.

    Attributes:
        url: as messages show it.
        key: within the storage.
        items: path below the address -> what the service says of it; a single file has the path "".
    """

    url: str
    key: str
    is_dir: bool
    items: Mapping[str, Item]

    def size_bytes(self) -> int:
        """Returns the sum of the sizes that are known."""
        return sum(max(item.size, 0) for item in self.items.values())


class Received(NamedTuple):
    """What was read: path -> (md5, size in bytes), and records that the store may trust."""

    files: Mapping[str, tuple[str, int]]
    records: list[bytes]


def look(storage: Storage, key: str, *, url: str, engine: Engine) -> Offer:
    """Returns what lies under a key: a value, or all values in the folder of this name.

    Raises: NothingThereError, UnsafeNameError, and what the service says.
    """
    # What has no name and can be listed is a whole bucket or folder.
    item = engine.attempt(lambda: storage.head(key)) if key or not storage.abilities.lists else None
    if item is not None:
        return Offer(url, key, False, {"": item})
    items: dict[str, Item] = {}
    if storage.abilities.lists:
        prefix = f"{key}/" if key else ""
        for found in engine.attempt(lambda: list(storage.list(prefix))):
            rel = found.key[len(prefix) :]
            if not rel or rel.endswith("/"):
                continue  # what some clients leave to stand for a folder
            if not is_safe_path(rel):
                raise UnsafeNameError(
                    f"cannot use '{url}': it holds '{rel}', which is no path for a file here"
                )
            items[rel] = found
    if not items:
        raise NothingThereError(f"cannot read '{url}': there is nothing", hint=_listing_hint(url))
    return Offer(url, key, True, items)


def _listing_hint(url: str) -> str:
    return shell_line("kist", "list-url", posixpath.dirname(url.rstrip("/")))


def receive(
    storage: Storage,
    offer: Offer,
    store: LooseStore,
    *,
    progress: Progress,
    jobs: int | None = None,
    limiter: Limiter | None = None,
) -> Received:
    """Reads everything of an offer into a store.

    Raises: FileChangedError: something there changed meanwhile; and what the service says.

    Holds: an object is under its name only whole and durable; a kill leaves at most a staging folder.
    """
    engine = Engine(storage.abilities, jobs=jobs, limiter=limiter)
    store.make_folder(store.base)
    staging = store.new_staging()
    files: dict[str, tuple[str, int]] = {}
    numbers = {rel: number for number, rel in enumerate(offer.items)}
    prefix = f"{offer.key}/" if offer.is_dir and offer.key else ""

    def read(rel: str) -> tuple[str, int]:
        key = prefix + rel if offer.is_dir else offer.key
        path = f"{staging}/{numbers[rel]}"
        return engine.attempt(lambda: _read_into(storage, key, path, engine, offer.items[rel]))

    try:
        with progress.phase(f"Reading {offer.url}", len(offer.items), offer.size_bytes()) as shown:

            def done(rel: str, result: tuple[str, int]) -> None:
                files[rel] = result
                shown.advance(1, result[1])

            engine.run(read, list(offer.items), done)
        _refuse_changed(storage, offer, engine)
        outcome = CopyOutcome([], [], [], [], 0)
        arrived: dict[str, int] = {}
        for rel, (oid, size) in files.items():
            os.replace(f"{staging}/{numbers[rel]}", f"{staging}/{oid}")
            arrived[oid] = size
        fresh = {oid: arrived[oid] for oid in store.missing(set(arrived))}
        store.make_prefixes({oid[:2] for oid in fresh})
        publish(fresh, store, staging, outcome)
    finally:
        remove_staging(staging)
    return Received(files, outcome.records)


def _read_into(storage: Storage, key: str, path: str, engine: Engine, item: Item) -> tuple[str, int]:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OBJECT_MODE | 0o200)
    try:
        for block in storage.read(key):
            engine.spend(len(block))
            digest.update(block)
            atomic.write_all(descriptor, block)
            size += len(block)
        os.fchmod(descriptor, OBJECT_MODE)
    finally:
        os.close(descriptor)
    os.chmod(path, OBJECT_MODE)
    if item.size not in (-1, size):
        raise StorageFailedError(f"cannot read '{key}': {size} bytes came of {item.size}")
    return digest.hexdigest(), size


def _refuse_changed(storage: Storage, offer: Offer, engine: Engine) -> None:
    """Raises FileChangedError where what the service says differs from what it said before."""
    again = look(storage, offer.key, url=offer.url, engine=engine)
    if _tags(again) != _tags(offer):
        raise FileChangedError(
            f"cannot read '{offer.url}': it changes while it is read",
            hint="wait until nothing writes to it, then try again",
        )


def _tags(offer: Offer) -> dict[str, tuple[int, str | None, float | None]]:
    return {rel: (item.size, item.tag, item.modified_s) for rel, item in offer.items.items()}

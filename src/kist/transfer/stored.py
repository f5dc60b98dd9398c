"""A remote at a service: DVC's layout of keys over any storage, each object hashed on its way in both directions.

Not here: which objects are wanted and in which order (transfer.plan), threads and retries (transfer.engine).
Implements docs/spec/storage.md, sections 3 and 4.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence, Set

from kist.base import atomic, digests
from kist.base.limiter import Limiter
from kist.base.listing import pack_stat, settle
from kist.base.progress import Phase, Progress
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.base import SizeOf
from kist.remotes.storage import (
    Body,
    Item,
    Storage,
    StorageFailedError,
    StorageMissingError,
    StorageRefusedError,
    Upload,
)
from kist.store import garbage
from kist.store.copying import CopyOutcome
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging
from kist.store.statindex import FolderRow, StatIndex
from kist.transfer.engine import Engine

SMALL_BYTES = 8 << 20
"""Up to this size an object travels in one request, from and to memory."""
_PART_BYTES = 8 << 20
_LANES = 12
"""Parts of one value that travel at once: with 8 MiB each a cut in the middle of 1 GiB loses less than a tenth."""
_PUBLISH_EVERY = 20_000
_CHECKED_FOR_S = 24 * 3600
_SHARE = 16
_PART_NAME = "kist-part-"
_UNSURE_EACH, _UNSURE_LISTED = 1000, 64
"""Objects that a push asks for again because the service only said that it took them; fewer where a share of all
that is there is listed anyway."""
_SUM = re.compile("[0-9a-f]{32}")
_PREFIXES = [f"{number:02x}" for number in range(256)]


class _Corrupt(Exception):
    """The bytes do not match the name; never leaves this module."""


class StorageRemote:
    """A remote whose objects lie at a service.

    Attributes:
        name, url: of the storage.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        index: StatIndex,
        jobs: int | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        """Args: index: remembers what was complete there. jobs, limiter: as of Engine."""
        self.name = storage.name
        self.url = storage.url
        self.storage = storage
        self._index = index
        self._jobs = jobs
        self._limiter = limiter
        self._sizes: dict[str, int] = {}
        self._size_of: SizeOf = lambda oid: None

    def engine(self, jobs: int | None = None) -> Engine:
        """Returns an engine for this service, with the limits of the remote; `jobs` instead of the remote's."""
        return Engine(self.storage.abilities, jobs=jobs or self._jobs, limiter=self._limiter)

    def _lanes(self) -> Engine:
        """Returns an engine for parts of one value: what a kill loses, and what memory holds, is what is on its way."""
        most = 1 if self.storage.abilities.in_order else _LANES
        return self.engine(jobs=min(self._jobs or most, most))

    # What is there

    def missing(self, oids: set[str], algorithm: str) -> set[str]:
        """Returns those of `oids` that the remote does not have, by the cheaper of listing and single questions.

        After `damaged`, those that have another size than here count as missing too.
        """
        lacking = self._missing(oids, algorithm) if oids else set()
        for oid in oids - lacking:
            expected = self._size_of(oid)
            if expected is not None and self._sizes.get(oid, expected) != expected:
                lacking.add(oid)
        return lacking

    def _missing(self, oids: set[str], algorithm: str) -> set[str]:
        able = self.storage.abilities
        if not able.lists or len(oids) <= able.streams:
            return self._ask_each(oids, algorithm)
        # One prefix is listed; ids are spread evenly, so it tells how much a listing of all would be.
        sample = self._list_prefixes(["00"], algorithm)
        pages = max(1, -(-len(sample) // able.page)) * 256
        if able.flat and len(sample) * 256 < able.page * 128:
            pages = 1 + len(sample) * 256 // able.page
        rest = {oid for oid in oids if not oid.startswith("00")}
        wanted = {oid[:2] for oid in rest}
        if len(rest) <= min(pages, len(wanted)):
            present = sample
        elif pages < len(wanted):
            present = self._list_prefixes([""], algorithm)
        else:
            present = {**sample, **self._list_prefixes(sorted(wanted), algorithm)}
        self._sizes.update((oid, size) for oid, size in present.items() if oid in oids)
        if present is sample:
            return (oids - rest - sample.keys()) | self._ask_each(rest, algorithm)
        return oids - present.keys()

    def _ask_each(self, oids: set[str], algorithm: str) -> set[str]:
        lacking: set[str] = set()
        engine = self.engine()

        def ask(oid: str) -> Item | None:
            engine.spend(0)
            return engine.attempt(lambda: self.storage.head(key_of(oid, algorithm)))

        def note(oid: str, item: Item | None) -> None:
            if item is None:
                lacking.add(oid)
            elif item.size >= 0:
                self._sizes[oid] = item.size

        engine.run(ask, sorted(oids), note)
        return lacking

    def _list_prefixes(self, prefixes: list[str], algorithm: str) -> dict[str, int]:
        """Returns the objects below prefix folders, "" being all of them: id -> size in bytes."""
        found: dict[str, int] = {}
        engine = self.engine()
        base = _base(algorithm)

        def ask(prefix: str) -> list[Item]:
            below = f"{base}{prefix}/" if prefix else base
            items = engine.attempt(lambda: list(self.storage.list(below)))
            engine.spend(0)
            return items

        def note(_: str, items: list[Item]) -> None:
            for item in items:
                oid = oid_of(item.key, base)
                if oid is not None:
                    found[oid] = item.size

        engine.run(ask, prefixes, note)
        return found

    def is_complete(self, manifest: str, algorithm: str) -> bool:
        """Says whether a manifest and all its members were seen there lately, and the manifest is there still.

        Members are looked at again in turns, 16 of the 256 prefixes a call, and all of them once a day.
        """
        row = self._index.folder(self._space(algorithm), manifest)
        if row is None or not row.names.isdigit() or int(row.names) < time.time() - _CHECKED_FOR_S:
            return False
        return self.storage.head(key_of(manifest, algorithm)) is not None

    def note_complete(self, manifest: str, algorithm: str, label: str) -> None:
        """Remembers that a manifest and all its members were just seen there, as the last version of `label`."""
        space = self._space(algorithm)
        rows = [(manifest, str(int(time.time()))), (f"last:{label}", manifest)]
        self._index.save(space, [(path, FolderRow(text, b"", b"")) for path, text in rows])

    def last_complete(self, label: str, algorithm: str) -> str | None:
        """Returns the manifest last noted for `label`, if all of it is known to be there still."""
        row = self._index.folder(self._space(algorithm), f"last:{label}")
        return row.names if row is not None and self.is_complete(row.names, algorithm) else None

    def was_used(self) -> bool:
        """Says whether something was ever looked for or sent there from this repository."""
        return any(self._index.folder(self._space(kind), "turn") for kind in (MD5, LEGACY_MD5))

    def forget_complete(self, algorithm: str) -> None:
        """Forgets which manifests were complete there, after damage was seen."""
        space = self._space(algorithm)
        gone = [path for path in self._index.folders(space, "") if path.endswith(".dir")]
        self._index.save(space, (), gone=gone)

    def _space(self, algorithm: str) -> str:
        return f"remote:{self.url}:{algorithm}"

    def damaged(self, algorithm: str, *, size_of: SizeOf, workers: int) -> set[str]:
        """Returns objects of the share whose turn it is that have another size than they should, or went since they
        were last seen there: 16 of the 256 prefixes a call, one after the other in a ring; and those that were sent
        last, where the service only said that it took them.
        """
        self._size_of = size_of  # whatever is asked for from now on is compared with what is here
        found = self._damaged(algorithm, size_of)
        if found:
            self.forget_complete(algorithm)  # what needs them, and is not pushed now, is looked at when it is
        return found

    def _damaged(self, algorithm: str, size_of: SizeOf) -> set[str]:
        able = self.storage.abilities
        space = self._space(algorithm)
        unsure = self._not_stored(algorithm)
        if not able.lists:
            return unsure
        row = self._index.folder(space, "turn")
        if row is None:
            # Nothing was ever sent from here: what is asked for will be looked at one by one.
            self._index.save(space, [("turn", FolderRow("0", b"", b""))])
            return unsure
        first = int(row.names) % 256 if row.names.isdigit() else 0
        share = (_PREFIXES + _PREFIXES)[first : first + _SHARE]
        present = self._list_prefixes(share, algorithm)
        bad = {
            oid
            for oid, size in present.items()
            if (expected := size_of(oid)) is not None and expected != size
        }
        rows = [("turn", FolderRow(str(first + _SHARE), b"", b""))]
        by_prefix: dict[str, list[str]] = {prefix: [] for prefix in share}
        for oid in present.keys() - bad:
            by_prefix[oid[:2]].append(oid)
        for prefix, oids in by_prefix.items():
            bad |= self._seen(space, prefix) - present.keys()
            rows.append((f"seen:{prefix}", FolderRow("\0".join(sorted(oids)), b"", b"")))
        self._index.save(space, rows)
        return bad | unsure

    def _not_stored(self, algorithm: str) -> set[str]:
        """Returns those of the objects sent last that are not there, or not whole, at a service that only took them."""
        space = self._space(algorithm)
        row = self._index.folder(space, "unsure")
        names = row.names.split("\0") if row is not None and row.names else []
        each = _UNSURE_LISTED if self.storage.abilities.lists else _UNSURE_EACH
        asked = set(names[:each])
        if not asked:
            return set()
        lacking = self.missing(asked, algorithm)
        left = "\0".join(names[each:])
        self._index.save(space, [("unsure", FolderRow(left, b"", b""))])
        return lacking

    def _seen(self, space: str, prefix: str) -> set[str]:
        row = self._index.folder(space, f"seen:{prefix}")
        return set(row.names.split("\0")) if row is not None and row.names else set()

    def _remember(self, algorithm: str, oids: list[str]) -> None:
        """Notes what was sent, so that it is missed when it goes."""
        space = self._space(algorithm)
        if oids and not self.storage.abilities.confirms:
            row = self._index.folder(space, "unsure")
            names = set(row.names.split("\0")) if row is not None and row.names else set()
            self._index.save(space, [("unsure", FolderRow("\0".join(sorted(names.union(oids))), b"", b""))])
        by_prefix: dict[str, list[str]] = {}
        for oid in oids:
            by_prefix.setdefault(oid[:2], []).append(oid)
        rows = []
        for prefix, sent in by_prefix.items():
            names = self._seen(space, prefix).union(sent)
            rows.append((f"seen:{prefix}", FolderRow("\0".join(sorted(names)), b"", b"")))
        self._index.save(space, rows)

    # Moving

    def send(
        self, oids: set[str], source: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects to the service; each is hashed while it is read, and never published when it is damaged."""
        outcome = CopyOutcome([], [], [], [], 0)
        sizes = _sizes_of(oids, source, outcome)
        total = sum(sizes.values())
        engine = self.engine()
        with progress.phase(phase, len(oids), total) as shown:
            small = sorted((oid for oid, size in sizes.items() if size <= SMALL_BYTES), key=_spread)
            large = sorted(oid for oid, size in sizes.items() if size > SMALL_BYTES)

            def work(oid: str) -> str:
                return self._send_small(engine, oid, source)

            def done(oid: str, state: str) -> None:
                _note(outcome, oid, state)
                shown.advance(1, sizes[oid])

            engine.run(work, small, done)
            for oid in large:
                _note(outcome, oid, self._send_large(engine, oid, source, sizes[oid], shown))
                shown.advance(1, 0)
        self._remember(source.algorithm, outcome.copied)
        return outcome._replace(size_bytes=sum(sizes[oid] for oid in outcome.copied))

    def _send_small(self, engine: Engine, oid: str, source: LooseStore) -> str:
        path = source.path(oid)
        try:
            data = read_whole(path)
        except FileNotFoundError:
            return "missing"
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        if not fits(oid, digest, path, source.algorithm):
            return "corrupt"
        body = Body.of(data, md5=digest)
        key = key_of(oid, source.algorithm)

        def write() -> Item:
            engine.spend(len(data))  # each try travels
            return self.storage.write(key, body)

        item = engine.attempt(write)
        self._check_size(key, item, len(data))
        return "copied"

    def _send_large(self, engine: Engine, oid: str, source: LooseStore, size: int, shown: Phase) -> str:
        key, path = key_of(oid, source.algorithm), source.path(oid)
        if not self.storage.abilities.parts:
            body = Body(size, lambda: _blocks(path, oid, source.algorithm, engine, shown))
            try:
                item = engine.attempt(lambda: self.storage.write(key, body))
            except _Corrupt:
                return "corrupt"
            self._check_size(key, item, size)
            return "copied"
        stored = self.send_parts(self.storage, engine, key, oid, source, size, shown)
        if stored is None:
            return "corrupt"
        self._check_size(key, stored, size)
        return "copied"

    def send_parts(
        self,
        storage: Storage,
        engine: Engine,
        key: str,
        oid: str,
        source: LooseStore,
        size: int,
        shown: Phase,
        *,
        names_content: bool = True,
    ) -> Item | None:
        """Writes a large object in parts, and hashes it on the way; returns None where it turns out damaged.

        Args: names_content: nothing else is ever written under the key. Otherwise parts that an earlier run left may
            be of other content: they are compared. So are all parts of which the service tells the sum: the object
            may have been damaged here when they were sent.
        """
        able, path = storage.abilities, source.path(oid)
        step = _part_step(size, storage)
        label = f"upload:{key}" if names_content else f"upload:{key}:{oid}"
        upload = self._begin(storage, engine, key, size, source.algorithm, label)
        tags: dict[int, str] = {}
        sums: list[bytes] = []
        digest = hashlib.md5(usedforsecurity=False)

        def parts() -> Iterator[tuple[int, int, bytes]]:
            # In order and by one thread at a time: this is where the whole is hashed.
            with open(digests.open_regular(path), "rb", buffering=0) as stream:
                for number in range(-(-size // step)):
                    data = _read_exactly(stream.fileno(), min(step, size - number * step), path)
                    digest.update(data)
                    if not names_content:
                        sums.append(hashlib.md5(data, usedforsecurity=False).digest())
                    known = upload.parts.get(number) if able.resumes else None
                    if (
                        known is not None
                        and known[0] == len(data)
                        and _is_same_part(plain_tag(known[1]), data, is_trusted=names_content or able.by_id)
                    ):
                        tags[number] = known[1]
                        shown.advance(0, len(data))
                        continue
                    yield number, number * step, data

        def put(part: tuple[int, int, bytes]) -> str:
            number, first, data = part

            def try_once() -> str:
                engine.spend(len(data))
                return storage.put_part(upload, number, first, data)

            return engine.attempt(try_once)

        def done(part: tuple[int, int, bytes], tag: str) -> None:
            tags[part[0]] = tag
            shown.advance(0, len(part[2]))

        self._lanes().run(put, parts(), done)
        if not fits(oid, digest.digest(), path, source.algorithm):
            storage.abort(upload)
            self._forget_upload(storage, source.algorithm, label)
            return None
        item = engine.attempt(lambda: storage.finish(upload, tags))
        self._forget_upload(storage, source.algorithm, label)
        # Of what the service encrypts, neither the parts nor the whole have a tag that is a sum.
        is_told = bool(sums) and all(plain_tag(tags[at]) == one.hex() for at, one in enumerate(sums))
        if (
            item.md5 not in (None, digest.hexdigest())
            or is_told
            and plain_tag(item.tag) != tag_of_parts(sums)
        ):
            if names_content:  # under a name of a person's, an older version would be shown as deleted
                engine.attempt(lambda: storage.delete([key]))
            raise StorageFailedError(
                f"cannot store '{key}' on remote '{self.name}': the service stored other bytes",
                hint="kist push",
            )
        return item

    def _begin(
        self, storage: Storage, engine: Engine, key: str, size: int, algorithm: str, label: str
    ) -> Upload:
        """Returns a new upload, or the one that an earlier run began."""
        if not storage.abilities.by_id:
            return engine.attempt(lambda: storage.begin(key, size))
        row = self._index.folder(self._space(algorithm), label)
        upload = engine.attempt(
            lambda: storage.begin(key, size, before=row.names if row is not None else None)
        )
        self._index.save(self._space(algorithm), [(label, FolderRow(upload.id, b"", b""))])
        self._index.flush()  # a kill must not lose it
        return upload

    def _forget_upload(self, storage: Storage, algorithm: str, label: str) -> None:
        if storage.abilities.by_id:
            self._index.save(self._space(algorithm), (), gone=[label])

    def _check_size(self, key: str, item: Item, size: int) -> None:
        if item.size != size:
            raise StorageFailedError(
                f"cannot store '{key}' on remote '{self.name}': {item.size} bytes arrived of {size}",
                hint="kist push",
            )

    def receive(
        self, oids: set[str], target: LooseStore, *, workers: int, progress: Progress, phase: str
    ) -> CopyOutcome:
        """Copies objects from the service; published in the store only when whole, right and durable."""
        outcome = CopyOutcome([], [], [], [], 0)
        if not oids:
            return outcome
        engine = self.engine()
        staging = target.new_staging()
        total = 0
        try:
            target.make_prefixes({oid[:2] for oid in oids})
            with progress.phase(phase, len(oids), None) as shown:
                asked = sorted(oids, key=_spread)
                for start in range(0, len(asked), _PUBLISH_EVERY):
                    done = self._receive_some(
                        engine, asked[start : start + _PUBLISH_EVERY], target, staging, outcome, shown
                    )
                    total += sum(done.values())
                    publish(done, target, staging, outcome)
        finally:
            remove_staging(staging)
        return outcome._replace(size_bytes=total)

    def _receive_some(
        self,
        engine: Engine,
        oids: list[str],
        target: LooseStore,
        staging: str,
        outcome: CopyOutcome,
        shown: Phase,
    ) -> dict[str, int]:
        """Returns the objects that arrived, with their sizes; they lie in the staging folder."""
        arrived: dict[str, int] = {}
        large: dict[str, int] = {}
        begun = _begun(target)

        def work(oid: str) -> tuple[str, int]:
            known = self._sizes.get(oid)
            if known is None and oid in begun:
                # What is left may be of a damaged object, of another size.
                found = self._ask_size(engine, oid, target)
                if found[1] >= 0:
                    return found
            if known is not None and known > SMALL_BYTES:
                return "large", known
            return self._receive_small(engine, oid, target, f"{staging}/{oid}")

        def done(oid: str, result: tuple[str, int]) -> None:
            state, size = result
            if state == "large":
                large[oid] = size
                return
            if state == "copied":
                arrived[oid] = size
            else:
                _note(outcome, oid, state)
            shown.advance(1, size)

        engine.run(work, oids, done)
        for oid, size in sorted(large.items()):
            state = self._receive_large(engine, oid, target, f"{staging}/{oid}", size, shown)
            if state == "copied":
                arrived[oid] = size
            else:
                _note(outcome, oid, state)
            shown.advance(1, 0)
        return arrived

    def _ask_size(self, engine: Engine, oid: str, target: LooseStore) -> tuple[str, int]:
        item = engine.attempt(lambda: self.storage.head(key_of(oid, target.algorithm)))
        return ("large", item.size) if item is not None else ("missing", 0)

    def _receive_small(self, engine: Engine, oid: str, target: LooseStore, path: str) -> tuple[str, int]:
        key, algorithm = key_of(oid, target.algorithm), target.algorithm

        def read() -> tuple[list[bytes], int]:
            blocks: list[bytes] = []
            size = 0
            for block in self.storage.read(key):
                blocks.append(block)
                size += len(block)
                if size > SMALL_BYTES:
                    break
            return blocks, size

        try:
            blocks, size = engine.attempt(read)
        except StorageMissingError:
            return "missing", 0
        if size > SMALL_BYTES:
            found = self._ask_size(engine, oid, target)
            if found[1] < 0:
                return self._receive_unsized(engine, oid, target, path)
            if found[0] == "large" and self.storage.abilities.ranges:
                _keep_first(_partial(target, oid), found[1], b"".join(blocks))
            return found
        engine.spend(size)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OBJECT_MODE)
        try:
            digest = hashlib.md5(usedforsecurity=False)
            for block in blocks:
                digest.update(block)
                atomic.write_all(descriptor, block)
            os.fchmod(descriptor, OBJECT_MODE)  # whatever the umask: a shared cache is for others too
        finally:
            os.close(descriptor)
        if not fits(oid, digest.digest(), path, algorithm):
            os.unlink(path)
            return "corrupt", size
        return "copied", size

    def _receive_unsized(self, engine: Engine, oid: str, target: LooseStore, path: str) -> tuple[str, int]:
        """Reads a large value whose size the service does not tell: at once, and not to be continued."""

        def read() -> tuple[bytes, int]:
            digest = hashlib.md5(usedforsecurity=False)
            size = 0
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OBJECT_MODE)
            try:
                for block in self.storage.read(key_of(oid, target.algorithm)):
                    engine.spend(len(block))
                    digest.update(block)
                    atomic.write_all(descriptor, block)
                    size += len(block)
                os.fchmod(descriptor, OBJECT_MODE)
            finally:
                os.close(descriptor)
            return digest.digest(), size

        digest, size = engine.attempt(read)
        if not fits(oid, digest, path, target.algorithm):
            os.unlink(path)
            return "corrupt", size
        return "copied", size

    def _receive_large(
        self, engine: Engine, oid: str, target: LooseStore, path: str, size: int, shown: Phase
    ) -> str:
        """Reads ranges side by side into a file that an interruption leaves to be continued, then checks the whole."""
        partial = _partial(target, oid)
        key = key_of(oid, target.algorithm)
        for is_fresh in (False, True):
            ranges = _Ranges(partial, size, is_fresh=is_fresh)
            shown.advance(0, ranges.finished_bytes())
            try:
                if self.storage.abilities.ranges:
                    self._receive_ranges(engine, key, ranges, shown)
                else:
                    engine.attempt(lambda fill=ranges: fill.fill(self.storage.read(key)))  # type: ignore[misc]
                    shown.advance(0, size)
            except StorageMissingError:
                return "missing"
            finally:
                ranges.close()
            if ranges.digest() is not None and fits(oid, ranges.digest() or b"", partial, target.algorithm):
                os.chmod(partial, OBJECT_MODE)
                os.replace(partial, path)
                ranges.forget()
                return "copied"
            was_continued = ranges.was_continued
            ranges.discard()
            if not was_continued:
                break  # what was continued may have been damaged here; what came whole is damaged there
        return "corrupt"

    def _receive_ranges(self, engine: Engine, key: str, ranges: _Ranges, shown: Phase) -> None:
        def work(part: tuple[int, int]) -> int:
            first, length = part

            def read() -> int:
                engine.spend(length)
                at = first
                for block in self.storage.read(key, first=first, size=length):
                    ranges.put(at, block)
                    at += len(block)
                if at - first != length:
                    raise StorageFailedError(f"cannot read '{key}': {at - first} bytes came of {length}")
                return length

            return engine.attempt(read)

        def done(part: tuple[int, int], length: int) -> None:
            ranges.finish(part[0])
            shown.advance(0, length)

        self._lanes().run(work, ranges.missing(), done, meanwhile=ranges.hash_on)

    # Clean-up

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> garbage.Listing:
        """Returns what the service holds besides `needed`; the pace is the engine's, whatever `workers` says.

        Raises: StorageRefusedError: it cannot list.
        """
        base = _base(algorithm)
        engine = self.engine()
        found: dict[str, Item] = {}
        if self.storage.abilities.flat:
            items = engine.attempt(lambda: list(self.storage.list(base)))
            found = {oid: item for item in items if (oid := oid_of(item.key, base)) is not None}
        else:

            def note(_: str, items: list[Item]) -> None:
                found.update((oid, item) for item in items if (oid := oid_of(item.key, base)) is not None)

            engine.run(
                lambda prefix: engine.attempt(lambda: list(self.storage.list(f"{base}{prefix}/"))),
                _PREFIXES,
                note,
            )
        leftovers = [
            garbage.Leftover(oid, found[oid].size, int((found[oid].modified_s or 0) * 1e9))
            for oid in sorted(found.keys() - needed)
        ]
        return garbage.Listing(leftovers, [])

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Removes objects: manifests first, and no file while a manifest could not be removed."""
        asked = sorted(oids)
        at_once = self.storage.abilities.deletes
        if asked and not at_once:
            raise StorageRefusedError(f"remote '{self.name}' cannot delete: its kind has no way to")
        with progress.phase(phase, len(asked)) as shown:
            for group in (
                [oid for oid in asked if oid.endswith(".dir")],
                [oid for oid in asked if not oid.endswith(".dir")],
            ):
                engine = self.engine()
                batches = [group[at : at + at_once] for at in range(0, len(group), at_once)]

                def work(batch: list[str], engine: Engine = engine) -> None:
                    keys = [key_of(oid, algorithm) for oid in batch]
                    engine.attempt(lambda: self.storage.delete(keys))

                def done(batch: list[str], _: None) -> None:
                    shown.advance(len(batch))

                engine.run(work, batches, done)

    def address(self, oid: str, algorithm: str) -> str:
        """Returns where an object lies, as a person would look for it."""
        return f"{self.url.rstrip('/')}/{key_of(oid, algorithm)}"

    # Beside the objects

    def keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix that ends in "/"."""
        engine = self.engine()
        for item in engine.attempt(lambda: list(self.storage.list(prefix))):
            yield item.key

    def read_key(self, key: str) -> bytes:
        """Returns a small value."""
        return self.engine().attempt(lambda: b"".join(self.storage.read(key)))

    def write_key(self, key: str, data: bytes) -> None:
        """Writes a small value."""
        body = Body.of(data, md5=hashlib.md5(data, usedforsecurity=False).digest())
        self.engine().attempt(lambda: self.storage.write(key, body))

    def close(self) -> None:
        """Ends connections."""
        self.storage.close()


class _Ranges:
    """A large file that arrives in ranges: what is there is noted beside it, so that the next run goes on."""

    def __init__(self, path: str, size: int, *, is_fresh: bool) -> None:
        self._path = path
        self._notes = path + ".ranges"
        self._size = size
        self._finished: set[int] = set()
        if is_fresh:
            self.discard()
        try:
            with open(self._notes, encoding="ascii") as stream:
                lines = stream.read().split("\n")[:-1]
            if lines and lines[0] == f"{size} {_PART_BYTES}" and os.path.getsize(path) == size:
                self._finished = {int(line) for line in lines[1:] if line.isdigit()}
        except (FileNotFoundError, ValueError):
            pass
        self.was_continued = bool(self._finished)
        if not self.was_continued:
            self.discard()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, size)
        self._log = os.open(self._notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not self.was_continued:
            os.write(self._log, f"{size} {_PART_BYTES}\n".encode())
        self._hash = hashlib.md5(usedforsecurity=False)
        self._hashed = 0

    def missing(self) -> Iterator[tuple[int, int]]:
        """Yields (first byte, length) of what has to be read."""
        for first in range(0, self._size, _PART_BYTES):
            if first not in self._finished:
                yield first, min(_PART_BYTES, self._size - first)

    def finished_bytes(self) -> int:
        """Returns how much an earlier run left."""
        return sum(min(_PART_BYTES, self._size - first) for first in self._finished if first < self._size)

    def put(self, at: int, block: bytes) -> None:
        """Writes bytes at their place."""
        view = memoryview(block)
        while view:
            written = os.pwrite(self._file, view, at)
            view = view[written:]
            at += written

    def finish(self, first: int) -> None:
        """Notes that a range is there."""
        self._finished.add(first)
        os.write(self._log, b"%d\n" % first)

    def fill(self, blocks: Iterable[bytes]) -> None:
        """Writes the whole, from a service that knows no ranges."""
        at = 0
        for block in blocks:
            self.put(at, block)
            at += len(block)
        if at != self._size:
            raise StorageFailedError(f"{at} bytes came of {self._size}")
        self._finished = set(range(0, self._size, _PART_BYTES))

    def hash_on(self) -> None:
        """Hashes what is there from the start on without a gap, at most 64 MiB a call."""
        for _ in range(8):
            if self._hashed >= self._size or self._hashed not in self._finished:
                return
            length = min(_PART_BYTES, self._size - self._hashed)
            self._hash.update(os.pread(self._file, length, self._hashed))
            self._hashed += length

    def digest(self) -> bytes | None:
        """Returns the md5 of the whole, or None where something lacks."""
        return self._hash.digest() if self._hashed >= self._size else None

    def close(self) -> None:
        """Hashes the rest and closes the files."""
        while self._hashed < self._size and self._hashed in self._finished:
            self.hash_on()
        os.close(self._file)
        os.close(self._log)

    def forget(self) -> None:
        """Removes the notes of a file that has its place."""
        atomic.remove_quietly(self._notes)

    def discard(self) -> None:
        """Removes what is there."""
        atomic.remove_quietly(self._notes)
        atomic.remove_quietly(self._path)


def _partial(target: LooseStore, oid: str) -> str:
    return os.path.join(target.base, f"{_PART_NAME}{oid}")


def _begun(target: LooseStore) -> set[str]:
    """Returns the large objects of which an earlier run left something."""
    names = [name for name in os.listdir(target.base) if name.startswith(_PART_NAME)]
    return {name.removeprefix(_PART_NAME) for name in names if not name.endswith(".ranges")}


def _keep_first(path: str, size: int, data: bytes) -> None:
    """Keeps what was read of a value before it was seen to be large."""
    first = min(_PART_BYTES, size)
    if len(data) < first:
        return
    ranges = _Ranges(path, size, is_fresh=False)
    try:
        ranges.put(0, data[:first])
        ranges.finish(0)
    finally:
        ranges.close()


def key_of(oid: str, algorithm: str) -> str:
    """Returns the key of an object in DVC's layout."""
    return f"{_base(algorithm)}{oid[:2]}/{oid[2:]}"


def oid_of(key: str, base: str) -> str | None:
    """Returns the object that a key below `base` names, or None for another thing."""
    prefix, _, name = key[len(base) :].partition("/")
    oid = prefix + name
    plain = oid.removesuffix(".dir")
    return oid if len(prefix) == 2 and len(plain) == 32 and not plain.strip("0123456789abcdef") else None


def _base(algorithm: str) -> str:
    return "files/md5/" if algorithm == MD5 else ""


def _part_step(size: int, storage: Storage) -> int:
    """Returns the size of the parts, but the last, that a large value is written in."""
    able = storage.abilities
    return max(_PART_BYTES, able.part_bytes, -(-size // able.part_limit))


def plain_tag(tag: str | None) -> str:
    """Returns an ETag without its quotes."""
    return (tag or "").strip('"')


def _is_same_part(tag: str, data: bytes, *, is_trusted: bool) -> bool:
    """Says whether a part that is there already, with this tag, has these bytes; without a sum it is trusted or not."""
    if _SUM.fullmatch(tag) is None and is_trusted:
        return True
    return tag == hashlib.md5(data, usedforsecurity=False).hexdigest()


def tag_of_parts(sums: Sequence[bytes]) -> str:
    """Returns the ETag that S3 gives to a value whose parts have these md5 sums."""
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"


def _spread(oid: str) -> str:
    """Returns a sort key by which neighbours lie in different prefix folders: services shard by prefix."""
    return oid[::-1]


def _sizes_of(oids: set[str], source: LooseStore, outcome: CopyOutcome) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for oid in oids:
        record = source.stat(oid)
        if record is None:
            outcome.missing.append(oid)
        else:
            sizes[oid] = int.from_bytes(record[8:16], "little")
    return sizes


def _note(outcome: CopyOutcome, oid: str, state: str) -> None:
    {"copied": outcome.copied, "missing": outcome.missing, "corrupt": outcome.corrupt}[state].append(oid)


def fits(oid: str, digest: bytes, path: str, algorithm: str) -> bool:
    """Says whether the file at `path`, whose md5 is `digest`, is the object."""
    if digest.hex() == oid[:32]:
        return True
    if algorithm == MD5 or oid.endswith(".dir"):
        return False
    return bytes.fromhex(oid[:32]) in digests.read_legacy_md5(path)


def read_whole(path: str) -> bytes:
    """Returns the bytes of a small file; a pipe or a device is refused."""
    with open(digests.open_regular(path), "rb", buffering=0) as stream:
        return stream.readall()


def _read_exactly(descriptor: int, size: int, path: str) -> bytes:
    parts = []
    have = 0
    while have < size and (part := os.read(descriptor, size - have)):
        parts.append(part)
        have += len(part)
    if have != size:
        raise OSError(5, "the file became shorter while it was read", path)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _blocks(path: str, oid: str, algorithm: str, engine: Engine, shown: Phase) -> Iterator[bytes]:
    """Yields a file's blocks, and raises at the end when it is not what its name says."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(digests.open_regular(path), "rb", buffering=0) as stream:
        previous = b""
        while block := digests.read_block(stream.fileno(), path):
            digest.update(block)
            engine.spend(len(block))
            shown.advance(0, len(block))
            if previous:
                yield previous
            previous = block
        # The last block is kept back until the whole is known to be right: a body that ends early is not published.
        if not fits(oid, digest.digest(), path, algorithm):
            raise _Corrupt
        yield previous


def publish(done: dict[str, int], target: LooseStore, staging: str, outcome: CopyOutcome) -> None:
    """Makes what arrived durable and gives it its names."""
    if not done:
        return
    atomic.sync_many([f"{staging}/{oid}" for oid in done], (), root=target.base)
    for oid in done:
        os.replace(f"{staging}/{oid}", target.path(oid))
    settle()
    for oid in done:
        if not oid.endswith(".dir"):
            outcome.records.append(bytes.fromhex(oid) + pack_stat(os.stat(target.path(oid))))
    if len(done) <= atomic.SYNC_EACH_LIMIT or not atomic.sync_file_system(target.base):
        target.sync_folders({oid[:2] for oid in done})
    outcome.copied.extend(done)

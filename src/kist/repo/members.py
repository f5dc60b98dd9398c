"""What directories are made of: manifests read from the cache, or from a remote where the cache lacks them.

Not here: which directories are meant (named), and parsing (formats.manifest). Implements docs/spec/gc.md, section 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kist.base import atomic
from kist.base.progress import SilentProgress
from kist.errors import FormatError, KistError, StorageError
from kist.formats.manifest import compare_manifests, member_oids
from kist.formats.records import Digest
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError, remove_staging

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository

_HELD_BYTES = 64 << 20


class RemoteUnreadError(StorageError):
    """A remote could not be read when something was looked for in it."""

    code = "remote-unread"


def objects_of(repository: Repository, digest: Digest, *, remotes: Sequence[Remote] = ()) -> set[str]:
    """Returns the ids of the objects that a digest needs: itself, and the members of a directory.

    Args: remotes: where a manifest is looked for that the cache lacks or holds damaged.

    Raises:
        ObjectMissingError, ObjectCorruptError, ManifestError: the manifest can be read nowhere.
    """
    if not digest.is_dir:
        return {digest.value}
    failures: list[KistError] = []
    found = read_manifests(
        repository.store_for(digest.algorithm),
        [digest.value],
        remotes=remotes,
        staging=staging_path(repository),
        on_failure=lambda oid, error: failures.append(error),
    )
    for oid, data in found:
        return member_oids(data, name=oid) | {oid}
    raise failures[0]


def staging_path(repository: Repository) -> str:
    """Returns the path of a folder for what is read from remotes and not kept."""
    return os.path.join(repository.dvc_dir, "tmp", "kist", atomic.temp_name())


def read_manifests(
    store: LooseStore,
    manifests: Iterable[str],
    *,
    remotes: Sequence[Remote] = (),
    staging: str,
    on_failure: Callable[[str, KistError], None],
) -> Iterator[tuple[str, bytes]]:
    """Yields (manifest's id, its bytes), one in memory at a time: those of the store in order, then others.

    Args:
        remotes: asked in turn, in one request each, for manifests that the store lacks or holds damaged.
        staging: a folder that may be made for what remotes send; it is gone afterwards.
        on_failure: called for each manifest that can be read nowhere, with why.
    """
    failed: dict[str, KistError] = {}
    for oid in manifests:
        try:
            data = store.read(oid)
        except (ObjectMissingError, ObjectCorruptError) as error:
            failed[oid] = error
            continue
        yield oid, data
    for remote in remotes:
        if not failed:
            break
        copies = LooseStore(staging, store.algorithm)
        try:
            got = remote.receive(set(failed), copies, workers=1, progress=SilentProgress(), phase="Reading")
            for oid in got.copied:
                data = copies.read(oid)
                del failed[oid]
                yield oid, data
        except KistError as error:
            failed = dict.fromkeys(failed, error)
        except OSError as error:
            cause = RemoteUnreadError(f"cannot read remote '{remote.name}': {error.strerror}")
            failed = dict.fromkeys(failed, cause)
        finally:
            remove_staging(staging)
    for oid, failure in failed.items():
        on_failure(oid, failure)


class Versions:
    """Takes apart many versions of directories: of each only what differs from the one before of the same path."""

    def __init__(self) -> None:
        self._last: dict[str, bytes] = {}
        self._held_bytes = 0

    def news(self, path: str, data: bytes, *, name: str) -> set[str]:
        """Returns at least those members of a manifest that no earlier manifest of `path` named.

        Raises: ManifestError.
        """
        previous = self._last.get(path)
        found: set[str] | None = None
        if previous is not None:
            try:
                found = set(compare_manifests(previous, data, name=name)[1].values())
            except FormatError:
                found = None  # of a path that may not be written: here ids alone count
        if found is None:
            found = member_oids(data, name=name)
        self._remember(path, data)
        return found

    def _remember(self, path: str, data: bytes) -> None:
        self._held_bytes += len(data) - len(self._last.get(path, b""))
        self._last[path] = data
        while self._held_bytes > _HELD_BYTES:
            first = next(iter(self._last))
            self._held_bytes -= len(self._last.pop(first))

"""DVC's loose layout: one file an object, `files/md5/ab/cdef...` (3.x) or `ab/cdef...` (2.x and older).

An object under its final name is complete, durable and read-only, or it is not there.
Not here: linking into a workspace (`links`), making objects (`ingest`), moving them (`copying`).
Implements docs/spec/store.md.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from kist.base import atomic, digests
from kist.base.listing import UNTRUSTED, list_directory, pack_stat
from kist.errors import CorruptError, InputError, MissingError
from kist.formats.records import MD5
from kist.store.placements import NO_PLACEMENTS, Placements

OBJECT_MODE = 0o444
_OID = re.compile(r"[0-9a-f]{32}(\.dir)?")
_HEX = frozenset("0123456789abcdef")
# Asking for each object costs a stat, a listing costs a third of that for every object that is there.
_STAT_LIMIT = 1500


def is_oid(text: str) -> bool:
    """Says whether `text` is an object id."""
    return _OID.fullmatch(text) is not None


class BadObjectIdError(InputError):
    """An object id is not 32 hexadecimal digits with an optional `.dir`; it never becomes a path (rule R14)."""

    code = "object-id-invalid"


class ObjectMissingError(MissingError):
    """A store does not hold an object that is needed. Fetching or adding it again helps."""

    code = "object-missing"


class ObjectCorruptError(CorruptError):
    """An object's bytes do not match its name. Another copy, or adding the file again, heals it."""

    code = "object-corrupt"


class LooseStore(NamedTuple):
    """A place with objects in the loose layout. A value: it holds no open file and may cross a fork.

    Attributes:
        base: the cache or remote folder, absolute.
        algorithm: MD5 for `files/md5/` below it, `md5-dos2unix` for the old layout right in it.
        shared_group: new folders are group-writable with the group handed down (`cache.shared = group`).
        placements: manifests that metafiles spell out count as being here, and are read from there.
    """

    base: str
    algorithm: str = MD5
    shared_group: bool = False
    placements: Placements = NO_PLACEMENTS

    @property
    def root(self) -> str:
        """The folder that holds the 256 prefix folders."""
        return f"{self.base}/files/md5" if self.algorithm == MD5 else self.base

    def path(self, oid: str) -> str:
        """Returns where an object is, or would be.

        Raises:
            BadObjectIdError: `oid` is none.
        """
        if not _OID.fullmatch(oid):
            raise BadObjectIdError(f"cannot use '{oid}' as an object id: 32 hexadecimal digits are expected")
        return f"{self.root}/{oid[:2]}/{oid[2:]}"

    def has(self, oid: str) -> bool:
        """Says whether a file stands under the object's name; its content is not looked at."""
        try:
            return os.path.isfile(self.path(oid)) or oid in self.placements.manifests
        except OSError:
            return oid in self.placements.manifests

    def missing(self, oids: Iterable[str]) -> set[str]:
        """Returns those of `oids` that the store lacks: by single questions if few are asked, else by listing."""
        wanted = oids if isinstance(oids, set) else set(oids)
        if len(wanted) <= _STAT_LIMIT:
            return {oid for oid in wanted if not self.has(oid)}
        lacking = set(wanted)
        root = self.root
        for prefix in self.prefixes():
            try:
                lacking.difference_update([prefix + name for name in os.listdir(f"{root}/{prefix}")])
            except (FileNotFoundError, NotADirectoryError):
                pass
        return lacking.difference(self.placements.manifests) if self.placements.manifests else lacking

    def prefixes(self) -> list[str]:
        """Returns the two-digit folders that exist, sorted."""
        try:
            names = os.listdir(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if len(name) == 2 and set(name) <= _HEX)

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Returns oid -> packed stat record for the objects of one prefix; whatever else lies there is left out."""
        try:
            listing = list_directory(f"{self.root}/{prefix}", follow_links=False)
        except FileNotFoundError:
            return {}
        names = listing.names.split("\0") if listing.names else []
        stats = listing.stats
        return {
            prefix + name: stats[at * 32 : at * 32 + 32]
            for at, name in enumerate(names)
            if _OID.fullmatch(prefix + name)
        }

    def oids(self) -> set[str]:
        """Returns the ids of all objects."""
        found: set[str] = set()
        root = self.root
        for prefix in self.prefixes():
            found.update(
                prefix + name for name in os.listdir(f"{root}/{prefix}") if _OID.fullmatch(prefix + name)
            )
        return found

    def stat(self, oid: str) -> bytes | None:
        """Returns the packed stat record of an object, or None where it is missing."""
        try:
            return pack_stat(os.stat(self.path(oid)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def looks(self, oids: set[str]) -> dict[bytes, bytes]:
        """Returns digest -> packed stat record of those file objects that are there: by single questions if few are
        asked, else by listing.
        """
        found: dict[bytes, bytes] = {}
        if len(oids) <= _STAT_LIMIT:
            for oid in oids:
                record = self.stat(oid)
                if record is not None:
                    found[bytes.fromhex(oid)] = record
            return found
        for prefix in self.prefixes():
            here = self.objects(prefix)
            found.update({bytes.fromhex(oid): here[oid] for oid in here.keys() & oids})
        return found

    def look(self, oid: str) -> tuple[bytes, bool]:
        """Returns an object's packed stat record, and whether it is read-only; UNTRUSTED where it is missing."""
        try:
            found = os.stat(self.path(oid))
        except (FileNotFoundError, NotADirectoryError):
            return UNTRUSTED, False
        return pack_stat(found), not found.st_mode & 0o222

    def protect(self, oid: str) -> bytes | None:
        """Makes an object read-only that a kill, or somebody, left writable; returns its stat record as it is then."""
        path = self.path(oid)
        try:
            if os.stat(path).st_mode & 0o222:
                os.chmod(path, OBJECT_MODE)
        except FileNotFoundError:
            return None
        except PermissionError:
            pass  # somebody else's, in a shared cache
        return self.stat(oid)

    def read(self, oid: str, *, limit: int = 1 << 30) -> bytes:
        """Returns a small object's bytes, checked against its name.

        Raises:
            ObjectMissingError, ObjectCorruptError.
        """
        import hashlib  # a status of unchanged data reads no object

        path = self.path(oid)
        try:
            with open(path, "rb") as stream:
                data = stream.read(limit)
        except (FileNotFoundError, NotADirectoryError) as error:
            spelled = self.placements.manifests.get(oid)
            if spelled is not None:
                return spelled
            raise ObjectMissingError(
                f"cannot read object '{oid}': it is missing from '{self.base}'"
            ) from error
        if self.algorithm == MD5 or oid.endswith(".dir"):
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if found != oid[:32]:
                raise ObjectCorruptError(
                    f"cannot use object '{oid}': its bytes have md5 {found}",
                    hint="fetch it, or add the file, again",
                )
        return data

    def make_prefixes(self, prefixes: Iterable[str]) -> None:
        """Makes prefix folders that are not there yet, with the permissions that the store wants."""
        root = self.root
        self.make_folder(root)
        try:
            present = set(os.listdir(root))
        except FileNotFoundError:
            present = set()
        for prefix in sorted(set(prefixes) - present):
            self.make_folder(f"{root}/{prefix}")

    def make_folder(self, path: str) -> None:
        """Makes one folder and its parents; in a group's store they are 2775 whatever the umask says."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        if parent and parent != path and not os.path.isdir(parent):
            self.make_folder(parent)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return
        if self.shared_group:
            os.chmod(path, 0o2775)

    def new_staging(self) -> str:
        """Makes and returns a folder for unfinished objects, on the same file system as the store."""
        self.make_folder(self.base)
        path = os.path.join(self.base, atomic.temp_name())
        os.mkdir(path)
        return path

    def write_small(self, oid: str, data: bytes) -> None:
        """Stores one object that is in memory (a manifest), durable when the call returns.

        Holds: the caller has made sure that `data` has the id `oid`, and that all members are durable.
        """
        self.make_prefixes([oid[:2]])
        path = self.path(oid)
        if self._is_intact(path, data):
            return
        atomic.write_file(path, data, mode=OBJECT_MODE)

    def is_intact(self, oid: str) -> bool:
        """Says whether an object is there and its bytes match its name; reads all of it."""
        path = self.path(oid)
        try:
            if self.algorithm == MD5 or oid.endswith(".dir"):
                return digests.read_md5(path)[0].hex() == oid[:32]
            return bytes.fromhex(oid) in digests.read_legacy_md5(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EISDIR, errno.ELOOP):
                return False  # nothing there, or no file
            raise

    def sync_folders(self, prefixes: Iterable[str]) -> None:
        """Makes the names in prefix folders durable, and those of the folders themselves, which may be new."""
        root = self.root
        for prefix in sorted(prefixes):
            atomic.sync_directory(f"{root}/{prefix}")
        for folder in dict.fromkeys([root, os.path.dirname(root), self.base, os.path.dirname(self.base)]):
            atomic.sync_directory(folder)

    def quarantine(self, oid: str) -> None:
        """Moves a damaged object aside, to `kist-bad/` in the base, so that an intact copy can take its place.

        Nothing is deleted: in a hard-linked workspace the bytes may be somebody's edit. A store that cannot be
        written stays as it is.
        """
        aside = os.path.join(self.base, "kist-bad")
        try:
            self.make_folder(aside)
            name = oid
            while os.path.lexists(os.path.join(aside, name)):
                name = f"{oid}-{os.urandom(4).hex()}"
            os.rename(self.path(oid), os.path.join(aside, name))
        except OSError:
            pass

    def _is_intact(self, path: str, data: bytes) -> bool:
        try:
            with open(path, "rb") as stream:
                return stream.read(len(data) + 1) == data
        except OSError:
            return False


def remove_staging(path: str) -> None:
    """Removes a staging folder and what is left in it; never fails, for a later sweep can finish the work."""
    try:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                remove_staging(entry.path)
            else:
                atomic.remove_quietly(entry.path)
        os.rmdir(path)
    except OSError:
        pass


def sweep_staging(base: str, now_s: float) -> None:
    """Removes staging folders and temporary files right in `base` that killed processes left behind."""
    try:
        entries = [entry for entry in os.scandir(base) if atomic.is_temp_name(entry.name)]
    except OSError:
        return
    for entry in entries:
        try:
            mtime_s = entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            continue
        if atomic.is_stale_temp(entry.name, mtime_s, now_s):
            if entry.is_dir(follow_symlinks=False):
                remove_staging(entry.path)
            else:
                atomic.remove_quietly(entry.path)

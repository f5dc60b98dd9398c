"""Makes a folder hold what a tree says: removes, links or copies only the files that differ, and checks each object.

Files whose content is stored nowhere are not touched without `force`; a kill leaves every file old or new.
Not here: which tree is wanted (repo) and whether its objects were fetched. Implements docs/spec/checkout.md.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kist.base import atomic, digests, parallel
from kist.base.listing import STAT_SIZE, UNTRUSTED, pack_stat, settle
from kist.base.parallel import Emit
from kist.base.progress import Progress
from kist.errors import InputError
from kist.formats.manifest import Tree
from kist.formats.records import MD5
from kist.store import links
from kist.store.ingest import EMPTY_DIGEST
from kist.store.loose import OBJECT_MODE, LooseStore
from kist.store.statindex import DIGEST_SIZE
from kist.workspace.scan import Folder, Snapshot

_REQUEST_FILES = 512
_FORK_FILES = 600
_OK, _MISSING, _CORRUPT = 0, 1, 2


class UnsafePathError(InputError):
    """A folder on the way to a file is a symbolic link or a file, so that the write would land elsewhere (R14)."""

    code = "unsafe-path"


class FolderPlan(NamedTuple):
    """What is to happen in one folder (path relative to the root of the plan). Nothing at all: it is empty, and goes.

    Attributes:
        names, digests: files to make.
        replaces: those of `names` that exist.
        removes: names to remove.
        relinks: those of `replaces` whose content stays.
    """

    path: str
    names: tuple[str, ...]
    digests: bytes
    replaces: frozenset[str]
    removes: tuple[str, ...]
    relinks: frozenset[str] = frozenset()


class Plan(NamedTuple):
    """All that is to happen below `root`.

    Attributes:
        base: absolute path of the repository; no folder between it and a file may be a symbolic link.
        root: where the tree goes, relative to `base`.
        at_risk: paths relative to the root whose content would go, with the digest that must be stored ("" if none).
    """

    base: str
    root: str
    folders: list[FolderPlan]
    at_risk: list[tuple[str, str]]

    @property
    def is_empty(self) -> bool:
        """Says whether nothing is to be done."""
        return not self.folders

    def digests(self) -> set[bytes]:
        """Returns the digests of the files to make."""
        return {
            folder.digests[at : at + DIGEST_SIZE]
            for folder in self.folders
            for at in range(0, len(folder.digests), DIGEST_SIZE)
        }

    def file_count(self) -> int:
        """Returns the number of files to make."""
        return sum(len(folder.names) for folder in self.folders)


class Done(NamedTuple):
    """What was done.

    Attributes:
        snapshot: how the place looks now; None when it is gone.
        missing, corrupt: (path relative to the root, object id) of files that could not be made.
        records: digest and stat record (48 bytes) of each linked object, for the cache's trust.
        added, modified: numbers of files that are new, and that have other content now.
        relinked: number of files that were made anew with the content they had.
        removed: number of files, and of folders that became empty.
    """

    snapshot: Snapshot | None
    missing: list[tuple[str, str]]
    corrupt: list[tuple[str, str]]
    records: list[bytes]
    added: int
    modified: int
    relinked: int
    removed: int


def plan_checkout(
    base: str, root: str, current: Snapshot | None, wanted: Tree, *, relink: bool = False
) -> Plan:
    """Returns what must happen so that the place looks as wanted.

    Args:
        current: what is there, every file read; None when nothing is.
        relink: make every file anew.
    """
    folders: list[FolderPlan] = []
    at_risk: list[tuple[str, str]] = []
    now = current.folders if current is not None else {}
    in_the_way = {relpath for relpath, _ in current.specials} if current is not None else set()
    for path in sorted(now.keys() | wanted.folders.keys()):
        have, want = now.get(path), wanted.folders.get(path)
        is_same = (
            have is not None
            and want is not None
            and have.names == want.names
            and have.digests == want.digests
        )
        if is_same and not relink and not in_the_way:
            continue
        plan = _plan_folder(
            path, have, want.names if want else "", want.digests if want else b"", in_the_way, relink
        )
        if not (plan.names or plan.removes):
            continue
        folders.append(plan)
        lost = {*plan.removes, *plan.replaces}
        prefix = path + "/" if path else ""
        known = _digests_by_name(have)
        for name in sorted(lost - plan.relinks):
            digest = known.get(name)
            if digest is not None:
                at_risk.append((prefix + name, digest.hex()))
            elif not _is_dead_link(os.path.join(base, root, prefix + name)):
                at_risk.append((prefix + name, ""))
    return Plan(base, root, folders, at_risk)


def _is_dead_link(path: str) -> bool:
    """Says whether a symbolic link leads nowhere: it holds no content, and with a lost cache every file is one."""
    return os.path.islink(path) and not os.path.exists(path)


def with_empty_folders(plan: Plan, current: Snapshot, inner: str = "") -> Plan:
    """Returns the plan with the removal of the empty folders at or below `inner`: no tree has any."""
    planned = {folder.path for folder in plan.folders}
    empty = [
        FolderPlan(path, (), b"", frozenset(), ())
        for path, row in current.folders.items()
        if not row.names
        and path
        and path not in planned
        and (not inner or path == inner or path.startswith(inner + "/"))
    ]
    return plan._replace(folders=plan.folders + empty) if empty else plan


def plan_differences(base: str, root: str, only_now: dict[str, str], only_wanted: dict[str, str]) -> Plan:
    """Returns the plan that turns one known tree into another of which only the differences are known.

    Args: only_now, only_wanted: relative path -> md5 of what only the present, or only the wanted tree names.
    """
    touched: dict[str, tuple[dict[str, str], list[str]]] = {}
    for relpath, oid in only_wanted.items():
        path, _, name = relpath.rpartition("/")
        touched.setdefault(path, ({}, []))[0][name] = oid
    for relpath in only_now:
        if relpath not in only_wanted:
            path, _, name = relpath.rpartition("/")
            touched.setdefault(path, ({}, []))[1].append(name)
    folders = []
    for path in sorted(touched):
        make, removes = touched[path]
        prefix = path + "/" if path else ""
        names = tuple(sorted(make))
        replaces = frozenset(name for name in names if prefix + name in only_now)
        digests = bytes.fromhex("".join([make[name] for name in names]))
        folders.append(FolderPlan(path, names, digests, replaces, tuple(sorted(removes))))
    return Plan(base, root, folders, sorted(only_now.items()))


def _plan_folder(
    path: str, have: Folder | None, names: str, column: bytes, in_the_way: set[str], relink: bool
) -> FolderPlan:
    known = _digests_by_name(have)
    prefix = path + "/" if path else ""
    make: list[str] = []
    parts: list[bytes] = []
    replaces: set[str] = set()
    relinks: set[str] = set()
    split = names.split("\0") if names else []
    for at, name in enumerate(split):
        digest = column[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
        before = known.get(name)
        if before is None and prefix + name not in in_the_way:
            make.append(name)
            parts.append(digest)
        elif before != digest or relink:
            make.append(name)
            parts.append(digest)
            replaces.add(name)
            if before == digest:
                relinks.add(name)
    removes = tuple(sorted(known.keys() - set(split)))
    return FolderPlan(path, tuple(make), b"".join(parts), frozenset(replaces), removes, frozenset(relinks))


def _digests_by_name(row: Folder | None) -> dict[str, bytes]:
    return _pairs(row.names.split("\0"), row.digests) if row is not None and row.names else {}


def _pairs(names: Iterable[str], column: bytes) -> dict[str, bytes]:
    return {name: column[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] for at, name in enumerate(names)}


def unsaved_paths(
    plan: Plan, store: LooseStore, current: Snapshot | None, trusted: dict[bytes, bytes]
) -> list[str]:
    """Returns the paths, relative to the plan's root, whose content would go and is not stored intact (rule R5).

    Args:
        current: what is there; a file that is its object itself need not be read.
        trusted: stat records of objects that were found right; others are read.
    """
    own = _records_by_path(current, {relpath for relpath, _ in plan.at_risk})
    lacking = set()
    for relpath, oid in plan.at_risk:
        found = store.stat(oid) if oid else None
        if found is None or not (
            found in (own.get(relpath), trusted.get(bytes.fromhex(oid))) or store.is_intact(oid)
        ):
            lacking.add(oid)
    return [relpath for relpath, oid in plan.at_risk if not oid or oid in lacking]


def _records_by_path(current: Snapshot | None, relpaths: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path, row in current.folders.items() if current is not None and relpaths else ():
        prefix = path + "/" if path else ""
        for at, name in enumerate(row.split()):
            if prefix + name in relpaths:
                found[prefix + name] = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
    return found


def apply_plan(
    plan: Plan,
    current: Snapshot | None,
    store: LooseStore,
    *,
    link: str,
    trusted: dict[bytes, bytes],
    workers: int,
    progress: Progress,
    make_executable: bool = False,
    after_hardlink: str = links.COPY,
) -> Done:
    """Carries out a plan.

    Args:
        link: HARDLINK, SYMLINK, REFLINK or COPY, known to work here.
        after_hardlink: SYMLINK or COPY, for single objects that may not be linked to.
        trusted: stat records of objects that were found right; others are read before they are linked.
        make_executable: give the files, of which there is one, the owner's x bit.

    Raises:
        UnsafePathError, OSError.

    Holds: a kill leaves each file as it was or as wanted, and at most temporary files that the next run removes.
    """
    job = _Job(plan, store, link, trusted, make_executable, after_hardlink)
    removed = job.remove_all()
    total = plan.file_count()
    units = _units(plan)
    count = workers if total >= _FORK_FILES else 1
    states: list[bytes] = []
    looks: list[bytes] = []
    if total:
        with progress.phase("Checking out", total) as shown:
            try:
                if count > 1 and parallel.can_fork():
                    with parallel.Workers(job.handle, count) as pool:
                        states, looks = _make(
                            job, units, lambda asked: pool.map(asked, on_progress=shown.advance)
                        )
                else:
                    states, looks = _make(
                        job, units, lambda asked: [job.handle(request, shown.advance) for request in asked]
                    )
            except BaseException:
                job.clean()
                raise
    return _finish(job, current, states, looks, removed)


def _is_file(wanted: os.stat_result, folder: int, name: str) -> bool:
    """Says whether a name in an open folder is a certain file itself."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def _units(plan: Plan) -> list[tuple[int, int]]:
    units: list[tuple[int, int]] = []
    first = files = 0
    for at, folder in enumerate(plan.folders):
        files += len(folder.names)
        if files >= _REQUEST_FILES or at == len(plan.folders) - 1:
            units.append((first, at + 1))
            first, files = at + 1, 0
    return units


def _make(job: _Job, units: Sequence[tuple[int, int]], work: Any) -> tuple[list[bytes], list[bytes]]:
    states = [column for answer in work([("make", *unit) for unit in units]) for column in answer]
    if job.copies:
        synced = atomic.sync_file_system(job.plan.base)
        work([("publish", *unit, states[unit[0] : unit[1]], synced) for unit in units])
    settle()
    looks = [
        column
        for answer in work([("check", *unit, states[unit[0] : unit[1]]) for unit in units])
        for column in answer
    ]
    return states, looks


def _finish(
    job: _Job, current: Snapshot | None, states: Sequence[bytes], looks: Sequence[bytes], removed: int
) -> Done:
    plan = job.plan
    missing: list[tuple[str, str]] = []
    corrupt: list[tuple[str, str]] = []
    records: list[bytes] = []
    folders = dict(current.folders) if current is not None else {}
    added = modified = relinked = 0
    for at, folder in enumerate(plan.folders):
        prefix = folder.path + "/" if folder.path else ""
        new: dict[str, tuple[bytes, bytes]] = {}
        failed: list[str] = []
        for k, name in enumerate(folder.names):
            digest = folder.digests[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE]
            state = states[at][k]
            if state == _OK:
                record = looks[at][k * STAT_SIZE : (k + 1) * STAT_SIZE]
                new[name] = (record, digest)
                if job.links_objects and digest != EMPTY_DIGEST:
                    records.append(digest + record)
            else:
                failed.append(name)
                (missing if state == _MISSING else corrupt).append((prefix + name, digest.hex()))
        again = len(folder.relinks & new.keys()) if folder.relinks else 0
        replaced = len(folder.replaces & new.keys()) if folder.replaces else 0
        added += len(new) - replaced
        modified += replaced - again
        relinked += again
        row = _with_changes(folders.get(folder.path), new, [*folder.removes, *failed])
        if row.names:
            folders[folder.path] = row
        else:
            folders.pop(folder.path, None)
    records += job.looked_again(current)
    changed = {folder.path for folder in plan.folders}
    snapshot = None
    if current is not None or folders:
        now = time.time_ns()
        root = os.path.join(plan.base, plan.root) if plan.root else plan.base
        template = current or Snapshot(root, plan.root, MD5, {}, [], [], [], [], set(), (now, now), 0)
        gone = [template.index_path(path) for path in changed if path not in folders]
        snapshot = template._replace(
            folders=folders, changed=changed, times=(now, now), stale=[*template.stale, *gone], unread=0
        )
    return Done(snapshot, missing, corrupt, records, added, modified, relinked, removed)


def _with_changes(row: Folder | None, new: dict[str, tuple[bytes, bytes]], gone: Sequence[str]) -> Folder:
    """Returns a folder's row with new or changed files put in and others taken out."""
    names = row.split() if row is not None else []
    if row is not None and not gone and new.keys() <= set(names):
        stats, digests = bytearray(row.stats), bytearray(row.digests)
        for name, (record, digest) in new.items():
            at = names.index(name)
            stats[at * STAT_SIZE : (at + 1) * STAT_SIZE] = record
            digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] = digest
        return Folder(row.names, bytes(stats), bytes(digests))
    rows = {
        name: (
            row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE],
            row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE],
        )
        for at, name in enumerate(names)
        if row is not None
    }
    for name in gone:
        rows.pop(name, None)
    rows.update(new)
    ordered = sorted(rows)
    return Folder(
        "\0".join(ordered),
        b"".join([rows[name][0] for name in ordered]),
        b"".join([rows[name][1] for name in ordered]),
    )


class _Job:
    """The work of one process; made before the fork."""

    def __init__(
        self,
        plan: Plan,
        store: LooseStore,
        link: str,
        trusted: dict[bytes, bytes],
        make_executable: bool,
        after_hardlink: str,
    ) -> None:
        self.plan = plan
        self.store = store
        self.link = link
        self._after_hardlink = after_hardlink
        self.trusted = trusted
        self.executable = make_executable
        # A hard link or symbolic link cannot have an x bit of its own: such a file is a copy.
        self.copies = link in (links.COPY, links.REFLINK) or make_executable
        self.links_objects = not self.copies
        self._token = atomic.temp_name()[: -len(atomic.TEMP_SUFFIX)]
        self._verified: set[bytes] = set()
        self._emit: Emit = lambda files, size_bytes: None
        self._untold = 0
        """Bytes that were copied and not reported yet."""

    def handle(self, request: Any, emit: Emit) -> Any:
        """Does ("make" | "publish" | "check", first, last, ...) for the folders [first, last) of the plan."""
        kind, first, last = request[:3]
        self._emit = emit
        if kind == "make":
            return [self._make_folder(at, emit) for at in range(first, last)]
        if kind == "publish":
            for at in range(first, last):
                self._publish_folder(at, request[3][at - first], is_synced=request[4])
            return None
        return [self._check_folder(at, request[3][at - first]) for at in range(first, last)]

    def remove_all(self) -> int:
        """Removes what the plan says, then folders that became empty; returns the number of both."""
        removed = 0
        emptied: set[str] = set()
        for folder in self.plan.folders:
            if folder.names and not folder.removes:
                continue
            descriptor = self._open(folder.path, create=False)
            try:
                for name in folder.removes:
                    os.unlink(name, dir_fd=descriptor)
                    removed += 1
            finally:
                os.close(descriptor)
            if not folder.names:
                emptied.add(folder.path)
        return removed + self._remove_empty(emptied)

    def _remove_empty(self, emptied: set[str]) -> int:
        removed = 0
        root = os.path.join(self.plan.base, self.plan.root)
        for path in sorted(emptied, key=len, reverse=True):
            while path:
                try:
                    os.rmdir(os.path.join(root, path))
                except OSError:
                    break  # not empty: somebody's ignored or untracked files stay
                removed += 1
                path = os.path.dirname(path)
        return removed

    def looked_again(self, current: Snapshot | None) -> list[bytes]:
        """Returns fresh trust records for objects that lost a link to a file of the plan: that changes their ctime."""
        if current is None or not self.links_objects:
            return []
        records = []
        for folder in self.plan.folders:
            row = current.folders.get(folder.path)
            names = row.split() if row is not None else []
            for name in [*folder.removes, *folder.replaces]:
                if row is None or name not in names:
                    continue
                at = names.index(name)
                before = row.stats[at * STAT_SIZE : (at + 1) * STAT_SIZE]
                digest = row.digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE]
                now = self.store.stat(digest.hex()) if digest != EMPTY_DIGEST else None
                # The same file, unwritten since it was read: inode, size and mtime are what they were.
                if now is not None and now[:24] == before[:24]:
                    records.append(digest + now)
        return records

    def _open(self, path: str, *, create: bool) -> int:
        """Returns a descriptor of a folder of the plan, reached without following any symbolic link."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.plan.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        walked = self.plan.base
        for part in [*self.plan.root.split("/"), *path.split("/")]:
            if not part:
                continue
            walked = f"{walked}/{part}"
            try:
                try:
                    below = os.open(part, flags, dir_fd=descriptor)
                except FileNotFoundError:
                    if not create:
                        raise
                    try:
                        os.mkdir(part, dir_fd=descriptor)
                    except FileExistsError:
                        pass  # another worker made it
                    below = os.open(part, flags, dir_fd=descriptor)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    what = "a symbolic link" if os.path.islink(walked) else "a file"
                    raise UnsafePathError(
                        f"cannot write below '{walked}': it is {what}, not a folder",
                        hint=f"move '{walked}' away, then run the command again",
                    ) from error
                raise OSError(error.errno, error.strerror, walked) from error
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _temp(self, at: int, k: int) -> str:
        return f"{self._token}-{at}-{k}{atomic.TEMP_SUFFIX}"

    def _make_folder(self, at: int, emit: Emit) -> bytes:
        folder = self.plan.folders[at]
        states = bytearray()
        if not folder.names:
            return b""
        descriptor = self._open(folder.path, create=True)
        try:
            for k, name in enumerate(folder.names):
                digest = folder.digests[k * DIGEST_SIZE : (k + 1) * DIGEST_SIZE]
                states.append(
                    self._make_one(descriptor, name, digest, name in folder.replaces, self._temp(at, k))
                )
        except OSError as error:
            if error.filename is not None and not os.path.isabs(str(error.filename)):
                where = os.path.join(self.plan.base, self.plan.root, folder.path, name)
                raise OSError(error.errno, error.strerror, where) from error
            raise
        finally:
            os.close(descriptor)
        emit(len(states), self._untold)
        self._untold = 0
        return bytes(states)

    def _make_one(self, descriptor: int, name: str, digest: bytes, is_there: bool, temp: str) -> int:
        if self.copies or digest == EMPTY_DIGEST:  # shared, a write into one would be a write into all
            return self._copy(descriptor, digest, temp if self.copies or is_there else name, name, is_there)
        path = self.store.path(digest.hex())
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING
        is_known = self.trusted.get(digest) == pack_stat(found) or digest in self._verified
        if not is_known and not self._is_right(path, digest):
            return _CORRUPT
        self._verified.add(digest)  # its next link changes the ctime, which is no reason to read it again
        if stat.S_IMODE(found.st_mode) != OBJECT_MODE:
            self._protect(path)
        if is_there and self.link == links.HARDLINK and _is_file(found, descriptor, name):
            return _OK  # a rename over it would do nothing, and leave the temporary name
        try:
            self._link(descriptor, self.link, path, name, temp if is_there else name)
        except OSError as error:
            if self.link != links.HARDLINK or not links.is_refused(error):
                raise
            # Somebody else's object, which only its owner may link to, or one with as many links as can be.
            return self._instead(descriptor, path, name, digest, temp)
        return _OK

    def _link(self, descriptor: int, kind: str, path: str, name: str, temp: str) -> None:
        links.make_link(kind, path, temp, folder=descriptor)
        if temp != name:
            os.rename(temp, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def _instead(self, descriptor: int, path: str, name: str, digest: bytes, temp: str) -> int:
        """Makes one file by the type that comes after hard links."""
        if self._after_hardlink == links.SYMLINK:
            self._link(descriptor, links.SYMLINK, path, name, temp)
            return _OK
        state = self._copy(descriptor, digest, temp, name, True)
        if state == _OK:
            self._sync(descriptor, temp)
            os.rename(temp, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        return state

    def _protect(self, path: str) -> None:
        try:
            os.chmod(path, OBJECT_MODE)
        except OSError:
            pass  # somebody else's object, or a cache that cannot be written

    def _is_right(self, path: str, digest: bytes) -> bool:
        if self.store.algorithm == MD5:
            return digests.read_md5(path, report=functools.partial(self._emit, 0))[0] == digest
        return digest in digests.read_legacy_md5(path)

    def _copy(self, descriptor: int, digest: bytes, target: str, name: str, is_there: bool) -> int:
        """Copies an object to `target` in the open folder, hashing it on the way."""
        if digest == EMPTY_DIGEST:
            os.close(
                os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=descriptor)
            )
            if not self.copies and is_there:
                os.rename(target, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            return _OK
        path = self.store.path(digest.hex())
        try:
            reader = digests.open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            writer = os.open(target, flags, 0o666, dir_fd=descriptor)
            try:
                is_clone = self.link == links.REFLINK and links.clone(reader, writer)
                found = hashlib.md5(usedforsecurity=False)
                while block := os.read(reader, digests.BLOCK_SIZE):
                    found.update(block)
                    if not is_clone:
                        atomic.write_all(writer, block)
                    self._untold += len(block)
                    if self._untold >= digests.REPORT_SIZE:
                        self._emit(0, self._untold)
                        self._untold = 0
                if self.executable:
                    os.fchmod(writer, stat.S_IMODE(os.fstat(writer).st_mode) | stat.S_IXUSR)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        is_right = found.digest() == digest if self.store.algorithm == MD5 else self._is_right(path, digest)
        if not is_right:
            os.unlink(target, dir_fd=descriptor)
            return _CORRUPT
        return _OK

    def _publish_folder(self, at: int, states: bytes, *, is_synced: bool) -> None:
        folder = self.plan.folders[at]
        if not folder.names:
            return
        descriptor = self._open(folder.path, create=False)
        try:
            for k, name in enumerate(folder.names):
                if states[k] == _OK:
                    if not is_synced:
                        self._sync(descriptor, self._temp(at, k))
                    os.rename(self._temp(at, k), name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, folder: int, name: str) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _check_folder(self, at: int, states: bytes) -> bytes:
        folder = self.plan.folders[at]
        if not folder.names:
            return b""
        parts = []
        descriptor = self._open(folder.path, create=False)
        try:
            for k, name in enumerate(folder.names):
                parts.append(pack_stat(os.stat(name, dir_fd=descriptor)) if states[k] == _OK else UNTRUSTED)
        finally:
            os.close(descriptor)
        return b"".join(parts)

    def clean(self) -> None:
        """Removes temporary files of a checkout that failed."""
        for at, folder in enumerate(self.plan.folders):
            here = os.path.join(self.plan.base, self.plan.root, folder.path)
            for k in range(len(folder.names)):
                atomic.remove_quietly(os.path.join(here, self._temp(at, k)))

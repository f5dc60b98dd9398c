"""What a cache and a remote hold that nothing in a scope names, why each object may go, and what stays for now.

Not here: the scope's meaning (named), locks and removing (gc). Implements docs/spec/gc.md, sections 3 and 4.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

from kist.base.listing import unpack_stat
from kist.base.progress import Progress
from kist.errors import FormatError, KistError
from kist.formats.manifest import member_oids
from kist.formats.records import LEGACY_MD5, MD5
from kist.repo import projects
from kist.repo.collect import WorkspaceSource
from kist.repo.members import Versions, read_manifests, staging_path
from kist.repo.named import (
    Named,
    Scope,
    UnreadableFolderError,
    named,
)
from kist.store import garbage, gone
from kist.store.garbage import Leftover
from kist.store.links import SYMLINK
from kist.store.loose import LooseStore

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository

GRACE_S = 3600.0
EVERYTHING = Scope(commits=True, experiments=True, stash=True)
_ALGORITHMS = (MD5, LEGACY_MD5)
_VERSIONS_AT_ONCE = 16
"""Versions of tracked paths whose manifests are read together, when what goes is explained."""

Id = tuple[str, str]
"""Algorithm and object id."""


class GarbageRefusedError(KistError):
    """What must be kept cannot be told for certain, so nothing was removed (rule R13)."""

    code = "gc-refused"
    http_status = 409


class Rules(NamedTuple):
    """What stays though nothing names it, and what goes though something does.

    Attributes:
        skip_failed: what cannot be read names nothing.
        not_in_remote: of the cache keep only what the remote lacks.
        grace_s: how old what nothing ever named must be, where other commands may be at work.
        is_complete: the person has named all projects that use the cache.
    """

    skip_failed: bool = False
    not_in_remote: bool = False
    grace_s: float = GRACE_S
    is_complete: bool = False


class Source(NamedTuple):
    """A project whose references count; `label` is its root, "" for the one that the command runs in."""

    repository: Repository
    scope: Scope
    label: str


class Reason(NamedTuple):
    """Why some objects may go.

    Attributes:
        project: root of another project that named them; "" for this one.
        path: the tracked path whose versions they belonged to; None when nothing ever named them.
        commit: the newest commit that names them; None when only the workspace does, or nothing.
    """

    project: str
    path: str | None
    commit: str | None
    objects: int
    size_bytes: int


class Kept(NamedTuple):
    """How many unneeded objects stay for now: young; perhaps another project's; linked to by a workspace."""

    recent: int = 0
    unknown: int = 0
    linked: int = 0


class Place(NamedTuple):
    """The cache, or a remote.

    Attributes:
        name: "cache", or the remote's name.
        remote: None for the cache.
    """

    name: str
    cache_dir: str
    remote: Remote | None

    def beyond(self, needed: Set[str], algorithm: str, *, workers: int) -> garbage.Listing:
        """Returns what is there besides `needed`."""
        if self.remote is not None:
            return self.remote.beyond(needed, algorithm, workers=workers)
        return garbage.beyond(LooseStore(self.cache_dir, algorithm), needed, workers=workers)

    def remove(self, oids: Iterable[str], algorithm: str, *, progress: Progress, phase: str) -> None:
        """Removes objects, manifests first."""
        if self.remote is not None:
            self.remote.remove(oids, algorithm, progress=progress, phase=phase)
        else:
            garbage.remove(LooseStore(self.cache_dir, algorithm), oids, progress=progress, phase=phase)

    def address(self, oid: str, algorithm: str) -> str:
        """Returns where an object lies, for the person."""
        if self.remote is not None:
            return self.remote.address(oid, algorithm)
        return LooseStore(self.cache_dir, algorithm).path(oid)


class PlacePlan(NamedTuple):
    """What goes from one place.

    Attributes:
        objects: algorithm -> what goes.
        why: the largest first.
    """

    place: Place
    objects: dict[str, list[Leftover]]
    why: list[Reason]
    kept: Kept

    @property
    def object_count(self) -> int:
        """Number of objects that go."""
        return sum(len(items) for items in self.objects.values())

    @property
    def size_bytes(self) -> int:
        """Their size."""
        return sum(item.size_bytes for items in self.objects.values() for item in items)


class Plan(NamedTuple):
    """All that goes.

    Attributes:
        temps: stale temporary files and folders, absolute.
        skipped: what could not be read and was left out, a line each.
        missed: manifests that are gone, or go now, though some commit names them.
        is_delicate: after an interruption it could not be told any more that what goes was named once.
    """

    places: list[PlacePlan]
    temps: list[str]
    skipped: list[str]
    missed: frozenset[str]
    is_delicate: bool

    @property
    def object_count(self) -> int:
        """Number of objects that go."""
        return sum(place.object_count for place in self.places)


def plan_removal(sources: Sequence[Source], remote: Remote | None, *, cloud: bool, rules: Rules) -> Plan:
    """Returns what may be removed; the first source is the project of the cache. All its locks are held.

    Args:
        remote: the one to collect in (`cloud`), or to compare with (`rules.not_in_remote`).

    Raises:
        GarbageRefusedError, OSError.
    """
    return _Planner(sources, remote, cloud, rules).plan()


class _Planner:
    def __init__(self, sources: Sequence[Source], remote: Remote | None, cloud: bool, rules: Rules) -> None:
        self._sources = sources
        self._own = sources[0].repository
        self._remote = remote
        self._rules = rules
        self._cache = Place("cache", self._own.cache_dir, None)
        self._places = [self._cache]
        if cloud and remote is not None:
            self._places.append(Place(remote.name, "", remote))
        self._needed: dict[str, set[str]] = {algorithm: set() for algorithm in _ALGORITHMS}
        self._unread: dict[Id, tuple[Source, Named]] = {}
        self._why: dict[Id, tuple[str, str, str]] = {}
        self._versions = Versions()
        self._read: set[str] = set()
        self._decided = gone.decided(list_of_gone(self._own))
        self._temps: list[str] = []
        self._skipped: list[str] = []

    def plan(self) -> Plan:
        self._read_references()
        found = {place.name: self._beyond(place) for place in self._places}
        if self._unread and any(found.values()):
            self._read_manifests_elsewhere()
            found = {name: self._still_unneeded(items) for name, items in found.items()}
        if self._rules.not_in_remote and self._remote is not None:
            found["cache"].update(self._stored_elsewhere(self._remote))
        pending = {oid for items in found.values() for oid in items}
        if pending:
            self._explain(pending)
        linked = self._linked() if found["cache"] else set()
        plans = [self._place_plan(place, found[place.name], linked) for place in self._places]
        if any(plan.object_count for plan in plans):
            self._refuse_unread()
        going = {item.oid for plan in plans for items in plan.objects.values() for item in items}
        before = self._decided - self._read
        missed = before | {oid for _, oid in self._why if oid.endswith(".dir") and oid in going}
        is_delicate = len(self._places) > 1 or self._is_shared()
        return Plan(plans, self._stale_temps(), self._skipped, frozenset(missed), is_delicate)

    # What is needed

    def _read_references(self) -> None:
        damaged: list[tuple[str, FormatError]] = []
        for source in self._sources:
            workspace = WorkspaceSource(source.repository)

            def note(path: str, error: FormatError, label: str = source.label) -> None:
                damaged.append((f"{label}/{path}" if label else path, error))

            manifests: dict[str, dict[str, Named]] = {algorithm: {} for algorithm in _ALGORITHMS}
            for item in named(source.repository, source.scope, on_damage=note, source=workspace):
                digest = item.digest
                self._needed[digest.algorithm].add(digest.value)
                if digest.is_dir:
                    manifests[digest.algorithm][digest.value] = item
            self._read_manifests(source, manifests)
            if not source.label:
                self._temps += workspace.temps
        self._refuse_damaged(damaged)

    def _read_manifests(self, source: Source, manifests: dict[str, dict[str, Named]]) -> None:
        """Adds the members of manifests that the cache has; notes the others."""
        for algorithm, wanted in manifests.items():
            store = LooseStore(self._own.cache_dir, algorithm)
            note = functools.partial(self._note_unread, source, algorithm, wanted)
            for oid, data in read_manifests(store, wanted, staging="", on_failure=note):
                try:
                    self._needed[algorithm] |= self._versions.news(_key(source, wanted[oid]), data, name=oid)
                except FormatError as error:
                    note(oid, error)
                else:
                    self._read.add(oid)

    def _note_unread(
        self, source: Source, algorithm: str, wanted: dict[str, Named], oid: str, error: KistError
    ) -> None:
        self._unread.setdefault((algorithm, oid), (source, wanted[oid]))

    def _read_manifests_elsewhere(self) -> None:
        """Adds the members of manifests that only a remote has."""
        for source in self._sources:
            for algorithm in _ALGORITHMS:
                wanted = {
                    oid for (kind, oid), (of, _) in self._unread.items() if kind == algorithm and of is source
                }
                if not wanted:
                    continue
                store = LooseStore(self._own.cache_dir, algorithm)
                staging = staging_path(self._own)
                for oid, data in read_manifests(
                    store, wanted, remotes=self._remotes(source), staging=staging, on_failure=_ignore
                ):
                    try:
                        self._needed[algorithm] |= member_oids(data, name=oid)
                    except FormatError:
                        continue
                    del self._unread[algorithm, oid]

    def _remotes(self, source: Source) -> list[Remote]:
        """Returns the remotes to ask for manifests: the one of the command, the default one, all others."""
        from kist.repo.transfers import open_remote  # most caches have what they need

        settings = source.repository.settings
        default = settings.default_remote()
        names = [default.name] if default is not None else []
        found = [self._remote] if self._remote is not None and not source.label else []
        for name in dict.fromkeys([*names, *settings.remotes]):
            if not any(remote.name == name for remote in found):
                try:
                    found.append(open_remote(source.repository, name)[0])
                except KistError:
                    continue  # of a kind that cannot be spoken to: what it alone has counts as unread
        return found

    def _refuse_damaged(self, damaged: Sequence[tuple[str, FormatError]]) -> None:
        fatal = [
            (path, error)
            for path, error in damaged
            if not self._rules.skip_failed or isinstance(error, UnreadableFolderError)
        ]
        if fatal:
            path, error = fatal[0]
            more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
            raise GarbageRefusedError(
                f"cannot clean up: '{path}' does not tell what it needs{more}: {error.message}",
                hint="mend it with `git checkout HEAD -- FILE`, or leave out what cannot be read with `--skip-failed`",
            )
        self._skipped += [f"left out '{path}': {error.message}" for path, error in damaged]

    def _refuse_unread(self) -> None:
        cache = self._own.cache
        unread = {
            oid: found
            for (_, oid), found in self._unread.items()
            if oid not in self._decided or gone.is_damaged(cache, oid)
        }
        for oid, (source, item) in unread.items():
            where = f"in '{source.label}', " if source.label else ""
            by = f"commit {item.commit[:7]}" if item.commit else "the workspace"
            line = (
                f"the list of files of '{item.path}' ({oid}), which {where}{by} names, "
                "is neither in the cache nor in a remote that can be read"
            )
            if not self._rules.skip_failed:
                more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
                raise GarbageRefusedError(
                    f"cannot clean up: {line}{more}",
                    hint="push from where the data is, or give `--skip-failed` if it is lost anyway",
                )
            self._skipped.append(line)

    # What is there

    def _beyond(self, place: Place) -> dict[Id, Leftover]:
        found: dict[Id, Leftover] = {}
        for algorithm in _ALGORITHMS:
            listing = place.beyond(self._needed[algorithm], algorithm, workers=self._own.workers)
            found.update({(algorithm, item.oid): item for item in listing.leftovers})
            self._temps += listing.temps
        return found

    def _still_unneeded(self, found: dict[Id, Leftover]) -> dict[Id, Leftover]:
        return {key: item for key, item in found.items() if key[1] not in self._needed[key[0]]}

    def _stored_elsewhere(self, remote: Remote) -> dict[Id, Leftover]:
        """Returns what of the cache is named and in the remote, and not seen to be damaged there."""
        found: dict[Id, Leftover] = {}
        for algorithm in _ALGORITHMS:
            store = LooseStore(self._own.cache_dir, algorithm)
            here = self._needed[algorithm] - store.missing(self._needed[algorithm])
            if not here:
                continue
            there = here - remote.missing(here, algorithm)
            there -= remote.damaged(
                algorithm, size_of=functools.partial(_size, store), workers=self._own.workers
            )
            for oid in sorted(there):
                record = store.stat(oid)
                if record is not None:
                    _, size, _, changed = unpack_stat(record)
                    found[algorithm, oid] = Leftover(oid, size, changed)
        return found

    def _linked(self) -> set[Id]:
        """Returns the objects that symbolic links in workspaces lead to: they are the user's files."""
        found: set[Id] = set()
        for source in self._sources:
            # Of another project only a part of the settings is known here.
            if source.label or SYMLINK in source.repository.settings.cache_types:
                found |= linked_objects(source.repository.root, self._own.cache_dir)
        return found

    # Why it goes

    def _explain(self, pending: set[Id]) -> None:
        """Finds for each object the path and the newest commit of all history that names it."""
        # Of a directory all versions were compared with, and may differ from, one that is needed.
        versions = Versions() if self._rules.not_in_remote else self._versions
        for source in self._sources:
            if not pending:
                return
            scope = EVERYTHING._replace(workspace=self._rules.not_in_remote, past=True)
            items = iter(named(source.repository, scope, on_damage=_ignore))
            while pending and (batch := list(itertools.islice(items, _VERSIONS_AT_ONCE))):
                self._explain_by(source, batch, versions, pending)

    def _explain_by(
        self, source: Source, batch: Sequence[Named], versions: Versions, pending: set[Id]
    ) -> None:
        members: dict[Id, list[str]] = {}
        for algorithm in _ALGORITHMS:
            # Of a directory that is needed all members are.
            wanted = {
                item.digest.value: item
                for item in batch
                if item.digest.is_dir
                and item.digest.algorithm == algorithm
                and (self._rules.not_in_remote or item.digest.value not in self._needed[algorithm])
            }
            store = LooseStore(self._own.cache_dir, algorithm)
            remotes = [place.remote for place in self._places if place.remote is not None]
            staging = staging_path(self._own)
            for oid, data in read_manifests(
                store, wanted, remotes=remotes, staging=staging, on_failure=_ignore
            ):
                try:
                    found = versions.news(_key(source, wanted[oid]), data, name=oid)
                except FormatError:
                    continue
                members[algorithm, oid] = [other for other in found if (algorithm, other) in pending]
        for item in batch:
            algorithm, value = item.digest
            for oid in (value, *members.get((algorithm, value), ())):
                if (algorithm, oid) in pending:
                    pending.remove((algorithm, oid))
                    self._why[algorithm, oid] = (source.label, item.path, item.commit)

    # What goes

    def _place_plan(self, place: Place, found: dict[Id, Leftover], linked: set[Id]) -> PlacePlan:
        is_shared = self._is_shared() if place.remote is None else False
        has_grace = place.remote is not None or is_shared or self._own.settings.hardlink_lock
        earliest = time.time_ns() - int(self._rules.grace_s * 1e9)
        stays: dict[Id, str] = {}
        decided = self._decided | gone.going(list_of_gone(self._own), place.name)
        for key, item in found.items():
            if place.remote is None and key in linked:
                stays[key] = "linked"
            elif key in self._why or key[1] in decided:
                continue
            elif has_grace and self._rules.grace_s > 0 and item.changed_ns > earliest:
                stays[key] = "recent"
            elif is_shared and not self._rules.is_complete:
                stays[key] = "unknown"
        self._keep_members(place, found, stays)
        reasons = list(stays.values())
        kept = Kept(reasons.count("recent"), reasons.count("unknown"), reasons.count("linked"))
        goes = {key: item for key, item in found.items() if key not in stays}
        objects = {
            algorithm: [item for (kind, _), item in goes.items() if kind == algorithm]
            for algorithm in _ALGORITHMS
        }
        return PlacePlan(place, objects, self._reasons(goes), kept)

    def _keep_members(self, place: Place, found: dict[Id, Leftover], stays: dict[Id, str]) -> None:
        """Lets the members of manifests that stay stay as well."""
        for algorithm in _ALGORITHMS:
            manifests = {oid for kind, oid in stays if kind == algorithm and oid.endswith(".dir")}
            remotes = [place.remote] if place.remote is not None else []
            store = LooseStore(self._own.cache_dir, algorithm)
            staging = staging_path(self._own)
            for oid, data in read_manifests(
                store, manifests, remotes=remotes, staging=staging, on_failure=_ignore
            ):
                try:
                    members = member_oids(data, name=oid)
                except FormatError:
                    continue
                for member in members:
                    if (algorithm, member) in found:
                        stays.setdefault((algorithm, member), stays[algorithm, oid])

    def _is_shared(self) -> bool:
        cache_dir = self._own.cache_dir
        return projects.is_outside(cache_dir, self._own.root) or bool(projects.registered(cache_dir))

    def _reasons(self, goes: dict[Id, Leftover]) -> list[Reason]:
        sums: dict[tuple[str, str | None, str | None], tuple[int, int]] = {}
        for key, item in goes.items():
            known = self._why.get(key)
            row = (known[0], known[1], known[2] or None) if known is not None else ("", None, None)
            count, size = sums.get(row, (0, 0))
            sums[row] = (count + 1, size + item.size_bytes)
        reasons = [Reason(*row, *numbers) for row, numbers in sums.items()]
        return sorted(reasons, key=lambda reason: (-reason.size_bytes, -reason.objects, reason.path or ""))

    def _stale_temps(self) -> list[str]:
        now_s = time.time()
        for folder in (self._own.dvc_dir, self._own.root, self._own.cache_dir):
            self._temps += garbage.temps_in(folder)
        return sorted(path for path in dict.fromkeys(self._temps) if garbage.is_stale(path, now_s))


def list_of_gone(repository: Repository) -> str:
    """Returns where the list of what was removed on purpose is: with a cache that others use, or with the project."""
    if projects.is_outside(repository.cache_dir, repository.root):
        return os.path.join(repository.cache_dir, "kist-gone")
    return os.path.join(repository.dvc_dir, "tmp", "kist", "gone")


def linked_objects(root: str, cache_dir: str) -> set[Id]:
    """Returns the objects of a cache that symbolic links below `root` lead to; `.git` and `.dvc` are not entered."""
    found: set[Id] = set()
    algorithms = {os.path.realpath(LooseStore(cache_dir, kind).root): kind for kind in _ALGORITHMS}
    folders: dict[str, str | None] = {}
    for path in _symbolic_links(root):
        try:
            target = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            continue  # gone meanwhile
        prefix_folder, name = os.path.split(os.path.normpath(target))
        folder, prefix = os.path.split(prefix_folder)
        if folder not in folders:
            folders[folder] = algorithms.get(os.path.realpath(folder))
        algorithm = folders[folder]
        if algorithm is not None:
            found.add((algorithm, prefix + name))
    return found


def _symbolic_links(root: str) -> Iterator[str]:
    pending = [root]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        yield entry.path
                    elif entry.name not in (".git", ".dvc") and entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except (PermissionError, FileNotFoundError):
            continue


def _key(source: Source, item: Named) -> str:
    return f"{source.label}\0{item.digest.algorithm}\0{item.path}"


def _size(store: LooseStore, oid: str) -> int | None:
    record = store.stat(oid)
    return None if record is None else unpack_stat(record)[1]


def _ignore(name: str, error: KistError) -> None:
    """Takes no notice: what cannot be read explains nothing."""

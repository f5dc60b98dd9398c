"""`fsck`: reads the objects of the cache and of remotes, moves damaged ones aside, and mends them from intact copies.

Not here: the reading (store.verify, transfer.verify), copies and where they come from (mending), words (cli).
Implements docs/spec/fsck.md.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.formats.manifest import ManifestError, member_oids
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.local import FolderRemote
from kist.repo.beside_git import noting
from kist.repo.collect import WorkspaceSource, collect
from kist.repo.expected import expected_in
from kist.repo.members import read_manifests, staging_path
from kist.repo.mending import Mender, Place
from kist.repo.naming import Id, Names, named_objects, names_of
from kist.repo.transfers import can_list, is_packed, is_versioned, open_remote
from kist.store.loose import is_oid, sweep_staging
from kist.store.verify import (
    MISSING,
    UNREADABLE,
    Sample,
    Verdict,
    end_run,
    verify_store,
)

if TYPE_CHECKING:
    from kist.repo.repository import Repository
    from kist.transfer.stored import StorageRemote

CACHE = "cache"
_ALGORITHMS = (MD5, LEGACY_MD5)
_ASIDE = re.compile(r"([0-9a-f]{32}(?:\.dir)?)(-[0-9a-f]{8})?")


class FsckOptions(NamedTuple):
    """What a person asks of `fsck`.

    Attributes:
        cloud: also the default remote.
        remotes: also these.
        share: which part of the objects is read, 1.0 for all.
        dry: change nothing.
        restart: read all, whatever an interrupted run read.
        jobs: processes, or requests at once.
        is_workspace_only: remotes need not have what only commits name.
    """

    cloud: bool = False
    remotes: tuple[str, ...] = ()
    share: float = 1.0
    dry: bool = False
    restart: bool = False
    jobs: int | None = None
    is_workspace_only: bool = False


class Damage(NamedTuple):
    """One object that is not what it should be.

    Attributes:
        why: "corrupt", "missing", "unreadable".
        names: where it belongs; None when nothing names it.
        aside: where it was moved, relative to the place; None if it was not.
        mended_from: "cache", "workspace" or a remote's name; None while it is damaged.
    """

    oid: str
    algorithm: str
    why: str
    names: Names | None
    aside: str | None
    mended_from: str | None

    @property
    def is_left(self) -> bool:
        """Says whether it is damage still; an old version that is not there may never have been sent."""
        is_old = self.why == "missing" and self.names is not None and bool(self.names.commit)
        return self.mended_from is None and not is_old


class Incomplete(NamedTuple):
    """A manifest that stands in a place without `missing` of its members."""

    oid: str
    algorithm: str
    names: Names | None
    missing: int


class PlaceReport(NamedTuple):
    """What became of one place."""

    where: str
    objects: int
    size_bytes: int
    known: int
    damaged: list[Damage]
    incomplete: list[Incomplete]


class Report(NamedTuple):
    """What became of all places."""

    places: list[PlaceReport]
    notes: list[str]

    @property
    def is_ok(self) -> bool:
        """Says whether all that was read is sound now, and what the workspace names is there."""
        return not any(item.is_left for place in self.places for item in place.damaged)


class _Finding(NamedTuple):
    """What was seen in one place before anything is changed: ids with what is wrong, incomplete manifests."""

    place: Place
    verdicts: list[Verdict]
    bad: dict[Id, str]
    incomplete: dict[Id, set[str]]


def fsck(repository: Repository, options: FsckOptions) -> Report:
    """Verifies and mends; returns what was found and what came of it.

    Raises: KistError, OSError: of the configuration, of a place that cannot be listed.

    Holds: nothing is deleted; what is moved aside was read twice, the second time under the lock.
    """
    places = _places(repository, options)
    findings: list[_Finding] = []
    try:
        if not options.dry:
            _sweep(repository, places)
        for place in places:
            findings.append(_look(repository, place, options))
        mender = Mender(repository, places)
        reports = _treat_all(repository, mender, findings, options)
        for place in places:
            _end(repository, place, options)
        # What a metafile that cannot be read names is verified all the same; but nobody can say whose it is.
        collect(WorkspaceSource(repository), on_damage=noting(repository))
        notes = repository.take_notes() + mender.notes
        return Report(reports, notes)
    finally:
        for place in places:
            if place.remote is not None:
                place.remote.close()


def _places(repository: Repository, options: FsckOptions) -> list[Place]:
    places = [Place(CACHE, None, {})]
    names: list[str | None] = list(dict.fromkeys(options.remotes))
    if options.cloud and not names:
        names = [None]
    for name in names:
        remote, note = open_remote(repository, name, jobs=options.jobs, writes=not options.dry)
        repository.notes += [note] if note else []
        if isinstance(remote, FolderRemote):
            remote.check_readable()
        places.append(Place(remote.name, remote, {}))
    return places


def _sweep(repository: Repository, places: Sequence[Place]) -> None:
    """Removes what killed commands left half-made; of what may still be at work nothing is touched."""
    repository.sweep_now()
    for place in places:
        if isinstance(place.remote, FolderRemote):
            sweep_staging(place.remote.path, time.time())


# Looking


def _look(repository: Repository, place: Place, options: FsckOptions) -> _Finding:
    finding = _Finding(place, [], {}, {})
    expected = {}
    if place.remote is not None:
        expected = expected_in(repository, place.name, is_workspace_only=options.is_workspace_only)
    for algorithm in _ALGORITHMS:
        verdict = _verify(repository, place, algorithm, options)
        finding.verdicts.append(verdict)
        finding.bad.update(((algorithm, oid), why) for oid, why in verdict.bad.items())
        wanted = expected.get(algorithm)
        absent = place.missing(repository, wanted, algorithm) if wanted else set()
        for oid in absent:
            finding.bad.setdefault((algorithm, oid), MISSING)
        manifests = [*verdict.manifests, *sorted(oid for oid in absent if oid.endswith(".dir"))]
        for oid, lacking in _incomplete(repository, place, algorithm, manifests):
            finding.incomplete[algorithm, oid] = lacking
            if place.remote is not None:
                for member in lacking:
                    finding.bad.setdefault((algorithm, member), MISSING)
    for key in _set_aside_before(repository, place):
        finding.bad.setdefault(key, MISSING)
    return finding


def _verify(repository: Repository, place: Place, algorithm: str, options: FsckOptions) -> Verdict:
    store = place.store(repository, algorithm)
    phase = f"Verifying {place.name}"
    if store is not None:
        return verify_store(
            store,
            repository.index,
            workers=options.jobs or repository.workers,
            progress=repository.progress,
            phase=phase,
            sample=_sample(options),
            restart=options.restart,
            limiter=repository.limiter if place.remote is not None else None,
        )
    if place.remote is not None and is_packed(place.remote):
        from kist.transfer.packed_verify import verify_packed  # others need none of it

        verdict = verify_packed(
            place.remote,
            algorithm,
            repository.index,
            scratch=staging_path(repository),
            progress=repository.progress,
            phase=phase,
            sample=_sample(options),
            restart=options.restart,
        )
        for error in place.remote.catalogue.damaged.values():
            repository.notes.append(f"{error.message}: what it alone names counts as missing")
        return verdict
    from kist.transfer.verify import verify_storage  # folders need none of it

    remote = _service(place)
    named: set[str] = set()
    if not remote.storage.abilities.lists:
        named = named_objects(repository, remotes=[remote])[algorithm]
    return verify_storage(
        remote,
        algorithm,
        repository.index,
        named=named,
        jobs=options.jobs,
        scratch=staging_path(repository),
        progress=repository.progress,
        phase=phase,
        sample=_sample(options),
        restart=options.restart,
    )


def _service(place: Place) -> StorageRemote:
    from kist.transfer.stored import StorageRemote  # folders need none of it

    assert isinstance(place.remote, StorageRemote)
    return place.remote


def _sample(options: FsckOptions) -> Sample | None:
    if options.share >= 1.0:
        return None
    return Sample(options.share, int.from_bytes(os.urandom(4), "little"))


def _end(repository: Repository, place: Place, options: FsckOptions) -> None:
    """Forgets where a run that is over had got to."""
    if options.share < 1.0:
        return
    for algorithm in _ALGORITHMS:
        store = place.store(repository, algorithm)
        if store is not None:
            end_run(store, repository.index)
        elif place.remote is not None and is_packed(place.remote):
            from kist.transfer.packed_verify import end_packed_run  # others need none of it

            end_packed_run(place.remote, algorithm, repository.index)
        else:
            from kist.transfer.verify import end_storage_run  # folders need none of it

            end_storage_run(_service(place), algorithm, repository.index)


def _incomplete(
    repository: Repository, place: Place, algorithm: str, manifests: Sequence[str]
) -> Iterator[tuple[str, set[str]]]:
    """Yields those manifests of which a place has not all members, and what lacks.

    Args: manifests: also such as the place should have, and lacks; they are read from the cache.
    """
    members: dict[str, set[str]] = {}
    cache = repository.store_for(algorithm)
    store = place.store(repository, algorithm) or cache
    remotes = [place.remote] if place.remote is not None else []
    unread: list[str] = []
    found = read_manifests(
        store,
        manifests,
        remotes=remotes,
        staging=staging_path(repository),
        on_failure=lambda oid, _: unread.append(oid),
    )
    elsewhere = read_manifests(cache, unread, staging="", on_failure=lambda *_: None)
    for oid, data in itertools.chain(found, elsewhere):
        try:
            members[oid] = member_oids(data, name=oid)
        except ManifestError:
            continue  # its bytes are what its name says: nobody can have another version of it
    asked = set[str]().union(*members.values())
    lacking = place.missing(repository, asked, algorithm) if asked else set()
    for oid, needed in members.items():
        if needed & lacking:
            yield oid, needed & lacking


def _set_aside_before(repository: Repository, place: Place) -> list[Id]:
    """Returns what an earlier run moved aside, is still needed, and has not come back."""
    store = place.store(repository, MD5)
    try:
        if store is not None:
            names = os.listdir(os.path.join(store.base, "kist-bad"))
        elif place.remote is not None and can_list(place.remote):
            names = [key.rpartition("/")[2] for key in place.remote.keys("kist-bad/")]
        else:
            names = []
    except (FileNotFoundError, NotADirectoryError):
        return []
    oids = {match[1] for name in names if (match := _ASIDE.fullmatch(name)) and is_oid(match[1])}
    lacking = {
        (algorithm, oid)
        for algorithm in _ALGORITHMS
        for oid in (place.missing(repository, oids, algorithm) if oids else ())
    }
    return sorted(names_of(repository, lacking))


# Treating


def _treat_all(
    repository: Repository, mender: Mender, findings: Sequence[_Finding], options: FsckOptions
) -> list[PlaceReport]:
    if options.dry or not any(finding.bad for finding in findings):
        return [_report(repository, mender, finding, {}, {}) for finding in findings]
    with repository.lock():
        return [_treat(repository, mender, finding) for finding in findings]


def _treat(repository: Repository, mender: Mender, finding: _Finding) -> PlaceReport:
    place, aside = finding.place, {}
    for algorithm in _ALGORITHMS:
        oids = {oid for (kind, oid), why in finding.bad.items() if kind == algorithm and why == MISSING}
        for oid in oids - place.missing(repository, oids, algorithm):
            del finding.bad[algorithm, oid]  # it came meanwhile
    if place.remote is not None and is_versioned(place.remote):
        if finding.bad:
            again = shell_line("kist", "push", "-r", place.name)
            mender.notes.append(f"'{place.name}' keeps versions: `{again}` sends again what it lacks")
        return _report(repository, mender, finding, {}, {})
    for key, why in list(finding.bad.items()):
        if why in (UNREADABLE, MISSING):
            continue
        moved = place.move_aside(repository, key[1], key[0])
        if moved is None:
            del finding.bad[key]  # somebody mended it, or took it away, meanwhile
        elif moved:
            aside[key] = moved
        else:
            mender.notes.append(f"cannot move '{key[1]}' aside in '{place.name}': it cannot be written")
    mended: dict[Id, str] = {}
    for algorithm in _ALGORITHMS:
        wanted = {
            oid
            for (kind, oid), why in finding.bad.items()
            if kind == algorithm and (why == MISSING or (kind, oid) in aside)
        }
        came = mender.mend(place, algorithm, wanted)
        mended.update(((algorithm, oid), source) for oid, source in came.items())
    for key, lacking in list(finding.incomplete.items()):
        lacking -= {oid for kind, oid in mended if kind == key[0]}
        if not lacking:
            del finding.incomplete[key]
    return _report(repository, mender, finding, aside, mended)


def _report(
    repository: Repository, mender: Mender, finding: _Finding, aside: dict[Id, str], mended: dict[Id, str]
) -> PlaceReport:
    keys = finding.bad.keys() | finding.incomplete.keys()
    known = names_of(repository, keys, remotes=mender.readable(finding.place))
    damaged = [
        Damage(
            oid,
            algorithm,
            why,
            known.get((algorithm, oid)),
            aside.get((algorithm, oid)),
            mended.get((algorithm, oid)),
        )
        for (algorithm, oid), why in sorted(finding.bad.items())
    ]
    incomplete = [
        Incomplete(oid, algorithm, known.get((algorithm, oid)), len(lacking))
        for (algorithm, oid), lacking in sorted(finding.incomplete.items())
    ]
    verdicts = finding.verdicts
    return PlaceReport(
        finding.place.name,
        sum(verdict.objects for verdict in verdicts),
        sum(verdict.size_bytes for verdict in verdicts),
        sum(verdict.known for verdict in verdicts),
        damaged,
        incomplete,
    )

"""`push`, `fetch` and the remote half of `status`: from outputs and remotes to transfers.

Not here: the order of objects (transfer.plan) and checking out (checkout).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from kist.base.listing import unpack_stat
from kist.base.shell import shell_line
from kist.errors import ConfigError, FormatError, KistError
from kist.formats.records import LEGACY_MD5, MD5
from kist.remotes.base import Remote
from kist.remotes.local import FolderRemote, RemoteFolderMissingError
from kist.repo.collect import WorkspaceSource, collect, collect_commits
from kist.repo.targets import Selected, all_outputs, select
from kist.store.loose import LooseStore
from kist.store.statindex import FolderRow
from kist.transfer import plan

if TYPE_CHECKING:
    from kist.formats.pack import Marker
    from kist.remotes.storage import Storage
    from kist.repo.outcomes import ObjectOutcome
    from kist.repo.repository import Repository
    from kist.repo.settings import RemoteSettings
    from kist.transfer.packed import PackedRemote
    from kist.transfer.stored import StorageRemote
    from kist.transfer.versions import VersionedRemote

_LAYOUT, _PACKED = "layout", "packed"
_LAYOUT_S = 3600
_READ_BYTES = 256 << 20
"""How much a fetch reads again of objects of which only the change time differs."""


class Scope(NamedTuple):
    """Which versions a transfer is about, besides the workspace: `-a`, `-T`, `-A`."""

    branches: bool = False
    tags: bool = False
    commits: bool = False


class TransferResult(NamedTuple):
    """What a push or fetch did.

    Attributes:
        moved: number of objects copied.
        failed: (output's path, object id, "missing" or "corrupt").
        remotes: names of the remotes that were used.
        objects: what became of each object, where that was asked for.
        absent: (path, tracked directory) of targets that their directory does not have.
        errors: what spoke against imports that could not be brought from their sources.
        changed: metafiles, relative to the root, that say now where the data is, and are to be committed.
    """

    moved: int
    failed: list[tuple[str, str, str]]
    remotes: list[str]
    size_bytes: int
    objects: Sequence[ObjectOutcome] = ()
    absent: Sequence[tuple[str, str]] = ()
    errors: Sequence[KistError] = ()
    changed: Sequence[str] = ()


class CloudVersionsError(ConfigError):
    """The remote is to hold files under their own names, in versions, and its kind, or its options, do not allow it."""

    code = "cloud-versions"


def open_remote(
    repository: Repository, name: str | None, *, jobs: int | None = None, writes: bool = False
) -> tuple[Remote, str | None]:
    """Returns a remote, and one line to tell the person when it was chosen for them.

    Args:
        name: None for the default; where there is none and only one remote exists, that one.
        jobs: how many requests at once, instead of what the remote's options or the pace say.
        writes: whether it may be written to: then a service is asked for its layout, whatever is remembered.

    Raises:
        NoRemoteError, UnknownRemoteError, CloudVersionsError, RemoteKindError, ExtraMissingError; MarkerError,
        NewerLayoutError; and what a service raises that is asked for its layout.
    """
    remote, is_assumed = repository.settings.choose_remote(name)
    note = f"using remote '{remote.name}', the only one" if is_assumed else None
    limit = jobs or remote.integer("jobs")
    if has_versions(remote):
        return open_versioned(repository, remote, jobs=limit), note
    if remote.scheme != "local":
        from kist.transfer.stored import StorageRemote  # a folder needs none of it

        storage = open_storage_of(repository, remote)
        marker = _marker_of(repository, storage, writes=writes)
        if marker is not None:
            return open_packed(repository, storage, marker, jobs=limit), note
        return StorageRemote(storage, index=repository.index, jobs=limit, limiter=repository.limiter), note
    if os.path.exists(os.path.join(remote.location, "kist-packed.json")):
        from kist.transfer.packed import read_marker  # loose folders need none of it

        storage = open_storage_of(repository, remote)
        marker = read_marker(storage)
        if marker is not None:
            row = FolderRow(_PACKED, b"", b"")
            if repository.index.folder(_LAYOUT, storage.url) != row:
                repository.index.save(_LAYOUT, [(storage.url, row)])
            return open_packed(repository, storage, marker, jobs=limit), note
    else:
        _check_is_not_lost(repository, remote)
    return _folder(repository, remote), note


def has_versions(remote: RemoteSettings) -> bool:
    """Says whether a remote keeps files under their own names, in versions.

    Raises: CloudVersionsError: `worktree` without versions.
    """
    is_worktree = remote.boolean("worktree", False)
    if is_worktree and not remote.boolean("version_aware", True):
        raise CloudVersionsError(
            f"cannot use remote '{remote.name}': 'worktree' needs versions, and 'version_aware' is false",
            hint=shell_line("kist", "remote", "modify", "--unset", remote.name, "version_aware"),
        )
    return is_worktree or remote.boolean("version_aware", False)


def refuse_versions(remote: RemoteSettings, what: str) -> None:
    """Raises StorageRefusedError if a remote keeps files under their own names; `what`: what is done to others."""
    if has_versions(remote):
        from kist.transfer.versions import refused  # few remotes are of this kind

        raise refused(remote.name, what)


def open_versioned(
    repository: Repository, remote: RemoteSettings, *, jobs: int | None = None
) -> VersionedRemote:
    """Returns a remote that keeps files under their own names; metafiles of the workspace say which versions.

    Raises: CloudVersionsError: its kind keeps none.
    """
    from typing import cast

    from kist.remotes.storage import VersionedStorage  # few remotes are of this kind
    from kist.transfer.versions import VersionedRemote

    is_worktree = remote.boolean("worktree", False)
    storage = open_storage_of(repository, remote)
    if not storage.abilities.versions:
        option = "worktree" if is_worktree else "version_aware"
        raise CloudVersionsError(
            f"cannot use remote '{remote.name}': '{option}' needs a service with versions, s3:// or gs://",
            hint=shell_line("kist", "remote", "modify", "--unset", remote.name, option),
        )
    if repository.placements.is_empty:
        collect(WorkspaceSource(repository), on_damage=lambda path, error: None)
    return VersionedRemote(
        cast(VersionedStorage, storage),
        repository.placements,
        is_worktree=is_worktree,
        index=repository.index,
        jobs=jobs,
        limiter=repository.limiter,
    )


def is_versioned(remote: Remote) -> TypeGuard[VersionedRemote]:
    """Says whether a remote keeps files under their own names, in versions."""
    return hasattr(remote, "service")


def _check_is_not_lost(repository: Repository, remote: RemoteSettings) -> None:
    """Raises RemoteFolderMissingError where a packed remote was, and nothing is: a push would begin a loose one."""
    if os.path.isdir(os.path.join(remote.location, "files")):
        return
    row = repository.index.folder(_LAYOUT, remote.url)
    if row is not None and row.names == _PACKED:
        raise RemoteFolderMissingError(
            f"cannot use remote '{remote.name}': it was packed, and '{remote.location}' holds no packed remote now",
            hint=f"mount it, or begin a new one with `{shell_line('kist', 'remote', 'init', '--packed', remote.name)}`",
        )


def _folder(repository: Repository, remote: RemoteSettings) -> FolderRemote:
    is_shared = _is_shared(repository, remote)
    return FolderRemote(
        remote.name,
        remote.url,
        remote.location,
        index=repository.index,
        shared_group=is_shared,
        limiter=repository.limiter,
    )


def open_loose(
    repository: Repository, remote: RemoteSettings, storage: Storage, *, jobs: int | None = None
) -> FolderRemote | StorageRemote:
    """Returns the loose layout at a place, whatever its marker says."""
    if remote.scheme == "local":
        return _folder(repository, remote)
    from kist.transfer.stored import StorageRemote  # a folder needs none of it

    most = jobs or remote.integer("jobs")
    return StorageRemote(storage, index=repository.index, jobs=most, limiter=repository.limiter)


def _is_shared(repository: Repository, remote: RemoteSettings) -> bool:
    return repository.settings.shared_group or remote.text("shared") == "group"


def open_storage_of(repository: Repository, remote: RemoteSettings) -> Storage:
    """Returns the storage at a remote's address, a folder included."""
    if remote.scheme == "local":
        from kist.remotes.folder import FolderStorage  # loose folders need none of it

        return FolderStorage(
            remote.name, remote.url, remote.location, shared_group=_is_shared(repository, remote)
        )
    from kist.remotes.storage import Place  # a folder needs none of it
    from kist.remotes.table import open_storage

    options = {option: remote.text(option) or "" for option in remote.options}
    if remote.scheme == "s3" and "profile" in options:
        own = unguarded("profile", options.pop("profile"))
        options |= {"profile": own} if own else {}
    location = remote.location
    if GUARDS.get(remote.scheme) == "url":
        location = unguarded("url", location)
    return open_storage(
        Place(
            remote.name,
            location,
            remote.scheme,
            options,
            repository.environ,
            repository.ask,
            repository.browse,
        )
    )


_GUARD = "kist-packed"
GUARDS = {"s3": "profile", "gs": "url", "azure": "url", "oss": "url"}
"""Options by which DVC is stopped before its first request to a packed place, by scheme: it finds no such profile, and
`gs://kist-packed:BUCKET` names a port for it that is no number."""


def guarded(option: str, value: str | None) -> str:
    """Returns a value of such an option that DVC cannot use."""
    start, mark = _guard_of(option, value or "")
    rest = (value or "")[len(start) :]
    if rest == _GUARD or rest.startswith(_GUARD + mark):
        return start + rest
    return f"{start}{_GUARD}{mark}{rest}" if rest else start + _GUARD


def unguarded(option: str, value: str) -> str:
    """Returns the value that is meant; "" for none."""
    start, mark = _guard_of(option, value)
    rest = value[len(start) :]
    if rest == _GUARD:
        return start
    return start + rest.removeprefix(_GUARD + mark)


def _guard_of(option: str, value: str) -> tuple[str, str]:
    """Returns what stands before the guard, and what ends it."""
    if option != "url":
        return "", "/"
    scheme, separator, _ = value.partition("://")
    return scheme + separator, ":"


def open_packed(
    repository: Repository, storage: Storage, marker: Marker, *, jobs: int | None = None
) -> PackedRemote:
    """Returns the packed layout at a place."""
    from kist.transfer.packed import PackedRemote  # loose remotes need none of it

    folder = os.path.join(repository.dvc_dir, "tmp", "kist", "packed")
    return PackedRemote(
        storage, marker, index=repository.index, folder=folder, jobs=jobs, limiter=repository.limiter
    )


def _marker_of(repository: Repository, storage: Storage, *, writes: bool) -> Marker | None:
    """Returns the marker of a packed place at a service; that it has none is believed for an hour by who only reads."""
    if not storage.abilities.lists:
        return None
    space = _LAYOUT
    row = repository.index.folder(space, storage.url)
    is_known = row is not None and row.names.isdigit() and 0 <= time.time() - int(row.names) < _LAYOUT_S
    if is_known and not writes:
        return None
    from kist.remotes.storage import StoragePermissionError  # a folder needs none of it
    from kist.transfer.packed import read_marker

    try:
        marker = read_marker(storage)
    except StoragePermissionError:
        return None  # who may not read that may be allowed to read objects
    if marker is None:
        repository.index.save(space, [(storage.url, FolderRow(str(int(time.time())), b"", b""))])
    else:
        repository.index.save(space, (), gone=[storage.url])
    return marker


def can_list(remote: Remote) -> bool:
    """Says whether a remote can tell what it holds."""
    return isinstance(remote, FolderRemote) or bool(remote.storage.abilities.lists)  # type: ignore[attr-defined]


def is_packed(remote: Remote) -> TypeGuard[PackedRemote]:
    """Says whether a remote has the packed layout."""
    return hasattr(remote, "marker")


def wanted_outputs(
    repository: Repository,
    targets: Sequence[str],
    *,
    scope: Scope = Scope(),
    with_deps: bool = False,
    recursive: bool = False,
) -> list[Selected]:
    """Returns the outputs that a transfer is about: of the workspace, and of all commits in the scope."""
    chosen = select(repository, targets, with_deps=with_deps, recursive=recursive)
    git = repository.git
    if git is None or not any(scope):
        return chosen
    revs: dict[str, None] = {}
    if scope.commits:
        revs.update(dict.fromkeys(git.all_commits()))
    if scope.branches:
        revs.update(dict.fromkeys(git.branches().values()))
    if scope.tags:
        revs.update(dict.fromkeys(git.tags().values()))

    def left_out(path: str, error: FormatError) -> None:
        repository.notes.append(f"left out '{path}': {error.message}")

    paths = {item.path for item in chosen} if targets else None
    seen = {(item.path, item.out.output.digest) for item in chosen}
    for item in all_outputs(collect_commits(repository, list(revs), on_damage=left_out)):
        for same in _same_paths(item, paths):
            if (same.path, same.out.output.digest) not in seen:
                seen.add((same.path, same.out.output.digest))
                chosen.append(same)
    return chosen


def _same_paths(item: Selected, paths: set[str] | None) -> list[Selected]:
    """Returns the parts of an output of another commit that the targets mean."""
    if paths is None or item.out.path in paths:
        return [item]
    prefix = item.out.path + "/"
    return [item._replace(inner=path[len(prefix) :]) for path in sorted(paths) if path.startswith(prefix)]


def needs_by_remote(
    items: Iterable[Selected], *, default: str | None, named: str | None, is_push: bool
) -> dict[str | None, dict[str, list[plan.Need]]]:
    """Returns what is to travel: remote name (None: the default) -> algorithm -> needs.

    Args: named: the remote of `-r`; an output that belongs to another one then stays out.
    """
    found: dict[str | None, dict[str, list[plan.Need]]] = {}
    for item in items:
        digest = item.out.output.digest
        if digest is None or not _travels(item, named=named, is_push=is_push):
            continue
        key = _destination(item, default=default, named=named)
        found.setdefault(key, {}).setdefault(digest.algorithm, []).append(
            plan.Need(item.path, digest, item.inner)
        )
    return found


def _travels(item: Selected, *, named: str | None, is_push: bool) -> bool:
    output = item.out.output
    if output.digest is None or output.digest.algorithm not in (MD5, LEGACY_MD5) or not output.use_cache:
        return False
    if is_push and not (output.can_push and _is_own(item)):
        return False
    return output.remote is None or named is None or output.remote == named


def _destination(item: Selected, *, default: str | None, named: str | None) -> str | None:
    own = item.out.output.remote
    key = own if own is not None else named
    if key == default:
        return None if named is None else named
    return key


def _is_own(item: Selected) -> bool:
    """Says whether only this repository's remotes keep the data; what another repository has is not pushed again."""
    metafile = item.stage.metafile
    return metafile is None or not any(dep.repo is not None for dep in metafile.deps)


def _are_here(repository: Repository, by_algorithm: dict[str, list[plan.Need]]) -> bool:
    """Says whether the cache has everything that is needed."""
    for algorithm, needs in by_algorithm.items():
        store = repository.store_for(algorithm)
        presence = repository.presence(store)
        for need in needs:
            if need.digest.is_dir and presence.is_known(need.digest.value):
                continue
            if plan.lacks(need, store):
                return False
            if need.digest.is_dir and not need.inner:
                presence.note(need.digest.value)
    return True


def _set_damaged_aside(repository: Repository, by_algorithm: dict[str, list[plan.Need]]) -> None:
    """Moves needed objects aside that changed in the cache since they were read and turn out damaged.

    Seen by their stat alone; of a large cache a share is looked at each time. What has another size or modification
    time is read in any case; what only has another change time, as from a link that somebody made, up to a limit.
    """
    for algorithm, needs in by_algorithm.items():
        store = repository.store_for(algorithm)
        trust = repository.trust(store)
        suspects = trust.changed()
        needed = plan.needed_files(needs, store) if suspects else set()
        budget = _READ_BYTES
        for digest, before in suspects.items():
            oid = digest.hex()
            now = store.stat(oid)
            if oid not in needed or now is None:
                continue
            if now[:24] == before[:24]:
                budget -= unpack_stat(now)[1]
                if budget < 0:
                    continue
            try:
                is_right = trust.recheck(digest)
            except OSError:
                continue  # who needs its bytes will tell
            if not is_right:
                store.quarantine(oid)


def transfer(
    repository: Repository,
    items: Sequence[Selected],
    *,
    remote: str | None,
    is_push: bool,
    jobs: int | None,
    is_detailed: bool = False,
) -> tuple[TransferResult, list[str]]:
    """Pushes or fetches outputs; returns what happened and the lines to tell the person.

    Args: is_detailed: also what became of each object.

    Raises:
        NoRemoteError, UnknownRemoteError, OSError.
    """
    chosen = repository.settings.default_remote()
    default = chosen.name if chosen is not None else None
    grouped = needs_by_remote(items, default=default, named=remote, is_push=is_push)
    if is_push and not grouped:
        open_remote(repository, remote)
    moved = size = 0
    failed: list[tuple[str, str, str]] = []
    objects: list[ObjectOutcome] = []
    names: list[str] = []
    changed: list[str] = []
    notes = repository.take_notes()
    workers = jobs or repository.workers
    for name, by_algorithm in grouped.items():
        if not is_push:
            _set_damaged_aside(repository, by_algorithm)
            if remote is None and _are_here(repository, by_algorithm):
                # Without a need nobody asks for a remote.
                for algorithm, needs in by_algorithm.items() if is_detailed else ():
                    objects += _outcomes(needs, repository.store_for(algorithm), None, None, is_push=False)
                continue
        target, note = open_remote(repository, name, jobs=jobs, writes=is_push)
        notes += [note] if note else []
        names.append(target.name)
        try:
            if is_push and is_versioned(target):
                chosen_items = [
                    item
                    for item in items
                    if _travels(item, named=remote, is_push=True)
                    and _destination(item, default=default, named=remote) == name
                ]
                acted = _push_versions(repository, chosen_items, target, changed)
                notes += repository.take_notes()
            else:
                acted = _act(repository, by_algorithm, target, is_push=is_push, workers=workers)
            for algorithm, needs in by_algorithm.items():
                store = repository.store_for(algorithm)
                done = acted.get(algorithm, plan.NOTHING)
                moved += len(done.moved)
                size += done.size_bytes
                failed += done.failed
                if is_detailed:
                    rows = _outcomes(needs, store, target.name, done, is_push=is_push)
                    objects += [
                        row for row in rows if not (is_versioned(target) and row.oid.endswith(".dir"))
                    ]
                if not is_push:
                    repository.trust(store).add(done.records)
                else:
                    for _, oid, why in done.failed:
                        if why == "corrupt":
                            store.quarantine(oid)
        finally:
            target.close()
    return TransferResult(moved, failed, names, size, objects, changed=changed), notes


def _act(
    repository: Repository,
    by_algorithm: dict[str, list[plan.Need]],
    target: Remote,
    *,
    is_push: bool,
    workers: int,
) -> dict[str, plan.Outcome]:
    """Pushes to, or fetches from, one remote; returns algorithm -> what was done."""
    if is_push:
        from kist.repo.introduction import introduce  # nothing else writes into a remote

        introduce(target)
    elif isinstance(target, FolderRemote):
        target.check_readable()
    acted = {}
    for algorithm, needs in by_algorithm.items():
        store = repository.store_for(algorithm)
        if is_push:
            _store_spelled(repository, needs)
        act = plan.push if is_push else plan.fetch
        acted[algorithm] = act(needs, store, target, workers=workers, progress=repository.progress)
    return acted


def _push_versions(
    repository: Repository, items: Sequence[Selected], target: VersionedRemote, changed: list[str]
) -> dict[str, plan.Outcome]:
    """Pushes to a remote that keeps versions; `changed` gets the metafiles that say where the data is now."""
    from kist.repo.metafiles import Changes  # few remotes are of this kind
    from kist.repo.versions_push import push_versions

    changes = Changes(repository)
    acted = push_versions(repository, items, target, changes)
    changed.extend(changes.finish())
    return acted


def _store_spelled(repository: Repository, needs: Iterable[plan.Need]) -> None:
    """Puts manifests into the cache that only a metafile spells out: they are sent from there."""
    manifests = repository.placements.manifests
    for need in needs if manifests else ():
        data = manifests.get(need.digest.value)
        if data is not None:
            repository.store_for(need.digest.algorithm).write_small(need.digest.value, data)


def _outcomes(
    needs: Iterable[plan.Need],
    store: LooseStore,
    remote: str | None,
    done: plan.Outcome | None,
    *,
    is_push: bool,
) -> list[ObjectOutcome]:
    from kist.repo.outcomes import object_outcomes  # only with --json

    if done is None:
        return object_outcomes(needs, store, remote=remote, failed={})
    failed = {oid: why for _, oid, why in done.failed}
    return object_outcomes(
        needs, store, remote=remote, moved=done.moved, failed=failed, held=done.held, is_push=is_push
    )

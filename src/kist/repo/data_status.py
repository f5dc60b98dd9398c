"""`data status`: commit, metafiles and data compared three ways, as `git status` does for code.

Reads only. Not here: layout on the screen (cli), the comparison (compare.entries). Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base.shell import shell_line
from kist.compare.entries import compare_entries, compare_trees, folders_above
from kist.errors import ConfigError
from kist.formats.manifest import Tree
from kist.formats.records import Digest
from kist.repo.collect import WorkspaceSource, collect
from kist.repo.data import Look, algorithm_of, digest_of, is_as_recorded, look_at
from kist.repo.diff import is_downloaded, recorded_digest, stages_of_commit, tracked_outputs
from kist.repo.manifests import Manifests, is_object
from kist.repo.settings import NoRemoteError, UnknownRemoteError
from kist.repo.targets import Selected
from kist.repo.transfers import needs_by_remote, open_remote
from kist.store.presence import Presence
from kist.store.statindex import DIGEST_SIZE, FolderRow

if TYPE_CHECKING:
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository

Group = dict[str, list[Any]]


class StatusRemoteError(ConfigError):
    """`--remote` names a remote that no configuration defines. Exit 251, as DVC."""

    code = "status-remote"


class DataStatus(NamedTuple):
    """What `data status` found; paths relative to the root, directories' own paths end in "/".

    Attributes:
        committed, uncommitted: "added", "modified", "deleted", "unknown" -> paths; "renamed" -> (old, new) pairs.
        untracked: relative to the folder that the command was given in.
        has_other_changes: Git sees changes that are no data.
        is_empty: the Git repository has no commit yet.
    """

    not_in_remote: list[str]
    not_in_cache: list[str]
    committed: Group
    uncommitted: Group
    untracked: list[str]
    unchanged: list[str]
    has_other_changes: bool
    is_empty: bool


class _Side(NamedTuple):
    """An output on one side of a comparison.

    Attributes:
        tree: its files; None where nobody knows them.
        folders: relative paths of folders that are there, empty ones too; only of the workspace.
    """

    oid: str
    is_dir: bool
    tree: Tree | None
    folders: Collection[str] = ()


def data_status(
    repository: Repository,
    targets: Sequence[str] = (),
    *,
    granular: bool = False,
    with_unchanged: bool = False,
    with_untracked: bool = False,
    not_in_remote: bool = False,
    remote: str | None = None,
    refresh: bool = True,
) -> DataStatus:
    """Returns the three-way state.

    Args:
        granular: compare inside of directories.
        not_in_remote: also say what the remote does not have; `remote` names it.
        refresh: ask the remote; otherwise what it had when it was last asked is taken.

    Raises: KistError, OSError.
    """
    git = repository.git
    items = tracked_outputs(collect(WorkspaceSource(repository)))
    is_empty = git is not None and not git.has_commits()
    before: dict[str, Selected] = {}
    if git is not None and not is_empty:
        before = tracked_outputs(stages_of_commit(repository, "HEAD"))
    wanted = _wanted(repository, targets, items.keys() | before.keys())
    if targets:
        items = {path: item for path, item in items.items() if _meets(path, wanted)}
        before = {path: item for path, item in before.items() if _meets(path, wanted)}
    manifests = Manifests(repository)
    if granular:
        manifests.fetch(items.values())
        manifests.fetch(before.values(), of_revision=True)
    view = _View(manifests, granular, wanted)
    head = {path: digest for path, item in before.items() if (digest := _digest(item)) is not None}
    index = {path: digest for path, item in items.items() if (digest := _digest(item)) is not None}
    keys = [(path, algorithm_of(_digest(item))) for path, item in items.items()]
    looks = dict(zip(items, look_at(repository, keys), strict=True))
    as_recorded = {path for path, digest in index.items() if is_as_recorded(repository, looks[path], digest)}
    other = git.status(untracked=with_untracked) if git is not None else []
    return DataStatus(
        _not_in_remote(repository, items.values(), remote, view, refresh=refresh) if not_in_remote else [],
        _not_in_cache(repository, items, view),
        _committed(head, index, view) if git is not None else {},
        _uncommitted(repository, index, looks, as_recorded, view),
        _untracked(repository, [item.path for item in other if item.staged == "?"], targets),
        _unchanged(head if git is not None else None, index, looks, as_recorded, view)
        if with_unchanged
        else [],
        bool(other),
        is_empty,
    )


def _digest(item: Selected) -> Digest | None:
    """Returns the content id that counts here; data without one is only in the workspace."""
    digest = recorded_digest(item)
    return digest if digest is not None and is_object(digest) else None


# Targets


def _wanted(repository: Repository, targets: Sequence[str], known: Iterable[str]) -> list[str]:
    """Returns the targets relative to the root.

    A target is written as paths are shown, so from the root; one that means nothing there is taken from here. What
    is outside of the repository means nothing.
    """
    tracked = list(known)
    found = []
    for target in targets:
        path = posixpath.normpath(target)
        if any(_meets(one, [path]) for one in tracked):
            found.append(path)
            continue
        here = os.path.relpath(os.path.join(repository.cwd, target), repository.root).replace(os.sep, "/")
        found.append("" if here == "." else here)
    return found


def _meets(path: str, wanted: Sequence[str]) -> bool:
    """Says whether a target names `path`, something in it, or a folder around it."""
    return any(
        not one or path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in wanted
    )


def _is_wanted(path: str, wanted: Sequence[str]) -> bool:
    """Says whether a target names `path` or a folder around it; without targets everything is wanted."""
    return not wanted or any(not one or path == one or path.startswith(one + "/") for one in wanted)


def _untracked(repository: Repository, paths: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Returns untracked files as they are called from here, which is also how targets name them."""
    assert repository.git is not None or not paths
    found = []
    wanted = [posixpath.normpath(target) for target in targets]
    is_all = any(path == "." for path in wanted)
    for path in paths:
        assert repository.git is not None
        absolute = os.path.join(repository.git.top, path)
        if not absolute.startswith(repository.root + os.sep):
            continue
        here = repository.shown(absolute[len(repository.root) + 1 :])
        if _is_wanted(here, wanted) or (is_all and not here.startswith("../")):
            found.append(here)
    return sorted(found)


# Comparing


class _View(NamedTuple):
    """How closely, and at what, to look."""

    manifests: Manifests
    granular: bool
    wanted: list[str]

    def tree(self, digest: Digest) -> Tree | None:
        """Returns the files of a directory; none unless directories are looked into."""
        return self.manifests.tree(digest) if self.granular else Tree({})

    def is_known(self, digest: Digest) -> bool:
        """Says whether `tree` can be had, without making it."""
        return not self.granular or self.manifests.is_here(digest)

    def side(self, digest: Digest | None) -> _Side | None:
        """Returns what a metafile recorded."""
        return None if digest is None else _Side(digest.value, digest.is_dir, self.tree(digest))

    def shown(self, paths: Iterable[str]) -> list[str]:
        """Returns those of `paths` that the targets name, sorted."""
        return sorted(path for path in paths if _is_wanted(path, self.wanted))


class _Changes:
    """What two versions of all outputs do not have in common."""

    def __init__(self, view: _View) -> None:
        self._view = view
        self._old: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self._folders: set[str] = set()
        self._unknown: list[str] = []

    def add(self, path: str, old: _Side | None, new: _Side | None) -> None:
        """Compares one output."""
        if old is not None:
            self._old[path] = old.oid
        if new is not None:
            self._new[path] = new.oid
        latest = new or old
        if latest is not None and latest.is_dir:
            self._folders.add(path)
        if not self._view.granular:
            return
        before, after = old.tree if old is not None else Tree({}), new.tree if new is not None else Tree({})
        if before is None:
            files = {f"{path}/{relpath}": oid for relpath, oid in after.files()} if after is not None else {}
            self._unknown += [*files, *(folder + "/" for folder in folders_above(files) if folder != path)]
        elif after is not None:
            gone, came = compare_trees(before, after)
            self._old.update({f"{path}/{relpath}": oid for relpath, oid in gone.items()})
            self._new.update({f"{path}/{relpath}": oid for relpath, oid in came.items()})
            # A file that became a folder is shown as the folder that it is now.
            folders = folders_above(came).union(new.folders) if gone and new is not None else set()
            self._folders.update(f"{path}/{relpath}" for relpath in folders & gone.keys())

    def group(self) -> Group:
        """Returns kind of change -> paths."""
        wanted = self._view.wanted
        found = compare_entries(
            *({path: oid for path, oid in side.items() if _is_wanted(path, wanted)} for side in self._sides())
        )
        group: Group = {
            "modified": [self._shown(item.path) for item in found.modified],
            "added": [self._shown(item.path) for item in found.added],
            "renamed": [(self._shown(item.path), self._shown(item.new_path or "")) for item in found.renamed],
            "deleted": [self._shown(item.path) for item in found.deleted],
            "unknown": self._view.shown(self._unknown),
        }
        return {word: items for word, items in group.items() if items}

    def _sides(self) -> tuple[dict[str, str], dict[str, str]]:
        return self._old, self._new

    def _shown(self, path: str) -> str:
        return path + "/" if path in self._folders else path


def _committed(head: Mapping[str, Digest], index: Mapping[str, Digest], view: _View) -> Group:
    changes = _Changes(view)
    for path in head.keys() | index.keys():
        old, new = head.get(path), index.get(path)
        if old != new:
            changes.add(path, view.side(old), view.side(new))
    return changes.group()


def _uncommitted(
    repository: Repository,
    index: Mapping[str, Digest],
    looks: Mapping[str, Look],
    as_recorded: set[str],
    view: _View,
) -> Group:
    changes = _Changes(view)
    for path, look in looks.items():
        digest = index.get(path)
        if path in as_recorded and digest is not None and view.is_known(digest):
            continue
        present = digest_of(repository, look, algorithm=algorithm_of(digest))
        if path in as_recorded:
            present = digest
        new = None
        if present is not None and look.snapshot is not None:
            tree = look.snapshot.tree() if look.is_dir else Tree({})
            new = _Side(present.value, look.is_dir, tree, look.snapshot.folders.keys())
        changes.add(path, view.side(digest), new)
    return changes.group()


def _unchanged(
    head: Mapping[str, Digest] | None,
    index: Mapping[str, Digest],
    looks: Mapping[str, Look],
    as_recorded: set[str],
    view: _View,
) -> list[str]:
    """Returns what is the same in the commit, where there is one, in the metafiles and in the workspace."""
    found: list[str] = []
    for path, digest in index.items():
        before = digest if head is None else head.get(path)
        if before == digest and path in as_recorded:
            found.append(path + "/" if digest.is_dir else path)
        tree, old = view.tree(digest), view.tree(before) if before is not None else None
        snapshot = looks[path].snapshot
        if tree is None or old is None or snapshot is None or not looks[path].is_dir:
            continue
        present = tree if path in as_recorded else snapshot.tree()
        differing = {
            relpath
            for pair in (compare_trees(old, tree), compare_trees(tree, present))
            for side in pair
            for relpath in side
        }
        found += [f"{path}/{relpath}" for relpath, _ in tree.files() if relpath not in differing]
    return view.shown(found)


# What stores have


def _not_in_cache(repository: Repository, items: Mapping[str, Selected], view: _View) -> list[str]:
    found = []
    presences: dict[str, Presence] = {}
    for path, item in items.items():
        digest = _digest(item)
        if digest is None:
            continue
        store = repository.store_for(digest.algorithm)
        has_own = store.has(digest.value) and is_downloaded(item)
        if not has_own:
            found.append(path + "/" if digest.is_dir else path)
        if not (view.granular and digest.is_dir):
            continue
        presence = presences.setdefault(digest.algorithm, repository.presence(store))
        if has_own and presence.is_known(digest.value):
            continue
        tree = view.tree(digest)
        if tree is None:
            continue
        lacking = store.missing(tree.oids())
        if lacking:
            found += [f"{path}/{relpath}" for relpath, oid in tree.files() if oid in lacking]
        elif has_own:
            presence.note(digest.value)
    return view.shown(found)


def _not_in_remote(
    repository: Repository, items: Iterable[Selected], name: str | None, view: _View, *, refresh: bool
) -> list[str]:
    chosen = repository.settings.default_remote()
    default = chosen.name if chosen is not None else None
    found: list[str] = []
    if name is not None:
        items = [_without_own_remote(item) for item in items]  # the named one is asked for all, as in DVC
    for key, by_algorithm in needs_by_remote(items, default=default, named=name, is_push=True).items():
        remote = _remote(repository, key)
        for algorithm, needs in by_algorithm.items():
            named = [(need.label + "/" * need.digest.is_dir, need.digest.value) for need in needs]
            for need in needs:
                tree = view.tree(need.digest)
                named += [(f"{need.label}/{relpath}", oid) for relpath, oid in tree.files()] if tree else []
            oids = {oid for _, oid in named}
            lacking = _lacking(repository, remote, oids, algorithm, refresh=refresh) if remote else oids
            found += [path for path, oid in named if oid in lacking]
    return view.shown(found)


def _without_own_remote(item: Selected) -> Selected:
    return item._replace(out=item.out._replace(output=item.out.output._replace(remote=None)))


def _remote(repository: Repository, name: str | None) -> Remote | None:
    try:
        return open_remote(repository, name)[0]
    except NoRemoteError:
        return None  # without a remote nothing is on it
    except UnknownRemoteError as error:
        hint = error.hint or shell_line("kist", "remote", "list")
        raise StatusRemoteError(error.message, hint=hint) from error


def _lacking(
    repository: Repository, remote: Remote, oids: set[str], algorithm: str, *, refresh: bool
) -> set[str]:
    """Returns those of `oids` that the remote lacks, or lacked when it was last asked here."""
    space = f"there:{remote.url}"
    row = repository.index.folder(space, algorithm)
    known: set[str] = set()
    if row is not None:
        digits = row.stats.hex()
        known = {digits[at : at + 2 * DIGEST_SIZE] for at in range(0, len(digits), 2 * DIGEST_SIZE)}
        known.update(row.names.split("\0") if row.names else [])
    if not refresh:
        return oids - known
    lacking = remote.missing(oids, algorithm)
    present = (known | oids) - lacking
    if present != known:
        files = sorted(oid for oid in present if not oid.endswith(".dir"))
        folders = sorted(oid for oid in present if oid.endswith(".dir"))
        noted = FolderRow("\0".join(folders), bytes.fromhex("".join(files)), b"")
        repository.index.save(space, [(algorithm, noted)])
    return lacking

"""What a path of another repository is made of, and bringing that into a store.

A path may be a file of Git, tracked data, a part of it, or a folder that holds any of these. Not here: metafiles that
say where data came from (imports), and where it goes (placing). Implements docs/spec/imports.md, section 4.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.atomic import write_all
from kist.base.shell import shell_line
from kist.errors import FormatError, InputError, MissingError
from kist.formats.manifest import Tree, is_safe_path, parse_manifest, render_manifest, tree_of
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.remotes.local import FolderRemote
from kist.repo.collect import LOCK_FILE, OLD_FILE, PIPELINE_FILE, CommitSource, Out, Stage, collect
from kist.repo.elsewhere import OtherRepository
from kist.repo.listing import PathMissingError, View
from kist.repo.settings import NoRemoteError
from kist.repo.transfers import open_remote
from kist.store import links
from kist.store.ingest import store_batches
from kist.store.loose import OBJECT_MODE, LooseStore, remove_staging
from kist.store.statindex import StatIndex
from kist.transfer import plan
from kist.workspace.scan import Snapshot, scan_directory, unread_batches, with_stored

if TYPE_CHECKING:
    from kist.base.limiter import Limiter
    from kist.base.progress import Progress
    from kist.git.repository import GitRepository, TreeItem
    from kist.remotes.base import Remote
    from kist.repo.repository import Repository

NO_INDEX = os.devnull + "/none"
"""The path of a stat index that is never written."""
_HIDDEN = (PIPELINE_FILE, LOCK_FILE, OLD_FILE, ".dvcignore")
_LINK, _SUBMODULE = "120000", "160000"
_FILES_A_FOLDER = 1000
_DEPTH = 16
"""How many imports may follow one another, and links of Git."""


class SourceDataMissingError(MissingError):
    """The source names data that neither its cache nor its remote has. Its owner pushes it."""

    code = "source-data-missing"


class SourceChangedError(MissingError):
    """What is at the source is not what was imported: it was changed there. `kist update` takes the new content."""

    code = "source-changed"


class UnsafePathError(InputError):
    """A commit of somebody else names a path that climbs, or lies in `.git` (rule R14)."""

    code = "unsafe-source-path"


class Piece(NamedTuple):
    """Tracked data that a path is, or holds.

    Attributes:
        rel: where it is below the path; "" where it is the path itself.
        inner: the part of the output that is meant; "" for all of it.
    """

    rel: str
    stage: Stage
    out: Out
    inner: str = ""

    @property
    def digest(self) -> Digest:
        """Of the whole output, which has one."""
        digest = self.out.output.digest
        assert digest is not None
        return digest

    @property
    def is_dir(self) -> bool | None:
        """Says whether it is a directory; None for a part of one, which may be either."""
        return None if self.inner else self.digest.is_dir


class Source(NamedTuple):
    """A path of a repository.

    Attributes:
        repository: that holds it.
        commit: that is read; None for the working tree.
        path: relative to the repository's root; "" for all of it.
        is_dir: None for a part of a tracked directory: its manifest, which may have to be brought, tells.
        pieces: tracked data.
        blobs: files of Git: path below `path` ("" for itself) -> blob.
        files: files on disk in the same way, of a working tree.
    """

    repository: OtherRepository
    commit: str | None
    path: str
    is_dir: bool | None
    pieces: tuple[Piece, ...]
    blobs: Mapping[str, TreeItem]
    files: Mapping[str, str]


class Carrier(NamedTuple):
    """How data is brought, and where to.

    Attributes:
        store: where objects go, of the kind that they have.
        records: filled with what a store may trust.
        follow: brings an import of the source, whose data the source itself does not have.
    """

    store: LooseStore
    workers: int
    progress: Progress
    records: list[bytes]
    follow: Callable[[Repository, Stage, Out, Carrier, int], Brought]
    jobs: int | None = None
    limiter: Limiter | None = None

    def legacy(self) -> Carrier:
        """Returns the carrier of older objects to the same place."""
        return self._replace(store=LooseStore(self.store.base, LEGACY_MD5, self.store.shared_group))


class Brought(NamedTuple):
    """What a path was, now that it is in the store. The x bit of a file does not travel, as in DVC.

    Attributes:
        moved: objects that were copied, of `size_moved` bytes.
    """

    digest: Digest
    size: int
    nfiles: int | None
    moved: int
    size_moved: int


def find_source(repository: OtherRepository, path: str, commit: str | None) -> Source:
    """Returns what a path is made of; nothing is brought yet.

    Args: path: relative to the repository's root, "" for all of it.

    Raises: PathMissingError, RevisionMissingError, FormatError.
    """
    if commit is None:
        return _in_working_tree(repository, path)
    stages = collect(CommitSource(repository, commit))
    pieces = _pieces(stages, path)
    if len(pieces) == 1 and not pieces[0].rel:
        return Source(repository, commit, path, pieces[0].is_dir, tuple(pieces), {}, {})
    blobs = _blobs(repository, path, commit)
    if "" in blobs:
        return Source(repository, commit, path, False, (), blobs, {})
    if not pieces and not blobs and path:
        raise _path_missing(repository, path, commit)
    shadowed = [f"{piece.rel}/" for piece in pieces]
    kept = {
        rel: item
        for rel, item in blobs.items()
        if not any(f"{rel}/".startswith(prefix) for prefix in shadowed)
    }
    return Source(repository, commit, path, True, tuple(pieces), kept, {})


def _pieces(stages: Iterable[Stage], path: str) -> list[Piece]:
    """Returns the tracked data that `path` is, is inside of, or holds."""
    prefix = path + "/" if path else ""
    found = []
    for stage in stages:
        for out in stage.outs:
            output = out.output
            is_known = output.digest is not None and output.digest.algorithm in (MD5, LEGACY_MD5)
            if not (out.is_inside and output.use_cache and is_known):
                continue
            if out.path == path:
                return [Piece("", stage, out)]
            if path.startswith(out.path + "/"):
                return [Piece("", stage, out, path[len(out.path) + 1 :])]
            if out.path.startswith(prefix):
                found.append(Piece(out.path[len(prefix) :], stage, out))
    return found


def _path_missing(repository: OtherRepository, path: str, commit: str | None) -> PathMissingError:
    if commit is not None:
        try:
            View(repository, rev=commit).is_dir(path)  # knows what may have been meant
        except PathMissingError as error:
            return error
    return PathMissingError(
        f"cannot find '{path}': it is no file and no tracked data of '{repository.title}'",
        hint=shell_line("kist", "list", repository.title),
    )


def _blobs(repository: OtherRepository, path: str, commit: str) -> dict[str, TreeItem]:
    """Returns the files that Git has at or below a path; symbolic links as the files that they lead to."""
    git = repository.git
    assert git is not None
    offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/")
    top = posixpath.normpath(posixpath.join(offset, path))
    top = "" if top == "." else top
    tree = git.list_tree(commit, under=top)
    prefix = top + "/" if top else ""
    found: dict[str, TreeItem] = {}
    whole: dict[str, TreeItem] | None = None
    for full, item in tree.items():
        rel = "" if full == top else full[len(prefix) :]
        if item.mode == _SUBMODULE or (rel and _is_hidden(rel)):
            continue
        if rel and not is_safe_path(rel):
            raise UnsafePathError(
                f"cannot use '{full}' of '{repository.title}': it is no path for a file here"
            )
        if item.mode == _LINK:
            whole = git.list_tree(commit) if whole is None else whole
            target = _followed(git, whole, full)
            if target is None:
                continue
            item = target
        found[rel] = item
    return found


def _is_hidden(rel: str) -> bool:
    """Says whether a file below a folder is the repository's own, and no data."""
    name = posixpath.basename(rel)
    return name.endswith(".dvc") or name in _HIDDEN or rel.startswith(".dvc/") or "/.dvc/" in rel


def _followed(git: GitRepository, tree: Mapping[str, TreeItem], path: str) -> TreeItem | None:
    """Returns the file that a symbolic link of a commit leads to; None where it leads out of it, or nowhere."""
    for _ in range(_DEPTH):
        item = tree.get(path)
        if item is None or item.mode != _LINK:
            return item
        target = os.fsdecode(next(iter(git.read_blobs([item.sha])))[1])
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if path.startswith(("/", "../")):
            return None
    return None


def _in_working_tree(repository: OtherRepository, path: str) -> Source:
    from kist.repo.collect import WorkspaceSource

    pieces = _pieces(collect(WorkspaceSource(repository)), path)
    if len(pieces) == 1 and not pieces[0].rel:
        return Source(repository, None, path, pieces[0].is_dir, tuple(pieces), {}, {})
    absolute = repository.abspath(path)
    if os.path.isfile(absolute):
        return Source(repository, None, path, False, (), {}, {"": absolute})
    if not os.path.isdir(absolute) and not pieces:
        raise _path_missing(repository, path, None)
    shadowed = {piece.rel for piece in pieces}
    files: dict[str, str] = {}
    found = (
        scan_directory(
            absolute, "", index=StatIndex(NO_INDEX), ignores=repository.ignores if not path else None
        )
        if os.path.isdir(absolute)
        else None
    )
    for folder, row in found.folders.items() if found is not None else ():
        for name in row.split():
            rel = f"{folder}/{name}" if folder else name
            above = rel.split("/")
            if _is_hidden(rel) or ".git" in above[:-1]:
                continue
            if not any("/".join(above[: count + 1]) in shadowed for count in range(len(above))):
                files[rel] = os.path.join(absolute, rel)
    return Source(repository, None, path, True, tuple(pieces), {}, files)


# Bringing


def bring(source: Source, carrier: Carrier, *, depth: int = 0) -> Brought:
    """Brings what a path is into a store, and says what it is there.

    Raises: SourceDataMissingError, and what speaks against the source's remote; OSError.

    Holds: every object was hashed on its way; a manifest is stored after what it names.
    """
    kinds = {piece.digest.algorithm for piece in source.pieces}
    if kinds == {LEGACY_MD5} and len(source.pieces) == 1 and not (source.blobs or source.files):
        carrier = carrier.legacy()
    elif LEGACY_MD5 in kinds:
        raise SourceDataMissingError(
            f"cannot bring '{source.path}' from '{source.repository.title}': "
            "data of DVC 2 and of DVC 3 are mixed in it",
            hint="run `kist cache migrate --dvc-files` there, and push",
        )
    moved, size_moved = bring_pieces(source, carrier, depth=depth)
    stored = _store_files(source, carrier)
    if len(source.pieces) == 1 and not source.pieces[0].rel:
        return _single_piece(source, source.pieces[0], carrier.store, moved, size_moved)
    if source.is_dir is False:
        oid, size = stored.files[""]
        return Brought(Digest(MD5, oid), size, None, moved + stored.new, size)
    members = {rel: oid for rel, (oid, _) in stored.files.items()}
    size = sum(length for _, length in stored.files.values())
    for piece in source.pieces:
        tree = _tree_of(piece, carrier.store)
        prefix = piece.rel + "/" if piece.digest.is_dir else piece.rel
        members.update((prefix + rel, oid) for rel, oid in tree.files())
        size += size_of_tree(tree, carrier.store)
    tree = tree_of(members)
    return Brought(store_tree(tree, carrier.store), size, tree.file_count(), moved + stored.new, size_moved)


def _single_piece(source: Source, piece: Piece, store: LooseStore, moved: int, size_moved: int) -> Brought:
    """Returns what one output, or a part of it, is in the store."""
    if not piece.digest.is_dir:
        if piece.inner:
            raise _path_missing(source.repository, source.path, None)
        oid = piece.digest.value
        return Brought(piece.digest, _size(store, oid), None, moved, size_moved)
    whole = parse_manifest(store.read(piece.digest.value), name=piece.digest.value)
    file = whole.get(piece.inner) if piece.inner else None
    if file is not None:
        return Brought(Digest(store.algorithm, file), _size(store, file), None, moved, size_moved)
    tree = whole.below(piece.inner)
    if piece.inner and not tree.folders:
        raise _path_missing(source.repository, source.path, None)
    output = piece.out.output
    if piece.inner:
        return Brought(
            store_tree(tree, store), size_of_tree(tree, store), tree.file_count(), moved, size_moved
        )
    size = output.size if output.size is not None else size_of_tree(tree, store)
    return Brought(piece.digest, size, tree.file_count(), moved, size_moved)


def _tree_of(piece: Piece, store: LooseStore) -> Tree:
    """Returns the files of a whole output; of a single file one whose path is ""."""
    if not piece.digest.is_dir:
        return tree_of({"": piece.digest.value})
    return parse_manifest(store.read(piece.digest.value), name=piece.digest.value)


def store_tree(tree: Tree, store: LooseStore) -> Digest:
    """Stores the manifest of files that the store has, and returns its id."""
    data = render_manifest(tree)
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    store.write_small(oid, data)
    return Digest(store.algorithm, oid)


def size_of_tree(tree: Tree, store: LooseStore) -> int:
    """Returns the sum of the sizes of files; the same content counts as often as it is named."""
    looks = store.looks(tree.oids())
    return sum(
        int.from_bytes(looks[bytes.fromhex(oid)][8:16], "little")
        for _, oid in tree.files()
        if bytes.fromhex(oid) in looks
    )


def _size(store: LooseStore, oid: str) -> int:
    record = store.stat(oid)
    return int.from_bytes(record[8:16], "little") if record is not None else 0


def bring_pieces(source: Source, carrier: Carrier, *, depth: int = 0) -> tuple[int, int]:
    """Brings the objects of tracked data; returns how many were copied, and their bytes."""
    repository = source.repository
    needs = {piece.rel: plan.Need(piece.out.path, piece.digest, piece.inner) for piece in source.pieces}
    tally = _Tally()

    def lacking() -> list[Piece]:
        return [piece for piece in source.pieces if plan.lacks(needs[piece.rel], carrier.store)]

    left = lacking()
    if left and os.path.isdir(repository.cache_dir):
        cache = FolderRemote(
            "cache",
            repository.cache_dir,
            repository.cache_dir,
            index=StatIndex(NO_INDEX),
            limiter=carrier.limiter,
        )
        tally.fetch([needs[piece.rel] for piece in left], carrier, cache)
        left = lacking()
    remotes = _from_remotes(repository, left, needs, carrier, tally) if left else []
    left = lacking() if left else []
    for piece in left:
        if piece.stage.is_import and depth < _DEPTH:
            brought = carrier.follow(repository, piece.stage, piece.out, carrier, depth + 1)
            tally.count += brought.moved
            tally.size_bytes += brought.size_moved
    left = lacking() if left else []
    if left:
        raise _data_missing(source, left[0], remotes, carrier)
    carrier.records.extend(tally.records)
    return tally.count, tally.size_bytes


class _Tally:
    """Adds up what was copied."""

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0
        self.records: list[bytes] = []

    def fetch(self, needs: Sequence[plan.Need], carrier: Carrier, remote: Remote) -> None:
        done = plan.fetch(needs, carrier.store, remote, workers=carrier.workers, progress=carrier.progress)
        self.count += len(done.moved)
        self.size_bytes += done.size_bytes
        self.records += done.records


def _from_remotes(
    repository: OtherRepository,
    pieces: Sequence[Piece],
    needs: Mapping[str, plan.Need],
    carrier: Carrier,
    tally: _Tally,
) -> list[str]:
    """Asks the source's remotes for what is lacking; returns their names."""
    by_remote: dict[str | None, list[plan.Need]] = {}
    for piece in pieces:
        own = repository.default_remote or piece.out.output.remote
        by_remote.setdefault(own, []).append(needs[piece.rel])
    names = []
    for name, asked in by_remote.items():
        try:
            remote, _ = open_remote(repository, name, jobs=carrier.jobs)
        except NoRemoteError:
            continue
        names.append(remote.name)
        if isinstance(remote, FolderRemote):
            remote.check_readable()
        try:
            tally.fetch(asked, carrier, remote)
        finally:
            remote.close()
    return names


def _data_missing(
    source: Source, piece: Piece, remotes: Sequence[str], carrier: Carrier
) -> SourceDataMissingError:
    where = f"remote '{remotes[0]}'" if remotes else "a remote, for it has none"
    own = "its cache or " if os.path.isdir(source.repository.cache_dir) else ""
    lacking = _first_lacking(piece, carrier.store)
    return SourceDataMissingError(
        f"cannot bring '{piece.out.path}' from '{source.repository.title}': object {lacking} is not in {own}{where}",
        hint="run `kist push` there, then try again",
    )


def _first_lacking(piece: Piece, store: LooseStore) -> str:
    oid = piece.digest.value
    if not piece.digest.is_dir or not store.has(oid):
        return oid
    try:
        members = plan.needed_files([plan.Need(piece.out.path, piece.digest, piece.inner)], store)
    except FormatError:
        return oid
    return min(store.missing(members), default=oid)


class _StoredFiles(NamedTuple):
    """Files of Git or of a working tree: path below the source's -> (id, size in bytes), and how many there are."""

    files: dict[str, tuple[str, int]]
    new: int


def _store_files(source: Source, carrier: Carrier) -> _StoredFiles:
    """Stores files of Git, or of a working tree."""
    if source.files:
        return _store_paths(source.files, carrier)
    if not source.blobs:
        return _StoredFiles({}, 0)
    git = source.repository.git
    assert git is not None
    carrier.store.make_folder(carrier.store.base)
    staging = carrier.store.new_staging()
    try:
        names: dict[str, str] = {}
        shas = dict.fromkeys(item.sha for item in source.blobs.values())
        for number, (sha, data) in enumerate(git.read_blobs(shas)):
            name = f"{number // _FILES_A_FOLDER}/{number}"
            if number % _FILES_A_FOLDER == 0:
                os.mkdir(os.path.join(staging, os.path.dirname(name)))
            _write_read_only(os.path.join(staging, name), data)
            names[sha] = name
        stored = _stored(staging, carrier, links.HARDLINK)
    finally:
        remove_staging(staging)
    files = {rel: stored[names[item.sha]] for rel, item in source.blobs.items()}
    return _StoredFiles(files, len(names))


def _write_read_only(path: str, data: bytes) -> None:
    """Writes a file that will be an object, with an object's mode from the start."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OBJECT_MODE)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, OBJECT_MODE)
    finally:
        os.close(descriptor)


def _stored(folder: str, carrier: Carrier, link: str) -> dict[str, tuple[str, int]]:
    """Stores all files of a folder: path -> (id, size in bytes)."""
    found = scan_directory(folder, "", index=StatIndex(NO_INDEX), ignores=None)
    sizes = sizes_of(found)
    batches, places = unread_batches(found)
    done = store_batches(
        batches, carrier.store, link=link, workers=carrier.workers, progress=carrier.progress
    )
    tree = with_stored(found, places, done).tree()
    return {rel: (oid, sizes[rel]) for rel, oid in tree.files()}


def sizes_of(found: Snapshot) -> dict[str, int]:
    """Returns path -> size in bytes of what a scan saw."""
    return {
        f"{folder}/{name}" if folder else name: int.from_bytes(
            row.stats[at * 32 + 8 : at * 32 + 16], "little"
        )
        for folder, row in found.folders.items()
        for at, name in enumerate(row.split())
    }


def _store_paths(files: Mapping[str, str], carrier: Carrier) -> _StoredFiles:
    """Stores copies of files of a working tree, each read once."""
    from kist.base.listing import pack_stat
    from kist.store.ingest import FileBatch, FileChangedError

    rels = list(files)
    batches = []
    for rel in rels:
        folder, name = os.path.split(files[rel])
        batches.append(FileBatch(folder, name, pack_stat(os.stat(files[rel]))))
    done = store_batches(
        batches, carrier.store, link=links.COPY, workers=carrier.workers, progress=carrier.progress
    )
    found = {}
    for rel, batch, stored in zip(rels, batches, done, strict=True):
        if stored.changed:
            raise FileChangedError(
                f"cannot copy '{files[rel]}': it changes while it is read",
                hint="wait until nothing writes to it, then try again",
            )
        found[rel] = (stored.digests.hex(), int.from_bytes(batch.stats[8:16], "little"))
    return _StoredFiles(found, len(found))

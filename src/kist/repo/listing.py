"""`list`: what Git's files and tracked data look like together, in the workspace or at a revision.

A folder is the union of what is there and of what metafiles and manifests say of it. Names alone are cheap; figures
are looked up for the entries that are shown. Not here: rendering.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import MissingError
from kist.formats.manifest import Tree, TreeFolder, fingerprint, parse_manifest, tree_of
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.repo.collect import CommitSource, Out, WorkspaceSource, collect
from kist.store.loose import LooseStore

if TYPE_CHECKING:
    from kist.git.repository import TreeItem
    from kist.repo.repository import Repository


class PathMissingError(MissingError):
    """The path that was asked for is neither a file nor tracked data. The user mends the path."""

    code = "path-missing"


class ManifestMissingError(MissingError):
    """What a tracked directory holds is not known: its manifest is neither in the cache nor in the remote."""

    code = "manifest-missing"


class Entry(NamedTuple):
    """One line of a listing.

    Attributes:
        path: relative to what was listed.
        isout: it is tracked data, or a part of it.
        size: in bytes; None where it is not known. Of a folder on disk it is what the file system says (as DVC).
        md5: content id of tracked data.
    """

    path: str
    isout: bool
    isdir: bool
    isexec: bool
    size: int | None
    md5: str | None


class Group(NamedTuple):
    """Entries right in one folder: names in order, and which of them are folders."""

    folder: str
    names: list[str]
    folders: frozenset[str]


class WorkspaceFiles:
    """The files on disk, without what `.dvcignore` excludes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def children(self, folder: str) -> dict[str, bool]:
        """Returns name -> whether it is a folder."""
        matcher = self._repository.ignores.enter(folder)
        asks_all = not matcher.is_trivial
        found: dict[str, bool] = {}
        try:
            entries = os.scandir(self._repository.abspath(folder))
        except (FileNotFoundError, NotADirectoryError):
            return found
        with entries:
            for entry in entries:
                name = entry.name
                is_dir = entry.is_dir(follow_symlinks=False)
                # What is built in, and our temporary files, begins with a dot.
                if (asks_all or is_dir or name[0] == ".") and (
                    matcher.is_ignored(name, is_dir) or atomic.is_temp_name(name)
                ):
                    continue
                found[name] = is_dir
        return found

    def is_dir(self, path: str) -> bool | None:
        """Returns whether `path` is a folder, or None where nothing is."""
        absolute = self._repository.abspath(path)
        if not os.path.lexists(absolute):
            return None
        return os.path.isdir(absolute)

    def figures(self, path: str) -> tuple[int, bool] | None:
        """Returns size and whether it is executable, or None where nothing is."""
        absolute = self._repository.abspath(path)
        try:
            status = os.lstat(absolute)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = status.st_mode & 0o170000
        if kind == 0o120000:
            try:
                return os.stat(absolute).st_size, False
            except OSError:
                return 0, False
        return status.st_size, kind == 0o100000 and bool(status.st_mode & 0o100)


class CommitFiles:
    """The files of one commit."""

    def __init__(self, repository: Repository, rev: str) -> None:
        git = repository.git
        assert git is not None
        self._git = git
        offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/")
        prefix = "" if offset == "." else offset + "/"
        self._folders: dict[str, dict[str, TreeItem | None]] = {"": {}}
        for path, item in git.list_tree(rev, under=prefix.rstrip("/")).items():
            self._put(path[len(prefix) :], item)
        for folder in [folder for folder, rows in self._folders.items() if rows.get(".dvc", folder) is None]:
            # The repository's own folder goes, and repositories of their own go altogether.
            self._drop(folder or ".dvc")
        self._sizes: dict[str, int] = {}

    def _put(self, path: str, item: TreeItem) -> None:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            above = folder
            while above not in self._folders:
                self._folders[above] = {}
                above, _, below = above.rpartition("/")
                self._folders.setdefault(above, {})[below] = None
        self._folders[folder][name] = item

    def _drop(self, gone: str) -> None:
        folder, _, name = gone.rpartition("/")
        self._folders.get(folder, {}).pop(name, None)
        for path in [path for path in self._folders if (path + "/").startswith(gone + "/")]:
            del self._folders[path]

    def children(self, folder: str) -> dict[str, bool]:
        """Returns name -> whether it is a folder."""
        return {name: item is None for name, item in self._folders.get(folder, {}).items()}

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where there is none."""
        folder, _, name = path.rpartition("/")
        item = self._folders.get(folder, {}).get(name)
        if item is None or item.mode == "160000":
            return None
        return dict(self._git.read_blobs([item.sha]))[item.sha]

    def is_dir(self, path: str) -> bool | None:
        """Returns whether `path` is a folder, or None where nothing is."""
        if path in self._folders:
            return True
        folder, _, name = path.rpartition("/")
        return False if name in self._folders.get(folder, {}) else None

    def prepare(self, groups: list[Group]) -> None:
        """Looks up the sizes of all files of the groups at once."""
        shas = {
            item.sha
            for group in groups
            for name in group.names
            if (item := self._folders.get(group.folder, {}).get(name)) is not None and item.mode != "160000"
        }
        self._sizes.update((sha, len(data)) for sha, data in self._git.read_blobs(sorted(shas)))

    def figures(self, path: str) -> tuple[int, bool] | None:
        """Returns size and whether it is executable, or None where nothing is."""
        if path in self._folders:
            return self._tree_size(path), False
        folder, _, name = path.rpartition("/")
        item = self._folders.get(folder, {}).get(name)
        if item is None:
            return None
        if item.sha not in self._sizes:
            self.prepare([Group(folder, [name], frozenset())])
        return self._sizes.get(item.sha, 0), item.mode == "100755"

    def _tree_size(self, folder: str) -> int:
        """Returns the size of Git's object for a folder, which is what DVC shows."""
        rows = self._folders[folder]
        heads = [5 if item is None else len(item.mode) for item in rows.values()]
        return sum(heads) + sum(len(os.fsencode(name)) + 22 for name in rows)


class View:
    """The union of files and tracked data."""

    def __init__(
        self,
        repository: Repository,
        *,
        rev: str | None = None,
        dvc_only: bool = False,
        remote: str | None = None,
    ) -> None:
        """Args: remote: where manifests are looked for that the cache lacks; None for the default remote.

        Raises: RevisionMissingError, FormatError.
        """
        self._repository = repository
        self._remote = remote
        source = CommitSource(repository, rev) if rev is not None else WorkspaceSource(repository)
        self.files: WorkspaceFiles | CommitFiles | None = None
        if not dvc_only:
            self.files = CommitFiles(repository, rev) if rev is not None else WorkspaceFiles(repository)
        self._outs: dict[str, Out] = {}
        self._implied: dict[str, dict[str, bool]] = {}
        for stage in collect(source):
            for out in stage.outs:
                if out.is_inside and out.output.use_cache:
                    self._add(out)
        self._trees: dict[str, tuple[Tree, dict[str, set[str]]]] = {}
        self._row: tuple[str, dict[str, str]] = ("", {})

    def _add(self, out: Out) -> None:
        self._outs[out.path] = out
        digest = out.output.digest
        is_dir = out.output.files is not None or (digest is not None and digest.is_dir)
        path = out.path
        while path:
            folder, _, name = path.rpartition("/")
            known = self._implied.setdefault(folder, {})
            if name in known:
                break
            known[name] = is_dir
            path, is_dir = folder, True

    def out_of(self, path: str) -> tuple[Out, str] | None:
        """Returns the output that `path` is, or is inside of, and the path inside it."""
        here = path
        while here:
            if here in self._outs:
                return self._outs[here], path[len(here) + 1 :]
            here = here.rpartition("/")[0]
        return None

    def is_dir(self, path: str) -> bool:
        """Returns whether `path` is a folder.

        Raises: PathMissingError.
        """
        found = self.files.is_dir(path) if self.files is not None else None
        if found is not None:
            return found
        if not path or path in self._implied:
            return True
        folder, _, name = path.rpartition("/")
        if name in self._implied.get(folder, {}):
            return self._implied[folder][name]
        if self.out_of(path) is not None and name in (here := self._tracked(folder)):
            return here[name]
        near = closest(name, self.children(folder)) if not folder or self._is_folder(folder) else None
        raise PathMissingError(
            f"cannot find '{path}': it is no file and no tracked data of '{self._repository.title}'",
            hint=f"did you mean '{posixpath.join(folder, near)}'?"
            if near
            else shell_line("kist", "list", self._repository.title),
        )

    def _is_folder(self, path: str) -> bool:
        try:
            return self.is_dir(path)
        except PathMissingError:
            return False

    def children(self, folder: str) -> dict[str, bool]:
        """Returns what is in a folder: name -> whether it is a folder.

        Raises: ManifestMissingError, ManifestError, ObjectCorruptError.
        """
        found = self._tracked(folder)
        found.update(self._implied.get(folder, {}))
        if self.files is not None:
            found.update(self.files.children(folder))
        return found

    def _tracked(self, folder: str) -> dict[str, bool]:
        within = self.out_of(folder)
        if within is None:
            return {}
        out, inner = within
        tree, below = self.tree(out)
        row = tree.folders.get(inner)
        found = dict.fromkeys(row.names.split("\0"), False) if row is not None and row.names else {}
        found.update(dict.fromkeys(below.get(inner, ()), True))
        return found

    def tree(self, out: Out) -> tuple[Tree, dict[str, set[str]]]:
        """Returns what a tracked directory holds, and the folders right in each of its folders."""
        known = self._trees.get(out.path)
        if known is None:
            tree = read_tree(self._repository, out, self._remote)
            below: dict[str, set[str]] = {}
            for path in tree.folders:
                while path:
                    folder, _, name = path.rpartition("/")
                    names = below.setdefault(folder, set())
                    if name in names:
                        break
                    names.add(name)
                    path = folder
            known = self._trees[out.path] = (tree, below)
        return known

    def md5(self, folder: str, name: str) -> tuple[bool, str | None]:
        """Returns whether an entry is tracked data, and its content id."""
        path = f"{folder}/{name}" if folder else name
        out = self._outs.get(path)
        if out is not None:
            digest = out.output.digest
            return True, digest.value if digest is not None and digest.algorithm in (
                MD5,
                LEGACY_MD5,
            ) else None
        within = self.out_of(folder)
        if within is None:
            return False, None
        if self._row[0] != folder or not self._row[1]:
            tree, below = self.tree(within[0])
            row = tree.folders.get(within[1])
            ids = dict.fromkeys(below.get(within[1], ()), "")
            if row is not None and row.names:
                digits = row.digests.hex()
                names = row.names.split("\0")
                ids.update((name, digits[at * 32 : at * 32 + 32]) for at, name in enumerate(names))
            self._row = (folder, ids)
        oid = self._row[1].get(name)
        return oid is not None, oid or None

    def entry(self, folder: str, name: str, is_dir: bool) -> Entry:
        """Returns one entry, its path relative to the repository's root."""
        path = f"{folder}/{name}" if folder else name
        isout, oid = self.md5(folder, name)
        figures = self.files.figures(path) if self.files is not None else None
        if figures is not None:
            return Entry(path, isout, is_dir, figures[1] and not is_dir, figures[0], oid)
        out = self._outs.get(path)
        if out is None:
            return Entry(path, isout, is_dir, False, None, oid)
        size = out.output.size
        # `isexec` of a metafile is not told: it is about files that are there (as DVC).
        return Entry(path, True, is_dir, False, 0 if oid is None and size is None else size, oid)

    def size_of_object(self, path: str, oid: str) -> int:
        """Returns the size of the object of tracked data, 0 where the cache does not have it."""
        within = self.out_of(path)
        digest = within[0].output.digest if within is not None else None
        if digest is None:
            return 0
        record = self._repository.store_for(digest.algorithm).stat(oid)
        return int.from_bytes(record[8:16], "little") if record is not None else 0


def read_tree(repository: Repository, out: Out, remote: str | None = None) -> Tree:
    """Returns what a tracked directory holds, by its manifest: remembered, in the cache, or from the remote.

    Raises: ManifestMissingError, ManifestError, ObjectCorruptError.
    """
    output, digest = out.output, out.output.digest
    if output.files is not None:
        return tree_of({item.relpath: item.digest.value for item in output.files if item.digest is not None})
    if digest is None or not digest.is_dir:
        return Tree({})
    if digest.algorithm == MD5:
        rows = repository.index.folders(MD5, out.path)
        names = len(out.path) + 1
        seen = Tree(
            {path[names:]: TreeFolder(row.names, row.digests) for path, row in rows.items() if row.names}
        )
        if seen.folders:
            known = repository.index.tree(fingerprint(seen))
            if known is not None and known.oid == digest.value:
                return seen
    store = repository.store_for(digest.algorithm)
    data = store.read(digest.value) if store.has(digest.value) else _received(repository, out, digest, remote)
    return parse_manifest(data, name=digest.value)


def _received(repository: Repository, out: Out, digest: Digest, remote: str | None) -> bytes:
    """Returns a manifest's bytes from the remote; who only looks leaves nothing in the cache (as DVC 3.67.1).

    Raises: ManifestMissingError, and what speaks against the remote.
    """
    import shutil  # most listings need no remote

    from kist.repo.settings import NoRemoteError
    from kist.repo.transfers import open_remote

    oid = digest.value
    cause = f"its manifest '{oid}' is missing from the cache"
    # Right in `.dvc`, where the next changing command sweeps away what a kill leaves.
    passing = LooseStore(os.path.join(repository.dvc_dir, atomic.temp_name()), digest.algorithm)
    try:
        source, _ = open_remote(repository, remote or out.output.remote)
        outcome = source.receive({oid}, passing, workers=1, progress=repository.progress, phase="Fetching")
        if oid in outcome.copied:
            return passing.read(oid)
    except NoRemoteError as error:
        raise ManifestMissingError(
            f"cannot list '{out.path}': {cause}, and there is no remote", hint=error.hint
        ) from error
    finally:
        shutil.rmtree(passing.base, ignore_errors=True)
    raise ManifestMissingError(
        f"cannot list '{out.path}': {cause} and from remote '{source.name}'",
        hint="run `kist push` where the data was added, then try again",
    )


def groups(view: View, top: str, *, recursive: bool, max_depth: int | None = None) -> list[Group]:
    """Returns the entries of a folder, or of all folders below it.

    Args: max_depth: how many folders deep; folders at that depth are entries themselves.
    """
    if not recursive:
        found = view.children(top)
        return [Group(top, sorted(found), frozenset(name for name, is_dir in found.items() if is_dir))]
    done: list[Group] = []
    pending = [(top, 1)]
    while pending:
        folder, depth = pending.pop()
        found = view.children(folder)
        is_last = max_depth is not None and depth >= max_depth
        inner = [name for name, is_dir in found.items() if is_dir]
        if is_last:
            done.append(Group(folder, list(found), frozenset(inner)))
            continue
        done.append(Group(folder, [name for name, is_dir in found.items() if not is_dir], frozenset()))
        prefix = folder + "/" if folder else ""
        pending += [(prefix + name, depth + 1) for name in inner]
    return done


def paths(found: list[Group], top: str) -> list[str]:
    """Returns the paths of all entries relative to `top`, sorted."""
    skip = len(top) + 1 if top else 0
    names: list[str] = []
    for group in found:
        folder = group.folder[skip:]
        if folder:
            prefix = folder + "/"
            names += [prefix + name for name in group.names]
        else:
            names += group.names
    names.sort()
    return names


def entries(view: View, found: list[Group], top: str) -> list[Entry]:
    """Returns all entries with their figures, sorted, paths relative to `top`."""
    if isinstance(view.files, CommitFiles):
        view.files.prepare(found)
    skip = len(top) + 1 if top else 0
    rows = []
    for group in found:
        for name in group.names:
            entry = view.entry(group.folder, name, name in group.folders)
            rows.append(Entry(entry.path[skip:], *entry[1:]) if skip else entry)
    rows.sort(key=_path)
    return rows


def _path(entry: Entry) -> str:
    return entry.path


def single(view: View, path: str) -> list[Entry]:
    """Returns the one entry that a file is, called by its name."""
    folder, name = posixpath.split(path)
    return [view.entry(folder, name, False)._replace(path=name)]


def path_inside(root: str, path: str | None, *, cwd: str, is_rev: bool) -> str:
    """Returns a path argument relative to the root; "" for the root.

    Relative paths start from the current folder where that lies in the repository's workspace, else from the root.

    Raises: PathMissingError.
    """
    if path is None:
        return ""
    is_here = (cwd + os.sep).startswith(root + os.sep) and not is_rev
    if os.path.isabs(path) or is_here:
        absolute = os.path.normpath(os.path.join(cwd, path))
        if absolute != root and not absolute.startswith(root + os.sep):
            raise PathMissingError(
                f"cannot find '{path}': it is outside of the repository '{root}'",
                hint="name a path that is in it",
            )
        return absolute[len(root) + 1 :].replace(os.sep, "/")
    return posixpath.normpath("/" + path.replace(os.sep, "/")).lstrip("/")

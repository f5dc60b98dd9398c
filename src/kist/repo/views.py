"""A repository as it looks in the workspace or in a commit: files, and tracked data where there is no file.

Made for commands that look at a few small files in many versions: the tree of a commit is the change from the one
before, blobs come through one process. Not here: what the files mean (declared, metrics, params, plots).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from kist.errors import FormatError
from kist.git.repository import GitObjectMissingError, GitRepository
from kist.repo.beside_git import need_git, offset_of
from kist.repo.collect import (
    OLD_FILE,
    PIPELINE_FILE,
    CommitSource,
    WorkspaceSource,
    collect,
)
from kist.repo.small_data import SmallData

if TYPE_CHECKING:
    from kist.git.process import BlobReader
    from kist.pipeline.interpolate import OptionStyle
    from kist.repo.repository import Repository

WORKSPACE = "workspace"


class View(Protocol):
    """One version of a repository. All paths are relative to the repository's root, with "/".

    Attributes:
        name: "workspace", or the commit's id.
    """

    name: str

    def metafiles(self) -> Iterator[str]:
        """Yields `.dvc`, `Dvcfile` and `dvc.yaml` files, those of a folder before those of the folders in it.

        The outputs of each are named by `prune` before the next one is asked for.
        """

    def prune(self, path: str) -> None:
        """Keeps the walk out of an output."""

    def read_file(self, path: str) -> bytes | None:
        """Returns the bytes of a file of the work tree or of Git; None where there is none."""

    def read(self, path: str) -> bytes | None:
        """Returns the bytes of a file, or of tracked data of this name from the cache; None where neither is."""

    def key(self, path: str) -> str | None:
        """Returns what names the content of a file of Git, for memories; None where that is not known."""

    def is_folder(self, path: str) -> bool:
        """Says whether there are files, or tracked data, below a path."""

    def files_below(self, path: str) -> list[str]:
        """Returns the files, and tracked data, below a path; sorted."""

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""


class _Tracked:
    """The tracked data of one version, for the paths at which there is no file."""

    def __init__(self, source: WorkspaceSource | CommitSource, data: SmallData) -> None:
        stages = collect(source, on_damage=_pass_over)
        self._outputs = {out.path: out.output for stage in stages for out in stage.outs if out.is_inside}
        self._data = data

    def read(self, path: str) -> bytes | None:
        """Returns the bytes of a tracked file; None where nothing has it."""
        above = path
        while above:
            output = self._outputs.get(above)
            if output is not None:
                return self._data.read(output, path[len(above) + 1 :])
            above = posixpath.dirname(above)
        return None

    def below(self, path: str) -> list[str]:
        """Returns the tracked files below a path."""
        start = f"{path}/" if path else ""
        found = []
        for at, output in self._outputs.items():
            if at != path and not at.startswith(start) and not path.startswith(f"{at}/"):
                continue
            tree = self._data.members(output)
            members = [at] if tree is None else [f"{at}/{member}" for member, _ in tree.files()]
            found += [member for member in members if member.startswith(start)]
        return found


def _pass_over(path: str, error: FormatError) -> None:
    """Leaves a metafile out that cannot be read: whoever needs it has said so."""


class WorkspaceView:
    """The files on disk."""

    name = WORKSPACE

    def __init__(self, repository: Repository, data: SmallData) -> None:
        self._repository = repository
        self._small_data = data
        self._walk = WorkspaceSource(repository)
        self._tracked: _Tracked | None = None

    def metafiles(self) -> Iterator[str]:
        """Yields the metafiles."""
        self._walk = WorkspaceSource(self._repository)
        yield from self._walk.metafiles()

    def prune(self, path: str) -> None:
        """Keeps the walk out of an output."""
        self._walk.prune(path)

    def read_file(self, path: str) -> bytes | None:
        """Returns the bytes of a file; None where there is none."""
        try:
            with open(self._repository.abspath(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read(self, path: str) -> bytes | None:
        """Returns the bytes of a file, or of tracked data."""
        data = self.read_file(path)
        return self._data().read(path) if data is None and _is_inside(path) else data

    def key(self, path: str) -> str | None:
        """Returns None: a file may change at any time."""
        return None

    def is_folder(self, path: str) -> bool:
        """Says whether there are files, or tracked data, below a path."""
        absolute = self._repository.abspath(path)
        if os.path.lexists(absolute):
            return os.path.isdir(absolute)
        return bool(self._data().below(path))

    def files_below(self, path: str) -> list[str]:
        """Returns the files, and tracked data, below a path; sorted."""
        root = self._repository.root
        found = set(self._data().below(path))
        for folder, _, names in os.walk(self._repository.abspath(path)):
            base = os.path.relpath(folder, root).replace(os.sep, "/")
            found.update(posixpath.normpath(posixpath.join(base, name)) for name in names)
        return sorted(found)

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""
        return WorkspaceSource(self._repository).option_style()

    def _data(self) -> _Tracked:
        if self._tracked is None:
            self._tracked = _Tracked(WorkspaceSource(self._repository), self._small_data)
        return self._tracked


class CommitFiles(NamedTuple):
    """The files of a commit.

    Attributes:
        offset: the way from the top of Git's tree to our root, "" or ending in "/".
        tree: path from the top -> blob.
        metafiles: relative to our root, in order.
    """

    commit: str
    offset: str
    tree: Mapping[str, str]
    metafiles: Sequence[str]


class CommitView:
    """One commit. Valid until the next one is asked for."""

    def __init__(
        self, repository: Repository, files: CommitFiles, blobs: BlobReader, data: SmallData
    ) -> None:
        self.name = files.commit
        self._repository = repository
        self._offset = files.offset
        self._tree = files.tree
        self._metafiles = files.metafiles
        self._blobs = blobs
        self._small_data = data
        self._tracked: _Tracked | None = None

    def metafiles(self) -> Iterator[str]:
        """Yields the metafiles."""
        yield from self._metafiles

    def prune(self, path: str) -> None:
        """Does nothing: a commit holds no data."""

    def read_file(self, path: str) -> bytes | None:
        """Returns the bytes of a file of the commit; None where there is none."""
        sha = self._tree.get(self._offset + path)
        return None if sha is None else self._blob(sha)

    def _blob(self, sha: str) -> bytes:
        data = self._blobs.read(sha)
        if data is None:
            raise GitObjectMissingError(
                f"cannot read git object '{sha}': it is not in this clone",
                hint="run `git fetch --unshallow` in a shallow clone, or `git fsck`",
            )
        return data

    def read(self, path: str) -> bytes | None:
        """Returns the bytes of a file, or of tracked data."""
        data = self.read_file(path)
        return self._data().read(path) if data is None and _is_inside(path) else data

    def key(self, path: str) -> str | None:
        """Returns the id of a file's blob; None where there is no file."""
        return self._tree.get(self._offset + path)

    def is_folder(self, path: str) -> bool:
        """Says whether there are files, or tracked data, below a path."""
        if self._offset + path in self._tree:
            return False
        return bool(self.files_below(path))

    def files_below(self, path: str) -> list[str]:
        """Returns the files, and tracked data, below a path; sorted."""
        start = f"{self._offset}{path}/" if path else self._offset
        found = {name[len(self._offset) :] for name in self._tree if name.startswith(start)}
        return sorted(found.union(self._data().below(path)))

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""
        return WorkspaceSource(self._repository).option_style()

    def _data(self) -> _Tracked:
        if self._tracked is None:
            source = _TreeSource(self._repository, self.name, dict(self._tree), _Reading(self._blob))
            self._tracked = _Tracked(source, self._small_data)
        return self._tracked


class _Reading(dict[str, bytes]):
    """Blobs that are read when they are asked for; not kept."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, sha: str) -> bytes:
        return self._read(sha)


class _TreeSource(CommitSource):
    """A commit whose whole tree is known, so that what is not in it need not be looked for."""

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where the commit has none."""
        return super().read(path) if path in self.shas else None


def _is_inside(path: str) -> bool:
    return "://" not in path and not path.startswith(("../", "/")) and path != ".."


class Views:
    """Makes views that share what they read. Use as a context manager: it ends the process that reads blobs."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._data = SmallData(repository)
        self._blobs: BlobReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._blobs is not None:
            self._blobs.close()

    def workspace(self) -> WorkspaceView:
        """Returns the workspace."""
        return WorkspaceView(self._repository, self._data)

    def commits(self, shas: Sequence[str]) -> Iterator[CommitView]:
        """Yields commits in the order given, each valid until the next; one without our root is left out.

        Args: shas: whole ids.
        """
        if not shas:
            return
        git = need_git(self._repository, "read revisions")
        offset = offset_of(self._repository, git)
        if self._blobs is None:
            self._blobs = git.blob_reader()
        tree: dict[str, str] = {}
        metafiles: set[str] = set()
        ordered: list[str] = []
        below = 0
        for change in git.tree_changes(shas):
            is_same = True
            for path, sha in change.blobs.items():
                is_ours = path.startswith(offset)
                below += is_ours and (sha is not None) - (path in tree)
                if is_ours and _is_metafile(path, offset):
                    is_same = False
                    (metafiles.discard if sha is None else metafiles.add)(path[len(offset) :])
            change.apply_to(tree)
            if not is_same:
                ordered = sorted(metafiles, key=_top_down)
            if offset and not below:
                continue
            files = CommitFiles(change.commit, offset, tree, ordered)
            yield CommitView(self._repository, files, self._blobs, self._data)


def _is_metafile(path: str, offset: str) -> bool:
    name = posixpath.basename(path)
    if path.startswith(offset + ".dvc/"):
        return False
    return name in (PIPELINE_FILE, OLD_FILE) or (name.endswith(".dvc") and name != ".dvc")


def _top_down(path: str) -> tuple[list[str], str]:
    *folders, name = path.split("/")
    return folders, name


def named_revisions(
    repository: Repository,
    revs: Sequence[str] = (),
    *,
    branches: bool = False,
    tags: bool = False,
    commits: bool = False,
) -> dict[str, list[str]]:
    """Returns commit -> the names by which it was asked for, in order.

    Args:
        revs: names of revisions, "workspace" is passed over.
        branches, tags, commits: all of them; with all commits their ids are the names.

    Raises: NoGitError, RevisionMissingError.
    """
    git = need_git(repository, "read revisions")
    pairs = [(git.resolve(rev), rev) for rev in revs if rev != WORKSPACE]
    if commits:
        pairs += [(sha, sha) for sha in git.named_commits()]
    else:
        pairs += [(sha, name) for name, sha in git.branches().items()] if branches else []
        pairs += [(sha, name) for name, sha in git.tags().items()] if tags else []
    found: dict[str, list[str]] = {}
    for sha, name in pairs:
        names = found.setdefault(sha, [])
        if name not in names:
            names.append(name)
    return found


def has_history(repository: Repository) -> bool:
    """Says whether there is a commit to compare with.

    Raises: NoGitError.
    """
    git: GitRepository = need_git(repository, "compare revisions")
    return git.has_commits()

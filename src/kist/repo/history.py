"""`log`: the versions of data in Git's history, with what came and went, and whether a remote has them.

Reads only. Not here: layout on the screen (cli). Implements docs/spec/save-switch-sync.md, section 5.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.suggest import closest
from kist.errors import FormatError
from kist.formats.manifest import member_oids
from kist.formats.records import LEGACY_MD5, MD5, Digest, Output
from kist.git.repository import CommitChange, CommitWords, GitRepository
from kist.repo.beside_git import need_git, offset_of
from kist.repo.collect import (
    LOCK_FILE,
    METAFILE_SUFFIXES,
    PIPELINE_FILE,
    CommitSource,
    Out,
    WorkspaceSource,
    collect,
    read_stages,
)
from kist.repo.counting import Counter, Tally, total
from kist.repo.manifests import Manifests
from kist.repo.targets import TargetMissingError, all_outputs
from kist.repo.transfers import open_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository

_CHUNK = 1000
"""Commits that are looked at together: each chunk costs four processes, and holds its metafiles in memory."""


_Place = tuple[str | None, str]
"""Name of a remote, None for the default one, and kind of digest."""


class OutputVersion(NamedTuple):
    """One output in one version: kind is "added", "changed" or "removed"; `tally` is None where that is unknown.

    Attributes:
        before: what it is in each parent; None where a parent has none.
    """

    path: str
    metafile: str
    kind: str
    output: Output
    is_import: bool
    tally: Tally | None
    before: tuple[Output | None, ...] = ()


class Version(NamedTuple):
    """A commit that brought data which its parents do not have.

    Attributes:
        in_remote: all that it brought is there; None when unknown or not asked.
    """

    commit: str
    words: CommitWords
    tags: list[str]
    branches: list[str]
    outputs: list[OutputVersion]
    tally: Tally | None
    in_remote: bool | None = None


def history(
    repository: Repository,
    path: str | None,
    *,
    revs: Sequence[str] = ("HEAD",),
    limit: int | None = None,
    cloud: bool = False,
    remote: str | None = None,
) -> list[Version]:
    """Returns the versions, the newest first.

    Args:
        path: only this output, or what is at or below this path.
        revs: revisions, or "--all".
        limit: so many at most.
        cloud: ask the remote, `remote` or the default one, also for manifests that are nowhere here.

    Raises: NoGitError, RevisionMissingError, TargetMissingError (no data has that path, in the history or here), and
        what a remote raises.
    """
    git = need_git(repository, "show the log")
    rel = repository.rel(path) if path is not None else ""
    if not git.has_commits() and list(revs) == ["HEAD"]:
        return []
    found = list(itertools.islice(_History(repository, git, rel).versions(revs, limit), limit))
    # Inside of a directory a version may turn out to be none, and make room for an older one.
    while cloud and _fetch_lists(repository, found, remote):
        found = list(itertools.islice(_History(repository, git, rel).versions(revs, limit), limit))
    if rel and not found:
        _refuse_unknown(repository, git, rel, revs)
    return _with_remote(repository, found, remote) if cloud else found


def _refuse_unknown(repository: Repository, git: GitRepository, rel: str, revs: Sequence[str]) -> None:
    """Raises: TargetMissingError: the path is at or below no output of the history, nor of the workspace."""
    stages = collect(WorkspaceSource(repository), on_damage=lambda path, error: None)
    here = {item.out.path for item in all_outputs(stages)}
    if any(f"{path}/".startswith(f"{rel}/") or rel.startswith(f"{path}/") for path in here):
        return
    versions = _History(repository, git, "").versions(revs, None)
    known = sorted(here | {output.path for version in versions for output in version.outputs})
    near = closest(repository.shown(rel), [repository.shown(path) for path in known])
    raise TargetMissingError(
        f"cannot find '{repository.shown(rel)}': no version has data of this name",
        hint=f"did you mean '{near}'?" if near else "kist log",
    )


def bare_versions(repository: Repository, rel: str) -> Iterator[Version]:
    """Yields the versions up to HEAD of what is at, below or above a path, the newest first; nothing is counted.

    Args: rel: relative to the root.
    """
    git = need_git(repository, "read the history")
    if git.has_commits():
        yield from _History(repository, git, rel, counts=False).versions(["HEAD"], None)


def drawing(
    repository: Repository, versions: Sequence[Version], revs: Sequence[str]
) -> list[tuple[str, str]]:
    """Returns git's drawing of the commits that touch the metafiles of versions: (drawing, commit or "") lines."""
    git = need_git(repository, "show the log")
    offset = offset_of(repository, git)
    files = {output.metafile for version in versions for output in version.outputs}
    locks = {
        posixpath.join(posixpath.dirname(path), LOCK_FILE)
        for path in files
        if posixpath.basename(path) == PIPELINE_FILE
    }
    paths = sorted(offset + path for path in files | locks)
    return git.graph(revs, paths) if paths else []


class _History:
    """One walk through the history."""

    def __init__(self, repository: Repository, git: GitRepository, rel: str, *, counts: bool = True) -> None:
        self._repository = repository
        self._git = git
        self._rel = rel
        self._counts = counts
        self._offset = offset_of(repository, git)
        self._counter = Counter(repository)
        self._parsed: dict[tuple[str, str, str], list[Out]] = {}
        self._blobs: dict[str, bytes] = {}
        self._tags = _by_commit(git.tags())
        self._branches = _by_commit(git.branches())

    def versions(self, revs: Sequence[str], limit: int | None) -> Iterator[Version]:
        """Yields versions, the newest first."""
        size = _CHUNK if limit is None else min(_CHUNK, 20 + 4 * limit)
        changes = _joined(self._git.history(revs, METAFILE_SUFFIXES))
        while chunk := list(itertools.islice(changes, size)):
            yield from self._chunk(dict(chunk))

    def _chunk(self, changed: dict[str, set[str]]) -> Iterator[Version]:
        words = self._git.describe(changed)
        wanted: dict[str, set[str]] = {}
        for commit, paths in changed.items():
            files = self._metafiles(paths)
            for one in (commit, *words[commit].parents):
                wanted.setdefault(one, set()).update(files)
        trees: dict[str, dict[str, str]] = {}
        for commit, tree in self._git.trees(wanted, METAFILE_SUFFIXES):
            trees[commit] = {path: tree[path] for path in wanted[commit] if path in tree}
        self._read(sha for tree in trees.values() for sha in tree.values())
        for commit, paths in changed.items():
            version = self._version(commit, words[commit], self._metafiles(paths), trees)
            if version is not None:
                yield version

    def _metafiles(self, paths: Iterable[str]) -> set[str]:
        """Returns the metafiles of our root among changed paths; of a pipeline both files."""
        found = set()
        for path in paths:
            if not path.startswith(self._offset) or path.startswith(self._offset + ".dvc/"):
                continue
            found.add(path)
            folder, name = posixpath.split(path)
            if name in (PIPELINE_FILE, LOCK_FILE):
                found.update(posixpath.join(folder, other) for other in (PIPELINE_FILE, LOCK_FILE))
        return found

    def _read(self, shas: Iterable[str]) -> None:
        lacking = {sha for sha in shas if sha not in self._blobs}
        self._blobs.update(self._git.read_blobs(sorted(lacking)))

    def _version(
        self, commit: str, words: CommitWords, files: set[str], trees: dict[str, dict[str, str]]
    ) -> Version | None:
        after = self._outputs(commit, files, trees[commit])
        before = [self._outputs(parent, files, trees[parent]) for parent in words.parents] or [{}]
        found = []
        for path in sorted({*after, *before[0]}):
            new, old = after.get(path), before[0].get(path)
            befores = tuple(side[path].output if path in side else None for side in before)
            digests = [output.digest if output is not None else None for output in befores]
            if (new.output.digest if new is not None else None) in digests:
                continue
            inner = self._rel[len(path) + 1 :] if self._rel.startswith(path + "/") else ""
            tally = None
            if self._counts:
                tally = self._counter.compare(
                    old.output if old is not None else None,
                    new.output if new is not None else None,
                    inner=inner,
                )
            if inner and tally is not None and tally.is_empty:
                continue
            kind = "changed" if new is not None and old is not None else "removed" if new is None else "added"
            out = new if new is not None else old
            assert out is not None
            file = out.stage.partition(":")[0]
            found.append(OutputVersion(path, file, kind, out.output, out.is_import, tally, befores))
        if not found:
            return None
        tags, branches = self._tags.get(commit, []), self._branches.get(commit, [])
        return Version(commit, words, tags, branches, found, total(output.tally for output in found))

    def _outputs(self, commit: str, files: set[str], tree: dict[str, str]) -> dict[str, Out]:
        """Returns the outputs that metafiles of a commit name, by path."""
        found: dict[str, Out] = {}
        for path in sorted(files & tree.keys()):
            if posixpath.basename(path) != LOCK_FILE:
                found.update(
                    (out.path, out) for out in self._parse(commit, path, tree) if self._is_meant(out)
                )
        return found

    def _is_meant(self, out: Out) -> bool:
        digest = out.output.digest
        if not out.is_inside or digest is None or digest.algorithm not in (MD5, LEGACY_MD5):
            return False
        rel = self._rel
        return not rel or out.path == rel or out.path.startswith(rel + "/") or rel.startswith(out.path + "/")

    def _parse(self, commit: str, path: str, tree: dict[str, str]) -> list[Out]:
        lock = posixpath.join(posixpath.dirname(path), LOCK_FILE)
        key = (path, tree[path], tree.get(lock, "") if posixpath.basename(path) == PIPELINE_FILE else "")
        if key not in self._parsed:
            source = CommitSource(self._repository, commit, tree, self._blobs)
            try:
                stages = read_stages(source, path[len(self._offset) :])
            except FormatError as error:
                self._repository.notes.append(f"left out '{commit[:7]}:{path}': {error.message}")
                stages = []
            self._parsed[key] = [out for stage in stages for out in stage.outs]
        return self._parsed[key]


def _joined(changes: Iterable[CommitChange]) -> Iterator[tuple[str, set[str]]]:
    """Yields (commit, changed paths), merges once; a merge is in the stream once for each parent, in a row."""
    for commit, group in itertools.groupby(changes, lambda change: change.commit):
        yield commit, {path for change in group for path in change.blobs}


def _by_commit(refs: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, commit in refs.items():
        found.setdefault(commit, []).append(name)
    return found


def unknown_lists(repository: Repository, versions: Iterable[Version]) -> dict[_Place, set[str]]:
    """Returns the manifests that are nowhere here, and that counting and asking a remote would need: place -> ids."""
    manifests = Manifests(repository)
    found: dict[_Place, set[str]] = {}
    for version in versions:
        for item in version.outputs:
            sides = [item.output] if item.kind != "removed" else []
            sides += [side for side in item.before[:1] if side is not None]
            for side in sides if not item.is_import else ():
                digest = side.digest
                if digest is not None and not manifests.is_here(digest):
                    found.setdefault((side.remote, digest.algorithm), set()).add(digest.value)
    return found


def _fetch_lists(repository: Repository, versions: Sequence[Version], name: str | None) -> bool:
    """Gets manifests from remotes into memory, in one batch each; says whether some came."""
    manifests = Manifests(repository)
    is_any = False
    for (own, algorithm), oids in unknown_lists(repository, versions).items():
        remote, _ = open_remote(repository, own if name is None else name)
        try:
            manifests.fetch_from(remote, algorithm, oids)
        except OSError:
            continue  # it cannot be read, which the question for completeness tells, or nothing be written here
        finally:
            remote.close()
        is_any = is_any or any(manifests.is_here(Digest(algorithm, oid)) for oid in oids)
    return is_any


def _with_remote(repository: Repository, versions: list[Version], name: str | None) -> list[Version]:
    """Returns the versions with what one look at each remote tells."""
    counter = Counter(repository)
    needs: dict[_Place, set[str]] = {}
    needed: list[list[tuple[_Place, set[str], bool]]] = []
    for version in versions:
        rows = []
        for item in version.outputs:
            digest = item.output.digest
            is_there_to_be = item.kind != "removed" and item.output.can_push and item.output.use_cache
            if digest is None or item.is_import or not is_there_to_be:
                continue
            key = (item.output.remote if name is None else name, digest.algorithm)
            oids = {digest.value}
            manifest = counter.manifest(digest) if digest.is_dir else None
            if manifest is not None:
                oids |= _members(manifest, digest.value)
            needs.setdefault(key, set()).update(oids)
            rows.append((key, oids, digest.is_dir and manifest is None))
        needed.append(rows)
    missing: dict[_Place, set[str]] = {}
    if not needs:
        open_remote(repository, name)
    for key, oids in needs.items():
        remote, note = open_remote(repository, key[0])
        if note is not None and note not in repository.notes:
            repository.notes.append(note)
        missing[key] = remote.missing(oids, key[1])
    return [
        version._replace(in_remote=_verdict(rows, missing))
        for version, rows in zip(versions, needed, strict=True)
    ]


def _members(manifest: bytes, name: str) -> set[str]:
    try:
        return member_oids(manifest, name=name)
    except FormatError:
        return set()


def _verdict(
    rows: Sequence[tuple[_Place, set[str], bool]],
    missing: dict[_Place, set[str]],
) -> bool | None:
    if any(oids & missing[key] for key, oids, _ in rows):
        return False
    return None if any(is_unknown for _, _, is_unknown in rows) else True

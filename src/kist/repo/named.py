"""Which objects the references of a repository name: tracked path and digest, in the workspace and in commits.

Not here: what is done with the others (gc). Implements docs/spec/gc.md, section 2.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError, InputError
from kist.formats.metafile import parse_metafile
from kist.formats.records import LEGACY_MD5, MD5, Digest, Output
from kist.repo.collect import (
    LOCK_FILE,
    METAFILE_SUFFIXES,
    OLD_FILE,
    PIPELINE_FILE,
    CommitSource,
    Stage,
    WorkspaceSource,
    collect,
    read_stages,
    stage_of_metafile,
)

if TYPE_CHECKING:
    from kist.git.repository import GitRepository
    from kist.repo.repository import Repository

PARAMS_FILE = "params.yaml"
_VERSIONS_AT_ONCE = 2000
"""Versions of metafiles that are held in memory together."""

OnDamage = Callable[[str, FormatError], None]
"""Called with the metafile, `PATH` or `COMMIT:PATH`, and what is wrong with it."""


class BadDateError(InputError):
    """A date is not written as year-month-day. The user mends it."""

    code = "date-invalid"


class UnrecordedError(FormatError):
    """A metafile tracks something without saying which content it has. `kist add` or `kist commit` mends it."""

    code = "metafile-without-hash"


class UnreadableFolderError(FormatError):
    """A folder of the workspace cannot be listed, for want of permission; metafiles in it are unknown."""

    code = "folder-unreadable"


class Scope(NamedTuple):
    """Which references are meant.

    Attributes:
        workspace: the metafiles as they lie on disk.
        branches, tags: the tips of all of them.
        commits: every commit that a reference or HEAD reaches, experiments aside.
        experiments: the commits of all experiments.
        revs: commits by name.
        num: with `branches` or `revs`: so many commits from each, by first parents; negative means all of them.
        date: commits of this day, `YYYY-MM-DD`, and later ones.
        stash: every entry of the stash, which is nobody's history.
        past: with `commits`: also what a reference or HEAD once reached, as far as Git remembers.
    """

    workspace: bool = True
    branches: bool = False
    tags: bool = False
    commits: bool = False
    experiments: bool = False
    revs: tuple[str, ...] = ()
    num: int | None = None
    date: str | None = None
    stash: bool = False
    past: bool = False


class Named(NamedTuple):
    """One version of a tracked path.

    Attributes:
        path: relative to the root; for outputs elsewhere (old, external) as written.
        commit: the newest commit in the scope that names it; "" for the workspace.
        stage: address of the stage that it is an output of.
        refs: branches and tags whose tips name it, sorted, when they were asked for.
        home: the remote that its metafile sends it to, "" for whichever is used, None where `push` leaves it out.
    """

    path: str
    digest: Digest
    commit: str
    stage: str
    refs: tuple[str, ...] = ()
    home: str | None = ""


def named(
    repository: Repository,
    scope: Scope,
    *,
    on_damage: OnDamage,
    with_refs: bool = False,
    source: WorkspaceSource | None = None,
) -> Iterator[Named]:
    """Yields each (path, digest) that the scope names once, with the newest that names it; the workspace first.

    Outputs that are not stored (`cache: false`, or an id that is no md5) are left out.

    Args:
        on_damage: called for each metafile that is empty, cannot be understood, or has no hashes.
        source: the workspace, for callers that want to know what else the walk met.
        with_refs: tell the branches and tags whose tips name each, of those tips that are in the scope.

    Raises:
        RevisionMissingError, BadDateError: of the scope.
    """
    found = _Found(on_damage)
    if scope.workspace:
        source = source or WorkspaceSource(repository)
        stages = collect(source, on_damage=on_damage)
        for folder in source.unreadable:
            shown = folder or "."
            on_damage(shown, UnreadableFolderError(f"cannot list '{shown}': permission denied"))
        found.add("", [item for stage in stages for item in found.of_stage(stage, "")])
    git = repository.git
    if git is not None:
        commits = commits_in(git, scope)
        if commits:
            _Commits(repository, git, found, _tips(git) if with_refs else {}, on_damage).run(commits)
    yield from found.items()


def commits_in(git: GitRepository, scope: Scope) -> list[str]:
    """Returns the commits of a scope, the newest first.

    Raises: RevisionMissingError, BadDateError.
    """
    chosen: dict[str, None] = {}
    if scope.commits:
        chosen.update(dict.fromkeys(git.all_commits(reflogs=scope.past)))
    sorted_count = len(chosen)
    if scope.date is not None:
        since = _day_start(scope.date)
        chosen.update(dict.fromkeys(sha for sha, time_s in git.dated_commits() if time_s >= since))
    roots = [git.resolve(rev) for rev in scope.revs]
    if scope.branches:
        roots += git.branches().values()
    count = 1 if scope.num is None else scope.num
    chosen.update(dict.fromkeys(roots if count in (0, 1) else git.first_parents(roots, count)))
    if scope.tags:
        chosen.update(dict.fromkeys(git.tags().values()))
    if scope.experiments:
        chosen.update(dict.fromkeys(git.experiment_commits()))
    if scope.stash:
        chosen.update(dict.fromkeys(git.stash_commits()))
    return list(chosen) if len(chosen) in (sorted_count, 0, 1) else git.newest_first(chosen)


def _day_start(date: str) -> float:
    import datetime  # only where a date is given

    try:
        day = datetime.datetime.strptime(date, "%Y-%m-%d")
    except ValueError as error:
        raise BadDateError(
            f"cannot use '{date}' as a date: a day is expected", hint="write it as 2024-12-31"
        ) from error
    return day.timestamp()


def _tips(git: GitRepository) -> dict[str, list[str]]:
    tips: dict[str, list[str]] = {}
    for refs in (git.branches(), git.tags()):
        for name, sha in refs.items():
            tips.setdefault(sha, []).append(name)
    return tips


_Key = tuple[str, Digest]
_Item = tuple[str, Digest, str, str | None]
"""Path, digest, address of the stage, home."""


class _Found:
    """What was found so far."""

    def __init__(self, on_damage: OnDamage) -> None:
        self._on_damage = on_damage
        self._first: dict[_Key, tuple[str, str, str | None]] = {}
        self._refs: dict[_Key, set[str]] = {}

    def add(self, commit: str, items: Iterable[_Item]) -> None:
        """Notes what a commit names; what was noted before is newer and stays."""
        for path, digest, stage, home in items:
            self._first.setdefault((path, digest), (commit, stage, home))

    def add_refs(self, names: Iterable[str], items: Iterable[_Item]) -> None:
        """Notes that the tips of some references name these."""
        for path, digest, _, _ in items:
            self._refs.setdefault((path, digest), set()).update(names)

    def items(self) -> Iterator[Named]:
        """Yields everything."""
        for (path, digest), (commit, stage, home) in self._first.items():
            refs = tuple(sorted(self._refs.get((path, digest), ())))
            yield Named(path, digest, commit, stage, refs, home)

    def of_stage(self, stage: Stage, commit: str) -> Iterator[_Item]:
        """Yields what the outputs of a stage name."""
        for out in stage.outs:
            output = out.output
            if not output.use_cache:
                continue
            if output.digest is not None and output.digest.algorithm in (MD5, LEGACY_MD5):
                yield out.path, output.digest, stage.address, _home(stage, output)
            for entry in output.files or () if output.digest is None else ():
                if entry.digest is not None and entry.digest.algorithm in (MD5, LEGACY_MD5):
                    yield f"{out.path}/{entry.relpath}", entry.digest, stage.address, None
            if output.digest is None and not output.files and stage.is_data:
                self._on_damage(
                    f"{commit[:7]}:{stage.file}" if commit else stage.file,
                    UnrecordedError(
                        f"cannot tell which data '{stage.file}' needs: it has no hash for '{output.path}'"
                    ),
                )


def _home(stage: Stage, output: Output) -> str | None:
    """Returns the remote that an output is pushed to: "" for whichever is used, None for none."""
    is_own = stage.metafile is None or not any(dep.repo is not None for dep in stage.metafile.deps)
    return (output.remote or "") if output.can_push and is_own else None


class _Job(NamedTuple):
    """One version of a metafile.

    Attributes:
        files: for a pipeline: path -> blob of all files in its commit that may tell what it means.
    """

    commit: str
    path: str
    sha: str
    files: dict[str, str]


class _Commits:
    """Reads the metafiles of many commits: each version of a file once, some thousands of them at a time."""

    def __init__(
        self,
        repository: Repository,
        git: GitRepository,
        found: _Found,
        tips: dict[str, list[str]],
        on_damage: OnDamage,
    ) -> None:
        self._repository = repository
        self._git = git
        self._found = found
        self._tips = tips
        self._on_damage = on_damage
        offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/")
        self._offset = "" if offset == "." else offset + "/"
        self._suffixes = [*METAFILE_SUFFIXES, PARAMS_FILE]
        self._reads: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._known: dict[tuple[str, ...], tuple[_Item, ...]] = {}

    def run(self, commits: Sequence[str]) -> None:
        """Notes what the commits, the newest first, name."""
        while unlisted := self._attempt(commits):
            # A pipeline takes values from other files: where they change, what it names may change with them.
            self._suffixes += sorted(unlisted)
            self._known.clear()
            self._reads.clear()

    def _attempt(self, commits: Sequence[str]) -> set[str]:
        """Returns the names of files that would have had to be looked at as well."""
        jobs: list[_Job] = []
        at_tips: list[tuple[str, list[_Job]]] = []
        before: dict[str, str] = {}
        files: dict[str, str] = {}
        for commit, tree in self._git.trees(commits, self._suffixes):
            changed = dict(tree.items() - before.items())
            if any(not _is_single(path) for path in changed.keys() | (before.keys() - tree.keys())):
                files = {path: sha for path, sha in self._own(tree) if not _is_single(path)}
                jobs += self._pipelines(commit, files)
            jobs += [_Job(commit, path, sha, {}) for path, sha in self._own(changed) if _is_single(path)]
            if commit in self._tips:
                singles = [_Job(commit, path, sha, {}) for path, sha in self._own(tree) if _is_single(path)]
                at_tips.append((commit, singles + self._pipelines(commit, files)))
            before = tree
            if len(jobs) >= _VERSIONS_AT_ONCE:
                self._read(jobs)
                jobs = []
        self._read(jobs)
        for commit, present in at_tips:
            for job in present:
                self._found.add_refs(self._tips[commit], self._known.get(self._key(job), ()))
        return {
            posixpath.basename(path)
            for paths in self._reads.values()
            for path in paths
            if not path.endswith(tuple(self._suffixes))
        }

    def _own(self, tree: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Yields the files below the root, relative to it, without those of `.dvc` itself."""
        start = len(self._offset)
        for path, sha in tree.items():
            if path.startswith(self._offset) and not path.startswith(".dvc/", start):
                yield path[start:], sha

    def _pipelines(self, commit: str, files: dict[str, str]) -> list[_Job]:
        return [
            _Job(commit, path, sha, files)
            for path, sha in files.items()
            if posixpath.basename(path) == PIPELINE_FILE
        ]

    def _key(self, job: _Job) -> tuple[str, ...]:
        """Returns what tells one meaning of a metafile from another."""
        if not job.files:
            return job.path, job.sha
        lock = job.files.get(_lock_of(job.path), "")
        read = self._reads.get((job.path, job.sha, lock), ())
        return job.path, job.sha, lock, *[job.files.get(path, "") for path in read]

    def _read(self, jobs: Sequence[_Job]) -> None:
        jobs = [job for job in jobs if self._key(job) not in self._known]
        shas = {sha for job in jobs for sha in (job.files.values() if job.files else (job.sha,))}
        blobs = dict(self._git.read_blobs(sorted(shas)))
        for job in jobs:
            if self._key(job) not in self._known:
                items = self._items(job, blobs)
                self._known[self._key(job)] = items  # another key: now it is known what the pipeline reads
                self._found.add(job.commit, items)

    def _items(self, job: _Job, blobs: dict[str, bytes]) -> tuple[_Item, ...]:
        try:
            if job.files:
                stages = self._pipeline(job, blobs)
            else:
                stages = [self._single(job, blobs[job.sha])]
        except FormatError as error:
            self._on_damage(f"{job.commit[:7]}:{job.path}", error)
            return ()
        return tuple(item for stage in stages for item in self._found.of_stage(stage, job.commit))

    def _single(self, job: _Job, data: bytes) -> Stage:
        metafile = parse_metafile(data, name=job.path)
        return stage_of_metafile(job.path, metafile, self._repository.placements)

    def _pipeline(self, job: _Job, blobs: dict[str, bytes]) -> list[Stage]:
        source = _PipelineSource(self._repository, job, blobs, self._offset, tuple(self._suffixes))
        lock = job.files.get(_lock_of(job.path), "")
        try:
            return read_stages(source, job.path)
        finally:
            read = source.parameters.union(self._reads.get((job.path, job.sha, lock), ()))
            self._reads[job.path, job.sha, lock] = tuple(sorted(read))


class _PipelineSource(CommitSource):
    """The files of a commit, as one pipeline reads them.

    Attributes:
        parameters: files that were asked for besides the pipeline and its lock.
    """

    def __init__(
        self,
        repository: Repository,
        job: _Job,
        blobs: dict[str, bytes],
        offset: str,
        listed: tuple[str, ...],
    ) -> None:
        """Args: listed: ends of the paths of which it is known whether the commit has them."""
        tree = {offset + path: sha for path, sha in job.files.items()}
        super().__init__(repository, job.commit, tree, blobs)
        self.parameters: set[str] = set()
        self._own = {job.path, _lock_of(job.path)}
        self._listed = listed

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where the commit has none."""
        if path not in self._own:
            self.parameters.add(path)
        if path not in self.shas and path.endswith(self._listed):
            return None
        return super().read(path)


def _is_single(path: str) -> bool:
    name = posixpath.basename(path)
    return name.endswith(".dvc") and name != ".dvc" or name == OLD_FILE


def _lock_of(path: str) -> str:
    return posixpath.join(posixpath.dirname(path), LOCK_FILE)

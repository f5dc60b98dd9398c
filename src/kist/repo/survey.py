"""What a save would take: tracked data that differs, named new paths, metafiles that Git does not have as they are.

Reads only. Not here: storing and committing (save). Implements docs/spec/save-switch-sync.md, section 2.1.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.manifest import Tree, compare_manifests, parse_manifest, render_manifest, tree_of
from kist.formats.records import MD5, Digest, Metafile
from kist.git.porcelain import Porcelain
from kist.git.repository import GitRepository, PathStatus
from kist.repo.beside_git import inside, listed, offset_of
from kist.repo.collect import LOCK_FILE, OLD_FILE, PIPELINE_FILE, Stage, WorkspaceSource, collect
from kist.repo.counting import Counter
from kist.repo.data import Look, algorithm_of, look_at
from kist.repo.manifests import Manifests
from kist.repo.status import out_state
from kist.repo.targets import Selected, all_outputs
from kist.store.presence import Presence

if TYPE_CHECKING:
    from kist.repo.repository import Repository

LARGE_BYTES = 1 << 20
"""New files and folders of at least this size are pointed out: they may be data that was forgotten."""
_LOOKED_AT = 5_000
"""Entries of an untracked folder that are looked at before it counts as large by their number."""
_OWN_FILES = (".dvcignore", ".dvc/config", ".dvc/.gitignore")
_GIT_FILES = (".gitignore", ".gitattributes", ".dvcignore", PIPELINE_FILE, LOCK_FILE, OLD_FILE)


class CannotSaveError(InputError):
    """A path cannot be saved: it is not there, or is an output that a save does not take."""

    code = "cannot-save"


class ConflictsError(InputError):
    """Paths have conflicts that must be resolved first."""

    code = "conflicts"


class Survey(NamedTuple):
    """What there is to save. Paths are relative to the root, but for those of Git.

    Attributes:
        stages: all of the workspace.
        changed: outputs whose data differs, or may: that is known for certain only where everything was read.
        looks: how they look, in the same order.
        uncached: paths of outputs that the cache lacks.
        inner: named paths inside of tracked directories.
        new: named paths that nothing tracks.
        pending: files that belong to the save and differ from the index.
        staged: files of ours that the index has otherwise than the last commit.
        is_staged: the index differs from the last commit, in these or other files.
        large: (path, size in bytes or None for very many files) of new files and folders that nobody named.
        skipped: lines that tell what was not taken, each with what to do.
    """

    stages: list[Stage]
    changed: list[Selected]
    looks: list[Look]
    uncached: set[str]
    inner: list[str]
    new: list[str]
    pending: list[str]
    staged: list[str]
    is_staged: bool
    large: list[tuple[str, int | None]]
    skipped: list[str]

    @property
    def may_change(self) -> bool:
        """Says whether there may be something to commit."""
        return bool(self.changed or self.inner or self.new or self.pending or self.is_staged)


class _Wish(NamedTuple):
    """What paths named on the command line stand for; without any, `is_everything`."""

    is_everything: bool
    prefixes: list[str]
    inner: list[str]
    new: list[str]
    files: list[str]

    def means(self, path: str) -> bool:
        """Says whether a path is one of those named, or below one."""
        return self.is_everything or any(
            not prefix or path == prefix or path.startswith(prefix + "/") for prefix in self.prefixes
        )


def survey(
    repository: Repository, git: GitRepository, porcelain: Porcelain, paths: Sequence[str], *, read: bool
) -> Survey:
    """Returns what there is to save.

    Args: read: read changed files, so that what differs is known for certain.

    Raises: CannotSaveError, ConflictsError, FormatError.
    """
    changes = porcelain.changes()
    _refuse_conflicts(repository, git, changes)
    offset = offset_of(repository, git)
    stages = collect(WorkspaceSource(repository))
    wish = _wish(repository, git, stages, [repository.rel(path) for path in paths])
    meant = [item for item in all_outputs(stages) if item.out.is_inside and wish.means(item.out.path)]
    skipped: list[str] = []
    present = [item for item in meant if _is_taken(repository, item, wish, skipped)]
    changed, looks, uncached = _differing(repository, present, skipped, read=read)
    pending = _pending(repository, stages, changes, offset, wish)
    return Survey(
        stages,
        changed,
        looks,
        uncached,
        wish.inner,
        wish.new,
        pending,
        inside([change.path for change in changes if change.staged not in " ?!"], offset),
        any(change.staged not in " ?!" for change in changes),
        _large(repository, changes, offset, {*wish.new, *pending}),
        skipped,
    )


def _refuse_conflicts(repository: Repository, git: GitRepository, changes: Iterable[PathStatus]) -> None:
    unmerged = [
        os.path.relpath(os.path.join(git.top, change.path), repository.cwd)
        for change in changes
        if "U" in change.staged + change.unstaged or change.staged + change.unstaged in ("AA", "DD")
    ]
    if unmerged:
        raise ConflictsError(
            f"cannot save: {listed(unmerged)} have conflicts",
            hint="for data run `kist resolve`, edit other files and `git add` them, then run `kist save` again",
        )


def _wish(repository: Repository, git: GitRepository, stages: Sequence[Stage], rels: Sequence[str]) -> _Wish:
    wish = _Wish(not rels, [], [], [], [])
    outputs = [item for item in all_outputs(stages) if item.out.is_inside]
    paths = {item.out.path for item in outputs}
    doubtful = [repository.abspath(rel) for rel in rels if rel and rel not in paths]
    tracked = git.is_tracked(doubtful) if doubtful else set()
    for rel in dict.fromkeys(rels):
        absolute = repository.abspath(rel)
        is_there = os.path.lexists(absolute)
        above = next((item for item in outputs if rel.startswith(item.out.path + "/")), None)
        below = not rel or any(
            item.out.path == rel or item.out.path.startswith(rel + "/") for item in outputs
        )
        files = [stage.file for stage in stages if stage.file == rel]
        if above is not None:
            _refuse_stage(repository, above, rel)
            wish.inner.append(rel)
        elif below or absolute in tracked or _is_gits(rel):
            if not is_there and not (absolute in tracked or files):
                raise CannotSaveError(
                    f"cannot save '{repository.shown(rel)}': it is not there",
                    hint=f"bring it back with `{shell_line('kist', 'checkout', repository.shown(rel))}`, or stop "
                    f"tracking it with `{shell_line('kist', 'remove', repository.shown(rel) + '.dvc')}`",
                )
            wish.prefixes.append(rel)
            for stage in stages:
                if stage.file in files:
                    wish.prefixes.extend(out.path for out in stage.outs if out.is_inside)
            for item in outputs:
                if item.out.path == rel:
                    _refuse_stage(repository, item, rel)
            if absolute in tracked or _is_gits(rel):
                wish.files.append(rel)
        else:
            wish.new.append(rel)
    return wish


def _refuse_stage(repository: Repository, item: Selected, rel: str) -> None:
    if item.stage.is_data:
        return
    shown = repository.shown(rel)
    what = "imported" if item.stage.is_import else f"an output of '{item.stage.address}'"
    raise CannotSaveError(
        f"cannot save '{shown}': it is {what}", hint=f"{shell_line('kist', 'commit', shown)} && kist save"
    )


def _is_gits(rel: str) -> bool:
    """Says whether a file is Git's by its name alone: a metafile or an ignore file is never data."""
    name = posixpath.basename(rel)
    return name in _GIT_FILES or name.endswith(".dvc") or rel in _OWN_FILES


def _is_taken(repository: Repository, item: Selected, wish: _Wish, skipped: list[str]) -> bool:
    """Says whether an output's data is looked at; what is left out although it may differ is told later."""
    if not (item.out.output.use_cache or item.stage.is_data):
        return False
    if os.path.lexists(repository.abspath(item.out.path)):
        return True
    shown = repository.shown(item.out.path)
    if item.out.path in wish.prefixes:
        raise CannotSaveError(
            f"cannot save '{shown}': it is not there",
            hint=f"bring it back with `{shell_line('kist', 'checkout', shown)}`, or stop tracking it with "
            f"`{shell_line('kist', 'remove', repository.shown(item.stage.file))}`",
        )
    if item.stage.is_data:
        skipped.append(
            f"'{shown}' is not there and stays tracked: `kist checkout {shown}` brings it, "
            f"`kist remove {repository.shown(item.stage.file)}` stops tracking it"
        )
    return False


def _differing(
    repository: Repository, items: Sequence[Selected], skipped: list[str], *, read: bool
) -> tuple[list[Selected], list[Look], set[str]]:
    """Returns the outputs whose data differs, or may, how they look, and the paths of those that the cache lacks."""
    pairs = [(item.out.path, algorithm_of(item.out.output.digest)) for item in items]
    looks = look_at(repository, pairs, read=read)
    presences: dict[str, Presence] = {}
    changed: list[Selected] = []
    found: list[Look] = []
    uncached: set[str] = set()
    for item, look, pair in zip(items, looks, pairs, strict=True):
        is_known = look.snapshot is not None and not look.snapshot.unread
        if not is_known and (not item.stage.is_data or pair[1] != MD5):
            look = look_at(repository, [pair])[0]  # decided now: storing it would write it anew
            is_known = True
        state = out_state(repository, item.out, {pair: look}, presences) if is_known else "modified"
        if state is None or (state == "not in cache" and pair[1] != MD5):
            continue
        if not item.stage.is_data:
            shown = repository.shown(item.out.path)
            line = shell_line("kist", "commit", shown)
            if state == "modified":
                skipped.append(f"'{shown}' changed and belongs to '{item.stage.address}': {line}")
            continue
        if state == "not in cache":
            uncached.add(item.out.path)
        changed.append(item)
        found.append(look)
    return changed, found, uncached


def _pending(
    repository: Repository,
    stages: Sequence[Stage],
    changes: Sequence[PathStatus],
    offset: str,
    wish: _Wish,
) -> list[str]:
    """Returns files of ours that differ from the index: changed, new, or gone."""
    unstaged = [change for change in changes if change.unstaged != " "]
    paths = set(inside([change.path for change in unstaged], offset))
    folders = tuple(path for path in paths if path.endswith("/"))
    own: set[str] = set()
    for stage in stages:
        beside = [stage.file]
        if posixpath.basename(stage.file) == PIPELINE_FILE:
            beside.append(posixpath.join(posixpath.dirname(stage.file), LOCK_FILE))
        beside += [
            posixpath.join(posixpath.dirname(out.path), ".gitignore") for out in stage.outs if out.is_inside
        ]
        own.update(path for path in beside if _differs(repository, path, paths, folders))
    own.update(path for path in paths if _is_own_name(path) and not _is_nested(repository, path))
    own.update(path for path in _OWN_FILES if _differs(repository, path, paths, folders))
    # A metafile that goes takes its line out of the ignore file beside it.
    own.update(paths & {posixpath.join(posixpath.dirname(path), ".gitignore") for path in own})
    named = [path for path in wish.files if _differs(repository, path, paths, folders)]
    below = [path for path in paths if any(path.startswith(prefix + "/") for prefix in wish.files)]
    if wish.is_everything:
        return sorted(own)
    tracked_below = [path for path in below if not path.endswith("/") and _is_tracked(unstaged, path, offset)]
    # Settings go along in any case: without the address of the remote nobody finds what was pushed.
    meant = {path for path in own if path in _OWN_FILES or wish.means(path) or _is_of(stages, path, wish)}
    return sorted({*meant, *named, *tracked_below})


def _differs(repository: Repository, path: str, paths: Collection[str], folders: tuple[str, ...]) -> bool:
    """Says whether a file is among the changed ones, or in an untracked folder."""
    return path in paths or (path.startswith(folders) and os.path.lexists(repository.abspath(path)))


def _is_own_name(path: str) -> bool:
    name = posixpath.basename(path)
    return name in (PIPELINE_FILE, LOCK_FILE, OLD_FILE) or (name.endswith(".dvc") and name != ".dvc")


def _is_nested(repository: Repository, path: str) -> bool:
    """Says whether a path belongs to `.dvc`, or to a repository inside of this one."""
    parts = path.split("/")[:-1]
    return ".dvc" in parts or any(
        os.path.isdir(os.path.join(repository.root, *parts[:depth], ".dvc"))
        for depth in range(1, len(parts) + 1)
    )


def _is_tracked(changes: Iterable[PathStatus], path: str, offset: str) -> bool:
    return any(change.path == offset + path and change.staged != "?" for change in changes)


def _is_of(stages: Sequence[Stage], path: str, wish: _Wish) -> bool:
    """Says whether a file is the metafile of a named output, or the `.gitignore` beside it."""
    for stage in stages:
        for out in stage.outs:
            if wish.means(out.path) and path in (
                stage.file,
                posixpath.join(posixpath.dirname(out.path), ".gitignore"),
            ):
                return True
    return False


def _large(
    repository: Repository, changes: Iterable[PathStatus], offset: str, taken: Collection[str]
) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    untracked = [change.path for change in changes if change.staged == "?"]
    for path in inside(untracked, offset):
        plain = path.rstrip("/")
        if any(plain == one or plain.startswith(one + "/") or one.startswith(plain + "/") for one in taken):
            continue
        size = _size_of(repository.abspath(plain))
        if size is None or size >= LARGE_BYTES:
            found.append((path, size))
    return found


def _size_of(path: str) -> int | None:
    """Returns the bytes at a path; None for a folder of very many files."""
    size = seen = 0
    pending = [path]
    while pending:
        here = pending.pop()
        try:
            found = os.lstat(here)
            if stat.S_ISDIR(found.st_mode):
                pending += [entry.path for entry in os.scandir(here)]
            elif stat.S_ISREG(found.st_mode):
                size += found.st_size
        except OSError:
            continue  # it went meanwhile, or nobody may look
        seen += 1
        if seen > _LOOKED_AT:
            return None
    return size


def refuse_unknown_lists(repository: Repository, counter: Counter, items: Sequence[Selected]) -> None:
    """Gets the lists of files that directories had, into memory, where `counter` finds them too.

    Raises:
        CannotSaveError: one is neither here nor on a remote. What was never fetched would count as removed.
    """
    manifests = Manifests(repository)
    had = [
        item
        for item in items
        if (digest := item.out.output.digest) is not None and digest.is_dir and digest.algorithm == MD5
    ]
    manifests.fetch(had)
    for item in had:
        assert item.out.output.digest is not None
        data = manifests.read(item.out.output.digest)
        counter.know(item.out.output.digest, data)
        if data is None:
            shown = repository.shown(item.out.path)
            raise CannotSaveError(
                f"cannot save '{shown}': the list of the files that it had is nowhere to be had, so what was never "
                "fetched cannot be told from what was removed",
                hint="see that the remote answers with `kist remote check`, or let only what is here count: "
                f"`{shell_line('kist', 'add', shown)}`",
            )


def never_here(repository: Repository, old: Digest | None, present: bytes) -> dict[str, str]:
    """Returns path -> id of the recorded files of a directory that are neither in the workspace nor in the cache.

    Nobody removed them here: they were never fetched.

    Args: present: the manifest of what is in the workspace.
    """
    if old is None or not old.is_dir or old.algorithm != MD5:
        return {}
    recorded = Manifests(repository).read(old)
    if recorded is None:
        return {}
    gone, came = compare_manifests(recorded, present, name=old.value)
    absent = {path: oid for path, oid in gone.items() if path not in came}
    lacking = repository.store_for(old.algorithm).missing(set(absent.values()))
    return {path: oid for path, oid in absent.items() if oid in lacking}


def with_files(manifest: bytes, files: dict[str, str]) -> Tree:
    """Returns the tree of a manifest with more files in it."""
    return tree_of(dict(parse_manifest(manifest, name="manifest").files()) | files)


def with_part(whole: Tree, inner: str, part: Tree) -> Tree:
    """Returns a tree in which the file or folder `inner` is as in another one; paths are those of the whole."""
    files = {path: oid for path, oid in whole.files() if path != inner and not path.startswith(inner + "/")}
    fresh = dict(part.files())
    # A file in the place of a folder above gives way.
    files = {
        path: oid for path, oid in files.items() if not any(name.startswith(path + "/") for name in fresh)
    }
    return tree_of(files | fresh)


def present_manifest(look: Look) -> bytes:
    """Returns the manifest of a directory as it is now; everything was read."""
    return render_manifest(look.snapshot.tree()) if look.snapshot is not None else b"[]"


def metafile_of(stages: Iterable[Stage], path: str) -> Metafile | None:
    """Returns what the `.dvc` file at a path says, or None where there is none."""
    return next((stage.metafile for stage in stages if stage.file == path), None)

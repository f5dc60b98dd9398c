"""Merges one file with the help of cache and remotes, as Git's merge driver does; knows what a merge left open.

Not here: the merge itself (compare), finishing what clashed (resolve). Implements docs/spec/merging.md, sections 6, 7.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.errors import FormatError, InputError, KistError
from kist.formats.metafile import parse_metafile
from kist.formats.records import Digest
from kist.repo.collect import LOCK_FILE, OLD_FILE

if TYPE_CHECKING:
    from kist.compare.merge import Choose, Clash
    from kist.compare.merge_metafile import Merged
    from kist.git.process import GitProgram
    from kist.repo.repository import Repository

IGNORE_FILE = ".gitignore"
_SHOWN = 3
_MISSING = "missing from the cache"


class MergeUnfinishedError(InputError):
    """A merge left metafiles that say what one side says only. `kist resolve` finishes it; a retry then helps."""

    code = "merge-unfinished"


class Versions(NamedTuple):
    """The three versions of a file; `base` is None where both sides added it."""

    base: bytes | None
    ours: bytes
    theirs: bytes


def leave_open(_clash: Clash) -> None:
    """Chooses no side: ours stands, and the clash stays."""


def is_metafile(path: str) -> bool:
    """Says whether a path is called as metafiles with data are."""
    name = posixpath.basename(path)
    return name in (LOCK_FILE, OLD_FILE) or (name.endswith(".dvc") and name != ".dvc")


# What is open


def unfinished(repository: Repository) -> list[str]:
    """Returns the metafiles, relative to the root, that Git holds as unmerged. Usually starts no process."""
    from kist.git.unfinished import may_be_unfinished, unmerged_paths  # read-only commands ask, few go on

    git = repository.git
    if git is None or not may_be_unfinished(git.git_dir):
        return []
    offset = git_offset(repository)
    paths = [item.path for item in unmerged_paths(git_program(repository))]
    return [path[len(offset) :] for path in paths if path.startswith(offset) and is_metafile(path)]


def refuse_unfinished(repository: Repository, verb: str) -> None:
    """Raises MergeUnfinishedError where a merge is unfinished.

    Args: verb: what cannot be done, such as "remove unneeded data".
    """
    paths = unfinished(repository)
    if paths:
        raise MergeUnfinishedError(
            f"cannot {verb}: {unfinished_words(repository, paths)}", hint="kist resolve"
        )


def unfinished_words(repository: Repository, paths: list[str]) -> str:
    """Returns "a merge is unfinished: 'a.dvc', 'b.dvc' and 3 more clash"."""
    shown = ", ".join(f"'{repository.shown(path)}'" for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"a merge is unfinished: {shown}{more} {'clash' if len(paths) > 1 else 'clashes'}"


def git_program(repository: Repository) -> GitProgram:
    """Returns git, started in the top of the working tree."""
    from kist.git.process import GitProgram

    assert repository.git is not None
    return GitProgram(repository.git.top, repository.environ)


def git_offset(repository: Repository) -> str:
    """Returns the root's path relative to the top of the working tree, with a final slash, or ""."""
    assert repository.git is not None
    offset = os.path.relpath(repository.root, repository.git.top).replace(os.sep, "/")
    return "" if offset == "." else offset + "/"


# Merging


def merge_versions(path: str, versions: Versions, *, repository: Repository | None, choose: Choose) -> Merged:
    """Returns the merge of a metafile; nothing is written but manifests that had to be fetched.

    Args:
        path: tells messages, and the kind of file.
        repository: whose cache and remotes have the manifests; None where there is none.

    Raises: FormatError: our or their version cannot be read.
    """
    if posixpath.basename(path) == LOCK_FILE:
        from kist.compare.merge_lockfile import merge_lockfile  # many repositories have no pipeline

        return merge_lockfile(*versions, name=path, choose=choose)
    from kist.compare.merge_metafile import Resources, merge_metafile, needed_manifests

    wanted = needed_manifests(*versions, name=path)
    manifests, absent = _manifests(repository, wanted) if wanted else ({}, _MISSING)

    def size_of(digest: Digest) -> int | None:
        record = repository.store_for(digest.algorithm).stat(digest.value) if repository is not None else None
        return None if record is None else int.from_bytes(record[8:16], "little")

    resources = Resources(manifests, choose, size_of, absent)
    return merge_metafile(*versions, name=path, resources=resources)


def store_manifests(repository: Repository | None, merged: Merged) -> None:
    """Makes the manifests of a merge durable in the cache: before its bytes go anywhere (rule R4)."""
    if repository is not None:
        for digest, data in merged.manifests:
            repository.store_for(digest.algorithm).write_small(digest.value, data)


def _manifests(
    repository: Repository | None, wanted: Mapping[Digest, str | None]
) -> tuple[dict[Digest, bytes], str]:
    """Returns the manifests that can be had, and where the others were looked for.

    Args: wanted: digest -> name of the remote that the output names.
    """
    if repository is None:
        return {}, "not at hand, for there is no repository here"
    found = {digest: data for digest in wanted if (data := _read(repository, digest)) is not None}
    lacking = {digest: remote for digest, remote in wanted.items() if digest not in found}
    if not lacking:
        return found, _MISSING
    absent = _MISSING
    for digest, remote in lacking.items():
        try:
            where = _fetch(repository, digest, remote)
        except (KistError, OSError) as error:
            absent = f"{_MISSING}, and no remote can be asked ({error})"
            continue
        data = _read(repository, digest)
        if data is not None:
            found[digest] = data
        else:
            absent = f"{_MISSING} and from remote '{where}'"
    return found, absent


def _read(repository: Repository, digest: Digest) -> bytes | None:
    from kist.store.loose import ObjectCorruptError, ObjectMissingError

    store = repository.store_for(digest.algorithm)
    try:
        return store.read(digest.value)
    except ObjectMissingError:
        return None
    except ObjectCorruptError:
        store.quarantine(digest.value)
        return None


def _fetch(repository: Repository, digest: Digest, remote: str | None) -> str:
    """Brings one manifest from a remote, if that has it; returns the remote's name."""
    from kist.base.progress import SilentProgress
    from kist.repo.transfers import open_remote  # most manifests are here

    target, _ = open_remote(repository, remote)
    store = repository.store_for(digest.algorithm)
    target.receive({digest.value}, store, workers=1, progress=SilentProgress(), phase="Fetching")
    return target.name


# The driver


class Files(NamedTuple):
    """What Git hands to a driver: paths of the three versions, and the path that is merged, where it says so."""

    ancestor: str
    ours: str
    theirs: str
    path: str | None


def drive(
    files: Files, *, repository: Repository | None, cwd: str, environ: Mapping[str, str]
) -> tuple[bool, list[str]]:
    """Merges for Git: replaces the file `ours`; returns whether nothing clashes, and lines for the person.

    Raises: OSError: a file cannot be read or written; `ours` is then as it was.
    """
    if files.path is not None and posixpath.basename(files.path) == IGNORE_FILE:
        return _drive_gitignore(files, cwd=cwd, environ=environ), []
    ours, theirs = (_bytes(path) for path in (files.ours, files.theirs))
    versions = Versions(_bytes(files.ancestor) or None, ours, theirs)
    path = files.path or _sniffed(ours)
    shown = files.path or "a metafile"
    try:
        merged = merge_versions(path, versions, repository=repository, choose=leave_open)
        store_manifests(repository, merged)
    except FormatError as error:
        return False, [f"cannot merge '{shown}': {error.message}"]
    if merged.data != ours:
        atomic.write_file(files.ours, merged.data, durable=False)
    clashes = [decision.clash for decision in merged.decisions]
    lines = [f"'{shown}': {note}" for note in merged.notes]
    if clashes:
        lines.append(f"'{shown}' clashes: {clash_words(clashes)}; finish with `kist resolve`")
    return not clashes, lines


def clash_words(clashes: list[Clash]) -> str:
    """Returns what clashes, in a few words."""
    names = [f"'{'/'.join(part for part in (clash.out, clash.inner) if part)}'" for clash in clashes]
    words = [
        f"{name} ({clash.field})" if clash.field else f"{name} ({clash.note})" if clash.note else name
        for name, clash in zip(names, clashes, strict=True)
    ]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def _bytes(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _sniffed(data: bytes) -> str:
    """Returns a file name for content whose name Git did not say."""
    from kist.formats.lockfile import parse_lockfile

    try:
        parse_metafile(data, name="metafile")
    except FormatError:
        try:
            parse_lockfile(data, name=LOCK_FILE)
        except FormatError:
            return "metafile"
        return LOCK_FILE
    return "metafile"


def _drive_gitignore(files: Files, *, cwd: str, environ: Mapping[str, str]) -> bool:
    from kist.compare.merge_gitignore import merge_gitignore  # few merges come here
    from kist.git.process import GitFailedError, GitProgram

    three = [_bytes(path) for path in (files.ancestor, files.ours, files.theirs)]
    git = GitProgram(cwd, environ)
    words = ["merge-file", "-p", "-q", "-L", "ours", "-L", "base", "-L", "theirs"]
    words += [files.ours, files.ancestor, files.theirs]
    try:
        merged: bytes | None = git.run(words)
    except GitFailedError:  # the exit status is the number of clashes
        merged = merge_gitignore(*three)
    data = git.run(words, accepted=range(128)) if merged is None else merged
    atomic.write_file(files.ours, data, durable=False)
    return merged is not None

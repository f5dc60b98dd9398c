"""`resolve`: lists what clashed in a merge, and finishes it by choosing sides; from the stages in Git's index.

Not here: merging (compare, merging). Implements docs/spec/merging.md, section 8.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.shell import shell_line
from kist.compare.merge import THEIRS, Choose, Clash, Decision, Side
from kist.errors import FormatError, InputError
from kist.formats.metafile import parse_metafile
from kist.git.unfinished import (
    LastChange,
    Operation,
    UnmergedPath,
    is_rebasing,
    last_changes,
    may_be_unfinished,
    read_operation,
    unmerged_paths,
)
from kist.repo.checkout import CheckoutOptions, CheckoutResult, checkout_items
from kist.repo.choices import Choices
from kist.repo.collect import LOCK_FILE, PIPELINE_FILE
from kist.repo.merging import (
    IGNORE_FILE,
    Versions,
    git_offset,
    git_program,
    is_metafile,
    leave_open,
    merge_versions,
    store_manifests,
)
from kist.repo.metafiles import read_bytes
from kist.repo.targets import select

if TYPE_CHECKING:
    from kist.compare.merge_metafile import Merged
    from kist.repo.repository import Repository


class NoClashError(InputError):
    """A target names nothing that clashes."""

    code = "no-clash"


class MetafileEditedError(InputError):
    """A metafile that clashes was changed since by hand or by a command; resolving would throw that away."""

    code = "metafile-edited"


class NotInGitError(InputError):
    """There is no Git repository here, so nothing was merged."""

    code = "not-in-git"


class NamedClash(NamedTuple):
    """A clash where it stands in the repository.

    Attributes:
        metafile: relative to the root.
        path: what clashes, relative to the root: an output, a path inside of one, `DIR/dvc.yaml:STAGE`, or a metafile.
        sizes: bytes of ours and theirs; None where they are not known.
        changes: the last commits that changed the metafile on our side and on theirs.
        choice: the side chosen so far, or None.
    """

    metafile: str
    path: str
    clash: Clash
    sizes: tuple[int | None, int | None]
    changes: tuple[LastChange | None, LastChange | None]
    choice: str | None


class Unfinished(NamedTuple):
    """What a merge left open: the operation, the clashes, and metafiles that can be finished without a choice."""

    operation: Operation
    clashes: list[NamedClash]
    settled: list[str]


class Resolution(NamedTuple):
    """What `resolve` did.

    Attributes:
        chosen: clashes that were decided now or before, in metafiles that were touched.
        finished: metafiles that are merged and staged.
        left: clashes that are still open.
        checkout: what became of the data; None where it was left alone.
        notes: lines for the person.
    """

    chosen: list[NamedClash]
    finished: list[str]
    left: list[NamedClash]
    checkout: CheckoutResult | None
    notes: list[str]


class _File:
    """One unmerged metafile.

    Attributes:
        item: its stages.
        texts: their bytes.
        decisions: the clashes with the choices so far.
    """

    def __init__(
        self, repository: Repository, item: UnmergedPath, texts: tuple[bytes | None, ...], path: str
    ) -> None:
        self._repository = repository
        self.item = item
        self.base, self.ours, self.theirs = texts
        self.path = path
        self.notes: list[str] = []
        self._merged: Merged | None = None

    @property
    def key(self) -> str:
        """The ids of the stages: what choices belong to."""
        return ":".join(sha or "-" for sha in (self.item.base, self.item.ours, self.item.theirs))

    def merge(self, choose: Choose) -> tuple[bytes | None, list[Decision]]:
        """Returns the bytes of the result, None for a file that is to go, and the clashes."""
        self._merged = None
        self.notes = []
        if self.ours is None and self.theirs is None:
            return None, []
        if self.ours is None or self.theirs is None:
            return self._choose_whole(choose, "")
        try:
            versions = Versions(self.base, self.ours, self.theirs)
            self._merged = merge_versions(self.path, versions, repository=self._repository, choose=choose)
        except FormatError as error:
            return self._choose_whole(choose, error.message)
        self.notes = [f"'{self.path}': {note}" for note in self._merged.notes]
        return self._merged.data, self._merged.decisions

    def _choose_whole(self, choose: Choose, note: str) -> tuple[bytes | None, list[Decision]]:
        sides = [_whole_side(self.path, self.base, text) for text in (self.ours, self.theirs)]
        clash = Clash("", "", "", sides[0], sides[1], note)
        choice = choose(clash)
        return self.theirs if choice == THEIRS else self.ours, [Decision(clash, choice)]

    def store(self) -> None:
        """Makes the manifests of the last merge durable."""
        if self._merged is not None:
            store_manifests(self._repository, self._merged)

    def place(self, clash: Clash) -> str:
        """Returns what clashes, relative to the root."""
        if not clash.out:
            return self.path
        folder = posixpath.dirname(self.path)
        if posixpath.basename(self.path) == LOCK_FILE:
            return f"{posixpath.join(folder, PIPELINE_FILE)}:{clash.out}"
        wdir = "."
        for text in (self.ours, self.theirs):
            if text is not None:
                wdir = parse_metafile(text, name=self.path).wdir
                break
        return posixpath.normpath(posixpath.join(folder, wdir, clash.out, clash.inner))

    def refuse_edited(self, choices: Choices) -> None:
        """Raises MetafileEditedError if the file holds neither a side, nor what a merge wrote."""
        present = read_bytes(self._repository.abspath(self.path))
        if present is None or b"<<<<<<< " in present and b">>>>>>> " in present:
            return  # the second was merged by Git alone
        present = present.replace(b"\r\n", b"\n")
        if present in (self.base, self.ours, self.theirs):
            return
        if present in (self.merge(chooser)[0] for chooser in (leave_open, choices.chooser(self.key))):
            return
        shown = self._repository.shown(self.path)
        raise MetafileEditedError(
            f"cannot resolve '{shown}': it was changed since the merge",
            hint=f"keep it with `{shell_line('git', 'add', shown)}`, "
            f"or drop the change with `{shell_line('git', 'checkout', '--merge', '--', shown)}`",
        )


def _whole_side(path: str, base: bytes | None, text: bytes | None) -> Side:
    if text is None:
        return Side("removed" if base is not None else "not there")
    state = "added" if base is None else "unchanged" if text == base else "changed"
    if posixpath.basename(path) == LOCK_FILE:
        return Side(state)
    try:
        outs = parse_metafile(text, name=path).outs
    except FormatError:
        return Side("cannot be read")
    digests = tuple(out.digest for out in outs if out.digest is not None)
    return Side(state, digests, outs[0].size if len(outs) == 1 else None)


def look(repository: Repository) -> Unfinished:
    """Returns what a merge left open. Writes nothing but manifests that had to be fetched.

    Raises: NotInGitError, GitFailedError.
    """
    git = repository.git
    if git is None:
        raise NotInGitError(
            "cannot resolve: there is no Git repository here, so nothing was merged", hint="git init"
        )
    choices = Choices(repository)
    clashes: list[NamedClash] = []
    settled: list[str] = []
    operation = read_operation(git_program(repository), git.git_dir)
    files = _files(repository)
    facts = _facts(repository, operation, files)
    for file in files:
        _, decisions = file.merge(choices.chooser(file.key))
        named = [_named(repository, file, decision, facts) for decision in decisions]
        clashes += named
        if all(clash.choice is not None for clash in named):
            settled.append(file.path)
    return Unfinished(operation, clashes, settled)


def resolve(
    repository: Repository,
    choose: Callable[[NamedClash], str | None],
    *,
    with_checkout: bool = True,
) -> Resolution:
    """Finishes the metafiles all of whose clashes are decided, and remembers the choices for the others.

    Args: choose: returns the side for a clash, or None to leave it as it is.

    Raises: MetafileEditedError, NotInGitError, GitFailedError, OSError.

    Holds: the index stages of a metafile stay until it is written; a kill leaves it unmerged, or finished.
    """
    with repository.lock():
        found = look(repository)
        choices = Choices(repository)
        result = Resolution([], [], [], None, [])
        files = {file.path: file for file in _files(repository)}
        for file in files.values():
            file.refuse_edited(choices)
        wanted: dict[str, dict[str, str]] = {path: {} for path in files}
        for clash in found.clashes:
            choice = choose(clash) or clash.choice
            if choice is None:
                result.left.append(clash)
            else:
                wanted[clash.metafile][clash.clash.key] = choice
                result.chosen.append(clash._replace(choice=choice))
        # Before the first file: what stands in it afterwards can then be told from somebody's own change.
        for path, file in files.items():
            choices.note(file.key, wanted[path])
        choices.save()
        open_files = {clash.metafile for clash in result.left}
        _finish(repository, [file for path, file in files.items() if path not in open_files], choices, result)
        choices.save()
        git = repository.git
        if not with_checkout or result.left or git is None or is_rebasing(git.git_dir):
            return result
        # Also where an earlier run finished the last metafile and was killed then.
        if result.finished or may_be_unfinished(git.git_dir):
            items = select(repository, [])
            done = checkout_items(repository, items, CheckoutOptions(), is_everything=True)
            result = result._replace(checkout=done)
        return result


def _finish(repository: Repository, files: Sequence[_File], choices: Choices, result: Resolution) -> None:
    """Writes and stages metafiles without an open clash, and `.gitignore` files that need no choice."""
    written = []
    for file in files:
        data, _ = file.merge(choices.chooser(file.key))
        absolute = repository.abspath(file.path)
        if data is not None:
            file.store()
            os.makedirs(os.path.dirname(absolute), exist_ok=True)
            atomic.write_file(absolute, data)
        elif os.path.lexists(absolute):
            os.unlink(absolute)
            atomic.sync_directory(os.path.dirname(absolute))
        written.append(absolute)
        result.finished.append(file.path)
        result.notes.extend(file.notes)
    written += _merge_ignore_files(repository, result)
    if written and repository.git is not None:
        repository.git.stage(written)
    for file in files:
        choices.forget(file.key)


def targets_chooser(
    repository: Repository, targets: Sequence[str], clashes: Sequence[NamedClash]
) -> Callable[[NamedClash], bool]:
    """Returns what says whether a clash is meant by targets: it, its metafile, or a folder above; all without targets.

    Raises: NoClashError: a target means none of `clashes`.
    """
    wanted = []
    for target in targets:
        rel = _target_path(repository, target)
        if not any(_is_meant(clash, rel) for clash in clashes):
            raise NoClashError(f"cannot resolve '{target}': nothing clashes there", hint="kist resolve")
        wanted.append(rel)
    return lambda clash: not targets or any(_is_meant(clash, rel) for rel in wanted)


def _target_path(repository: Repository, target: str) -> str:
    file, colon, stage = target.partition(":")
    if colon and posixpath.basename(file) in (PIPELINE_FILE, ""):
        return f"{repository.rel(file or PIPELINE_FILE)}:{stage}"
    return repository.rel(target)


def _is_meant(clash: NamedClash, rel: str) -> bool:
    below = rel + "/" if rel else ""
    stage = clash.path.rpartition(":")[2] if clash.metafile.endswith(LOCK_FILE) else None
    return any(path == rel or path.startswith(below) for path in (clash.path, clash.metafile)) or stage == rel


def _files(repository: Repository) -> list[_File]:
    """Returns the unmerged metafiles below the root, sorted."""
    git = repository.git
    assert git is not None
    offset = git_offset(repository)
    found = unmerged_paths(git_program(repository))
    items = [item for item in found if item.path.startswith(offset) and is_metafile(item.path)]
    blobs = dict(git.read_blobs({sha for item in items for sha in item[1:] if sha}))
    return [
        _File(
            repository, item, tuple(blobs[sha] if sha else None for sha in item[1:]), item.path[len(offset) :]
        )
        for item in items
    ]


_Facts = tuple[dict[str, LastChange], dict[str, LastChange]]


def _facts(repository: Repository, operation: Operation, files: Sequence[_File]) -> _Facts:
    """Returns the last changes of the metafiles, by path relative to the top, on our side and on theirs."""
    paths = [file.item.path for file in files]
    git = git_program(repository)
    ours, theirs = operation.ours.commit, operation.theirs.commit
    return last_changes(git, ours, theirs, paths), last_changes(git, theirs, ours, paths)


def _named(repository: Repository, file: _File, decision: Decision, facts: _Facts) -> NamedClash:
    clash = decision.clash
    path = file.item.path
    return NamedClash(
        file.path,
        file.place(clash),
        clash,
        (_size(repository, clash.ours), _size(repository, clash.theirs)),
        (facts[0].get(path), facts[1].get(path)),
        decision.choice,
    )


def _size(repository: Repository, side: Side) -> int | None:
    if side.size is not None or not side.digests:
        return side.size
    total = 0
    for digest in side.digests:
        record = None if digest.is_dir else repository.store_for(digest.algorithm).stat(digest.value)
        if record is None:
            return None
        total += int.from_bytes(record[8:16], "little")
    return total


def _merge_ignore_files(repository: Repository, result: Resolution) -> list[str]:
    """Merges `.gitignore` files that Git could not, where only outputs were hidden or shown, or one side removed it.

    Returns: their absolute paths.
    """
    from kist.compare.merge_gitignore import merge_gitignore

    git = repository.git
    assert git is not None
    offset = git_offset(repository)
    written = []
    for item in unmerged_paths(git_program(repository)):
        if posixpath.basename(item.path) != IGNORE_FILE or not item.path.startswith(offset):
            continue
        blobs = dict(git.read_blobs({sha for sha in item[1:] if sha}))
        data = merge_gitignore(*(blobs[sha] if sha else b"" for sha in item[1:]))
        if data is None:
            continue
        absolute = os.path.join(git.top, item.path)
        if data:
            atomic.write_file(absolute, data)
        elif os.path.lexists(absolute):
            os.unlink(absolute)
        written.append(absolute)
        result.finished.append(item.path[len(offset) :])
    repository.forget_ignores()
    return written

"""`move`: renames tracked data together with its metafile and its line in `.gitignore`.

Order: `.gitignore` of the new place, data, new metafile, `.gitignore` of the old place, old metafile. The old metafile
goes last and says what was meant, so that the same command finishes what a kill left; data is found at one of the
two places at every moment. Not here: outputs of stages, which the pipeline names.
"""

from __future__ import annotations

import errno
import os
import posixpath
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base import atomic
from kist.base.listing import pack_stat, settle
from kist.base.shell import shell_line
from kist.base.suggest import closest
from kist.errors import InputError
from kist.formats.metafile import render_metafile, with_checksum
from kist.formats.records import Dependency, Metafile
from kist.repo import placed
from kist.repo.collect import Stage, WorkspaceSource, collect
from kist.repo.data import algorithm_of, digest_of, look_at, refuse_symlinked_parents
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.targets import Selected, all_outputs
from kist.store.statindex import FolderRow

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CannotMoveError(InputError):
    """The source is no output of a `.dvc` file, or the destination cannot be one. The user names other paths."""

    code = "cannot-move"


class MoveResult(NamedTuple):
    """What `move` did.

    Attributes:
        to_stage: files that the person still has to stage, relative to the root.
        was_missing: the data is in neither place; the metafile alone was moved.
    """

    to_stage: list[str]
    was_missing: bool


class _Move(NamedTuple):
    """What is to happen: paths relative to the root, and the bytes of the metafile afterwards."""

    item: Selected
    source: str
    target: str
    old_file: str
    new_file: str
    data: bytes


def move(repository: Repository, source: str, target: str) -> MoveResult:
    """Moves tracked data to another path, or into an existing folder.

    Data that is at the new place already, moved by hand or by a killed run, is taken as it is.

    Raises:
        CannotMoveError, FormatError, OSError.

    Holds: nothing is ever written over; see the module for what a kill leaves.
    """
    with repository.lock():
        repository.sweep_now()
        files = WorkspaceSource(repository)
        stages = collect(files)
        atomic.remove_stale(files.temps, time.time())
        item = _find(repository, stages, source)
        plan = _plan(repository, stages, item, target)
        is_here = os.path.lexists(repository.abspath(plan.source))
        is_there = os.path.lexists(repository.abspath(plan.target))
        changes = Changes(repository)
        output = item.out.output
        if output.use_cache:
            changes.ignore(plan.target)
        if is_here:
            if output.use_cache:
                _store_changed(repository, item)
            _rename(repository, plan)
        placed.forget(repository.index, plan.source)
        placed.note(repository.index, [plan.target] if is_here or is_there else [])
        repository.index.flush()
        atomic.write_file(repository.abspath(plan.new_file), plan.data)
        changes.stop_ignoring(plan.source)
        if plan.new_file != plan.old_file:
            changes.remove_file(plan.old_file)
            changes.note(plan.old_file)
        changes.note(plan.new_file)
        return MoveResult(changes.finish(), not is_here and not is_there)


def _store_changed(repository: Repository, item: Selected) -> None:
    """Stores data that is other than recorded; the metafile goes on naming what it named (both as DVC 3.67.1)."""
    path, digest = item.out.path, item.out.output.digest
    if digest is None:
        return
    algorithm = algorithm_of(digest)
    found = digest_of(repository, look_at(repository, [(path, algorithm)])[0], algorithm=algorithm)
    if found not in (None, digest):
        from kist.repo.tracking import store_paths  # most data that is moved is stored

        store_paths(repository, [path])


def _find(repository: Repository, stages: Sequence[Stage], source: str) -> Selected:
    path = repository.rel(source)
    for item in all_outputs(stages):
        if not item.out.is_inside:
            continue
        if item.out.path == path:
            stage = item.stage
            if stage.metafile is None or stage.metafile.cmd is not None:
                raise CannotMoveError(
                    f"cannot move '{source}': it is an output of stage '{stage.address}'",
                    hint=f"write the new path into '{stage.file}', move the data yourself, then run `kist commit`",
                )
            refuse_symlinked_parents(repository, path, verb="move")
            return item
        if path.startswith(item.out.path + "/"):
            raise CannotMoveError(
                f"cannot move '{source}': it is inside of '{repository.shown(item.out.path)}', which is tracked as one",
                hint=f"move it yourself, then run `{shell_line('kist', 'add', repository.shown(item.out.path))}`",
            )
    near = closest(path, (item.out.path for item in all_outputs(stages) if item.stage.is_data))
    hint = f"did you mean '{repository.shown(near)}'?" if near else "kist list . -R --dvc-only"
    raise CannotMoveError(f"cannot move '{source}': no '.dvc' file has it as its output", hint=hint)


def _plan(repository: Repository, stages: Sequence[Stage], item: Selected, target: str) -> _Move:
    source = item.out.path
    path = repository.rel(target)
    if os.path.isdir(repository.abspath(path)) and not _is_moved(repository, item, path):
        path = posixpath.join(path, posixpath.basename(source))
    stage = item.stage
    assert stage.metafile is not None
    old_file = new_file = stage.file
    if len(stage.outs) == 1 and posixpath.basename(old_file) == posixpath.basename(source) + ".dvc":
        new_file = path + ".dvc"
    _refuse_target(repository, stages, source, path)
    metafile = _moved(stage.metafile, item, path, old_file, new_file)
    data = render_metafile(metafile, read_bytes(repository.abspath(old_file)))
    if new_file != old_file:
        found = read_bytes(repository.abspath(new_file))
        if found is not None and found != data:
            raise CannotMoveError(
                f"cannot move '{repository.shown(source)}': '{repository.shown(new_file)}' exists",
                hint=shell_line("kist", "remove", repository.shown(new_file)),
            )
        if _is_git_ignored(repository, new_file, False):
            raise CannotMoveError(
                f"cannot move '{repository.shown(source)}': Git ignores '{repository.shown(new_file)}'",
                hint=shell_line("git", "check-ignore", "-v", repository.shown(new_file)),
            )
    return _Move(item, source, path, old_file, new_file, data)


def _is_moved(repository: Repository, item: Selected, path: str) -> bool:
    """Says whether the folder `path` is the data itself, moved there before: then it is no folder to move into."""
    source = item.out.path
    digest = item.out.output.digest
    inside = posixpath.join(path, posixpath.basename(source))
    if not path or digest is None or not digest.is_dir:
        return False
    if os.path.lexists(repository.abspath(source)) or os.path.lexists(repository.abspath(inside)):
        return False
    # A killed run has told Git to ignore its destination before anything else.
    if _is_git_ignored(repository, path, True):
        return True
    look = look_at(repository, [(path, algorithm_of(digest))])[0]
    return digest_of(repository, look, algorithm=algorithm_of(digest)) == digest


def _refuse_target(repository: Repository, stages: Sequence[Stage], source: str, path: str) -> None:
    shown = f"cannot move '{repository.shown(source)}' to '{repository.shown(path)}'"
    parts = path.split("/")
    if not path or ".dvc" in parts or ".git" in parts:
        raise CannotMoveError(f"{shown}: it belongs to the repository itself", hint="name another path")
    if path == source or path.startswith(source + "/"):
        raise CannotMoveError(f"{shown}: it is the same, or inside of it", hint="name another path")
    if os.path.lexists(repository.abspath(source)) and os.path.lexists(repository.abspath(path)):
        raise CannotMoveError(
            f"{shown}: that path exists",
            hint=f"name another path, or move '{repository.shown(path)}' away first",
        )
    parent = posixpath.dirname(path)
    if not os.path.isdir(repository.abspath(parent)):
        raise CannotMoveError(
            f"{shown}: there is no folder '{repository.shown(parent)}'",
            hint=shell_line("mkdir", "-p", repository.shown(parent)),
        )
    refuse_symlinked_parents(repository, path, verb="move data to")
    for other in all_outputs(stages):
        if not other.out.is_inside or other.out.path == source:
            continue
        if other.out.path == path and other.stage.file == path + ".dvc":
            continue  # what a killed run wrote; its bytes are compared later
        if (path + "/").startswith(other.out.path + "/") or other.out.path.startswith(path + "/"):
            raise CannotMoveError(
                f"{shown}: '{repository.shown(other.stage.file)}' tracks '{repository.shown(other.out.path)}'",
                hint="name another path",
            )
    if repository.ignores.is_path_ignored(path, False):
        raise CannotMoveError(
            f"{shown}: '.dvcignore' excludes it",
            hint=shell_line("kist", "check-ignore", "-d", repository.shown(path)),
        )
    if repository.git is not None:
        inside = os.path.relpath(repository.abspath(path), repository.git.top).replace(os.sep, "/")
        if repository.git.is_tracked([inside]):
            raise CannotMoveError(
                f"{shown}: Git tracks it",
                hint=shell_line("git", "rm", "-r", "--cached", repository.shown(path)),
            )


def _is_git_ignored(repository: Repository, path: str, is_dir: bool) -> bool:
    rules = repository.git_ignores
    if repository.git is None or rules is None:
        return False
    inside = os.path.relpath(repository.abspath(path), repository.git.top).replace(os.sep, "/")
    return rules.is_path_ignored(inside, is_dir)


def _moved(metafile: Metafile, item: Selected, path: str, old_file: str, new_file: str) -> Metafile:
    """Returns the metafile with the new path; where the file itself moves, it stands beside the data."""
    outs = list(metafile.outs)
    at = next(at for at, out in enumerate(item.stage.outs) if out.path == item.out.path)
    if new_file == old_file:
        outs[at] = outs[at]._replace(path=posixpath.relpath(path, item.stage.wdir or "."))
        return with_checksum(metafile._replace(outs=tuple(outs)))
    outs[at] = outs[at]._replace(path=posixpath.basename(path))
    folder = posixpath.dirname(new_file) or "."
    deps = tuple(_rebased(dep, item.stage.wdir or ".", folder) for dep in metafile.deps)
    return with_checksum(metafile._replace(outs=tuple(outs), deps=deps, wdir="."))


def _rebased(dep: Dependency, before: str, after: str) -> Dependency:
    if dep.repo is not None or dep.db is not None or "://" in dep.path or dep.path.startswith("/"):
        return dep
    return dep._replace(path=posixpath.relpath(posixpath.join(before, dep.path), after))


def _rename(repository: Repository, plan: _Move) -> None:
    """Renames the data, durable when it returns, and its rows in the stat index, so that nothing is read again."""
    old, new = repository.abspath(plan.source), repository.abspath(plan.target)
    index = repository.index
    algorithm = algorithm_of(plan.item.out.output.digest)
    is_dir = os.path.isdir(old) and not os.path.islink(old)
    space = algorithm if is_dir else f"{algorithm}:file"
    rows = index.folders(algorithm, plan.source) if is_dir else {}
    row = None if is_dir else index.folder(space, plan.source)
    before = None if is_dir or not os.path.exists(old) else pack_stat(os.stat(old))
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        names = (repository.shown(plan.source), repository.shown(plan.target))
        raise CannotMoveError(
            f"cannot move '{repository.shown(plan.source)}': the new place is on another file system",
            hint=f"{shell_line('mv', *names)} && {shell_line('kist', 'move', *names)}",
        ) from error
    for folder in {os.path.dirname(old), os.path.dirname(new)}:
        atomic.sync_directory(folder)
    moved = [(plan.target + path[len(plan.source) :], known) for path, known in rows.items()]
    if row is not None and before is not None and row.stats == before:
        settle()  # the rename was a change of its ctime
        now = pack_stat(os.stat(new))
        if now[:24] == before[:24]:
            moved = [(plan.target, FolderRow(posixpath.basename(plan.target), now, row.digests))]
            _trust_again(repository, algorithm, row.digests, before, now)
    index.save(space, moved, gone=[*rows, plan.source])


def _trust_again(repository: Repository, algorithm: str, digest: bytes, before: bytes, now: bytes) -> None:
    """Renews the trust in an object that the moved file is a hard link of: the rename changed its ctime too."""
    trust = repository.trust(repository.store_for(algorithm))
    if trust.records([digest]).get(digest) == before:
        trust.add([digest + now])

"""`add`: starts tracking files and directories, or takes up their present content.

Order: objects, manifests, `.dvc`, `.gitignore` (rule R4). Not here: hashing and storing (tracking).
"""

from __future__ import annotations

import bisect
import glob as globbing
import os
import posixpath
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, KistError
from kist.formats.gitignore import gitignore_entry
from kist.formats.manifest import Tree, TreeFolder, render_manifest
from kist.formats.metafile import parse_metafile, with_checksum
from kist.formats.records import MD5, Digest, Metafile, Output
from kist.repo import placed
from kist.repo.collect import Out, Stage, WorkspaceSource, collect
from kist.repo.data import Look, look_at, refuse_symlinked_parents, wanted_tree
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.targets import Selected, all_outputs
from kist.repo.tracking import Tracked, store_paths, updated_output
from kist.store.loose import ObjectCorruptError, ObjectMissingError
from kist.transfer.plan import part

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CannotAddError(InputError):
    """A target cannot be tracked: missing, ignored, Git has it, or it collides with another output."""

    code = "cannot-add"


class AddOptions(NamedTuple):
    """What `add` was asked for besides its targets.

    Attributes:
        file: the metafile to write, instead of one beside the data.
        to_cache: False with `--no-commit`.
        use_glob: targets are patterns.
        relink: False with `--no-relink`.
    """

    file: str | None = None
    to_cache: bool = True
    use_glob: bool = False
    relink: bool = True


class AddResult(NamedTuple):
    """What `add` did.

    Attributes:
        metafiles: written or confirmed, relative to the root.
        to_stage: files that the person still has to `git add`; empty when they were staged.
    """

    metafiles: list[str]
    to_stage: list[str]


class StoredTargets(NamedTuple):
    """What was stored, and the metafiles that are to say so. All paths are relative to the root.

    Attributes:
        metafiles: path -> what it is to say.
        outputs: paths of the outputs.
        ignored: those of them that Git must ignore.
        replaced: metafiles whose place another one takes.
        failure: why a target, and so those after it, were not stored.
    """

    metafiles: dict[str, Metafile]
    outputs: list[str]
    ignored: list[str]
    replaced: list[str]
    failure: KistError | None = None


class _Work(NamedTuple):
    """One target: what is stored and which metafile says so; `replaces` is the metafile that said it before."""

    path: str
    metafile_path: str
    metafile: Metafile
    position: int
    inner: str = ""
    replaces: str = ""


def add(repository: Repository, targets: Sequence[str], options: AddOptions) -> AddResult:
    """Tracks targets.

    Raises:
        CannotAddError, SpecialFileError, FileChangedError, OSError. As in DVC the targets before one that is missing,
            or that Git tracks, are stored and have their metafiles then, and Git does not ignore them yet.

    Holds: when it fails, or is killed, user files are as before; metafiles are old or new; running it again repairs.
    """
    with repository.lock():
        repository.sweep_now()
        stages = collect(WorkspaceSource(repository))
        paths = _expand(repository, targets, use_glob=options.use_glob)
        stored = store_targets(repository, stages, paths, options, in_turn=True)
        changes = Changes(repository)
        record(repository, stored, changes)
        return AddResult(list(stored.metafiles), changes.finish())


def store_targets(
    repository: Repository,
    stages: Sequence[Stage],
    paths: Sequence[str],
    options: AddOptions,
    *,
    in_turn: bool = False,
    looks: Mapping[str, Look] | None = None,
) -> StoredTargets:
    """Stores paths, relative to the root, as they are now; the caller holds the lock and then calls `record`.

    Args:
        stages: all of the workspace.
        looks: how some of the paths looked a moment ago.
        in_turn: store the targets before one that is not there, and hand back the error; else nothing is stored.

    Raises: as `add`.

    Holds: nothing changed but the cache.
    """
    known = {item.out.path: item for item in all_outputs(stages)}
    planned = [_plan(repository, known, path, options) for path in dict.fromkeys(paths)]
    _refuse_collisions(repository, known, planned)
    works, obstacle = _until_obstacle(repository, planned)
    if obstacle is not None and not in_turn:
        raise obstacle
    failure: KistError | None = obstacle
    whole = [work for work in works if not work.inner]
    stored = store_paths(
        repository,
        [work.path for work in whole],
        to_cache=options.to_cache,
        relink=options.relink,
        looks=looks,
    )
    of_whole = dict(zip([work.path for work in whole], stored, strict=True))
    metafiles: dict[str, Metafile] = {}
    done: list[_Work] = []
    for work in works:
        current = metafiles.get(work.metafile_path, work.metafile)
        try:
            tracked = of_whole.get(work.path) or _store_inner(
                repository, work._replace(metafile=current), options
            )
        except (CannotAddError, ObjectMissingError, ObjectCorruptError) as error:
            if not in_turn:
                raise
            failure = error
            break
        metafiles[work.metafile_path] = _updated(repository, current, work.position, tracked)
        done.append(work)
    ignored = [_output_path(work) for work in done if work.metafile.outs[work.position].use_cache]
    replaced = [work.replaces for work in done if work.replaces]
    return StoredTargets(metafiles, [_output_path(work) for work in done], ignored, replaced, failure)


def _until_obstacle(
    repository: Repository, works: Sequence[_Work]
) -> tuple[list[_Work], CannotAddError | None]:
    """Returns the targets before the first one that cannot be stored, and why that cannot."""
    paths = {work.path: repository.abspath(work.path) for work in works if not work.inner}
    in_git = repository.git.is_tracked(paths.values()) if repository.git is not None else set()
    for at, work in enumerate(works):
        shown, absolute = repository.shown(work.path), paths.get(work.path)
        failure = None
        if absolute is None:
            continue  # a path inside of a directory may be gone from it
        if not os.path.lexists(absolute):
            failure = _does_not_exist(shown)
        elif not os.path.exists(absolute):
            failure = CannotAddError(
                f"cannot add '{shown}': it is a symbolic link that leads nowhere",
                hint=shell_line("ls", "-l", shown),
            )
        elif absolute in in_git:
            end = shell_line("git", "rm", "-r", "--cached", shown)
            failure = CannotAddError(
                f"cannot add '{shown}': Git tracks it", hint=f"{end} && git commit -m 'Leave data to Kist'"
            )
        if failure is not None:
            return list(works[:at]), failure
    return list(works), None


def _does_not_exist(shown: str) -> CannotAddError:
    return CannotAddError(
        f"cannot add '{shown}': it does not exist", hint=shell_line("ls", posixpath.dirname(shown) or ".")
    )


def record(repository: Repository, stored: StoredTargets, changes: Changes) -> None:
    """Writes the metafiles of what was stored, then the `.gitignore` files beside them (rule R4).

    Raises: the failure of what was stored, after the metafiles, as DVC does.
    """
    for path, metafile in stored.metafiles.items():
        changes.write_metafile(path, metafile)
    placed.note(repository.index, stored.outputs)
    if stored.failure is not None:
        raise stored.failure
    for path in stored.replaced:
        changes.remove_file(path)
        changes.note(path)
    for path in stored.ignored:
        changes.ignore(path)


def refuse_output(repository: Repository, stages: Sequence[Stage], path: str) -> None:
    """Does nothing for a path, relative to the root, that may become an output of its own.

    Raises: CannotAddError: it belongs to Git or the repository, is ignored, or overlaps with another output.
    """
    _refuse_path(repository, path)
    known = {item.out.path: item for item in all_outputs(stages)}
    _refuse_collisions(repository, known, [_Work(path, path + ".dvc", Metafile(), 0)])


def _output_path(work: _Work) -> str:
    return work.path[: -len(work.inner) - 1] if work.inner else work.path


def _expand(repository: Repository, targets: Sequence[str], *, use_glob: bool) -> list[str]:
    if not use_glob:
        return [repository.rel(target) for target in targets]
    paths = []
    for pattern in targets:
        found = sorted(globbing.glob(os.path.join(repository.cwd, pattern), recursive=True))
        found = [
            path for path in found if not path.endswith(".dvc") and os.path.basename(path) != ".gitignore"
        ]
        if not found:
            raise CannotAddError(
                f"cannot add '{pattern}': no file matches", hint="quote the pattern, or name the files"
            )
        paths += [repository.rel(path) for path in found]
    return paths


def _plan(repository: Repository, known: Mapping[str, Selected], path: str, options: AddOptions) -> _Work:
    """Args: known: all outputs there are, by path."""
    _refuse_path(repository, path)
    item = known.get(path)
    if item is not None and not item.out.is_import:
        return _existing(repository, item, options)
    if item is not None:
        end = shell_line("kist", "remove", repository.shown(item.stage.file))
        raise CannotAddError(
            f"cannot add '{repository.shown(path)}': '{item.stage.address}' imports it from elsewhere",
            hint=f"run `{end}` to import it no longer, then add it",
        )
    above = _above(path, known)
    if above is not None:
        return _inside(repository, known[above], path)
    metafile_path = path + ".dvc"
    wdir = "."
    if options.file is not None:
        metafile_path = repository.rel(options.file)
        wdir = posixpath.relpath(posixpath.dirname(path) or ".", posixpath.dirname(metafile_path) or ".")
        if not (metafile_path.endswith(".dvc") or posixpath.basename(metafile_path) == "Dvcfile"):
            raise CannotAddError(
                f"cannot write '{options.file}': a metafile's name ends in '.dvc'",
                hint=shell_line("kist", "add", "--file", options.file + ".dvc", repository.shown(path)),
            )
    previous = read_bytes(repository.abspath(metafile_path))
    fresh = Metafile(outs=(Output(posixpath.basename(path)),), wdir=wdir)
    if previous is not None:
        old = parse_metafile(previous, name=metafile_path)
        # The file is taken over for new data: what people wrote into it stays.
        fresh = fresh._replace(desc=old.desc, meta=old.meta)
    return _Work(path, metafile_path, fresh, 0)


def _above(path: str, known: Container[str]) -> str | None:
    """Returns the known path that is a folder around `path`, the outermost one."""
    parts = path.split("/")
    tops = ("/".join(parts[:count]) for count in range(1, len(parts)))
    return next((top for top in tops if top in known), None)


def _existing(repository: Repository, item: Selected, options: AddOptions) -> _Work:
    stage = item.stage
    if stage.metafile is None or stage.metafile.cmd is not None:
        raise CannotAddError(
            f"cannot add '{repository.shown(item.out.path)}': it is an output of stage '{stage.address}'",
            hint=shell_line("kist", "commit", repository.shown(item.out.path)),
        )
    if options.file is not None and repository.rel(options.file) != stage.file:
        return _moved(repository, item, stage.metafile, options.file)
    return _Work(item.out.path, stage.file, stage.metafile, _position(stage, item.out))


def _moved(repository: Repository, item: Selected, metafile: Metafile, file: str) -> _Work:
    """Returns the work of writing a tracked output to another metafile, which takes the place of the old one."""
    if len(metafile.outs) != 1:
        raise CannotAddError(
            f"cannot add '{repository.shown(item.out.path)}' to '{file}': "
            f"'{repository.shown(item.stage.file)}' tracks it, and more",
            hint=shell_line("kist", "add", repository.shown(item.out.path)),
        )
    target = repository.rel(file)
    folder = posixpath.dirname(target) or "."
    output = metafile.outs[0]._replace(path=posixpath.basename(item.out.path))
    wdir = posixpath.relpath(posixpath.dirname(item.out.path) or ".", folder)
    moved = metafile._replace(wdir=wdir, outs=(output,))
    return _Work(item.out.path, target, moved, 0, replaces=item.stage.file)


def _position(stage: Stage, out: Out) -> int:
    return next(at for at, own in enumerate(stage.outs) if own.path == out.path)


def _inside(repository: Repository, item: Selected, path: str) -> _Work:
    stage = item.stage
    if stage.metafile is None or not stage.is_data:
        raise CannotAddError(
            f"cannot add '{repository.shown(path)}': it is inside of '{repository.shown(item.out.path)}', "
            f"an output of '{stage.address}'",
            hint=shell_line("kist", "commit", repository.shown(item.out.path)),
        )
    return _Work(path, stage.file, stage.metafile, _position(stage, item.out), path[len(item.out.path) + 1 :])


def _refuse_path(repository: Repository, path: str) -> None:
    shown = repository.shown(path) if path else "."
    if not path or path == ".dvc" or path.startswith(".dvc/") or "/.dvc/" in path:
        raise CannotAddError(
            f"cannot add '{shown}': it holds the repository's own files", hint="name what is in it"
        )
    if path == ".git" or path.startswith(".git/") or "/.git/" in path or path.endswith("/.git"):
        raise CannotAddError(f"cannot add '{shown}': it belongs to Git", hint="name another path")
    if repository.git is not None:
        gitignore_entry(posixpath.basename(path))  # refuses what no line of .gitignore can name
    refuse_symlinked_parents(repository, path)
    absolute = repository.abspath(path)
    if os.path.islink(absolute) and os.path.isdir(absolute):
        raise CannotAddError(
            f"cannot add '{shown}': it is a symbolic link to a directory",
            hint="name the directory that it leads to",
        )
    if repository.ignores.is_path_ignored(path, os.path.isdir(absolute)):
        raise CannotAddError(
            f"cannot add '{shown}': '.dvcignore' excludes it",
            hint=shell_line("kist", "check-ignore", "-d", shown),
        )
    if path.endswith(".dvc") and os.path.isfile(absolute):
        raise CannotAddError(
            f"cannot add '{shown}': it is a metafile", hint=shell_line("kist", "add", shown[:-4])
        )


def _refuse_collisions(repository: Repository, known: Mapping[str, Selected], works: Sequence[_Work]) -> None:
    planned = {work.path for work in works if not work.inner}
    taken = {path: item.stage.address for path, item in known.items() if item.out.is_inside}
    everything = sorted({*taken, *planned})
    for path in planned:
        at = bisect.bisect_left(everything, path + "/")
        other = _above(path, planned)
        if at < len(everything) and everything[at].startswith(path + "/"):
            other = everything[at]
        if other is not None:
            by = f", which '{taken[other]}' tracks" if other in taken else ""
            raise CannotAddError(
                f"cannot add '{repository.shown(path)}': it overlaps with '{repository.shown(other)}'{by}",
                hint=shell_line("kist", "remove", repository.shown(taken.get(other, other + ".dvc"))),
            )


def _updated(repository: Repository, metafile: Metafile, position: int, tracked: Tracked) -> Metafile:
    outs = list(metafile.outs)
    outs[position] = updated_output(repository, outs[position], tracked)
    changed = metafile._replace(outs=tuple(outs))
    return with_checksum(changed) if changed.deps or changed.checksum else changed


def _store_inner(repository: Repository, work: _Work, options: AddOptions) -> Tracked:
    """Stores one path inside a tracked directory and returns the directory with that entry replaced.

    The rest of the directory is taken from its manifest, so that it need not be in the workspace.
    """
    output = work.metafile.outs[work.position]
    top = work.path[: -len(work.inner) - 1]
    if output.digest is not None and not output.digest.is_dir:
        raise CannotAddError(
            f"cannot add '{repository.shown(work.path)}': '{repository.shown(top)}' is tracked as a file",
            hint=shell_line("kist", "add", repository.shown(top)),
        )
    if output.digest is None or output.digest.algorithm != MD5:
        return store_paths(repository, [top], to_cache=options.to_cache, relink=options.relink)[0]
    tree = wanted_tree(repository.cache, output.digest, "")
    inner = None  # a path that is gone leaves the directory
    if os.path.lexists(repository.abspath(work.path)):
        inner = store_paths(repository, [work.path], to_cache=options.to_cache, relink=options.relink)[0]
    elif tree.get(work.inner) is None and not part(tree, work.inner).folders:
        raise _does_not_exist(repository.shown(work.path))
    folders = {
        path: row
        for path, row in tree.folders.items()
        if path != work.inner and not path.startswith(work.inner + "/")
    }
    if inner is None:
        folders = {path: _without_file(row, path, work.inner) for path, row in folders.items()}
    elif inner.digest.is_dir:
        look = look_at(repository, [(work.path, MD5)])[0]
        assert look.snapshot is not None
        for path, row in look.snapshot.tree().folders.items():
            folders[f"{work.inner}/{path}" if path else work.inner] = row
    else:
        path, _, name = work.inner.rpartition("/")
        folders[path] = _with_file(folders.get(path), name, bytes.fromhex(inner.digest.value))
    changed = Tree({path: row for path, row in folders.items() if row.names})
    # As DVC: a file that is new adds to the size; otherwise the size of the whole is not known without looking at it.
    size = None
    if inner is not None and not inner.digest.is_dir and tree.get(work.inner) is None:
        size = None if output.size is None or inner.size is None else output.size + inner.size
    return tracked_tree(repository, top, changed, size, to_cache=options.to_cache)


def _without_file(row: TreeFolder, path: str, inner: str) -> TreeFolder:
    folder, _, name = inner.rpartition("/")
    names = row.names.split("\0")
    if path != folder or name not in names:
        return row
    at = names.index(name)
    return TreeFolder(
        "\0".join(names[:at] + names[at + 1 :]), row.digests[: at * 16] + row.digests[at * 16 + 16 :]
    )


def _with_file(row: TreeFolder | None, name: str, digest: bytes) -> TreeFolder:
    pairs = {name: digest}
    if row is not None and row.names:
        before = {
            other: row.digests[at * 16 : at * 16 + 16] for at, other in enumerate(row.names.split("\0"))
        }
        pairs = {**before, name: digest}
    names = sorted(pairs)
    return TreeFolder("\0".join(names), b"".join([pairs[other] for other in names]))


def tracked_tree(
    repository: Repository, top: str, tree: Tree, size: int | None, *, to_cache: bool = True
) -> Tracked:
    """Stores the manifest of a tree, all files of which are stored or known elsewhere; returns what it became."""
    import hashlib  # only for a change inside of a directory

    data = render_manifest(tree)
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    if to_cache:
        repository.cache.write_small(oid, data)
    return Tracked(top, Digest(MD5, oid), size, tree.file_count(), False)

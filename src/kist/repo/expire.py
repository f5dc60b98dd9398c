"""`expire`: takes files that are over out of tracked data, in the metafiles and in the workspace. Commits nothing.

Not here: when a file is over (expiry), removing it (withdraw), freeing storage (gc). Implements docs/spec/expire.md.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.listing import STAT_SIZE
from kist.base.shell import shell_line
from kist.errors import InputError, MissingError
from kist.formats.manifest import edit_manifest
from kist.formats.metafile import with_checksum
from kist.formats.records import MD5, Digest, Output
from kist.git.porcelain import Porcelain
from kist.repo.beside_git import listed, need_git, noting
from kist.repo.checkout import can_check_out
from kist.repo.collect import WorkspaceSource, collect
from kist.repo.data import Look, look_at, refuse_symlinked_parents
from kist.repo.expiry import ByColumn, ByCommit, ByName, Column, Dates, TableError, recorded_files
from kist.repo.journal import Journal, remove_journal, write_journal
from kist.repo.manifests import Manifests
from kist.repo.metafiles import Changes
from kist.repo.moving import WouldLoseError
from kist.repo.recover import recover, refuse_unfinished
from kist.repo.targets import Selected, TargetMissingError, all_outputs, select
from kist.repo.tracking import Tracked, updated_output
from kist.repo.withdraw import in_the_way, present_files, take_out, take_out_single

if TYPE_CHECKING:
    from kist.repo.repository import Repository

BY_NAME, BY_COMMIT = "name", "commit"


class CannotExpireError(InputError):
    """A path is nothing that files can be taken out of: an import, a pipeline's output, kept elsewhere, or old."""

    code = "cannot-expire"


class ListMissingError(MissingError):
    """Which files a directory has is known neither here nor on a remote."""

    code = "expire-list-missing"


class ExpireOptions(NamedTuple):
    """What `expire` was asked for besides its paths.

    Attributes:
        cutoff_s: what was over by then goes; seconds since 1970, UTC.
        by: "name", "commit", or a column.
        is_applied: False: only tell what would go.
        words: the command as typed.
    """

    cutoff_s: int
    by: str | Column = BY_NAME
    is_applied: bool = False
    words: str = "kist expire"


class ExpiredPath(NamedTuple):
    """What goes of one output. Paths are relative to the root.

    Attributes:
        is_whole: a single file, whose metafile goes too.
        files: what goes, sorted.
        size_bytes: of these; None where one is unknown.
        oldest_s, newest_s: when the first and the last of them was over; None where none goes.
        kept: how many files stay that are not over.
        undated: how many files stay because nothing tells when they are over.
    """

    path: str
    metafile: str
    is_whole: bool
    files: list[str]
    size_bytes: int | None
    oldest_s: int | None
    newest_s: int | None
    kept: int
    undated: int


class ExpireResult(NamedTuple):
    """What `expire` found, and did when it was to.

    Attributes:
        paths: an entry for each output that was looked at, those included of which nothing goes.
        removed: number of files that were removed from the workspace.
        to_stage: files that the person still has to stage.
        notes: lines to tell the person.
    """

    paths: list[ExpiredPath]
    removed: int
    to_stage: list[str]
    notes: list[str]


class _Plan(NamedTuple):
    """One output: its list of files, how many those are, what goes of it (path inside -> id), what is told of it."""

    item: Selected
    manifest: bytes
    file_count: int
    gone: dict[str, str]
    told: ExpiredPath

    @property
    def digest(self) -> Digest:
        digest = self.item.out.output.digest
        assert digest is not None
        return digest


def expire(repository: Repository, targets: Sequence[str], options: ExpireOptions) -> ExpireResult:
    """Finds what is over, and with `is_applied` takes it out.

    Raises:
        CannotExpireError, TableError, ListMissingError, WouldLoseError: nothing was changed.
        KistError, OSError: some outputs may be done, each of them whole.

    Holds: files that were edited, or are stored nowhere, never go. A kill leaves each output before or after, but for
        work that the journal names.
    """
    git = need_git(repository, "expire data")
    with repository.lock() if options.is_applied else contextlib.nullcontext():
        if options.is_applied:
            porcelain = Porcelain(git, repository.environ, inside="expire")
            refuse_unfinished(recover(repository, git, porcelain), failed="expire data")
            repository.sweep_now()
        parts = _parts(repository, targets)
        plans = _plans(repository, parts, options)
        going = [plan for plan in plans if plan.gone]
        looks = look_at(repository, [(plan.item.out.path, MD5) for plan in going], read=options.is_applied)
        pairs = list(zip(going, looks, strict=True))
        sizes = {plan.item.out.path: _size(repository, plan, look) for plan, look in pairs}
        removed, to_stage = 0, list[str]()
        if options.is_applied:
            _refuse_losses(repository, pairs)
            removed, to_stage = _apply(repository, pairs, sizes, options.words)
        told = [plan.told._replace(size_bytes=sizes.get(plan.item.out.path, 0)) for plan in plans]
        return ExpireResult(told, removed, to_stage, repository.take_notes())


def _parts(repository: Repository, targets: Sequence[str]) -> list[tuple[Selected, tuple[str, ...]]]:
    """Returns outputs with the paths inside that are meant; () means all.

    Raises: CannotExpireError: a target is an output that files cannot be taken out of.
    """
    items: list[Selected] = []
    for target in targets:
        try:
            items += select(repository, [target])
        except TargetMissingError:
            below = select(repository, [target], recursive=True)  # a folder around tracked data
            if not below:
                raise
            items += below
    if not targets:
        items = all_outputs(collect(WorkspaceSource(repository), on_damage=noting(repository)))
    named = {repository.rel(target) for target in targets}
    found: dict[str, tuple[Selected, tuple[str, ...]]] = {}
    for item in items:
        obstacle = _obstacle(repository, item)
        if obstacle is not None:
            path = item.out.path
            is_named = item.stage.file in named or any(
                rel == path or rel.startswith(path + "/") for rel in named
            )
            if is_named:
                raise obstacle
            continue
        before = found.get(item.out.path)
        inners: tuple[str, ...] = (item.inner,) if item.inner else ()
        if before is not None:
            inners = (*before[1], *inners) if before[1] and inners else ()
        found[item.out.path] = (item._replace(inner=""), inners)
    return list(found.values())


def _obstacle(repository: Repository, item: Selected) -> CannotExpireError | None:
    shown, digest = repository.shown(item.out.path), item.out.output.digest
    if item.stage.is_import:
        return CannotExpireError(
            f"cannot expire '{shown}': '{repository.shown(item.stage.file)}' imports it from elsewhere",
            hint="let the files expire where they come from",
        )
    if not item.stage.is_data:
        return CannotExpireError(
            f"cannot expire '{shown}': '{item.stage.address}' makes it, and would make it again",
            hint="let what the stage reads expire, then run the stage",
        )
    if digest is not None and item.out.is_inside and item.out.output.use_cache and digest.algorithm != MD5:
        return CannotExpireError(
            f"cannot expire '{shown}': it is recorded as DVC 2 did",
            hint=shell_line("kist", "cache", "migrate", "--dvc-files"),
        )
    if not can_check_out(item.out):
        return CannotExpireError(f"cannot expire '{shown}': the cache does not keep it")
    return None


def _plans(
    repository: Repository, parts: Sequence[tuple[Selected, tuple[str, ...]]], options: ExpireOptions
) -> list[_Plan]:
    """Returns what goes of each output; changes nothing.

    Raises: ListMissingError, TableError, ManifestError.
    """
    manifests = Manifests(repository)
    manifests.fetch([item for item, _ in parts])
    dates = _dates(repository, options.by)
    plans = []
    for item, inners in parts:
        digest = item.out.output.digest
        assert digest is not None
        recorded = recorded_files(manifests, digest)
        if recorded is None:
            shown = repository.shown(item.out.path)
            raise ListMissingError(
                f"cannot expire '{shown}': the list of its files is neither in the cache nor on a remote",
                hint=shell_line("kist", "fetch", shown),
            )
        manifest, files = recorded
        meant = {path: oid for path, oid in files.items() if _is_meant(path, inners)} if inners else files
        if inners and not meant:
            shown = repository.shown(f"{item.out.path}/{inners[0]}")
            raise CannotExpireError(
                f"cannot expire '{shown}': it is no part of '{repository.shown(item.out.path)}'",
                hint=shell_line("kist", "list", ".", repository.shown(item.out.path)),
            )
        ends = dates.ends(item, files)
        if ends is not None:
            plans.append(_plan(item, manifest, meant, ends, options.cutoff_s)._replace(file_count=len(files)))
    if isinstance(options.by, Column) and not plans:
        raise TableError(
            f"cannot find table '{options.by.table}': it lies neither here nor in the data",
            hint="name it as it is called inside of the tracked directory, or from here",
        )
    return plans


def _dates(repository: Repository, by: str | Column) -> Dates:
    if isinstance(by, Column):
        return ByColumn(repository, by)
    return ByCommit(repository) if by == BY_COMMIT else ByName()


def _is_meant(path: str, inners: Iterable[str]) -> bool:
    return any(path == inner or path.startswith(inner + "/") for inner in inners)


def _plan(
    item: Selected, manifest: bytes, files: Mapping[str, str], ends: Mapping[str, int | None], cutoff_s: int
) -> _Plan:
    top = item.out.path
    over = {path: end for path in files if (end := ends[path]) is not None and end <= cutoff_s}
    undated = sum(ends[path] is None for path in files)
    told = ExpiredPath(
        top,
        item.stage.file,
        not (item.out.output.digest is None or item.out.output.digest.is_dir),
        sorted(f"{top}/{path}" if path else top for path in over),
        0,
        min(over.values(), default=None),
        max(over.values(), default=None),
        len(files) - len(over) - undated,
        undated,
    )
    return _Plan(item, manifest, len(files), {path: files[path] for path in over}, told)


def _size(repository: Repository, plan: _Plan, look: Look) -> int | None:
    """Returns the bytes of what goes: as the workspace shows them where it has just that, else as the cache does."""
    output = plan.item.out.output
    if len(plan.gone) == plan.file_count and output.size is not None:
        return output.size
    known: dict[str, int] = {}
    for folder, row in look.snapshot.folders.items() if look.snapshot is not None and look.is_dir else ():
        prefix = folder + "/" if folder else ""
        for at, name in enumerate(row.split()):
            known[prefix + name] = int.from_bytes(
                row.stats[at * STAT_SIZE + 8 : at * STAT_SIZE + 16], "little"
            )
    present = present_files(look, plan.gone)
    total = 0
    for path, oid in plan.gone.items():
        if present.get(path) == oid and path in known:
            total += known[path]
            continue
        record = repository.cache.stat(oid)
        if record is None:
            return None
        total += int.from_bytes(record[8:16], "little")
    return total


def _refuse_losses(repository: Repository, pairs: Sequence[tuple[_Plan, Look]]) -> None:
    """Raises WouldLoseError if a file that is over was edited since, or is stored nowhere."""
    lost = [path for plan, look in pairs for path in in_the_way(repository, look, plan.gone, plan.digest)]
    if not lost:
        return
    shown = [repository.shown(path) for path in lost]
    drop = shell_line("kist", "checkout", "--force", *shown[:5])
    raise WouldLoseError(
        f"cannot expire data: this is saved nowhere and would be lost: {listed(shown)}",
        hint=f"keep it with `kist save`, or drop it with `{drop}`",
    )


def _apply(
    repository: Repository,
    pairs: Sequence[tuple[_Plan, Look]],
    sizes: Mapping[str, int | None],
    words: str,
) -> tuple[int, list[str]]:
    """Takes out what goes, an output after the other; returns how many files went, and what is to be staged."""
    removed = 0
    changes = Changes(repository)
    # Several outputs may stand in one metafile.
    left: dict[str, dict[str, Output]] = {}
    for plan, look in pairs:
        stage, path = plan.item.stage, plan.item.out.path
        assert stage.metafile is not None
        refuse_symlinked_parents(repository, path, verb="expire")
        outputs = left.setdefault(stage.file, {out.path: out.output for out in stage.outs})
        value = None
        if plan.told.is_whole:
            del outputs[path]
        else:
            outputs[path] = _stored(repository, plan, sizes[path])
            digest = outputs[path].digest
            value = digest.value if digest is not None else None
        journal = Journal(
            "expire", words, path=path, metafile=stage.file, digest=value, before=plan.digest.value
        )
        write_journal(repository, journal)
        if outputs:
            changed = stage.metafile._replace(outs=tuple(outputs.values()))
            changes.write_metafile(stage.file, with_checksum(changed) if changed.checksum else changed)
        else:
            changes.remove_file(stage.file)
            changes.note(stage.file)
        if plan.told.is_whole:
            removed += look.snapshot is not None
            take_out_single(repository, path, changes)
        else:
            removed += take_out(repository, look, plan.gone)
        remove_journal(repository)
    return removed, changes.finish()


def _stored(repository: Repository, plan: _Plan, size_bytes: int | None) -> Output:
    """Stores the list of what stays; returns what the metafile is to say."""
    output = plan.item.out.output
    data = edit_manifest(plan.manifest, plan.gone.keys(), {}, name=plan.item.out.path)
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    repository.cache.write_small(oid, data)
    size = output.size - size_bytes if output.size is not None and size_bytes is not None else None
    return updated_output(
        repository, output, Tracked("", Digest(MD5, oid), size, plan.file_count - len(plan.gone), False)
    )

"""`diff`: how tracked data differs between two revisions, or a revision and the workspace.

Reads only. Not here: layout on the screen (cli), the comparison (compare.entries).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Container, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.compare.entries import Differences, compare_entries, folders_above
from kist.errors import FormatError, InputError
from kist.formats.manifest import compare_manifests, member_oids, parse_manifest, render_manifest
from kist.formats.records import Digest
from kist.repo.collect import CommitSource, Stage, UnsafeOutputError, WorkspaceSource, collect
from kist.repo.data import algorithm_of, digest_of, look_at
from kist.repo.manifests import Manifests, is_object
from kist.repo.repository import OutsideRepositoryError
from kist.repo.targets import Selected, all_outputs
from kist.store.presence import Presence

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NothingToCompareError(InputError):
    """There is no Git repository, so there are no revisions."""

    code = "no-revisions"


class DiffTargetMissingError(InputError):
    """A target of `diff` is tracked in neither version. Exit 255, as DVC."""

    code = "diff-target-missing"
    exit_code = 255


class DamagedRevisionError(FormatError):
    """A metafile of a revision cannot be understood. Compare with another revision, or mend it and commit."""

    code = "damaged-revision"


class DiffResult(NamedTuple):
    """The differences, and for a comparison with the workspace what of the old version the cache does not have.

    Attributes:
        differences: an id is None on the side that lacks the path, and "" where its metafile says none.
        not_in_cache: (path, id) pairs; None between two revisions.
    """

    differences: Differences
    not_in_cache: list[tuple[str, str]] | None


class _Entry(NamedTuple):
    """One output of a version.

    Attributes:
        manifest: of a directory, where it can be had.
        folders: relative paths of folders that are there, empty ones too; only of the workspace.
    """

    digest: Digest | None
    manifest: bytes | None
    folders: Collection[str] = ()

    @property
    def oid(self) -> str:
        """The content id; "" where there is none."""
        return self.digest.value if self.digest is not None else ""

    @property
    def is_dir(self) -> bool:
        """Says whether it is known to be a directory."""
        return self.digest is not None and self.digest.is_dir


_NOTHING = DiffResult(Differences([], [], [], []), [])


def diff(
    repository: Repository,
    old: str,
    new: str | None,
    targets: Sequence[str] = (),
) -> DiffResult:
    """Returns how tracked data differs.

    Args:
        old, new: revisions; None is the workspace. Without any commit nothing differs, whatever they are, as in DVC.
        targets: only these paths.

    Raises: NothingToCompareError, RevisionMissingError, DamagedRevisionError, DiffTargetMissingError, OSError.
    """
    if repository.git is None:
        raise NothingToCompareError(
            "cannot compare revisions: there is no Git repository",
            hint="kist status",
        )
    if not repository.git.has_commits():
        return _NOTHING
    manifests = Manifests(repository)
    past = tracked_outputs(stages_of_commit(repository, old))
    present = collect(WorkspaceSource(repository)) if new is None else stages_of_commit(repository, new)
    items = tracked_outputs(present)
    wanted = _wanted(repository, targets, [*past.values(), *items.values()])
    if wanted:
        past = {path: item for path, item in past.items() if _meets(path, wanted)}
        items = {path: item for path, item in items.items() if _meets(path, wanted)}
    manifests.fetch(past.values(), of_revision=True)
    if new is not None:
        manifests.fetch(items.values(), of_revision=True)
    elif wanted:
        manifests.fetch(items.values())  # as DVC, which follows targets into directories
    before = {path: _entry(manifests, recorded_digest(item)) for path, item in past.items()}
    if new is None:
        after = _of_workspace(repository, manifests, items)
    else:
        after = {path: _entry(manifests, recorded_digest(item)) for path, item in items.items()}
    first, second, hidden = _differing(before, after)
    differences = compare_entries(
        *({path: oid for path, oid in side.items() if _is_wanted(path, wanted)} for side in (first, second))
    )
    missing = None
    if new is None:
        later = {path for path, item in past.items() if not is_downloaded(item)}
        missing = [
            (path, oid)
            for path, oid in _missing(repository, before, later)
            if path not in hidden and _is_wanted(path.rstrip("/"), wanted)
        ]
    folders = {path for path, entry in (after | before).items() if entry.is_dir}
    return DiffResult(_with_slashes(differences, folders), missing)


def stages_of_commit(repository: Repository, rev: str) -> list[Stage]:
    """Returns the stages of a revision. An empty metafile records nothing, as in DVC: old commits stay as they are.

    Raises: RevisionMissingError, DamagedRevisionError.
    """
    source = CommitSource(repository, rev)

    def damaged(path: str, error: FormatError) -> None:
        if (source.read(path) or b"").strip() and not isinstance(error, UnsafeOutputError):
            raise DamagedRevisionError(
                f"cannot use revision '{rev}': {error.message}",
                hint=shell_line("git", "show", f"{rev}:./{path}"),
            ) from error

    return collect(source, on_damage=damaged)


def tracked_outputs(stages: Sequence[Stage]) -> dict[str, Selected]:
    """Returns the outputs that the cache is to hold, by path; of two stages with one output the later one's."""
    return {
        item.out.path: item
        for item in all_outputs(stages)
        if item.out.is_inside and item.out.output.use_cache
    }


def recorded_digest(item: Selected) -> Digest | None:
    """Returns the id that a metafile recorded; of data that was imported without download its source's."""
    metafile = item.stage.metafile
    if metafile is not None and not is_downloaded(item):
        return metafile.deps[0].digest
    return item.out.output.digest


def is_downloaded(item: Selected) -> bool:
    """Says whether data was taken in; it was not by `import-url --no-download`."""
    return item.out.output.digest is not None or not item.stage.is_import


def _entry(manifests: Manifests, digest: Digest | None) -> _Entry:
    is_known = digest is not None and digest.is_dir and is_object(digest)
    return _Entry(digest, manifests.read(digest) if is_known and digest is not None else None)


def _of_workspace(
    repository: Repository, manifests: Manifests, items: dict[str, Selected]
) -> dict[str, _Entry]:
    algorithms = {path: _algorithm(item) for path, item in items.items()}
    found = {}
    for look in look_at(repository, list(algorithms.items())):
        digest = digest_of(repository, look, algorithm=algorithms[look.path])
        if digest is None or look.snapshot is None:
            continue
        entry = _entry(manifests, digest)
        if digest.is_dir and entry.manifest is None:
            entry = _Entry(digest, render_manifest(look.snapshot.tree()))
        found[look.path] = entry._replace(folders=look.snapshot.folders.keys())
    return found


def _algorithm(item: Selected) -> str:
    return algorithm_of(recorded_digest(item))


def _differing(
    before: dict[str, _Entry], after: dict[str, _Entry]
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Returns path -> id of everything that is not the same on both sides, and what is not named.

    Where a file became a folder, or a folder a file, only the files in the folder are named, as in DVC.
    """
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    hidden: set[str] = set()
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and old.digest == new.digest:
            continue
        if old is not None:
            first[path] = old.oid
        if new is not None:
            second[path] = new.oid
        gone, came = _differing_members(old, new, path)
        if gone:
            folders = folders_above(came).union(new.folders if new is not None else ())
            hidden.update(f"{path}/{relpath}" for relpath in folders & gone.keys())
        if gone and came:
            hidden.update(f"{path}/{relpath}" for relpath in folders_above(gone) & came.keys())
        first.update({f"{path}/{relpath}": oid for relpath, oid in gone.items()})
        second.update({f"{path}/{relpath}": oid for relpath, oid in came.items()})
    for path in hidden:
        first.pop(path, None)
        second.pop(path, None)
    return first, second, hidden


def _differing_members(
    old: _Entry | None, new: _Entry | None, path: str
) -> tuple[dict[str, str], dict[str, str]]:
    before = old.manifest if old is not None else None
    after = new.manifest if new is not None else None
    is_unknown = any(side is not None and side.is_dir and side.manifest is None for side in (old, new))
    if is_unknown and old is not None and new is not None:
        return {}, {}  # without its manifest nobody knows what was in a directory
    try:
        return compare_manifests(before or b"[]", after or b"[]", name=path)
    except FormatError:
        return {}, {}


def _with_slashes(found: Differences, folders: set[str]) -> Differences:
    """Returns the differences with "/" after the paths of directories; what changed its kind is shown as it was."""

    def shown(path: str) -> str:
        return path + "/" if path in folders else path

    return Differences(
        *(
            [
                item._replace(
                    path=shown(item.path),
                    new_path=None if item.new_path is None else shown(item.new_path),
                )
                for item in items
            ]
            for items in found
        )
    )


def _wanted(repository: Repository, targets: Sequence[str], items: Sequence[Selected]) -> list[str]:
    """Returns what the targets mean, relative to the root: a metafile its outputs, a path itself.

    Raises: DiffTargetMissingError.
    """
    found: list[str] = []
    for target in targets:
        try:
            path = repository.rel(target)
        except OutsideRepositoryError as error:
            raise DiffTargetMissingError(error.message, hint=error.hint) from error
        outputs = [item.out.path for item in items if item.stage.file == path and item.stage.name is None]
        if not outputs and not any(_meets(item.out.path, [path]) for item in items):
            raise DiffTargetMissingError(
                f"cannot compare '{repository.shown(path)}': it is tracked in neither version",
                hint="kist list . -R --dvc-only",
            )
        found += outputs or [path]
    return found


def _meets(path: str, wanted: Sequence[str]) -> bool:
    """Says whether a target names `path`, something in it, or a folder around it."""
    return _is_wanted(path, wanted) or any(one.startswith(path + "/") for one in wanted)


def _is_wanted(path: str, wanted: Sequence[str]) -> bool:
    """Says whether a target names `path` or a folder around it; without targets everything is wanted."""
    return not wanted or any(not one or path == one or path.startswith(one + "/") for one in wanted)


def _missing(
    repository: Repository, before: Mapping[str, _Entry], later: Container[str]
) -> list[tuple[str, str]]:
    """Returns (path, id) of everything in a version that the cache does not have.

    Args: later: what was imported without download; the cache never has it.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    lacking: list[tuple[str, str]] = []
    presences: dict[str, Presence] = {}
    for path, entry in before.items():
        if entry.digest is None or not is_object(entry.digest):
            continue
        kind, oid = entry.digest
        if path in later:
            lacking.append((path, oid))
            continue
        named = pairs.setdefault(kind, [])
        named.append((path + "/" if entry.is_dir else path, oid))
        manifest = entry.manifest
        if manifest is None:
            continue
        presence = presences.setdefault(kind, repository.presence(repository.store_for(kind)))
        if not presence.has_all(oid, functools.partial(member_oids, manifest, name=oid)):
            named += [
                (f"{path}/{relpath}", one) for relpath, one in parse_manifest(manifest, name=oid).files()
            ]
    for kind, named in pairs.items():
        missing = repository.store_for(kind).missing({oid for _, oid in named})
        lacking += [(path, oid) for path, oid in named if oid in missing]
    return sorted(lacking)

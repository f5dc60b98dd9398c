"""`status`: how the workspace differs from what the metafiles recorded, and how the cache differs from a remote.

Reads only; takes no lock, runs nothing. Not here: words and layout on the screen (cli).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kist.errors import FormatError
from kist.formats.manifest import member_oids, parse_manifest
from kist.formats.metafile import stage_checksum
from kist.formats.records import LEGACY_MD5, MD5, Digest
from kist.remotes.base import Remote
from kist.repo.collect import Out, Stage, WorkspaceSource, collect
from kist.repo.data import Look, algorithm_of, digest_of, is_as_recorded, look_at
from kist.repo.manifests import Manifests
from kist.repo.sight import Sight
from kist.repo.targets import Selected, meant_parts, shown_stage
from kist.repo.transfers import Scope, needs_by_remote, open_remote, wanted_outputs
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.store.presence import Presence
from kist.transfer.plan import Need, part

if TYPE_CHECKING:
    from kist.pipeline.changes import StageChanges
    from kist.repo.repository import Repository

StatusItem = dict[str, Any] | str
Status = dict[str, list[StatusItem]]


def status(
    repository: Repository,
    targets: Sequence[str],
    *,
    with_deps: bool = False,
    recursive: bool = False,
    check_updates: bool = True,
) -> tuple[Status, int]:
    """Returns stage -> what changed, in DVC's JSON shape, and how many stages were looked at.

    Args: check_updates: compare imported data with its source where that is a local path.

    Raises: KistError, OSError.
    """
    meant = meant_parts(repository, targets, with_deps=with_deps, recursive=recursive)
    sight = Sight(repository)
    sight.prime(stage for stage, _ in meant)
    found: Status = {}
    for stage, paths in meant:
        changes = stage_status(repository, stage, sight, check_updates=check_updates)
        if paths is not None:
            changes = _of_outputs(changes, {repository.shown(path) for path in paths})
        if changes:
            found[shown_stage(repository, stage)] = changes
    return found, len(meant)


def _of_outputs(changes: Sequence[StatusItem], paths: set[str]) -> list[StatusItem]:
    """Returns changes without those of other outputs than `paths`."""
    kept: list[StatusItem] = []
    for change in changes:
        if isinstance(change, dict) and "changed outs" in change:
            outs = {path: state for path, state in change["changed outs"].items() if path in paths}
            kept += [{"changed outs": outs}] if outs else []
        else:
            kept.append(change)
    return kept


def stage_status(
    repository: Repository, stage: Stage, sight: Sight, *, check_updates: bool = False
) -> list[StatusItem]:
    """Returns what changed in one stage."""
    if stage.resolved is not None:
        changes = stage_differences(repository, stage, sight)
        return changes.as_list(lambda path: path if "://" in path else repository.shown(path))
    return _metafile_status(repository, stage, sight, check_updates=check_updates)


def stage_differences(repository: Repository, stage: Stage, sight: Sight) -> StageChanges:
    """Returns what differs between a stage with a command and its lock."""
    from kist.repo.stage_changes import pipeline_changes  # many repositories have no pipeline

    return pipeline_changes(
        repository, stage, sight, lambda out: out_state(repository, out, sight.looks, sight.presences)
    )


def _metafile_status(
    repository: Repository, stage: Stage, sight: Sight, *, check_updates: bool
) -> list[StatusItem]:
    changes: list[StatusItem] = []
    metafile = stage.metafile
    if metafile is not None and stage.is_import and check_updates:
        moved = _moved_source(repository, stage)
        if moved:
            changes.append({"changed deps": moved})
    outs = {}
    for out in stage.outs:
        state = out_state(repository, out, sight.looks, sight.presences)
        if state is not None:
            outs[repository.shown(out.path) if out.is_inside else out.path] = state
    if outs:
        changes.append({"changed outs": outs})
    if metafile is not None and metafile.always_changed:
        changes.append("always changed")
    # An import that was only noted (`--no-exec`) has none, which DVC tells in the same words.
    is_summed = metafile is not None and metafile.deps and (metafile.checksum is not None or stage.is_import)
    if is_summed and metafile is not None and stage_checksum(metafile) != metafile.checksum:
        changes.append("changed checksum")
    return changes


def _moved_source(repository: Repository, stage: Stage) -> dict[str, str]:
    """Returns {source: "update available"} for data whose source has other content now."""
    assert stage.metafile is not None
    found = {}
    if stage.metafile.deps[0].repo is not None:
        from kist.repo.import_status import moved_repository  # many repositories import nothing

        return moved_repository(repository, stage)
    for dep in stage.metafile.deps:
        # As DVC: of what is frozen, only other repositories are asked.
        if (
            stage.metafile.frozen
            or dep.repo is not None
            or dep.db is not None
            or "://" in dep.path
            or dep.digest is None
        ):
            continue
        absolute = os.path.normpath(os.path.join(repository.abspath(stage.wdir), dep.path))
        if not absolute.startswith(repository.root + os.sep):
            continue
        look = look_at(repository, [(absolute[len(repository.root) + 1 :], algorithm_of(dep.digest))])[0]
        if digest_of(repository, look, algorithm=dep.digest.algorithm) != dep.digest:
            found[dep.path] = "update available"
    return found


def out_state(
    repository: Repository,
    out: Out,
    looks: dict[tuple[str, str], Look],
    presences: dict[str, Presence],
) -> str | None:
    """Returns "not in cache", "deleted", "modified", or None for an output that is as recorded."""
    if not out.is_inside:
        return None
    digest = out.output.digest
    look = looks[out.path, algorithm_of(digest)]
    if digest is None or digest.algorithm not in (MD5, LEGACY_MD5):
        return "deleted" if look.snapshot is None else "modified"
    if out.output.use_cache and not _is_cached(repository, digest, presences):
        return "not in cache"
    if look.snapshot is None:
        return "deleted"
    return None if is_as_recorded(repository, look, digest) else "modified"


def _is_cached(repository: Repository, digest: Digest, presences: dict[str, Presence]) -> bool:
    store = repository.store_for(digest.algorithm)
    if not digest.is_dir:
        return store.has(digest.value)
    presence = presences.get(digest.algorithm)
    if presence is None:
        presence = presences[digest.algorithm] = Presence(repository.index, store)

    def members() -> set[str]:
        try:
            return member_oids(store.read(digest.value), name=digest.value)
        except (ObjectMissingError, ObjectCorruptError, FormatError):
            return {"0" * 32}  # a manifest that is damaged is as good as missing

    return presence.has_all(digest.value, members)


def cloud_status(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    scope: Scope = Scope(),
    with_deps: bool = False,
    recursive: bool = False,
) -> tuple[dict[str, str], list[str], list[str]]:
    """Returns path -> "new" (only here), "deleted" (only there) or "missing" (nowhere), remotes used, and notes.

    Without anything tracked no remote is used, whether there is one or not.

    Raises: KistError, OSError.
    """
    items = wanted_outputs(repository, targets, scope=scope, with_deps=with_deps, recursive=recursive)
    if not items and not is_anything_tracked(repository):
        return {}, [], repository.take_notes()
    return compare_with_remotes(repository, items, remote=remote)


def is_anything_tracked(repository: Repository) -> bool:
    """Says whether the workspace has a metafile with a stage."""
    return bool(collect(WorkspaceSource(repository)))


def compare_with_remotes(
    repository: Repository, items: Sequence[Selected], *, remote: str | None
) -> tuple[dict[str, str], list[str], list[str]]:
    """Returns what `cloud_status` returns, for chosen outputs.

    Raises: KistError, OSError.
    """
    chosen = repository.settings.default_remote()
    default = chosen.name if chosen is not None else None
    grouped = needs_by_remote(items, default=default, named=remote, is_push=True)
    if not grouped:
        name, note = open_remote(repository, remote)
        return {}, [name.name], [note] if note else []
    found: dict[str, str] = {}
    names: list[str] = []
    manifests = Manifests(repository)
    notes = repository.take_notes()
    for name_or_default, by_algorithm in grouped.items():
        target, note = open_remote(repository, name_or_default)
        names.append(target.name)
        notes += [note] if note else []
        for algorithm, needs in by_algorithm.items():
            store = repository.store_for(algorithm)
            presence = Presence(repository.index, store)
            needs = [need for need in needs if not _is_everywhere(need, presence, target)]
            lent = _lent(manifests, needs, store, target)
            wanted = {oid for need in needs for oid in _oids(manifests, need)}
            here, there = wanted - store.missing(wanted) | lent, wanted - target.missing(wanted, algorithm)
            if here == there == wanted:
                for need in needs:
                    if need.digest.is_dir and not need.inner:
                        presence.note(need.digest.value)
                        target.note_complete(need.digest.value, algorithm, need.label)
                continue
            for need in needs:
                for path, oid in _named(manifests, need):
                    word = _word(oid in here, oid in there)
                    if word is not None:
                        found[repository.shown(path)] = word
    return found, names, notes


def _lent(manifests: Manifests, needs: Sequence[Need], store: LooseStore, remote: Remote) -> set[str]:
    """Returns the manifests that only the remote has, after they were read from it: they tell which files to ask for.

    They count as being here, as in DVC, which puts them into the cache; looking does not change it here (rule R4).
    """
    digests = {need.digest.value: need.digest for need in needs if need.digest.is_dir}
    lacking = store.missing(set(digests))
    lacking -= remote.missing(lacking, store.algorithm)
    unknown = {oid for oid in lacking if manifests.read(digests[oid]) is None}
    if unknown:
        try:
            manifests.fetch_from(remote, store.algorithm, unknown)
        except OSError:
            pass  # nowhere to keep them: their files stay unknown
    return {oid for oid in lacking if manifests.read(digests[oid]) is not None}


def _is_everywhere(need: Need, presence: Presence, remote: Remote) -> bool:
    """Says whether a whole directory is known to be in the cache and on the remote."""
    oid = need.digest.value
    return need.digest.is_dir and presence.is_known(oid) and remote.is_complete(oid, need.digest.algorithm)


def _word(is_here: bool, is_there: bool) -> str | None:
    if is_here:
        return None if is_there else "new"
    return "deleted" if is_there else "missing"


def _oids(manifests: Manifests, need: Need) -> set[str]:
    oid = need.digest.value
    data = manifests.read(need.digest) if need.digest.is_dir else None
    try:
        if data is None:
            return {oid}
        if need.inner:
            return {oid} | part(parse_manifest(data, name=oid), need.inner).oids()
        return {oid} | member_oids(data, name=oid)
    except FormatError:
        return {oid}


def _named(manifests: Manifests, need: Need) -> list[tuple[str, str]]:
    """Returns (path, object id) of everything that a need stands for."""
    top = need.label[: -len(need.inner) - 1] if need.inner else need.label
    pairs = [(top, need.digest.value)]
    tree = manifests.tree(need.digest)
    if tree is not None:
        chosen = part(tree, need.inner) if need.inner else tree
        pairs += [(f"{top}/{relpath}", oid) for relpath, oid in chosen.files()]
    return pairs

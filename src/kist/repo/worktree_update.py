"""`update` of data that a `worktree` remote mirrors: what others put there becomes the data, as new versions.

Not here: imports, sending (versions_push). Implements docs/spec/cloud-versions.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.records import MD5, Digest, FileEntry, Output
from kist.remotes.storage import Item
from kist.repo.checkout import CheckoutOptions, CheckoutResult, checkout_items
from kist.repo.data import algorithm_of, is_as_recorded, look_at
from kist.repo.metafiles import Changes
from kist.repo.targets import Selected, select
from kist.repo.transfers import has_versions, open_versioned
from kist.repo.versioned_outputs import version_of
from kist.repo.versions_push import VersionWriter, figures
from kist.transfer.versions import VersionedRemote
from kist.transfer.versions_take import Taken, take_versions

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class NoWorktreeError(InputError):
    """A target's data is not mirrored by a `worktree` remote, so that nothing can be taken from there."""

    code = "no-worktree-remote"


class UnsavedOutputError(InputError):
    """An output that is to be updated has changes in the workspace that no metafile records."""

    code = "output-changed"


class WorktreeUpdate(NamedTuple):
    """What an update did.

    Attributes:
        updated: paths of the outputs that are new, relative to the root.
        moved: number of files that were fetched.
        to_stage: metafiles that the person still has to stage, relative to the root.
        checkout: what happened to the workspace.
    """

    updated: list[str]
    moved: int
    to_stage: list[str]
    checkout: CheckoutResult


def mirrored_by(repository: Repository, item: Selected, remote: str | None = None) -> str | None:
    """Returns the name of the `worktree` remote that mirrors an output, or None: then nothing is to be taken there.

    Args: remote: the remote of `-r`.

    Raises: NoRemoteError, UnknownRemoteError, CloudVersionsError.
    """
    output = item.out.output
    if item.stage.is_import or not (item.out.is_inside and output.use_cache and output.can_push):
        return None
    if output.remote is not None and remote is not None and output.remote != remote:
        return None
    if output.remote is None and remote is None and repository.settings.default_remote() is None:
        return None
    chosen, _ = repository.settings.choose_remote(output.remote or remote)
    return chosen.name if has_versions(chosen) and chosen.boolean("worktree", False) else None


def update_from_worktree(
    repository: Repository,
    targets: Sequence[str],
    *,
    remote: str | None = None,
    recursive: bool = False,
    jobs: int | None = None,
) -> WorktreeUpdate:
    """Takes up what a `worktree` remote holds now of outputs: into the cache, the metafiles, and the workspace.

    Args: remote: the remote of `-r`; None: that of each output.

    Raises: NoWorktreeError; UnsavedOutputError, before anything is done; what the service raises; OSError.

    Holds: a metafile names a version only when its bytes were read and hashed here. A kill leaves the workspace as it
        was, or as the metafile says.
    """
    with repository.lock():
        items = select(repository, targets, recursive=recursive, may_be_inner=False)
        by_remote: dict[str, list[Selected]] = {}
        for item in items:
            name = mirrored_by(repository, item, remote)
            if name is not None:
                by_remote.setdefault(name, []).append(item)
            elif targets:
                shown = repository.shown(item.path)
                raise NoWorktreeError(
                    f"cannot update '{shown}': no remote with 'worktree' mirrors it",
                    hint=shell_line("kist", "remote", "modify", remote or "NAME", "worktree", "true"),
                )
        _refuse_changed(repository, [item for found in by_remote.values() for item in found])
        changes = Changes(repository)
        updated: list[str] = []
        moved = 0
        for name, found in by_remote.items():
            service = open_versioned(repository, repository.settings.choose_remote(name)[0], jobs=jobs)
            try:
                new, count = _update(repository, found, service, changes)
            finally:
                service.close()
            updated += new
            moved += count
        chosen = [item for item in select(repository, targets, recursive=recursive) if item.path in updated]
        done = checkout_items(repository, chosen, CheckoutOptions())
        return WorktreeUpdate(updated, moved, changes.finish(), done)


def _refuse_changed(repository: Repository, items: Sequence[Selected]) -> None:
    asked = [(item.out.path, algorithm_of(item.out.output.digest)) for item in items]
    for item, look in zip(items, look_at(repository, asked), strict=True):
        digest = item.out.output.digest
        if look.snapshot is not None and (digest is None or not is_as_recorded(repository, look, digest)):
            shown = repository.shown(item.path)
            raise UnsavedOutputError(
                f"cannot update '{shown}': it has changes here that are not recorded",
                hint=f"record them with `{shell_line('kist', 'add', shown)}`, "
                f"or throw them away with `{shell_line('kist', 'checkout', '-f', shown)}`",
            )


def _update(
    repository: Repository, items: Sequence[Selected], remote: VersionedRemote, changes: Changes
) -> tuple[list[str], int]:
    """Returns the paths of outputs that are new, and how many files came."""
    latest = {item.path: _latest(remote, item) for item in items}
    known = {item.path: _known(item, remote.name) for item in items}
    lacking = [
        version
        for item in items
        for path, version in latest[item.path].items()
        if known[item.path].get(path, (None, ""))[0] != version.version
    ]
    store = repository.store_for(MD5)
    taken = take_versions(remote, lacking, store, progress=repository.progress)
    repository.trust(store).add(taken.records)
    writer = VersionWriter(repository, remote.name, changes)
    updated = []
    for item in items:
        new = _output(item, latest[item.path], known[item.path], taken, remote.name)
        if new is not None and writer.put(item, new):
            updated.append(item.path)
    writer.write()
    return updated, len(taken.oids)


def _latest(remote: VersionedRemote, item: Selected) -> dict[str, Item]:
    """Returns what the remote holds now of an output: path -> version."""
    digest = item.out.output.digest
    path = item.out.path
    found: dict[str, Item] = {}
    if digest is None or not digest.is_dir:
        version = remote.engine().attempt(lambda: remote.service.head(path))
        if version is not None and version.version:
            return {path: version}
    for version in remote.listed([f"{path}/"])[f"{path}/"]:
        if version.is_latest and version.version and not version.key.endswith("/"):
            found[version.key] = version
    return found


def _known(item: Selected, remote: str) -> dict[str, tuple[str | None, FileEntry]]:
    """Returns what the metafile knows: path -> version and entry."""
    output, path = item.out.output, item.out.path
    if output.digest is None:
        return {}
    if not output.digest.is_dir:
        entry = FileEntry("", output.digest, output.size, output.isexec, None, output.cloud)
        return {path: (version_of(output, remote), entry)}
    return {f"{path}/{entry.relpath}": (version_of(entry, remote), entry) for entry in output.files or ()}


def _output(
    item: Selected,
    latest: dict[str, Item],
    known: dict[str, tuple[str | None, FileEntry]],
    taken: Taken,
    remote: str,
) -> Output | None:
    """Returns what the metafile is to say of an output, or None where the remote holds nothing of it."""
    output, path = item.out.output, item.out.path

    def entry_of(key: str, version: Item) -> FileEntry:
        if key not in taken.oids:
            return known[key][1]
        before = known[key][1] if key in known else FileEntry("")
        return before._replace(
            relpath=key[len(path) + 1 :],
            digest=Digest(MD5, taken.oids[key]),
            size=version.size,
            cloud={remote: figures(version)},
            version_id=None,
        )

    if not latest:
        return None
    if set(latest) == {path}:
        entry = entry_of(path, latest[path])
        return output._replace(
            digest=entry.digest, size=entry.size, nfiles=None, files=None, cloud=entry.cloud, version_id=None
        )
    files = tuple(entry_of(key, version) for key, version in sorted(latest.items()))
    return output._replace(files=files, digest=None, size=None, nfiles=None, cloud=None, version_id=None)

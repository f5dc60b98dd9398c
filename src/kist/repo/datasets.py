"""`dataset add` and `dataset update`: which version of data of another repository a pipeline uses.

The version is noted in `dvc.yaml` and pinned in `dvc.lock`; no data moves. Not here: reading that data.
Implements docs/spec/pipelines.md, section 8. Source: DVC 3.67.1.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base import atomic
from kist.base.suggest import closest
from kist.errors import InputError, MissingError
from kist.formats.dvcyaml import FILE_NAME, parse_dvcyaml
from kist.formats.dvcyaml_edit import with_dataset
from kist.formats.lockfile import parse_lockfile, render_lockfile
from kist.formats.records import Lockfile
from kist.git.repository import GitRepository
from kist.repo.collect import LOCK_FILE, WorkspaceSource
from kist.repo.metafiles import Changes, read_bytes

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class DatasetExistsError(InputError):
    """There is a dataset of this name already. `--force` replaces it."""

    code = "dataset-exists"


class DatasetMissingError(MissingError):
    """There is no dataset of this name. Exit 1, as DVC."""

    code = "dataset-missing"
    exit_code = 1


class DatasetKindError(InputError):
    """A dataset of this kind, or at this place, cannot be pinned yet; see docs/status.md."""

    code = "dataset-kind"


class Dataset(NamedTuple):
    """One dataset.

    Attributes:
        file: the `dvc.yaml` it stands in, relative to the root.
        kind: "dvc", "dc" or "url".
        rev: as written; None for the usual branch.
        rev_lock: the commit that is pinned; None before the first time, and where `dvc.yaml` was changed since.
    """

    file: str
    name: str
    url: str
    kind: str
    path: str = ""
    rev: str | None = None
    rev_lock: str | None = None

    def spec(self) -> dict[str, Any]:
        """Returns what stands in `dvc.yaml`."""
        value = {"name": self.name, "url": self.url, "type": self.kind}
        value |= {"path": self.path} if self.path else {}
        return value | ({"rev": self.rev} if self.rev is not None else {})


class Updated(NamedTuple):
    """A dataset before and after; `to_stage` are the files that the person still has to stage."""

    before: Dataset
    after: Dataset
    to_stage: list[str]


def add_dataset(repository: Repository, wanted: Dataset, *, force: bool = False) -> Updated:
    """Adds a dataset to the `dvc.yaml` of the person's folder, pinned to its present version.

    Args: wanted: `file` is not looked at.

    Raises: DatasetExistsError, DatasetKindError, RevisionMissingError, FormatError.
    """
    with repository.lock():
        known = _known(repository)
        before = known.get(wanted.name)
        if before is not None and not force:
            raise DatasetExistsError(
                f"cannot add dataset '{wanted.name}': it is in '{repository.shown(before.file)}' already",
                hint="replace it with `--force`, or choose another name",
            )
        wanted = wanted._replace(file=repository.rel(FILE_NAME))
        return _write(repository, wanted, _pinned(repository, wanted))


def update_dataset(repository: Repository, name: str, rev: str | None = None) -> Updated:
    """Pins a dataset to its present version, or to a revision which it keeps to from now on.

    Raises: DatasetMissingError, DatasetKindError, RevisionMissingError, FormatError.
    """
    with repository.lock():
        known = _known(repository)
        before = known.get(name)
        if before is None:
            near = closest(name, list(known))
            raise DatasetMissingError(
                f"cannot update dataset '{name}': there is no such dataset",
                hint=f"did you mean '{near}'?" if near else "kist dataset add --help",
            )
        wanted = before if rev is None else before._replace(rev=rev)
        return _write(repository, before, _pinned(repository, wanted))


def _known(repository: Repository) -> dict[str, Dataset]:
    found = {}
    for path in WorkspaceSource(repository).metafiles():
        if posixpath.basename(path) != FILE_NAME:
            continue
        specs = parse_dvcyaml(read_bytes(repository.abspath(path)) or b"", name=path).datasets
        locks = {lock.get("name"): lock for lock in _lockfile(repository, path).datasets} if specs else {}
        for spec in specs:
            dataset = _dataset(path, spec)
            lock = locks.get(dataset.name)
            if lock is not None and _dataset(path, lock).spec() == dataset.spec():
                dataset = dataset._replace(rev_lock=lock.get("rev_lock"))
            found[dataset.name] = dataset
    return found


def _dataset(file: str, spec: dict[str, Any]) -> Dataset:
    rev = spec.get("rev")
    return Dataset(
        file,
        str(spec.get("name", "")),
        str(spec.get("url", "")),
        str(spec.get("type", "")),
        str(spec.get("path") or ""),
        None if rev is None else str(rev),
    )


def _lockfile(repository: Repository, file: str) -> Lockfile:
    path = posixpath.join(posixpath.dirname(file), LOCK_FILE)
    data = read_bytes(repository.abspath(path))
    return Lockfile({}) if data is None else parse_lockfile(data, name=path)


def _pinned(repository: Repository, dataset: Dataset) -> Dataset:
    """Returns the dataset with the commit that it means now."""
    if dataset.kind != "dvc":
        raise DatasetKindError(
            f"cannot pin dataset '{dataset.name}': only those of repositories (`--dvc`) can be pinned yet",
            hint="kist dataset add --help",
        )
    # As in DVC, an address that is a path is one from where the command runs.
    folder = os.path.join(repository.cwd, dataset.url)
    git = GitRepository.find(folder, environ=repository.environ) if os.path.isdir(folder) else None
    if git is None:
        raise DatasetKindError(
            f"cannot pin dataset '{dataset.name}': '{dataset.url}' is no Git repository on this machine",
            hint="clone it, then name the folder",
        )
    return dataset._replace(rev_lock=git.resolve(dataset.rev or "HEAD"))


def _lock_with(lock: Lockfile, entry: dict[str, Any], previous: bytes | None) -> bytes:
    """Returns the lock with a dataset at the end of its list, or in place of the one of its name."""
    for part in ({}, entry):  # emptied first: keys that stay would keep their places, and new ones come last
        listed = [part if one.get("name") in (entry["name"], None) else one for one in lock.datasets]
        lock = lock._replace(datasets=tuple(listed if part in listed else [*listed, part]))
        previous = render_lockfile(lock, previous)
    return previous or b""


def _write(repository: Repository, before: Dataset, after: Dataset) -> Updated:
    """Writes `dvc.yaml`, then `dvc.lock`, where they change; a kill between leaves a dataset that is not pinned."""
    changes = Changes(repository)
    path = repository.abspath(after.file)
    previous = read_bytes(path)
    data = with_dataset(previous, after.spec(), name=after.file)
    if data != previous:
        atomic.write_file(path, data)
        changes.note(after.file)
    lock_path = posixpath.join(posixpath.dirname(after.file), LOCK_FILE)
    lock_previous = read_bytes(repository.abspath(lock_path))
    lock = _lockfile(repository, after.file)
    entry = {**after.spec(), "rev_lock": after.rev_lock}
    if entry not in lock.datasets:
        lock_data = _lock_with(lock, entry, lock_previous)
        atomic.write_file(repository.abspath(lock_path), lock_data)
        changes.note(lock_path)
    return Updated(before, after, changes.finish())

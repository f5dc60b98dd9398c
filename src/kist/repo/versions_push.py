"""`push` to a remote that keeps versions: files go under their own names, and metafiles learn which version is theirs.

Not here: how bytes travel (transfer.versions_send), other remotes (transfers). Implements docs/spec/cloud-versions.md,
sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kist.errors import FormatError
from kist.formats.filelists import entries_of
from kist.formats.manifest import EMPTY_DIR, Tree, parse_manifest
from kist.formats.metafile import with_checksum
from kist.formats.records import FileEntry, Output
from kist.remotes.storage import Item
from kist.repo.collect import Stage, WorkspaceSource, lock_path, read_stages
from kist.repo.lockfiles import LockFiles
from kist.repo.metafiles import Changes
from kist.repo.targets import Selected
from kist.repo.versioned_outputs import version_in, version_of
from kist.store.loose import LooseStore, ObjectCorruptError, ObjectMissingError
from kist.transfer.plan import Outcome, part
from kist.transfer.stored import plain_tag
from kist.transfer.versions import VersionedRemote
from kist.transfer.versions_send import File, send_files

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class _Job(NamedTuple):
    """One output that is to be sent.

    Attributes:
        tree: of a directory: all of it; None for a file.
        files: what is meant of it.
    """

    item: Selected
    tree: Tree | None
    files: list[File]


def push_versions(
    repository: Repository, items: Sequence[Selected], remote: VersionedRemote, changes: Changes
) -> dict[str, Outcome]:
    """Sends what the remote lacks of outputs, and writes into their metafiles which versions they are there.

    Args: changes: takes the metafiles that were written.

    Returns: algorithm -> what was done.

    Raises: NoVersionsError; what the service raises; OSError.

    Holds: a metafile names a version only when the service has it. A kill in between leaves files at the service that
    the next push recognises, and does not send again.
    """
    outcomes = {}
    writer = VersionWriter(repository, remote.name, changes)
    by_algorithm: dict[str, list[Selected]] = {}
    for item in items:
        digest = item.out.output.digest
        if digest is not None and writer.is_current(item):
            by_algorithm.setdefault(digest.algorithm, []).append(item)
    if writer.left_out:
        repository.notes.append(
            f"remote '{remote.name}' takes what the workspace names: other commits' data was left out"
        )
    for algorithm, chosen in by_algorithm.items():
        store = repository.store_for(algorithm)
        jobs, failed = _jobs(chosen, store, remote.name)
        files = list({file.path: file for job in jobs for file in job.files}.values())
        done = send_files(remote, files, store, progress=repository.progress)
        for job in jobs:
            writer.record(job, done.items, store)
        by_path = {file.path: file.oid for file in files}
        moved = [by_path[path] for path in done.sent]
        outcomes[algorithm] = Outcome(moved, failed + done.failed, done.size_bytes, [])
    writer.write()
    return outcomes


def _jobs(
    items: Iterable[Selected], store: LooseStore, remote: str
) -> tuple[list[_Job], list[tuple[str, str, str]]]:
    """Returns what is to be sent, and the directories whose manifest cannot be read."""
    jobs: dict[tuple[str, str], _Job] = {}
    failed = []
    for item in items:
        output = item.out.output
        assert output.digest is not None
        oid = output.digest.value
        if oid == EMPTY_DIR:
            continue
        if not output.digest.is_dir:
            version = version_of(output, remote)
            files = [File(item.out.path, oid, _size(store, oid), version)]
            jobs[item.stage.address, item.out.path] = _Job(item, None, files)
            continue
        try:
            tree = parse_manifest(store.read(oid), name=oid)
        except (ObjectMissingError, ObjectCorruptError, FormatError) as error:
            failed.append((item.path, oid, "missing" if isinstance(error, ObjectMissingError) else "corrupt"))
            continue
        known = {entry.relpath: version_of(entry, remote) for entry in output.files or ()}
        meant = part(tree, item.inner) if item.inner else tree
        files = [
            File(f"{item.out.path}/{relpath}", one, _size(store, one), known.get(relpath))
            for relpath, one in meant.files()
        ]
        before = jobs.get((item.stage.address, item.out.path))
        jobs[item.stage.address, item.out.path] = _Job(item, tree, (before.files if before else []) + files)
    return list(jobs.values()), failed


def _size(store: LooseStore, oid: str) -> int:
    record = store.stat(oid)
    return -1 if record is None else int.from_bytes(record[8:16], "little")


def figures(item: Item) -> dict[str, str]:
    """Returns what a metafile says of a version."""
    found = {"etag": plain_tag(item.tag)} if item.tag else {}
    return {**found, "version_id": item.version or ""}


class VersionWriter:
    """Collects what outputs are to say of where their data is, and writes each metafile once.

    Attributes:
        left_out: paths of outputs that the workspace does not name with this content.
    """

    def __init__(self, repository: Repository, remote: str, changes: Changes) -> None:
        self.left_out: list[str] = []
        self._repository = repository
        self._remote = remote
        self._changes = changes
        self._source = WorkspaceSource(repository)
        self._stages: dict[str, dict[str, Stage]] = {}
        self._outputs: dict[tuple[str, str], dict[str, Output]] = {}

    def _stage(self, stage: Stage) -> Stage | None:
        if stage.file not in self._stages:
            try:
                found = read_stages(self._source, stage.file)
            except FormatError:
                found = []
            self._stages[stage.file] = {one.address: one for one in found}
        return self._stages[stage.file].get(stage.address)

    def is_current(self, item: Selected) -> bool:
        """Says whether the workspace's metafile names this content: that of other commits cannot be rewritten."""
        stage = self._stage(item.stage)
        outs = stage.outs if stage is not None else ()
        digest = item.out.output.digest
        if any(out.path == item.out.path and out.output.digest == digest for out in outs):
            return True
        self.left_out.append(item.path)
        return False

    def put(self, item: Selected, new: Output) -> bool:
        """Notes what an output is to say; returns whether that is new."""
        stage = self._stage(item.stage)
        own = next((out.output for out in stage.outs if out.path == item.out.path), None) if stage else None
        if stage is None or own is None or _placed(own, new) == _placed(own, own):
            return False
        self._outputs.setdefault((stage.file, stage.address), {})[item.out.path] = new
        return True

    def record(self, job: _Job, items: dict[str, Item], store: LooseStore) -> None:
        """Notes what an output says after a push."""
        stage, path = job.item.stage, job.item.out.path
        output = job.item.out.output
        new = self._of_file(output, items.get(path))
        if job.tree is not None:
            new = self._of_directory(job, items, store)
        if new is not None:
            self._outputs.setdefault((stage.file, stage.address), {})[path] = new

    def _of_file(self, output: Output, item: Item | None) -> Output | None:
        if item is None or version_in(output.cloud, self._remote) == item.version:
            return None
        return output._replace(cloud={self._remote: figures(item)})

    def _of_directory(self, job: _Job, items: dict[str, Item], store: LooseStore) -> Output | None:
        output, path = job.item.out.output, job.item.out.path
        assert job.tree is not None and output.digest is not None
        entries = entries_of(
            job.tree,
            output.digest.algorithm,
            output.files or (),
            lambda oid: size if (size := _size(store, oid)) >= 0 else None,
        )
        changed = tuple(self._entry(entry, items.get(f"{path}/{entry.relpath}")) for entry in entries)
        if not any(entry.cloud for entry in changed):
            return None
        before = {entry.relpath: entry for entry in output.files or ()}
        is_same = before == {entry.relpath: entry for entry in changed}
        return None if is_same else output._replace(files=changed)

    def _entry(self, entry: FileEntry, item: Item | None) -> FileEntry:
        if item is None or version_in(entry.cloud, self._remote) == item.version:
            return entry
        return entry._replace(cloud={self._remote: figures(item)}, version_id=None)

    def write(self) -> None:
        """Writes the metafiles, durable when this returns."""
        locks = LockFiles(self._repository.root)
        for (file, address), outputs in self._outputs.items():
            stage = self._stages[file][address]
            if stage.name is not None:
                assert stage.locked is not None
                by_name = {out.output.path: outputs[out.path] for out in stage.outs if out.path in outputs}
                outs = tuple(_placed(out, by_name.get(out.path)) for out in stage.locked.outs)
                written = locks.put(lock_path(stage), stage.name, stage.locked._replace(outs=outs))
                if written.is_changed:
                    self._changes.note(written.path)
                continue
            assert stage.metafile is not None
            outs = tuple(
                _placed(own, outputs.get(out.path))
                for own, out in zip(stage.metafile.outs, stage.outs, strict=True)
            )
            metafile = stage.metafile._replace(outs=outs)
            if metafile.deps or metafile.checksum:
                metafile = with_checksum(metafile)
            if metafile != stage.metafile:
                self._changes.write_metafile(file, metafile)
        locks.write()


def _placed(own: Output, new: Output | None) -> Output:
    """Returns a metafile's entry with what is new of where its data is."""
    if new is None:
        return own
    if new.files is None:
        own = own._replace(digest=new.digest, size=new.size, nfiles=None, files=None)
        return own._replace(cloud=new.cloud, version_id=None)
    return own._replace(files=new.files, digest=None, size=None, nfiles=None, cloud=None, version_id=None)

"""The bytes of a path of a repository, in the workspace or at a revision: from disk, Git, the cache, or a remote.

Not here: which repository (elsewhere), text (api). Implements docs/spec/api.md, section 2.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tempfile
from collections.abc import Collection, Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, MissingError
from kist.formats.records import MD5, Digest
from kist.remotes.local import FolderRemote
from kist.repo.collect import PIPELINE_FILE
from kist.repo.listing import CommitFiles, PathMissingError, View
from kist.repo.settings import NoRemoteError
from kist.repo.transfers import is_packed, open_remote
from kist.store.loose import LooseStore, ObjectCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kist.remotes.base import Remote
    from kist.remotes.storage import Storage
    from kist.repo.collect import Out
    from kist.repo.declared import Declared
    from kist.repo.repository import Repository
    from kist.repo.views import View as Version
    from kist.transfer.engine import Engine

_RANGE_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20


class NoSuchFileError(PathMissingError, FileNotFoundError):
    """There is no such file in the repository at this revision. The caller mends the path."""

    code = "no-such-file"


class IsADirError(InputError, IsADirectoryError):
    """A directory was to be opened as a file. The caller names a file in it."""

    code = "is-a-directory"


class DataMissingError(MissingError, FileNotFoundError):
    """Tracked data is in no place that was asked: not on disk, in the cache, in the remote."""

    code = "data-missing"


class StageMissingError(MissingError):
    """No stage has the name that was asked for."""

    code = "stage-missing"


class NotTrackedError(InputError):
    """The path is no tracked data, so that it lies on no remote."""

    code = "not-tracked"


class Found(NamedTuple):
    """Tracked data. Attributes: digest: of the file itself, or of a directory's list of files."""

    out: Out
    digest: Digest


class Reader:
    """Reads from one repository at one revision; what was collected of it is kept."""

    def __init__(self, repository: Repository, *, rev: str | None = None, remote: str | None = None) -> None:
        """Raises: RevisionMissingError, FormatError."""
        self._repository = repository
        self._rev = rev
        self._remote = remote
        self.view = View(repository, rev=rev, remote=remote)

    def open(self, path: str) -> BinaryIO:
        """Returns a file open for reading bytes.

        Args: path: relative to the root.

        Raises: NoSuchFileError, IsADirError, DataMissingError; reading it raises ObjectCorruptError.
        """
        plain = self._plain(path)
        if plain is not None:
            return plain
        found = self.find(path)
        if found.digest.is_dir:
            raise _is_dir(path)
        return self._of_cache(found) or self._of_remote(path, found)

    def _plain(self, path: str) -> BinaryIO | None:
        """Returns what is a file of the workspace, or of Git."""
        if self._rev is None:
            try:
                return open(self._repository.abspath(path), "rb")
            except IsADirectoryError as error:
                raise _is_dir(path) from error
            except (FileNotFoundError, NotADirectoryError):
                return None
        files = self.view.files
        data = files.read(path) if isinstance(files, CommitFiles) else None
        return None if data is None else io.BytesIO(data)

    def find(self, path: str) -> Found:
        """Returns the tracked data at a path.

        Raises: NoSuchFileError, IsADirError, NotTrackedError, ManifestMissingError.
        """
        within = self.view.out_of(path)
        if within is None:
            self._refuse_untracked(path)
            raise NotTrackedError(f"cannot find '{path}' on a remote: it is no tracked data")
        out, inner = within
        digest = out.output.digest
        if digest is None:
            raise DataMissingError(
                f"cannot read '{path}': nothing is recorded of it yet",
                hint=shell_line("kist", "repro")
                if out.stage.partition(":")[2]
                else shell_line("kist", "add", path),
            )
        if not inner:
            return Found(out, digest)
        is_data, oid = self.view.md5(posixpath.dirname(path), posixpath.basename(path))
        if not is_data or not oid:
            self._refuse_untracked(path)
            raise _is_dir(path)
        return Found(out, Digest(digest.algorithm, oid))

    def _refuse_untracked(self, path: str) -> None:
        """Raises for what is not there, and for folders."""
        try:
            is_dir = self.view.is_dir(path)
        except PathMissingError as error:
            raise NoSuchFileError(error.message, hint=error.hint) from error
        if is_dir:
            raise _is_dir(path)

    def url(self, path: str) -> str:
        """Returns where an object lies in its remote; nobody is asked whether it does.

        Raises: NoSuchFileError, NotTrackedError, NoRemoteError, UnknownRemoteError.
        """
        try:
            found = self.find(path)
        except IsADirError as error:
            raise NotTrackedError(
                f"cannot find '{path}' on a remote: it is a folder, and no tracked directory itself"
            ) from error
        source, _ = open_remote(self._repository, self._remote or found.out.output.remote)
        return source.address(found.digest.value, found.digest.algorithm)

    def _of_cache(self, found: Found) -> BinaryIO | None:
        """Returns an object of the cache, known to be sound or else read first; None where it has no such one."""
        algorithm, oid = found.digest
        store = self._repository.store_for(algorithm)
        record = store.stat(oid)
        if record is None:
            return None
        trust = self._repository.trust(store)
        if trust.records([bytes.fromhex(oid)]).get(bytes.fromhex(oid)) != record and not trust.recheck(
            bytes.fromhex(oid)
        ):
            return None  # damaged: the remote may have it
        return open(store.path(oid), "rb")

    def _of_remote(self, path: str, found: Found) -> BinaryIO:
        algorithm, oid = found.digest
        try:
            source, _ = open_remote(self._repository, self._remote or found.out.output.remote)
        except NoRemoteError as error:
            raise DataMissingError(
                f"cannot read '{path}': object '{oid}' is missing from the cache, and there is no remote",
                hint=error.hint,
            ) from error
        if algorithm == MD5 and not isinstance(source, FolderRemote) and not is_packed(source):
            stream = self._streamed(source, oid)
        else:
            stream = self._received(source, found.digest)
        if stream is None:
            raise DataMissingError(
                f"cannot read '{path}': object '{oid}' is missing from the cache and from remote '{source.name}'",
                hint="run `kist push` where the data was added, then try again",
            )
        return stream

    def _streamed(self, source: Remote, oid: str) -> BinaryIO | None:
        """Returns an object of a service, of which nothing is kept here; None where it is not there."""
        from kist.transfer.stored import key_of

        storage: Storage = source.storage  # type: ignore[attr-defined]
        engine: Engine = source.engine()  # type: ignore[attr-defined]
        key = key_of(oid, MD5)
        item = engine.attempt(lambda: storage.head(key))
        if item is None:
            return None
        size = item.size

        def blocks() -> Iterator[bytes]:
            if size < 0 or not storage.abilities.ranges:
                yield from storage.read(key)
                return
            at = 0

            def read_some() -> bytes:
                return b"".join(storage.read(key, first=at, size=min(_RANGE_BYTES, size - at)))

            while at < size:
                block = engine.attempt(read_some)
                yield block
                at += len(block)

        return io.BufferedReader(CheckedStream(blocks, oid), _BUFFER_BYTES)

    def _received(self, source: Remote, digest: Digest) -> BinaryIO | None:
        """Returns an object as a nameless file, checked; None where the remote has no sound one."""
        algorithm, oid = digest
        with tempfile.TemporaryDirectory(prefix="kist-") as folder:
            passing = LooseStore(folder, algorithm)
            got = source.receive(
                {oid}, passing, workers=1, progress=self._repository.progress, phase="Fetching"
            )
            if oid in got.corrupt:
                raise ObjectCorruptError(
                    f"cannot use object '{oid}': it is damaged in remote '{source.name}'",
                    hint="run `kist push` where the data is sound",
                )
            return open(passing.path(oid), "rb") if oid in got.copied else None


def named_params(view: Version, names: Collection[str]) -> list[Declared]:
    """Returns what the stages of these names, or addresses (`dir/dvc.yaml:name`), say of parameters.

    Raises: StageMissingError, FormatError.
    """
    from kist.formats.dvcyaml import parse_dvcyaml
    from kist.pipeline.resolve import resolve
    from kist.repo.declared import Declared

    found = []
    seen: set[str] = set()
    for path in view.metafiles():
        if posixpath.basename(path) != PIPELINE_FILE:
            continue
        folder = posixpath.dirname(path)

        def read(name: str, folder: str = folder) -> bytes | None:
            return view.read_file(posixpath.normpath(posixpath.join(folder, name)))

        pipeline = parse_dvcyaml(view.read_file(path) or b"", name=path)
        for stage in resolve(pipeline, directory=folder, read=read, options=view.option_style()):
            mine = {f"{path}:{stage.name}", *([stage.name] if not folder else [])} & set(names)
            if mine:
                seen |= mine
                pairs = tuple((stage.rooted(file), keys or ()) for file, keys in stage.params.items())
                found.append(Declared(path, params=pairs))
    missing = set(names) - seen
    if missing:
        raise StageMissingError(
            f"cannot find stage '{min(missing)}': no dvc.yaml has it",
            hint=shell_line("kist", "stage", "list"),
        )
    return found


class CheckedStream(io.RawIOBase):
    """Bytes that come in blocks, hashed as they pass. The first seek brings all of them into a nameless file."""

    def __init__(self, blocks: Callable[[], Iterator[bytes]], oid: str) -> None:
        """Args: blocks: begins from the start each time it is called."""
        super().__init__()
        self._blocks = blocks
        self._oid = oid
        self._coming = blocks()
        self._hash = hashlib.md5(usedforsecurity=False)
        self._left = memoryview(b"")
        self._at = 0
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer; 0 is the end.

        Raises: ObjectCorruptError: at the end, where the hash is another.
        """
        if self._file is not None:
            data = self._file.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        while not self._left:
            block = next(self._coming, None)
            if block is None:
                _check(self._oid, self._hash.hexdigest())
                return 0
            self._hash.update(block)
            self._left = memoryview(block)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._at += count
        return count

    def tell(self) -> int:
        """Returns the position."""
        return self._at if self._file is None else self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes elsewhere.

        Raises: ObjectCorruptError.
        """
        if self._file is None:
            if (whence == os.SEEK_SET and offset == self._at) or (whence == os.SEEK_CUR and offset == 0):
                return self._at
            self._file = self._spilled()
            self._file.seek(self._at)
        return self._file.seek(offset, whence)

    def _spilled(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(prefix="kist-")  # noqa: SIM115 - it lives as long as the stream
        found = hashlib.md5(usedforsecurity=False)
        self._left = memoryview(b"")
        try:
            for block in self._blocks():
                found.update(block)
                file.write(block)
            _check(self._oid, found.hexdigest())
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Ends it."""
        if self._file is not None:
            self._file.close()
        super().close()


def _check(oid: str, found: str) -> None:
    if found != oid:
        raise ObjectCorruptError(
            f"cannot use object '{oid}': its bytes have md5 {found}",
            hint="run `kist push` where the data is sound",
        )


def _is_dir(path: str) -> IsADirError:
    return IsADirError(f"cannot open '{path}': it is a directory", hint="name a file in it")

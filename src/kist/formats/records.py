"""The records that metafiles hold: outputs, dependencies, single files of a tree. Values only; no parsing here.

`typing.NamedTuple` instead of dataclasses: these are made at every start, by the thousand (docs/design).
Implements docs/spec/metafiles.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MD5 = "md5"
"""Content id of DVC 3: md5 of the raw bytes; objects under `files/md5/`."""
LEGACY_MD5 = "md5-dos2unix"
"""Content id of DVC 0.x-2.x: md5 after CRLF became LF in text; objects at the top of the cache."""
ETAG = "etag"
CHECKSUM = "checksum"


class Digest(NamedTuple):
    """A content id and the way it was made.

    Attributes:
        algorithm: MD5, LEGACY_MD5, ETAG or CHECKSUM.
        value: for md5 kinds 32 lower-case hexadecimal digits, followed by `.dir` for a directory's manifest.
    """

    algorithm: str
    value: str

    @property
    def is_dir(self) -> bool:
        """Says whether the object is a directory manifest."""
        return self.value.endswith(".dir")


class FileEntry(NamedTuple):
    """One item of an entry's `files:` list (cloud versioning, partial directories)."""

    relpath: str
    digest: Digest | None = None
    size: int | None = None
    isexec: bool = False
    version_id: str | None = None
    cloud: dict[str, Any] | None = None


class Output(NamedTuple):
    """One entry of `outs:`, in a `.dvc` file or in `dvc.yaml` joined with `dvc.lock`.

    Attributes:
        path: as written: POSIX separators, relative to the stage's working directory; may be absolute or a URL (old).
        digest: None when the data was never recorded.
        size, nfiles: advisory figures; bytes and number of files.
        files: None, or the items that stand in place of a manifest.
        use_cache: `cache:`; False means that the digest is recorded and nothing is stored.
        can_push: `push:`.
        metric, plot: the flag, or a mapping of options as old files have it; None when absent.
        extra: keys that only old versions of DVC wrote, kept so that a rewrite loses nothing.
        has_hash: the entry has a `hash:` key. Counts only where the digest does not tell (etag, checksum, none).
    """

    path: str
    digest: Digest | None = None
    size: int | None = None
    nfiles: int | None = None
    isexec: bool = False
    version_id: str | None = None
    cloud: dict[str, Any] | None = None
    files: tuple[FileEntry, ...] | None = None
    use_cache: bool = True
    persist: bool = False
    remote: str | None = None
    can_push: bool = True
    desc: str | None = None
    type: str | None = None
    labels: tuple[str, ...] = ()
    meta: Any = None
    fs_config: dict[str, Any] | None = None
    metric: bool | dict[str, Any] | None = None
    plot: bool | dict[str, Any] | list[Any] | None = None
    extra: dict[str, Any] | None = None
    has_hash: bool = True


class Dependency(NamedTuple):
    """One entry of `deps:`.

    Attributes:
        repo: mapping with `url`, `rev`, `rev_lock`, `config`, `remote` for data imported from another repository.
        db: mapping for data imported from a database.
        params: for old single-stage files: mapping of names to values, or list of names, read from `path`.
        has_hash: as in `Output`.
    """

    path: str
    digest: Digest | None = None
    size: int | None = None
    nfiles: int | None = None
    isexec: bool = False
    version_id: str | None = None
    cloud: dict[str, Any] | None = None
    files: tuple[FileEntry, ...] | None = None
    repo: dict[str, Any] | None = None
    db: dict[str, Any] | None = None
    fs_config: dict[str, Any] | None = None
    params: Any = None
    extra: dict[str, Any] | None = None
    has_hash: bool = True


class Metafile(NamedTuple):
    """What one `.dvc` file says.

    Attributes:
        checksum: the file's own `md5:`, as written (files with dependencies, and all files before 1.0).
        wdir: base of all paths, relative to the file; "." when absent.
        cmd: command of an old single-stage file, else None.
        notices: one line each for old spellings whose meaning changed; for the person, not for programs.
    """

    outs: tuple[Output, ...] = ()
    deps: tuple[Dependency, ...] = ()
    checksum: str | None = None
    wdir: str = "."
    cmd: str | None = None
    frozen: bool = False
    always_changed: bool = False
    desc: str | None = None
    meta: Any = None
    notices: tuple[str, ...] = ()


class LockedStage(NamedTuple):
    """One stage's entry in `dvc.lock`.

    Attributes:
        cmd: the resolved command, a string or a list of strings, as written.
        params: file name -> {dotted name: value}.
    """

    cmd: str | list[str] | None = None
    deps: tuple[Dependency, ...] = ()
    params: dict[str, dict[str, Any]] = {}
    outs: tuple[Output, ...] = ()


class Lockfile(NamedTuple):
    """What one `dvc.lock` says: stages in file order, and the raw `datasets` list."""

    stages: dict[str, LockedStage]
    datasets: tuple[dict[str, Any], ...] = ()

"""Data at an address: a path of this machine, a place at a service, or a path of a remote (`remote://NAME/PATH`).

Says what is there, what a metafile records of it, and brings it into a store. Not here: requests (registry.offers), and
other repositories (sources). Implements docs/spec/imports.md, section 5.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats._config_schema import is_secret, scheme_of
from kist.formats.config import COMMAND_OPTIONS, SectionKey
from kist.formats.manifest import render_manifest, tree_of
from kist.formats.records import CHECKSUM, ETAG, MD5, Dependency, Digest
from kist.registry.addresses import refuse_secret, shown
from kist.registry.offers import NothingThereError, Offer, look, receive
from kist.repo.collect import Stage
from kist.repo.members import staging_path
from kist.repo.sources import NO_INDEX, Brought, Carrier, size_of_tree, sizes_of, store_tree
from kist.repo.transfers import open_storage_of
from kist.store import links
from kist.store.ingest import FileChangedError, hash_batches, store_batches
from kist.store.loose import LooseStore, remove_staging
from kist.store.statindex import StatIndex
from kist.transfer.engine import Engine
from kist.workspace.scan import (
    refuse_specials,
    scan_directory,
    scan_file,
    unread_batches,
    with_columns,
    with_stored,
)

if TYPE_CHECKING:
    from kist.remotes.storage import Item, Storage
    from kist.repo.repository import Repository
    from kist.workspace.scan import Snapshot

_HASHED = ("local", "ssh")
"""Kinds of which a metafile records the md5 of the bytes; of the others what the service calls them."""
_CHECKSUMS = ("hdfs", "webhdfs", "http", "https")
"""Kinds of which it is called `checksum`, and not `etag`."""


class SecretOptionError(InputError):
    """An option that is a secret would be written into a metafile. It belongs into the local configuration."""

    code = "secret-option"


class Located(NamedTuple):
    """Where an address leads.

    Attributes:
        url: as messages show it.
        scheme: "local" for a path of this machine.
        path: absolute, of this machine.
        storage, key: of a service; the storage is closed by who asked for it.
    """

    url: str
    scheme: str
    path: str = ""
    storage: Storage | None = None
    key: str = ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return posixpath.basename(self.url.partition("?")[0].rstrip("/"))

    def close(self) -> None:
        """Ends connections."""
        if self.storage is not None:
            self.storage.close()


class There(NamedTuple):
    """What is at an address: a scan of this machine, or what a service offers."""

    located: Located
    is_dir: bool
    snapshot: Snapshot | None = None
    offer: Offer | None = None


class Opener(NamedTuple):
    """What is needed to open addresses outside of a repository too."""

    environ: Mapping[str, str]
    ask: Callable[[str], str] | None = None
    repository: Repository | None = None


def parse_options(words: list[str], *, keeps: bool) -> dict[str, str]:
    """Returns the options of `--fs-config`.

    Args: keeps: they will be written into a metafile.

    Raises: SecretOptionError; InputError: one is no NAME=VALUE.
    """
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(
                f"cannot use '{name}' as an option: it is no NAME=VALUE",
                hint="write it as `--fs-config endpointurl=ADDRESS`",
            )
        if keeps:
            refuse_kept(
                name,
                "set it on a remote with `kist remote modify --local NAME OPTION VALUE`, and name `remote://NAME/PATH`",
            )
        options[name] = value
    return options


def refuse_kept(name: str, hint: str) -> None:
    """Raises SecretOptionError for an option that may not be written into a metafile: a secret, or a command."""
    if is_secret(SectionKey("remote", "x"), name):
        cause = "it is a secret, which would end up in Git"
    elif name.lower() in COMMAND_OPTIONS:
        cause = "it names a command, and a metafile runs none"
    else:
        return
    raise SecretOptionError(f"cannot write option '{name}' into a metafile: {cause}", hint=hint)


def locate(url: str, options: Mapping[str, str], opener: Opener, *, folder: str) -> Located:
    """Returns where an address leads; nothing is asked yet.

    Args: folder: what a relative path starts from.

    Raises: UnknownRemoteError, RemoteKindError, ExtraMissingError.
    """
    scheme = scheme_of(url)
    if scheme == "local" or scheme == "file":
        path = url.removeprefix("file://")
        return Located(url, "local", os.path.normpath(os.path.join(folder, path)))
    if scheme == "remote":
        return _of_remote(url, opener)
    from kist.remotes.storage import Place
    from kist.remotes.table import open_storage

    base, key = _split(url, scheme)
    place = Place(shown(base), base, scheme, dict(options), opener.environ, opener.ask)
    return Located(shown(url), scheme, "", open_storage(place), key)


def _split(url: str, scheme: str) -> tuple[str, str]:
    """Returns the address of the folder around, and the last name; of plain HTTP the whole, for it has no folders."""
    if scheme in ("http", "https"):
        return url, ""
    authority, _, path = url.partition("://")[2].partition("/")
    parent, _, name = path.rstrip("/").rpartition("/")
    base = f"{scheme}://{authority}/{parent}" if parent else f"{scheme}://{authority}"
    if path.startswith("/") and not parent:
        base += "/"
    return base, name


def _of_remote(url: str, opener: Opener) -> Located:
    name, _, path = url.partition("://")[2].partition("/")
    repository = opener.repository
    if repository is None:
        raise InputError(
            f"cannot read '{url}': remotes are named in a repository, and this is none", hint="kist init"
        )
    remote = repository.settings.remote(name)
    path = path.rstrip("/")
    if remote.scheme == "local":
        return Located(url, "local", os.path.join(remote.location, path) if path else remote.location)
    if remote.scheme in ("http", "https"):
        location = f"{remote.location.rstrip('/')}/{path}" if path else remote.location
        return Located(
            url, remote.scheme, "", open_storage_of(repository, remote._replace(location=location)), ""
        )
    return Located(url, remote.scheme, "", open_storage_of(repository, remote), path)


def look_there(located: Located, carrier: Carrier) -> There:
    """Returns what is at an address.

    Raises: NothingThereError, SpecialFileError, and what a service says.
    """
    if located.storage is not None:
        offer = look(located.storage, located.key, url=located.url, engine=_engine(located.storage, carrier))
        return There(located, offer.is_dir, None, offer)
    index = StatIndex(NO_INDEX)
    is_dir = os.path.isdir(located.path)
    found = (
        scan_directory(located.path, "", index=index, ignores=None)
        if is_dir
        else scan_file(located.path, "", index=index)
    )
    if found is None:
        raise _not_there(located)
    refuse_specials(found)
    return There(located, is_dir, found)


def _not_there(located: Located) -> NothingThereError:
    return NothingThereError(
        f"cannot read '{located.url}': it does not exist",
        hint=shell_line("ls", os.path.dirname(located.path)),
    )


def _engine(storage: Storage, carrier: Carrier) -> Engine:
    return Engine(storage.abilities, jobs=carrier.jobs, limiter=carrier.limiter)


def bring_there(there: There, carrier: Carrier) -> Brought:
    """Brings what is at an address into a store.

    Raises: FileChangedError, OSError, and what a service says.
    """
    files = _store_local(there, carrier) if there.snapshot is not None else _store_offer(there, carrier)
    if not there.is_dir:
        ((oid, size),) = files.values()
        return Brought(Digest(MD5, oid), size, None, 1, size)
    tree = tree_of({rel: oid for rel, (oid, _) in files.items()})
    size = size_of_tree(tree, carrier.store)
    return Brought(store_tree(tree, carrier.store), size, tree.file_count(), len(files), size)


def hash_there(repository: Repository, there: There, carrier: Carrier) -> Brought:
    """Returns what `bring_there` would bring; nothing stays of it.

    Raises: as `bring_there`.
    """
    if there.snapshot is None:
        passing = LooseStore(staging_path(repository))
        try:
            return bring_there(there, carrier._replace(store=passing, records=[]))
        finally:
            remove_staging(passing.base)
    found = there.snapshot
    batches, places = unread_batches(found)
    columns = hash_batches(batches, workers=carrier.workers, progress=carrier.progress) if batches else []
    found = with_columns(found, places, [(column, None) for column in columns])
    size = found.size_bytes()
    if not there.is_dir:
        return Brought(Digest(MD5, found.folders[""].digests.hex()), size, None, 0, 0)
    data = render_manifest(found.tree())
    oid = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
    return Brought(Digest(MD5, oid), size, found.file_count(), 0, 0)


def _store_local(there: There, carrier: Carrier) -> dict[str, tuple[str, int]]:
    found = there.snapshot
    assert found is not None
    sizes = sizes_of(found)
    batches, places = unread_batches(found)
    done = store_batches(
        batches, carrier.store, link=links.COPY, workers=carrier.workers, progress=carrier.progress
    )
    if changed := [name for item in done for name in item.changed]:
        raise FileChangedError(
            f"cannot read '{changed[0]}': it changes while it is read",
            hint="wait until nothing writes to it, then try again",
        )
    return {rel: (oid, sizes[rel]) for rel, oid in with_stored(found, places, done).tree().files()}


def _store_offer(there: There, carrier: Carrier) -> Mapping[str, tuple[str, int]]:
    assert there.offer is not None and there.located.storage is not None
    done = receive(
        there.located.storage,
        there.offer,
        carrier.store,
        progress=carrier.progress,
        jobs=carrier.jobs,
        limiter=carrier.limiter,
    )
    carrier.records.extend(done.records)
    return done.files


# What a metafile records


def recorded(there: There, path: str, options: Mapping[str, str], brought: Brought | None) -> Dependency:
    """Returns the dependency that a metafile records of what is there.

    Args:
        path: as it is to be written.
        brought: what it was; needed for kinds whose bytes are what is recorded.
    """
    dep = Dependency(path, fs_config=dict(options) or None)
    if there.located.scheme in _HASHED:
        assert brought is not None
        dep = dep._replace(digest=brought.digest, size=brought.size, nfiles=brought.nfiles)
        is_executable = there.snapshot is not None and bool(os.stat(there.located.path).st_mode & 0o100)
        return dep._replace(isexec=is_executable and not there.is_dir)
    assert there.offer is not None
    kind = CHECKSUM if there.located.scheme in _CHECKSUMS else ETAG
    tags = {rel: _tag(there.located.scheme, item) for rel, item in there.offer.items.items()}
    if not there.is_dir:
        tag = tags[""]
        digest = Digest(kind, tag) if tag else None
        # Google names a version of everything; others do where versions are asked for.
        version = there.offer.items[""].version if there.located.scheme == "gs" else None
        return dep._replace(digest=digest, size=max(there.offer.size_bytes(), 0), version_id=version)
    return dep._replace(
        digest=Digest(MD5, _tag_manifest(tags, kind)), size=there.offer.size_bytes(), nfiles=len(tags)
    )


def _tag(scheme: str, item: Item) -> str:
    """Returns what a metafile calls an item, by what the service says of it."""
    tag = item.tag or ""
    if scheme in ("http", "https"):
        return tag  # with its quotes, and `W/`
    return tag.strip('"')


def _tag_manifest(tags: Mapping[str, str], kind: str) -> str:
    """Returns the id of a directory whose files are known by what a service calls them."""
    import json  # directories at services are few

    items = [{kind: tags[rel], "relpath": rel} for rel in sorted(tags)]
    text = json.dumps(items, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def is_hashed(located: Located) -> bool:
    """Says whether a metafile records the bytes' md5, so that they must be read to be recorded."""
    return located.scheme in _HASHED


def bring_address(repository: Repository, dep: Dependency, carrier: Carrier, *, stage: Stage) -> Brought:
    """Brings what is at the address that a metafile names, as it is now.

    Raises: as `locate`, `look_there`, `bring_there`.
    """
    located = locate_dependency(repository, dep, stage)
    try:
        return bring_there(look_there(located, carrier), carrier)
    finally:
        located.close()


def locate_dependency(repository: Repository, dep: Dependency, stage: Stage) -> Located:
    """Returns where the address of a dependency leads."""
    # A metafile may be somebody else's, and reading one runs nothing (rule R15).
    given = (dep.fs_config or {}).items()
    options = {key: str(value) for key, value in given if str(key).lower() not in COMMAND_OPTIONS}
    opener = Opener(repository.environ, repository.ask, repository)
    return locate(dep.path, options, opener, folder=repository.abspath(stage.wdir))


def refuse_secrets(url: str) -> None:
    """Does nothing for an address that may be written into a metafile.

    Raises: SecretInAddressError.
    """
    if "://" in url:
        refuse_secret(url)


def files_at(located: Located) -> dict[str, int | None]:
    """Returns what lies at an address: path below it ("" for a single file) -> size in bytes, where that is known.

    Raises: as `look_there`.
    """
    if located.storage is not None:
        engine = Engine(located.storage.abilities)
        offer = look(located.storage, located.key, url=located.url, engine=engine)
        return {rel: item.size if item.size >= 0 else None for rel, item in offer.items.items()}
    if os.path.isfile(located.path):
        return {"": os.stat(located.path).st_size}
    if not os.path.isdir(located.path):
        raise _not_there(located)
    found = scan_directory(located.path, "", index=StatIndex(NO_INDEX), ignores=None)
    return dict(sizes_of(found))

"""`import` and `import-url`: brings data from elsewhere into the workspace, with a metafile that says where it is from.

Order: objects, manifest, metafile, `.gitignore`, workspace (rule R4). Not here: sources (import_data, at_address).
Implements docs/spec/imports.md, section 7.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError
from kist.formats.metafile import parse_metafile, with_checksum
from kist.formats.records import Dependency, Metafile, Output
from kist.registry.addresses import is_address, refuse_secret
from kist.repo.add import refuse_output
from kist.repo.at_address import (
    Located,
    Opener,
    bring_there,
    hash_there,
    is_hashed,
    locate,
    look_there,
    recorded,
    refuse_secrets,
)
from kist.repo.checkout import CheckoutOptions, checkout_items, refusal
from kist.repo.collect import WorkspaceSource, collect, stage_of_metafile
from kist.repo.import_data import Named, carrier_of, find_named
from kist.repo.metafiles import Changes, read_bytes
from kist.repo.repository import OutsideRepositoryError
from kist.repo.sources import Brought, bring
from kist.repo.targets import Selected, all_outputs
from kist.repo.to_remote import send_to_remote

if TYPE_CHECKING:
    from kist.repo.repository import Repository


class CannotImportError(InputError):
    """Data cannot be imported to this path: something is there, Git tracks it, or options contradict each other."""

    code = "cannot-import"


class ImportOptions(NamedTuple):
    """What `import` and `import-url` were asked for besides what to bring.

    Attributes:
        out: where to; None for the name that it has, in the current folder.
        force: write over what is there.
        runs: False with `--no-exec`: only say where it comes from.
        downloads: False with `--no-download`: say which version it is, and bring nothing.
        to_remote: store it in a remote alone; `remote` names it.
    """

    out: str | None = None
    force: bool = False
    runs: bool = True
    downloads: bool = True
    to_remote: bool = False
    remote: str | None = None
    jobs: int | None = None


class Imported(NamedTuple):
    """What was imported: all paths relative to the root."""

    path: str
    metafile: str
    to_stage: list[str]


class _Filled(NamedTuple):
    """What a metafile is to say: where data is from, and what it is, as far as that is known."""

    dep: Dependency
    brought: Brought | None


def import_path(
    repository: Repository,
    named: Named,
    options: ImportOptions,
    *,
    started: Callable[[str], None] = lambda path: None,
) -> Imported:
    """Imports a path of another repository.

    Args: started: told of the path, relative to the root, once nothing speaks against it.

    Raises: CannotImportError, CannotAddError, OutsideRepositoryError, NotVersionedError; as `find_named` and `bring`.
    """
    if is_address(named.url):
        refuse_secret(named.url)
    named.refuse_secrets()
    name = posixpath.basename(posixpath.normpath(named.path.replace(os.sep, "/")))

    def fill() -> _Filled:
        if not options.runs:
            return _Filled(Dependency(named.path, repo=named.spec()), None)
        source = find_named(repository, named, rev=named.rev)
        brought = bring(source, carrier_of(repository, jobs=options.jobs)) if options.downloads else None
        locked = named._replace(rev_lock=source.commit)
        return _Filled(Dependency(named.path, repo=locked.spec()), brought)

    def is_same(dep: Dependency) -> bool:
        return dep.repo is not None and Named.of(dep)._replace(rev_lock=None) == named

    return _imported(repository, name, options, is_same, fill, started)


def import_url(
    repository: Repository,
    url: str,
    fs_config: Mapping[str, str],
    options: ImportOptions,
    *,
    started: Callable[[str], None] = lambda path: None,
) -> Imported:
    """Imports what is at an address. Args, Raises: as `import_path`, and as `locate` and `look_there`."""
    refuse_secrets(url)
    opener = Opener(repository.environ, repository.ask, repository)
    located = locate(url, fs_config, opener, folder=repository.cwd)
    try:
        path = _out_path(repository, located.name, options)
        written = written_path(repository, url, located, posixpath.dirname(path))

        def fill() -> _Filled:
            if not options.runs:
                return _Filled(Dependency(written, fs_config=dict(fs_config) or None), None)
            return fill_from(repository, located, written, fs_config, options, path)

        def is_same(dep: Dependency) -> bool:
            return dep.repo is None and dep.path == written

        return _imported(repository, located.name, options, is_same, fill, started)
    finally:
        located.close()


def fill_from(
    repository: Repository,
    located: Located,
    written: str,
    fs_config: Mapping[str, str],
    options: ImportOptions,
    path: str,
) -> _Filled:
    """Returns what a metafile is to say of what is at an address now; brings it where that is wanted."""
    carrier = carrier_of(repository, jobs=options.jobs)
    there = look_there(located, carrier)
    if options.to_remote:
        sent = send_to_remote(repository, there, carrier, remote=options.remote, label=path)
        return _Filled(recorded(there, written, fs_config, sent), sent)
    if options.downloads:
        brought = bring_there(there, carrier)
        return _Filled(recorded(there, written, fs_config, brought), brought)
    seen = hash_there(repository, there, carrier) if is_hashed(located) else None
    return _Filled(recorded(there, written, fs_config, seen), None)


def written_path(repository: Repository, url: str, located: Located, folder: str) -> str:
    """Returns how a metafile in `folder`, relative to the root, names an address."""
    if located.scheme != "local" or url.startswith("remote://"):
        return url
    if os.path.isabs(url.removeprefix("file://")) and not located.path.startswith(repository.root + os.sep):
        return located.path
    return os.path.relpath(located.path, repository.abspath(folder)).replace(os.sep, "/")


def _out_path(repository: Repository, name: str, options: ImportOptions) -> str:
    out = options.out if options.out is not None else name
    if options.out is not None and os.path.isdir(os.path.join(repository.cwd, out)) and name:
        tracked = os.path.isfile(os.path.join(repository.cwd, out.rstrip("/") + ".dvc"))
        out = out if tracked else os.path.join(out, name)
    path = repository.rel(out) if out else ""
    if not path:
        raise OutsideRepositoryError(
            f"cannot import to '{out}': it is the repository itself", hint="name a path with `--out`"
        )
    return path


def _imported(
    repository: Repository,
    name: str,
    options: ImportOptions,
    is_same: Callable[[Dependency], bool],
    fill: Callable[[], _Filled],
    started: Callable[[str], None],
) -> Imported:
    """Imports; `is_same` says whether a metafile that is there names the same source: then this goes on with it."""
    path = _out_path(repository, name, options)
    with repository.lock():
        repository.sweep_now()
        stages = collect(WorkspaceSource(repository))
        refuse_output(repository, stages, path)
        own = next((item for item in all_outputs(stages) if item.out.path == path), None)
        _refuse_foreign(repository, own, path)
        if not options.force:
            _refuse_taken(repository, own, path, is_same)
        started(path)
        filled = fill()
        metafile_path = path + ".dvc"
        metafile = metafile_of(repository, metafile_path, posixpath.basename(path), filled)
        if options.runs:  # without, DVC writes no checksum
            metafile = with_checksum(metafile)
        changes = Changes(repository)
        changes.write_metafile(metafile_path, metafile)
        changes.ignore(path)
        place(repository, metafile_path, metafile, options)
        return Imported(path, metafile_path, changes.finish())


def place(repository: Repository, path: str, metafile: Metafile, options: ImportOptions) -> None:
    """Puts imported data into the workspace, where it was brought."""
    if not (options.runs and options.downloads) or options.to_remote:
        return
    items = all_outputs([stage_of_metafile(path, metafile)])
    done = checkout_items(repository, items, CheckoutOptions(force=True))
    error = done.error(repository)
    if error is not None:
        raise error


def metafile_of(repository: Repository, path: str, name: str, filled: _Filled) -> Metafile:
    """Returns what a metafile is to say; what people wrote into one that is there stays."""
    previous = read_bytes(repository.abspath(path))
    old = parse_metafile(previous, name=path) if previous is not None else Metafile()
    was = old.outs[0] if len(old.outs) == 1 else Output(name)
    out = Output(
        name,
        desc=was.desc,
        type=was.type,
        labels=was.labels,
        meta=was.meta,
        remote=was.remote,
        can_push=was.can_push,
    )
    out = with_data(out, filled.brought)
    return Metafile((out,), (filled.dep,), frozen=True, desc=old.desc, meta=old.meta)


def with_data(out: Output, brought: Brought | None) -> Output:
    """Returns an output that says what was brought; without it, nothing of its content."""
    if brought is None:
        return out._replace(digest=None, size=None, nfiles=None, isexec=False, has_hash=True)
    return out._replace(
        digest=brought.digest, size=brought.size, nfiles=brought.nfiles, isexec=False, has_hash=True
    )


def _refuse_foreign(repository: Repository, own: Selected | None, path: str) -> None:
    """Raises CannotImportError where something else than an import has the path: a stage, or Git."""
    shown = repository.shown(path)
    if own is not None and own.stage.file != path + ".dvc":
        raise CannotImportError(
            f"cannot import to '{shown}': '{own.stage.address}' has it as an output",
            hint="name another path with `--out`",
        )
    absolute = repository.abspath(path)
    if repository.git is not None and os.path.lexists(absolute) and repository.git.is_tracked([absolute]):
        raise CannotImportError(
            f"cannot import to '{shown}': Git tracks it",
            hint=shell_line("git", "rm", "-r", "--cached", shown),
        )


def _refuse_taken(
    repository: Repository, own: Selected | None, path: str, is_same: Callable[[Dependency], bool]
) -> None:
    """Raises CannotImportError or UnsavedFilesError where something would be written over."""
    shown = repository.shown(path)
    absolute = repository.abspath(path)
    metafile = own.stage.metafile if own is not None else None
    if own is not None and metafile is not None and metafile.deps and is_same(metafile.deps[0]):
        lost = refusal(repository, [own])
        if lost is not None:
            raise lost
        if own.out.output.digest is not None or not os.path.lexists(absolute):
            return
    elif own is not None or os.path.lexists(absolute + ".dvc"):
        again = shell_line("kist", "update", shown + ".dvc")
        raise CannotImportError(
            f"cannot import to '{shown}': '{shown}.dvc' is there already",
            hint=f"bring it up to date with `{again}`, or give `--force` to replace it",
        )
    if os.path.lexists(absolute):
        raise CannotImportError(
            f"cannot import to '{shown}': it exists, and nothing tracks it",
            hint="name another path with `--out`, or give `--force` to replace it",
        )

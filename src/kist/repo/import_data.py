"""Where imported data comes from: opens the source that a metafile names, and brings its data into the cache.

Not here: making such metafiles (importing), bringing them up to date (update). Implements docs/spec/imports.md.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.base.shell import shell_line
from kist.errors import InputError, KistError
from kist.formats.records import LEGACY_MD5, MD5, Dependency, Digest
from kist.repo.at_address import bring_address, refuse_kept, refuse_secrets
from kist.repo.collect import Out, Stage
from kist.repo.elsewhere import OtherRepository, open_repository
from kist.repo.repository import Repository
from kist.repo.sources import Brought, Carrier, Source, SourceChangedError, bring, find_source

if TYPE_CHECKING:
    from kist.repo.settings import ConfigPaths


class NotVersionedError(InputError):
    """The source is in no Git repository, so that no version of it could be named. Import from its storage instead."""

    code = "not-versioned"


class UnknownImportError(InputError):
    """Data was imported in a way that this version does not know, such as from a database."""

    code = "unknown-import"


class Named(NamedTuple):
    """A path of another repository, as a metafile names it.

    Attributes:
        url: as written.
        path: relative to that repository's top.
        config: a file of settings on top of the repository's own, or the settings themselves.
        remote: its name, or options of the default one.
    """

    url: str
    path: str
    rev: str | None = None
    rev_lock: str | None = None
    config: str | dict[str, Any] | None = None
    remote: str | dict[str, Any] | None = None

    @classmethod
    def of(cls, dep: Dependency) -> Named:
        """Returns what a dependency names."""
        spec = dep.repo or {}
        return cls(
            str(spec.get("url") or ""),
            dep.path,
            spec.get("rev"),
            spec.get("rev_lock"),
            spec.get("config"),
            spec.get("remote"),
        )

    def with_remote(self, name: str, options: Mapping[str, str]) -> Named:
        """Returns the same with a remote and options of it, as DVC writes them: as settings.

        Raises: UnknownImportError: there are other settings too, which DVC would drop.
        """
        if self.config is not None:
            raise UnknownImportError(
                "cannot import with --config, --remote and --remote-config together",
                hint=f"write the options of '{name}' into the file that `--config` names",
            )
        return self._replace(config={"core": {"remote": name}, "remote": {name: dict(options)}}, remote=None)

    def refuse_secrets(self) -> None:
        """Does nothing where all options of remotes may be written into a metafile.

        Raises: SecretOptionError, SecretInAddressError.
        """
        remotes = [self.remote]
        if isinstance(self.config, dict):
            remotes += self.config.get("remote", {}).values()
        for options in remotes:
            for name, value in options.items() if isinstance(options, dict) else ():
                refuse_kept(
                    name,
                    "set it for yourself with `kist remote modify --global NAME OPTION VALUE`, and name the remote",
                )
                refuse_secrets(str(value))

    def spec(self) -> dict[str, Any]:
        """Returns the mapping of a metafile."""
        pairs = {  # in the order of DVC's files
            "url": self.url,
            "rev": self.rev,
            "rev_lock": self.rev_lock,
            "config": self.config,
            "remote": self.remote,
        }
        return {key: value for key, value in pairs.items() if value}


def carrier_of(repository: Repository, *, algorithm: str = MD5, jobs: int | None = None) -> Carrier:
    """Returns what brings data into a repository's cache."""
    return Carrier(
        repository.store_for(algorithm),
        jobs or repository.workers,
        repository.progress,
        [],
        bring_import,
        jobs,
        repository.limiter,
    )


def open_named(
    repository: Repository, named: Named, *, rev: str | None, folders: Sequence[str] = ()
) -> tuple[OtherRepository, str]:
    """Returns a repository at a commit, and the path in it; a path of a nested repository is one of that.

    Args:
        rev: None for what is checked out there.
        folders: where a relative path may start from besides the root.

    Raises: as `open_repository`; NotVersionedError.
    """
    url = _absolute(named.url, [repository.root, *folders])

    def opened(inside: str | None, rev: str | None) -> OtherRepository:
        return open_repository(
            url,
            cwd=repository.root,
            inside=inside,
            user_config=user_levels(repository),
            progress=repository.progress,
            environ=repository.environ,
            rev=rev,
        )

    other = opened(None, rev)
    path = posixpath.normpath("/" + named.path).lstrip("/")
    top = other.root
    if other.commit is not None:
        inner = opened(path, other.commit)  # asks nobody: the commit is here
    else:
        inner = opened(os.path.join(top, path), rev)
    skip = os.path.relpath(inner.root, top).replace(os.sep, "/")
    if skip != "." and (path + "/").startswith(skip + "/"):
        other, path = inner, path[len(skip) + 1 :]
    if other.commit is None:
        git = other.git
        if git is None:
            raise NotVersionedError(
                f"cannot import from '{named.url}': it is not in Git, so that no version can be named",
                hint=shell_line("kist", "import-url", posixpath.join(named.url, named.path)),
            )
        other.commit = git.resolve(rev or "HEAD")
    other.leave_alone()
    other.ask = repository.ask
    _apply_options(repository, other, named)
    return other, path


def user_levels(repository: Repository) -> ConfigPaths:
    """Returns the files of the settings that hold for every repository of the person."""
    return repository.config_paths._replace(project=None, local=None)


def _absolute(url: str, folders: Sequence[str]) -> str:
    """Returns the absolute path that a relative one means from the first folder where it is there; addresses stay."""
    for folder in folders:
        path = os.path.join(folder, url)
        if os.path.isdir(path):
            return os.path.abspath(path)
    return url


def _apply_options(repository: Repository, other: OtherRepository, named: Named) -> None:
    other.trusts_extra = False
    if isinstance(named.config, str) and named.config:
        path = os.path.join(repository.root, named.config)
        with open(path, "rb") as stream:
            other.extra = ((named.config, stream.read()),)
    elif isinstance(named.config, dict):
        other.extra = (("config", _as_config(named.config)),)
    if isinstance(named.remote, str):
        other.default_remote = named.remote
    elif isinstance(named.remote, dict):
        other.remote_config = {key: str(value) for key, value in named.remote.items()}


def _as_config(value: Mapping[str, Any]) -> bytes:
    """Returns the configuration file that a mapping in a metafile stands for."""
    lines: list[str] = []
    for section, options in value.items():
        named = isinstance(options, dict) and all(isinstance(one, dict) for one in options.values())
        for name, inner in options.items() if named and options else [("", options)]:
            lines.append(f"['{section} \"{name}\"']" if name else f"[{section}]")
            lines += [f"{key} = {one}" for key, one in inner.items()]
    return ("\n".join(lines) + "\n").encode()


def is_of_repository(stage: Stage) -> bool:
    """Says whether a stage's data comes from another repository."""
    return stage.is_import and stage.metafile is not None and stage.metafile.deps[0].repo is not None


def find_named(
    repository: Repository, named: Named, *, rev: str | None, stage: Stage | None = None
) -> Source:
    """Returns what the path of another repository is at a revision.

    Raises: as `open_named` and `find_source`.
    """
    folders = [repository.abspath(stage.wdir)] if stage is not None else [repository.cwd]
    other, path = open_named(repository, named, rev=rev, folders=folders)
    return find_source(other, path, other.commit)


def bring_import(repository: Repository, stage: Stage, out: Out, carrier: Carrier, depth: int = 0) -> Brought:
    """Brings the recorded data of an import from where it comes from.

    Raises: SourceChangedError: what is there is not what was recorded; and whatever speaks against the source.
    """
    assert stage.metafile is not None
    dep = stage.metafile.deps[0]
    wanted = out.output.digest
    try:
        if dep.repo is not None:
            named = Named.of(dep)
            source = find_named(repository, named, rev=named.rev_lock or named.rev, stage=stage)
            brought = bring(source, carrier, depth=depth)
        elif dep.db is None:
            brought = bring_address(repository, dep, carrier, stage=stage)
        else:
            raise UnknownImportError(
                f"cannot bring '{out.path}': it was imported from a database",
                hint=f"use DVC for '{stage.file}'",
            )
    except KistError as error:
        error.message = f"cannot bring imported '{out.path}': {_cause(error.message)}"
        raise
    if wanted is not None and not _same(brought.digest, wanted):
        raise SourceChangedError(
            f"cannot bring imported '{out.path}': what is at '{dep.path}' is not what was imported",
            hint=shell_line("kist", "update", repository.shown(stage.file)),
        )
    return brought


def _cause(message: str) -> str:
    return (
        message.removeprefix("cannot bring imported ")
        if message.startswith("cannot bring imported")
        else message
    )


def _same(found: Digest, wanted: Digest) -> bool:
    return found == wanted or (
        {found.algorithm, wanted.algorithm} == {MD5, LEGACY_MD5} and found.value == wanted.value
    )

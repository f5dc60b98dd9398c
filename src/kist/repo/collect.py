"""Finds and reads all metafiles of a repository, in the workspace or in a commit, as stages with their outputs.

Not here: what targets mean (targets), what the data looks like (workspace.scan).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kist.base.atomic import is_temp_name
from kist.base.shell import shell_line
from kist.errors import FormatError
from kist.formats.metafile import parse_metafile
from kist.formats.records import LockedStage, Metafile, Output
from kist.store.placements import NO_PLACEMENTS, Placements

if TYPE_CHECKING:
    from kist.pipeline.interpolate import OptionStyle
    from kist.pipeline.resolve import ResolvedStage
    from kist.repo.repository import Repository

PIPELINE_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
OLD_FILE = "Dvcfile"
METAFILE_SUFFIXES = (".dvc", PIPELINE_FILE, LOCK_FILE, OLD_FILE)


class UnsafeOutputError(FormatError):
    """A metafile names an output outside of the repository, or inside of `.git` or `.dvc` (rule R14)."""

    code = "unsafe-output"


class Out(NamedTuple):
    """One output and where it belongs.

    Attributes:
        path: relative to the repository's root; for outputs elsewhere (old, external) as written.
        stage: address of its stage.
        output: what the metafile says.
        is_import: it comes from another repository or address.
        is_inside: the path lies in the repository.
    """

    path: str
    stage: str
    output: Output
    is_import: bool
    is_inside: bool


class Stage(NamedTuple):
    """One `.dvc` file, or one stage of a `dvc.yaml`.

    Attributes:
        address: `dir/data.dvc` or `dir/dvc.yaml:train`, relative to the root.
        file: the metafile, relative to the root.
        name: the stage's name in `dvc.yaml`, else None.
        wdir: base of its paths, relative to the root ("" is the root).
        metafile: for a `.dvc` file.
        resolved, locked: for a stage of a `dvc.yaml`; also `resolved` for an old `.dvc` file with a command.
    """

    address: str
    file: str
    name: str | None
    wdir: str
    outs: tuple[Out, ...]
    metafile: Metafile | None = None
    resolved: ResolvedStage | None = None
    locked: LockedStage | None = None

    @property
    def is_import(self) -> bool:
        """Says whether its data comes from elsewhere."""
        return self.metafile is not None and bool(self.metafile.deps) and self.metafile.cmd is None

    @property
    def is_data(self) -> bool:
        """Says whether it is a plain `.dvc` file: no command, no source elsewhere."""
        return self.metafile is not None and not self.metafile.deps and self.metafile.cmd is None


def lock_path(stage: Stage) -> str:
    """Returns where the entry of a stage of a `dvc.yaml` is, relative to the root."""
    return posixpath.join(posixpath.dirname(stage.file), LOCK_FILE)


class Source(Protocol):
    """Where metafiles are read from."""

    def metafiles(self) -> Iterator[str]:
        """Yields paths of `.dvc`, `Dvcfile` and `dvc.yaml` files relative to the root."""

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where it is missing."""

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""

    def notice(self, lines: Sequence[str]) -> None:
        """Takes what a person should know about old spellings in a metafile."""

    def mending_hint(self, path: str) -> str | None:
        """Returns a hint on what to do with a metafile that cannot be read."""

    @property
    def placements(self) -> Placements:
        """Where it is noted what metafiles say of versions at services."""


class WorkspaceSource:
    """The files on disk. Folders that are outputs of metafiles above them are not entered."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._outputs: set[str] = set()
        self.temps: list[str] = []
        """Absolute paths of temporary files of ours that the walk met."""
        self.unreadable: list[str] = []
        """Folders, relative to the root, that could not be listed."""

    def prune(self, path: str) -> None:
        """Keeps the walk out of `path`, an output that was just read."""
        self._outputs.add(path)

    def metafiles(self) -> Iterator[str]:
        """Yields metafiles top down; the caller reads each, and names its outputs with `prune`, before the next."""
        repository = self._repository
        git = repository.git
        offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/") if git is not None else "."
        yield from self._walk("", "" if offset == "." else offset + "/")

    def _walk(self, path: str, offset: str) -> Iterator[str]:
        repository = self._repository
        rules = repository.ignores.enter(path)
        git_rules = None
        if repository.git_ignores is not None:
            git_rules = repository.git_ignores.enter((offset + path).strip("/"))
        folders: list[str] = []
        found: list[str] = []
        try:
            with os.scandir(repository.abspath(path)) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif name.endswith(".dvc") or name in (PIPELINE_FILE, OLD_FILE):
                        found.append(name)
                    elif is_temp_name(name):
                        self.temps.append(entry.path)
        except PermissionError:
            self.unreadable.append(path)
            return
        prefix = path + "/" if path else ""
        for name in sorted(found):
            if not rules.is_ignored(name, False) and not (git_rules and git_rules.is_ignored(name, False)):
                yield prefix + name
        for name in sorted(folders):
            if prefix + name in self._outputs or rules.is_ignored(name, True):
                continue
            if git_rules is not None and git_rules.is_ignored(name, True):
                continue
            yield from self._walk(prefix + name, offset)

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where it is missing; those of a lock file as they are to be, when stages are
        noted that are not in it yet.
        """
        if posixpath.basename(path) == LOCK_FILE and self._repository.has_noted:
            from kist.repo.stage_journal import as_noted, noted  # only beside `repro`, or after a kill

            before = noted(self._repository.place().folder)
            return as_noted(self._read(path), path, before)
        return self._read(path)

    def _read(self, path: str) -> bytes | None:
        try:
            with open(self._repository.abspath(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""
        return _option_style(self._repository)

    def notice(self, lines: Sequence[str]) -> None:
        """Keeps what a person should know, each line once."""
        self._repository.notices.update(dict.fromkeys(lines))

    def mending_hint(self, path: str) -> str | None:
        """Returns a hint on what to do with a metafile that cannot be read."""
        shown = self._repository.shown(path)
        if self._repository.git is None:
            return f"mend '{shown}'"
        back = shell_line("git", "checkout", "--", shown)
        return f"mend the file, or take the last version back with `{back}`"

    @property
    def placements(self) -> Placements:
        """Where it is noted what metafiles say of versions at services."""
        return self._repository.placements


class CommitSource:
    """The files of one commit."""

    def __init__(
        self,
        repository: Repository,
        rev: str,
        tree: dict[str, str] | None = None,
        blobs: dict[str, bytes] | None = None,
    ) -> None:
        """Args: tree, blobs: path -> blob id of the commit's metafiles, and their bytes, if they were read before."""
        git = repository.git
        assert git is not None
        self._repository = repository
        self._git = git
        self._rev = rev if tree is not None else git.resolve(rev)
        offset = os.path.relpath(repository.root, git.top).replace(os.sep, "/")
        self._offset = "" if offset == "." else offset + "/"
        if tree is None:
            items = git.list_tree(self._rev, METAFILE_SUFFIXES, under=self._offset.rstrip("/"))
            tree = {path: item.sha for path, item in items.items() if item.mode != "120000"}
        own = self._offset + ".dvc/"
        self.shas = {
            path[len(self._offset) :]: sha
            for path, sha in tree.items()
            if path.startswith(self._offset) and not path.startswith(own)
        }
        wanted = set(self.shas.values())
        self._blobs = blobs if blobs is not None else dict(git.read_blobs(sorted(wanted))) if wanted else {}

    def prune(self, path: str) -> None:
        """Does nothing: a commit holds no data."""

    def metafiles(self) -> Iterator[str]:
        """Yields metafiles in path order."""
        for path in sorted(self.shas):
            name = posixpath.basename(path)
            if (name.endswith(".dvc") and name != ".dvc") or name in (PIPELINE_FILE, OLD_FILE):
                yield path

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes, or None where the commit has none."""
        sha = self.shas.get(path)
        if sha is not None:
            return self._blobs[sha]
        return self._git.read_file(self._rev, self._offset + path)

    def option_style(self) -> OptionStyle:
        """Returns how mappings in commands become options, as the configuration says."""
        return _option_style(self._repository)

    def notice(self, lines: Sequence[str]) -> None:
        """Does nothing: what a commit says cannot be mended."""

    def mending_hint(self, path: str) -> str | None:
        """Returns None: what a commit says cannot be mended."""
        return None

    @property
    def placements(self) -> Placements:
        """Where it is noted what metafiles say of versions at services."""
        return self._repository.placements


def _option_style(repository: Repository) -> OptionStyle:
    from kist.pipeline.interpolate import OptionStyle  # many repositories have no pipeline

    settings = repository.settings
    return OptionStyle(
        negates=settings.text("parsing", "bool") == "boolean_optional",
        repeats=settings.text("parsing", "list") == "append",
    )


def collect(
    source: WorkspaceSource | CommitSource,
    *,
    on_damage: Callable[[str, FormatError], None] | None = None,
) -> list[Stage]:
    """Returns all stages, `.dvc` files and pipelines in path order.

    Args:
        on_damage: called for each metafile that cannot be read; without it the first one is an error.

    Raises:
        FormatError: a metafile cannot be understood.
    """
    stages: list[Stage] = []
    for path in source.metafiles():
        try:
            found = read_stages(source, path)
        except FormatError as error:
            if on_damage is None:
                raise
            on_damage(path, error)
            continue
        for stage in found:
            for out in stage.outs:
                if out.is_inside:
                    source.prune(out.path)
        stages += found
    return stages


def collect_commits(
    repository: Repository, revs: Sequence[str], *, on_damage: Callable[[str, FormatError], None]
) -> Iterator[Stage]:
    """Yields the stages of many commits; a metafile that many of them share is read once.

    Args:
        on_damage: called with `COMMIT:PATH` for each metafile that cannot be read; the others are yielded, for what
            an old commit broke cannot be mended and must not stop a push.
    """
    git = repository.git
    assert git is not None
    wanted = {sha for _, tree in git.trees(revs, METAFILE_SUFFIXES) for sha in tree.values()}
    blobs = dict(git.read_blobs(sorted(wanted))) if wanted else {}
    seen: set[tuple[str, str, str]] = set()
    for commit, tree in git.trees(revs, METAFILE_SUFFIXES):
        source = CommitSource(repository, commit, tree, blobs)
        for path in source.metafiles():
            lock = posixpath.join(posixpath.dirname(path), LOCK_FILE) if path.endswith(PIPELINE_FILE) else ""
            key = (path, source.shas[path], source.shas.get(lock, ""))
            if key in seen:
                continue
            seen.add(key)
            try:
                found = read_stages(source, path)
            except FormatError as error:
                on_damage(f"{commit[:7]}:{path}", error)
                continue
            yield from found


def read_stages(source: Source, path: str) -> list[Stage]:
    """Returns the stages of one metafile.

    Raises:
        FormatError: it cannot be understood, or is missing.
    """
    try:
        return _read_stages(source, path)
    except FormatError as error:
        if error.hint is None:
            error.hint = source.mending_hint(path)
        raise


def _read_stages(source: Source, path: str) -> list[Stage]:
    data = source.read(path)
    if data is None:
        raise FormatError(f"cannot read '{path}': it is missing")
    if posixpath.basename(path) == PIPELINE_FILE:
        return _pipeline_stages(source, path, data)
    metafile = parse_metafile(data, name=path)
    if metafile.notices:
        source.notice(metafile.notices)
    return [stage_of_metafile(path, metafile, source.placements)]


def stage_of_metafile(path: str, metafile: Metafile, placements: Placements = NO_PLACEMENTS) -> Stage:
    """Returns the stage that a `.dvc` file describes; `placements` takes what it says of versions at services."""
    wdir = posixpath.normpath(posixpath.join(posixpath.dirname(path), metafile.wdir))
    wdir = "" if wdir == "." else wdir
    is_import = bool(metafile.deps) and metafile.cmd is None
    outs = tuple(_out(path, path, wdir, output, is_import, placements) for output in metafile.outs)
    if metafile.cmd is None:
        return Stage(path, path, None, wdir, outs, metafile)
    from kist.pipeline.locked import locked_single  # only old repositories have such files
    from kist.pipeline.resolve import resolve_single

    resolved = resolve_single(metafile, name=path)
    return Stage(path, path, None, wdir, outs, metafile, resolved, locked_single(metafile))


def _pipeline_stages(source: Source, path: str, data: bytes) -> list[Stage]:
    from kist.formats.dvcyaml import parse_dvcyaml  # many repositories have no pipeline
    from kist.formats.lockfile import parse_lockfile
    from kist.pipeline.locked import locked_outputs
    from kist.pipeline.resolve import resolve

    directory = posixpath.dirname(path)
    lock_path = posixpath.join(directory, LOCK_FILE)
    lock_data = source.read(lock_path)
    lock = parse_lockfile(lock_data, name=lock_path) if lock_data is not None else None

    def read(name: str) -> bytes | None:
        return source.read(posixpath.normpath(posixpath.join(directory, name)))

    stages = []
    pipeline = parse_dvcyaml(data, name=path)
    source.notice(pipeline.notices)
    for resolved in resolve(pipeline, directory=directory, read=read, options=source.option_style()):
        locked = lock.stages.get(resolved.name) if lock is not None else None
        wdir = posixpath.normpath(posixpath.join(directory, resolved.wdir))
        wdir = "" if wdir == "." else wdir
        address = f"{path}:{resolved.name}"
        outputs = locked_outputs(resolved, locked)
        outs = tuple(_out(path, address, wdir, output, False, source.placements) for output in outputs)
        stages.append(Stage(address, path, resolved.name, wdir, outs, None, resolved, locked))
    return stages


def _out(file: str, address: str, wdir: str, output: Output, is_import: bool, placements: Placements) -> Out:
    written = output.path
    if "://" in written:
        return Out(written, address, output, is_import, False)
    path = posixpath.normpath(posixpath.join(wdir, written))
    parts = path.split("/")
    if parts[0] == ".." or path == "." or path.startswith("/"):
        raise UnsafeOutputError(
            f"cannot use '{file}': its output '{written}' is outside of the repository",
            hint=f"correct the path in '{file}'",
        )
    if ".git" in parts or ".dvc" in parts or "\0" in path:
        raise UnsafeOutputError(
            f"cannot use '{file}': its output '{written}' lies inside of '.git' or '.dvc'",
            hint=f"correct the path in '{file}'",
        )
    if output.files or output.cloud or output.version_id:
        from kist.repo.versioned_outputs import noted  # few repositories have such outputs

        output = noted(file, path, output, placements)
    return Out(path, address, output, is_import, True)
